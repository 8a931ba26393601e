"""Which reader reads what, and the text of a topology made of it."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import suggestion
from opus_controller.model.importers.brite import read_brite
from opus_controller.model.importers.csv_matrix import read_csv
from opus_controller.model.importers.king import read_king
from opus_controller.model.importers.network import Cables, Matrix, Network
from opus_controller.model.importers.numpy_file import read_numpy
from opus_controller.model.importers.pairs import read_pairs
from opus_controller.model.importers.pings import read_pings
from opus_controller.model.importers.zoo import read_gml, read_graphml
from opus_controller.model.topology_form import MAX_HOSTS, MAX_SITES
from opus_controller.model.topology_text import cables_text, distinct, groups_text, head, matrix_text, sites_text, slug
from opus_controller.model.units import format_duration, shown

UNITS: Final[Mapping[str, float]] = {"us": 1e-3, "ms": 1.0, "s": 1e3}
"""Milliseconds in each."""
_HEAD: Final = 4096
"""Bytes in which a file shows what it is."""


@dataclass(frozen=True)
class Format:
    what: str
    read: Callable[[Path, float], Network]
    """Given the milliseconds in a unit of the file's."""
    suffixes: tuple[str, ...]
    beginning: str
    """A regular expression that matches the beginning of such files and of no others, in either case; empty: there is none."""
    unit: str = ""
    """Of its round trips, unless told otherwise; empty: it has its own delays, or none."""


FORMATS: Final[Mapping[str, Format]] = {
    "numpy": Format("a square NumPy array of round trips", read_numpy, (".npy", ".npz"), r"\x93NUMPY|PK\x03\x04", "ms"),
    "graphml": Format("a map such as the Topology Zoo's", read_graphml, (".graphml",), r"\s*(?:<(?s:.){0,2000}?)?<graphml\b"),
    "gml": Format("the same as GML", read_gml, (".gml",), r"(?:[ \t]*(?:#.*|[a-z]\w*[ \t]+\S.*)?\n)*[ \t]*graph\s*\["),
    "brite": Format("what BRITE generates", read_brite, (".brite",), r"\s*Topology:"),
    "king": Format(
        "round trips of the King data set, or p2psim's topology",
        read_king,
        (".king", ".matrix"),
        r"(?:#.*\n|\s)*(?:topology\s+E2EGraph\b|node\s+\d+\s|\d+,\d+[ \t]+-?\d+\s*\n|"
        r"(?:-?[\d.]+|nan)(?:[ \t]+(?:-?[\d.]+|nan))+\s*(?:\n|\Z))",
        "us",
    ),
    "wondernetwork": Format("WonderNetwork's pings", read_pings, (), r'"?source"?,"?destination"?,.*\bavg\b.*\bmdev\b', "ms"),
    "pairs": Format(
        "a CSV line for each pair",
        read_pairs,
        (),
        r'"?(?:from|from_region|source|src)"?,"?(?:to|to_region|destination|dst)\b',
        "ms",
    ),
    "csv": Format("a square CSV table of round trips", read_csv, (".csv",), "", "ms"),
}
"""In the order in which they are tried: by what the file begins with, then by its name."""


def format_of(path: Path) -> str:
    """The name of the file's format. Raises ScenarioError if it is none of them."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            beginning = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").decode("latin-1").replace("\r\n", "\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ScenarioError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for name, known in FORMATS.items():
        if known.beginning and re.match(known.beginning, beginning, re.IGNORECASE):
            return name
    for name, known in FORMATS.items():
        if path.name.removesuffix(".gz").endswith(known.suffixes):
            return name
    raise ScenarioError(f"{path}: what is it? say it with --format; allowed: {', '.join(FORMATS)}")


def read_network(path: Path, *, format_name: str = "", unit: str = "", one_way: bool = False) -> Network:
    """What is in a file. Raises ScenarioError if it is of no format, or not well-formed: one line with file and line."""
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file")
    format_name = format_name or format_of(path)
    if format_name not in FORMATS:
        hint = suggestion(format_name, list(FORMATS))
        raise ScenarioError(f"--format {shown(format_name)} is not known; {hint}allowed: {', '.join(FORMATS)}")
    known = FORMATS[format_name]
    if unit and unit not in UNITS:
        raise ScenarioError(f"--unit {shown(unit)} is not known; allowed: {', '.join(UNITS)}")
    if not known.unit and (unit or one_way):
        raise ScenarioError(f"{path}: {known.what} has no round trips; allowed without --unit and --one-way")
    return known.read(path, UNITS[unit or known.unit or "ms"] * (2 if one_way else 1))


def import_topology(
    path: Path,
    *,
    name: str = "",
    source: str = "",
    hosts: int = 1,
    format_name: str = "",
    unit: str = "",
    one_way: bool = False,
    take: int | None = None,
    seed: int | None = None,
) -> str:
    """The text of a topology file made of `path`, `hosts` in each site.

    `take`: only so many sites, the first, or drawn by `seed`; of a map these have the round trips of its shortest ways.
    Raises ScenarioError.
    """
    if seed is not None and take is None:
        raise ScenarioError("--seed draws the sites to take; allowed: with --take")
    network = read_network(path, format_name=format_name, unit=unit, one_way=one_way)
    notes = []
    of = len(network.labels)
    if take is not None:
        network = _some(path, network, take, seed)
        notes.append(f"{take} of {of} sites: " + ("the first." if seed is None else f"drawn with seed {seed}."))
    _check_size(path, len(network.labels), hosts)
    if network.left_out:
        why = "Without a place or a cable to the others" if isinstance(network, Cables) else "Without round trips to some others"
        notes.append(f"{why}, so left out: " + ", ".join(network.left_out))
    names = distinct(network.labels)
    body = _matrix(names, network) if isinstance(network, Matrix) else _cables(names, network)
    origin = source or f"imported from {path.name}; name where it comes from here"
    groups = groups_text(names, hosts * len(names))
    return f"{head(slug(name or path.name.split('.')[0]), origin, notes)}\n{body}\n{groups}"


def _some(path: Path, network: Network, take: int, seed: int | None) -> Matrix:
    n = len(network.labels)
    if take > n:
        raise ScenarioError(f"{path}: --take {take} of {n} sites; allowed: at most {n}")
    sites: Sequence[int] = range(take) if seed is None else sorted(Random(f"{seed}/import").sample(range(n), take))
    return network.chosen(sites) if isinstance(network, Matrix) else network.matrix(sites)


def _check_size(path: Path, sites: int, hosts: int) -> None:
    if sites > MAX_SITES:
        raise ScenarioError(f"{path}: {sites} sites; allowed: at most {MAX_SITES} (--take N imports N of them)")
    if sites * hosts > MAX_HOSTS:
        raise ScenarioError(f"{path}: {hosts} hosts in each of {sites} sites; allowed: at most {MAX_HOSTS} in all")


def _matrix(names: Sequence[str], matrix: Matrix) -> str:
    return f"{sites_text(names, matrix.places)}\n{matrix_text(matrix.rtt_ms.tolist())}"


def _cables(names: Sequence[str], cables: Cables) -> str:
    edges = [(names[a], names[b], "" if delay is None else format_duration(delay)) for a, b, delay in cables.edges]
    told = "# Delays are those of the shortest way; where a cable has none, at two thirds of the speed of light.\n"
    return f"{sites_text(names, cables.places)}\n{told}{cables_text(edges)}"
