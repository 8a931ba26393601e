"""The King data set, round trips between 1,740 name servers, in the three forms in which it is passed on.

A topology file of p2psim (its class E2EGraph): a header, a line for each node, a line for each pair, mostly one direction only:

    topology E2EGraph 1740
    failure_model NullFailureModel
    node 1
    node 2
    1,2 41280

A line of three numbers for each pair, "1 2 41280"; and the square matrix, figures parted by white space. All are microseconds
unless --unit says otherwise. Negative figures, and 0 between two nodes, mean "not measured".
(Gummadi, Saroiu, Gribble, *King: Estimating Latency between Arbitrary Internet End Hosts*, IMW 2002; the data: Dabek, Cox,
Kaashoek, Morris, *Vivaldi*, SIGCOMM 2004, pdos.csail.mit.edu/p2psim/kingdata.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from opus_controller.model.errors import ScenarioError
from opus_controller.model.importers.csv_matrix import numbered
from opus_controller.model.importers.network import Matrix, completed
from opus_controller.model.importers.numpy_file import MOST_SITES
from opus_controller.model.textfile import read_text
from opus_controller.model.units import shown

Line = tuple[int, str]
"""Its number in the file, and what stands there."""


def read_king(path: Path, ms: float) -> Matrix:
    """`ms`: milliseconds in a unit of the file's. Raises ScenarioError, naming the line."""
    lines = list(_lines(path))
    if not lines:
        raise ScenarioError(f"{path}:1: no figure in the file; allowed: a square matrix, or lines such as 1,2 41280")
    words = lines[0][1].replace(",", " ").split()
    # Three lines of three numbers are a matrix: nobody passes on three pairs.
    if words[:1] == ["node"] or "," in lines[0][1] or (len(words) == 3 and len(lines) != 3):
        return _of_pairs(path, lines, ms)
    return _square(path, lines, ms)


def _lines(path: Path) -> Iterator[Line]:
    """Those that say something: not blank, not a comment, not of p2psim's header (words before the first node or figure)."""
    begun = False
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        begun = begun or bool(re.match(r"node\s|[-+.0-9]|nan\b", text, re.IGNORECASE))
        if begun and text and not text.startswith("#"):
            yield number, text
        elif text and not begun and not re.match(r"[A-Za-z_#]", text):
            raise ScenarioError(f"{path}:{number}: {shown(text)} where a node or a figure belongs")


def _square(path: Path, lines: Sequence[Line], ms: float) -> Matrix:
    n = len(lines)
    _check_count(path, n)
    rtt = np.empty((n, n))
    for i, (number, text) in enumerate(lines):
        words = text.split()
        if len(words) != n:
            raise ScenarioError(f"{path}:{number}: {len(words)} figures in a matrix of {n} rows; allowed: a square one")
        try:
            rtt[i] = np.array(words, dtype=np.float64)
        except ValueError:
            rtt[i] = [_figure(path, number, word) for word in words]
    return completed(path, numbered(n), rtt * ms, [None] * n)


def _of_pairs(path: Path, lines: Sequence[Line], ms: float) -> Matrix:
    nodes: dict[int, int] = {}
    pairs: dict[tuple[int, int], float] = {}
    declared = lines[0][1].startswith("node")
    for number, text in lines:
        words = text.replace(",", " ").split()
        if words[:1] == ["node"]:
            # What follows a node's number is its name.
            node = _node(path, number, words[1] if len(words) > 1 else "")
            if node in nodes or pairs:
                raise ScenarioError(f"{path}:{number}: node {node} {'is given twice' if node in nodes else 'after a pair'}; "
                                    "allowed: each once, before all pairs")  # fmt: skip
            nodes[node] = len(nodes)
            continue
        if len(words) != 3:
            raise ScenarioError(f"{path}:{number}: {shown(text)}; allowed: two nodes and a round trip, such as 1,2 41280")
        a, b = (_node(path, number, word) for word in words[:2])
        for node in (a, b):
            if declared and node not in nodes:
                raise ScenarioError(f"{path}:{number}: there is no node {node}; allowed: those that have a line of their own")
            nodes.setdefault(node, len(nodes))
        if (nodes[a], nodes[b]) in pairs:
            raise ScenarioError(f"{path}:{number}: the pair {a},{b} is given twice; allowed: each direction once")
        pairs[nodes[a], nodes[b]] = _figure(path, number, words[2])
    _check_count(path, len(nodes))
    rtt = np.full((len(nodes), len(nodes)), np.nan)
    for (i, j), figure in pairs.items():
        rtt[i, j] = figure * ms
    return completed(path, [f"n{node}" for node in nodes], rtt, [None] * len(nodes))


def _check_count(path: Path, nodes: int) -> None:
    if nodes > MOST_SITES:
        raise ScenarioError(f"{path}: {nodes} nodes; allowed: at most {MOST_SITES}")


def _node(path: Path, line: int, word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", word):
        raise ScenarioError(f"{path}:{line}: {shown(word)} is not a node; allowed: a whole number")
    return int(word)


def _figure(path: Path, line: int, word: str) -> float:
    try:
        figure = float(word)
    except ValueError:
        figure = math.inf
    if math.isinf(figure):
        raise ScenarioError(f"{path}:{line}: {shown(word)} is not a round trip; allowed: a number (negative: not measured)")
    return figure
