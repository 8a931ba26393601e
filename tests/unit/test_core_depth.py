"""Hierarchies of more than two levels: what a head tells its zone, what it passes on, and who stands in when it is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from opus_node.core.aggregate import FEWEST, LEAST, POINTS, Aggregate, merged, share
from opus_node.core.cluster import Cluster
from opus_node.core.context import Context
from opus_node.core.messages import Candidate, LeaseReply, MemberUpdate, Ping, ProbeReply, ReplicaSet, Summary, SummaryWanted
from opus_node.core.prober import Prober
from opus_node.core.roster import AT_ONCE, LEFT_KEPT, Roster
from opus_node.core.sets import ReplicaSets
from opus_node.core.types import SECOND, AppConfig, NodeConfig
from opus_node.core.zone import HEADLESS, Zone

CONFIG = NodeConfig(apps=(AppConfig(APP, 3),), nodes_per_agent=5, depth=3)


def context(name: str = "a") -> Context:
    return Context(name, CONFIG, Random(1))


# A head's list of its zone


def replayed(roster: Roster, seen: int = 0) -> set[str]:
    """What an agent that hears everything from `seen` on believes in the end."""
    present: set[str] = set()
    while changes := roster.since(seen):
        assert len(changes) <= AT_ONCE
        for one in changes:
            (present.add if one.state == "alive" else present.discard)(one.member)
        seen = changes[-1].incarnation
    return present


def test_whoever_hears_all_changes_knows_the_zone() -> None:
    roster, rng, present = Roster(0), Random(7), set[str]()
    for _ in range(200):
        node = f"n{rng.randrange(40)}"
        (present.discard if node in present else present.add)(node)
        roster.update(present)
    assert replayed(roster) == present


def test_a_roster_tells_only_what_is_new_and_forgets_those_long_gone() -> None:
    roster = Roster(5 * SECOND)
    roster.update(["x", "y"])
    seen = roster.seq
    assert seen > 5000, "above what an earlier life of this host has counted"
    roster.update(["y", "z"])
    assert [(one.member, one.state) for one in roster.since(seen)] == [("z", "alive"), ("x", "left")]
    assert roster.since(roster.seq) == ()
    for i in range(3 * LEFT_KEPT):
        roster.update([f"passer-by {i}"])
    assert len(roster._changes) <= LEFT_KEPT + 1


# An agent's view of its zone


@dataclass
class Above:
    """The level above as the test has it."""

    agent: str
    others: tuple[str, ...]

    def head(self) -> str:
        return self.agent

    def heads(self) -> list[str]:
        return list(self.others)


class Office:
    """One agent's zone, whose head is whoever `above` says."""

    def __init__(self, *heads: str) -> None:
        self.ctx = context("me")
        self.above = Above("h", heads)
        self.events: list[tuple[str, bool, bool]] = []
        self.zone = Zone(
            self.ctx,
            Prober(self.ctx),
            self.above,
            lambda member, new: self.events.append((member.node, member.live, new)),
            lambda member: None,
        )

    def told(self, *changes: tuple[str, str, int], head: str = "h", answered: bool = True) -> None:
        self.zone.told(head, tuple(MemberUpdate(node, state, seq, "") for node, state, seq in changes), answered)


def test_a_zone_is_what_its_head_says_and_the_head() -> None:
    office = Office()
    office.told(("x", "alive", 1), ("me", "alive", 2), ("y", "alive", 3))
    assert office.zone.counted() == office.zone.agents() == ("h", "me", "x", "y")
    office.told(("x", "left", 4))
    assert office.zone.counted() == ("h", "me", "y")
    assert office.zone.heard_to("h") == 4
    assert office.events[-1] == ("x", False, False)


def test_what_comes_unasked_is_believed_but_does_not_count_as_heard() -> None:
    office = Office()
    office.told(("x", "alive", 1))
    office.told(("z", "alive", 9), answered=False)
    assert "z" in office.zone.counted()
    assert office.zone.heard_to("h") == 1, "changes 2 to 8 are still to be told"


def test_old_news_does_not_undo_newer() -> None:
    office = Office()
    office.told(("x", "alive", 7), answered=False)
    office.told(("x", "left", 3))
    assert "x" in office.zone.counted()


def test_under_another_head_those_of_the_zone_before_are_acquaintances() -> None:
    office = Office()
    office.told(("x", "alive", 1), ("y", "alive", 2))
    office.above.agent = "other"
    assert office.zone.heard_to("other") == 0
    office.told(("y", "alive", 50), head="other")
    assert office.zone.counted() == ("me", "other", "y")
    assert office.zone.agents() == ("h", "me", "other", "x", "y")


def test_a_silent_agent_is_told_to_nobody_until_it_answers() -> None:
    office = Office()
    office.told(("x", "alive", 1), head="me")
    for _ in range(40):
        office.ctx.now += SECOND
        office.zone.tick()
    assert not office.zone.is_live("x")
    nonce = next(send.message.nonce for send in reversed(office.ctx.sends) if send.to == "x")  # type: ignore[union-attr]
    office.zone._prober.on_reply("x", ProbeReply(nonce, True, 0))
    assert office.zone.is_live("x")


def test_without_a_head_somebody_becomes_one_and_not_all_at_once() -> None:
    waits = {}
    for me in ("a", "b", "c", "d"):
        office = Office()
        office.ctx.me = me
        office.told(*((node, "alive", seq) for seq, node in enumerate("abcd", 1)))
        office.above.agent = ""
        waits[me] = next(t for t in range(60) if _headless(office, t))
    assert min(waits.values()) == HEADLESS // SECOND
    assert len(set(waits.values())) == 4


def _headless(office: Office, seconds: int) -> bool:
    office.ctx.now = seconds * SECOND
    return office.zone.headless()


# What goes up


def summary(agent: str, nodes: int = 5, rate: float = 1.0, version: int = 1, node: str = "") -> Summary:
    candidates = (Candidate(node or f"{agent}-1", 1, 1, 1.0, 1), Candidate(agent, 0, 1, 1.0, 1))
    return Summary(APP, nodes, rate, version, candidates, (), agent=agent)


def test_a_head_loses_no_node_and_no_request_of_those_it_sums_up() -> None:
    aggregate = Aggregate(context())
    for i in range(20):
        aggregate.take(f"agent-{i}", summary(f"agent-{i}", nodes=i, rate=float(i)))
    own = [summary("a", 7, 3.0)]
    for most in (4, 10, 30):
        passed = aggregate.of(APP, own, most, ())
        assert len(passed) == min(most, 21)
        assert sum(one.rate for one in passed) == 3 + sum(range(20))
        everybody = 7 + sum(range(20)) + 21  # nodes and agents
        assert sum(one.nodes + 1 for one in passed) == everybody


def test_a_sum_keeps_who_could_serve_where_the_demand_is_and_what_was_measured() -> None:
    """y's nodes are at x's as far as y is, with two thirds of the demand; x's measurements still name the same nodes."""
    x = replace(summary("x", 3, 2.0), abroad=("far",))
    measured = replace(x.candidates[0], weight=4, near=(1, 7, 2, 9))  # the agent, and who is abroad
    x = replace(x, candidates=(measured, replace(x.candidates[1], weight=4)))
    y = summary("y", 9, 4.0, version=3)
    y = replace(y, candidates=(*(replace(y.candidates[0], node=f"y-{i}", weight=1) for i in range(9)), y.candidates[1]))
    both = merged(x, y)
    nodes = [one.node for one in both.candidates]
    assert nodes == ["x-1", "x", *(f"y-{i}" for i in range(FEWEST))]
    assert [sum(one.weight for one in both.candidates if one.node[0] == name) for name in "xy"] == [8, 16]
    assert Cluster("x", both).abroad == {"far": [(0, 0.9)]}
    assert Cluster("x", both).between[0][1] == 0.7
    versions = {merged(x, y).version, merged(x, replace(y, version=4)).version, merged(replace(x, version=2), y).version}
    assert len(versions) == 3, "whoever knows a part as it was is told anew"


def test_whoever_has_a_member_is_passed_on_however_light() -> None:
    aggregate = Aggregate(context())
    for i in range(20):
        aggregate.take(f"agent-{i}", summary(f"agent-{i}", rate=float(i), node=f"node-{i}"))
    passed = aggregate.of(APP, [summary("a")], 3, ("node-0", "node-1", "node-2", "node-3"))
    assert {f"agent-{i}" for i in range(4)} <= {one.agent for one in passed}


def test_the_whole_is_told_once_and_again_when_it_is_wanted_or_another() -> None:
    aggregate = Aggregate(context())
    one = summary("x")
    assert aggregate.due("steward", one).candidates
    assert not aggregate.due("steward", one).candidates
    assert aggregate.due("another", one).candidates
    aggregate.wanted(APP, "x", "steward")
    assert aggregate.due("steward", one).candidates
    assert aggregate.due("steward", summary("x", version=2)).candidates


def test_a_head_asks_for_the_whole_that_it_missed() -> None:
    ctx = context()
    aggregate = Aggregate(ctx)
    aggregate.take("x", Summary(APP, 3, 1.0, 5, (), ()))
    assert [(send.to, send.message) for send in ctx.sends] == [("x", SummaryWanted(APP))]
    assert aggregate.of(APP, [], 9, ()) == []


def test_summaries_lapse() -> None:
    ctx = context()
    aggregate = Aggregate(ctx)
    aggregate.take("x", summary("x"))
    ctx.now += 20 * SECOND
    assert aggregate.of(APP, [], 9, ()) == []
    assert aggregate.entries() == 0


def test_shares_of_all_heads_together_stay_within_what_a_steward_looks_at() -> None:
    assert all(heads * share(heads) <= max(POINTS, heads * LEAST) for heads in range(1, 500))
    assert merged(summary("x", 5, 1.0), summary("y", 2, 0.5)).nodes == 8


# What comes down


def test_digests_differ_where_sets_do() -> None:
    one, other = ReplicaSets(), ReplicaSets()
    for sets, apps in ((one, "ab"), (other, "ba")):
        for app in apps:
            sets.put(ReplicaSet(app, 1000, "s", ("m",)), 3)
    assert one.digest() == other.digest() != 0
    other.put(ReplicaSet("a", 2000, "s", ("m",)), 3)
    assert one.digest() != other.digest()


# All of it together


@pytest.fixture(scope="module")
def settled() -> CoreNet:
    net = six_regions(per_site=15, config=CONFIG, seed="depth")
    net.run(45 * SECOND)
    return net


def untold(net: CoreNet) -> list[str]:
    """Heads whose number of agents is decided on others than those that lease with them: until they tell themselves, once a
    second, who has come and gone."""
    found = []
    for node, core in net.cores.items():
        zone, agent = core._level(1).role, core._levels[0].role
        if zone is not None and agent is not None and set(agent.peers.counted()) != {node, *zone.leases.table}:
            found.append(node)
    return found


def test_three_levels_stand_each_bounded(settled: CoreNet) -> None:
    until = settled.now + 3 * SECOND
    while untold(settled) and settled.now < until:
        settled.run_for(SECOND // 4)
    assert untold(settled) == [], "a head decides how many agents its zone has"
    levels = {node: settled.snapshot(node).level for node in settled.live()}
    agents = [node for node, level in levels.items() if level]
    heads = [node for node, level in levels.items() if level == 2]
    assert 3 <= len(heads) < len(agents) < len(levels) / 3
    listed = [node for head in heads for node in settled.cores[head]._level(1).role.leases.table]  # type: ignore[union-attr]
    assert sorted(listed) == sorted(set(agents) - set(heads)), "each agent leases at one head"
    for node in agents:
        if levels[node] == 1:
            role = settled.cores[node]._role
            assert role is not None
            assert role.stewards is None
            assert len(role.peers.members) < len(agents), "an agent of a zone does not know all"


def test_every_agent_knows_the_set_and_requests_take_two_hops(settled: CoreNet) -> None:
    held = {settled.cores[node]._role.sets.get(APP) for node in settled.agents()}  # type: ignore[union-attr]
    assert len(held) == 1
    since = settled.now
    settled.load(10 * SECOND, 50_000_000)
    settled.run_for(2 * SECOND)
    done = settled.outcomes(since)
    assert {one.outcome for one in done} == {"ok"}
    assert max(one.hops for one in done) <= 2


def test_levels_that_do_not_exist_are_ignored(settled: CoreNet) -> None:
    core = settled.cores[settled.agents()[0]]
    for level in (-1, 2, 7):
        core._on_ping("x", Ping(1, (), (), level))
        core._on_lease_reply("x", LeaseReply(1, True, (), level=level))
    assert core._ctx.sends == []
