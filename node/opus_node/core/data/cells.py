"""What is kept and what is said about it.

A cell is a value and its tag; of two cells the greater tag wins, everywhere and in any order of arrival. A tag belongs to one
write of one client for good, so a write that is tried again, by another replica and in another configuration, is the same write.

A configuration is who keeps the cells, by incarnation: a host that has restarted has lost its memory and is nobody's member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opus_node.core.types import Nanos, NodeId

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

    @property
    def primary(self) -> Peer:
        """Where a mode has one."""
        return self.members[0]

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
class Settled:
    """No question: what is held of `key` under this tag is where it has to be, all that was before it is history."""

    number: int
    key: Key
    tag: Tag


@dataclass(frozen=True, slots=True)
class Renew:
    """Does it still serve this configuration?"""

    number: int
    op: int
    since: int = -1
    """And what has it stored since then, by its own count? -1: that does not matter."""


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
    """To members of a configuration that was decided on: serve it, once `quorum` of these have given all that they held as
    members of the one before, which then is all that any acknowledged operation has left; or one that has entered already (0:
    only so)."""

    config: Config
    givers: tuple[NodeId, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class Copy:
    """To who is to enter a configuration that is not decided yet: what do these hold by now? It is to say when it has that of
    `quorum` of them, so that little is left to fetch once they are sealed."""

    number: int
    givers: tuple[NodeId, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """By who is to enter this configuration: what is held, after so many cells?"""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Retire:
    """To members of a former one: `config` is served by a majority of its own, what was held may be forgotten."""

    config: Config


Question = Get | Put | Settled | Renew | Greet | Prepare | Accept | Install | Copy | Fetch | Retire


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
class Renewed:
    number: int
    op: int
    count: int = 0
    """So many of the values that it has stored are told, with these."""
    cells: Cells = field(default_factory=dict)
    """Since the one that was asked for."""
    last: bool = True
    """Whether these are all."""


@dataclass(frozen=True, slots=True)
class Greeted:
    peer: Peer
    config: Config | None


@dataclass(frozen=True, slots=True)
class Promised:
    number: int
    ballot: Ballot
    accepted: tuple[Ballot, Config] | None
    size: int = 0
    """Bytes held, roughly."""


@dataclass(frozen=True, slots=True)
class Accepted:
    number: int
    ballot: Ballot
    left: tuple[Nanos, ...] = ()
    """For how long each of the configuration's members, in their order, may still answer alone, as far as this one has confirmed
    it. Empty: none."""


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


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    giver: Peer
    since: int
    """What was asked for: what came after so many ..."""
    count: int
    """... up to so many are told of, with these."""
    last: bool
    """Whether that is all, so far."""
    inside: bool
    """Whether who gives has entered that configuration itself."""
    sealed: bool
    """Whether nothing comes after the last."""
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


Answer = Got | Stored | Renewed | Greeted | Promised | Accepted | Outbid | Installed | Copied | Part | Elsewhere | Refused


# Between replicas that need no configuration (`eventual`).


@dataclass(frozen=True, slots=True)
class Pull:
    """What has it stored since then, by its own count in that life? All, if it is in another."""

    life: int
    since: int


@dataclass(frozen=True, slots=True)
class Spread:
    """What was written, or what a retired replica holds; then it wants to hear (`op`) that it was taken."""

    op: int
    cells: Cells


@dataclass(frozen=True, slots=True)
class News:
    life: int
    count: int
    """So many of the values that it has stored are told, with these."""
    ready: bool
    """Whether it has what replicas had before it was one."""
    last: bool
    """Whether these are all."""
    cells: Cells


@dataclass(frozen=True, slots=True)
class Taken:
    op: int


Exchange = Pull | News | Spread | Taken
Said = Question | Answer | Exchange
