"""JUnit XML of results: parsed again, counted, and safe against what XML cannot say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.cli._app import run as opus
from opus_controller.model.plan import Expectation
from opus_controller.report.build import build
from opus_controller.report.junit import VALID, to_junit
from opus_controller.report.result import Result
from opus_controller.report.run import read

KEPT = Expectation(name="hops.max <= 2", figure="hops.max", op="<=", bound=2)
BROKEN = Expectation(name='hops.max <= 0 & "more" <b>', figure="hops.max", op="<=", bound=0)


def result(directory: Path, *expectations: Expectation, **changes: object) -> Result:
    run = FakeRun(make_plan(one_way_ms={("a", "b"): 10}, hosts={"a": 1, "b": 1}, clients=("b-1",), expectations=expectations))
    run.begin()
    run.role(1, "a-1", "replica", "web")
    run.request(2, "b-1", routing_ms=10, replica="a-1", hops=1)
    made = build(read(run.write(directory)))
    return made.model_copy(update=changes)


def parsed(*results: Result) -> ET.Element:
    return ET.fromstring(to_junit(results).encode())


def test_a_case_an_expectation(tmp_path: Path) -> None:
    root = parsed(result(tmp_path / "a", KEPT, BROKEN))
    assert root.tag == "testsuites"
    (suite,) = root
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["2", "1", "0", "0"]
    assert [root.get(key) for key in ("tests", "failures", "errors")] == ["2", "1", "0"]
    kept, broken = suite.iter("testcase")
    assert (kept.get("name"), list(kept)) == (KEPT.name, [])
    assert broken.get("name") == BROKEN.name, "quotes and brackets survive"
    (failure,) = broken
    assert failure.tag == "failure"
    assert failure.get("message") == "measured 1"
    assert "expected hops.max <= 0" in (failure.text or "")
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["seed"] == "7"


def test_an_invalid_run_is_an_error_with_its_reasons(tmp_path: Path) -> None:
    good = result(tmp_path / "a", KEPT, BROKEN)
    reasons = ["links late by 12 ms from 3 to 7 s", "bell \x07, escape \x1b and \ud800 half a pair"]
    validity = good.validity.model_copy(update={"ok": False, "reasons": reasons})
    suite = parsed(good.model_copy(update={"verdict": "invalid", "validity": validity}))[0]
    assert [suite.get(key) for key in ("tests", "failures", "errors")] == ["2", "0", "2"]
    for error in suite.iter("error"):
        assert reasons[0] in (error.get("message") or "")
        assert "bell �, escape � and � half" in (error.text or "")


def test_a_run_that_expects_nothing_still_has_a_case(tmp_path: Path) -> None:
    run = result(tmp_path / "a")
    assert [case.get("name") for case in parsed(run).iter("testcase")] == [VALID]
    invalid = run.model_copy(update={"verdict": "invalid"})
    assert parsed(invalid)[0].get("errors") == "1"


def test_several_runs_are_several_suites(tmp_path: Path) -> None:
    runs = [result(tmp_path / str(seed), KEPT, BROKEN, seed=seed, wall_s=1.25) for seed in (3, 4)]
    root = parsed(*runs)
    assert [suite.get("name") for suite in root] == ["made-up seed 3", "made-up seed 4"]
    assert [root.get(key) for key in ("tests", "failures", "time")] == ["4", "2", "2.500"]
    assert len({case.get("classname") for case in root.iter("testcase")}) == 2, "the same test twice would be one test"


def test_opus_run_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "junit.xml"
    assert opus(["run", "learn", "--runtime", "sim", "--out", str(tmp_path / "out"), "--junit", str(file)]) == 0
    assert [case.get("name") for case in ET.parse(file).iter("testcase")] == ["availability >= 99%", "hops.max <= 2"]


@pytest.mark.parametrize("file", ["no/such/place.xml", "."])
def test_where_it_cannot_be_written_is_said_before_the_run(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert opus(["run", "learn", "--runtime", "sim", "--junit", file]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"opus: cannot write {file}: ")
    assert not list(tmp_path.iterdir()), "nothing ran"
