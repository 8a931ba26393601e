"""The text of a topology's file, as importers and generators write it."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Final

from opus_controller.model.fields import NAME_LENGTH, RESERVED
from opus_controller.model.graph import Position

ACCESS: Final = "{delay: 0.5ms, up: 100Mbit, down: 100Mbit, queue: 50ms}"
"""Of a host where nothing is known of its access link."""
DECIMALS: Final = 6
"""Of milliseconds: whole nanoseconds, as the plan counts."""


def slug(text: str) -> str:
    """A name that the format allows, as near to `text` as can be: "São Paulo" is sao-paulo."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:NAME_LENGTH].strip("-") or "x"
    return f"{name}-1" if name in RESERVED else name


def distinct(labels: Sequence[str]) -> list[str]:
    """Names for labels, numbered where two would be alike."""
    names: dict[str, None] = {}
    for label in labels:
        base, name, k = slug(label), slug(label), 1
        while name in names:
            k += 1
            name = f"{base[: NAME_LENGTH - len(str(k)) - 1].rstrip('-')}-{k}"
        names[name] = None
    return list(names)


def plain(name: str) -> str:
    """A name in quotes if YAML would read a number, a truth value or nothing."""
    return f'"{name}"' if re.fullmatch(r"[0-9][0-9e]*|true|false|null|yes|no|on|off|y|n", name) else name


def quoted(text: str) -> str:
    return json.dumps(_printable(text), ensure_ascii=False)


def comment(text: str) -> str:
    """Lines of a comment, whatever is in the text."""
    return "".join(f"# {line}\n" for line in textwrap.wrap(_printable(text), 116, break_on_hyphens=False))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def head(name: str, source: str, notes: Sequence[str] = ()) -> str:
    """The file's beginning; `notes` stand above it as comments."""
    return "".join(comment(note) for note in notes) + f"name: {name}\nsource: {quoted(source)}\n"


def sites_text(names: Sequence[str], places: Sequence[Position | None]) -> str:
    lines = ["sites:"]
    for name, place in zip(names, places, strict=True):
        where = f"{{name: {plain(name)}, lat: {place[0]:.4f}, lon: {place[1]:.4f}}}" if place is not None else plain(name)
        lines.append(f"  - {where}")
    return "\n".join(lines) + "\n"


def matrix_text(rtt_ms: Sequence[Sequence[float]]) -> str:
    """All of a matrix; its lower triangle where both directions of all pairs are the same. 0 on the diagonal: not measured."""
    rows = [[_figure(rtt) for rtt in row] for row in rtt_ms]
    n = range(len(rows))
    if all(rows[i][j] == rows[j][i] for i in n for j in range(i)):
        said, rows = "the lower triangle, rows and columns", [rows[i][: i + 1] for i in n]
    else:
        said = "row = from, rows and columns"
    lines = "".join(f"  - [{', '.join(row)}]\n" for row in rows)
    return f"# Round trips in ms, {said} in the order of the sites.\nrtt_ms:\n{lines}"


def _figure(rtt_ms: float) -> str:
    """To the nanosecond, and more than nothing where it is."""
    return f"{max(round(rtt_ms, DECIMALS), 10**-DECIMALS if rtt_ms > 0 else 0.0):.12g}"


def cables_text(edges: Sequence[tuple[str, str, str]], routers: Sequence[str] = ()) -> str:
    """A graph of (from, to, delay); an empty delay follows from the distance. `routers` are nodes without hosts."""
    lines = ["graph:"]
    if routers:
        lines += ["  nodes:", *(f"    {plain(name)}: {{}}" for name in routers)]
    lines.append("  edges:")
    for a, b, delay in edges:
        lines.append(
            f"    - {{from: {plain(a)}, to: {plain(b)}, delay: {delay}}}" if delay else f"    - [{plain(a)}, {plain(b)}]"
        )
    return "\n".join(lines) + "\n"


def groups_text(sites: Sequence[str], hosts: int) -> str:
    """Groups that put so many hosts into the sites, evenly; where it does not divide, the first sites have one more."""
    each, more = divmod(hosts, len(sites))
    count = f"    count: {each}\n" if (each, more) != (1, 0) else ""
    text = f"groups:\n  - name: servers\n    sites: all\n{count}    access: {ACCESS}\n"
    if more:
        listed = ", ".join(plain(site) for site in sites[:more])
        text += f"  - name: servers-more\n    sites: [{listed}]\n    count: 1\n    access: {ACCESS}\n"
    return text
