"""Where an index's shards were in a run, how they followed what was asked for, and whether any key that was written is gone.

Whether a key is lost is not taken from any table: each holder's record says which keys came into its memory ("kept"), and a host
that has gone has forgotten them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opus_node.folds import shard_asked_for

from opus_controller.model.plan import App, Plan
from opus_controller.report.result import AppShards, ShardsResult

Record = Mapping[str, Any]
SECOND = 1_000_000_000
SETTLED = 5 * SECOND
"""A write that was acknowledged so long before the end is held by more than who took it; a later one may go with that."""
LATELY = 4
"""The last part of the requests, one in so many, which tell what is asked for most at the end."""


def summary(plan: Plan, events: Sequence[Record], registers: Sequence[Record], end: int) -> ShardsResult | None:
    """Of applications with shards, in the plan's order; None: there are none. `events`: the record, requests aside; `registers`:
    its register records; `end` in ns."""
    apps = [_of(app, events, [r for r in registers if r["app"] == app.name], end) for app in plan.apps if app.shards]
    if not apps:
        return None
    written = sum(one.keys for one in apps)
    return ShardsResult(
        lost=sum(one.lost_keys for one in apps) / written if written else 0.0,
        moves=sum(one.moves for one in apps),
        hottest_copies=min(one.hottest_copies for one in apps),
        domains_min=min(one.domains_min for one in apps),
        apps=apps,
    )


def held_at_end(app: str, events: Iterable[Record]) -> dict[str, set[int]]:
    """By host that lives at the end, the keys in its memory."""
    found: dict[str, set[int]] = {}
    for event in sorted(events, key=lambda e: int(e["t"])):
        if event["kind"] in ("host_down", "host_up"):
            found.pop(event["host"], None)
        elif event["kind"] == "kept" and event["app"] == app:
            keys = found.setdefault(event["host"], set())
            keys.update(event["keys"]) if event["held"] else keys.difference_update(event["keys"])
    return found


def _of(app: App, events: Sequence[Record], registers: Sequence[Record], end: int) -> AppShards:
    decided = sorted((e for e in events if e["kind"] == "shards" and e["app"] == app.name), key=lambda e: int(e["t"]))
    copies = decided[-1]["copies"] if decided else []
    held = held_at_end(app.name, events)
    anywhere = set().union(*held.values()) if held else set()
    written = {int(r["key"]) for r in registers if r["write"] and r["outcome"] == "ok" and r["done_at"] <= end - SETTLED}
    lost = sorted(written - anywhere)
    asked = Counter(shard_asked_for(r, app.shards) for r in registers)
    ordered = sorted(registers, key=lambda r: int(r["issued_at"]))
    lately = Counter(shard_asked_for(r, app.shards) for r in ordered[-(len(ordered) // LATELY) :])
    hottest = max(sorted(lately), key=lambda shard: lately[shard], default=0)
    entries = sum(map(len, held.values()))
    return AppShards(
        app=app.name,
        shards=app.shards,
        copies_wanted=app.copies,
        copies_min=min(copies, default=0),
        copies_mean=sum(copies) / len(copies) if copies else 0.0,
        copies_max=max(copies, default=0),
        hottest_copies=copies[hottest] if copies else 0,
        hottest_share=max(asked.values(), default=0) / len(registers) if registers else 0.0,
        domains_min=min(decided[-1]["domains"], default=0) if decided else 0,
        tables=len(decided),
        moves=sum(int(e["moves"]) for e in decided),
        fullest_share=max(map(len, held.values()), default=0) / entries if entries else 0.0,
        keys=len(written),
        lost_keys=len(lost),
        lost=len(lost) / len(written) if written else 0.0,
    )
