"""A run that is under way, in a file: what takes hours goes on after the process, or the machine, has ended.

    keep(file, life)                what is in its hosts, one after the other · the rest (agenda, fabric, counters)
    read(file, plan, part)          hosts are made anew from the plan, then what was in them is read

Python's pickle, with one memory for the whole file, so that what hosts shared they share again. A host is written by its number
wherever it is referred to, since from one to the next over their channels the whole world would be one recursion; so are the
plan's own facts, which the reader makes itself. Only for files of one's own, of the same sources: reading runs what they say.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, Final

from opus_node.core import events, messages
from opus_node.core.types import NOTHING

from opus_controller.bench.scale.run import Life
from opus_controller.model.errors import ScenarioError
from opus_controller.model.network import Network
from opus_controller.model.plan import Host, PathTable, Plan
from opus_controller.model.shapes import AccessLink
from opus_controller.runtimes.sim.border import calling
from opus_controller.runtimes.sim.host import Away, SimHost
from opus_controller.runtimes.sim.parts import Part
from opus_controller.runtimes.sim.world import place_of

PROTOCOL: Final = 5
FACTS: Final = ("plan", "id", "kind")
"""Fields of a host that the reader knows already."""
STATE: Final = tuple(field.name for field in fields(SimHost) if field.name not in FACTS)
OURS: Final = ("opus_node.", "opus_controller.")
VALUES: Final = (events.__name__, messages.__name__)
UNSET: Final = Ellipsis
"""In place of what an attribute is that is not set."""
Reducer = Callable[[Any], Any]


def there(what: str, index: int = 0) -> Any:
    """In the file, in place of what the reader has: it looks that up instead (`_Reader`)."""
    raise NotImplementedError


class _Reducers(dict[type, Reducer]):
    """How our own objects are written. Events and messages as calls with their fields: they lead back to nobody, and nothing else
    makes compiled ones. All others bare, and then their attributes, without names: pickle keeps all that it has written until the
    end, which would be a dictionary for each."""

    def __missing__(self, cls: type) -> Reducer:
        if not cls.__module__.startswith(OURS):
            raise KeyError(cls)
        reducer = self[cls] = calling(cls) if cls.__module__ in VALUES else _bare(cls)
        return reducer


class _Attributes(dict[type, Sequence[str]]):
    """Of a class of ours. Raises KeyError for one of whose objects each may have others."""

    def __missing__(self, cls: type) -> Sequence[str]:
        compiled: Sequence[str] | None = getattr(cls, "__mypyc_attrs__", None)
        if compiled is None and cls.__dictoffset__:
            raise KeyError(cls)
        slots = [base.__dict__.get("__slots__", ()) for base in cls.__mro__]
        names = compiled or [name for some in slots for name in ((some,) if isinstance(some, str) else some)]
        self[cls] = names
        return names


ATTRIBUTES: Final = _Attributes()


def _bare(cls: type) -> Reducer:
    names, new, args = ATTRIBUTES[cls], copyreg.__newobj__, (cls,)  # type: ignore[attr-defined]
    return lambda one: (new, args, tuple([getattr(one, name, UNSET) for name in names]), None, None, fill)


def fill(one: object, values: Sequence[object]) -> None:
    for name, value in zip(ATTRIBUTES[type(one)], values, strict=True):
        if value is not UNSET:
            object.__setattr__(one, name, value)


class _Writer(pickle.Pickler):
    dispatch_table = _Reducers(copyreg.dispatch_table)
    dispatch_table |= {
        SimHost: lambda host: (there, ("place", host.plan.index)),
        Away: lambda host: (there, ("place", host.plan.index)),
        Host: lambda host: (there, ("host", host.index)),
        Plan: lambda _: (there, ("plan",)),
        Network: lambda _: (there, ("network",)),
        PathTable: lambda _: (there, ("paths",)),
    }

    def persistent_id(self, value: Any) -> str | None:
        """Compared by identity, and compiled it is a dictionary like any other."""
        return "nothing" if value is NOTHING else None


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes], has: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(file)
        self._has = has

    def persistent_load(self, _: str) -> Any:
        return NOTHING

    def find_class(self, module: str, name: str) -> Any:
        return self._there if (module, name) == (__name__, there.__name__) else super().find_class(module, name)

    def _there(self, what: str, index: int = 0) -> Any:
        return self._has[what][index]


def keep(file: Path, life: Life) -> None:
    """Without faults or trace. Raises OSError."""
    with file.open("wb") as out:
        writer = _Writer(out, PROTOCOL)
        for host in life.world.hosts.values():
            writer.dump(tuple(getattr(host, name) for name in STATE))
        writer.dump(life)


def read(file: Path, made: Plan, part: Part | None) -> Life:
    """What was kept of the same plan's same part. Raises ScenarioError for a file that cannot be read."""
    try:
        with file.open("rb") as source:
            return _read(source, made, part)
    except Exception as error:  # noqa: BLE001  (an unpickler raises whatever the bytes make it do)
        raise ScenarioError(f"{file}: {error}; allowed: what an earlier run has kept there, or no file") from None


def _read(source: IO[bytes], made: Plan, part: Part | None) -> Life:
    kinds: dict[tuple[str, AccessLink], int] = {}
    places = [place_of(host, kinds, part) for host in made.hosts]
    facts: dict[str, Sequence[Any]] = {"plan": [made], "network": [Network.of(made)], "paths": [made.paths]}
    reader = _Reader(source, {"place": places, "host": made.hosts, **facts})
    for host in places:
        if host.here:
            for name, value in zip(STATE, reader.load(), strict=True):
                setattr(host, name, value)
    life: Life = reader.load()
    return life
