"""A YAML file as values that remember their line, so that every error can name file, line and key.

What is read is YAML 1.2's core schema: `no`, `on` and `yes` are text (a site in Norway may be called no), 010 is ten,
dates and 12:30 are text. Duplicate keys, tags, several documents in a file, recursive aliases and aliases that expand to
too much are refused. Merge keys (`<<: *base`) work as in YAML 1.1, since people use them with anchors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from opus_controller.model.errors import ScenarioError
from opus_controller.model.units import shown

KeyPath = tuple[str | int, ...]

MAX_BYTES: Final = 16 << 20
MAX_VALUES: Final = 2_000_000
"""After aliases are expanded. A 1,000 x 1,000 matrix fits; a billion laughs do not."""
MAX_DEPTH: Final = 40


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it begins. Mappings and lists hold nodes."""

    value: Any
    line: int
    key_lines: Mapping[str, int] = field(default_factory=dict)
    """Of a mapping: the line of each key."""
    size: int = 1
    """How many values it expands to, itself included."""

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(frozen=True)
class Document:
    """A file that could be read as YAML; what its values mean is for others to judge."""

    path: Path
    root: Node
    note: str = ""
    """What errors say at their end: that the file alone is not to blame."""

    def plain(self) -> Any:
        return self.root.plain()

    def line(self, keys: KeyPath, *, of_key: bool = False) -> int:
        """The line of the value at `keys` (of its key, if asked), or of the innermost enclosing one that exists."""
        node, line = self.root, self.root.line
        for key in keys:
            child = _child(node, key)
            if child is None:
                return line
            starts_here = isinstance(child.value, dict | list)
            key_line = node.key_lines.get(str(key), child.line) if isinstance(key, str) else child.line
            line = key_line if of_key or starts_here else child.line
            node = child
        return line

    def has(self, keys: KeyPath) -> bool:
        return self._at(keys) is not None

    def plain_at(self, keys: KeyPath) -> Any:
        """The value at `keys`, None if there is none."""
        node = self._at(keys)
        return node.plain() if node is not None else None

    def _at(self, keys: KeyPath) -> Node | None:
        node: Node | None = self.root
        for key in keys:
            node = _child(node, key) if node is not None else None
        return node

    def error(self, keys: KeyPath, message: str, *, of_key: bool = False) -> ScenarioError:
        problems = Problems(self)
        problems.add(keys, message, of_key=of_key)
        return problems.error()


class Problems:
    """What is wrong with a document. Told together: the first by line, and how many more there are."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._found: list[tuple[int, int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, keys: KeyPath, message: str, *, of_key: bool = False) -> None:
        line = self.document.line(keys, of_key=of_key)
        where = f"{dotted(keys)}: " if keys else ""
        text = " ".join(f"{where}{message}".split())
        if all((line, text) != (seen, said) for seen, _, said in self._found):
            self._found.append((line, len(self._found), text))

    def error(self) -> ScenarioError:
        line, _, text = min(self._found)
        more = len(self._found) - 1
        note = f" {self.document.note}" if self.document.note else ""
        return ScenarioError(f"{self.document.path}:{line}: {text}" + (f" (and {more} more)" if more else "") + note)

    def raise_if_any(self) -> None:
        if self._found:
            raise self.error()


def dotted(keys: KeyPath) -> str:
    """("groups", 2, "access", "up") as "groups[2].access.up"; the first of a list is [0]."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def load_document(path: Path) -> Document:
    """Read one YAML file. Raises ScenarioError (one line, with file and line) for whatever is wrong with it as YAML."""
    text = _read(path)
    if not text.strip() or all(line.lstrip().startswith("#") for line in text.splitlines() if line.strip()):
        raise ScenarioError(f"{path}:1: the file is empty; allowed: a YAML mapping (key: value lines)")
    try:
        root = _Composer(path, text).document()
    except yaml.YAMLError as error:
        raise _syntax_error(path, text, error) from None
    if not isinstance(root.value, dict):
        raise ScenarioError(f"{path}:{root.line}: {shown(root.plain())} where a mapping belongs; allowed: key: value lines")
    return Document(path, root)


def parse_inline(text: str) -> Node:
    """A value written on one line, such as "[1, two]"; every line is 1. ValueError in one line if it is none."""
    if "\n" in text or not text.isprintable():
        raise ValueError('not YAML: a line break or control character; allowed: values such as 5, 10/s or "site a, site b"')
    path = Path()
    try:
        return _Composer(path, text).document()
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(getattr(error, 'problem', None) or error).split())}") from None
    except ScenarioError as error:
        raise ValueError(str(error).removeprefix(f"{path}:1: ")) from None


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    if raw is None:
        if path.is_dir():
            raise ScenarioError(f"{path}: is a directory; allowed: a YAML file")
        if path.is_file():
            raise ScenarioError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; allowed: a YAML file of at most that")
        raise ScenarioError(f"{path}: there is no such file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8") from None
    for number, content in enumerate(text.split("\n"), start=1):
        if re.search(r"[^\t\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", content):
            raise ScenarioError(f"{path}:{number}: a control character, which YAML does not allow; save the file as UTF-8 text")
    return text


class _Composer:
    """Nodes from the parser's events, like yaml.compose but bounded in depth and size and with lines on keys."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self._anchors: dict[str, Node | None] = {}
        self._keys: list[str | int] = []
        """The way to what is being composed, for errors."""

    def document(self) -> Node:
        next(self._events)  # stream start
        next(self._events)  # document start
        root = self._node(next(self._events), 0)
        next(self._events)  # document end
        after = next(self._events)
        if isinstance(after, yaml.DocumentStartEvent):
            raise self._refuse(after, "a second document begins; allowed: one a file")
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        if depth > MAX_DEPTH:
            raise self._refuse(event, f"nested more than {MAX_DEPTH} deep; allowed: at most that")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise self._refuse(event, f"the tag {shown(event.tag)} means nothing here; allowed: plain YAML values")
        if event.anchor:
            self._anchors[event.anchor] = None  # an alias inside its own anchor is recursive
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if node.size > MAX_VALUES:
            raise self._refuse(event, f"more than {MAX_VALUES} values, aliases expanded; allowed: at most that")
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _aliased(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise self._refuse(event, f"*{event.anchor} names no anchor; allowed: an &{event.anchor} earlier in the file")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._refuse(event, f"*{event.anchor} contains itself; allowed: an anchor that is complete")
        return node

    def _sequence(self, event: Any, depth: int) -> Node:
        items: list[Node] = []
        size = 1
        while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
            self._keys.append(len(items))
            items.append(self._node(child, depth + 1))
            self._keys.pop()
            size += items[-1].size
            if size > MAX_VALUES:
                raise self._refuse(child, f"more than {MAX_VALUES} values, aliases expanded; allowed: at most that")
        return Node(items, _line(event), size=size)

    def _mapping(self, event: Any, depth: int) -> Node:
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        merged: list[tuple[Any, Node]] = []
        while not isinstance(key_event := next(self._events), yaml.MappingEndEvent):
            merge = isinstance(key_event, yaml.ScalarEvent) and key_event.value == "<<" and key_event.implicit[0]
            key = "<<" if merge else self._key(key_event, depth)
            self._keys.append(key)
            node = self._node(next(self._events), depth + 1)
            self._keys.pop()
            if merge:
                merged.append((key_event, node))
            elif key in values:
                raise self._refuse(key_event, f"the key {shown(key)} is given twice (first on line {lines[key]}); allowed: once")
            else:
                values[key], lines[key] = node, _line(key_event)
        for key_event, node in merged:
            self._merge(key_event, node, values, lines)
        return Node(values, _line(event), lines, 1 + sum(node.size for node in values.values()))

    def _merge(self, event: Any, node: Node, values: dict[str, Node], lines: dict[str, int]) -> None:
        for source in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(source.value, dict):
                raise self._refuse(event, "<< merges mappings; allowed: an alias of a mapping, or a list of such")
            for key, value in source.value.items():
                values.setdefault(key, value)
                lines.setdefault(key, source.key_lines[key])

    def _key(self, event: Any, depth: int) -> str:
        node = self._node(event, depth + 1)
        if isinstance(node.value, str) and node.value:
            return node.value
        raise self._refuse(event, f'{shown(node.plain())} as a key; allowed: text (put it in quotes: "...")')

    def _scalar(self, event: Any) -> Node:
        if not event.implicit[0]:  # quoted, or tagged
            return Node(event.value, _line(event))
        try:
            return Node(_resolve(event.value), _line(event))
        except ValueError as error:
            raise self._refuse(event, str(error)) from None

    def _refuse(self, event: Any, message: str) -> ScenarioError:
        where = f"{dotted(tuple(self._keys))}: " if 0 < len(self._keys) <= 12 else ""
        return ScenarioError(f"{self._path}:{_line(event)}: {where}{message}")


def _resolve(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema (YAML 1.2.2, section 10.3.2); not-numbers are refused."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if re.fullmatch(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", text):
        raise ValueError(f"{text} is not a finite number; allowed: finite numbers")
    if re.fullmatch(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+", text):
        if len(text) > 30:
            raise ValueError(f"{shown(text)} has too many digits; allowed: at most 30")
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"{shown(text)} is not a finite number; allowed: finite numbers")
        return number
    return text


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> ScenarioError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return ScenarioError(f"{path}:1: not YAML: {' '.join(str(error).split())}")
    lines = text.splitlines()
    number = min(mark.line + 1, max(1, len(lines)))
    content = lines[number - 1] if lines else ""
    indent = content[: len(content) - len(content.lstrip())]
    if "\t" in indent:
        return ScenarioError(f"{path}:{number}: a tab; YAML allows only spaces for indentation")
    problem = str(getattr(error, "problem", None) or error)
    hint = ""
    if "mapping values are not allowed" in problem:
        hint = ' (text with ": " in it must be in quotes)'
    elif "could not find expected ':'" in problem:
        hint = " (a key without its colon on this line or the one before?)"
    elif "flow" in problem or "expected ',' or" in problem:
        hint = " (a bracket that is not closed, or a comma missing?)"
    return ScenarioError(f"{path}:{number}: not YAML, column {mark.column + 1}: {' '.join(problem.split())}{hint}")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _child(node: Node, key: str | int) -> Node | None:
    if isinstance(node.value, dict):
        found: Node | None = node.value.get(key)
        return found
    if isinstance(node.value, Sequence) and not isinstance(node.value, str) and isinstance(key, int) and key < len(node.value):
        item: Node = node.value[key]
        return item
    return None
