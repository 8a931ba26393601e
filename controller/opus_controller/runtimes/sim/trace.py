"""The digest of everything that every node did: equal digests mean equal runs, step by step.

Each step is hashed with its time, its host, how many steps that host has made before, the event, and all of Ready; the digest is
the sum of all these hashes. So it tells the order of each host's steps but not how those of different hosts interleave, and
digests of parts of a run, of disjoint hosts each, add up to the whole's (Clarke and others, *Incremental multiset hash
functions*, 2003). A received message is not hashed again: it was when it was sent, and a stream keeps order, so its source and
the time say which it is. Nothing that Python's hash randomization could change enters (no `hash()`, no set order), nor does
object identity: `marshal`'s version 2 writes values alone (later versions write which objects are shared and which strings
interned), four times as fast as `repr`.
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
_VALUES_ALONE = 2
"""The version of marshal's format."""
_BYTES = 32


class Trace:
    """Grows by `step`; `digest()` can be asked at any time."""

    def __init__(self) -> None:
        self.sum = 0
        """Of all steps' hashes; a digest is its lowest bits."""
        self._made: dict[int, int] = {}
        """Steps, by host."""
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
        made = self._made[host] = self._made.get(host, 0) + 1
        hashed = sha256(dumps((now, host, made, what, done, ready.wake_at), _VALUES_ALONE))
        self.sum += int.from_bytes(hashed.digest(), "big")
        self.steps += 1

    def digest(self) -> str:
        return digest_of(self.sum)


def digest_of(total: int) -> str:
    """Of the sum of all steps' hashes."""
    return (total % (1 << 8 * _BYTES)).to_bytes(_BYTES, "big").hex()


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
