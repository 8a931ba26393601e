"""`opus compare` in the simulator: 10% are found, equal settings are not told apart; the whole way by the command line.

The twenty tries are in tests/soak/test_compare_soak.py; these six would let a comparison pass that is wrong in every tenth.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import planted, tiny
from opus_controller.cli._app import run

GATE = ["--fail-on", "routing_latency_ms.mean > 5%", "--fail-on", "availability < -0.1%"]


def test_a_slower_network_is_told_and_an_equal_one_is_not(tmp_path: Path) -> None:
    told, wrong, said = planted.tries(tmp_path, count=6, seeds=6)
    assert told == 6
    assert wrong <= 1, said


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seeds each: as it is, the same again, and every second path 10% longer."""
    place = tmp_path_factory.mktemp("sides")
    for name, rtt_ms, topology in (("before", 40, "net"), ("again", 40, "net"), ("slower", 44, "net2")):
        scenario = tiny.write(place / name, rtt_ms=rtt_ms, topology=topology)
        assert (
            run(["run", str(scenario), "--runtime", "sim", "--repeat", "4", "--jobs", "1", "--out", str(place / name / "out")])
            == 0
        )
    return place


def compared(sides: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, *more: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run(["compare", str(sides / before), str(sides / after), *more])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_planted_regression_fails_and_says_what_differs(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = compared(sides, capsys, "before/out", "slower/out", *GATE)
    assert code == 1
    assert "REGRESSED routing_latency_ms.mean > 5%" in said
    assert "ok availability < -0.1%" in said
    assert "differs: topology: net → net2" in said
    assert "differs: paths.shapes[].delay: 20ms → 22ms" in said
    assert "4 pairs of runs with the same seed" in said


def test_the_same_setting_again_is_the_same_step_for_step(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = compared(sides, capsys, "before/out", "again/out", *GATE)
    assert code == 0
    assert "nothing differs in what was asked for" in said
    assert "every run was the same, step for step" in said


def test_a_stored_baseline_needs_no_directories(sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_bytes((sides / "before" / "out" / "repeat.json").read_bytes())
    code, said = compared(sides, capsys, str(baseline), "slower/out", *GATE)
    assert code == 1
    assert "the plans, in what the missing" in said
    assert compared(sides, capsys, str(baseline), "again/out", *GATE)[0] == 0


def test_one_run_against_one(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = compared(sides, capsys, "before/out/seed-2", "slower/out/seed-2/result.json", *GATE)
    assert code == 1
    assert "what is chance cannot be told; more seeds" in said
    code, said = compared(sides, capsys, "before/out/seed-2", "before/out/seed-3")
    assert code == 0
    assert "differs: seed 2 → seed 3" in said


def test_json_is_one_document(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = compared(sides, capsys, "before/out", "slower/out", "--json", *GATE)
    document = json.loads(said)
    assert (document["kind"], document["exit_code"], code) == ("comparison", 1, 1)
    (group,) = document["groups"]
    effect = next(effect for effect in group["effects"] if effect["figure"] == "routing_latency_ms.max")
    assert effect["finding"] == "different"
    assert 1.05 < effect["low"] <= effect["change"] <= effect["high"] < 1.1, "hop costs are not longer"


def test_sweeps_are_compared_setting_by_setting(sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("before", "slower"):
        vary = ["--vary", "applications.web.replicas=1,2", "--repeat", "2", "--jobs", "1"]
        scenario = str(sides / name / "tiny.yaml")
        assert run(["sweep", scenario, *vary, "--runtime", "sim", "--out", str(tmp_path / name)]) == 0
    code, said = compared(tmp_path, capsys, "before", "slower/sweep.json", *GATE)
    assert code == 1
    assert "applications.web.replicas 1" in said
    assert "applications.web.replicas 2" in said
    code, said = compared(tmp_path, capsys, "before", str(sides / "slower" / "out"))
    assert code == 2
    assert "before is a sweep, " in said
    assert run(["report", str(tmp_path / "before")]) == 0
    assert "replicas" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file or directory"),
        ("", "not a repeat.json of this version of Opus"),
        ("{}", "not a repeat.json of this version of Opus (scenario Field required)"),
        ('{"kind": "sweep"}', "not a sweep.json of this version of Opus"),
        ("\udcff", "not UTF-8 text"),
        ("[" * 100_000, "not a repeat.json of this version of Opus"),
    ],
)
def test_files_that_are_none_are_refused_in_one_line(
    content: str | None, words: str, sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content, errors="surrogateescape")
    code, said = compared(sides, capsys, "before/out", str(tmp_path / "x.json"))
    assert code == 2
    (line,) = said.splitlines()
    assert words in line


def test_directories_that_hold_no_runs_or_mixed_ones(sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = compared(sides, capsys, "before/out", str(tmp_path))
    assert (code, "no run is in it" in said) == (2, True)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_bytes((sides / "before" / "out" / "seed-1" / "result.json").read_bytes())
    code, said = compared(sides, capsys, "before/out", str(tmp_path))
    assert (code, "several runs with seed 1" in said) == (2, True)


def test_invalid_runs_on_a_side_are_nothing_to_compare(sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (sides / "before" / "out" / "repeat.json").read_text().replace('"verdict": "pass"', '"verdict": "invalid"')
    (tmp_path / "invalid.json").write_text(text)
    code, said = compared(sides, capsys, "before/out", str(tmp_path / "invalid.json"))
    assert code == 4
    assert "no valid run" in said
