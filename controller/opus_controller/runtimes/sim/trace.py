"""The digest of everything that every node did: equal digests mean equal runs, step by step.

Each step adds its time, host, event, and all of Ready. A received message is not hashed again: it was when it was sent,
and a stream keeps order, so its source and the time say which it is. Nothing that Python's hash randomization could
change enters (no `hash()`, no set order), nor does object identity: `marshal`'s version 2 writes values alone (later
versions write which objects are shared and which strings interned), four times as fast as `repr`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from hashlib import sha256
from marshal import dumps
from operator import attrgetter
from typing import Any, get_args, get_origin, get_type_hints

from opus_node.core.events import Event, Ready, Receive
from opus_node.core.types import Nanos

Flat = tuple[Any, ...]
_BATCH = 512
_VALUES_ALONE = 2
"""The version of marshal's format."""


class Trace:
    """Grows by `step`; `digest()` can be asked at any time."""

    def __init__(self) -> None:
        self._sha = sha256()
        self._steps: list[bytes] = []
        self.steps = 0

    def step(self, now: Nanos, host: int, event: Event, ready: Ready) -> None:
        what = event.source if type(event) is Receive else flat(event)
        done: list[Any] = []
        for send in ready.sends:
            done.append(send.to)
            done.append(flat(send.message))
        if ready.notices or ready.replies:
            done.append([flat(out) for out in (*ready.notices, *ready.replies)])
        if ready.serves:
            done.append([flat(out) for out in ready.serves])
        self._steps.append(dumps((now, host, what, done, ready.wake_at), _VALUES_ALONE))
        self.steps += 1
        if len(self._steps) >= _BATCH:
            self._absorb()

    def _absorb(self) -> None:
        self._sha.update(b"".join(self._steps))
        self._steps.clear()

    def digest(self) -> str:
        self._absorb()
        return self._sha.hexdigest()


_FLATTENERS: dict[type, Callable[[Any], Flat]] = {}


def flat(value: Any) -> Flat:
    """A dataclass as nested tuples of its class's name and its fields: fast to make and the same everywhere."""
    cls = type(value)
    flattener = _FLATTENERS.get(cls)
    if flattener is None:
        flattener = _FLATTENERS[cls] = _flattener(cls)
    return flattener(value)


def _flattener(cls: type) -> Callable[[Any], Flat]:
    """Fields of plain values are fetched by one call in C; only dataclasses within are descended into."""
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    inner = {name: _inner(name, hints[name]) for name in names if _holds_dataclass(hints[name])}
    plain = [name for name in names if name not in inner]
    name = cls.__name__
    get = attrgetter(*plain) if plain else lambda value: ()
    if not inner:
        return lambda value: (name, get(value))
    parts = list(inner.values())
    return lambda value: (name, get(value), [part(value) for part in parts])


def _inner(name: str, hint: Any) -> Callable[[Any], Any]:
    """Of a field that holds a dataclass or a tuple of some."""
    get = attrgetter(name)
    if get_origin(hint) is not tuple:
        return lambda value: flat(get(value))
    item = get_args(hint)[0]
    names = [f.name for f in fields(item)]
    if len(names) < 2 or any(_holds_dataclass(kind) for kind in get_type_hints(item).values()):
        return lambda value: [flat(one) for one in get(value)]
    get_all = attrgetter(*names)
    return lambda value: list(map(get_all, get(value)))  # all of one class: its name would tell nothing


def _holds_dataclass(hint: Any) -> bool:
    return is_dataclass(hint) or any(_holds_dataclass(arg) for arg in get_args(hint))
