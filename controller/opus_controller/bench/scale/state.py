"""A run that is under way, in a file: what takes hours goes on after the process, or the machine, has ended.

    keep(file, size, world, rest)           header · hosts, one after the other · the world (agenda, fabric, counters) and `rest`
    read(file) -> (world, rest)             the plan is made anew from the header; hosts first, then what was in them

Python's pickle, with one memory for the whole file, so that what hosts shared they share again. A host is written by its number
wherever it is referred to, since from one to the next over their channels the whole world would be one recursion; so are the
plan's own facts, which the reader makes itself. Only for files of one's own, of the same sources: reading runs what they say.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final

from opus_node.core.types import NOTHING

from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.model.errors import ScenarioError
from opus_controller.model.network import Network
from opus_controller.model.plan import Host, PathTable, Plan
from opus_controller.model.shapes import AccessLink
from opus_controller.runtimes.sim.host import SimHost
from opus_controller.runtimes.sim.world import World

PROTOCOL: Final = 5
FACTS: Final = ("plan", "id", "kind")
"""Slots of a host that the reader knows already."""
STATE: Final = tuple(slot for slot in SimHost.__slots__ if slot not in FACTS)


# In the file these stand for what the reader has; it looks them up (`_Reader`).


def sim_host(index: int) -> SimHost:
    raise NotImplementedError


def plan_host(index: int) -> Host:
    raise NotImplementedError


def plan() -> Plan:
    raise NotImplementedError


def network() -> Network:
    raise NotImplementedError


def paths() -> PathTable:
    raise NotImplementedError


def nothing() -> Any:
    return NOTHING


class _Writer(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()
    dispatch_table |= {
        SimHost: lambda host: (sim_host, (host.plan.index,)),
        Host: lambda host: (plan_host, (host.index,)),
        Plan: lambda _: (plan, ()),
        Network: lambda _: (network, ()),
        PathTable: lambda _: (paths, ()),
        MappingProxyType: lambda _: (nothing, ()),
    }


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.places: dict[str, Callable[..., Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        return self.places[name] if module == __name__ and name in self.places else super().find_class(module, name)


def keep(file: Path, size: Size, world: World, rest: Any) -> None:
    """Whole or not at all, in place of what was there. `world` is as the plan of `size` made it, without faults or trace. Raises
    OSError."""
    draft = file.with_suffix(".new")
    try:
        with draft.open("wb") as out:
            writer = _Writer(out, PROTOCOL)
            writer.dump(size)
            for host in world.hosts.values():
                writer.dump(tuple(getattr(host, slot) for slot in STATE))
            writer.dump((world, rest))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def read(file: Path) -> tuple[World, Any]:
    """Raises ScenarioError for a file that cannot be read."""
    try:
        with file.open("rb") as source:
            return _read(source)
    except Exception as error:  # noqa: BLE001  (an unpickler raises whatever the bytes make it do)
        raise ScenarioError(f"{file}: {error}; allowed: what an earlier run has kept there, or no file") from None


def _read(source: IO[bytes]) -> tuple[World, Any]:
    reader = _Reader(source)
    size: Size = reader.load()
    made = plan_of(size)
    links = Network.of(made)
    kinds: dict[tuple[str, AccessLink], int] = {}
    hosts = [SimHost.of(host, kinds) for host in made.hosts]
    reader.places = {
        "sim_host": hosts.__getitem__,
        "plan_host": made.hosts.__getitem__,
        "plan": lambda: made,
        "network": lambda: links,
        "paths": lambda: made.paths,
    }
    for host in hosts:
        for slot, value in zip(STATE, reader.load(), strict=True):
            setattr(host, slot, value)
    world, rest = reader.load()
    return world, rest
