"""Hosts' own clocks: what they read, what a core makes of one, and that no core compares its own with another's."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from helpers.corenet import CoreNet, six_regions
from hypothesis import given
from hypothesis import strategies as st
from opus_controller.engine.clocks import RIGHT
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange
from opus_node.clock import KEPT, SLEW_PPM, ClockedCore, HostClock
from opus_node.core.events import Event, Ready, RegisterDone, Request, RequestDone, Send, Serve, Snapshot, Wake
from opus_node.core.messages import ReplicaSet, Reply
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

HOUR = 3600 * SECOND


def test_a_clock_jumps_ahead_and_is_slewed_back() -> None:
    clock = HostClock()
    assert clock.own(7 * SECOND) == 7 * SECOND
    clock.set(10 * SECOND, 3 * SECOND, 0)
    assert [clock.own(t * SECOND) for t in (9, 10, 20)] == [9 * SECOND, 13 * SECOND, 23 * SECOND]
    assert clock.true(12 * SECOND) == 10 * SECOND, "it never read this: it jumped"
    clock.set(20 * SECOND, 0, 0)
    back = 20 * SECOND + 3 * SECOND * 1_000_000 // SLEW_PPM
    assert clock.own(20 * SECOND) == 23 * SECOND
    assert clock.own(20 * SECOND + (back - 20 * SECOND) // 2) == pytest.approx((20 * SECOND + back) // 2 + 1.5 * SECOND, abs=1000)
    assert clock.own(back + 5 * SECOND) == pytest.approx(back + 5 * SECOND, abs=1000)


def test_a_clock_that_drifts_runs_fast_or_slow() -> None:
    clock = HostClock()
    clock.set(10 * SECOND, 0, 20_000)
    assert clock.own(60 * SECOND) == 61 * SECOND
    assert clock.true(61 * SECOND) == 60 * SECOND
    clock.set(60 * SECOND, SECOND, -20_000)
    assert clock.own(110 * SECOND) == 110 * SECOND


changes = st.lists(
    st.tuples(st.integers(1, 20 * SECOND), st.integers(-HOUR, HOUR), st.integers(-100_000, 100_000)),
    min_size=1,
    max_size=2 * KEPT,
)


@given(changes, st.lists(st.integers(0, 30 * SECOND), min_size=2, max_size=10))
def test_no_clock_goes_backward_and_what_it_reads_is_found_again(made: list[tuple[int, int, int]], later: list[int]) -> None:
    clock, now, read = HostClock(), 0, 0
    for after, ahead, ppm in made:
        now += after
        assert clock.own(now) >= read
        read = clock.own(now)
        clock.set(now, ahead, ppm)
        assert clock.own(now) >= read, "it does not go back when it is set"
        assert clock.own(now) >= now + ahead - 1, "it is where it was to be, or still on its way back to there"
    times = sorted(now + t for t in later)
    reads = [clock.own(t) for t in times]
    assert reads == sorted(reads)
    for t, own in zip(times, reads, strict=True):
        assert clock.own(clock.true(own)) >= own
        assert t - 2 <= clock.true(own) <= t


class Told:
    """A core that remembers what it is stepped with and gives what it is to give."""

    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        self.steps: list[tuple[Event, int]] = []

    def step(self, event: Event, now: int) -> Ready:
        self.steps.append((event, now))
        return self.ready

    def snapshot(self) -> Snapshot:
        return Snapshot("", False, (), (), (), 0, 0, 0, 0, 0)


def test_a_core_goes_by_its_hosts_clock_and_everything_around_it_by_the_testbeds() -> None:
    clock = HostClock()
    clock.set(0, HOUR, 0)
    at = 10 * SECOND
    answer = Reply("web", "b", 1, 1, HOUR + 9 * SECOND, 1, ReplicaSet("web", 1, "a", ("a",)), 10)
    other = RequestDone("web", 1, 1, False, HOUR + 8 * SECOND, HOUR + at, "ok", "b", 9 * SECOND, 1, 1, "direct", True)
    myself = RequestDone("web", 2, 1, False, HOUR + 8 * SECOND, HOUR + at, "ok", "a", HOUR + 9 * SECOND, 0, 1, "self", True)
    failed = RequestDone("web", 3, 1, False, HOUR + 8 * SECOND, HOUR + at, "deadline", "", 0, 0, 1, "agent", True)
    serve = Serve(1, "web", 1, False, 10, 10, HOUR + 11 * SECOND, b"")
    told = Told(Ready((Send("b", answer),), (), (other, myself, failed), HOUR + 12 * SECOND, (serve,)))
    ready = ClockedCore(told, clock, "a").step(Request("web", 1, 1, False, 10, 10, 12 * SECOND), at)
    assert told.steps == [(Request("web", 1, 1, False, 10, 10, HOUR + 12 * SECOND), HOUR + at)]
    assert ready.wake_at == 12 * SECOND
    assert [send.message.arrived_at for send in ready.sends if isinstance(send.message, Reply)] == [9 * SECOND]
    assert [serve.deadline for serve in ready.serves] == [11 * SECOND]
    times = [(n.issued_at, n.arrived_at, n.done_at) for n in ready.notices if isinstance(n, RequestDone)]
    assert times == [(8 * SECOND, 9 * SECOND, at), (8 * SECOND, 9 * SECOND, at), (8 * SECOND, 0, at)]


def test_histories_of_registers_are_in_the_testbeds_time_whatever_the_clients_clocks_say() -> None:
    """The judge compares them."""
    clock = HostClock()
    clock.set(0, HOUR, 0)
    at = 10 * SECOND
    done = RegisterDone("web", 1, 7, True, HOUR + 8 * SECOND, HOUR + at, "ok", "0a1b", 4, "a/0/1", 0)
    ready = ClockedCore(Told(Ready(notices=(done,))), clock, "a").step(Wake(), at)
    assert ready.notices == (replace(done, issued_at=8 * SECOND, done_at=at),)


def test_what_is_overdue_after_a_jump_is_due_now() -> None:
    clock = HostClock()
    core = ClockedCore(Told(Ready(wake_at=12 * SECOND)), clock, "a")
    assert core.step(Wake(), 10 * SECOND).wake_at == 12 * SECOND
    clock.set(10 * SECOND, HOUR, 0)
    assert core.step(Wake(), 11 * SECOND).wake_at == 11 * SECOND


def test_a_drift_is_kept_while_it_lasts_and_set_right_when_it_ends() -> None:
    fast = HostChange(drift_ppm=10_000)
    skew = RIGHT.under(fast, 10 * SECOND)
    assert skew.fits(fast)
    assert not skew.fits(NOTHING_TAKEN)
    both = skew.under(fast & HostChange(clock_ns=3 * SECOND), 20 * SECOND)
    assert both.now(20 * SECOND) == 3 * SECOND + 100 * MILLISECOND
    assert both.under(fast, 30 * SECOND).now(30 * SECOND) == 200 * MILLISECOND
    right = both.under(NOTHING_TAKEN, 30 * SECOND)
    assert (right.now(99 * SECOND), right.drift_ppm) == (0, 0)


def story(ahead: dict[str, int], config: NodeConfig) -> list[tuple[int, str, object]]:
    """What a net says whose hosts' clocks are ahead by so much from the beginning, with a death, a cut and a return."""
    net: CoreNet = six_regions(config, seed="clocks")
    again = CoreNet(net.delay, config, seed="clocks")
    again.seeds = net.seeds
    for name, offset in ahead.items():
        again.clocks[name] = HostClock()
        again.clocks[name].set(0, offset, 0)
    for name in net.cores:
        again.cores[name] = net.cores[name]
        again.dead.add(name)
    again.boot_all(list(net.cores))
    again.run_for(15 * SECOND)
    again.load(5 * SECOND, 50 * MILLISECOND)
    again.power_off(again.replicas()[0])
    again.load(5 * SECOND, 50 * MILLISECOND)
    again.cut([name for name in again.cores if name.startswith(again.agents()[0][:3])])
    again.load(8 * SECOND, 50 * MILLISECOND)
    again.heal()
    again.boot(next(iter(again.dead)))
    again.load(12 * SECOND, 50 * MILLISECOND)
    assert not again.broken
    assert len(again.done()) > 500
    return [(told.at, told.node, told.notice) for told in again.told]


@pytest.mark.parametrize(
    "app", [AppConfig("web", 3), AppConfig("web", 3, service_time=30 * MILLISECOND)], ids=["plain", "loaded"]
)
def test_no_core_compares_its_clock_with_anothers(app: AppConfig) -> None:
    """Every host has an origin of its own, hours apart: the same story to the nanosecond as with one clock for all."""
    config = NodeConfig(apps=(app,), direct=False)
    names = list(six_regions(config).cores)
    rng = Random(1)
    apart = {name: rng.randrange(24 * HOUR) for name in names}
    assert story(apart, config) == story({}, config)
