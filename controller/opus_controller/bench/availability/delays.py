"""How long the overlay takes to put others in the place of members that are lost: what the planner reckons with (`Delays`).

From records of runs: who kept the data when, by what members told, against the plan's deaths and cuts. An incident begins when a
member of the configuration in force dies, or is cut off from most others; it ends with the first configuration in force, at a
majority of its members, all of whose members live and reach each other. One that ends by itself is left out. Beside it: until a
side of a cut that had no replica gets one, where no majority is needed; until a static set has a host back that restarted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from opus_controller.model.plan import Plan
from opus_controller.planner.course import Span, course_of

SECOND = 1e9


Kind = Literal["died", "cut", "headless", "found", "founded", "back", "short"]
"""As in `planner.delays.Delays`; short: in all, not beyond back."""


@dataclass(frozen=True)
class Incident:
    app: str
    kind: Kind
    took_s: float


def incidents(plan: Plan, events: Iterable[Mapping[str, Any]]) -> list[Incident]:
    """`events`: a run's records, in order of time."""
    known = list(events)
    found: list[Incident] = []
    for app in plan.apps:
        if app.static:
            found += _returns(plan, app.name, app.members, known)
        else:
            found += _of(plan, app.name, known) if app.by_majority else _sides(plan, app.name, known)
    return found


def _returns(plan: Plan, app: str, members: Sequence[str], events: Sequence[Mapping[str, Any]]) -> Iterator[Incident]:
    entered = [(int(e["t"]), e["host"]) for e in events if e["kind"] == "data" and e.get("app") == app and e["member"]]
    spans = course_of(plan)
    for before, now in pairwise(spans):
        for host in members:
            if host in before.lives or host not in now.lives:
                continue
            at = next((t for t, who in entered if who == host and t > now.start), None)
            during = [span for span in spans if span.end > now.start and (at is None or span.start < at)]
            if at is not None and all(span.up(host) for span in during):
                whole = all(_whole(span, members) for span in during)
                yield Incident(app, "back" if whole else "short", (at - now.start) / SECOND)


def _sides(plan: Plan, app: str, events: Sequence[Mapping[str, Any]]) -> Iterator[Incident]:
    names = {host.address: host.name for host in plan.hosts}
    told = [e for e in events if e["kind"] == "replica_set" and e.get("app") == app]
    sets = [(int(e["t"]), (e["host"], tuple(names.get(one, one) for one in e["members"]))) for e in told]
    spans = course_of(plan)
    for before, now in pairwise(spans):
        last = _at(sets, now.start)
        for side in [cut[0] for cut in now.cuts if cut not in before.cuts]:
            if last is None or set(last[1]) & side:
                continue
            until = next(
                (span.start for span in spans if span.start > now.start and len(span.cuts) < len(now.cuts)), plan.duration_ns
            )
            later = [at for at, (host, members) in sets if now.start < at < until and host in side and set(members) & side]
            if later:
                yield Incident(app, "found" if last[0] in side else "founded", (later[0] - now.start) / SECOND)


def _of(plan: Plan, app: str, events: Sequence[Mapping[str, Any]]) -> list[Incident]:
    names = {host.address: host.name for host in plan.hosts}
    kept = _in_force(app, events, names)
    heads = _stewards(app, events)
    spans = course_of(plan)
    found: list[Incident] = []
    for before, now in pairwise(spans):
        members = _at(kept, now.start)
        if not members or not _whole(before, members) or _whole(now, members):
            continue
        core = _core(now, members)
        if 2 * len(core) <= len(members):
            continue
        end = _mended(kept, spans, now.start)
        if end is None:
            continue
        cut = all(one in now.lives and now.lives[one] == before.lives.get(one) for one in members)
        head = _at(heads, now.start)
        headless = head is not None and not (now.up(head) and now.reach(head, core[0]))
        found.append(Incident(app, "headless" if headless else "cut" if cut else "died", (end - now.start) / SECOND))
    return found


def _mended(kept: Sequence[tuple[int, tuple[str, ...]]], spans: Sequence[Span], start: int) -> int | None:
    """When one is in force that lacks nobody; None if the present one is whole again first."""
    last = _at(kept, start)
    for span in spans:
        if span.end <= start:
            continue
        begins = max(span.start, start)
        if begins > start and last is not None and _whole(span, last):
            return None
        for at, members in kept:
            if begins < at < span.end:
                last = members
                if _whole(span, members):
                    return at
    return None


def _at(steps: Sequence[tuple[int, Any]], at: int) -> Any:
    """What held just before."""
    held = [one for when, one in steps if when < at]
    return held[-1] if held else None


def _in_force(app: str, events: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[tuple[int, tuple[str, ...]]]:
    """(since when, members) of each configuration that a majority of its members has entered."""
    entered: dict[int, set[str]] = {}
    found: list[tuple[int, tuple[str, ...]]] = []
    number = -1
    for event in events:
        if event["kind"] != "data" or event.get("app") != app or not event["member"] or event["number"] <= number:
            continue
        inside = entered.setdefault(event["number"], set())
        inside.add(event["host"])
        if 2 * len(inside) > len(event["members"]):
            number = event["number"]
            found.append((int(event["t"]), tuple(names.get(one, one) for one in event["members"])))
    return found


def _stewards(app: str, events: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    return [(int(e["t"]), e["host"]) for e in events if e["kind"] == "replica_set" and e.get("app") == app]


def _whole(span: Span, members: Sequence[str]) -> bool:
    return all(span.up(one) and span.reach(one, other) for one in members for other in members)


def _core(span: Span, members: Sequence[str]) -> list[str]:
    alive = [one for one in members if span.up(one)]
    groups = [[other for other in alive if span.reach(one, other)] for one in alive]
    return max(groups, key=len, default=[])
