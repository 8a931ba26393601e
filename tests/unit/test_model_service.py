"""A service of a scenario in its plan: ports agreed, files named by their content alone."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from opus_controller.cli._app import run
from opus_controller.model import bundle
from opus_controller.model.bundle import pack
from opus_controller.model.compile import compile_plan, load_plan, save_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Plan, Service
from opus_controller.model.scenario import load_scenario
from opus_controller.model.service import bundles

MS = 1_000_000
HEAD = """\
name: s
topology: three-hosts
duration: 20s
applications:
"""


def written(tmp_path: Path, *apps: str) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(HEAD + "".join(f"  - {app}\n" for app in apps))
    return path


def service(plan: Plan, k: int = 0) -> Service:
    found = plan.apps[k].service
    assert found is not None
    return found


def site(tmp_path: Path, name: str = "site", text: str = "hello\n") -> Path:
    folder = tmp_path / name
    (folder / "html").mkdir(parents=True)
    (folder / "html" / "index.html").write_text(text)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    app = """{name: web, replicas: 2, service: {command: "nginx -p '{data}'", port: 8080}}"""
    plan = compile_plan(load_scenario(written(tmp_path, app)))
    told = service(plan)
    assert told.command == ("nginx", "-p", "{data}")
    assert (told.protocol, told.health_path, told.request, told.gateway) == ("http", "/", "/", 7080)
    assert (told.health_every_ns, told.health_failures, told.start_ns) == (1000 * MS, 3, 10_000 * MS)
    assert told.files is None
    save_plan(plan, tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json") == plan


def test_gateways_take_the_ports_that_no_program_has(tmp_path: Path) -> None:
    apps = [f"{{name: a{port}, replicas: 1, service: {{command: x, port: {port}}}}}" for port in (7081, 7080)]
    apps.append("{name: b, replicas: 1, service: {command: x, port: 7083, gateway: 7082}}")
    apps.append("{name: plain, replicas: 1}")
    plan = compile_plan(load_scenario(written(tmp_path, *apps)))
    assert [service(plan, k).gateway for k in range(3)] == [7084, 7085, 7082]
    assert plan.apps[3].service is None


def test_tcp_keeps_every_byte_of_its_request(tmp_path: Path) -> None:
    app = '{name: kv, replicas: 1, service: {command: redis-server, port: 6379, protocol: tcp, request: "PING\\r\\n"}}'
    told = service(compile_plan(load_scenario(written(tmp_path, app))))
    assert (told.request, told.health_path) == ("PING\r\n", "")


def test_files_are_named_by_content_on_any_machine(tmp_path: Path) -> None:
    one = pack(site(tmp_path, "one"))
    other = site(tmp_path, "other")
    os.utime(other / "run.sh", (1, 1))
    (other / "html" / "index.html").chmod(0o600)
    again = pack(other)
    assert one.digest == again.digest == hashlib.sha256(one.data).hexdigest()
    assert one.files == 2
    with tarfile.open(fileobj=io.BytesIO(one.data)) as tar:
        assert {entry.name: entry.mode for entry in tar} == {"html": 0o755, "html/index.html": 0o644, "run.sh": 0o755}
    assert pack(site(tmp_path, "changed", "Hello\n")).digest != one.digest
    (other / "run.sh").chmod(0o644)
    assert pack(other).digest != one.digest, "it could not be run any more"


def test_the_plan_names_them_and_so_its_digest_follows_them(tmp_path: Path) -> None:
    path = written(tmp_path, "{name: web, replicas: 2, service: {command: nginx, port: 8080, files: site}}")
    folder = site(tmp_path)
    scenario = load_scenario(path)
    plan = compile_plan(scenario)
    files = service(plan).files
    assert files is not None
    assert [one.digest for one in bundles(plan, tmp_path)] == [files.digest]
    (folder / "html" / "index.html").write_text("changed\n")
    assert compile_plan(scenario).digest != plan.digest
    with pytest.raises(ScenarioError, match="has changed since the plan was made"):
        bundles(plan, tmp_path)
    (folder / "html" / "index.html").unlink()
    (folder / "run.sh").unlink()
    with pytest.raises(ScenarioError, match="holds no file"):
        bundles(plan, tmp_path)
    with pytest.raises(ScenarioError, match=r"s.yaml:5: applications\[0\].service.files: .* holds no file"):
        compile_plan(scenario)


SPOILT = {"link": "no links", "large": "MiB", "many": "at most", "unreadable": "readable"}


@pytest.mark.parametrize(("spoil", "words"), SPOILT.items())
def test_what_cannot_be_packed(spoil: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = site(tmp_path)
    if spoil == "link":
        (folder / "link").symlink_to("run.sh")
    elif spoil == "large":
        monkeypatch.setattr(bundle, "MOST_BYTES", 1024)
    elif spoil == "many":
        monkeypatch.setattr(bundle, "MOST_FILES", 2)
    else:

        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match=words):
        pack(folder)


def test_plan_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "nginx"]) == 0
    out = capsys.readouterr().out
    for words in ("service web: nginx -p", "http on port 8080, health /health", "gateways on 127.0.0.1:7080", "3 files"):
        assert words in out
