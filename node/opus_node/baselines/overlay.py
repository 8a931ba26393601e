"""What a protocol has to say of itself; everything else (`core`) is the same for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

from opus_node.baselines.ids import Identifier
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, News, Seek, Told
from opus_node.core.types import NodeId

Found = Callable[[tuple[NodeId, ...], int], None]
"""Of `find`: who holds the key, as far as was found (empty: nobody was), and the depth of the search in hops."""


class Overlay(ABC):
    """A protocol's tables and how they are kept. It hears of time by `ctx.timers`, and of silence by `silent`."""

    ITERATIVE = False
    """Whether a client looks the holders of a key up itself (`find`), and then goes to one; otherwise requests are passed on."""

    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        """`changed()` is to be called when the nodes near this one, and so perhaps the holders of a key, are others."""
        self.ctx = ctx
        self.peers = peers
        self.changed = changed

    @abstractmethod
    def boot(self, seeds: Sequence[NodeId]) -> None:
        """Join by way of `seeds`, other nodes; none: this one is the first."""

    @abstractmethod
    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        """Where a request for `key` goes from here, the best first: nodes nearer to it than this one, none of `without`."""

    @abstractmethod
    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        """The `count` nodes that are to hold `key`, by what this node knows, the one responsible first; empty if it knows too
        little of the nodes there to tell. Fewer where there are not as many nodes."""

    @abstractmethod
    def silent(self, node: NodeId) -> None:
        """`node` owed an answer, or could not be reached: it goes from all tables."""

    @abstractmethod
    def entries(self) -> int:
        """Of all tables, each node counted as often as it stands in one."""

    @abstractmethod
    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        """To a question with a word in it."""

    def seek(self, source: NodeId, message: Seek) -> None:  # noqa: B027  (not every protocol seeks)
        """A question on its way to a key."""

    def news(self, source: NodeId, message: News) -> None:  # noqa: B027
        """Somebody has come or gone."""

    def heard(self, node: NodeId) -> None:  # noqa: B027
        """Something came from `node`: it lives."""

    def find(self, key: Identifier, count: int, found: Found) -> None:
        """Look up who holds `key` (of an ITERATIVE protocol)."""
        raise NotImplementedError

    def leave(self) -> None:  # noqa: B027
        """This node goes: tell whom the protocol tells."""


Make = Callable[[Context, Peers, Callable[[], None]], Overlay]
