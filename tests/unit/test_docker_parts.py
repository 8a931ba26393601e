"""The docker runtime's parts that need no engine: what an inspected container means, what an image's name stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Service
from opus_controller.model.shapes import HostChange
from opus_controller.runtimes.docker import container, image
from opus_controller.runtimes.docker.engine import Engine, _seen, why_unusable
from opus_controller.runtimes.hosts import state

SERVICE = {
    "image": "nginx", "port": 8080, "protocol": "http", "health_path": "/", "health_every_ns": 1, "health_timeout_ns": 1,
    "health_failures": 3, "start_ns": 1, "request": "/", "gateway": 7080, "deadline_ns": 1, "model_start_ns": 1,
    "model_answer_ns": 1,
}  # fmt: skip


def inspected(**state: Any) -> dict[str, Any]:
    base = {"Running": False, "Paused": False, "Pid": 0, "ExitCode": 0, "OOMKilled": False, "Error": ""}
    return {"Id": "abc", "Name": "/opus-0123abcd-a-1", "State": {**base, **state}}


@pytest.mark.parametrize(("code", "status"), [(0, 0), (1, 1), (70, 70), (128, 128), (137, -9), (143, -15), (255, 255)])
def test_exit_codes_over_128_are_signals(code: int, status: int) -> None:
    assert _seen(inspected(ExitCode=code)).exit_status == status


def test_a_container_runs_when_it_has_a_process() -> None:
    assert _seen(inspected(Running=True, Pid=7)).running
    assert not _seen(inspected(Running=True)).running, "it is being started"
    assert _seen(inspected()).name == "opus-0123abcd-a-1"


def test_limits_come_from_the_hosts_abilities(tmp_path: Path) -> None:
    host = small_plan().hosts[0]
    small = host.model_copy(update={"abilities": host.abilities.model_copy(update={"cpu": 0.25, "memory": 1, "processes": 77})})
    of = state.HostState("opus-0123abcd-a-1", 0x7000_0001, str(tmp_path), str(tmp_path / "log"))
    asked = container.options("0123abcd", small, of, tmp_path / "hosts", cores=2)
    assert asked["mem_limit"] == asked["memswap_limit"] == container.MEMORY_LEAST
    assert (asked["nano_cpus"], asked["pids_limit"]) == (250_000_000, 77)
    assert asked["labels"] == {"opus.run": "0123abcd", "opus.host": "a-1"}
    large = host.model_copy(update={"abilities": host.abilities.model_copy(update={"cpu": 64.0})})
    assert container.options("0123abcd", large, of, tmp_path / "hosts", cores=2)["nano_cpus"] == 0, (
        "more than there are: no limit"
    )


def test_a_strain_leaves_a_container_a_share_and_never_too_little_to_live() -> None:
    host = small_plan().hosts[0]
    left = container.strained(host, HostChange(cpu=0.1, memory=100 << 20))
    assert (container.nano_cpus_of(left, 2), container.memory_of(left)) == (10**8, 100 << 20)
    least = container.strained(host, HostChange(cpu=0.0001, memory=1))
    assert (container.nano_cpus_of(least, 2), container.memory_of(least)) == (10**7, container.MEMORY_LEAST)
    large = host.model_copy(update={"abilities": host.abilities.model_copy(update={"cpu": 64.0})})
    assert container.nano_cpus_of(large, 2) == 2 * 10**9, "the engine takes no more than it has"


def test_a_users_container_is_as_confined_as_its_host_and_sees_its_own_files_alone(tmp_path: Path) -> None:
    host, service = small_plan().hosts[0], Service.model_validate(SERVICE)
    of = state.HostState("opus-0123abcd-a-1", 0x7000_0001, str(tmp_path / "c"), str(tmp_path / "log"), container="f00d")
    own = container.options("0123abcd", host, of, tmp_path / "hosts", cores=2)
    asked = container.options_beside("0123abcd", "web", "0/1", service, host, of, tmp_path / "hosts", cores=2)
    differ = {key for key in own.keys() | asked.keys() if own.get(key) != asked.get(key)}
    assert differ == {"command", "labels", "hostname", "network_mode", "network_disabled", "mounts", "environment"}
    assert asked["network_mode"] == "container:f00d"
    assert asked["labels"] == {"opus.run": "0123abcd", "opus.host": "a-1", "opus.app": "web", "opus.start": "0/1"}
    assert [(mount["Source"], mount["Target"], mount["ReadOnly"]) for mount in asked["mounts"]] == [
        (f"{tmp_path}/c/services/web", "/run/opus/services/web", False),
        (f"{tmp_path}/hosts", "/etc/hosts", True),
    ]
    assert asked["environment"]["OPUS_FILES"] == "/run/opus/services/web/files"
    assert asked["environment"]["OPUS_PORT"] == "8080"


def test_an_images_name_follows_what_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def tag() -> str:
        image.source_digest.cache_clear()
        return image.wanted_tag()

    try:
        before = tag()
        assert before == tag()
        files = image.source_files()
        assert any(name == "opus_node/core/node.py" for _, name in files)
        (tmp_path / "more.py").write_text("x = 1")
        monkeypatch.setattr(image, "source_files", lambda: [*files, (tmp_path / "more.py", "opus_node/more.py")])
        changed = tag()
        assert changed != before
        monkeypatch.setattr(image, "requirements", lambda: ["grpcio==0"])
        assert tag() not in (before, changed)
    finally:
        image.source_digest.cache_clear()


def test_where_no_engine_can_be_it_is_not_asked(tmp_path: Path) -> None:
    assert "not on this machine" in why_unusable("ssh://somewhere")
    assert "no container engine at" in why_unusable(f"unix://{tmp_path}/none.sock")
    with pytest.raises(PlatformError, match="start one: systemctl start docker"):
        Engine.find(f"unix://{tmp_path}/none.sock")
