"""`opus sweep`: a directory a setting, a table, sweep.json, and mistakes before anything runs."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from helpers import tiny
from opus_controller.cli._app import run
from opus_controller.report.conclude import load


def test_every_combination_over_the_same_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario, out = tiny.write(tmp_path), tmp_path / "out"
    vary = ["--vary", "applications.web.replicas=1,2", "--vary", "overlay.direct=true"]
    arguments = ["sweep", str(scenario), *vary, "--set", "workload.0.total_rate=20/s", "--repeat", "2"]
    assert run([*arguments, "--runtime", "sim", "--jobs", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    files = ["availability.svg", "inputs", "sweep.json"]
    assert sorted(os.listdir(out)) == ["1-replicas=1-direct=true", "2-replicas=2-direct=true", *files]
    drawn = (out / "availability.svg").read_text()
    assert "measured" in drawn
    assert "forecast" not in drawn, "nothing fails"
    document = json.loads((out / "sweep.json").read_text())
    assert [document[key] for key in ("kind", "verdict", "exit_code", "asked")] == ["sweep", "pass", 0, 2]
    assert [setting["values"]["applications.web.replicas"] for setting in document["settings"]] == [1, 2]
    for setting in document["settings"]:
        assert setting["repeat"] == json.loads((out / setting["directory"] / "repeat.json").read_text())
        assert [one["seed"] for one in setting["repeat"]["runs"]] == [1, 2]
        assert setting["repeat"]["settings"] == {"workload.0.total_rate": "20/s", **setting["values"]}
        mean = setting["repeat"]["figures"]["routing_latency_ms.p50"]["mean"]
        assert f"{mean:.3g} ±" in shown or f"{mean:.1f} ±" in shown or f"{mean:.2f} ±" in shown
    slow, fast = (setting["repeat"]["figures"]["routing_latency_ms.mean"]["mean"] for setting in document["settings"])
    assert fast < slow, "two replicas are nearer than one"
    one = out / "2-replicas=2-direct=true" / "seed-2"
    again = shlex.split(load(one).command)
    assert run([*again[1:], "--out", str(tmp_path / "again"), "--json"]) == 0
    assert load(tmp_path / "again").facts["trace_digest"] == load(one).facts["trace_digest"], "its own command makes it again"


def test_where_something_fails_the_curve_has_its_forecast_beside_it(tmp_path: Path) -> None:
    cut = "timeline: [{at: 5s, name: cut, partition: site far, for: 3s}]\n"
    scenario = tiny.write(tmp_path, scenario=tiny.SCENARIO + cut)
    arguments = ["sweep", str(scenario), "--vary", "applications.0.replicas=1,2", "--set", "expectations=[]", "--out"]
    assert run([*arguments, str(tmp_path / "out"), "--runtime", "sim", "--jobs", "1"]) == 0
    drawn = (tmp_path / "out" / "availability.svg").read_text()
    assert "measured" in drawn
    assert "forecast" in drawn
    arguments[2:4] = ["--vary", "overlay.wave=1,2"]
    assert run([*arguments, str(tmp_path / "other"), "--runtime", "sim", "--jobs", "1"]) == 0
    assert not (tmp_path / "other" / "availability.svg").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--vary"),
        (["--vary", "overlay.wavee=1,2"], "tiny.yaml:7: overlay.wavee: unknown key"),
        (["--vary", "applications.web.replicas=1,9"], "9 replicas on 4 hosts"),
        (["--vary", "overlay.wave=1", "--set", "overlay.wave=2"], "is varied, too"),
        (["--vary", "overlay.wave=1,2", "--repeat", "6000"], "at most 10000 runs"),
        (["--vary", "overlay.wave=1", "--figures", "hops.man"], "did you mean 'hops.mean'?"),
        (["--vary", "overlay.wave=1", "--junit", "/no/where/x.xml"], "cannot write"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tiny.write(tmp_path)
    assert run(["sweep", str(scenario), "--runtime", "sim", "--out", str(tmp_path / "out"), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("opus: ")
    assert words in line
    assert not (tmp_path / "out").exists()
