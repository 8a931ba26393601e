"""Other people's networks as topologies: a CSV matrix of round trips, or a GraphML map such as the Internet Topology Zoo's."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import NAME_LENGTH, RESERVED
from opus_controller.model.matrix import rtts_from_csv
from opus_controller.model.topology_form import MAX_SITES

_GROUP = """\
groups:
  - name: servers
    sites: all
{count}    access: {{delay: 0.5ms, up: 100Mbit, down: 100Mbit, queue: 50ms}}
"""


def import_topology(path: Path, *, name: str = "", source: str = "", hosts: int = 1) -> str:
    """The text of a topology file made of `path` (.csv, .csv.gz or .graphml), `hosts` in each site.

    Raises ScenarioError if the file is neither, or not well-formed.
    """
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file")
    name = slug(name or path.name.split(".")[0])
    if path.name.endswith((".csv", ".csv.gz")):
        body = _from_csv(path)
    elif path.suffix == ".graphml":
        body = _from_graphml(path)
    else:
        raise ScenarioError(f"{path}: what is it? allowed: a matrix of round trips (.csv, .csv.gz) or a map (.graphml)")
    count = f"    count: {hosts}\n" if hosts > 1 else ""
    origin = source or f"imported from {path.name}; name where it comes from here"
    head = f"name: {name}\nsource: {_quoted(origin)}\n"
    return f"{head}\n{body}\n{_GROUP.format(count=count)}"


def slug(text: str) -> str:
    """A name that the format allows, as near to `text` as can be: "São Paulo" is sao-paulo."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:NAME_LENGTH].strip("-") or "x"
    return f"{name}-1" if name in RESERVED else name


def _from_csv(path: Path) -> str:
    names, rows = rtts_from_csv(path)
    _check_size(path, len(rows))
    sites = _distinct(names or [f"h{i + 1:03d}" for i in range(len(rows))])
    listed = "\n".join(f"  - {_plain(site)}" for site in sites)
    matrix = "\n".join("  - [" + ", ".join(f"{rtt:g}" for rtt in row) + "]" for row in rows)
    return f"sites:\n{listed}\n\n# Round trips in ms, rows and columns in the order of the sites.\nrtt_ms:\n{matrix}\n"


def _from_graphml(path: Path) -> str:
    """Nodes with a place become sites. Those without one are left out, and then what no cable joins to the greatest part
    (a map may fall apart without them); a comment names them."""
    import networkx as nx

    try:
        graph = nx.read_graphml(path)
    except (nx.NetworkXError, SyntaxError, LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        # What networkx, its XML parser (whose ParseError is a SyntaxError) and their conversions raise.
        raise ScenarioError(f"{path}: not GraphML: {' '.join(str(error).split())}") from None
    placed = [node for node, data in graph.nodes(data=True) if "Latitude" in data and "Longitude" in data]
    if not placed:
        raise ScenarioError(f"{path}: no node has Latitude and Longitude, so no delay can be told from it")
    parts = nx.connected_components(nx.Graph(graph.subgraph(placed)))
    greatest = max(parts, key=lambda part: (len(part), sorted(map(str, part))))
    placed = [node for node in placed if node in greatest]
    _check_size(path, len(placed))
    labels = [str(graph.nodes[node].get("label", node)) for node in placed]
    sites = dict(zip(placed, _distinct(labels), strict=True))
    lines = ["sites:"]
    for node, site in sites.items():
        data = graph.nodes[node]
        lat, lon = float(data["Latitude"]), float(data["Longitude"])
        lines.append(f"  - {{name: {_plain(site)}, lat: {lat:.4f}, lon: {lon:.4f}}}")
    cables = sorted({tuple(sorted((sites[a], sites[b]))) for a, b in graph.edges() if a in sites and b in sites and a != b})
    lines += [
        "",
        "# Delays follow from the length of the shortest way, at two thirds of the speed of light.",
        "graph:",
        "  edges:",
    ]
    lines += [f"    - [{_plain(a)}, {_plain(b)}]" for a, b in cables]
    left_out = [" ".join(str(graph.nodes[node].get("label", node)).split()) for node in graph.nodes if node not in sites]
    if left_out:
        lines.append("# Without a place or a cable to the others, so left out: " + ", ".join(left_out))
    return "\n".join(lines) + "\n"


def _check_size(path: Path, sites: int) -> None:
    if sites > MAX_SITES:
        raise ScenarioError(f"{path}: {sites} sites; allowed: at most {MAX_SITES}")


def _distinct(labels: Sequence[str]) -> list[str]:
    """Names for labels, numbered where two would be alike."""
    names: list[str] = []
    for label in labels:
        base, name, k = slug(label), slug(label), 1
        while name in names:
            k += 1
            name = f"{base[: NAME_LENGTH - len(str(k)) - 1]}-{k}"
        names.append(name)
    return names


def _plain(name: str) -> str:
    """A name in quotes if YAML would read a number, a truth value or nothing."""
    return f'"{name}"' if re.fullmatch(r"[0-9][0-9e]*|true|false|null|yes|no|on|off|y|n", name) else name


def _quoted(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
