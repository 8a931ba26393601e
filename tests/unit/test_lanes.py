"""The runner of the tests' lanes: what it lets pass, and what not. Its lanes here are real pytests on a few lines."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "lanes.py"
TESTS = """\
import os, pytest
@pytest.mark.sound
def test_that_passes(): pass
@pytest.mark.sound
def test_that_passes_too(): pass
@pytest.mark.wrong
def test_that_fails(): assert not "wrong"
@pytest.mark.wrong
def test_that_needs_what_is_broken(request): request.getfixturevalue("nothing")
@pytest.mark.idle
def test_that_is_skipped(): pytest.skip("of no use here")
@pytest.mark.idle
def test_beside_it(): pass
@pytest.mark.asleep
def test_that_is_the_only_one(): pytest.skip("of no use here")
@pytest.mark.inside
def test_where_it_is(): assert os.environ["LANE"] == "inside"
"""
LACK = "a thing is missing: apt-get install thing"
Run = Callable[..., tuple[int, dict[str, list[str]], str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`lanes.py` with these arguments on a tree of its own: its exit code, the table's rows by lane, and standard error."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n sound\n wrong\n idle\n asleep\n inside\naddopts = -p no:cacheprovider\n"
    )

    def run(*arguments: str, ci: str = "") -> tuple[int, dict[str, list[str]], str]:
        monkeypatch.setenv("CI", ci)
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer than the tests
        lanes = _loaded()
        lane = lanes.Lane
        monkeypatch.setattr(lanes, "ROOT", tmp_path)
        monkeypatch.setattr(lanes, "LANES", {name: lane(name, name) for name in ("sound", "wrong", "idle", "asleep", "nobody")})
        lanes.LANES |= {
            "lacking": lane("lacking", "sound", lacks=lambda: LACK),
            "inside": lane("inside", "inside", prefix=("env", "LANE=inside")),
            "shared": lane("shared", "sound", shared=True),
            "dead": lane("dead", "sound", prefix=("false",)),
            "lost": lane("lost", "sound", ("nowhere",)),
        }
        code = lanes.main(list(arguments))
        output, errors = capfd.readouterr()
        rows = [line.split(maxsplit=5) for line in output[output.rfind("lane  ") :].splitlines()[1:-1]]
        return code, {row[0]: row[1:] for row in rows}, output.splitlines()[-1] if output else errors

    return run


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("lanes_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_lanes_that_pass_are_counted_and_timed(run: Run) -> None:
    code, rows, total = run("sound", "inside", ci="true")
    assert code == 0
    assert rows["sound"][:3] == ["2", "0", "0"]
    assert rows["inside"][:3] == ["1", "0", "0"]
    assert all(len(row) == 4 and float(row[3].removesuffix("s")) > 0 for row in rows.values())
    assert total == "3 passed, 0 failed, 0 skipped"


def test_a_lane_that_several_processes_share_counts_the_tests_of_all(run: Run) -> None:
    code, rows, total = run("shared", ci="true")
    assert code == 0
    assert rows["shared"][:3] == ["2", "0", "0"]
    assert total == "2 passed, 0 failed, 0 skipped"


def test_one_failure_fails_everything_and_the_other_lanes_run_all_the_same(run: Run) -> None:
    code, rows, total = run("wrong", "sound")
    assert code == 1
    assert rows["wrong"][:3] == ["0", "2", "0"], "an error is a failure"
    assert rows["sound"][:3] == ["2", "0", "0"]
    assert total == "2 passed, 2 failed, 0 skipped"


@pytest.mark.parametrize(
    ("lane", "why"), [("nobody", "no test ran"), ("asleep", "no test ran"), ("dead", "no result file"), ("lost", "no test ran")]
)
def test_a_lane_that_ran_no_test_fails_also_on_a_users_machine(run: Run, lane: str, why: str) -> None:
    code, rows, total = run(lane)
    assert code == 1
    assert why in rows[lane][4]
    assert total.startswith("0 passed, 1 failed, ")


def test_arguments_for_pytest_that_leave_no_test_fail_the_lane(run: Run) -> None:
    assert run("sound", "--", "-k", "too")[:1] == (0,)
    code, rows, _ = run("sound", "--", "-k", "nothing_like_it")
    assert code == 1
    assert "no test ran" in rows["sound"][4]


def test_what_the_machine_lacks_is_told_to_a_user_and_fails_in_ci(run: Run) -> None:
    code, rows, total = run("lacking", "sound")
    assert code == 0
    assert rows["lacking"] == ["0", "0", "0", "0.0s", f"skipped: {LACK}"]
    code, rows, total = run("lacking", "sound", ci="true")
    assert code == 1
    assert rows["lacking"][4] == f"cannot run in CI: {LACK}"
    assert total == "2 passed, 1 failed, 0 skipped"


def test_in_ci_no_test_may_be_skipped(run: Run) -> None:
    code, rows, _ = run("idle")
    assert code == 0
    assert rows["idle"][:3] == ["1", "0", "1"]
    code, rows, _ = run("idle", ci="1")
    assert code == 1
    assert rows["idle"][4] == "1 skipped in CI, where nothing may be"


def test_a_lane_that_there_is_not_is_bad_input(run: Run) -> None:
    code, rows, errors = run("sound", "unsound")
    assert code == 2
    assert rows == {}, "nothing has run"
    assert errors.startswith("lanes: no lane named unsound; there are sound, wrong, idle, asleep, nobody, ")
    assert len(errors.splitlines()) == 1


def test_every_kind_of_test_has_a_lane_and_is_no_pure_one() -> None:
    """A marker that no lane asks for would keep its tests from running at all."""
    told = tomllib.loads((SCRIPT.parents[1] / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    declared = {marker.partition(":")[0] for marker in told}
    lanes = _loaded()
    marks = [lane.marks for lane in (*lanes.LANES.values(), lanes.SOAK)]
    assert {words.split()[0] for words in marks[1:]} == declared
    assert set(marks[0].split(" and ")) == {f"not {marker}" for marker in declared}
