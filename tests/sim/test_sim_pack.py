"""A packed run is run again elsewhere, by one command: another directory, another user, another clone of the program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import tiny
from opus_controller.cli._app import run
from opus_controller.report import pack
from opus_controller.report.conclude import load

ROOT = Path(__file__).parents[2]
NOBODY = 65534
CALL = "import opus_controller as o, sys; print(o.__file__, file=sys.stderr); from opus_controller.cli import main; main()"
SCENARIO = tiny.SCENARIO.replace(
    "expectations:", "timeline:\n  - {at: 6s, name: cut, partition: site far, for: 1s}\nexpectations:"
).replace("availability >= 99%", "availability >= 50%")


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory that everybody may enter (pytest's own are for one user), with another clone of the program in it."""
    with tempfile.TemporaryDirectory(prefix="opus-elsewhere-") as name:
        place = Path(name)
        place.chmod(0o755)
        for package in ("node", "controller", "proto"):
            shutil.copytree(ROOT / package, place / "clone" / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield place


def another_user(place: Path) -> int | None:
    """One whom this interpreter's own directories are open to; None if there is no other (not root, or a private checkout)."""
    if os.geteuid() != 0:
        return None
    probe = [sys.executable, "-c", "import numpy, pydantic, yaml, typer, matplotlib"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": str(place / "mpl"),
    }
    try:
        readable = subprocess.run(probe, user=NOBODY, group=NOBODY, extra_groups=[], env=environment, cwd=place, check=False)
    except PermissionError:
        return None
    return NOBODY if readable.returncode == 0 else None


def again(place: Path, file: Path, *more: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`opus run FILE` by the clone's program, in an empty home of somebody else's."""
    home = place / "home"
    home.mkdir()
    user = another_user(place)
    if user is not None:
        os.chown(home, user, user)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "MPLCONFIGDIR": str(home / "mpl"),
        "PYTHONPATH": os.pathsep.join(str(place / "clone" / package) for package in ("node", "controller", "proto")),
        "PYTHONHASHSEED": "77",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [sys.executable, "-c", CALL, "run", str(file), *more],
        cwd=home, env=environment, user=user, group=user, extra_groups=None if user is None else [],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, home


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run and its pack; the scenario is gone by the time it is run again."""
    place = tmp_path_factory.mktemp("mine")
    scenario = tiny.write(place / "scenario", scenario=SCENARIO)
    assert run(["run", str(scenario), "--runtime", "sim", "--seed", "4", "--out", str(place / "run")]) == 0
    assert run(["report", str(place / "run"), "--pack", str(place / "run.opus")]) == 0
    shutil.rmtree(place / "scenario")
    return place


def sent(mine: Path, elsewhere: Path) -> Path:
    """The pack, where others can read it."""
    file = elsewhere / "run.opus"
    file.write_bytes((mine / "run.opus").read_bytes())
    file.chmod(0o644)
    return file


def test_elsewhere_it_is_the_same_run(mine: Path, elsewhere: Path) -> None:
    packed = sent(mine, elsewhere)
    done, home = again(elsewhere, packed)
    assert done.returncode == 0, done.stderr
    assert str(elsewhere / "clone" / "controller") in done.stderr, "the clone's program ran"
    assert "the packed run again, step for step" in done.stderr
    ours, theirs = load(mine / "run"), load(home / "runs" / "latest")
    assert theirs.facts["trace_digest"] == ours.facts["trace_digest"]
    assert theirs.plan_digest == ours.plan_digest
    assert (home / "runs" / "latest" / "events.ndjson").read_bytes() == (mine / "run" / "events.ndjson").read_bytes()
    assert (home / "runs" / "latest" / "inputs" / "tiny.yaml").read_text() == SCENARIO, "what it was made of comes along"
    assert theirs.versions == ours.versions
    assert theirs.command == f"opus run {packed} --runtime sim"


def test_a_program_that_does_otherwise_is_found_out(mine: Path, elsewhere: Path) -> None:
    """In the clone a message takes longer to handle: the same plan, another run."""
    costs = elsewhere / "clone" / "controller" / "opus_controller" / "runtimes" / "sim" / "costs.py"
    text = costs.read_text()
    assert "520 * MICROSECOND" in text
    costs.write_text(text.replace("520 * MICROSECOND", "530 * MICROSECOND"))
    done, home = again(elsewhere, sent(mine, elsewhere), "--json")
    assert done.returncode == 1
    assert "NOT the packed run: trace" in done.stderr
    assert "packed with another source: " in done.stderr
    assert json.loads(done.stdout)["plan_digest"] == load(home / "runs" / "latest").plan_digest


def test_a_run_again_can_be_packed_again_and_compared(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = mine / "run.opus"
    assert run(["run", str(packed), "--out", str(tmp_path / "two")]) == 0
    assert run(["report", str(tmp_path / "two"), "--pack", str(tmp_path / "two.opus")]) == 0
    capsys.readouterr()
    assert run(["compare", str(packed), str(tmp_path / "two.opus"), "--fail-on", "routing_latency_ms.p50 > 1%"]) == 0
    assert "every run was the same, step for step" in capsys.readouterr().out


def test_a_run_with_this_machines_hop_cost_is_the_same_elsewhere(tmp_path: Path) -> None:
    scenario = tiny.write(tmp_path)
    assert run(["run", str(scenario), "--runtime", "sim", "--hop-cost", "1.1ms", "--out", str(tmp_path / "one")]) == 0
    result = load(tmp_path / "one")
    assert result.command.endswith("--runtime sim --hop-cost 1.1ms")
    pack.write(tmp_path / "one", result, tmp_path / "one.opus")
    assert run(["run", str(tmp_path / "one.opus"), "--out", str(tmp_path / "two")]) == 0
    assert load(tmp_path / "two").facts["trace_digest"] == result.facts["trace_digest"]


@pytest.mark.parametrize("option", [["--seed", "3"], ["--repeat", "2"], ["--set", "a=1"], ["--jobs", "1"], ["--victims-of", "x"]])
def test_options_that_would_make_another_plan_are_refused(
    option: list[str], mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["run", str(mine / "run.opus"), "--out", str(tmp_path / "two"), *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{option[0]}: a packed run has its plan" in line
    assert not (tmp_path / "two").exists()
