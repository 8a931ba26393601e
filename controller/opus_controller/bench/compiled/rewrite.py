"""What mypyc makes little of in our sources, written out before it sees them: dataclasses.

mypyc compiles a dataclass but leaves what the decorator makes to the interpreter: `__init__`, `__eq__`, `__hash__`. In the copy
that is compiled these stand in the source, and fields can be assigned; the type checker has seen the original. It also forgets
what annotations said (`tuple[Lease, ...]` becomes `tuple`), of which sizes on the wire are worked out, and takes class variables
for fields; both are put back when the module is imported.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

VALUES = "@mypyc_attr(acyclic=True, free_list_len=1)"
"""Python need not look for cycles through them, which takes 16 bytes of each; the memory of the last one is used again."""
KEPT = "@mypyc_attr(serializable=True)"
"""Of all others: a run under way can be written to a file."""
INTERPRETED = ("Protocol", "Enum", "dict")
"""Bases of classes that mypyc leaves to Python, or lets nobody write."""


def rewritten(source: str, executed: str = "", *, values: bool = False) -> str:
    """The same module for mypyc; lines of the original stay in their order. `executed` is the text that it gives to `exec` when
    it is imported, if it does that; `values`: no record of it leads back to itself, whatever it holds."""
    source = source.replace("cast(dict[Any, Any], MappingProxyType({}))", "{}")  # nobody writes to it, and it has to be a dict
    lines = source.splitlines()
    tree = ast.parse(source)
    edits: list[tuple[int, int, list[str]]] = []
    """(first line, line after the last, in their place), from 0 on."""
    after: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                if _called(decorator) == "dataclass":
                    record = _Record.of(node)
                    edits += record.edits(decorator)
                    after += record.after()
            if not any(_called(base) in INTERPRETED for base in node.bases):
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
                edits.append((first, first, [VALUES if values else KEPT]))
        elif isinstance(node, ast.ImportFrom) and node.module == "__future__":
            edits.append((_end(node), _end(node), ["from mypy_extensions import mypyc_attr"]))
        elif isinstance(node, ast.Expr) and _called(node.value) == "quicken":
            edits.append((node.lineno - 1, _end(node), []))
        elif isinstance(node, ast.Expr) and _called(node.value) == "exec":
            edits.append((node.lineno - 1, _end(node), executed.splitlines()))
    for first, end, new in sorted(edits, key=lambda edit: edit[0], reverse=True):
        lines[first:end] = new
    return "\n".join([*lines, *after, ""])


def _called(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Subscript) else node
    return function.id if isinstance(function, ast.Name) else ""


def _end(node: ast.stmt | ast.expr) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


@dataclass(frozen=True)
class _Record:
    """A dataclass of the source."""

    node: ast.ClassDef
    fields: list[ast.AnnAssign]
    shared: list[ast.AnnAssign]
    """Class variables."""

    @staticmethod
    def of(node: ast.ClassDef) -> _Record:
        told = [one for one in node.body if isinstance(one, ast.AnnAssign)]
        shared = [one for one in told if ast.unparse(one.annotation).startswith("ClassVar")]
        return _Record(node, [one for one in told if one not in shared], shared)

    def edits(self, decorator: ast.expr) -> list[tuple[int, int, list[str]]]:
        given = {}
        if isinstance(decorator, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in decorator.keywords if word.arg not in ("slots", "frozen")}
        plain = not any(one.value is not None and _called(one.value) == "field" for one in self.fields)
        if plain:
            given["init"] = "False"
        methods = self._init() if plain else []
        if given.get("eq") != "False":
            methods += self._eq() + self._hash()
        if given.pop("order", "") == "True":
            methods += self._order()
        told, end = ", ".join(f"{name}={value}" for name, value in given.items()), _end(self.node)
        return [
            (decorator.lineno - 1, _end(decorator), [f"@dataclass({told})"]),
            (end, end, [f"    {line}" for line in methods]),
        ]

    def _names(self) -> list[str]:
        return [ast.unparse(one.target) for one in self.fields]

    def _init(self) -> list[str]:
        given = "".join(f", {ast.unparse(one)}" for one in self.fields)
        return [f"def __init__(self{given}) -> None:", *(f"    self.{name} = {name}" for name in self._names()), "    pass"]

    def _eq(self) -> list[str]:
        same = "".join(f" and self.{name} == other.{name}" for name in self._names())
        return ["def __eq__(self, other: object) -> bool:", f"    return isinstance(other, {self.node.name}){same}"]

    def _hash(self) -> list[str]:
        return ["def __hash__(self) -> int:", f"    return hash(({''.join(f'self.{name}, ' for name in self._names())}))"]

    def _order(self) -> list[str]:
        mine, theirs = ("".join(f"{one}.{name}, " for name in self._names()) for one in ("self", "other"))
        lines = []
        for name, sign in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")):
            lines += [f"def __{name}__(self, other: {self.node.name}) -> bool:", f"    return ({mine}) {sign} ({theirs})"]
        return lines

    def after(self) -> list[str]:
        told = {ast.unparse(one.target): ast.unparse(one.annotation) for one in (*self.fields, *self.shared)}
        lines = [f"setattr({self.node.name}, '__annotations__', {told!r})"]
        for one in self.shared:
            lines.append(f"getattr({self.node.name}, '__dataclass_fields__').pop({ast.unparse(one.target)!r})")
        return lines
