"""Was what clients read and wrote what they were promised? From a run's records to histories of registers, and the judge's word.

A *register record* is one of kind "register": `opus_node.core.events.RegisterDone`.

Of a write that did not end well the client never heard: it may have happened, or not. Of those whose client died nothing is
recorded at all; where such a write was read the value tells whose it was, and so when it was asked at the earliest: after what
its client had asked before. One that nobody read explains nothing, and is explained by anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opus_controller.engine import bounded, eventual
from opus_controller.engine.linearizable import STEPS, Operation, Verdict, check_register
from opus_controller.model.plan import App, Plan
from opus_controller.report.result import AppConsistency, ConsistencyResult, Violation

Record = Mapping[str, Any]
REGISTER = "register"
SHOWN = 5
"""Violations described in result.json."""
MOST = 6
"""Operations named in one."""


@dataclass(frozen=True)
class History:
    """Of one application."""

    operations: tuple[Operation, ...]
    """Those that happened or may have, in order of call."""
    asked: int
    """Requests recorded."""
    unheard: int
    """Writes among the operations that may have happened or not."""


def history_of(records: Iterable[Record], names: Mapping[str, str] | None = None) -> History:
    """Of one application's register records, any order. `names`: hosts by their nodes' identities, unless records use these."""
    known = sorted(records, key=lambda r: int(r["issued_at"]))
    told = [_operation(r) for r in known if r["outcome"] == "ok" or (r["write"] and r["count"])]
    written = {r["writer"] for r in known if r["write"] and r["count"]}
    lost: dict[str, Operation] = {}
    for r in known:
        if not r["write"] and r["count"] and r["writer"] not in written and r["writer"] not in lost:
            called = _earliest(r["writer"], known, names or {})
            lost[r["writer"]] = Operation(r["writer"], r["key"], "write", r["value"], called, None, _version(r))
    operations = sorted([*told, *lost.values()], key=lambda one: one.called_at)
    unheard = sum(one.kind == "write" and one.returned_at is None for one in operations)
    return History(tuple(operations), len(known), unheard)


def _operation(r: Record) -> Operation:
    heard = r["outcome"] == "ok"
    called, returned = int(r["issued_at"]), int(r["done_at"]) if heard else None
    client = f"{r['host']} {r['life']}/{r['request']}"
    return Operation(client, r["key"], "write" if r["write"] else "read", r["value"] or None, called, returned, _version(r))


def _version(r: Record) -> tuple[int, str]:
    return int(r["count"]), str(r["writer"])


def _earliest(writer: str, known: Sequence[Record], names: Mapping[str, str]) -> int:
    """When a write of which there is no record was asked at the earliest: clients number their requests in order."""
    node, life, request = writer.split("/")
    host = names.get(node, node)
    before = (int(r["issued_at"]) for r in known if r["host"] == host and r["life"] == int(life) and r["request"] < int(request))
    return max(before, default=0)


def judged(history: History, app: App | None = None, calm_from: int = 0, steps: int = STEPS) -> list[Verdict]:
    """A verdict for each register, in the order of keys; by what `app` promises, or else as linearizable ones. `calm_from`: when
    the last thing went wrong or was mended."""
    by_key = _by_key(history)
    if app is not None and app.consistency == bounded.MODE:
        return [bounded.check_register(by_key[key], app.staleness_ns, app.missed) for key in sorted(by_key)]
    if app is not None and app.consistency == eventual.MODE:
        return [eventual.check_register(by_key[key], calm_from) for key in sorted(by_key)]
    return [check_register(by_key[key], steps) for key in sorted(by_key)]


def _by_key(history: History) -> dict[Any, list[Operation]]:
    found: dict[Any, list[Operation]] = {}
    for one in history.operations:
        found.setdefault(one.key, []).append(one)
    return found


def summary(plan: Plan, records: Sequence[Record]) -> ConsistencyResult | None:
    """Of the applications that promise something, in the plan's order; None: of none."""
    found, names = [], {host.address: host.name for host in plan.hosts}
    calm_from = max((fault.at_ns for fault in plan.timeline), default=0)
    for app in plan.apps:
        if not app.consistency:
            continue
        history = history_of((r for r in records if r["app"] == app.name), names)
        verdicts = judged(history, app, calm_from)
        ages = [age for one in _by_key(history).values() for age in bounded.staleness(one)]
        undecided = sum(one.found == "unknown" for one in verdicts)
        bad = [one for one in verdicts if one.found == "violated"]
        found.append(
            AppConsistency(
                app=app.name,
                mode=app.consistency,
                operations=history.asked,
                keys=len(verdicts),
                violations=len(bad) if bad or not undecided else None,
                undecided=undecided,
                unheard=history.unheard,
                stale=sum(age > 0 for age in ages),
                stalest_s=max(ages, default=0) / 1e9,
                violated=[_violation(one) for one in bad[:SHOWN]],
            )
        )
    if not found:
        return None
    counts = [one.violations for one in found if one.violations is not None]
    return ConsistencyResult(violations=sum(counts) if any(counts) or len(counts) == len(found) else None, apps=found)


def _violation(verdict: Verdict) -> Violation:
    return Violation(key=int(str(verdict.key)), stuck_at=[_shown(one) for one in verdict.stuck_at[:MOST]])


def _shown(one: Operation) -> str:
    until = "unheard" if one.returned_at is None else f"{one.returned_at / 1e9:.3f} s"
    return f"{one.client} {one.kind} {one.value or 'nothing'}, {one.called_at / 1e9:.3f} s to {until}"
