"""What a request costs, measured while replicas serve: m follows it, whatever the configuration says, and nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from opus_node.codec import encode
from opus_node.core.costs import REQUESTS, SAMPLE, SAMPLE_MOST, Costs
from opus_node.core.events import Consumed, ReplicaSetDecided, Serve, Served, ServiceHealth
from opus_node.core.messages import Candidate, Load, ReplicaBeat, Summary
from opus_node.core.sizer import RECENT, RESIZE, Sizer
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig
from opus_node.core.work import Work

# The ratio


def test_it_is_what_all_members_spent_by_what_all_answered() -> None:
    costs = Costs(0.05)
    costs.look(0)
    costs.add(1.0, 10)
    costs.add(9.0, 40)
    costs.look(SAMPLE - 1)
    assert (costs.cost, costs.measured) == (0.05, False)
    costs.look(SAMPLE)
    assert costs.measured
    assert costs.cost == pytest.approx(0.2)


def test_a_few_requests_say_nothing_however_long_they_take_to_come() -> None:
    costs = Costs(0.05)
    for second in range(200):
        costs.add(0.5, 1 if second % 10 == 0 else 0)
        costs.look(second * SECOND)
    assert (costs.cost, costs.measured) == (0.05, False), "six a minute: most of this was spent on something else"
    for second in range(200, 200 + SAMPLE_MOST // SECOND + 8):
        costs.add(0.04, 4)
        costs.look(second * SECOND)
    assert costs.cost == pytest.approx(0.01, rel=0.03)


def test_many_requests_count_for_more_than_few_did() -> None:
    costs = Costs(0.0)
    costs.look(0)
    costs.add(10.0, REQUESTS)
    costs.look(SAMPLE)
    costs.add(10.0, 1000)
    costs.look(2 * SAMPLE)
    assert 0.01 <= costs.cost < 0.02
    costs.add(20 * 0.05, REQUESTS)
    costs.look(3 * SAMPLE)
    assert costs.cost == pytest.approx(0.03, abs=0.005), "half of what is new, at least"


# What members tell


PROGRAM = AppConfig(APP, 2, program=True, most=12, availability=0.5)


def beat(served: int, spent: int, *, away: int = 0, used: int = 50, unready: bool = False) -> ReplicaBeat:
    return ReplicaBeat(APP, 1, served, (Load(used, 0, 0),), 1000, away, unready, spent)


def played(sizer: Sizer, beats: Mapping[str, Sequence[ReplicaBeat | None]]) -> None:
    """One a second of each member; looked at after each."""
    for second in range(max(map(len, beats.values()))):
        for member, told in beats.items():
            if second < len(told) and (one := told[second]) is not None:
                sizer.on_beat(member, one, second * SECOND)
        sizer.look(list(beats), second * SECOND)


def sized(sizer: Sizer, members: list[str], rate: float, beats: list[ReplicaBeat]) -> int:
    """m after all members have told these, one a second, while `rate` requests/s are asked of thirty old nodes."""
    candidates = tuple(Candidate(f"n{k}", 0, 3_000_000 * SECOND, 1.0, 100_000_000) for k in range(30))
    summaries, size = {"a": Summary(APP, 30, rate, 1, candidates, ())}, len(members)
    for second, one in enumerate(beats):
        for member in members:
            sizer.on_beat(member, one, second * SECOND)
        size = sizer.size(members, summaries, second * SECOND)
    return size


def test_a_member_that_begins_anew_does_no_harm() -> None:
    sizer = Sizer(PROGRAM)
    steady = [beat(10 * k, 200 * k) for k in range(20)]
    reborn = [beat(5000 + 10 * k, 90_000 + 200 * k) for k in range(10)] + [beat(10 * k, 3000 + 200 * k) for k in range(10)]
    played(sizer, {"a": steady, "b": reborn})
    assert sizer.cost == pytest.approx(0.02)


def test_a_member_that_was_silent_may_have_begun_anew_whatever_its_counts_say() -> None:
    sizer = Sizer(PROGRAM)
    silent: list[ReplicaBeat | None] = [beat(10, 200), *[None] * (RECENT // SECOND + 1), beat(11, 90_000)]
    played(sizer, {"a": [beat(10 * k, 200 * k) for k in range(20)], "b": silent})
    assert sizer.cost == pytest.approx(0.02)


def test_what_a_program_takes_to_start_is_no_request_s() -> None:
    sizer = Sizer(PROGRAM)
    starting: list[ReplicaBeat | None] = [beat(0, 1000 * k, unready=True) for k in range(5)]
    played(sizer, {"a": [*starting, *(beat(10 * k, 4000 + 200 * k) for k in range(15))]})
    assert sizer.cost == pytest.approx(0.02)


def test_until_it_is_measured_a_program_keeps_all_its_members_and_then_as_many_as_it_needs() -> None:
    members, ticks = [f"n{k}" for k in range(8)], range(RESIZE // SECOND + 1)
    working = [beat(12 * k, 12 * 20 * k) for k in ticks]
    assert sized(Sizer(PROGRAM), members, 100.0, [beat(0, 0)] * len(ticks)) == 8, "nobody knows what they carry"
    assert sized(Sizer(PROGRAM), members, 100.0, working) == 4, "2 cores of work, 0.6 of each member"
    assert sized(Sizer(PROGRAM), members, 700.0, working) == 12, "14 cores; twelve at most"
    assert sized(Sizer(PROGRAM), members, 0.0, [beat(0, 0)] * len(ticks)) == 2, "nobody asks"


def test_requests_that_a_busy_program_turns_away_tell_e() -> None:
    sizer = Sizer(PROGRAM)
    calm = [beat(20 * k, 400 * k, used=40) for k in range(10)]
    full = [beat(200 + 20 * k, 4000 + 400 * k, away=5 * (k + 1), used=40) for k in range(3)]
    played(sizer, {"a": calm})
    assert sizer.e == 0.6
    sizer = Sizer(PROGRAM)
    played(sizer, {"a": [*calm, *full]})
    assert sizer.e == pytest.approx(0.4, abs=0.01)


def test_a_program_that_lets_everybody_wait_is_not_to_be_busy_all_the_time() -> None:
    sizer = Sizer(PROGRAM)
    played(sizer, {"a": [beat(48 * k, 960 * k, used=96) for k in range(10)]})
    assert sizer.e == 0.75
    emulated = Sizer(AppConfig(APP, 2, most=12, service_time=SERVICE))
    played(emulated, {"a": [beat(48 * k, 960 * k, used=96) for k in range(10)]})
    assert emulated.e == 0.96, "it turns away whose turn would come too late"


# The steward follows


SERVICE = 50 * MILLISECOND


def test_m_follows_what_requests_take_not_what_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppConfig(APP, 2, most=20, service_time=SERVICE, choice="latency-load", availability=0.5)
    sizes = {}
    honest = Work.cost
    for factor in (1, 2):
        monkeypatch.setattr(Work, "cost", lambda self, app, factor=factor: factor * honest(self, app))
        net = six_regions(config=NodeConfig(apps=(app,)))
        net.run(30 * SECOND)
        for _ in range(3):
            net.load(20 * SECOND, SECOND // 60)
        sizes[factor], since = len(net.replicas()), net.now
        net.load(10 * SECOND, SECOND // 60)
        net.run_for(3 * SECOND)
        assert {done.outcome for done in net.outcomes(since)} == {"ok"}, "nobody is turned away"
        causes = [told.notice.cause for told in net.told if isinstance(told.notice, ReplicaSetDecided)]
        assert any(f"{50 * factor} ms of a core a request" in cause for cause in causes), causes
    assert 3 < sizes[1] <= 6, "3 cores of work"
    assert sizes[2] > 6, "6 cores of work: as many would not do"


class Burning:
    """Programs of a network whose answers take `cost` of a core each, measured or not."""

    def __init__(self, net: CoreNet, cost: int) -> None:
        self.cost = cost
        self.spent: Counter[str] = Counter()
        self._net = net
        net.starts = lambda node: 300 * MILLISECOND
        net.answers = self._answer

    def _answer(self, node: str, serve: Serve) -> Served:
        self.spent[node] += self.cost
        return Served(serve.ticket, True, 0, b"yes")

    def load(self, rate: int, seconds: int) -> None:
        net = self._net
        for _ in range(seconds):
            net.load(SECOND, SECOND // rate)
            for node in net.replicas():
                net._step(node, Consumed(APP, self.spent[node]))


def test_a_program_s_own_time_sizes_the_set() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 2, program=True, most=12, availability=0.5),)))
    burning = Burning(net, 100 * MILLISECOND)
    net.run(30 * SECOND)
    assert len(net.replicas()) == 2
    burning.load(40, 60)
    assert 4 / 0.9 < len(net.replicas()) <= 9, "4 cores of work"
    burning.cost = 10 * MILLISECOND
    burning.load(40, 60)
    assert len(net.replicas()) == 2, "they have become faster"
    assert net.broken == []


def test_a_program_that_nobody_measures_is_sized_by_availability_only() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 2, program=True, most=12),)))
    net.starts = lambda node: 300 * MILLISECOND
    net.run(20 * SECOND)
    assert len(net.replicas()) == 4, "young hosts are not trusted to stay"
    net.load(30 * SECOND, SECOND // 40)
    assert len(net.replicas()) == 4


# What counts as turned away


@pytest.mark.parametrize(("busy", "used", "counts"), [(True, 0.5, True), (False, 0.5, False), (True, 0.001, False)])
def test_a_program_turns_away_what_it_says_it_has_no_room_for(busy: bool, used: float, counts: bool) -> None:
    """503 counts, while it is at work; another error does not."""
    net, node = a_program()
    net.answers = lambda at, serve: Served(serve.ticket, at != node, 0, b"yes", "status 503", busy=busy and at == node)
    measured(net, node, used)
    net.request(node)
    net.run_for(SECOND)
    assert (net.cores[node]._replica.programs.account(APP).turned_away > 0) == counts
    assert [done.outcome for done in net.done()][-1] == "ok", "another replica took it"


@pytest.mark.parametrize(("used", "counted"), [(0.5, 1), (0.001, 0)])
def test_what_is_answered_too_late_was_turned_away_if_the_program_was_at_work(used: float, counted: int) -> None:
    net, node = a_program()
    net.answers = lambda at, serve: None if at == node else Served(serve.ticket, True, 0, b"yes")
    measured(net, node, used)
    net.served.clear()
    net.request(node, SECOND)
    (ticket,) = [serve.ticket for at, serve in net.served if at == node]
    net.run_for(2 * SECOND)
    net._step(node, Served(ticket, False, why="no answer in time"))
    assert net.cores[node]._replica.programs.account(APP).turned_away == counted


def a_program() -> tuple[CoreNet, str]:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 3, program=True, most=4),)))
    net.starts = lambda node: 300 * MILLISECOND
    net.run(20 * SECOND)
    return net, next(node for node in net.replicas() if node not in net.stewards())


def measured(net: CoreNet, node: str, used: float) -> None:
    net._step(node, ServiceHealth(APP, True))
    net._step(node, Consumed(APP, 0))
    net.run_for(SECOND)
    net._step(node, Consumed(APP, round(used * SECOND)))


def test_nothing_is_told_of_a_program_before_it_is_measured_as_ready() -> None:
    """The last second of a start that takes ten would count like hundreds of requests."""
    net, node = a_program()
    programs = net.cores[node]._replica.programs
    measured(net, node, 0.5)
    assert programs.load(APP) == (Load(50, 0, 0),)
    net._step(node, ServiceHealth(APP, False, "it ended"))
    net.run_for(SECOND)
    net._step(node, Consumed(APP, 9 * SECOND))
    net._step(node, ServiceHealth(APP, True))
    assert programs.load(APP) == ()
    net.run_for(SECOND)
    net._step(node, Consumed(APP, 10 * SECOND))
    assert programs.load(APP) == (Load(0, 0, 0),)
    net.run_for(SECOND)
    net._step(node, Consumed(APP, 10 * SECOND + SECOND // 4))
    assert programs.load(APP) == (Load(25, 0, 0),)


# What it takes on the wire


def test_it_takes_a_few_bytes_of_a_beat_and_none_where_nobody_asks() -> None:
    plain_beat, told = ReplicaBeat(APP, 1, 100_000), ReplicaBeat(APP, 1, 100_000, spent=3_600_000)
    assert len(encode(told)) - len(encode(plain_beat)) == 5, "an hour of a core"
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 3, service_time=SERVICE),)))
    net.log, net.log_filter = [], lambda send: isinstance(send.message, ReplicaBeat)
    net.run(20 * SECOND)
    net.load(5 * SECOND, SECOND // 20)
    assert net.log
    assert not any("spent=" in line for line in net.log), "of a fixed size"
