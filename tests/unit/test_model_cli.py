"""`opus plan`, `opus topology` and `opus schema`, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opus_controller.cli._app import run
from opus_controller.model.compile import load_plan
from opus_controller.model.topology import load_topology

MALFORMED = sorted((Path(__file__).parent.parent / "malformed").glob("*.yaml"))


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.stem)
def test_bad_input_ends_with_exit_code_2_and_one_line(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["topology", "validate", str(case)] if case.name.startswith("topology-") else ["plan", str(case)]
    assert run(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("opus: ")
    assert len(err.splitlines()) == 1


def test_plan_tells_what_would_happen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["plan", "quickstart", "--seed", "3", "--out", str(tmp_path / "plan.json")]) == 0
    out = capsys.readouterr().out
    plan = load_plan(tmp_path / "plan.json")
    assert plan.seed == 3
    assert plan.digest in out
    for words in ("30 hosts in 6 sites", "a replica of web", "power-off", "us-west-2 <-> us-east-1", "hops.max <= 2"):
        assert words in out


def test_plan_as_json_is_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "learn", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["name"], document["format"], len(document["hosts"])) == ("learn", 1, 3)


def test_a_plan_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["plan", "learn", "--out", str(tmp_path / "no" / "plan.json")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_topology_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["topology", "show", "six-regions"]) == 0
    out = capsys.readouterr().out
    for words in ("use1-1 to use1-5", "cloudping", "100Mbit", "69.7", "312.2"):
        assert words in out
    assert run(["topology", "show", "lossy-asymmetric"]) == 0
    assert "330.0*" in capsys.readouterr().out, "paths whose directions differ are marked"
    assert run(["topology", "show", "cloud-33"]) == 0
    assert "greatest round trip between sites: 419.8 ms" in capsys.readouterr().out
    assert run(["topology", "show", "three-hosts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rtt_ms"][0] == [0.5, 40.0, 240.0]


def test_topology_validate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["topology", "validate", "three-hosts"]) == 0
    assert "3 hosts in 3 sites: good" in capsys.readouterr().out
    assert run(["topology", "validate", "nowhere.yaml"]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_topology_import(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(",a,b\na,1,20\nb,20,1\n")
    assert run(["topology", "import", str(tmp_path / "m.csv"), "--hosts", "3", "--out", str(tmp_path / "m.yaml")]) == 0
    assert "6 hosts in 2 sites" in capsys.readouterr().out
    assert len(load_topology(tmp_path / "m.yaml").hosts) == 6
    assert run(["topology", "import", str(tmp_path / "m.csv")]) == 0
    assert "rtt_ms:" in capsys.readouterr().out


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("topology", "scenario", "plan"):
        assert run(["schema", kind]) == 0
        assert json.loads(capsys.readouterr().out)["title"] == f"Opus {kind}"
    assert run(["schema", "novel"]) == 2
    assert "allowed: topology, scenario, plan" in capsys.readouterr().err
