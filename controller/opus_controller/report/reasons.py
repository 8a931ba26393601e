"""Decisions on hosts as rows of tables: the same in the terminal (`opus explain`) and in report.html."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from opus_controller.report.explain import Decided, Decision, Explained, Held, Placed

DIVIDED = ("at", "why", "asked", "E", "hosts", "gained", "lost", "latency", "answered", "worth", "with the old")
PLACED = ("at", "why", "asked", "hosts", "gained", "lost", "mean way", "with the old")


class Table(NamedTuple):
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


def decisions(found: Explained, latest: int | None = None) -> Table:
    """One row a decision, of the `latest` or of all; those of a kind that lacks the inputs leave cells empty."""
    shown = found.decisions[-latest:] if latest else found.decisions
    if found.app.utility is not None:
        return Table(DIVIDED, [_divided(one) for one in shown])
    return Table(PLACED, [_placed(one) for one in shown])


def _divided(one: Decided) -> tuple[object, ...]:
    start = (f"{one.at_s:.1f} s", one.cause)
    moved = (len(one.held), " ".join(one.gained), " ".join(one.lost))
    if not isinstance(one, Decision):
        return (*start, "", "", *moved, "", "", "", "")
    latency = "-" if one.latency_ms is None else f"{one.latency_ms:.0f} ms"
    answered = f"{100 * one.availability:.1f}%"
    asked = (f"{one.demand_per_s:.1f}/s", f"{one.e:.2f}")
    return (*start, *asked, *moved, latency, answered, f"{one.utility:.2f}", f"{one.utility_before:.2f}")


def _placed(one: Decided) -> tuple[object, ...]:
    start, gained = (f"{one.at_s:.1f} s", one.cause), " ".join(one.gained)
    if not isinstance(one, Placed):
        return (*start, "", len(one.held), gained, " ".join(one.lost), "", "")
    hosts = str(len(one.held)) if len(one.held) == one.wanted else f"{len(one.held)} of {one.wanted}"
    lost = " ".join(_gone(host, one.silent_s.get(host)) for host in one.lost)
    return (*start, f"{one.demand_per_s:.1f}/s", hosts, gained, lost, _way(one.delay_ms), _way(one.delay_before_ms))


def _gone(host: str, silent_s: float | None) -> str:
    """Members beat once a second: silence for longer is worth telling."""
    return f"{host} (silent {silent_s:.1f} s)" if silent_s is not None and silent_s > 2 else host


def _way(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.1f} ms"


def summary(app: str, last: Decided) -> str:
    """What the last decision was made by: one line."""
    start = f"{app} at {last.at_s:.1f} s, by {last.steward}: {len(last.held)}"
    if isinstance(last, Decision):
        promised = f", no more than promised ({last.floor})" if last.promised else f", promised {last.floor}"
        whole = "" if last.whole else ", search cut short"
        cost = f"{last.demand_per_s:.1f} requests/s of {1000 * last.cost_s:g} ms each"
        return f"{start} of {last.pool} hosts{promised}; {cost}; {last.forecasts} forecasts{whole}"
    if isinstance(last, Placed):
        cost = f" of {1000 * last.cost_s:.3g} ms of a core each, E {last.e:.2f}" if last.e else ""
        could = f"{start} of {last.candidates} hosts that could serve, {last.wanted} wanted"
        return f"{could}; {last.demand_per_s:.1f} requests/s{cost}"
    return f"{start} hosts; {last.cause}"


def held(last: Decided) -> Table:
    """Each host of a decision, and why it is one."""
    if isinstance(last, Decision):
        return Table(("host", "", "lost without it", "who else would want it", "and gain"), [_worth(one) for one in last.held])
    columns = ("host", "", "mean way without it")
    base = last.delay_ms if isinstance(last, Placed) else None
    return Table(columns, [(one.host, _new(one), _without(one.keeps, base, last.held)) for one in last.held])


def _worth(one: Held) -> tuple[object, ...]:
    keeps = "" if one.keeps is None else f"{one.keeps:.3f}"
    return one.host, _new(one), keeps, one.rival or "nobody", f"{one.offer:.3f}" if one.rival else ""


def _new(one: Held) -> str:
    return "new" if one.new else "kept"


def _without(keeps: float | None, base: float | None, all_held: Sequence[Held]) -> str:
    if len(all_held) == 1:
        return "nobody would serve"
    return "unknown" if keeps is None or base is None else f"{base + keeps:.1f} ms (+{keeps:.1f})"
