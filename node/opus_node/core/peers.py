"""The other agents as one of them sees them, whoever tells it of them: SWIM at the top of the hierarchy, its head below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from opus_node.core.messages import MemberUpdate
from opus_node.core.swim import Member
from opus_node.core.types import NodeId


class Peers(Protocol):
    """What the parts of an agent's role ask of it."""

    members: dict[NodeId, Member]
    fewest: int
    """Agents that there should be of those counted together, whatever the need."""

    def agents(self) -> tuple[NodeId, ...]:
        """Live agents, this one among them, sorted."""

    def near(self) -> Sequence[Member]:
        """The live ones but this one, the nearest first."""

    def counted(self) -> tuple[NodeId, ...]:
        """Those of them whose number one steward of the agents decides, this one among them, sorted."""

    def steward(self) -> NodeId:
        """Who decides how many agents there are; empty: nobody, for now."""

    def is_live(self, node: NodeId) -> bool: ...

    def table(self) -> tuple[MemberUpdate, ...]:
        """All that is known, this agent first: for one that is to become an agent."""

    def above(self) -> tuple[NodeId, ...]:
        """Ways in to the next level, for the same."""
