"""The command line as a whole: exit codes, one-line errors, JSON and nothing else, the choice of a runtime."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opus_controller.cli._app import run

pytestmark = pytest.mark.clock
LEARN = "learn"


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """Standard output, and the lines on standard error."""
    captured = capsys.readouterr()
    return captured.out, captured.err.strip().splitlines()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no-such-command"], 2, "No such command 'no-such-command'; see: opus --help"),
        (["run"], 2, "opus run --help"),
        (["run", LEARN, "--runtime", "moon"], 2, "moon"),
        (["run", LEARN, "--seed", "-1"], 2, "'--seed'"),
        (["run", LEARN, "--runtime", "netns", "--hop-cost", "1ms"], 2, "allowed: with --runtime sim"),
        (["run", LEARN, "--runtime", "sim", "--hop-cost", "1"], 2, "--hop-cost"),
        (["run", LEARN, "--runtime", "sim", "--hop-cost", "1ms", "--repeat", "2"], 2, "leave out --repeat"),
        (["run", "no-such-scenario"], 2, "no-such-scenario"),
        (["run", LEARN, "--runtime", "docker"], 3, "no container engine at unix:///nowhere/docker.sock; start one: systemctl"),
        (["up", "three-hosts", "--runtime", "docker"], 3, "no container engine at unix:///nowhere/docker.sock"),
        (["up", "three-hosts", "--runtime", "sim"], 2, "allowed: auto, netns, docker"),
        (["report", "no-such-run"], 2, "no-such-run"),
        (["down", "00000000"], 2, "no run '00000000'"),
        (["fault", "kill", "a-1", "--run", "00000000"], 2, "no run '00000000'"),
        (["fault", "kill"], 2, "opus fault kill --help"),
        (["fault", "shape", "a", "b"], 2, "nothing to change; allowed: --rtt"),
    ],
)
def test_mistakes_end_in_one_line_and_their_code(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert run(arguments) == code
    out, lines = said(capsys)
    assert out == ""
    (line,) = lines
    assert line.startswith("opus: ")
    assert words in line


def test_a_plan_that_needs_more_than_the_runtime_has_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "scenarios" / "slow-hosts.yaml").read_text()
    (tmp_path / "squeeze.yaml").write_text(text.replace("cpu: 2%", "memory: 80MiB", 1))
    assert run(["run", str(tmp_path / "squeeze.yaml"), "--runtime", "sim", "--out", str(tmp_path / "out")]) == 2
    out, (line,) = said(capsys)
    assert out == ""
    assert line.startswith("opus: strain 'lame': simulated hosts have no memory to take")
    assert not (tmp_path / "out").exists()


def test_an_error_of_opus_itself_leaves_its_traceback_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(given: str, seed: int | None) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("opus_controller.cli.up.plan_of", broken)
    assert run(["up", "three-hosts"]) == 70
    _, (line,) = said(capsys)
    file = re.search(r"report (\S+)$", line)
    assert file is not None
    assert "in broken" in Path(file[1]).read_text()


def test_without_the_extra_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    """As in an install of the base alone: typer and the others cannot be found."""
    hide = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('typer', 'rich', 'pydantic', 'yaml', 'numpy'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from opus_controller.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", hide, "status"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pip install 'opus-testbed[controller]'" in done.stderr


def test_run_in_json_prints_one_document_and_its_verdict_is_the_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code = run(["run", LEARN, "--runtime", "sim", "--out", str(out), "--json"])
    output, lines = said(capsys)
    result = json.loads(output)
    assert result == json.loads((out / "result.json").read_text())
    assert code == {"pass": 0, "fail": 1, "invalid": 4}[result["verdict"]] == 0
    assert any("runtime: sim" in line for line in lines)
    about = json.loads((out / "run.json").read_text())
    assert about["scenario_path"].endswith("learn.yaml")
    assert about["versions"]["python"]


def test_a_failed_expectation_is_exit_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scenario = Path(__file__).parents[2] / "scenarios" / "learn.yaml"
    wanting = scenario.read_text().replace("hops.max <= 2", "hops.max <= 0")
    assert wanting != scenario.read_text()
    (tmp_path / "wanting.yaml").write_text(wanting)
    assert run(["run", str(tmp_path / "wanting.yaml"), "--runtime", "sim", "--out", str(tmp_path / "out"), "--json"]) == 1
    assert json.loads(said(capsys)[0])["verdict"] == "fail"


def test_a_record_is_never_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    assert run(["run", LEARN, "--runtime", "sim", "--out", str(tmp_path)]) == 2
    assert "not empty" in said(capsys)[1][-1]
    assert os.listdir(tmp_path) == ["precious"]


def test_without_root_auto_runs_in_sim_and_names_the_command_for_real_hosts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", [".venv/bin/opus", "run"])
    assert run(["run", LEARN, "--out", str(tmp_path / "out"), "--json"]) == 0
    output, lines = said(capsys)
    assert json.loads(output)["runtime"] == "sim"
    assert f"for real hosts: sudo .venv/bin/opus run {LEARN} --runtime netns" in lines
    assert run(["run", LEARN, "--runtime", "netns", "--out", str(tmp_path / "other")]) == 3
    assert "sudo" in said(capsys)[1][-1]


def test_doctor_names_a_mend_for_whatever_is_not_ok(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--json"])
    report = json.loads(said(capsys)[0])
    assert code == (0 if report["real_hosts"] else 3)
    assert {"root", "tun", "netem", "nofile", "cores", "docker"} <= {check["name"] for check in report["checks"]}
    for check in report["checks"]:
        assert bool(check["mend"]) == (check["verdict"] != "ok"), check


def test_an_engine_on_another_machine_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert run(["up", "three-hosts", "--runtime", "docker"]) == 3
    assert "not on this machine" in said(capsys)[1][-1]


def test_the_simulators_hop_cost_can_be_this_machines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    medians = []
    for k, hop in enumerate(("0ms", "5ms")):
        run(["run", LEARN, "--runtime", "sim", "--hop-cost", hop, "--out", str(tmp_path / str(k)), "--json"])
        result = json.loads(said(capsys)[0])
        assert result["facts"]["hop_cost_source"] == f"--hop-cost {hop}"
        medians.append(result["routing_latency_ms"]["p50"])
    assert medians[0] + 4 < medians[1]
