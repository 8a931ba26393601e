"""Dissemination among replicas: the mesh is built, everything arrives once and in order, and a third may die."""

from __future__ import annotations

from random import Random

import pytest
from helpers.spreading import plane
from opus_controller.bench.spread.world import APP, Member, World
from opus_node.core import linking, spread
from opus_node.core.linking import DEGREE
from opus_node.core.messages import MeshAnswer, MeshAsk
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.core.updates import MOST

SETTLE = 25 * SECOND


def settled(members: int, seed: int = 1, bound: float = 1.75) -> World:
    world = plane(members, seed, bound)
    world.run(SETTLE)
    return world


def links(world: World) -> dict[str, tuple[str, ...]]:
    return {name: world.members[name].spread.neighbours for name in world.live()}


def connected(graph: dict[str, tuple[str, ...]]) -> bool:
    reached, todo = set(), [next(iter(graph))]
    while todo:
        node = todo.pop()
        if node not in reached:
            reached.add(node)
            todo += graph[node]
    return reached == graph.keys()


def stretch(world: World) -> float:
    """The worst of any two members: over the mesh against directly."""
    graph = links(world)
    names = list(graph)
    far = {a: {b: 0 if a == b else world.rtt(a, b) if b in graph[a] else 10**15 for b in names} for a in names}
    for k in names:
        for a in names:
            for b in names:
                far[a][b] = min(far[a][b], far[a][k] + far[k][b])
    return max(far[a][b] / world.rtt(a, b) for a in names for b in names if a != b)


@pytest.mark.parametrize("bound", [1.5, 2.5])
def test_the_mesh_keeps_the_bound_with_few_links(bound: float) -> None:
    world = settled(20, bound=bound)
    graph = links(world)
    assert all(a in graph[b] for a in graph for b in graph[a]), "both ends hold each link"
    assert max(map(len, graph.values())) <= DEGREE
    assert stretch(world) <= bound * 1.05, "what is made is made for a little more than the bound, by rounded round trips"


def test_a_wider_bound_takes_fewer_links() -> None:
    tight, wide = (sum(map(len, links(settled(20, bound=bound)).values())) for bound in (1.3, 4.0))
    assert wide < tight
    assert wide >= 2 * 19


def test_any_member_sends_and_each_gets_one_copy() -> None:
    world = settled(20)
    for source in world.live()[::4]:
        world.carried.clear()
        version = world.publish(source, b"news")
        world.run(2 * SECOND)
        assert world.delivered[source, version].keys() == world.members.keys()
        assert sum(world.carried.values()) == 19, "no copy is needless"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["random", "hubs", "neighbours"])
def test_a_third_falls_silent_and_the_rest_hear_of_it_in_time(kind: str, seed: int) -> None:
    world = settled(24, seed)
    source = Random(f"{kind}/{seed}").choice(world.live())
    others = [name for name in world.live() if name != source]
    Random(f"{seed}/others").shuffle(others)
    if kind == "hubs":
        others.sort(key=lambda name: -len(links(world)[name]))
    elif kind == "neighbours":
        others.sort(key=lambda name: world.rtt(source, name))
    world.kill(others[:8])
    version = world.publish(source, b"news")
    world.run(3 * SECOND)
    assert world.delivered[source, version].keys() == set(world.live())


def test_the_mesh_heals_after_a_third_died_and_after_it_came_back() -> None:
    world = settled(24)
    world.kill(world.live()[::3])
    world.run(SETTLE)
    graph = {name: tuple(one for one in own if one not in world.dead) for name, own in links(world).items()}
    assert graph == links(world), "nobody keeps a link with the dead"
    assert connected(graph)
    version = world.publish(world.live()[0], b"while they were away")
    world.run(SECOND)
    world.revive()
    world.run(SETTLE)
    assert connected(links(world))
    assert world.delivered[world.live()[1], version].keys() == world.members.keys(), "who was away hears of it afterwards"


# What only the tree can do: nobody else is told of updates, and digests are not due yet


@pytest.fixture
def tree_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "LAZY", 0)
    monkeypatch.setattr(linking, "HELLO", 3600 * SECOND)


TO_ASK = 50 + 20
"""ms: before an update is asked for, and until it comes from the next on the line."""


def line(members: int) -> World:
    """20 ms from each to the next, so that the mesh is a chain."""
    names = [f"n{i}" for i in range(members)]
    world = World(names, lambda a, b: 20 * MILLISECOND * abs(int(a[1:]) - int(b[1:])), 1.75, "line")
    world.run(SETTLE)
    assert links(world)["n1"] == ("n0", "n2")
    return world


def reached(world: World, source: str, version: int, since: int) -> dict[str, int]:
    """ms."""
    return {name: (at - since) // MILLISECOND for name, at in world.delivered[source, version].items()}


@pytest.mark.usefixtures("tree_alone")
@pytest.mark.parametrize(
    ("source", "dead", "below"), [("n0", ["n1", "n2", "n3"], ["n4", "n5"]), ("n5", ["n4", "n3", "n2"], ["n1", "n0"])]
)
def test_who_hangs_below_several_dead_in_a_row_is_reached_as_soon_as_each_has_been_silent_once(
    source: str, dead: list[str], below: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = line(6)
    monkeypatch.setattr(linking.Linking, "_ask", lambda self: True)  # no links are made anew
    world.kill(dead)
    began, version = world.now, world.publish(source, b"news")
    world.run(SECOND)
    waits = [int(1.5 * 20 * hops) + 30 for hops in (1, 2, 3)]
    near, far = below
    assert reached(world, source, version, began) == {source: 0, near: sum(waits) + 40, far: sum(waits) + 50}
    began, version = world.now, world.publish(source, b"more")
    world.run(SECOND)
    took = reached(world, source, version, began)
    assert took.keys() == {source, near, far}
    assert max(took.values()) <= 60 + TO_ASK, "the dead are known by now; the one who is told tells the other, whoever is nearer"


@pytest.mark.usefixtures("tree_alone")
def test_what_is_published_while_a_member_is_being_found_dead_is_passed_on_too() -> None:
    world = line(4)
    world.kill(["n1"])
    world.publish("n0", b"first")
    world.run(70 * MILLISECOND)  # silent once, after 60, and again after 120
    began, version = world.now, world.publish("n0", b"second")
    world.run(SECOND)
    assert reached(world, "n0", version, began) == {"n0": 0, "n2": 50 + 20, "n3": 50 + 30}


@pytest.mark.usefixtures("tree_alone")
def test_new_members_are_told_before_they_have_links_and_ask_for_what_was_before() -> None:
    world = plane(12)
    names = world.live()
    world.learn(names[:8])
    world.run(SETTLE)
    before = world.publish(names[1], b"before")
    world.run(SECOND)
    spread.LAZY = 3  # whom a newcomer asks, too; the fixture puts it back
    world.learn(names)
    began, version = world.now, world.publish(names[0], b"now")
    world.run(400 * MILLISECOND)
    assert reached(world, names[0], version, began).keys() == set(names)
    assert max(reached(world, names[0], version, began).values()) < 150
    assert world.delivered[names[1], before].keys() == set(names)


def test_more_than_a_hundred_members_are_all_reached_by_few_links() -> None:
    """Far beyond two levels of fan-out: a source has six neighbours at most, these 30, these 150, if all were new."""
    world = plane(102)
    world.run(11 * SECOND)
    assert max(map(len, links(world).values())) <= DEGREE
    for source in world.live()[::50]:
        world.carried.clear()
        version = world.publish(source, b"news")
        world.run(SECOND)
        assert world.delivered[source, version].keys() == world.members.keys()
        assert depth(world, source) > 2
        assert sum(world.carried.values()) < 1.1 * 101


def depth(world: World, source: str) -> int:
    """Hops to the farthest, along the copies that were sent."""
    level, seen, hops = {source}, {source}, 0
    while level:
        level = {b for a, b in world.carried if a in level} - seen
        seen |= level
        hops += bool(level)
    return hops


def test_members_come_and_go_with_the_set() -> None:
    world = plane(20)
    names = world.live()
    world.learn(names[:12])
    world.run(SETTLE)
    early = world.publish(names[0], b"early")
    world.run(SECOND)
    assert world.delivered[names[0], early].keys() == set(names[:12])
    world.learn(names[6:])
    world.run(SETTLE)
    graph = links(world)
    assert all(not graph[name] for name in names[:6])
    assert connected({name: graph[name] for name in names[6:]})
    late = world.publish(names[-1], b"late")
    world.run(SECOND)
    assert world.delivered[names[-1], late].keys() == set(names[6:])
    assert world.delivered[names[0], early].keys() == set(names), "newcomers hear of what was before, from one who has left"


def test_before_there_is_a_mesh_what_is_published_arrives_all_the_same() -> None:
    world = plane(12)
    version = world.publish("n00", b"early")
    world.run(SETTLE)
    assert world.delivered["n00", version].keys() == world.members.keys()


def test_who_has_left_may_still_publish_what_it_was_told_before() -> None:
    world = settled(12)
    first = world.publish("n03", b"as a member")
    world.learn([name for name in world.live() if name != "n03"])
    second = world.publish("n03", b"too late")
    world.run(5 * SECOND)
    assert world.delivered["n03", first].keys() == world.delivered["n03", second].keys() == world.members.keys()
    assert world.members["n03"].spread.neighbours == ()


def test_who_is_no_member_takes_no_part() -> None:
    world = plane(4)
    outsider = Member("n09", 1.75, "outsider", lambda me, update, missed: None)
    outsider.spread.learn(world.live())
    assert outsider.spread.publish(b"x") is None
    outsider.spread.on("n00", MeshAsk(APP, 1))
    assert [one.message for one in outsider.ctx.sends] == [MeshAnswer(APP, False)]
    assert world.members["n00"].spread.publish(bytes(MOST + 1)) is None
