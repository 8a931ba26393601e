"""A testbed of containers that stays: entered, looked at, changed; containers that somebody else starts again; what gc leaves."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from helpers.netns_runs import brought_up, leftovers, opus, scenario, start_run, state_of, until
from opus_controller.runtimes.docker.image import wanted_tag
from opus_controller.runtimes.hosts import cgroups, state
from opus_controller.runtimes.hosts.processes import Process

pytestmark = pytest.mark.docker

HOG = "kept = b'x' * len(bytes(150 << 20)); import signal; signal.pause()"


@pytest.fixture
def testbed(tmp_path: Path, client: docker.DockerClient) -> Iterator[state.RunState]:
    with brought_up(tmp_path, "docker") as run:
        yield run


def ping_ms(run: state.RunState, source: str, target: str) -> float | None:
    """The best round trip of some; None if none came back."""
    done = opus("exec", "--run", run.run, source, "--", "ping", "-c", "4", "-i", "0.2", "-W", "1", target)
    best = re.search(r"= ([0-9.]+)/", done.stdout)
    return float(best[1]) if best is not None else None


def host_in_status(run: state.RunState, host: str) -> dict[str, Any]:
    hosts = json.loads(opus("status", run.run, "--json").stdout)["hosts"]
    found: dict[str, Any] = next((one for one in hosts if one["name"] == host), {})
    return found


def test_commands_do_what_they_do_with_other_hosts(testbed: state.RunState, client: docker.DockerClient) -> None:
    assert ping_ms(testbed, "a-1", "b-2") == pytest.approx(22, abs=4)  # 20 between the sites, 0.5 at each end and way
    assert opus("link", "set", "a-1", "b-2", "--delay", "60ms", "--run", testbed.run).returncode == 0
    assert ping_ms(testbed, "a-1", "b-2") == pytest.approx(122, abs=6)
    assert "booted as" in opus("logs", "c-2", "--run", testbed.run).stdout
    runs = json.loads(opus("status", testbed.run, "--json").stdout)["runs"]
    assert [one["runtime"] for one in runs if one["run"] == testbed.run] == ["docker"]
    client.containers.get(f"opus-{testbed.run}-c-2").pause()
    until("c-2 paused", lambda: host_in_status(testbed, "c-2").get("paused"))
    client.containers.get(f"opus-{testbed.run}-c-2").unpause()
    until("c-2 going on", lambda: host_in_status(testbed, "c-2").get("paused") is False)


def test_started_again_by_hand_or_by_the_engine_it_is_wired_and_shaped(
    testbed: state.RunState, client: docker.DockerClient
) -> None:
    """Of a link changed by hand before, too: what is wanted is what the new one gets."""
    assert opus("link", "set", "a-1", "b-2", "--delay", "60ms", "--run", testbed.run).returncode == 0
    container = client.containers.get(f"opus-{testbed.run}-b-2")
    container.restart(timeout=1)
    _until_wired_anew(testbed, "b-2", incarnation=1)
    assert ping_ms(testbed, "a-1", "b-2") == pytest.approx(122, abs=6)

    container.update(restart_policy={"Name": "always"})
    container.reload()
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)  # not through the engine, which would leave it dead
    _until_wired_anew(testbed, "b-2", incarnation=2)
    assert ping_ms(testbed, "a-1", "b-2") == pytest.approx(122, abs=6)
    assert ping_ms(testbed, "b-2", "c-1") == pytest.approx(32, abs=4)
    log = (testbed.directory / "keeper.log").read_text()
    assert "b-2 died by itself" in log
    assert "b-2 runs again" in log


def test_gc_leaves_containers_that_are_only_named_almost_like_a_runs(tmp_path: Path, client: docker.DockerClient) -> None:
    process = start_run(scenario(tmp_path, duration=600), tmp_path / "out", "docker")
    run = until("a run's state", lambda: state_of(process))
    near = [
        (f"opus-{run.run}-a-1x", {"opus.host": "a-1x"}),
        (f"opus-{run.run}0-a-1", {"opus.run": f"{run.run}0", "opus.host": "a-1"}),
        (f"x-opus-{run.run}-a-1", {"opus.run": run.run, "opus.host": "a-1"}),
        (f"opus-{run.run}-b-9", {"opus.run": run.run, "opus.host": "b-8"}),
    ]
    bystanders = [
        client.containers.create(wanted_tag(), ["--help"], name=name, labels=labels, network_mode="none") for name, labels in near
    ]
    try:
        process.kill()
        process.communicate(timeout=30)
        assert "containers" in leftovers(run)
        done = opus("gc")
        assert done.returncode == 0, done.stderr
        assert re.search(rf"{run.run}: removed .*6 containers", done.stdout)
        left = {container.name for container in client.containers.list(all=True)}
        assert left == {name for name, _ in near}
    finally:
        for container in bystanders:
            container.remove(force=True)
    assert leftovers(run) == {}


def _until_wired_anew(run: state.RunState, host: str, *, incarnation: int) -> None:
    until(f"{host} in its incarnation {incarnation}", lambda: state.load(run.run).hosts[host].incarnation == incarnation)
    until(f"{host} in the overlay", lambda: host_in_status(run, host).get("alive") and host_in_status(run, host)["entries"])


def test_a_strained_container_keeps_what_it_is_left_also_when_somebody_starts_it_again(
    testbed: state.RunState, client: docker.DockerClient
) -> None:
    """As the engine tells it, and the kernel. What is in it and needs more than is left ends, and nothing else."""
    container = client.containers.get(f"opus-{testbed.run}-a-1")
    whole, first = _limits(container), container.attrs["State"]["Pid"]
    container.exec_run(["python3", "-c", HOG], detach=True)
    hog = until("150 MiB in use", lambda: _hog(container))
    assert (
        opus("fault", "strain", "--run", testbed.run, "a-1", "--cpu", "10%", "--memory", "100MiB", "--name", "weak").returncode
        == 0
    )
    assert _limits(container) == (10**8, 100 << 20, [0.1], [100 << 20])
    until("its end", lambda: not hog.alive())
    assert container.attrs["State"]["Pid"] == first
    container.restart(timeout=1)
    _until_wired_anew(testbed, "a-1", incarnation=1)
    assert _limits(container) == (10**8, 100 << 20, [0.1], [100 << 20])
    assert opus("fault", "heal", "--run", testbed.run, "weak").returncode == 0
    assert _limits(container) == whole
    assert whole[0] > 10**8


def _hog(container: Any) -> Process | None:
    """The process of HOG once it has what it wants."""
    top = container.top()
    for pid in (int(one[top["Titles"].index("PID")]) for one in top["Processes"]):
        with suppress(OSError):  # one that has just ended
            if int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > 150 << 20:
                return Process.of(pid)
    return None


def _limits(container: Any) -> tuple[int, int, list[float], list[int]]:
    """(1e-9 cores and bytes by the engine, cores and bytes by its cgroups)."""
    container.reload()
    told = container.attrs["HostConfig"]
    mounts = cgroups.find_mounts(Path("/proc/self/mountinfo").read_text())
    memberships = Path(f"/proc/{container.attrs['State']['Pid']}/cgroup").read_text()
    return told["NanoCpus"], told["Memory"], *cgroups.in_force(cgroups.of_process(memberships, mounts))
