"""The zygote on a real machine: nodes in their namespaces, without privileges, joined, serving, killed, reaped, gone."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from helpers.nodes import ZygoteClient, boot, control, wait_for, zygote
from helpers.tiny_wan import TinyWan, tiny_wan
from opus_proto.v1 import control_pb2 as pb

pytestmark = pytest.mark.netns

UID = 64_123
"""Nobody's."""


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Hosts:
    """Nodes in a tiny wan's hosts, by number."""

    def __init__(self, client: ZygoteClient, wan: TinyWan, directory: Path) -> None:
        self.client = client
        self.wan = wan
        self._directory = directory

    def dir(self, host: int) -> Path:
        return self._directory / f"h{host}"

    def log(self, host: int) -> Path:
        return self._directory / f"h{host}.log"

    def logs(self) -> str:
        """Everything the zygote and its nodes have said."""
        return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(self._directory.glob("*.log")))

    def spawn(self, host: int, **more: Any) -> int:
        directory = self.dir(host)
        directory.mkdir(mode=0o700, exist_ok=True)
        os.chown(directory, UID, UID)
        request = {
            "netns": self.wan.path(host),
            "uid": UID,
            "gid": UID,
            "control_dir": str(directory),
            "log": str(self.log(host)),
        }
        answer = self.client.ask(op="spawn", host=f"h{host}", **(request | more))
        assert answer["ok"], answer
        return int(answer["pid"])

    def boot(self, host: int, **settings: Any) -> pb.BootReply:
        return boot(self.dir(host), self.wan.address(host), [self.wan.address(1)], "web", **settings)

    def status(self, host: int) -> pb.StatusReply:
        reply = control(self.dir(host)).GetStatus(pb.StatusRequest(), timeout=10)
        assert isinstance(reply, pb.StatusReply)
        return reply


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    directory = tmp_path_factory.mktemp("z")
    for parent in (directory, *directory.parents):  # the nodes' user must get through to its own directories
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    with tiny_wan("zyg", 4) as wan, zygote(directory):
        client = ZygoteClient(directory / "zygote.sock")
        yield Hosts(client, wan, directory)
        client.close()


def test_a_node_has_its_namespace_and_user_and_no_privileges(hosts: Hosts) -> None:
    pid = hosts.spawn(1, nofile=4096)
    status = status_of(pid)
    assert status["Name"] == "h1"
    assert status["Uid"].split() == status["Gid"].split() == [str(UID)] * 4
    assert status["Groups"] == ""
    for capabilities in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    assert status["NoNewPrivs"] == "1"
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(hosts.wan.path(1)).st_ino
    assert "Max open files            4096                 4096" in Path(f"/proc/{pid}/limits").read_text()
    hosts.boot(1)
    listening = subprocess.run(
        ["ip", "netns", "exec", hosts.wan.namespace(1), "ss", "-Hltn"], capture_output=True, text=True, check=True
    ).stdout
    assert ":7000" in listening
    assert stat.S_IMODE(hosts.dir(1).stat().st_mode) == 0o700
    inherited = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not any("zygote" in target for target in inherited)


def test_four_nodes_join_and_answer_requests_and_say_so(hosts: Hosts) -> None:
    origin = time.monotonic_ns()
    for host in hosts.wan.hosts:
        hosts.spawn(host)
    for host in hosts.wan.hosts:
        hosts.boot(host, origin_ns=origin)
    wait_for(lambda: all(hosts.status(host).agent for host in hosts.wan.hosts), "every node to have an agent")
    assert hosts.status(1).is_agent
    wait_for(lambda: sum("web" in hosts.status(host).replica_of for host in hosts.wan.hosts) == 2, "two replicas")

    start = time.monotonic_ns() - origin
    load = pb.Workload(
        app="web", seed="w", rate_per_s=50, start_ns=start, stop_ns=start + 3_000_000_000, deadline_ns=2_000_000_000,
        keys=10, request_bytes=100, reply_bytes=2000,
    )  # fmt: skip
    client = control(hosts.dir(4))
    client.StartWorkload(pb.WorkloadRequest(workloads=[load]), timeout=10)
    records: list[dict[str, Any]] = []
    for notices in client.Watch(pb.WatchRequest(), timeout=30):
        records += [json.loads(line) for line in notices.ndjson.splitlines()]
        done = [record for record in records if record["kind"] == "request"]
        if done and done[-1]["t"] > load.stop_ns - 200_000_000:
            break
    assert 90 < len(done) < 220
    assert {record["outcome"] for record in done} == {"ok"}
    assert {record["host"] for record in records} == {hosts.wan.address(4)}
    assert max(record["hops"] for record in done) <= 2
    assert all(record["issued_at"] <= record["arrived_at"] <= record["done_at"] for record in done)

    metrics = client.GetMetrics(pb.MetricsRequest(), timeout=10).text
    assert 'opus_requests_total{app="web",outcome="ok"' in metrics
    assert hosts.status(4).control_bytes_sent > 0


def test_a_second_boot_and_an_early_question_are_refused_in_one_line(hosts: Hosts) -> None:
    hosts.spawn(1)
    stub = control(hosts.dir(1))
    assert not stub.GetStatus(pb.StatusRequest(), timeout=30, wait_for_ready=True).booted
    with pytest.raises(grpc.RpcError, match="not booted yet"):
        stub.GetMetrics(pb.MetricsRequest(), timeout=10)
    hosts.boot(1)
    with pytest.raises(grpc.RpcError, match="booted already"):
        hosts.boot(1)
    with pytest.raises(grpc.RpcError, match="no application 'nowhere'"):
        stub.StartWorkload(pb.WorkloadRequest(workloads=[pb.Workload(app="nowhere", rate_per_s=1, keys=1)]), timeout=10)
    assert hosts.status(1).booted


def test_ends_are_told_listed_once_and_a_host_can_start_again(hosts: Hosts) -> None:
    pids = {host: hosts.spawn(host) for host in (1, 2, 3)}
    assert hosts.client.ask(op="list")["hosts"] == {f"h{host}": pid for host, pid in pids.items()}, hosts.logs()
    assert "runs already" in hosts.client.ask(op="spawn", host="h1", control_dir=str(hosts.dir(1)))["error"]

    control(hosts.dir(2)).GetStatus(pb.StatusRequest(), timeout=30, wait_for_ready=True)  # before, SIGTERM just ends it
    os.kill(pids[1], signal.SIGKILL)
    assert hosts.client.ask(op="kill", host="h2", signal=signal.SIGTERM)["ok"]
    other = ZygoteClient(hosts.dir(1).parent / "zygote.sock")
    ended: list[dict[str, Any]] = []

    def both_ended() -> bool:
        ended.extend(other.ask(op="exited")["exited"])
        return len(ended) == 2

    wait_for(both_ended, "both ends")
    assert {each["host"]: each["status"] for each in ended} == {"h1": -9, "h2": 0}
    assert other.ask(op="exited")["exited"] == []
    hosts.client.ask(op="list")
    assert sorted(each["pid"] for each in hosts.client.told) == sorted([pids[1], pids[2]])

    again = hosts.spawn(1)
    hosts.boot(1)
    assert hosts.client.ask(op="list")["hosts"] == {"h3": pids[3], "h1": again}
    other.close()


def test_what_cannot_be_done_is_said_and_leaves_no_process(hosts: Hosts) -> None:
    ask = hosts.client.ask
    where = {"control_dir": str(hosts.dir(1))}
    assert "/run/netns/no-such" in ask(op="spawn", host="a", netns="/run/netns/no-such", **where)["error"]
    assert "/no/such/cgroup" in ask(op="spawn", host="a", cgroups=["/no/such/cgroup"], **where)["error"]
    assert "7o" in ask(op="spawn", host="a", listen="1.2.3.4:7o", **where)["error"]
    assert "unknown colour" in ask(op="spawn", host="a", colour="red", **where)["error"]
    assert "control_dir missing" in ask(op="spawn", host="a")["error"]
    assert "unknown op" in ask(op="dance")["error"]
    assert "does not run" in ask(op="kill", host="a")["error"]
    assert "bad request" in hosts.client.ask_raw(b"{nonsense")["error"]
    assert "bad request" in hosts.client.ask_raw(b"[]")["error"]
    assert ask(op="list")["hosts"] == {}


def test_its_socket_is_there_when_it_accepts_and_not_before(tmp_path: Path) -> None:
    """Whoever starts a zygote waits for the file."""
    for _ in range(3):
        with zygote(tmp_path):
            assert [path.name for path in tmp_path.glob("*.sock*")] == ["zygote.sock"]
            ZygoteClient(tmp_path / "zygote.sock").close()


def test_quit_ends_every_node_and_the_zygote(hosts: Hosts) -> None:
    pids = [hosts.spawn(host) for host in (1, 2)]
    assert hosts.client.ask(op="quit") == {"ok": True}
    assert not any(alive(pid) for pid in pids)
    socket = hosts.dir(1).parent / "zygote.sock"
    wait_for(lambda: not socket.exists(), "the socket to go")


def test_nodes_die_with_a_killed_zygote(tmp_path: Path) -> None:
    with zygote(tmp_path) as process:
        client = ZygoteClient(tmp_path / "zygote.sock")
        pid = client.ask(op="spawn", host="a", control_dir=str(tmp_path / "a"), uid=UID, log=str(tmp_path / "a.log"))["pid"]
        process.kill()
        wait_for(lambda: not alive(pid) or status_of(pid)["State"].startswith("Z"), "the node to die")
        client.close()


def test_a_zygote_told_so_ends_with_its_controller_and_stays_otherwise(tmp_path: Path) -> None:
    controller = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with zygote(tmp_path, "--exit-with", str(controller.pid)) as process:
        client = ZygoteClient(tmp_path / "zygote.sock")
        pid = client.ask(op="spawn", host="a", control_dir=str(tmp_path / "a"), log=str(tmp_path / "a.log"))["pid"]
        client.close()
        again = ZygoteClient(tmp_path / "zygote.sock")  # the zygote outlives its clients
        assert again.ask(op="list")["hosts"] == {"a": pid}
        controller.kill()
        controller.wait()
        assert process.wait(20) == 0
        assert not alive(pid)
        again.close()
