"""Observing a run: the fold of its record, the controller's metrics, the archive, the endpoint, and the wall around all of it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import FakeRuntime, small_plan
from helpers.fakerun import FakeRun, make_plan, ms
from opus_controller.cli._observe import Address, asked_for
from opus_controller.engine.observer import Observed, PathSeen
from opus_controller.engine.play import play
from opus_controller.engine.record import METRICS_SAMPLES, RunRecord
from opus_controller.engine.runtime import Health, Record, Runtime
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.plan import HostFault, Target
from opus_controller.net.links import LinkCounters
from opus_controller.observe import metrics
from opus_controller.observe.archive import Archive, readings
from opus_controller.observe.backfill import openmetrics
from opus_controller.observe.fold import RunFold
from opus_controller.observe.metrics import About, exposition
from opus_controller.observe.observer import RunObserver
from opus_controller.observe.scraper import CONTROLLER, Scraper, every_s, target_labels
from opus_controller.observe.server import MOST_AT_ONCE, Server
from opus_controller.report.build import build
from opus_controller.report.run import read

pytestmark = pytest.mark.clock
SECOND = 1_000_000_000


def a_run() -> FakeRun:
    """Two sites 20 ms apart, a replica at each in turn; a power-off, a partition, a link change, all but the first healed."""
    plan = make_plan(one_way_ms={("a", "b"): 20.0}, hosts={"a": 2, "b": 2}, clients=["a-1", "b-1"], access_ms=0.5)
    run = FakeRun(plan)
    run.begin()
    run.role(1, "a-1", "agent")
    run.role(1, "a-2", "replica", "web")
    run.request(2, "a-1", routing_ms=3, replica="a-2")  # 1 ms away
    run.request(2, "b-1", routing_ms=30, replica="a-2")  # 21 ms away
    run.fault(3, "power-off", "loss", target="a replica of web", victims=["a-2"])
    run.put(3, "host_down", "a-2", cause="power-off")
    run.request(4, "b-1", outcome="deadline")  # nobody serves
    run.role(5, "b-2", "replica", "web")
    run.request(6, "a-1", routing_ms=22, replica="b-2")
    return run


def fold_of(run: FakeRun, *batches: slice) -> RunFold:
    fold = RunFold(run.plan)
    for batch in batches or (slice(None),):
        fold.add(run.events[batch])
    return fold


# The fold


def test_the_fold_counts_requests_and_what_the_oracle_says_of_them() -> None:
    fold = fold_of(a_run(), slice(0, 9), slice(9, None))
    assert fold.requests["web", "a", "ok"] == 2
    assert fold.requests["web", "b", "ok"] == 1
    assert fold.requests["web", "b", "deadline"] == 1
    assert fold.unreachable["web"] == 1
    assert fold.routing_ns["web"] == ms(3 + 30 + 22)
    assert fold.best_ns["web"] == ms(1 + 21 + 21)


def test_live_figures_are_the_reports(tmp_path: Path) -> None:
    run = a_run()
    result = build(read(run.write(tmp_path / "run")))
    fold = fold_of(run)
    assert fold.routing_ns["web"] / fold.best_ns["web"] == pytest.approx(result.stretch)
    issued = sum(fold.requests.values())
    assert (issued, fold.requests["web", "a", "ok"] + fold.requests["web", "b", "ok"]) == (
        result.requests.issued,
        result.requests.ok,
    )


def test_the_fold_knows_who_is_up_and_what_is_in_force() -> None:
    run = a_run()
    run.partition(7, ["a-1"])
    fold = fold_of(run)
    assert fold.host_states()["a", "down"] == 1
    assert fold.replicas() == {"web": 1}
    assert fold.agents() == 1
    assert [(fault.name, fold.in_force(fault)) for fault in fold.faults] == [("loss", True), ("cut", True)]
    run.heal(8, "cut", "heal-cut")
    run.put(9, "host_up", "a-2", cause="restart")
    fold = fold_of(run)
    assert not any(fold.in_force(fault) for fault in fold.faults)
    assert fold.host_states()["a", "down"] == 0


@pytest.mark.parametrize("kind", ["strain", "flood"])
def test_a_strain_or_a_flood_is_exposed_until_it_is_healed(kind: str) -> None:
    run = a_run()
    run.fault(7, kind, "bad", target="a-1", victims=["a-1"])
    series = f'opus_fault_active{{fault="{kind}",name="bad",target="a-1"}}'
    assert f"{series} 1.0" in shown(fold_of(run)).splitlines()
    run.heal(8, "bad")
    assert f"{series} 0.0" in shown(fold_of(run)).splitlines()


def test_faults_told_one_by_one_are_bounded() -> None:
    run = a_run()
    for n in range(500):
        run.fault(10 + n / 100, "crash", f"churn-{n}", target="one of many", victims=["b-1"])
    assert len(fold_of(run).faults) == 200
    assert fold_of(run).fault_counts["crash"] == 500


# What is exposed


def shown(fold: RunFold, observed: Observed | None = None) -> str:
    about = About("netns", "userspace", 1_700_000_000.0, 2.0)
    return exposition(about, fold, observed or Observed(), 9 * SECOND, {"ok": 7, "failed": 1})


def test_all_that_is_exposed_is_in_the_table_and_all_of_the_table_is_exposed() -> None:
    assert set(re.findall(r"^# TYPE (\w+)", shown(fold_of(a_run())), re.M)) == set(metrics.METRICS)


def test_the_controllers_metrics_by_name_and_unit() -> None:
    fold = fold_of(a_run())
    fold.add_health(Health(SECOND, 0.25, 1_500_000, 3, 2_000_000, 1))
    path = PathSeen("a-1", "b-1", asked_ns=42_000_000, asked_loss=0.25, cut=False, answered=4, rtt_ns=172_000_000, lost=2)
    counters = LinkCounters(sent=10, sent_bytes=1000, cut=5, queue_dropped=6, queued_bytes=1500)
    text = shown(fold, Observed({"a-1": counters}, [path], [1_000_000, -3_000_000]))
    labels = 'source="a-1",source_site="a",target="b-1",target_site="b"'
    for line in (
        'opus_run_info{links="userspace",runtime="netns",scenario="made-up",seed="7",topology="made-up sites",window="8s"} 1.0',
        "opus_run_elapsed_seconds 9.0",
        'opus_hosts{site="a",state="down"} 1.0',
        'opus_replicas{app="web"} 1.0',
        'opus_replicas_wanted{app="web"} 1.0',
        'opus_run_requests_total{app="web",outcome="deadline",site="b"} 1.0',
        'opus_run_requests_total{app="web",outcome="refused",site="b"} 0.0',
        'opus_availability_ratio{app="web"} 0.75',
        'opus_fault_timestamp_seconds{fault="power-off",name="loss",target="a replica of web"} 1.700000003e+09',
        'opus_fault_active{fault="power-off",name="loss",target="a replica of web"} 1.0',
        f"opus_rtt_asked_seconds{{{labels}}} 0.042",
        f"opus_rtt_seconds_count{{{labels}}} 4.0",
        f"opus_rtt_seconds_sum{{{labels}}} 0.172",
        f"opus_path_loss_asked_ratio{{{labels}}} 0.25",
        f"opus_probes_lost_total{{{labels}}} 2.0",
        'opus_eth0_packets_total{direction="sent",host="a-1",site="a"} 10.0',
        'opus_eth0_dropped_packets_total{cause="cut",host="a-1",site="a"} 5.0',
        'opus_eth0_dropped_packets_total{cause="queue",host="a-1",site="a"} 6.0',
        'opus_eth0_queue_bytes{host="a-1",site="a"} 1500.0',
        "opus_testbed_cpu_busy_ratio 0.25",
        "opus_testbed_link_lag_seconds 0.0015",
        "opus_testbed_link_overflow_packets_total 3.0",
        "opus_testbed_valid 0.0",
        'opus_testbed_breached{limit="link overflow"} 1.0',
        'opus_testbed_breached{limit="link lag p99"} 0.0',
        'opus_testbed_rtt_error_seconds_bucket{le="0.001"} 1.0',
        'opus_testbed_rtt_error_seconds_bucket{le="0.005"} 2.0',
        'opus_testbed_scrapes_total{outcome="failed"} 1.0',
    ):
        assert line in text.splitlines()


def test_errors_of_round_trips_are_counted_once_however_often_they_are_shown() -> None:
    fold, errors = fold_of(a_run()), [1, 2]
    shown(fold, Observed(rtt_errors_ns=errors))
    errors.append(3)
    assert "opus_testbed_rtt_error_seconds_count 3.0" in shown(fold, Observed(rtt_errors_ns=errors))


# The archive

TEXT = """\
# HELP opus_requests_total Ended.
# TYPE opus_requests_total counter
opus_requests_total{app="w e{b}",outcome="ok"} %s
# TYPE opus_entries gauge
opus_entries %s
"""


def test_the_archive_gives_back_every_reading_whole(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "metrics.ndjson")
    archive.target("a-1", {"run": "r", "host": "a-1"})
    archive.reading("a-1", 100.0, 0.01, TEXT % (1, 5))
    archive.reading("a-1", 102.0, 0.01, TEXT % (1, 6.5))
    archive.failed("a-1", 104.0, "a-1 is dead")
    archive.reading("a-1", 106.0, 0.01, TEXT % ("+Inf", "NaN"))
    archive.reading("a-1", 108.0, 0.01, "opus_entries 7\n")
    archive.close()
    archive.reading("a-1", 110.0, 0.01, TEXT % (1, 5))  # one that was under way when the run ended
    told = [(r.at, r.up, dict(r.values), r.labels["host"]) for r in readings(tmp_path / "metrics.ndjson")]
    requests = 'opus_requests_total{app="w e{b}",outcome="ok"}'
    assert [at for at, *_ in told] == [100, 102, 104, 106, 108]
    assert told[0][2] == {requests: 1, "opus_entries": 5}
    assert told[1][2] == {requests: 1, "opus_entries": 6.5}
    assert told[2][1:3] == (False, {})
    assert told[3][2][requests] == float("inf")
    assert told[3][2]["opus_entries"] != told[3][2]["opus_entries"]
    assert told[4][2] == {"opus_entries": 7}
    lines = (tmp_path / "metrics.ndjson").read_text().splitlines()
    assert json.loads(lines[2])["values"] == {"1": 6.5}  # what has not changed is not said again


def test_a_file_cut_short_ends_with_its_last_whole_line(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "m")
    archive.target("a-1", {})
    archive.reading("a-1", 100.0, 0.01, TEXT % (1, 5))
    with (tmp_path / "m").open("a") as file:
        file.write('{"at":102,"targ')
    assert [r.at for r in readings(tmp_path / "m")] == [100]
    with pytest.raises(ScenarioError, match="kept no metrics"):
        list(readings(tmp_path / "none"))


def test_the_archive_as_openmetrics(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "m")
    for host in ("a-1", "a-2"):
        archive.target(host, {"run": 'r"1', "host": host})
        archive.reading(host, 100.0, 0.01, TEXT % (1, 5))
    archive.failed("a-2", 102.0, "dead")
    text = "".join(openmetrics(tmp_path / "m"))
    assert (
        '# TYPE opus_requests counter\nopus_requests_total{app="w e{b}",outcome="ok",run="r\\"1",host="a-1"} 1.0 100.000\n'
        in text
    )
    assert 'up{run="r\\"1",host="a-2"} 1.0 100.000\nup{run="r\\"1",host="a-2"} 0.0 102.000\n' in text
    assert text.endswith("# EOF\n")
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(set(heads)) == len(heads)


# The scraper and the endpoint


@pytest.mark.parametrize(("hosts", "seconds"), [(1, 2.0), (30, 2.0), (60, 4.0), (1000, 67.0)])
def test_large_runs_are_read_less_often(hosts: int, seconds: float) -> None:
    assert every_s(hosts, watched=True) == seconds
    assert every_s(hosts, watched=False) > seconds


async def _until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_what_somebody_asks_for_is_not_read_twice_and_a_silent_host_holds_nobody_up(tmp_path: Path) -> None:
    read: list[str] = []

    async def host(name: str) -> str:
        read.append(name)
        if name == "silent":
            await asyncio.sleep(3600)
        if name == "dead":
            raise PlatformError("dead is dead")
        return "opus_entries 1\n"

    async def own() -> str:
        return "opus_agents 1\n"

    async def body() -> None:
        labels = {name: {"host": name} for name in (CONTROLLER, "asked", "lively", "silent", "dead")}
        scraper = Scraper(labels, host, own, Archive(tmp_path / "m"), every=0.5)
        assert await scraper.ask("asked") == "opus_entries 1\n"
        scraper.start()
        asks = 1
        while read.count("lively") < 3:
            await scraper.ask("asked")
            asks += 1
            await asyncio.sleep(0.01)
        assert read.count("asked") == asks  # and no more, for as long as somebody comes by himself
        await _until(lambda: read.count("asked") > asks)  # nobody does any more
        await scraper.stop()
        assert scraper.outcomes["failed"] >= 1

    asyncio.run(body())
    told = list(readings(tmp_path / "m"))
    assert {r.target for r in told if r.up} == {CONTROLLER, "asked", "lively"}
    assert {r.target for r in told if not r.up} <= {"dead", "silent"}


@dataclass
class Watched(FakeRuntime):
    """A runtime whose hosts have metrics; some have trouble."""

    dead: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    in_the_middle: Callable[[], None] = lambda: None
    """Called once, in a thread, while the run goes on."""

    async def metrics(self, host: str) -> str:
        if host in self.dead:
            raise PlatformError(f"{host} is dead")
        if host in self.hanging:
            await asyncio.sleep(3600)
        return f"# TYPE opus_entries gauge\nopus_entries {len(host)}\n"

    async def observed(self) -> Observed:
        return Observed({"a-1": LinkCounters(sent=1)})

    async def sleep_until(self, t_ns: int) -> None:
        await super().sleep_until(t_ns)
        if self.t >= 5 * SECOND:
            middle, self.in_the_middle = self.in_the_middle, lambda: None
            await asyncio.to_thread(middle)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server("127.0.0.1", 0)
    try:
        yield server
    finally:
        server.close()


def get(server: Server, path: str) -> tuple[int, str]:
    connection = HTTPConnection(server.address, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def played(tmp_path: Path, server: Server, runtime: Watched) -> RunRecord:
    loss = HostFault(kind="power-off", at_ns=2 * SECOND, name="loss", target=Target(text="b-2", hosts=("b-2",)))
    plan = small_plan(loss)
    record = RunRecord.at(tmp_path / "small-run", plan)
    observer = RunObserver(plan, "small-run", archive=record.directory / METRICS_SAMPLES, server=server)
    outcome = asyncio.run(play(plan, runtime, record, observer=observer))
    assert outcome.ended == "done"
    record.close()
    return record


def test_a_run_is_served_while_it_lasts_and_kept(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, str]] = {}

    def look() -> None:
        for path in ("/", "/sd", "/metrics", "/hosts/a-1/metrics", "/hosts/b-2/metrics", "/hosts/c-1/metrics"):
            answers[path] = get(server, path)
        for path in ("/hosts/nobody/metrics", "/hosts/controller/metrics", "/elsewhere"):
            assert get(server, path)[0] == 404

    with serving() as server:
        assert get(server, "/sd") == (200, "[]")
        assert get(server, "/metrics")[0] == 503
        record = played(tmp_path, server, Watched(dead={"b-2"}, hanging={"c-1"}, in_the_middle=look))
        assert get(server, "/metrics")[0] == 503
        assert get(server, "/sd") == (200, "[]")
    assert answers["/hosts/a-1/metrics"] == (200, "# TYPE opus_entries gauge\nopus_entries 3\n")
    assert answers["/hosts/b-2/metrics"] == (503, "b-2 is dead\n")
    assert answers["/hosts/c-1/metrics"][0] == 504
    assert 'opus_fault_active{fault="power-off",name="loss",target="b-2"} 1.0' in answers["/metrics"][1]
    targets = json.loads(answers["/sd"][1])
    assert [target["targets"] for target in targets] == [[server.address]] * 7
    own, first = targets[0]["labels"], targets[1]["labels"]
    assert (own["job"], own["__metrics_path__"]) == ("opus-controller", "/metrics")
    assert first == {
        "job": "opus-host",
        "instance": "small-run/a-1",
        "run": "small-run",
        "host": "a-1",
        "site": "a",
        "group": "a",
        "__metrics_path__": "/hosts/a-1/metrics",
        "__scrape_interval__": "2s",
        "__scrape_timeout__": "2s",
    }
    kept = {r.target for r in readings(record.directory / METRICS_SAMPLES) if r.up}
    assert {"a-1", CONTROLLER} <= kept


def test_discovery_answers_by_the_name_it_was_reached_by(tmp_path: Path) -> None:
    told: list[Any] = []

    def look() -> None:
        for name in ("host.docker.internal:9477", 'x"}],"evil":[{"'):
            connection = HTTPConnection(server.address)
            connection.request("GET", "/sd", headers={"Host": name})
            told.append(json.loads(connection.getresponse().read())[0]["targets"])

    with serving() as server:
        played(tmp_path, server, Watched(in_the_middle=look))
    assert told == [["host.docker.internal:9477"], [server.address]]


def test_more_clients_than_places_are_turned_away_and_harm_nobody(tmp_path: Path) -> None:
    import socket

    def look() -> None:
        host, port = server.address.split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(MOST_AT_ONCE + 20)]
        for one in idle:
            one.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                assert get(server, "/metrics")[0] == 200
                return
            except OSError:
                continue
        raise AssertionError("no answer once the idle ones had gone")

    with serving() as server:
        played(tmp_path, server, Watched(in_the_middle=look))


def test_a_port_that_is_taken_is_said() -> None:
    with serving() as server, pytest.raises(PlatformError, match=r"cannot listen .* --observe-address 127\.0\.0\.1:0"):
        Server("127.0.0.1", int(server.address.split(":")[1]))


# The wall


class Clumsy:
    """Breaks at one of its calls."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise ArithmeticError("planted")

    async def begin(self, runtime: Runtime) -> None:
        self._call("begin")

    def records(self, records: list[Record]) -> None:
        self._call("records")

    def health(self, health: Health) -> None:
        self._call("health")

    async def end(self) -> None:
        self._call("end")


@pytest.mark.parametrize("at", ["begin", "records", "health", "end"])
def test_whatever_an_observer_does_the_run_goes_on(tmp_path: Path, at: str) -> None:
    plan = small_plan()
    record = RunRecord.at(tmp_path / "run", plan)
    observer, runtime = Clumsy(at), FakeRuntime()
    outcome = asyncio.run(play(plan, runtime, record, observer=observer))  # type: ignore[arg-type]
    assert outcome.ended == "done"
    assert runtime.did("down")
    assert observer.calls.count(at) == 1  # and it is not called again


def test_an_observer_hears_all_that_is_recorded(tmp_path: Path) -> None:
    heard: list[Record] = []

    class Hearing(Clumsy):
        def records(self, records: Any) -> None:
            heard.extend(records)

    plan = small_plan()
    record = RunRecord.at(tmp_path / "run", plan)
    asyncio.run(play(plan, FakeRuntime(), record, observer=Hearing("")))
    written = [json.loads(line) for line in (tmp_path / "run" / "events.ndjson").read_text().splitlines()]
    assert [dict(one) for one in heard] == written


def test_nothing_is_observed_in_virtual_time(tmp_path: Path) -> None:
    plan = small_plan()
    record = RunRecord.at(tmp_path / "run", plan)
    observer = RunObserver(plan, "run", archive=tmp_path / "metrics.ndjson")
    assert asyncio.run(play(plan, FakeRuntime(), record, observer=observer)).ended == "done"
    assert not (tmp_path / "metrics.ndjson").exists()


# The options


def test_what_the_options_mean() -> None:
    assert asked_for(False, None) is None
    assert asked_for(True, None) == Address("127.0.0.1", None)
    assert asked_for(False, "0.0.0.0:9999") == Address("0.0.0.0", 9999)
    assert asked_for(True, ":0") == Address("127.0.0.1", 0)
    for wrong in ("9477", "here:port", "h:70000"):
        with pytest.raises(ScenarioError, match="ADDRESS:PORT is wanted"):
            asked_for(True, wrong)


def test_labels_of_targets() -> None:
    labels = target_labels("r", [("a-1", "a", "servers")])
    assert list(labels) == [CONTROLLER, "a-1"]
    assert len({of["instance"] for of in labels.values()}) == 2
