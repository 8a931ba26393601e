"""Values put in place of a scenario's own, from the command line: `--set KEY=VALUE` and `--vary KEY=V1,V2,...`.

    applications.web.replicas=5      an entry of a list by its name,
    workload.0.total_rate=40/s       or by its position from 0, as errors write it (workload[0].total_rate)
    overlay.wave=8                   a key that the file does not have
    workload.0.clients="sites a, b"  values are YAML: text with a comma in it wants quotes

The result is a document like one from a file, checked by the same code; its errors name the line of what was replaced.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from opus_controller.model.document import Document, Node, parse_inline
from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.units import shown

KEY_ALLOWED: Final = "keys with dots between them, such as overlay.wave or applications.web.replicas"
MOST_SETTINGS: Final = 1_000
NOT_SETTINGS: Final[Mapping[str, str]] = {
    "seed": "seeds are --seed and --repeat",
    "name": "a scenario keeps its name",
}


@dataclass(frozen=True)
class Setting:
    """One value for one key."""

    key: str
    value: Any
    """As YAML gives it."""
    text: str
    """The value as one would write it after "=", to be read again."""

    def __str__(self) -> str:
        return f"{self.key}={self.text}"


@dataclass(frozen=True)
class Variation:
    """One key and the values it is to take, one after the other."""

    key: str
    settings: tuple[Setting, ...]


def parse_setting(text: str, option: str = "--set") -> Setting:
    """ "KEY=VALUE". ScenarioError in one line."""
    variation = parse_variation(text, option)
    if len(variation.settings) != 1:
        raise ScenarioError(f"{option} {text}: {len(variation.settings)} values; allowed: one (text with a comma in quotes)")
    return variation.settings[0]


def parse_variation(text: str, option: str = "--vary") -> Variation:
    """ "KEY=V1,V2,...". ScenarioError in one line."""
    key, equals, values = text.partition("=")
    key = key.strip()
    if not text.isprintable() or not equals or not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+|\[[0-9]+\])*", key):
        raise ScenarioError(f"{option} {shown(text)}: KEY=VALUE is wanted; allowed: {KEY_ALLOWED}")
    if key in NOT_SETTINGS:
        raise ScenarioError(f"{option} {text}: {NOT_SETTINGS[key]}; allowed: any other key")
    try:
        nodes = parse_inline(f"[{values}]").value
    except ValueError as error:
        raise ScenarioError(f"{option} {text}: {error}") from None
    found = [node.plain() for node in nodes]
    if not found or None in found:
        raise ScenarioError(f"{option} {text}: a value is missing; allowed: {key}=VALUE")
    settings = tuple(Setting(key, value, _written(value)) for value in found)
    if twice := [str(one) for k, one in enumerate(settings) if one in settings[:k]]:
        raise ScenarioError(f"{option} {text}: {twice[0]} is given twice; allowed: values that differ")
    return Variation(key, settings)


def combined(variations: Sequence[Variation]) -> list[tuple[Setting, ...]]:
    """Every combination, the last key's values changing fastest."""
    keys = [variation.key for variation in variations]
    if twice := [key for k, key in enumerate(keys) if key in keys[:k]]:
        raise ScenarioError(f"--vary {twice[0]}: is given twice; allowed: once, with all its values")
    count = 1
    for variation in variations:
        count *= len(variation.settings)
    if count > MOST_SETTINGS:
        raise ScenarioError(f"--vary: {count} combinations; allowed: at most {MOST_SETTINGS}")
    return list(itertools.product(*(variation.settings for variation in variations)))


def _written(value: Any) -> str:
    """Bare if it reads as the same again, otherwise JSON, which YAML reads too."""
    bare = str(value)
    try:
        (again,) = parse_inline(f"[{bare}]").value
    except ValueError:
        return json.dumps(value, ensure_ascii=False)
    return bare if again.plain() == value and not isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


def applied(document: Document, settings: Sequence[Setting]) -> Document:
    """The document with every setting in place. ScenarioError for a key that leads nowhere."""
    root = document.root
    for setting in settings:
        root = _put(document, root, _steps(setting.key), 0, setting)
    return replace(document, root=root, note=f"(with {', '.join(map(str, settings))})" if settings else "")


def _steps(key: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9_-]+", key)


def _put(document: Document, node: Node, steps: Sequence[str], depth: int, setting: Setting) -> Node:
    """`node` with the value at `steps[depth:]` below it; what it shares with other nodes (by aliases) is left alone."""
    if depth == len(steps):
        (value,) = parse_inline(f"[{setting.text}]").value
        return _at_line(value, node.line)
    step = steps[depth]
    if isinstance(node.value, list):
        k = _position(document, node, steps, depth, setting)
        items = list(node.value)
        items[k] = _put(document, items[k], steps, depth + 1, setting)
        return replace(node, value=items)
    if not isinstance(node.value, dict):
        what = ".".join(steps[:depth])
        raise _error(document, node, setting, f"{what} is {shown(node.value)} there, which has no keys; allowed: {KEY_ALLOWED}")
    child = node.value.get(step)
    below = child if child is not None and child.value is not None else Node({}, node.key_lines.get(step, node.line))
    values = {**node.value, step: _put(document, below, steps, depth + 1, setting)}
    return replace(node, value=values, key_lines={**node.key_lines, step: below.line})


def _position(document: Document, node: Node, steps: Sequence[str], depth: int, setting: Setting) -> int:
    step, items = steps[depth], node.value
    if step.isdigit() and int(step) < len(items):
        return int(step)
    names = [_name(item) for item in items]
    if step in names:
        return names.index(step)
    known = [name for name in names if name]
    allowed = ", ".join(filter(None, (f"0 to {len(items) - 1}" if items else "", listed(known)))) or "nothing, the list is empty"
    what = ".".join(steps[:depth])
    raise _error(document, node, setting, f"{what} has no entry {shown(step)}; {suggestion(step, known)}allowed: {allowed}")


def _name(item: Node) -> str:
    named = item.value.get("name") if isinstance(item.value, dict) else None
    return str(named.value) if named is not None else ""


def _at_line(node: Node, line: int) -> Node:
    if isinstance(node.value, dict):
        values = {key: _at_line(child, line) for key, child in node.value.items()}
        return replace(node, value=values, line=line, key_lines=dict.fromkeys(values, line))
    if isinstance(node.value, list):
        return replace(node, value=[_at_line(child, line) for child in node.value], line=line)
    return replace(node, line=line)


def _error(document: Document, node: Node, setting: Setting, message: str) -> ScenarioError:
    return ScenarioError(f"{document.path}:{node.line}: {message} (with {setting})")
