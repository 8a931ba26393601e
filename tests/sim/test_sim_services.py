"""Users' programs in virtual time: shipping, starting and answering take the modelled times, and roles move them about."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opus_controller.engine.play import play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.build import build
from opus_controller.report.result import Result
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime
from opus_node.core.replica import GRACE

SECOND = 1_000_000_000
MS = 1_000_000
SCENARIO = """\
name: s
topology: net.yaml
settle: 8s
duration: {duration}s
seed: {seed}
applications:
  - {{name: web, replicas: 2, service: {{command: x, port: 8080, files: site, model_start: 500ms, model_answer: 20ms}}}}
seeds: [a-1]
workload:
  - {{clients: all, app: web, total_rate: 20/s, deadline: 2s}}
timeline: {timeline}
"""
TOPOLOGY = """\
name: net
source: made up
sites: [{name: a}, {name: b}, {name: c}]
rtt_ms: {a: {b: 20, c: 40}, b: {c: 30}}
groups: [{name: servers, sites: all, count: 3, access: {delay: 0.5ms, up: 8Mbit, down: 8Mbit, queue: 100ms}}]
"""


def played(
    tmp_path: Path, timeline: str = "[]", seed: int = 1, duration: int = 40, text: str = SCENARIO
) -> tuple[Result, list[dict[str, Any]], str | None]:
    (tmp_path / "net.yaml").write_text(TOPOLOGY)
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "page").write_bytes(bytes(100_000))
    path = tmp_path / "s.yaml"
    path.write_text(text.format(timeline=timeline, seed=seed, duration=duration))
    plan = compile_plan(load_scenario(path))
    record = RunRecord.at(tmp_path / f"out-{len(list(tmp_path.iterdir()))}", plan)
    runtime = SimRuntime(trace=True)
    outcome = asyncio.run(play(plan, runtime, record))
    record.close()
    assert outcome.ended == "done", outcome.error
    return build(read(record.directory)), list(RecordReader(record.directory).events()), runtime.trace_digest()


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == kind]


AUTO = SCENARIO.replace("replicas: 2", "replicas: auto, min_replicas: 1").replace("settle", "availability_target: 50%\nsettle")


def test_as_many_replicas_as_the_answers_cores_need(tmp_path: Path) -> None:
    """An answer takes `model_answer` of a core, by definition: 20 ms of one and 45 a second are 0.9 cores."""
    for rate, needed in ((20, 1), (45, 2)):
        _, events, _ = played(tmp_path, text=AUTO.replace("20/s", f"{rate}/s"))
        sets = of_kind(events, "replica_set")
        assert len(sets[-1]["members"]) == needed, [one["cause"] for one in sets]
    assert any(": 20 ms of a core a request" in one["cause"] for one in sets)


def test_files_take_their_time_and_bytes(tmp_path: Path) -> None:
    result, events, _ = played(tmp_path)
    assert result.requests.availability == 1.0
    first, *others = of_kind(events, "shipped")
    assert first["source"] == "198.18.0.1", "only the seed has them at first"
    for shipped in (first, *others):
        least = shipped["bytes"] * 8 * SECOND // 8_000_000
        assert least + 2 * 2 * MS <= shipped["took"] <= least + 2 * 42 * MS, "the link's rate, and two round trips"
    service = result.services[0]
    assert service.started - service.stopped == 2
    assert service.shipped.bytes == service.shipped.count * service.files_bytes
    assert service.shipped.count == service.hosts >= 2
    assert service.files_bytes > 100_000
    assert service.start_s.p50 == 0.5
    assert service.ready_s.max is not None
    assert service.ready_s.max > 0.6, "shipping and start"
    answers = [r["done_at"] - r["arrived_at"] for r in of_kind(events, "request") if r["via"] == "self"]
    assert answers
    assert all(answer == 20 * MS for answer in answers), "the program's own time"


def test_a_lost_replica_s_successor_fetches_from_whoever_has_them(tmp_path: Path) -> None:
    timeline = "[{at: 15s, name: seed, power-off: a-1}, {at: 20s, name: loss, crash: a replica of web}]"
    result, events, _ = played(tmp_path, timeline)
    later = [e for e in of_kind(events, "shipped") if e["t"] > 20 * SECOND]
    assert later, "a successor"
    assert "198.18.0.1" not in {e["source"] for e in later}, "the seed is dead, another replica has the files"
    assert all(fault.recovered for fault in result.faults)
    assert (result.requests.availability or 0) > 0.98


def test_a_host_s_disk_outlives_its_process(tmp_path: Path) -> None:
    result, events, _ = played(tmp_path, "[{at: 20s, name: loss, crash: a replica of web, for: 500ms}]")
    victim = next(e for e in of_kind(events, "fault") if e["name"] == "loss")["victims"][0]
    starts = [e["t"] for e in of_kind(events, "program") if (e["host"], e["change"]) == (victim, "started")]
    assert [t > 20 * SECOND for t in starts[:2]] == [False, True], "started again, being still a replica"
    assert not [e for e in of_kind(events, "shipped") if e["host"] == victim and e["t"] > 20 * SECOND]
    assert result.requests.availability == 1.0


def test_a_host_that_has_lost_its_state_fetches_its_files_anew(tmp_path: Path) -> None:
    timeline = "[{at: 20s, name: loss, crash: a replica of web}, {at: 20500ms, name: anew, restart: same as loss, state: lost}]"
    result, events, _ = played(tmp_path, timeline)
    anew = next(e for e in of_kind(events, "fault") if e["name"] == "anew")
    assert anew["state"] == "lost"
    fetched = [e["t"] for e in of_kind(events, "shipped") if e["host"] == anew["victims"][0]]
    assert [t > 20 * SECOND for t in fetched[-1:]] == [True]
    assert (result.requests.availability or 0) > 0.98


def test_a_host_whose_disk_is_full_takes_no_files_and_another_serves(tmp_path: Path) -> None:
    timeline = (
        "[{at: 15s, name: full, strain: 'b-1, b-2, b-3, c-1, c-2', disk: 150kB, for: 20s},"
        " {at: 16s, name: loss, power-off: a replica of web}, {at: 22s, name: death, power-off: a replica of web}]"
    )
    result, events, _ = played(tmp_path, timeline)
    failed = [e for e in of_kind(events, "program") if e["change"] == "failed"]
    assert failed, "one of them was tried"
    assert {e["why"] for e in failed} == {"no room on this host's disk for its files"}
    assert {e["host"] for e in failed} <= {"b-1", "b-2", "b-3", "c-1", "c-2"}
    for e in failed:
        came = [s["t"] for s in of_kind(events, "shipped") if s["host"] == e["host"]]
        assert not [t for t in came if 15 * SECOND < t < 35 * SECOND]
    assert all(fault.recovered for fault in result.faults)
    assert (result.requests.availability or 0) > 0.97
    assert result.services[0].started - result.services[0].stopped >= 2


def test_a_slow_disk_takes_its_time_and_the_replica_is_waited_for(tmp_path: Path) -> None:
    """100 kB at 40 kbit a second, packed and unpacked: longer than an unready replica is borne in silence."""
    _, events, _ = played(tmp_path, "[{at: 0s, name: slow, strain: all, writes: 40kbit}]", duration=60)
    shipped = of_kind(events, "shipped")
    assert shipped
    assert all(one["took"] >= 2 * one["bytes"] * 8 * SECOND // 40_000 > 30 * SECOND for one in shipped)
    assert not [e for e in of_kind(events, "replica_set") if "lost" in e["cause"]]


def test_programs_run_where_replicas_are_and_nowhere_else(tmp_path: Path) -> None:
    """A cut and its heal move roles; a while after a role was laid down its program is stopped."""
    timeline = "[{at: 12s, name: cut, partition: site c, for: 12s}]"
    _, events, _ = played(tmp_path, timeline)
    running: dict[str, bool] = {}
    replica: dict[str, bool] = {}
    changed: dict[str, int] = {}
    for event in sorted(events, key=lambda e: e["t"]):
        if event["kind"] == "program" and event["change"] in ("started", "stopped"):
            assert running.get(event["host"], False) == (event["change"] == "stopped"), "started once, stopped once"
            running[event["host"]] = event["change"] == "started"
        elif event["kind"] == "role" and event["role"] == "replica":
            replica[event["host"]] = event["active"]
            changed[event["host"]] = event["t"]
    (end,) = of_kind(events, "end")
    lingering = {host for host, on in replica.items() if not on and end["t"] - changed[host] < GRACE}
    up = {host for host, on in running.items() if on}
    assert up - lingering == {host for host, on in replica.items() if on}
    assert [e for e in of_kind(events, "program") if e["change"] == "stopped"], "somebody was demoted"


@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_the_same_each_time(seed: int, tmp_path: Path) -> None:
    timeline = "[{at: 12s, power-off: a replica of web, for: 10s}, {at: 25s, pause: a replica of web, for: 3s}]"
    first, second = played(tmp_path, timeline, seed), played(tmp_path, timeline, seed)
    assert first[2] == second[2]
    assert first[1] == second[1]
