"""Copies on physical links: how they are counted on a small map, and when the claim holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from opus_controller.claims import stress
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure import stress as measure
from opus_controller.claims.measure.networks import COGENTCO, Network
from opus_controller.claims.setting import QUICK, Setting


def _nowhere(hosts: int) -> Any:
    raise AssertionError("no network is needed to judge")


@pytest.fixture
def row(tmp_path: Path) -> Path:
    """Six towns on the equator, one cable from each to the next."""
    nodes = "".join(
        f'<node id="{k}"><data key="d0">0.0</data><data key="d1">{3.0 * k}</data><data key="d2">town {k}</data></node>'
        for k in range(6)
    )
    keys = "".join(
        f'<key attr.name="{name}" attr.type="{kind}" for="node" id="d{k}"/>'
        for k, (name, kind) in enumerate((("Latitude", "double"), ("Longitude", "double"), ("label", "string")))
    )
    edges = "".join(f'<edge source="{k}" target="{k + 1}"/>' for k in range(5))
    path = tmp_path / "Row.graphml"
    head = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    path.write_text(f'{head}{keys}<graph edgedefault="undirected">{nodes}{edges}</graph></graphml>')
    return path


def test_messages_take_the_shortest_way_between_towns(row: Path) -> None:
    on = measure.ground(row, 12)

    assert on.delay.shape == (12, 12)
    assert on.links(0, 5) == [(0, measure.HOST), (0, 1), (1, 2), (5, measure.HOST)]
    assert on.links(4, 1) == [(4, measure.HOST), (1, 2), (0, 1), (1, measure.HOST)]
    assert on.links(0, 1) == [(0, measure.HOST), (1, measure.HOST)]
    assert on.delay[0, 5] == pytest.approx(sum(on.ms(link) for link in on.links(0, 5)))


def test_who_hands_on_has_two_copies_on_its_link_and_a_way_back_crosses_cables_again(row: Path) -> None:
    on = measure.ground(row, 6)

    direct, detour = (measure._told(on, measure.pairs(way)) for way in ([0, 2], [0, 3, 2]))

    assert (direct["mean"], direct["most"]) == (1.0, 1.0)
    assert detour["most"] == 2.0
    assert detour["cables_mean"] == pytest.approx(4 / 3)  # one of three cables there and back
    assert detour["mean"] == pytest.approx((4 + 1 + 2 + 1) / 6)
    assert detour["usage"] > direct["usage"]


def test_unicast_crowds_the_sources_link_and_the_mesh_relieves_it(row: Path) -> None:
    on = measure.ground(row, 60)
    members = list(range(0, 60, 3))

    (sent,) = measure.by_mesh(on.delay, members, [members[0]], seed=1)

    assert {to for _, to in sent} >= set(members[1:])
    unicast = measure._told(on, [(members[0], one) for one in members[1:]])
    mesh, once = measure._told(on, sent), measure._once(on, sent)
    assert unicast["most"] == len(members) - 1
    assert mesh["most"] < unicast["most"] / 2
    assert once["usage"] <= mesh["usage"] < unicast["usage"]


def test_routes_have_the_hops_of_the_literature(row: Path) -> None:
    on = measure.ground(row, 240)

    found = measure.routes(on.delay, 5, 30, Random("here"))

    assert {len(way) - 1 for way in found[measure.OPUS]} == {2}
    assert {len(way) - 1 for way in found[measure.CHORD]} == {4}  # half of log2 240
    assert {len(way) - 1 for way in found[measure.PASTRY]} == {2}  # log16 240
    assert all(len(set(way)) == len(way) for way in found[measure.CHORD])
    chord, pastry = (np.mean([on.delay[way[0], way[1]] for way in found[route]]) for route in (measure.CHORD, measure.PASTRY))
    assert pastry < chord  # the nearest of those that fit


def _setting(tmp_path: Path) -> Setting:
    for name in ("Cogentco", "Abilene"):
        (tmp_path / f"{name}.graphml").write_text("")
    network = Network(COGENTCO, "a network", _nowhere, tmp_path / "Cogentco.graphml")
    return Setting(QUICK, [network])


def _found(
    setting: Setting, *, stress_of_ours: float = 1.3, others_ms: float = 60.0, mesh_most: float = 3.0
) -> dict[str, Figures]:
    def route(mean: float, usage: float, direct: float) -> Figures:
        each = {"mean": mean, "most": 2 * mean, "cables_mean": mean, "usage": usage, "direct": direct, "hops": 2.0}
        return {key: [value] * 5 for key, value in each.items()}

    def spread(most: float, usage: float) -> Figures:
        return {"mean": [most / 2] * 3, "most": [most] * 3, "cables_mean": [1.0] * 3, "usage": [usage] * 3}

    routes = {
        measure.DIRECT: route(1.0, 10.0, 10.0),
        measure.OPUS: route(stress_of_ours, 15.0, 10.0),
        measure.CHORD: route(1.6, others_ms, 20.0),
        measure.PASTRY: route(1.4, others_ms, 20.0),
    }
    ways = {
        measure.UNICAST: spread(9.0, 100.0),
        measure.MESH: spread(mesh_most, 60.0),
        measure.MULTICAST: spread(1.0, 50.0),
    }
    updates = {name: {"members": 10, **ways} for name in (measure.PLACED, measure.WIDE)}
    requests = {"hosts": 120, "sites": 10, "cables": 20, "routes": routes}
    return {task.name: requests if "requests" in task.name else updates for task in stress.tasks(setting)}


def test_it_holds_where_ours_stays_on_its_way_and_others_wander(tmp_path: Path) -> None:
    setting = _setting(tmp_path)

    finding = stress.judge(_found(setting), setting)

    assert finding.verdict == HOLDS
    assert "0.33 to 0.33 of unicast's greatest stress" in finding.because
    assert {row[0] for row in finding.tables[0].rows} == {"Cogentco", "Abilene"}


def test_a_mesh_that_does_not_relieve_links_is_the_condition(tmp_path: Path) -> None:
    setting = _setting(tmp_path)

    finding = stress.judge(_found(setting, mesh_most=8.0), setting)

    assert finding.verdict == CONDITIONS
    assert "half the stress by mesh (placed) (Cogentco, Abilene)" in finding.because


def test_it_does_not_hold_where_our_route_is_no_better(tmp_path: Path) -> None:
    setting = _setting(tmp_path)
    found = _found(setting, stress_of_ours=2.5, others_ms=20.0, mesh_most=8.0)
    assert stress.judge(found, setting).verdict == FAILS


def test_without_a_map_there_is_nothing_to_do() -> None:
    plain = replace(Network(COGENTCO, "a network", _nowhere), map=None)
    assert stress.tasks(Setting(QUICK, [plain])) == []
