"""What cores see of cuts, crashes, power-offs, pauses and restarts. Paths: 20 ms each way, so RTT 40 ms and RTO 240 ms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.sim import Bench, plan, request, warm
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import Workload
from opus_controller.model.shapes import HostChange
from opus_controller.runtimes.sim import HopCost
from opus_controller.runtimes.sim.costs import DIAL_ROUND_TRIPS, IDLE_TIMEOUT, MAX_LINKS, QUEUE_MESSAGES, StartCost
from opus_node.clock import SLEW_PPM
from opus_node.core.events import Boot, Receive
from opus_node.core.messages import Message, Probe
from opus_node.core.types import MILLISECOND, SECOND

MS = MILLISECOND
Outbox = list[tuple[str, int, str, Message]]


def numbered(times_ms: list[int], source: str = "a", target: str = "b") -> Outbox:
    """Request number i at the i-th time."""
    return [(source, t * MS, target, request(0, i)) for i, t in enumerate(times_ms)]


def got(bench: Bench, name: str = "b") -> list[tuple[float, int]]:
    """(ms, number) of the requests that arrived."""
    return [(t / MS, number) for t, _, number in bench.toy(name).requests()]


# Cuts


def test_what_is_in_flight_when_a_path_is_cut_arrives() -> None:
    bench = Bench(plan(), [warm(), *numbered([1000])]).until(1010 * MS)
    bench.cut("a", "b")
    assert got(bench.until(2 * SECOND)) == [(1020, 0)]


def test_a_short_cut_delays_until_the_next_retransmission() -> None:
    """Sent at 1000 into a cut that heals at 1500: retransmissions at 1240 and 1480 (lost), then at 1960."""
    bench = Bench(plan(), [warm(), *numbered([1000, 1300, 1600])]).until(900 * MS)
    bench.cut("a", "b")
    bench.until(1500 * MS).apply()
    bench.until(5 * SECOND)
    assert got(bench) == [(1980, 0), (1980, 1), (1980, 2)], "and what follows waits behind it"
    assert bench.toy("a").unreachable() == []


def test_a_long_cut_loses_what_was_sent_and_later_messages_redial() -> None:
    """1.5 s unacknowledged: given up. Then dials of 1 s each, at 2600 and 3600; healed at 4000; dialed again at 4600."""
    bench = Bench(plan(), [warm(), *numbered([1000, 2600, 3700])]).until(900 * MS)
    bench.cut("a", "b")
    bench.until(4 * SECOND).apply()
    bench.until(10 * SECOND)
    healed = 4600 + DIAL_ROUND_TRIPS * 40 + 20
    assert got(bench) == [(healed, 1), (healed, 2)]
    assert bench.toy("a").unreachable() == [2500 * MS, 3600 * MS, 4600 * MS], "given up; two dials unanswered"
    bench.do(bench.sim.down())
    assert bench.sim.info.facts["undelivered"] == {"silence": 1}


def test_what_waits_longer_than_three_seconds_is_worthless() -> None:
    """The dial at 4000 still finds the cut, and number 0 has expired by then; healed at 4500, dialed at 5000."""
    bench = Bench(plan(), numbered([1000, 3900]))
    bench.cut("a", "b")
    bench.until(4500 * MS).apply()
    bench.until(10 * SECOND)
    assert got(bench) == [(5000 + DIAL_ROUND_TRIPS * 40 + 20, 1)]


def test_a_one_way_cut_lets_the_other_way_through_for_as_long_as_the_connection_lives() -> None:
    """b hears a until a's kernel gives up for want of acknowledgements, 1.5 s after the first of them is missing."""
    bench = Bench(plan(), [warm(), *numbered([1000, 2000, 2600])]).until(900 * MS)
    bench.cut("b", "a", both=False)
    bench.until(10 * SECOND)
    assert got(bench) == [(1020, 0), (2020, 1)]


def test_a_waiting_queue_is_bounded() -> None:
    bench = Bench(
        plan(), [*((("a", SECOND, "b", Probe(i, stream=True))) for i in range(QUEUE_MESSAGES)), ("a", SECOND, "b", request(0, 7))]
    )
    bench.cut("a", "b")
    bench.until(1500 * MS).apply()
    bench.until(3 * SECOND)
    arrived = [m.nonce for _, m in bench.toy("b").received() if isinstance(m, Probe)]
    assert arrived == list(range(1, QUEUE_MESSAGES)), "the oldest droppable one made room"
    assert len(got(bench)) == 1


# Dead hosts


def test_a_crash_is_told_by_the_dead_hosts_kernel_one_way_later() -> None:
    bench = Bench(plan(names=("a", "b", "c")), [warm(), ("c", 0, "a", Probe(0, stream=True))]).until(SECOND)
    bench.do(bench.sim.crash(["b"]))
    bench.until(2 * SECOND)
    assert bench.toy("a").unreachable() == [SECOND + 20 * MS]
    assert bench.toy("c").unreachable() == [], "c had no connection to b"


def test_dialing_a_dead_process_is_refused_after_a_round_trip() -> None:
    bench = Bench(plan(), numbered([1000, 3000]))
    bench.do(bench.sim.crash(["b"]))
    bench.until(4 * SECOND)
    assert bench.toy("a").unreachable() == [1040 * MS, 3040 * MS]


def test_a_powered_off_host_is_silent_and_given_up_after_a_while() -> None:
    """1.5 s after what it never acknowledged; later dials of 1 s, as long as what waits is worth something."""
    bench = Bench(plan(), [warm(), *numbered([1500, 4000])]).until(SECOND)
    bench.do(bench.sim.power_off(["b"], bench.apply(down=["b"])))
    bench.until(20 * SECOND)
    assert bench.toy("a").unreachable() == [3000 * MS, 5000 * MS, 6000 * MS, 7000 * MS]
    assert not any(isinstance(event, Receive) for t, event in bench.toy("b").log if t > SECOND)


def test_what_a_dead_host_had_sent_still_arrives_and_nothing_more() -> None:
    bench = Bench(plan(), [warm(), *numbered([1000, 1010, 1030])]).until(1015 * MS)
    bench.do(bench.sim.crash(["a"]))
    bench.until(2 * SECOND)
    assert got(bench) == [(1020, 0), (1030, 1)]


def test_a_restarted_host_has_a_new_self_and_old_connections_are_reset() -> None:
    """A power-off and restart that a never noticed: its next message meets a kernel that does not know the connection."""
    bench = Bench(plan(), [warm(), *numbered([3000, 4000])]).until(SECOND)
    down = bench.apply(down=["b"])
    bench.do(bench.sim.power_off(["b"], down))
    bench.until(2 * SECOND)
    bench.do(bench.sim.restart(["b"], Network.of(bench.plan)))
    bench.until(10 * SECOND)
    assert [toy.boots() for toy in bench.toys["b"]] == [[0], [1]]
    assert bench.toy("a").unreachable() == [3040 * MS]
    assert got(bench) == [(4000 + DIAL_ROUND_TRIPS * 40 + 20, 1)]
    assert bench.toys["b"][0].rng.random() != bench.toys["b"][1].rng.random(), "and draws anew"


def test_a_host_that_boots_later_refuses_until_then() -> None:
    shapes = plan()
    late = shapes.hosts[1].model_copy(update={"boot_at_ns": 2 * SECOND})
    bench = Bench(shapes.model_copy(update={"hosts": (shapes.hosts[0], late)}), numbered([1000, 3000])).until(5 * SECOND)
    assert bench.toy("a").unreachable() == [1040 * MS]
    assert [t for t, event in bench.toy("b").log if isinstance(event, Boot)] == [2 * SECOND]
    assert [number for _, number in got(bench)] == [1]


def test_processes_may_start_one_after_the_other_seeds_first() -> None:
    shapes = plan(names=("a", "b", "c")).model_copy(update={"seeds": ("c",)})
    bench = Bench(shapes, start_cost=StartCost(30 * MS, "of this test")).until(SECOND)
    assert {name: toys[0].log[0][0] for name, toys in bench.toys.items()} == {"c": 0, "a": 30 * MS, "b": 60 * MS}
    facts = bench.sim.info.facts
    assert (facts["start_each_ns"], facts["start_source"]) == (30 * MS, "of this test")
    at_once = Bench(shapes).until(SECOND)
    assert {toys[0].log[0][0] for toys in at_once.toys.values()} == {0}


# Pause


def test_a_paused_node_hears_late_and_wakes_late_but_loses_nothing() -> None:
    from_b: Outbox = [("b", 0, "a", Probe(0, stream=True)), ("b", 1200 * MS, "a", Probe(9, stream=True))]
    bench = Bench(plan(), [warm(), *numbered([1000, 1500]), *from_b]).until(900 * MS)
    bench.do(bench.sim.pause(["b"]))
    bench.until(3 * SECOND)
    assert got(bench) == []
    bench.do(bench.sim.resume(["b"]))
    bench.until(4 * SECOND)
    assert got(bench) == [(3000, 0), (3000, 1)]
    assert bench.arrivals("a")[-1] == 3020 * MS, "its own timer of 1200 fired at 3000"
    assert bench.toy("a").unreachable() == []


def test_dialing_a_paused_node_meets_silence_until_it_runs_on() -> None:
    """TCP connects, HTTP/2 does not, until b answers; a stranger is given 5 s for it."""
    bench = Bench(plan(), numbered([1000])).until(500 * MS)
    bench.do(bench.sim.pause(["b"]))
    bench.until(2500 * MS)
    bench.do(bench.sim.resume(["b"]))
    bench.until(5 * SECOND)
    assert got(bench) == [(2500 + 40, 0)], "its settings to a, and a's message back"
    assert bench.toy("a").unreachable() == []


def test_a_silent_peer_known_from_before_is_given_a_second() -> None:
    """Reached at 0; the connection is given up at 2500, 1.5 s after what nobody acknowledged; the dial at 2600 meets silence."""
    bench = Bench(plan(), [warm(), *numbered([1000, 2600])]).until(900 * MS)
    bench.cut("a", "b")
    bench.until(4300 * MS)
    assert bench.toy("a").unreachable() == [2500 * MS, 3600 * MS]


# Channels


def test_answers_travel_on_the_askers_connection() -> None:
    bench = Bench(plan(), [*numbered([1000]), ("b", 1200 * MS, "a", request(0, 5))]).until(5 * SECOND)
    assert got(bench, "a") == [(1220, 5)], "no dial"
    bench.do(bench.sim.down())
    assert bench.sim.info.facts["dials"] == 1


def test_who_accepted_hears_of_a_crash_and_dials_itself_afterwards() -> None:
    bench = Bench(plan(), [*numbered([1000]), ("b", 3 * SECOND, "a", request(0, 5))]).until(2 * SECOND)
    bench.do(bench.sim.crash(["a"]))
    bench.until(5 * SECOND)
    assert bench.toy("b").unreachable() == [2020 * MS, 3040 * MS], "by the dead process' kernel, then by refusal"


def test_an_end_that_does_not_know_of_the_others_giving_up_learns_by_a_reset() -> None:
    """a gives up 1.5 s after sending into the cut; b, which said nothing, still trusts the connection."""
    bench = Bench(plan(), [*numbered([1000, 2000]), ("b", 6 * SECOND, "a", request(0, 5)), ("b", 7 * SECOND, "a", request(0, 6))])
    bench.until(1900 * MS).cut("a", "b")
    bench.until(5500 * MS).apply()
    bench.until(10 * SECOND)
    assert bench.toy("b").unreachable() == [6040 * MS]
    assert [number for _, number in got(bench, "a")] == [6]


def test_when_one_side_gets_through_the_other_speaks_too() -> None:
    """Both dial into a cut; whose dial comes first after the heal carries what waits on either side: the other speaks when it has
    heard."""
    bench = Bench(plan(), [*numbered([1000]), ("b", 1500 * MS, "a", request(0, 5))])
    bench.cut("a", "b")
    bench.until(2200 * MS).apply()
    bench.until(10 * SECOND)
    (at_b, _), (at_a, _) = got(bench, "b")[0], got(bench, "a")[0]
    assert (at_a, at_b) == (2600, 2620)


def test_each_end_goes_by_what_it_has_heard() -> None:
    """b speaks before the FIN of a's least recently used channel reaches it: heard; when it has reached b, b dials."""
    names = ("a", "b", *(f"p{i}" for i in range(MAX_LINKS)))
    last = MAX_LINKS * SECOND
    outbox: Outbox = [("a", i * SECOND, name, Probe(0, stream=True)) for i, name in enumerate(names[1:])]
    outbox += [("b", last + t * MS, "a", request(0, number)) for number, t in enumerate((-10, 10, 30))]
    bench = Bench(plan(names=names), outbox).until(last + SECOND)
    assert got(bench, "a") == [
        (last / MS + 10, 0),
        (last / MS + 30, 1),
        (last / MS + 30 + DIAL_ROUND_TRIPS * 40 + 20, 2),
    ]
    assert bench.toy("b").unreachable() == []


def test_a_process_that_dies_while_its_answer_is_under_way_resets_what_comes() -> None:
    """It has heard the SYN at 1020 and dies at 1030; a's first message meets its kernel at 1100."""
    bench = Bench(plan(), numbered([1000])).until(1030 * MS)
    bench.do(bench.sim.crash(["b"]))
    assert bench.until(5 * SECOND).toy("a").unreachable() == [1120 * MS]


def test_so_does_another_process_in_its_place() -> None:
    bench = Bench(plan(), numbered([1000, 2000])).until(1030 * MS)
    bench.do(bench.sim.crash(["b"]))
    bench.do(bench.sim.restart(["b"], bench.network))
    assert bench.until(5 * SECOND).toy("a").unreachable() == [1120 * MS]
    assert [number for _, number in got(bench)] == [1]


def test_a_dead_dialler_hears_no_answer() -> None:
    bench = Bench(plan(), numbered([1000])).until(1030 * MS)
    bench.do(bench.sim.crash(["a"]))
    assert got(bench.until(5 * SECOND)) == []
    assert bench.toy("b").unreachable() == []


def test_what_came_before_a_reset_is_heard_before_it() -> None:
    """A message costs its hop besides; the dead process' kernel sends its reset after it all the same."""
    bench = Bench(plan(), [warm(), *numbered([1000])], HopCost(5 * MS, "test", 0)).until(1001 * MS)
    bench.do(bench.sim.crash(["a"]))
    bench.until(2 * SECOND)
    assert got(bench) == [(1025, 0)]
    assert bench.toy("b").unreachable() == [1025 * MS]


def test_an_idle_channel_is_dialed_anew() -> None:
    later = IDLE_TIMEOUT // MS + 2000
    bench = Bench(plan(), numbered([1000, later])).until(2 * IDLE_TIMEOUT)
    assert got(bench)[1] == (later + DIAL_ROUND_TRIPS * 40 + 20, 1)


def test_the_least_recently_used_channel_makes_room() -> None:
    names = ("a", *(f"p{i}" for i in range(MAX_LINKS + 1)))
    outbox: Outbox = [("a", (i + 1) * SECOND, name, Probe(0, stream=True)) for i, name in enumerate(names[1:])]
    end = (MAX_LINKS + 5) * SECOND
    outbox += [("a", end, "p1", request(0, 1)), ("a", end, "p0", request(0, 0))]
    shapes = plan(names=names)
    assert end < IDLE_TIMEOUT + 10 * SECOND
    bench = Bench(shapes, outbox).until(end + SECOND)
    assert bench.toy("p0").requests()[0][0] - end == (DIAL_ROUND_TRIPS * 40 + 20) * MS, "p0 had been evicted by the last one"


def test_cuts_name_hosts_and_spare_others() -> None:
    outbox = [warm(), ("a", 0, "c", Probe(0, stream=True)), *numbered([1000]), *numbered([1000], target="c")]
    bench = Bench(plan(names=("a", "b", "c")), outbox)
    bench.until(900 * MS).apply((Cut(frozenset(["a"]), frozenset(["b"])),))
    bench.until(1200 * MS)
    assert (got(bench, "b"), got(bench, "c")) == ([], [(1020, 0)])


# Strains


def test_a_slow_processor_stands_still_when_its_period_is_used_up_and_is_fast_again_when_it_is_given_back() -> None:
    """1% of a processor: 1 ms in 100 ms, two messages; the others wait for the next period."""
    bench = Bench(plan(), [warm(), *numbered([1000, 1001, 1002, 1003, 1004]), *numbered([3000, 3001, 3002])])
    bench.until(900 * MS).do(bench.sim.strain({"b": HostChange(cpu=0.01)}))
    arrivals = [t for t, _ in got(bench.until(2 * SECOND))]
    assert arrivals == [1020.5, 1021.5, 1100.5, 1101, 1200.5]
    bench.do(bench.sim.strain({}))
    assert [t for t, _ in got(bench.until(4 * SECOND))][5:] == [3020, 3021, 3022]


def test_a_narrow_access_link_lets_less_through_until_it_is_wide_again() -> None:
    bench = Bench(plan(), [warm(), *numbered([1000, 1001]), *numbered([3000])]).until(900 * MS)
    whole = bench.network
    strain = HostChange(up_bps=80_000)  # 10 bytes a millisecond
    narrow = replace(
        whole, hosts=tuple(h.model_copy(update={"access": strain.on(h.access)}) if h.name == "a" else h for h in whole.hosts)
    )
    bench.do(bench.sim.apply_links(narrow))
    first, second = (t for t, _ in got(bench.until(2 * SECOND)))
    assert first > 1025
    assert second - first == pytest.approx(first - 1020, rel=0.05), "one after the other"
    bench.do(bench.sim.apply_links(whole))
    assert got(bench.until(4 * SECOND))[2] == (3020, 0)


def test_a_host_goes_by_its_own_clock_through_a_pause_and_a_restart() -> None:
    """The toy wants to send after 1 s and after 4 s, by its own clock."""
    bench = Bench(plan(), [warm(), *numbered([1000, 4000])]).until(500 * MS)
    bench.do(bench.sim.strain({"a": HostChange(clock_ns=2 * SECOND)}))
    assert [t for t, _ in got(bench.until(3 * SECOND))] == [520, 2020]
    bench.do(bench.sim.pause(["a"]))
    bench.do(bench.sim.strain({"a": HostChange(clock_ns=5 * SECOND)}))
    seen = len(bench.toy("a").log)
    bench.until(4 * SECOND)
    assert len(bench.toy("a").log) == seen, "it stands still"
    bench.do(bench.sim.resume(["a"]))
    bench.until(5 * SECOND)
    assert bench.toy("a").log[seen][0] == 9 * SECOND
    bench.do(bench.sim.crash(["a"]))
    bench.do(bench.sim.restart(["a"], bench.network))
    assert bench.toy("a").log[0][0] == 10 * SECOND, "the clock is the host's, not the process'"
    bench.do(bench.sim.strain({}))
    bench.do(bench.sim.crash(["a"]))
    bench.until(59 * SECOND)
    bench.do(bench.sim.restart(["a"], bench.network))
    assert bench.toy("a").log[0][0] == pytest.approx((59 + 5) * SECOND - 54 * SLEW_PPM * 1000, abs=10), "on its way back"


# Floods


def test_a_flood_is_asked_beside_the_clients_until_another_takes_its_place() -> None:
    usual = load("a", rate=10, stop_s=60)
    bench = Bench(plan(workload=(usual,)))
    bench.do(bench.sim.start_workload([usual]))

    def issued(until_s: int) -> int:
        bench.sim.records()
        bench.until(until_s * SECOND)
        return sum(record["kind"] == "request" for record in bench.sim.records())

    alone = issued(10)
    bench.do(bench.sim.flood([load("a", rate=200, stop_s=60)]))
    assert issued(20) > 10 * alone
    bench.do(bench.sim.flood([]))
    bench.until(21 * SECOND)
    assert issued(31) < 2 * alone


def load(client: str, *, rate: float, stop_s: int) -> Workload:
    return Workload(
        client=client,
        app="web",
        seed=f"{client}/{rate}",
        rate_per_s=rate,
        start_ns=0,
        stop_ns=stop_s * SECOND,
        deadline_ns=SECOND,
        keys=10,
        zipf=0.0,
    )
