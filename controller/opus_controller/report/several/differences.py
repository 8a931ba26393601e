"""What two runs were asked to do differently: their plans key by key, and what they ran on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opus_controller.model.errors import ScenarioError
from opus_controller.model.units import format_duration, shown

MOST = 12
"""Lines about plans; the rest is counted."""
_NOT_ASKED_FOR = ("name", "seed", "format")
"""Said elsewhere, or no difference of what happens."""
Change = tuple[str, Any, Any]
_MISSING = object()


def of_plans(before: Path, after: Path) -> list[str]:
    """Lines like "workload[].rate_per_s: 0.73 → 1.46 (30 times)", of two plan.json; none if they are alike."""
    plans = []
    for file in (before, after):
        try:
            plans.append(json.loads(file.read_bytes()))
        except (OSError, ValueError):
            raise ScenarioError(f"{file}: cannot be read as a plan") from None
    found: dict[str, list[Change]] = {}
    for change in _changes("", *plans):
        found.setdefault(change[0], []).append(change)
    lines = [_told(changes) for changes in found.values()]
    if len(lines) > MOST:
        lines[MOST:] = [f"plan: {len(lines) - MOST} more differences"]
    return lines


def _changes(where: str, before: Any, after: Any) -> Iterator[Change]:
    """(key with positions left out, before, after) of every leaf that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            if not where and key in _NOT_ASKED_FOR:
                continue
            yield from _changes(f"{where}.{key}" if where else key, before.get(key, _MISSING), after.get(key, _MISSING))
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield (f"{where}, how many", len(before), len(after))
        for one, other in zip(before, after, strict=False):
            yield from _changes(f"{where}[]", one, other)
    elif before != after or type(before) is not type(after):
        yield (where, before, after)


def _told(changes: list[Change]) -> str:
    where, before, after = changes[0]
    kinds = len({(str(b), str(a)) for _, b, a in changes})
    times = f" ({len(changes)} times{', the first of them' if kinds > 1 else ''})" if len(changes) > 1 else ""
    return f"{where.removesuffix('_ns')}: {_value(where, before)} → {_value(where, after)}{times}"


def _value(where: str, value: Any) -> str:
    if value is _MISSING or value is None:
        return "–"
    if where.endswith("_ns") and isinstance(value, int):
        return format_duration(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, int) else shown(value)


def of_facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Lines like "kernel: 6.1 → 6.18" for what is not the same; nested mappings key by key."""
    lines = []
    for key in [*before, *(key for key in after if key not in before)]:
        a, b = before.get(key), after.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += of_facts(a, b)
        elif a != b:
            lines.append(f"{key}: {_fact(a)} → {_fact(b)}")
    return lines


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else _value("", value)
