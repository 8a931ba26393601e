"""Objects handed on from host to host: the courier, what is computed, and when the claim holds."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from opus_controller.bench.worlds import three_sites
from opus_controller.claims import forwarding
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure import forwarding as measure
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import QUICK, Setting


def _nowhere(hosts: int) -> Any:
    raise AssertionError("no network is needed to judge")


SETTING = Setting(QUICK, [Network("here", "a network", _nowhere)])
Latency = Callable[[int, int, int], float]
"""ms by hops, bytes, bits a second."""


def _found(latency: Latency) -> dict[str, Figures]:
    hops = dict(zip(measure.ROUTES, (1, 2, *measure.MANY), strict=True))
    found = {}
    for rate in measure.RATES_BPS:
        ms = {route: {str(size): [latency(count, size, rate)] * 3 for size in measure.SIZES} for route, count in hops.items()}
        found[f"store-and-forward here {QUICK.hosts} {rate}"] = {"hosts": 120, "ms": ms, "overlapped_ms": ms}
    return found


def _near_agent(hops: int) -> float:
    """An agent is on the way; others are anywhere."""
    return 20.0 if hops <= 2 else 40.0 * hops


def test_it_holds_where_each_hop_waits_for_the_whole_object() -> None:
    found = forwarding.judge(_found(lambda hops, size, rate: _near_agent(hops) + hops * 16000 * size / rate), SETTING)

    assert found.verdict == HOLDS
    assert "10 MB (computed)" in [row[1] for row in found.tables[0].rows]


def test_where_objects_do_not_come_later_for_their_size_that_is_the_condition() -> None:
    found = forwarding.judge(_found(lambda hops, size, rate: _near_agent(hops) + 16000 * size / rate), SETTING)

    assert found.verdict == CONDITIONS
    assert "Not so: 2x as much added to 1 MB (here, 10 Mbit/s) and 2x as much added to 1 MB (here, 100 Mbit/s)" in found.because


def test_it_does_not_hold_where_hops_cost_next_to_nothing() -> None:
    found = forwarding.judge(_found(lambda hops, size, rate: 50.0 + hops + 16000 * size / rate), SETTING)

    assert found.verdict == FAILS


@pytest.mark.parametrize("rate_bps", measure.RATES_BPS)
def test_what_is_computed_is_what_is_simulated(rate_bps: int) -> None:
    plan = measure.limited(three_sites(duration_s=1.0), rate_bps)
    way = [plan.hosts[k] for k in (0, 7, 13)]

    ms = measure.carried(plan, way, measure.SIZES[:-1])

    assert list(ms.values()) == pytest.approx([measure.computed(plan, way, size) for size in measure.SIZES[:-1]], rel=1e-3)
    assert measure.computed(plan, way, measure.SIZES[-1]) > ms[measure.SIZES[-2]]


def test_packets_that_overlap_halve_what_access_links_take() -> None:
    plan = measure.limited(three_sites(duration_s=1.0), 10_000_000)
    way = [plan.hosts[0], plan.hosts[7]]
    size = measure.SIZES[-1]

    saved = measure.computed(plan, way, size) - measure.computed(plan, way, size, overlap=True)

    assert saved == pytest.approx(8 * size / 10_000_000 * 1000, rel=0.1)


def test_routes_lead_to_the_nearest_replica_and_pass_as_many_hosts_as_they_should() -> None:
    at = np.arange(60.0)
    delay = np.abs(at[:, None] - at[None, :])

    ways = measure.routes(delay, 4, 10, Random("here"))

    assert all(len(several) == 10 for several in ways.values())
    for direct, agent, *others in zip(*ways.values(), strict=True):
        assert {(way[0], way[-1]) for way in (direct, agent, *others)} == {(direct[0], direct[-1])}
        assert [len(set(way)) for way in (direct, agent, *others)] == [2, 3, *(hops + 1 for hops in measure.MANY)]
