"""A plan's hosts over several processes: far apart, evenly filled, and nothing lost or changed on the way between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, is_dataclass
from itertools import combinations
from typing import Any, get_args

import pytest
from helpers.sim import HOP, Toy, host
from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.model.network import Network
from opus_controller.model.plan import App, PathTable, Plan
from opus_controller.model.shapes import PathShape
from opus_controller.runtimes.sim.parts import UNEVEN, Part, divide
from opus_controller.runtimes.sim.path import Path
from opus_controller.runtimes.sim.world import World
from opus_node.core.events import Ready, Send
from opus_node.core.messages import Appoint, Message, Probe, ReplicaSet, Reply
from opus_node.core.types import MILLISECOND, SECOND

MS = MILLISECOND
SITES = "abcd"
DELAYS_MS = {"ab": 5, "ac": 30, "ad": 31, "bc": 32, "bd": 33, "cd": 10}
"""Two pairs."""


def four_sites(jitter_ms: int = 0, sizes: tuple[int, ...] = (2, 2, 2, 2)) -> Plan:
    shapes = [PathShape(delay_ns=MS)]
    index = [[0] * 4 for _ in SITES]
    for (a, b), delay in ((tuple(pair), delay) for pair, delay in DELAYS_MS.items()):
        i, j = SITES.index(a), SITES.index(b)
        index[i][j] = index[j][i] = len(shapes)
        shapes.append(PathShape(delay_ns=delay * MS, jitter_ns=jitter_ms * MS, distribution="uniform"))
    sites = [site for site, count in zip(SITES, sizes, strict=True) for _ in range(count)]
    hosts = tuple(host(f"{site}{i}", site, i) for i, site in enumerate(sites))
    return Plan(
        name="four", seed=1, topology="four", duration_ns=60 * SECOND, sites=tuple(SITES), hosts=hosts,
        paths=PathTable(shapes=tuple(shapes), index=tuple(map(tuple, index))), seeds=(hosts[0].name,),
        apps=(App(name="web", replicas=1),),
    )  # fmt: skip


def test_sites_near_each_other_stay_together() -> None:
    parts = divide(four_sites(), 2)
    assert parts is not None
    assert parts.of_site["a"] == parts.of_site["b"] != parts.of_site["c"] == parts.of_site["d"]
    assert parts.ahead == 30 * MS, "the shortest way from one to the other"


def test_jitter_shortens_what_can_be_relied_on() -> None:
    parts = divide(four_sites(jitter_ms=4), 2)
    assert parts is not None
    assert 26 * MS <= parts.ahead < 26.01 * MS


def test_an_even_load_counts_more_than_a_long_way() -> None:
    """a and b together would be nine tenths."""
    parts = divide(four_sites(sizes=(10, 8, 1, 1)), 2)
    assert parts is not None
    assert (parts.ahead, parts.of_site["a"] != parts.of_site["b"]) == (5 * MS, True)


def test_what_cannot_be_divided_is_not() -> None:
    assert divide(four_sites(), 5) is None
    assert divide(four_sites(sizes=(1, 1, 1, 9)), 2) is None


@pytest.mark.parametrize("count", [2, 3, 4])
def test_nothing_crosses_a_border_in_less_than_a_window(count: int) -> None:
    plan = plan_of(Size(330))
    parts = divide(plan, count)
    assert parts is not None
    assert parts.ahead > 20 * MS
    loads = Counter(parts.of_site[one.site] for one in plan.hosts)
    assert max(loads.values()) <= (1 + UNEVEN) * 330 / count
    network, one_each = Network.of(plan), {one.site: one for one in plan.hosts}
    for a, b in combinations(one_each.values(), 2):
        if parts.of_site[a.site] != parts.of_site[b.site]:
            assert Path(network, a, b).least >= parts.ahead


# What crosses


class Sender(Toy):
    """Host a0 sends all of `SENT` to the last host at its boot."""

    def step(self, event: Any, now: int) -> Ready:
        first = not self.log
        super().step(event, now)
        return Ready(tuple(Send("198.18.0.8", message) for message in SENT) if first and self.id == "198.18.0.1" else ())


SENT: tuple[Message, ...] = (
    Probe(7, stream=True),
    Appoint(ReplicaSet("web", 3, "s", ("m", "n"))),
    Reply("web", "b", 0, 1, 0, 1, ReplicaSet("web", 1, "s", ()), 200),
)


def test_what_hosts_do_to_hosts_elsewhere_is_met_there_as_it_would_be_here() -> None:
    plan = four_sites()
    parts = divide(plan, 2)
    assert parts is not None
    whole = World(plan, Sender, HOP, 10**18, None)
    halves = [World(plan, Sender, HOP, 10**18, None, part=parts.part(number)) for number in (0, 1)]
    for _ in range(40):
        end = halves[0].agenda.now + parts.ahead
        for half in (whole, *halves):
            assert half.agenda.run(end - 1 if end == parts.ahead else end, 10**6)
        for number in (0, 1):
            here, there = halves[number].border, halves[1 - number].border
            assert here is not None
            assert there is not None
            there.bring(here.out(1 - number))
    last = plan.hosts[-1].name
    apart: Any = halves[parts.of_site["d"]].hosts[last].core
    together: Any = whole.hosts[last].core
    assert [message for _, message in apart.received()].count(SENT[1]) == 2, "ahead of the dial, and by it"
    assert apart.log == together.log
    assert sum(len(half.hosts) for half in halves) == len(whole.hosts) == 8


def test_a_part_knows_its_own() -> None:
    plan = four_sites()
    part = Part(1, {"a": 0, "b": 0, "c": 1, "d": 1})
    assert [one.site for one in plan.hosts if part.has(one)] == list("ccdd")


def test_all_messages_are_dataclasses() -> None:
    """Which is how they are pickled."""
    assert all(is_dataclass(cls) and all(field.init for field in fields(cls)) for cls in get_args(Message))
