"""Who a fault hits, by live state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.engine.runtime import LiveHost
from opus_controller.engine.targets import resolve
from opus_controller.model.plan import PathTable, Target
from opus_controller.model.shapes import PathShape

LIVE = {
    host.name: host
    for host in (
        LiveHost("a-1", True, is_agent=True, nodes=1, routed=5, steward_of=("web",)),
        LiveHost("a-2", True, replica_of=("web",), served=10),
        LiveHost("b-1", True, is_agent=True, nodes=4, routed=9),
        LiveHost("b-2", True, replica_of=("web", "db"), served=30),
        LiveHost("c-1", True, is_agent=True, nodes=2, routed=9),
        LiveHost("c-2", True),
    )
}

SINCE = {"a-1": -50, "a-2": 0, "b-1": 0, "b-2": 7, "c-1": -50, "c-2": -60}


def who(target: Target, **changed: LiveHost) -> tuple[str, ...]:
    return resolve(target, small_plan(), LIVE | {host.name: host for host in changed.values()}, SINCE)


def role(name: str, app: str = "", pick: float = 0.0, exclude: tuple[str, ...] = ()) -> Target:
    return Target.model_validate({"text": name, "role": name, "app": app, "pick": pick, "exclude": exclude})


def test_chosen_hosts_need_no_live_state() -> None:
    assert resolve(Target(text="x", hosts=("c-1", "a-1"), exclude=("a-1",)), small_plan(), {}, {}) == ("c-1",)


@pytest.mark.parametrize(("pick", "chosen"), [(0.0, "a-2"), (0.49, "a-2"), (0.5, "b-2"), (0.999, "b-2")])
def test_the_draw_falls_on_hosts_sorted_by_name(pick: float, chosen: str) -> None:
    assert who(role("replica", "web", pick)) == (chosen,)


def test_roles() -> None:
    assert who(role("replica", "db")) == ("b-2",)
    assert who(role("busiest-replica", "web")) == ("b-2",)
    assert who(role("steward", "web")) == ("a-1",)
    assert who(role("agent", pick=0.99)) == ("c-1",)
    assert who(role("busiest-agent")) == ("b-1",)  # as many requests as c-1, more nodes
    assert who(role("replica", "mail")) == ()


def some(order: str, pick: float = 0.0, **meant: object) -> Target:
    return Target.model_validate({"text": order, "role": order, "pick": pick, **meant})


def test_several_at_once() -> None:
    assert who(role("replicas", "web")) == ("a-2", "b-2")
    assert {who(some("replicas", pick=pick, app="web", share=0.5)) for pick in (0.1, 0.2, 0.3, 0.4)} == {("a-2",), ("b-2",)}
    assert who(some("replicas", app="web", share=0.9)) == ("a-2", "b-2")
    assert who(some("replicas", app="mail", share=0.9)) == ()
    assert who(role("replicas-but-one", "web", pick=0.0)) == ("b-2",)
    assert who(role("replicas-but-one", "web", pick=0.9)) == ("a-2",)
    assert who(role("replicas-but-one", "db")) == ()
    assert who(some("busiest", count=2)) == ("a-2", "b-2")
    assert who(some("busiest", share=0.5)) == ("a-2", "b-1", "b-2"), "of b-1 and c-1, alike, the draw takes one"
    assert who(some("busiest", pick=0.5, share=0.5)) == ("a-2", "b-2", "c-1")
    assert who(some("oldest", count=1)) == ("c-2",)
    assert who(some("oldest", count=3)) == ("a-1", "c-1", "c-2")
    assert who(some("oldest", count=1, exclude=("c-2", "c-1"))) == ("a-1",)


def test_the_best_connected_by_the_topology() -> None:
    table = PathTable(
        shapes=(PathShape(delay_ns=1), PathShape(delay_ns=50), PathShape(delay_ns=90)), index=((0, 2, 1), (2, 0, 1), (1, 1, 0))
    )
    plan = small_plan().model_copy(update={"paths": table})
    assert resolve(some("best-connected", count=2), plan, LIVE, SINCE) == ("c-1", "c-2")


def test_whose_agent() -> None:
    attached = replace(LIVE["c-2"], agent="b-1")
    assert who(some("agent-of", of="c-2"), attached=attached) == ("b-1",)
    assert who(some("agent-of", of="a-1"), attached=attached) == ("a-1",), "an agent is its own"


def test_the_dead_the_paused_and_the_excluded_play_no_role() -> None:
    dead = replace(LIVE["b-2"], alive=False)
    assert who(role("busiest-replica", "web"), dead=dead) == ("a-2",)
    paused = replace(LIVE["b-2"], paused=True)
    assert who(role("busiest-replica", "web"), paused=paused) == ("a-2",)
    assert who(role("busiest-replica", "web", exclude=("b-2",))) == ("a-2",)


def test_a_site_with_clients_and_no_replica() -> None:
    assert who(role("site-without-replica", "web")) == ("c-1", "c-2")
    moved = replace(LIVE["c-2"], replica_of=("web",))
    assert who(role("site-without-replica", "web"), moved=moved) == ()
    gone = replace(LIVE["b-2"], alive=False)  # a dead replica serves nobody
    assert who(role("site-without-replica", "web", pick=0.0), gone=gone) == ("b-1", "b-2")
    assert resolve(role("site-without-replica", "web"), small_plan(clients=("a-1",)), LIVE, SINCE) == ()


def test_the_stewards_site_is_taken_only_if_no_other_fits() -> None:
    moved = replace(LIVE["a-2"], replica_of=())
    assert who(role("site-without-replica", "web", pick=0.0), moved=moved) == ("c-1", "c-2")
    taken = replace(LIVE["c-2"], replica_of=("web",))
    assert who(role("site-without-replica", "web", pick=0.0), moved=moved, taken=taken) == ("a-1", "a-2")
