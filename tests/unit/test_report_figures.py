"""Figures against sums done by hand.

Sites a, b, c; one way a-b 10 ms, a-c 20 ms, b-c 30 ms, and 1 ms of access link at each end. So one way between hosts: a-b 12 ms,
a-c 22 ms, b-c 32 ms, within a site 2 ms, to oneself 0.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.report.build import build
from opus_controller.report.result import Result
from opus_controller.report.run import read

DELAYS = {("a", "b"): 10.0, ("a", "c"): 20.0, ("b", "c"): 30.0}
CLIENTS = ("a-1", "b-1", "c-1")


def abc(*, replicas: int = 1, **more: object) -> FakeRun:
    arguments = {"clients": CLIENTS, "apps": {"web": replicas}, **more}
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 2, "b": 2, "c": 2}, access_ms=1.0, **arguments))  # type: ignore[arg-type]
    run.begin()
    return run


def result_of(run: FakeRun, directory: Path, *, ended: bool = True) -> Result:
    return build(read(run.write(directory / "run", ended=ended)))


def test_availability_counts_every_request_of_the_record_and_tells_why_others_failed(tmp_path: Path) -> None:
    run = abc()
    run.role(0, "a-2", "replica", "web")
    for t in range(8):
        run.request(1 + t, "b-1", routing_ms=20)
    run.request(20, "b-1", outcome="deadline", attempts=4)
    run.request(21, "c-1", outcome="refused", attempts=2)
    result = result_of(run, tmp_path)
    assert (result.requests.issued, result.requests.ok, result.requests.failed) == (10, 8, 2)
    assert result.requests.availability == pytest.approx(0.8)
    assert result.requests.outcomes == {"ok": 8, "deadline": 1, "refused": 1}
    assert result.requests.attempts_mean == pytest.approx((8 + 4 + 2) / 10)


def test_a_failure_with_a_path_counts_among_the_reachable_and_a_failure_without_does_not(tmp_path: Path) -> None:
    run = abc()
    run.role(5, "a-2", "replica", "web")
    run.request(1, "b-1", outcome="deadline")  # nobody served yet
    run.request(6, "b-1", outcome="deadline")
    run.request(7, "b-1")
    reachable = result_of(run, tmp_path).requests.reachable
    assert (reachable.issued, reachable.ok, reachable.availability) == (2, 1, 0.5)


def test_latencies_are_of_ok_requests_alone_with_quantiles_interpolated(tmp_path: Path) -> None:
    run = abc()
    run.role(0, "a-2", "replica", "web")
    for t, taken in enumerate((10, 20, 30, 40, 50)):
        run.request(1 + t, "b-1", routing_ms=taken, reply_ms=5)
    run.request(9, "b-1", outcome="deadline")
    routing = result_of(run, tmp_path).routing_latency_ms
    assert (routing.mean, routing.p50, routing.max) == (30, 30, 50)
    assert routing.p90 == pytest.approx(46)
    assert routing.p99 == pytest.approx(49.6)
    assert result_of(run, tmp_path / "again").request_latency_ms.p50 == pytest.approx(35)


def test_stretch_is_a_ratio_of_sums_over_clients_that_are_no_replicas(tmp_path: Path) -> None:
    run = abc(replicas=2)
    run.role(0, "a-2", "replica", "web")
    run.role(0, "c-1", "replica", "web")
    run.request(1, "a-1", routing_ms=5)  # best 2 (a-2)
    run.request(2, "b-1", routing_ms=19)  # best 12 (a-2, not c-1 at 32)
    run.request(3, "c-1", routing_ms=1, hops=0, via="self")  # a replica itself: left out
    run.request(4, "b-1", outcome="deadline")  # failed: left out
    result = result_of(run, tmp_path)
    assert result.stretch == pytest.approx((5 + 19) / (2 + 12))
    assert result.regret_ms.p50 == pytest.approx((3 + 7) / 2)
    assert result.regret_ms.p95 == pytest.approx(3 + 0.95 * 4)


def test_hops_by_route_and_first_requests_apart(tmp_path: Path) -> None:
    run = abc()
    run.role(0, "a-2", "replica", "web")
    run.request(1, "b-1", routing_ms=24, hops=2, via="agent")
    run.request(2, "b-1", routing_ms=12, hops=1, via="direct")
    run.request(3, "b-1", routing_ms=12, hops=1, via="direct")
    run.request(4, "a-1", routing_ms=6, hops=2, via="agent")
    result = result_of(run, tmp_path)
    assert (result.hops.mean, result.hops.p50, result.hops.max) == (1.5, 1.5, 2)
    assert result.first_requests.requests.issued == 2
    assert result.first_requests.stretch == pytest.approx((24 + 6) / (12 + 2))
    assert result.repeat_requests.stretch == pytest.approx(1.0)
    assert {route: figures.requests.issued for route, figures in result.by_route.items()} == {"direct": 2, "agent": 2}


def test_cost_of_self_organization_is_against_the_best_host_not_the_chosen_one(tmp_path: Path) -> None:
    """One replica for 3 requests of a-1, 1 of b-1, 1 of c-1: best on a-1 itself (0 + 12 + 22); the overlay serves at c-2."""
    run = abc()
    run.role(0, "c-2", "replica", "web")
    for t in range(3):
        run.request(1 + t, "a-1", routing_ms=22)
    run.request(5, "b-1", routing_ms=32)
    run.request(6, "c-1", routing_ms=2)
    result = result_of(run, tmp_path)
    assert result.stretch == pytest.approx(1.0), "to the replica chosen there is no shorter way"
    assert result.cost_of_self_organization == pytest.approx((3 * 22 + 32 + 2) / (12 + 22))


def test_the_ideal_placement_uses_live_hosts_only(tmp_path: Path) -> None:
    """After a-1 and a-2 are off, b-1's and c-1's requests are best served at one of them: 32 ms for the other."""
    run = abc()
    run.role(0, "b-2", "replica", "web")
    run.power_off(1, "a-1", "off-1")
    run.power_off(1, "a-2", "off-2")
    run.request(2, "b-1", routing_ms=4)
    run.request(3, "c-1", routing_ms=60)
    assert result_of(run, tmp_path).cost_of_self_organization == pytest.approx(64 / 32)


def test_as_many_replicas_as_clients_cost_nothing_and_divide_nothing(tmp_path: Path) -> None:
    run = abc(replicas=6)
    run.role(0, "a-1", "replica", "web")
    run.request(1, "b-1", routing_ms=12)
    assert result_of(run, tmp_path).cost_of_self_organization is None


def test_two_applications_are_told_apart(tmp_path: Path) -> None:
    run = abc(apps={"web": 1, "db": 2})
    run.role(0, "a-2", "replica", "web")
    run.role(0, "c-2", "replica", "db")
    run.request(1, "a-1", routing_ms=4, app="web")  # best 2
    run.request(1, "a-1", routing_ms=66, app="db")  # best 22
    result = result_of(run, tmp_path)
    by_app = {app.app: app for app in result.by_app}
    assert by_app["web"].figures.stretch == pytest.approx(2.0)
    assert by_app["db"].figures.stretch == pytest.approx(3.0)
    assert (by_app["db"].replicas_live, by_app["db"].replicas_wanted) == (1, 2)
    assert result.stretch == pytest.approx(70 / 24)


def test_state_and_control_traffic_are_of_the_steady_state(tmp_path: Path) -> None:
    """The workload begins at 10 s; what was sampled before is joining. a-1 restarts at 30 s and counts anew."""
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 2, "b": 1}))
    run.begin(at_s=10)
    run.sample(5, "a-1", entries=90, control=90_000)
    run.sample(10, "a-1", entries=10, control=100_000)
    run.sample(20, "a-1", entries=12, control=101_000)  # 1,000 B in 10 s
    run.restart(30, "a-1")
    run.sample(40, "a-1", entries=14, control=150_000)  # more than before, yet another life: nothing can be said of 20 to 40 s
    run.sample(50, "a-1", entries=16, control=153_000)  # 3,000 B in 10 s
    run.sample(10, "b-1", entries=40, control=0, is_agent=True)
    run.sample(50, "b-1", entries=60, control=20_000, is_agent=True)  # 500 B/s
    result = result_of(run, tmp_path)
    assert (result.state_entries.node.p50, result.state_entries.node.max) == (13, 16)
    assert (result.state_entries.agent.p50, result.state_entries.agent.max) == (50, 60)
    control = result.control_bytes_per_s
    assert control.mean == pytest.approx((200 + 500) / 2)
    assert control.max == pytest.approx(500)
    assert control.p99 == pytest.approx(200 + 0.99 * 300)


def test_by_site_counts_clients_and_keeps_sites_without_any(tmp_path: Path) -> None:
    run = abc(clients=("a-1", "b-1", "b-2"))
    run.role(0, "a-2", "replica", "web")
    run.request(1, "b-1", routing_ms=12)
    run.request(2, "b-2", outcome="deadline")
    sites = {site.site: site for site in result_of(run, tmp_path).by_site}
    assert list(sites) == ["a", "b", "c"]
    assert (sites["b"].clients, sites["b"].requests.issued, sites["b"].requests.availability) == (2, 2, 0.5)
    assert (sites["c"].clients, sites["c"].requests.availability, sites["c"].routing_latency_ms.p50) == (0, None, None)


def test_agents_at_the_end_are_live_ones(tmp_path: Path) -> None:
    run = abc()
    for host in ("a-1", "b-1", "c-1"):
        run.role(1, host, "agent")
    run.role(5, "b-1", "agent", active=False)
    run.power_off(6, "c-1")
    run.role(6.001, "c-1", "agent")  # what it still said while it died
    assert result_of(run, tmp_path).agents == 1


def test_a_run_without_requests_has_no_figures_rather_than_zeroes(tmp_path: Path) -> None:
    result = result_of(abc(clients=()), tmp_path)
    assert result.requests.issued == 0
    for nothing in (result.requests.availability, result.routing_latency_ms.p50, result.stretch, result.hops.max):
        assert nothing is None
    assert result.cost_of_self_organization is None
