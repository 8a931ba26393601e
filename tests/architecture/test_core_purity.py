"""The pure parts of the node import only what is on a list, and reach the world by no other way.

A linter's list of forbidden modules lets `datetime` and `random.random()` through, so this is a list of allowed ones,
checked on the syntax trees. The checker proves itself on planted violations.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

NODE = Path(__file__).resolve().parents[2] / "node" / "opus_node"

ANY = frozenset({"*"})
ALLOWED: dict[str, frozenset[str]] = {
    "__future__": ANY,
    "abc": ANY,
    "bisect": ANY,
    "collections": ANY,
    "collections.abc": ANY,
    "dataclasses": ANY,
    "enum": ANY,
    "functools": ANY,
    "hashlib": ANY,
    "heapq": ANY,
    "itertools": ANY,
    "math": ANY,
    "operator": ANY,
    "random": frozenset({"Random"}),
    "types": frozenset({"MappingProxyType"}),
    "typing": ANY,
}
"""Module -> names that may be taken from it."""

FORBIDDEN_CALLS = frozenset(
    {"open", "print", "input", "id", "hash", "eval", "exec", "compile", "__import__", "globals", "breakpoint"}
)
"""Builtins that reach out, or whose result depends on the process (id, hash)."""
OWN_TEXT = "exec(written())"
"""What a module has written itself reaches no further than it does (`sizes`)."""


def pure_files() -> list[Path]:
    files = [*sorted((NODE / "core").rglob("*.py")), *sorted((NODE / "baselines").rglob("*.py"))]
    return files + [NODE / name for name in ("workload.py", "folds.py", "sizes.py", "clock.py")]


def violations(tree: ast.AST, in_core: bool) -> Iterator[str]:
    """What in one file breaks the rules, as "line: what"."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from (f"{line}: import {name.name}" for name in node.names if not _whole_module(name.name))
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{line}: {what}" for what in _from(node, in_core))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in FORBIDDEN_CALLS and ast.unparse(node) != OWN_TEXT:
                yield f"{line}: {node.func.id}()"
            if node.func.id == "Random" and (in_core or not node.args):
                yield f"{line}: Random() made here" if in_core else f"{line}: Random() without a seed"
        elif isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            yield f"{getattr(node.iter, 'lineno', line)}: iterates over a set, whose order is the process's own"


def _whole_module(name: str) -> bool:
    return ALLOWED.get(name) == ANY or name.startswith("opus_node.core")


def _from(node: ast.ImportFrom, in_core: bool) -> Iterator[str]:
    module, own = node.module or "", ("opus_node.core",) if in_core else ("opus_node.core", "opus_node.baselines")
    if node.level:
        yield "relative import"
    elif module.split(".")[0] == "opus_node":
        if not any(module == one or module.startswith(f"{one}.") for one in own):
            yield f"from {module} import"
    else:
        names = ALLOWED.get(module, frozenset())
        yield from (f"from {module} import {one.name}" for one in node.names if names != ANY and one.name not in names)


def _is_set(iterated: ast.expr) -> bool:
    if isinstance(iterated, ast.Set | ast.SetComp):
        return True
    if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name):
        if iterated.func.id in ("set", "frozenset"):
            return True
        if iterated.func.id in ("list", "tuple", "enumerate", "iter") and iterated.args:
            return _is_set(iterated.args[0])
    if isinstance(iterated, ast.BinOp) and isinstance(iterated.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(iterated.left) or _is_set(iterated.right)
    return False


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(NODE)))
def test_imports_only_what_is_allowed(path: Path) -> None:
    found = list(violations(ast.parse(path.read_text()), "core" in path.parts))
    assert found == [], f"{path.name}: {found}"


def test_the_core_has_files_to_check() -> None:
    names = {path.name for path in pure_files()}
    assert {"node.py", "swim.py", "steward.py", "client.py", "workload.py", "folds.py", "sizes.py"} <= names


PLANTED = {
    "import time": "import time",
    "from datetime import datetime": "from datetime import datetime",
    "import datetime": "import datetime",
    "import random\nx = random.random()": "import random",
    "from random import random\nx = random()": "from random import random",
    "from random import Random, choice": "from random import choice",
    "from random import Random\nrng = Random(1)": "Random() made here",
    "import math, os": "import os",
    "def late():\n    import socket": "import socket",
    "from opus_node.transport import Transport": "from opus_node.transport import",
    "from . import clock": "relative import",
    "from time import monotonic_ns as now": "from time import monotonic_ns",
    "import asyncio.events": "import asyncio.events",
    "__import__('time')": "__import__()",
    "print('hello')": "print()",
    "order = hash('a')": "hash()",
    "for one in {1, 2}:\n    pass": "iterates over a set",
    "names = [one for one in set(names)]": "iterates over a set",
    "for one in list(set(names)):\n    pass": "iterates over a set",
    "for one in set(a) | set(b):\n    pass": "iterates over a set",
}


@pytest.mark.parametrize("source", PLANTED, ids=lambda source: source.splitlines()[0])
def test_a_planted_violation_is_caught(source: str) -> None:
    found = list(violations(ast.parse(source), True))
    assert any(PLANTED[source] in one for one in found), f"{source!r} passed: {found}"


@pytest.mark.parametrize(
    "source",
    [
        "import heapq\nimport math",
        "from random import Random\ndef f(rng: Random) -> float:\n    return rng.random()",
        "from collections.abc import Callable",
        "from opus_node.core.types import Nanos",
        "for one in sorted({1, 2}):\n    pass",
    ],
)
def test_what_is_allowed_passes(source: str) -> None:
    assert list(violations(ast.parse(source), True)) == []


def test_a_generator_without_a_seed_is_caught_outside_the_core_too() -> None:
    assert list(violations(ast.parse("from random import Random\nrng = Random()"), False)) != []
    assert list(violations(ast.parse("from random import Random\nrng = Random('seed/keys')"), False)) == []
