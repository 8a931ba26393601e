"""Chord in the simulator: rings form and mend, tables become those that a converged ring has, requests are served meanwhile."""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest
from opus_controller.bench.overlay.lab import Lab, Record
from opus_controller.bench.worlds import APP, SECOND, six_regions
from opus_controller.model.plan import OverlaySettings
from opus_node.baselines.chord import Chord
from opus_node.baselines.chord_table import MARGIN, Ideal, Table
from opus_node.baselines.core import BaselineCore
from opus_node.baselines.ids import of_app
from opus_node.core.types import NodeId

HOSTS, REPLICAS = 60, 5
KEY = of_app(APP)

pytestmark = pytest.mark.timeout(600)


def made(hosts: int, *, proximity: bool = True, boot_over_s: float = 0.0, replicas: int = REPLICAS) -> Lab:
    overlay = OverlaySettings(protocol="chord", proximity=proximity)
    plan = six_regions(hosts, duration_s=900, replicas=replicas, overlay=overlay)
    step = int(boot_over_s * SECOND / len(plan.hosts))
    late = (h if h.name in plan.seeds else h.model_copy(update={"boot_at_ns": h.index * step}) for h in plan.hosts)
    return Lab(plan.model_copy(update={"hosts": tuple(late)}))


def overlays(lab: Lab) -> dict[NodeId, Chord]:
    found: dict[NodeId, Chord] = {}
    for host in lab.alive():
        assert isinstance(host.core, BaselineCore)
        overlay = host.core._overlay
        assert isinstance(overlay, Chord)
        found[overlay.ctx.me] = overlay
    return found


def converged(lab: Lab, tables: dict[NodeId, Table]) -> None:
    """Neighbours are the true ones everywhere, every finger lives and lies in its interval, one view of who holds the key."""
    ideal = Ideal(tables)
    for me, table in tables.items():
        true = ideal.table(me)
        assert table.after == true.after
        assert table.before == true.before
        assert set(table.fingers) == set(true.fingers)
        assert all(node in tables and table.in_finger(k, node) for k, node in table.fingers.items())
    told = {overlay.holders(KEY, REPLICAS) for overlay in overlays(lab).values()} - {()}
    assert len(told) == 1
    assert len(lab.replicas()) == REPLICAS


def tables(lab: Lab) -> dict[NodeId, Table]:
    return {me: overlay.table for me, overlay in overlays(lab).items()}


def served(records: list[Record]) -> bool:
    return bool(records) and all(one["outcome"] == "ok" for one in records)


@pytest.fixture(scope="module")
def lab() -> Lab:
    """All have booted in the same second."""
    lab = made(HOSTS)
    lab.run_until(60)
    return lab


def test_all_join_at_once_and_half_fall_silent_at_once(lab: Lab) -> None:
    converged(lab, tables(lab))
    lab.everyone_asks(20)
    lab.run_for(15)
    assert served(lab.requests)
    lab.workload({})
    lab.run_for(3)
    before = lab.control_bytes()
    lab.run_for(30)
    assert (lab.control_bytes() - before) / 30 / HOSTS < 300, "bytes a second sent and received by a node at rest"
    lab.forget()

    names = [host.name for host in lab.plan.hosts]
    dead = Random("half").sample(names, HOSTS // 2)
    lab.power_off(dead)
    lab.ask([name for name in names if name not in dead], lab.now, deadline_s=10)
    lab.run_for(11)
    assert len(lab.requests) == HOSTS // 2
    assert served(lab.requests), "while nobody has noticed"
    lab.run_for(30)
    converged(lab, tables(lab))

    lab.restart(dead)
    lab.run_for(40)
    assert len(tables(lab)) == HOSTS
    converged(lab, tables(lab))


def test_hosts_that_join_one_after_the_other_and_leave_with_a_word() -> None:
    lab = made(36, boot_over_s=20)
    lab.run_until(60)
    converged(lab, tables(lab))
    everybody = tables(lab)
    holders = next(filter(None, (overlay.holders(KEY, REPLICAS) for overlay in overlays(lab).values())))
    last = holders[2]
    host = next(host for host in lab.alive() if host.core is not None and host.core._ctx.me == last)  # type: ignore[attr-defined]
    before, after = everybody[last].before[0], everybody[last].after[0]
    lab.world.dismiss(host)
    lab.run_for(1)
    left = tables(lab)
    assert left[before].after[0] == after
    assert left[after].before[0] == before
    lab.run_for(30)
    left = tables(lab)
    assert last not in left
    converged(lab, left)


def test_requests_take_as_many_hops_as_converged_tables_say() -> None:
    """The live ring's fingers are near ones, so its hops are those of no table exactly, but of all of them in the mean."""
    lab = made(120, replicas=1)
    lab.run_until(45)
    lab.ask([host.name for host in lab.plan.hosts], lab.now, deadline_s=3)
    lab.run_for(4)
    assert served(lab.requests)
    nodes = tables(lab)
    ideal = Ideal(nodes, predecessors=1 + MARGIN)
    expected = mean(len(ideal.route(node, KEY, 1)[0]) for node in nodes)
    assert mean(one["hops"] for one in lab.requests) == pytest.approx(expected, abs=0.5)


def test_near_fingers_are_nearer() -> None:
    def delay(proximity: bool) -> float:
        lab = made(96, proximity=proximity)
        lab.run_until(60)
        some = [overlay.peers.delay(one) for overlay in overlays(lab).values() for one in overlay.table.fingers.values()]
        return mean(some)

    assert delay(True) < 0.6 * delay(False)


def churned(session_s: float) -> tuple[float, float]:
    """The shares of first requests that failed, and that needed more than one try, while hosts stay `session_s` in the mean."""
    lab = made(36, replicas=1)
    lab.run_until(30)
    rng = Random(f"{session_s}/churn")
    names = [host.name for host in lab.plan.hosts if host.name not in lab.plan.seeds]
    back: list[tuple[float, str]] = []
    for _ in range(90):
        lab.ask(rng.sample(names, 3), lab.now, deadline_s=2)
        lab.run_for(1)
        for at, name in [one for one in back if one[0] <= lab.now_s]:
            lab.restart([name])
            back.remove((at, name))
        gone = [name for name in names if rng.random() < 1 / session_s and name not in (one for _, one in back)]
        lab.power_off(gone)
        back += [(lab.now_s + rng.expovariate(1 / 10), name) for name in gone]
    lab.run_for(3)
    asked = lab.requests
    return mean(one["outcome"] != "ok" for one in asked), mean(one["attempts"] > 1 for one in asked)


def test_shorter_sessions_cost_tries_and_few_failures() -> None:
    """The ToN paper's section on churn: no failures to speak of where nodes stay for many rounds, more the shorter they stay."""
    failed, again = churned(30)
    failed_long, again_long = churned(600)
    assert again > 2 * again_long
    assert failed_long <= 0.01
    assert failed < 0.15


def test_lost_packets_do_not_unmake_the_ring() -> None:
    lab = made(36)
    lab.run_until(30)
    lab.lose_packets(0.05)
    lab.run_for(60)
    lab.ask([host.name for host in lab.plan.hosts], lab.now, deadline_s=5)
    lab.run_for(6)
    assert served(lab.requests)
    lab.lose_packets(0.0)
    lab.run_for(40)
    converged(lab, tables(lab))
