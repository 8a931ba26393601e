"""Which hosts serve which applications: of what is there, so that the sum of utilities is greatest and every floor is kept.

    allocate(units, needs, now) -> Allocation          pure: the same arguments in any order, the same answer

Where capacity is short, priorities emerge: hosts go to whom they are worth most. `now` counts: a host that begins to serve an
application must bring `Need.moving` first, so small gains move nobody. An `Allocation` tells each decision by its inputs.

What a configuration may be expected to do is `forecast`, the search is `bargain`. Whoever calls knows all needs: an application's
steward knows its own, one arbiter divides (Walsh, Tesauro, Kephart, Das, *Utility functions in autonomic systems*, 2004).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opus_node.core.bargain import Bargain, Masks, positions
from opus_node.core.forecast import Need, Unit
from opus_node.core.types import AppId, NodeId
from opus_node.core.utility import Felt

EFFORT = 40_000
"""Forecasts worked out, about, at most; then the best so far has to do. On pools of 30 and 60 hosts, all unlike, a thousand found
97 and 98% of what ten thousand did, in 0.2 and 0.8 s instead of 1.7 and 2.8 s of a core."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One host, and why it is where it is."""

    unit: NodeId
    app: AppId
    before: AppId
    """Whom it served; empty: nobody."""
    keeps: float
    """Utility that its application would lose without it."""
    rival: AppId
    """To whom else it would be worth most ..."""
    offer: float
    """... and what that one would gain by it alone."""
    promised: bool
    """Its application holds no more than its floor."""


@dataclass(frozen=True, slots=True)
class Account:
    """One application: what was known of it, and what it may expect."""

    app: AppId
    demand: float
    """Requests/s, of all places."""
    floor: int
    units: tuple[NodeId, ...]
    before: tuple[NodeId, ...]
    felt: Felt
    utility: float
    felt_before: Felt
    utility_before: float
    moving: float
    """Paid for units that are new to it."""


@dataclass(frozen=True, slots=True)
class Allocation:
    serves: Mapping[NodeId, AppId]
    """By unit; who is not in it serves nobody."""
    accounts: tuple[Account, ...]
    grants: tuple[Grant, ...]
    """Of all units that serve, and of those that did, with no application."""
    forecasts: int
    """Worked out for it."""
    whole: bool
    """False: `effort` ended the search."""

    @property
    def utility(self) -> float:
        return sum((one.utility for one in self.accounts), 0.0)

    @property
    def utility_before(self) -> float:
        return sum((one.utility_before for one in self.accounts), 0.0)

    @property
    def moving(self) -> float:
        return sum((one.moving for one in self.accounts), 0.0)


def allocate(
    units: Sequence[Unit],
    needs: Sequence[Need],
    now: Mapping[NodeId, AppId] | None = None,
    rent: float = 0.0,
    effort: int = EFFORT,
) -> Allocation:
    """`now`: who serves whom. `rent`: what a host must bring its application to be held at all.

    Floors are kept as long as there are hosts with any cores for all of them; beyond that, shared out evenly.
    """
    now = now or {}
    usable, needs = _in_order(units, needs)
    before = [sum(1 << u for u, one in enumerate(usable) if now.get(one.name) == need.app) for need in needs]
    bargain = Bargain(needs, usable, before, rent, effort)
    return _told(bargain, usable, _best(bargain, before), before)


def greedy(units: Sequence[Unit], needs: Sequence[Need]) -> Allocation:
    """One unit after the other to whoever gains most by it: exact for separable concave utilities, for comparison otherwise."""
    usable, needs = _in_order(units, needs)
    nobody = [0] * len(needs)
    bargain = Bargain(needs, usable, nobody, 0.0, EFFORT)
    return _told(bargain, usable, bargain.single(bargain.promise(nobody)), nobody)


def _in_order(units: Sequence[Unit], needs: Sequence[Need]) -> tuple[list[Unit], list[Need]]:
    """By name, so that the answer does not depend on how they are given; units that can do something."""
    usable = sorted((one for one in units if one.cores > 0), key=lambda one: one.name)
    return usable, sorted(needs, key=lambda need: need.app)


def _best(bargain: Bargain, before: Masks) -> Masks:
    """The best of several searches: each alone may end in a corner."""
    apps = range(len(before))
    kept = bargain.promise(before)
    empty = bargain.promise([0] * len(before))
    best = bargain.climb(kept)
    starts = [bargain.fill(empty, apps)]
    starts += [bargain.fill(bargain.fill(empty, [app]), apps) for app in apps]
    for start in starts:
        found = bargain.climb(start)
        if bargain.total(found) > bargain.total(best) + bargain.least:
            best = found
    return bargain.regroup(best)


# What is told of it


def _told(bargain: Bargain, units: Sequence[Unit], masks: Masks, before: Masks) -> Allocation:
    names = [need.app for need in bargain.needs]
    serves = {units[u].name: names[app] for app, mask in enumerate(masks) for u in positions(mask)}
    grants = [_grant(bargain, units, masks, before, u) for u in range(len(units))]
    return Allocation(
        dict(sorted(serves.items())),
        tuple(_account(bargain, units, app, masks[app], before[app]) for app in range(len(masks))),
        tuple(one for one in grants if one.app or one.before),
        bargain.forecast_count,
        not bargain.tired,
    )


def _account(bargain: Bargain, units: Sequence[Unit], app: int, mask: int, before: int) -> Account:
    need = bargain.needs[app]
    felt, was = bargain.felt(app, mask), bargain.felt(app, before)
    return Account(
        need.app,
        bargain.forecasts[app].demand,
        need.floor,
        tuple(units[u].name for u in positions(mask)),
        tuple(units[u].name for u in positions(before)),
        felt,
        need.utility.of(felt),
        was,
        need.utility.of(was),
        need.moving * (mask & ~before).bit_count(),
    )


def _grant(bargain: Bargain, units: Sequence[Unit], masks: Masks, before: Masks, u: int) -> Grant:
    unit = 1 << u
    owner = next((app for app, mask in enumerate(masks) if mask & unit), -1)
    was = next((app for app, mask in enumerate(before) if mask & unit), -1)
    name = [need.app for need in bargain.needs]
    keeps, promised = 0.0, False
    if owner >= 0:
        keeps = bargain.utility(owner, masks[owner]) - bargain.utility(owner, masks[owner] ^ unit)
        promised = masks[owner].bit_count() <= bargain.needs[owner].floor
    offers = [
        (bargain.utility(app, mask | unit) - bargain.utility(app, mask), -app)
        for app, mask in enumerate(masks)
        if app != owner and bargain.forecasts[app].can(u)
    ]
    offer, rival = max(offers, default=(0.0, 1))
    return Grant(
        units[u].name,
        name[owner] if owner >= 0 else "",
        name[was] if was >= 0 else "",
        keeps,
        name[-rival] if offer > 0 else "",
        max(0.0, offer),
        promised,
    )
