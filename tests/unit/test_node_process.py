"""A node process as whoever starts it sees it: its exit statuses, its lines, its metrics, its notices."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from helpers.nodes import boot, control, wait_for
from opus_node import metrics
from opus_node.core.events import Attached, Notice, RequestDone, RoleChanged, Snapshot
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.folds import NodeFold
from opus_node.lag import LagMeter
from opus_node.notices import NoticeRing
from opus_node.services.spec import ServiceStats
from opus_node.transport import TransportStats
from opus_proto.v1 import control_pb2 as pb

pytestmark = pytest.mark.clock
BROKEN = """
from opus_node.core.node import NodeCore
def step(self, event, now): raise ArithmeticError("planted")
NodeCore.step = step
from opus_node.main import main
main()
"""


def start(directory: Path, *options: str, program: tuple[str, ...] = ("-m", "opus_node.main")) -> subprocess.Popen[str]:
    command = [sys.executable, *program, "--control-dir", str(directory), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_broken_core_ends_the_process_with_a_traceback_and_status_70(tmp_path: Path) -> None:
    process = start(tmp_path / "c", "--listen", "127.0.0.1:0", program=("-c", BROKEN))
    assert "port from 1" in process.communicate(timeout=60)[1]  # 0 would be somebody else's choice
    process = start(tmp_path / "c", "--listen", "127.0.0.11:7411", program=("-c", BROKEN))
    with pytest.raises(grpc.RpcError):
        boot(tmp_path / "c", "127.0.0.11", ["127.0.0.11"])
    log = process.communicate(timeout=60)[1]
    assert process.returncode == 70
    assert "Traceback" in log
    assert "ArithmeticError: planted" in log


def test_a_node_alone_boots_serves_and_ends_when_told(tmp_path: Path) -> None:
    process = start(tmp_path / "c", "--listen", "127.0.0.12:7411")
    try:
        boot(tmp_path / "c", "127.0.0.12", ["127.0.0.12"], "web")
        stub = control(tmp_path / "c")
        status = stub.GetStatus(pb.StatusRequest(), timeout=10)
        assert status.booted
        assert status.is_agent
        text = stub.GetMetrics(pb.MetricsRequest(), timeout=10).text
        assert set(re.findall(r"^# TYPE (\w+)", text, re.M)) == set(metrics.METRICS)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_pause_of_the_process_is_not_counted_as_lag(tmp_path: Path) -> None:
    process = start(tmp_path / "c", "--listen", "127.0.0.13:7411")
    try:
        boot(
            tmp_path / "c",
            "127.0.0.13",
            ["127.0.0.13"],
            "web",
            lease_interval=200 * MILLISECOND,
            probe_interval=200 * MILLISECOND,
        )
        stub = control(tmp_path / "c")
        stub.GetStatus(pb.StatusRequest(), timeout=10)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: " T " in Path(f"/proc/{process.pid}/stat").read_text(), "the process to stop")
        resume_at = time.monotonic() + 4
        wait_for(lambda: time.monotonic() > resume_at, "a pause of four seconds")
        process.send_signal(signal.SIGCONT)
        lag = stub.GetStatus(pb.StatusRequest(), timeout=10).timer_lag_max_ns
        assert lag < 3_000 * MILLISECOND  # a busy machine adds its own
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=60)


def test_a_node_goes_by_its_hosts_clock_and_tells_the_testbeds(tmp_path: Path) -> None:
    process = start(tmp_path / "c", "--listen", "127.0.0.15:7411")
    try:
        boot(tmp_path / "c", "127.0.0.15", ["127.0.0.15"], "web")
        stub = control(tmp_path / "c")
        load = pb.Workload(app="web", seed="s", rate_per_s=20, stop_ns=600 * SECOND, deadline_ns=2 * SECOND, keys=9)
        stub.StartWorkload(pb.WorkloadRequest(workloads=[load]), timeout=10)
        assert stub.SetClock(pb.Clock(ahead_ns=3600 * SECOND), timeout=10).ahead_ns == 3600 * SECOND
        done: list[dict[str, Any]] = []
        for notices in stub.Watch(pb.WatchRequest(), timeout=30):
            done += [line for line in map(json.loads, notices.ndjson.splitlines()) if line["kind"] == "request"]
            if len(done) > 20:
                break
        for one in done[-10:]:
            assert one["outcome"] == "ok", "an hour is no silence"
            assert one["issued_at"] <= one["arrived_at"] <= one["done_at"] <= one["t"] < 600 * SECOND
        back = stub.SetClock(pb.Clock(), timeout=10).ahead_ns
        assert 3599 * SECOND < back <= 3600 * SECOND, "it does not jump back"
        ahead = stub.GetStatus(pb.StatusRequest(), timeout=10).clock_ahead_ns
        assert 3500 * SECOND < ahead < back, "it is slewed"
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "here:7o"], "port from 1 to 65535"),
        (["--listen", ":7000"], "ADDRESS:PORT"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_bad_options_end_in_status_2_and_one_clear_line(tmp_path: Path, options: list[str], says: str) -> None:
    process = start(tmp_path, *options)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert says in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_directory_too_deep_for_a_socket_is_said(tmp_path: Path) -> None:
    process = start(tmp_path / ("deep" * 30))
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "107 bytes" in error
    assert "Traceback" not in error


def test_a_port_in_use_is_said_at_boot_and_a_better_boot_may_follow(tmp_path: Path) -> None:
    first, second = start(tmp_path / "a", "--listen", "127.0.0.14:7411"), start(tmp_path / "b", "--listen", "127.0.0.14:7411")
    try:
        boot(tmp_path / "a", "127.0.0.14", ["127.0.0.14"])
        with pytest.raises(grpc.RpcError, match="is another node there"):
            boot(tmp_path / "b", "127.0.0.14", ["127.0.0.14"])
        first.terminate()
        first.communicate(timeout=60)
        boot(tmp_path / "b", "127.0.0.14", ["127.0.0.14"])
    finally:
        for process in (first, second):
            process.terminate()
            process.communicate(timeout=60)


# Parts


def test_notices_are_numbered_bounded_and_losses_counted() -> None:
    ring = NoticeRing(max_bytes=100, kept_bytes=50)
    for n in range(1, 8):
        ring.append(b"%019d" % n + b"x")  # 20 bytes
    assert (ring.last, ring.dropped) == (7, 2)
    last, lines = ring.take(0, 1000)
    assert (last, [int(line[:-1]) for line in lines.splitlines()]) == (7, [3, 4, 5, 6, 7])
    for n in range(8, 11):
        ring.append(b"%019d" % n + b"x")
    assert ring.dropped == 2  # those were sent
    ring.acknowledge(9)
    assert ring.dropped == 2
    assert ring.take(9, 1000) == (10, b"0000000000000000010x\n")


def test_what_broke_off_with_a_stream_is_counted_when_the_watcher_comes_back() -> None:
    ring = NoticeRing(max_bytes=1000, kept_bytes=40)
    for _ in range(5):
        ring.append(b"x" * 20)
    ring.take(0, 1000)  # sent, but the stream breaks
    ring.append(b"x" * 20)  # 2 lines are kept
    ring.acknowledge(1)
    assert ring.dropped == 3  # 2, 3 and 4 are gone
    assert ring.take(1, 1000)[1].count(b"\n") == 2


def test_a_batch_is_bounded_and_the_rest_follows() -> None:
    ring = NoticeRing()
    for _ in range(10):
        ring.append(b"x" * 100)
    last, lines = ring.take(0, 250)
    assert (last, lines.count(b"\n")) == (3, 3)
    assert ring.take(last, 10_000)[0] == 10


def test_a_watcher_waits_for_the_next_line() -> None:
    async def body() -> None:
        ring = NoticeRing()
        ring.append(b"a")
        await asyncio.wait_for(ring.after(0), 10)
        waiting = asyncio.ensure_future(ring.after(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        ring.append(b"b")
        await asyncio.wait_for(waiting, 10)

    asyncio.run(body())


def test_lag_is_read_since_the_last_reading_and_a_pause_is_none() -> None:
    lag = LagMeter()
    for n in range(200):
        lag.record(due=n, now=n + n)
    assert lag.read() == (198, 199)
    assert lag.read() == (0, 0)
    lag.resumed(1_000)
    lag.record(due=900, now=1_001)
    lag.record(due=1_500, now=1_600)
    assert lag.read() == (100, 100)
    assert lag.histogram.count == 201


def test_a_timer_that_fires_just_before_the_pause_is_known_to_be_over_is_not_late_either() -> None:
    lag = LagMeter()
    lag.record(due=0, now=4 * SECOND)
    assert lag.recent(4 * SECOND) == 0
    lag.resumed(4 * SECOND + MILLISECOND)
    assert lag.read() == (0, 0)
    assert lag.histogram.count == 0


def test_a_long_lag_counts_though_a_pause_comes_later() -> None:
    lag = LagMeter()
    lag.record(due=0, now=4 * SECOND)
    assert lag.recent(4 * SECOND + 300 * MILLISECOND) == 4 * SECOND
    lag.resumed(5 * SECOND)
    lag.record(due=6 * SECOND, now=8 * SECOND)
    assert lag.read() == (4 * SECOND, 4 * SECOND), "also what is not beyond doubt yet"
    assert lag.histogram.count == 2


class Source:
    """A node with one answered request."""

    def __init__(self, *noticed: Notice) -> None:
        self.fold, self.lag, self.stats = NodeFold(), LagMeter(), TransportStats(control_bytes_sent=1234, expired=5)
        self.origin_unix_s = 1_700_000_000.0
        self.services: dict[str, ServiceStats] = {}
        for notice in noticed:
            self.fold.add(notice, 2 * SECOND)

    def snapshot(self) -> Snapshot:
        return Snapshot("198.18.0.1", False, ("web",), (), (("web", 9),), 0, 17, 900, 3, 4)

    def gauges(self) -> dict[str, float]:
        names = ("opus_open_requests", "opus_queued_bytes", "opus_notices_dropped_total", "links", "streams")
        return {**dict.fromkeys(names, 2.0), "opus_clock_ahead_seconds": -1.5}


def test_metrics_are_in_base_units_with_the_folds_own_buckets() -> None:
    done = RequestDone("web", 1, 5, False, 0, 45 * MILLISECOND, "ok", "198.18.0.2", 30 * MILLISECOND, 2, 1, "agent", True)
    text = metrics.NodeMetrics(Source(done, Attached("198.18.0.1", 7 * MILLISECOND), RoleChanged("replica", True, "web"))).text()
    for line in (
        'opus_requests_total{app="web",outcome="ok",via="agent"} 1.0',
        'opus_request_hops_total{app="web",hops="2"} 1.0',
        "opus_clock_ahead_seconds -1.5",
        'opus_routing_latency_seconds_bucket{app="web",le="0.02"} 0.0',
        'opus_routing_latency_seconds_bucket{app="web",le="0.035"} 1.0',
        'opus_routing_latency_seconds_sum{app="web"} 0.03',
        'opus_request_latency_seconds_count{app="web"} 1.0',
        'opus_link_bytes_total{direction="sent",traffic="control"} 1234.0',
        'opus_messages_lost_total{cause="expired"} 5.0',
        "opus_entries 17.0",
        'opus_view_epoch{app="web"} 9.0',
        "opus_agent_rtt_seconds 0.007",
        'opus_role_changed_timestamp_seconds{app="web",role="replica"} 1.700000002e+09',
        "opus_attachments_total 1.0",
    ):
        assert line in text.splitlines()
