"""What is kept and what is said about it.

A cell is a value and its tag; of two cells the greater tag wins, everywhere and in any order of arrival. A tag belongs to one
write of one client for good, so a write that is tried again, by another replica and in another configuration, is the same write.

A configuration is who keeps the cells, by incarnation: a host that has restarted has lost its memory and is nobody's member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opus_node.core.types import NodeId

Key = str
Value = bytes
Writer = str
"""One write of one client, unlike any other: its address, incarnation and the number of its request."""


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    count: int = 0
    writer: Writer = ""


@dataclass(frozen=True, slots=True)
class Cell:
    tag: Tag = Tag()
    value: Value | None = None
    """None: never written."""


EMPTY = Cell()
Cells = Mapping[Key, Cell]


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    node: NodeId
    incarnation: int


@dataclass(frozen=True, slots=True)
class Config:
    number: int
    """The first is 0, and each decides on one next."""
    members: tuple[Peer, ...]

    @property
    def majority(self) -> int:
        return len(self.members) // 2 + 1

    def has(self, node: NodeId) -> bool:
        return any(one.node == node for one in self.members)


@dataclass(frozen=True, slots=True, order=True)
class Ballot:
    """Whose decision: as replica sets are ordered, (epoch, steward)."""

    epoch: int = 0
    steward: NodeId = ""


# Questions to a holder. `number` is the configuration that is meant.


@dataclass(frozen=True, slots=True)
class Get:
    number: int
    op: int
    key: Key


@dataclass(frozen=True, slots=True)
class Put:
    number: int
    op: int
    key: Key
    cell: Cell


@dataclass(frozen=True, slots=True)
class Greet:
    """Who is there, in which life, and which configuration does it know?"""


@dataclass(frozen=True, slots=True)
class Prepare:
    number: int
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Accept:
    """Whoever does answers no more Get and Put in this configuration."""

    number: int
    ballot: Ballot
    following: Config


@dataclass(frozen=True, slots=True)
class Install:
    """To members of a configuration that was decided on: serve it, with all that any acknowledged operation has left."""

    config: Config
    cells: Cells


@dataclass(frozen=True, slots=True)
class Copy:
    """All that is held, for a member that was never told: one that was has all that any acknowledged operation left before."""

    number: int


@dataclass(frozen=True, slots=True)
class Retire:
    """To members of a former one: `config` is served by a majority of its own, what was held may be forgotten."""

    config: Config


Question = Get | Put | Greet | Prepare | Accept | Install | Copy | Retire


# Answers


@dataclass(frozen=True, slots=True)
class Got:
    number: int
    op: int
    cell: Cell


@dataclass(frozen=True, slots=True)
class Stored:
    number: int
    op: int


@dataclass(frozen=True, slots=True)
class Greeted:
    peer: Peer
    config: Config | None


@dataclass(frozen=True, slots=True)
class Promised:
    number: int
    ballot: Ballot
    accepted: tuple[Ballot, Config] | None


@dataclass(frozen=True, slots=True)
class Accepted:
    number: int
    ballot: Ballot
    cells: Cells


@dataclass(frozen=True, slots=True)
class Outbid:
    """Another steward's ballot came first."""

    number: int
    by: Ballot


@dataclass(frozen=True, slots=True)
class Installed:
    number: int


@dataclass(frozen=True, slots=True)
class Copied:
    number: int
    cells: Cells


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """That configuration is over; this one came after it."""

    config: Config


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was done: sealed, or never heard of that configuration, or no longer of this life."""

    number: int
    op: int = 0


Answer = Got | Stored | Greeted | Promised | Accepted | Outbid | Installed | Copied | Elsewhere | Refused


def merged(one: Cells, other: Cells) -> dict[Key, Cell]:
    """Of each key the greater tag's."""
    found = dict(one)
    for key, cell in other.items():
        before = found.get(key)
        if before is None or cell.tag > before.tag:
            found[key] = cell
    return found
