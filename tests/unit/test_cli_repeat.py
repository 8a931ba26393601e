"""`opus run --repeat`: seeds in a row, a directory each, the summary of all; what an interrupt leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny
from opus_controller.cli._app import run
from opus_controller.cli._pool import Job, in_processes
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.conclude import load
from opus_controller.report.several.repeat import Repeat, summed_up

pytestmark = pytest.mark.clock
DEADLINE_S = 120


def repeated(scenario: Path, out: Path, *more: str) -> int:
    return run(["run", str(scenario), "--runtime", "sim", "--out", str(out), *more])


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("three")
    scenario = tiny.write(place)
    junit = str(place / "junit.xml")
    assert repeated(scenario, place / "out", "--seed", "5", "--repeat", "3", "--jobs", "1", "--junit", junit) == 0
    return place


def test_a_directory_a_seed_and_the_summary_of_all(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = three / "out"
    assert sorted(os.listdir(out)) == ["inputs", "repeat.json", "seed-5", "seed-6", "seed-7"]
    summary = json.loads((out / "repeat.json").read_text())
    assert [summary[key] for key in ("kind", "verdict", "exit_code", "asked")] == ["repeat", "pass", 0, 3]
    assert [run["seed"] for run in summary["runs"]] == [5, 6, 7]
    results = [load(out / run["directory"]) for run in summary["runs"]]
    assert [result.seed for result in results] == [5, 6, 7]
    medians = [result.routing_latency_ms.p50 for result in results]
    figure = summary["figures"]["routing_latency_ms.p50"]
    assert figure["mean"] == pytest.approx(sum(filter(None, medians)) / 3)
    assert figure["low"] <= figure["mean"] <= figure["high"]
    assert summary["figures"]["availability"]["high"] == 1.0, "no share above all"
    assert {expected["name"]: (expected["held"], expected["runs"]) for expected in summary["expectations"]} == {
        "availability >= 99%": (3, 3),
        "hops.max <= 2": (3, 3),
    }
    assert [suite.get("name") for suite in ET.parse(three / "junit.xml").getroot()] == [f"tiny seed {seed}" for seed in (5, 6, 7)]


def test_each_is_the_run_that_its_seed_makes_alone(three: Path, tmp_path: Path) -> None:
    assert repeated(three / "tiny.yaml", tmp_path / "alone", "--seed", "6") == 0
    alone, among = load(tmp_path / "alone"), load(three / "out" / "seed-6")
    assert alone.facts["trace_digest"] == among.facts["trace_digest"]


def test_two_at_a_time_are_the_same_runs(three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repeated(three / "tiny.yaml", tmp_path / "out", "--seed", "5", "--repeat", "3", "--jobs", "2", "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document == json.loads((tmp_path / "out" / "repeat.json").read_text())
    assert sum("[" in line for line in captured.err.splitlines()) == 3, "a line of progress a run"
    for seed in (5, 6, 7):
        digests = {load(place / f"seed-{seed}").facts["trace_digest"] for place in (three / "out", tmp_path / "out")}
        assert len(digests) == 1


def test_the_worst_verdict_is_the_exit_code(tmp_path: Path) -> None:
    scenario = tiny.write(tmp_path, scenario=tiny.SCENARIO.replace("hops.max <= 2", "hops.max <= 0"))
    assert repeated(scenario, tmp_path / "out", "--repeat", "2", "--jobs", "1") == 1
    assert json.loads((tmp_path / "out" / "repeat.json").read_text())["verdict"] == "fail"


def verdicts(three: Path, *wanted: str) -> Repeat:
    result = load(three / "out" / "seed-5")
    summary = summed_up([(str(k), result.model_copy(update={"verdict": v, "seed": k})) for k, v in enumerate(wanted)], asked=9)
    assert summary is not None
    return summary


def test_a_failed_run_outweighs_an_invalid_one_and_that_a_good_one(three: Path) -> None:
    assert verdicts(three, "pass", "invalid", "fail").exit_code == 1
    invalid = verdicts(three, "pass", "invalid", "pass")
    assert (invalid.verdict, invalid.exit_code) == ("invalid", 4)
    assert {figure.runs for figure in invalid.figures.values()} == {2}, "figures of invalid runs mean nothing"
    assert verdicts(three, "invalid").figures == {}
    assert summed_up([], asked=3) is None


def test_an_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    """SIGINT to the process alone, as from a CI job's time-out, while its workers are busy."""
    scenario = tiny.write(tmp_path)
    command = [sys.executable, "-m", "opus_controller.cli", "run", str(scenario), "--runtime", "sim", "--repeat", "500"]
    out = tmp_path / "out"
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE_S
    assert process.stderr is not None
    while "[2/500]" not in (line := process.stderr.readline()):
        assert line or process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, errors
    assert "interrupted; the runs so far are in" in errors
    assert "Traceback" not in errors
    summary: dict[str, Any] = json.loads((out / "repeat.json").read_text())
    assert summary["interrupted"] is True
    assert 2 <= len(summary["runs"]) < 500
    assert f"{len(summary['runs'])} of 500 runs" in output
    for one in summary["runs"]:
        assert load(out / one["directory"]).verdict == "pass"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--repeat", "0"], "--repeat"),
        (["--repeat", "2", "--observe"], "--observe: shows one run"),
        (["--repeat", "3", "--seed", str(2**63 - 2)], "the last seed would be above"),
        (["--repeat", "2", "--jobs", "0"], "--jobs"),
    ],
)
def test_mistakes_are_told_in_one_line(more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tiny.write(tmp_path)
    assert repeated(scenario, tmp_path / "out", *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("opus: ")
    assert words in line
    assert not (tmp_path / "out").exists()


class Deadly:
    """Ends the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_a_worker_that_dies_is_one_runs_misfortune(tmp_path: Path) -> None:
    plan = compile_plan(load_scenario(tiny.write(tmp_path)))
    jobs = [Job(str(k), Deadly() if k == 0 else plan, tmp_path / str(k), {}) for k in range(3)]  # type: ignore[arg-type]
    ended = {job.label: how for job, how in in_processes(jobs, 2)}
    assert [ended[label].how for label in "012"] == ["failed", "done", "done"]
    assert "died (exit 9)" in str(ended["0"].error)
