"""How many agents and where: gains measured between an agent's nodes, and what the steward of the agents makes of reports."""

from __future__ import annotations

import itertools
from random import Random

from helpers.corenet import APP, CoreNet
from hypothesis import given
from hypothesis import strategies as st
from opus_node.core.census import CALM, CALM_MOST, PLENTY, PLENTY_MOST, TRIAL, YOUNG, Census
from opus_node.core.context import Context
from opus_node.core.events import RoleChanged
from opus_node.core.held import Held
from opus_node.core.messages import AgentOrder, AgentReport, Measured, Offer
from opus_node.core.placement import first_of
from opus_node.core.siblings import AT_ONCE, FOCUS, REMEMBERED, Siblings
from opus_node.core.swim import FEWEST, Member, Swim
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, Nanos, NodeConfig

MS = MILLISECOND


def context(name: str = "a", **settings: int) -> Context:
    return Context(name, NodeConfig(**settings), Random(1))  # type: ignore[arg-type]


def siblings(rtts: dict[str, int], ctx: Context | None = None) -> tuple[Siblings, dict[str, Held]]:
    """An agent's nodes, by their round trip to it in ms."""
    table = {}
    for node, rtt in rtts.items():
        table[node] = Held(node, 0)
        table[node].rtt = rtt * MS
    return Siblings(ctx or context(), table), table


def measure(one: Siblings, table: dict[str, Held], rtt: dict[tuple[str, str], int], rounds: int = 9) -> None:
    """Nodes do as they are asked, as if a lease of each came between two studies."""
    for _ in range(rounds):
        one.study(0, {}, 0)
        for node, held in table.items():
            wanted = one.wanted(held)
            assert len(wanted) <= AT_ONCE
            one.take(node, [Measured(other, rtt.get((node, other), rtt.get((other, node), 0)) * MS) for other in wanted])


FAR = {"x1": 50, "x2": 52, "x3": 51, "y1": 3, "y2": 4}
APART = {("x1", "x2"): 2, ("x1", "x3"): 2, ("x2", "x3"): 30, ("y1", "y2"): 2}
RTT = {(a, b): APART.get((a, b), APART.get((b, a), 50)) for a in FAR for b in FAR if a != b}


def test_the_middle_of_those_that_are_far_is_offered_with_what_was_measured() -> None:
    one, table = siblings(FAR)
    measure(one, table, RTT)
    assert one.offers[0] == Offer("x1", (50 + 50 + 49) * MS), "itself, and what two others save"


def test_nothing_is_offered_before_it_is_measured() -> None:
    one, _ = siblings(FAR)
    assert one.study(0, {}, 0) == ()
    assert 0 < len(one._focus) <= FOCUS


def test_offers_are_gains_on_top_of_each_other() -> None:
    one, table = siblings(FAR)
    measure(one, table, RTT)
    first, second = one.offers[:2]
    assert second.gain <= 5 * MS, "the other two of the far ones are served by the first"
    assert first.gain > 100 * MS


def test_an_agent_on_the_way_to_the_replicas_is_worth_more() -> None:
    one, table = siblings(FAR)
    measure(one, table, RTT)
    plain = one.offers[0].gain
    one.study(40 * MS, dict.fromkeys(FAR, 10 * MS), 0)
    assert one.offers[0].gain > plain
    one.study(0, dict.fromkeys(FAR, 40 * MS), 0)
    assert one.offers[0].gain < plain


def test_who_could_bring_less_than_asked_for_is_not_measured() -> None:
    one, table = siblings(FAR)
    one.study(0, {}, 1000 * MS)
    assert one._focus == []
    assert all(one.wanted(held) == () for held in table.values())


def test_a_silent_node_is_not_asked_again_at_once() -> None:
    one, table = siblings(FAR)
    one.study(0, {}, 0)
    asked = one.wanted(table["x2"])
    assert asked
    assert one.wanted(table["x2"]) == ()


def test_of_alike_candidates_the_oldest_is_offered() -> None:
    even = dict.fromkeys(("x1", "x2", "x3"), 50)
    ctx = context()
    ctx.now = 3600 * SECOND
    one, table = siblings(even, ctx)
    for held in table.values():
        held.born_at = 3500 * SECOND
    table["x2"].born_at = 0
    measure(one, table, {(a, b): 2 for a in even for b in even if a != b})
    assert one.offers[0].node == "x2"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(-(10**12), 10**12)), max_size=200))
def test_what_nodes_claim_to_have_measured_is_bounded(claims: list[tuple[int, int]]) -> None:
    one, _ = siblings(FAR)
    for other, rtt in claims:
        one.take("x1", [Measured(f"n{other}", rtt)])
    assert len(one._near.get("x1", ())) <= REMEMBERED
    one.study(0, {}, 0)
    one.forget()


def test_an_heir_is_who_serves_the_same_nodes_better() -> None:
    rtts = {"x1": 20, "x2": 21, "x3": 22}
    one, table = siblings(rtts)
    for held in table.values():
        held.spare = 100 * MS
    for a in rtts:
        one.take(a, [Measured(b, 2 * MS) for b in rtts if b != a])
    (heir,) = one.heir(0, {})
    assert heir.gain == (19 + 20) * MS or heir.gain == (18 + 20) * MS or heir.gain == (18 + 19) * MS
    near, _ = siblings({"x1": 1, "x2": 1})
    assert near.heir(0, {}) == ()


# The steward of the agents


class Office:
    """A census whose agents answer only what the test says; the steward is whoever comes first among them."""

    def __init__(self, agents: int, seeds: int = 3, **settings: int) -> None:
        names = [f"g{number}" for number in range(agents)]
        from opus_node.core.placement import first_of

        self.me = first_of("", names)
        self.ctx = context(self.me, **settings)
        members = {name: Member(name, 1, 0) for name in names if name != self.me}
        self.names = names
        self.seeds = tuple([*(name for name in names if name != self.me)][:seeds])
        swim = _Swim(self.me, members)
        self.census = Census(self.ctx, swim, self.seeds)  # type: ignore[arg-type]

    def at(self, seconds: float) -> Office:
        self.ctx.now = int(seconds * SECOND)
        return self

    def tell(self, nodes: int, cost: Nanos, *offers: tuple[str, Nanos], burden: Nanos = 0, only: str = "") -> None:
        for name in self.names if not only else [only]:
            report = AgentReport(nodes, burden, cost, tuple(Offer(f"{name}/{node}", gain) for node, gain in offers), ())
            self.census.on_report(name, report)

    def orders(self) -> list[tuple[str, AgentOrder]]:
        return self.census.decide()


class _Swim:
    fewest = FEWEST

    def __init__(self, me: str, members: dict[str, Member]) -> None:
        self.me = me
        self.members = members

    def agents(self) -> tuple[str, ...]:
        return tuple(sorted([self.me, *self.members]))

    counted = agents

    def steward(self) -> str:
        return first_of("", self.agents())

    def is_live(self, node: str) -> bool:
        return node == self.me or node in self.members


def test_agents_are_split_where_most_is_gained_until_there_are_enough() -> None:
    office = Office(4, nodes_per_agent=10, near_enough=SECOND).at(60)
    office.tell(19, 50 * MS, ("x", 100 * MS), ("y", 20 * MS))  # 80 nodes and agents: 8
    office.tell(19, 50 * MS, ("x", 900 * MS), ("y", 700 * MS), only="g2")
    promoted = [node for _, order in office.orders() for node in order.promote]
    assert len(promoted) == 4
    assert {"g2/x", "g2/y"} <= set(promoted)
    office.tell(19, 50 * MS, ("z", 900 * MS))
    assert office.orders() == [], "those ordered are under way"


def test_a_promoted_node_that_is_never_heard_of_is_made_up_for() -> None:
    office = Office(4, nodes_per_agent=10).at(60)
    office.tell(11, 50 * MS, ("x", 100 * MS))
    assert office.orders()
    assert office.at(61).orders() == []
    assert office.at(70).orders()


def test_too_many_agents_end_the_cheapest_first_but_no_seed() -> None:
    office = Office(9, nodes_per_agent=100).at(0)
    office.orders()
    office.at(60).tell(5, 50 * MS)
    mortal = [name for name in office.names if name not in (*office.seeds, office.me)]
    office.tell(5, 10 * MS, only=mortal[0])
    office.tell(5, 1 * MS, only=office.seeds[0])
    first = office.orders()
    assert first[0] == (mortal[0], AgentOrder((), True, first[0][1].bar))
    assert all(agent not in office.seeds for agent, _ in first)
    assert len(first) <= 3, "a third of the surplus at a time"


def test_stewards_step_down_only_where_nobody_else_can() -> None:
    office = Office(9, nodes_per_agent=100, near_enough=20 * MS).at(0)
    office.orders()
    office.at(60).tell(5, 50 * MS)
    other = next(name for name in office.names if name not in (*office.seeds, office.me))
    office.tell(5, 1 * MS, only=office.me)
    office.tell(5, 1 * MS, only=other)
    assert all(agent not in (office.me, other) for agent, _ in office.census.decide([other]))
    office.at(80).tell(5, 9000 * MS)
    office.tell(5, 1 * MS, only=other)
    assert [agent for agent, _ in office.census.decide([other])] == [other]


def test_nodes_that_are_just_changing_their_agent_end_none() -> None:
    """While they move they are in nobody's report, so there seems to be an agent too many."""
    office = Office(5, nodes_per_agent=10, near_enough=MS).at(0)
    office.orders()
    for second in range(60, 120):
        office.at(second).tell(8, MS)
        office.tell(8 if second % 12 < 6 else 2, MS, only="g4")
        assert [order for _, order in office.orders() if order.step_down] == [], second
    for second in range(120, 132):
        office.at(second).tell(6, MS)
    assert [order.step_down for _, order in office.orders()] == [True], "but a surplus that lasts does"


def test_who_becomes_steward_orders_nothing_before_it_has_heard_from_all() -> None:
    office = Office(8, nodes_per_agent=10, near_enough=SECOND).at(0)
    for name in office.names[:5]:  # those with most nodes, and offers
        office.tell(20, 50 * MS, ("x", 900 * MS), only=name)
    assert office.orders() == []
    for name in office.names[5:]:
        office.tell(1, 50 * MS, only=name)
    assert len(office.orders()) == 4, "103 nodes, and 8 agents: 12"


def test_an_agent_beyond_the_number_stays_if_it_brings_a_lot() -> None:
    office = Office(6, nodes_per_agent=10, near_enough=20 * MS).at(0)
    office.orders()
    office.at(60).tell(4, 500 * MS)
    assert office.orders() == []
    office.at(75).tell(4, 90 * MS)
    assert office.orders() != []


def beyond(office: Office, burden: Nanos, since: float, until: float) -> list[float]:
    """Between agents that arise beyond the number, of an offer that is never kept: it is made again whenever one is ended."""
    arisen: list[float] = []
    there = False
    for now in range(int(since), int(until)):
        office.at(now).tell(4, 90 * MS, burden=burden)
        if not there:
            office.tell(4, 90 * MS, ("x", 900 * MS), burden=burden, only=office.seeds[0])
        for _, order in office.orders():
            there = not order.step_down
            if there:
                arisen.append(now)
                office.census.on_agent(order.promote[0])
    return [later - earlier for earlier, later in itertools.pairwise(arisen)]


def test_an_offer_that_is_never_kept_is_taken_up_ever_more_seldom_until_nodes_are_worse_off() -> None:
    office = Office(6, nodes_per_agent=10, near_enough=20 * MS).at(0)
    office.orders()
    gaps = beyond(office, 1000 * MS, 60, 9000)
    assert gaps[0] <= 2 * PLENTY // SECOND
    assert gaps[-1] >= PLENTY_MOST // SECOND
    assert gaps == sorted(gaps)
    assert beyond(office, 1400 * MS, 9000, 9200)[0] <= 2 * PLENTY // SECOND, "a path has changed"


def test_at_the_number_a_better_place_is_exchanged_for_a_worse_one_and_failures_make_it_patient() -> None:
    office = Office(8, nodes_per_agent=10, near_enough=SECOND).at(0)
    office.orders()
    office.at(100).tell(9, 100 * MS, ("x", 110 * MS), burden=1000 * MS)
    assert office.orders() == [], "hardly better is not better"
    office.tell(9, 100 * MS, ("x", 400 * MS), burden=1000 * MS)
    assert len(office.orders()) == 1
    office.at(110).tell(9, 100 * MS, ("x", 400 * MS), burden=1000 * MS)
    assert office.orders() == []
    waited = []
    now = 110.0
    while now < 3000:
        now += 1
        office.at(now).tell(9, 100 * MS, ("x", 400 * MS), burden=1000 * MS)
        if office.orders():
            waited.append(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(waited)]
    assert gaps[0] >= (TRIAL // SECOND) >= CALM // SECOND
    assert gaps[-1] >= CALM_MOST // SECOND, "what was promised never came"


def test_a_new_steward_of_the_agents_ends_nobody_at_once() -> None:
    office = Office(12, nodes_per_agent=100).at(500)
    office.census._since = office.ctx.now
    office.tell(5, 1 * MS)
    assert office.orders() == []
    assert office.at(500 + YOUNG // SECOND + 1).orders() != []


def test_reports_to_somebody_else_are_not_acted_on() -> None:
    office = Office(4, nodes_per_agent=2)
    other = next(name for name in office.names if name != office.me)
    census = Census(context(other, nodes_per_agent=2), office.census._swim, ())
    for name in office.names:
        census.on_report(name, AgentReport(50, 0, 1, (Offer("x", 10**12),), ()))
    assert census.decide() == []


# Together


def line(a: str, b: str) -> int:
    """One way between hosts "12-345": places on a line, 345 tenths of a ms from its end."""
    return max(MS // 4, abs(int(a.split("-")[1]) - int(b.split("-")[1])) * MS // 10)


def test_agents_come_to_stand_where_the_nodes_are_and_their_number_holds() -> None:
    """Sixty nodes in four clusters on a line, seeds badly placed at one end of it."""
    rng = Random(7)
    names = ["0-0", "1-5", "2-10"] + [f"{number}-{300 * (1 + number % 4) + rng.randrange(20)}" for number in range(3, 63)]
    config = NodeConfig(apps=(AppConfig(APP, 2),), nodes_per_agent=9)
    net = CoreNet(line, config=config, seeds=tuple(names[:3]), seed="clusters")
    net.boot_all(names)
    net.run(120 * SECOND)
    agents = net.agents()
    assert 7 <= len(agents) <= 8, "63 nodes by 9"
    served = {int(agent.split("-")[1]) // 300 for agent in agents}
    assert {1, 2, 3, 4} <= served, "one in every cluster"
    far = [node for node in net.live() if node not in agents and net.delay(node, net.snapshot(node).agent) > 5 * MS]
    assert far == []
    settled = net.now
    net.run(400 * SECOND)
    changes = [
        told
        for told in net.told
        if isinstance(told.notice, RoleChanged) and told.notice.role == "agent" and told.at > settled + 100 * SECOND
    ]
    assert len(changes) <= 6, "and there is rest"
    assert net.broken == []


def test_losing_the_steward_of_the_agents_changes_nothing_for_long() -> None:
    net = CoreNet(line, config=NodeConfig(apps=(), nodes_per_agent=5), seeds=("0-0", "1-3", "2-6"), seed="steward")
    names = ["0-0", "1-3", "2-6"] + [f"{number}-{200 * (1 + number % 3)}" for number in range(3, 33)]
    net.boot_all(names)
    net.run(60 * SECOND)
    role = net.cores[net.agents()[0]]._role
    assert role is not None
    steward = role.census.steward()
    net.power_off(steward)
    net.run(200 * SECOND)
    agents = net.agents()
    assert 6 <= len(agents) <= 8, "seven by need, and perhaps one that is worth it"
    assert all(net.snapshot(node).agent in agents for node in net.live())
    heard = {name for name in agents for role in [net.cores[name]._role] if role is not None and role.census.steward() == name}
    assert len(heard) == 1
    assert isinstance(role.peers, Swim)
