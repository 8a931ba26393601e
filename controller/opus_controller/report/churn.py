"""What churn did in a run: who left and came back, how many were there, how long sessions and absences really were.

Most sessions of a short run began before it or last beyond it: a median of those that happened to begin and end inside would be
far too short. The product-limit estimator counts each for as long as it was seen, and those that were under way at the start from
their age on (Kaplan and Meier, JASA 53, 1958; left truncation: Tsai, Jewell, Wang, Biometrika 74, 1987).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opus_controller.model.plan import Churn, Life, Plan
from opus_controller.report import result
from opus_controller.report.world import Track

SECOND = 1_000_000_000
FEWEST_ENDED = 10
"""A median of fewer is none."""


@dataclass(frozen=True)
class Spell:
    """One session or absence as far as it was seen, in ns of its own age."""

    entered: int
    """0 unless it had begun before churn did."""
    left: int
    ended: bool
    """By churn. Otherwise the run was over, or a fault or a death of its own came first."""


def summary(plan: Plan, events: Iterable[Mapping[str, Any]], up: Track, until: int) -> result.ChurnResult | None:
    """`events`: the record, requests aside; `up`: who was up when; `until`: the end of the timeline. None without churn."""
    if plan.churn is None:
        return None
    events = sorted(events, key=lambda e: int(e["t"]))
    moves = [e for e in events if e["kind"] == "churn"]
    began = min((life.churns_from_ns for life in plan.churn.lives if life.churns_from_ns is not None), default=0)
    sessions, absences = _spells(plan.churn, events, until)
    late = np.array([e["done_t"] - e["due_t"] for e in moves], dtype=np.float64) / 1e6
    return result.ChurnResult(
        text=list(plan.churn.text),
        hosts=sum(life.churns_from_ns is not None for life in plan.churn.lives),
        crashes=_hosts(moves, "crash"),
        power_offs=_hosts(moves, "power-off"),
        leaves=_hosts(moves, "leave"),
        returns=_hosts(moves, "return"),
        skipped=sum(len(e["skipped"]) for e in moves),
        alive=_alive(up, began, until),
        sessions=_of(sessions),
        downtimes=_of(absences),
        late_ms=result.Late(p50=float(np.median(late)), p99=float(np.quantile(late, 0.99)), max=float(late.max()))
        if len(late)
        else result.Late(),
    )


def _hosts(moves: Sequence[Mapping[str, Any]], change: str) -> int:
    return sum(len(e["hosts"]) for e in moves if e["change"] == change)


def _alive(up: Track, began: int, until: int) -> result.Alive:
    """Hosts that ran, over time from `began` to `until`."""
    edges = [began, *(t for t in up.times if began < t < until), until]
    counts = [len(up.at(t) or ()) for t in edges[:-1]]
    widths = np.diff(np.array(edges, dtype=np.float64))
    if not counts or widths.sum() <= 0:
        return result.Alive()
    return result.Alive(mean=float(np.average(counts, weights=widths)), min=min(counts), max=max(counts))


def _spells(churn: Churn, events: Sequence[Mapping[str, Any]], until: int) -> tuple[list[Spell], list[Spell]]:
    """Sessions and absences of the hosts that churn."""
    by_host: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["kind"] in ("host_up", "host_down"):
            by_host.setdefault(event["host"], []).append(event)
    found: tuple[list[Spell], list[Spell]] = ([], [])
    for life in churn.lives:
        for is_up, spell in _of_host(life, by_host.get(life.host, ()), until):
            found[not is_up].append(spell)
    return found


def _of_host(life: Life, changes: Iterable[Mapping[str, Any]], until: int) -> Iterator[tuple[bool, Spell]]:
    if life.churns_from_ns is None:
        return
    is_up, since = life.up, -life.age_ns
    for change in changes:
        t, now_up = int(change["t"]), change["kind"] == "host_up"
        if now_up != is_up:
            if t > life.churns_from_ns:
                entered = max(0, life.churns_from_ns - since)
                yield is_up, Spell(entered, t - since, change["cause"] == "churn")
            is_up, since = now_up, t
    if until > max(since, life.churns_from_ns):
        yield is_up, Spell(max(0, life.churns_from_ns - since), until - since, False)


def _of(spells: Sequence[Spell]) -> result.Spells:
    ended = sum(spell.ended for spell in spells)
    median = product_limit_median(spells) if ended >= FEWEST_ENDED else None
    return result.Spells(ended=ended, under_way=len(spells) - ended, median_s=None if median is None else median / SECOND)


def product_limit_median(spells: Sequence[Spell]) -> float | None:
    """The least age by which half have ended; None if that was not seen."""
    entered = np.sort(np.array([spell.entered for spell in spells], dtype=np.int64))
    left = np.sort(np.array([spell.left for spell in spells], dtype=np.int64))
    survival = 1.0
    ages, deaths = np.unique(np.array([s.left for s in spells if s.ended], dtype=np.int64), return_counts=True)
    for age, died in zip(ages.tolist(), deaths.tolist(), strict=True):
        at_risk = int(np.searchsorted(entered, age, side="left")) - int(np.searchsorted(left, age, side="left"))
        survival *= 1 - died / at_risk
        if survival <= 0.5:
            return float(age)
    return None
