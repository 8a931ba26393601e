"""Figures by hand against the folds that produce them."""

from __future__ import annotations

import json
from math import inf
from typing import Any, get_args

import numpy as np
import pytest
from opus_node import folds
from opus_node.core import events
from opus_node.core.types import MILLISECOND, SECOND


def done(issued_s: float, outcome: str = "ok", routing_ms: int = 30, request_ms: int = 60, **other: Any) -> events.RequestDone:
    issued = int(issued_s * SECOND)
    ok = outcome == "ok"
    values: dict[str, Any] = {
        "app": "web",
        "request": 1,
        "key": 0,
        "write": False,
        "issued_at": issued,
        "done_at": issued + request_ms * MILLISECOND,
        "outcome": outcome,
        "replica": "198.18.0.9" if ok else "",
        "arrived_at": issued + routing_ms * MILLISECOND if ok else 0,
        "hops": 1,
        "attempts": 1,
        "via": "direct",
        "first": False,
    }
    return events.RequestDone(**(values | other))


def record(issued_s: float, outcome: str = "ok", host: str = "a", **other: Any) -> dict[str, Any]:
    notice = done(issued_s, outcome, **other)
    return folds.notice_to_record(notice.done_at, host, notice)


def test_what_a_replica_publishes_is_told_from_what_it_hears() -> None:
    """Also of what comes straight from its source."""
    fold = folds.NodeFold(["web"])
    for version, by in ((1, ""), (2, ""), (1, "198.18.0.1")):
        fold.add(events.UpdateDelivered("web", "198.18.0.1", 0, version, 300, by))
    assert fold.updates == {("web", "published"): 2, ("web", "delivered"): 1}


def test_a_record_is_what_its_json_reads_back_as() -> None:
    notices: list[events.Notice] = [
        done(1.0),
        events.RoleChanged("replica", True, "web", 3),
        events.Attached("198.18.0.1", 5),
        events.AgentLost("198.18.0.1"),
        events.MemberChanged("198.18.0.1", "suspect", 0),
        events.ReplicaSetDecided("web", 2, ("198.18.0.1", "198.18.0.2"), "first"),
        events.MembersPlaced("web", 2, "lost b", ("a", "c"), ("a", "b"), (2_500_000_000,), 2, 9, 4.5, 0.1, 0.6, 7, 9, (3, -1)),
        events.HostsDivided(
            "web",
            "first",
            4.5,
            0.25,
            0.6,
            1,
            ("198.18.0.1",),
            ("198.18.0.2",),
            -1,
            0.0,
            0.0,
            0.0,
            2.5,
            0.1,
            (1.5,),
            ("",),
            (0.0,),
            True,
            9,
            17,
            False,
        ),
        events.KeysAsked("web", (7, 3), (1.5, 0.5)),
        events.ShardsDecided("web", 2, (2, 1), (0, 1, 1), (2, 1), 1, (0.5, 1.5)),
        events.KeysKept("web", 1, True, (7, 3)),
        events.ServiceChanged("web", False, "it ended"),
        events.UpdateDelivered("web", "198.18.0.1", 0, 7, 300, "198.18.0.2"),
        events.MeshChanged("web", ("198.18.0.2", "198.18.0.3")),
        events.DataKept("web", True, 3, ("198.18.0.1", "198.18.0.2")),
        events.RegisterDone("web", 1, 7, True, 5, 9, "ok", "0a1b", 4, "198.18.0.1/0/1", 0),
        events.ProgramChanged("web", "ready", took=5),
        events.Shipped("web", "198.18.0.1", 10_240, 5),
    ]
    assert {type(n) for n in notices} == set(get_args(events.Notice)), "a new notice needs its line here"
    for notice in notices:
        line = folds.notice_to_record(7, "host-1", notice)
        assert json.loads(json.dumps(line)) == line
        assert (line["t"], line["host"], line["kind"]) == (7, "host-1", notice.kind)
    assert folds.notice_to_record(7, "h", notices[5])["members"] == ["198.18.0.1", "198.18.0.2"]


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_numpys(q: float) -> None:
    values = sorted([3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.3])
    assert folds.quantile(values, q) == pytest.approx(np.quantile(values, q))
    assert folds.quantile([8.0], q) == 8.0


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        folds.quantile([], 0.5)
    assert folds.LatencyStats.of([]).ms() == {"mean": None, "p50": None, "p90": None, "p99": None, "max": None}


def test_latency_stats_in_ms() -> None:
    figures = folds.LatencyStats.of([10 * MILLISECOND, 30 * MILLISECOND, 20 * MILLISECOND]).ms()
    assert figures == {"mean": 20.0, "p50": 20.0, "p90": pytest.approx(28.0), "p99": pytest.approx(29.8), "max": 30.0}


def test_latencies_are_from_issue() -> None:
    line = record(5.0, routing_ms=30, request_ms=60)
    assert folds.routing_latency(line) == 30 * MILLISECOND
    assert folds.request_latency(line) == 60 * MILLISECOND


def test_availability_counts_every_outcome_but_ok_as_failed() -> None:
    lines = [record(1), record(2, "deadline"), record(3, "refused"), record(4)]
    found = folds.availability(folds.requests_of([*lines, {"t": 0, "host": "a", "kind": "role"}]))
    assert (found.issued, found.ok, found.failed, found.share) == (4, 2, 2, 0.5)
    assert folds.availability([]).share is None


def test_groups() -> None:
    site = {"a": "eu", "b": "us"}
    lines = [record(1, host="a"), record(2, "deadline", host="b"), record(3, host="b")]
    shares = {s: folds.availability(of).share for s, of in folds.group(lines, lambda r: site[r["host"]]).items()}
    assert shares == {"eu": 1.0, "us": 0.5}


def test_windows_are_by_issue_and_keep_the_empty_ones() -> None:
    lines = [record(9.99), record(10.0), record(10.5, "deadline"), record(12.2, routing_ms=40), record(12.6)]
    found = folds.windows(lines, 10 * SECOND, int(12.5 * SECOND))
    assert [w.start // SECOND for w in found] == [10, 11, 12]
    assert [(w.availability.issued, w.availability.ok) for w in found] == [(2, 1), (0, 0), (1, 1)]
    assert found[2].routing.max == 40 * MILLISECOND
    assert folds.windows(lines, 5, 5) == []


def steady(*bad: float, stop: float = 10.0) -> list[dict[str, Any]]:
    """Ten requests a second from 0 to `stop`; those issued within 50 ms of `bad` fail."""
    times = [i / 10 for i in range(int(stop * 10))]
    return [record(t, "deadline" if any(abs(t - b) < 0.05 for b in bad) else "ok") for t in times]


def test_recovery_ends_with_the_last_bad_window() -> None:
    fault = int(2.5 * SECOND)
    assert folds.recovery_s(steady(), fault, 0.999, 10 * SECOND) == 0.0
    assert folds.recovery_s(steady(2.6), fault, 0.999, 10 * SECOND) == 1.0
    assert folds.recovery_s(steady(2.6, 4.7), fault, 0.999, 10 * SECOND) == 3.0
    assert folds.recovery_s(steady(2.6, 4.7), fault, 0.8, 10 * SECOND) == 0.0, "nine of ten are enough for a target of 0.8"
    assert folds.recovery_s(steady(2.4), fault, 0.999, 10 * SECOND) == 0.0, "what was issued before the fault does not count"


def test_no_recovery_is_infinite_and_later_faults_do_not_count() -> None:
    assert folds.recovery_s(steady(9.9), 2 * SECOND, 0.999, 10 * SECOND) == inf
    assert folds.recovery_s(steady(9.9), 2 * SECOND, 0.999, 9 * SECOND) == 0.0
    quiet_after = [record(2.1, "deadline")]
    assert folds.recovery_s(quiet_after, 2 * SECOND, 0.999, 10 * SECOND) == inf, "silence is no recovery"


def test_histogram_buckets_are_prometheus_buckets() -> None:
    histogram = folds.Histogram((10, 20))
    for value in (1, 10, 11, 20, 21, 1000):
        histogram.observe(value)
    assert histogram.cumulative() == [(10, 2), (20, 4), (inf, 6)]
    assert (histogram.count, histogram.total) == (6, 1063)


def test_node_fold() -> None:
    fold = folds.NodeFold()
    for notice in (
        done(1),
        done(2, "deadline", attempts=3, via="agent"),
        done(3, via="agent", hops=2),
        events.RoleChanged("agent", True),
        events.RoleChanged("replica", True, "web", 1),
        events.RoleChanged("replica", False, "web", 2),
        events.Attached("x", 5),
        events.AgentLost("x"),
        events.MemberChanged("x", "dead", 0),
        events.ReplicaSetDecided("web", 1, ("x",), "first"),
    ):
        fold.add(notice)
    assert fold.requests == {("web", "ok", "direct"): 1, ("web", "deadline", "agent"): 1, ("web", "ok", "agent"): 1}
    assert fold.hops == {("web", 1): 1, ("web", 2): 1}
    assert fold.attempts["web"] == 5
    assert fold.routing["web"].count == fold.latency["web"].count == 2
    assert fold.roles == {("agent", ""): True, ("replica", "web"): False}
    assert (fold.attached, fold.agents_lost, fold.members["dead"], fold.replica_sets) == (1, 1, 1, {"web": 1})
