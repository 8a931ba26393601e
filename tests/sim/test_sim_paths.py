"""When messages arrive, against sums done by hand."""

from __future__ import annotations

from statistics import mean, pstdev

import pytest
from helpers.sim import Bench, plan, request, warm
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan
from opus_controller.model.shapes import AccessLink, BurstLoss, Direction, PathShape
from opus_controller.runtimes.sim import HopCost
from opus_controller.runtimes.sim.costs import DIAL_ROUND_TRIPS
from opus_controller.runtimes.sim.path import Path
from opus_node.core.messages import Message, Probe
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.sizes import GRPC_OVERHEAD, TCP_IP_OVERHEAD, encoded_size, in_frame

MS = MILLISECOND


Outbox = list[tuple[str, int, str, Message]]


def stream(n: int, every: int = SECOND, payload: int = 0) -> Outbox:
    """`n` messages from a to b on a warm channel from 10 s on, spaced so that none waits for another."""
    return [warm(), *(("a", 10 * SECOND + i * every, "b", request(payload, i)) for i in range(n))]


def one_way(p: Plan, n: int, every: int = SECOND, payload: int = 0) -> list[int]:
    """How long each of `stream`'s messages took that arrived."""
    bench = Bench(p, stream(n, every, payload)).until((10 + n * every // SECOND + 100) * SECOND)
    return [t - 10 * SECOND - number * every for t, _, number in bench.toy("b").requests()]


def lossy(there: PathShape, n: int, payload: int = 0) -> list[int]:
    """The same with 40 ms back, spaced wider than any retransmission takes."""
    return one_way(plan(there=there, back=PathShape(delay_ns=40 * MS)), n, 20 * SECOND, payload)


def test_delay_is_access_path_access_and_hop() -> None:
    shapes = plan(there=PathShape(delay_ns=20 * MS), back=PathShape(delay_ns=35 * MS), access=AccessLink(delay_ns=2 * MS))
    bench = Bench(
        shapes,
        [*stream(1), ("b", 10 * SECOND, "a", Probe(1, stream=True)), ("b", 0, "a", Probe(0, stream=True))],
        HopCost(700_000, "test", 0),
    )
    bench.until(20 * SECOND)
    assert bench.arrivals("b")[-1] == 10 * SECOND + 24 * MS + 700_000
    assert bench.arrivals("a")[-1] == 10 * SECOND + 39 * MS + 700_000
    assert bench.sim.info.facts["hop_cost_ns"] == 700_000
    assert bench.sim.info.facts["hop_cost_source"] == "test"


def test_a_cold_channel_costs_its_round_trips_and_only_once() -> None:
    shapes = plan(there=PathShape(delay_ns=20 * MS), back=PathShape(delay_ns=30 * MS))
    bench = Bench(shapes, [warm(SECOND), warm(SECOND + 5 * MS), warm(2 * SECOND)])
    bench.until(3 * SECOND)
    assert DIAL_ROUND_TRIPS == 2
    cold = SECOND + DIAL_ROUND_TRIPS * 50 * MS + 20 * MS
    assert bench.arrivals("b") == [cold, cold, 2 * SECOND + 20 * MS], "the second waits for the first's dial"


def test_rates_add_transmission_time_and_queueing() -> None:
    access = AccessLink(up=Direction(rate_bps=8_000_000), down=Direction(rate_bps=4_000_000))
    message = request(1000)
    wire = in_frame(encoded_size(message)) + GRPC_OVERHEAD + TCP_IP_OVERHEAD
    bench = Bench(plan(access=access), [warm(), *(("a", SECOND, "b", message) for _ in range(3))])
    bench.until(2 * SECOND)
    up, down = wire * 1000, wire * 2000  # ns at 8 and 4 Mbit/s
    first = SECOND + up + 20 * MS + down
    assert bench.arrivals("b")[1:] == [first, first + down, first + 2 * down], "the slower of the two links spaces them"


def test_a_full_queue_delays_by_a_retransmission_and_keeps_order() -> None:
    access = AccessLink(down=Direction(rate_bps=1_000_000, queue_bytes=3000))
    names = ("a", "b", "c", "d", "e")
    outbox: Outbox = [(s, 0, "b", Probe(0, stream=True)) for s in names if s != "b"]
    outbox += [(s, SECOND, "b", request(1000, n)) for s in names if s != "b" for n in (1, 2)]
    got = Bench(plan(access=access, names=names), outbox).until(20 * SECOND).toy("b").requests()
    assert len(got) == 8, "TCP repairs every loss"
    for source in {source for _, source, _ in got}:
        assert [number for _, s, number in got if s == source] == [1, 2]
    late = [t for t, _, _ in got if t > SECOND + 200 * MS]
    assert 1 <= len(late) < 8, "some were dropped, and came a retransmission time-out later"


DEVIATIONS = [("normal", 1.0), ("uniform", 1 / 3**0.5), ("pareto", 0.82), ("paretonormal", 0.83)]


@pytest.mark.parametrize(("distribution", "deviation"), DEVIATIONS)
def test_jitter_has_its_distributions_moments(distribution: str, deviation: float) -> None:
    shape = PathShape.model_validate({"delay_ns": 50 * MS, "jitter_ns": 5 * MS, "distribution": distribution})
    delays = one_way(plan(there=shape), 4000)
    assert pstdev(delays) == pytest.approx(deviation * 5 * MS, rel=0.1)
    assert mean(delays) == pytest.approx(50 * MS, rel=0.01)
    assert min(delays) < 50 * MS < max(delays)


def test_a_stream_never_reorders() -> None:
    shape = PathShape(delay_ns=50 * MS, jitter_ns=20 * MS, reorder=0.1)
    bench = Bench(plan(there=shape), stream(500, every=MS)).until(60 * SECOND)
    assert [number for _, _, number in bench.toy("b").requests()] == list(range(500))


def test_reorder_lets_lone_messages_skip_the_paths_delay() -> None:
    shape = PathShape(delay_ns=50 * MS, reorder=0.25)
    delays = one_way(plan(there=shape, access=AccessLink(delay_ns=MS)), 2000)
    assert set(delays) == {2 * MS, 52 * MS}
    assert delays.count(2 * MS) == pytest.approx(500, abs=100)


@pytest.mark.parametrize("shape", [PathShape(delay_ns=50 * MS, loss=0.2), PathShape(delay_ns=50 * MS, corrupt=0.2)])
def test_losses_cost_retransmission_timeouts(shape: PathShape) -> None:
    """50 + 40 ms of round trip: RTO 290 ms; sent again after one of it (the tail-loss probe), two, four."""
    n = 5000
    delays = lossy(shape, n)
    assert set(delays) >= {50 * MS, 340 * MS, 630 * MS}
    assert delays.count(50 * MS) / n == pytest.approx(0.8, abs=0.03)
    assert delays.count(340 * MS) / n == pytest.approx(0.16, abs=0.03)
    assert delays.count(630 * MS) / n == pytest.approx(0.032, abs=0.015)
    assert delays.count(1210 * MS) / n == pytest.approx(0.0064, abs=0.005)
    assert 0 < n - len(delays) < 0.005 * n, "four losses in a row (0.2**4) outlast the connection"


def test_access_loss_counts_at_both_ends() -> None:
    n = 5000
    access = AccessLink(loss=0.1)
    delays = one_way(plan(there=PathShape(delay_ns=50 * MS), access=access), n, 20 * SECOND)
    assert delays.count(50 * MS) / n == pytest.approx(0.81, abs=0.03)


def test_large_messages_find_their_losses_sooner() -> None:
    """Of several packets, the loss of the last shows after 2 RTT, of another after 1.25 RTT; never the full RTO of 290 ms."""
    n, shape = 3000, PathShape(delay_ns=50 * MS, loss=0.02)
    delays = lossy(shape, n, payload=5000)
    assert {50 * MS, 230 * MS, 162_500_000} <= set(delays)
    assert delays.count(50 * MS) / n == pytest.approx(0.98**4, abs=0.03)
    assert 340 * MS not in delays


def test_a_message_beyond_the_first_window_takes_another_round_trip() -> None:
    fast = plan(there=PathShape(delay_ns=50 * MS))
    assert one_way(fast, 1, payload=14_000) == [50 * MS]
    assert one_way(fast, 1, payload=20_000) == [50 * MS + 100 * MS]
    assert one_way(fast, 1, payload=60_000) == [50 * MS + 200 * MS]


def test_bursts_lose_in_runs() -> None:
    """Same mean loss, but what follows a loss is likelier to be lost: more messages need two retransmissions."""
    n = 20_000
    burst = PathShape(delay_ns=50 * MS, burst=BurstLoss(p=0.05, r=0.25))
    plain = PathShape(delay_ns=50 * MS, loss=burst.burst.mean if burst.burst else 0.0)
    twice = {}
    for name, shape in (("burst", burst), ("plain", plain)):
        delays = lossy(shape, n)
        twice[name] = delays.count(630 * MS) / delays.count(340 * MS)
        assert len(delays) > 0.9 * n
    assert twice["plain"] == pytest.approx(1 / 6, abs=0.05)
    assert twice["burst"] == pytest.approx(3 / 4, abs=0.15)


def test_duplicates_do_not_show() -> None:
    assert one_way(plan(there=PathShape(delay_ns=50 * MS, duplicate=0.5)), 50) == [50 * MS] * 50


def test_a_dial_costs_its_own_time_as_well() -> None:
    bench = Bench(plan(), [warm(SECOND)], HopCost(MS, "test", 5 * MS)).until(2 * SECOND)
    assert bench.arrivals("b") == [SECOND + DIAL_ROUND_TRIPS * 40 * MS + 5 * MS + 20 * MS + MS]


def test_a_young_connection_waits_longer_for_a_retransmission() -> None:
    """The first time-out is 3 RTT, later SRTT + 200 ms. Measured on Linux: 803 ms after two messages over 300, 557 after ten."""
    path = Path(Network.of(far := plan(there=PathShape(delay_ns=150 * MS))), far.hosts[0], far.hosts[1])
    assert path.rto_after(0) == 900 * MS
    assert path.rto_after(2) / MS == pytest.approx(803, rel=0.08)
    assert path.rto_after(10) / MS == pytest.approx(557, rel=0.08)
    assert path.rto_after(100) == pytest.approx(500 * MS)
    path = Path(Network.of(nearer := plan(there=PathShape(delay_ns=100 * MS))), nearer.hosts[0], nearer.hosts[1])
    assert path.rto_after(2) / MS == pytest.approx(547, rel=0.08)
    assert path.rto_after(12) / MS == pytest.approx(419, rel=0.08)
