"""One node's place in each relation of the hierarchy: how it attaches there, and its role if others attach to it.

    level 0    nodes attach to agents
    level 1    agents attach to the heads of their zones, by the same leases, ways in and measurements
    ...        and so on; at the last level those that are attached to know each other by SWIM

A node has a role at a level only if it has one at all below, and attaches at the one above those at which it has a role. At
depth 1 there is one level, and everybody has the role.
"""

from __future__ import annotations

from opus_node.core.agent import AgentRole
from opus_node.core.attach import Attachment
from opus_node.core.context import Context
from opus_node.core.messages import Demand, MemberUpdate, NearReplicas
from opus_node.core.prober import Prober
from opus_node.core.siblings import mix
from opus_node.core.types import AppId, NodeConfig, NodeId
from opus_node.core.zone import Zone


def count(config: NodeConfig) -> int:
    """Of relations, in a hierarchy of so many levels of nodes; also where there is one of those only."""
    return max(1, config.depth - 1)


class Level:
    __slots__ = ("attachment", "ctx", "prober", "role")

    def __init__(self, ctx: Context, prober: Prober, attachment: Attachment) -> None:
        self.ctx = ctx
        self.prober = prober
        self.attachment = attachment
        self.role: AgentRole | None = None

    def head(self) -> NodeId:
        """For the role below: where its agent leases (`zone.Upward`) ..."""
        return self.attachment.agent

    def heads(self) -> list[NodeId]:
        """... and the heads of other zones, the best first."""
        if self.role is None:
            return self.attachment.backups()
        return [member.node for member in self.role.peers.near()]


def above(below: Level, base: Context) -> Level:
    """The next level of the same node; `base` is the context without a level."""
    ctx = base.above(below.ctx.level + 1)
    prober = Prober(ctx)
    agent = AsAgent(below)
    attachment = Attachment(ctx, prober, agent, agent)
    return Level(ctx, prober, attachment)


class AsAgent:
    """What an agent has to say, where it attaches, of the level below: as a node would of its clients."""

    __slots__ = ("_below",)

    def __init__(self, below: Level) -> None:
        self._below = below

    def demand(self) -> tuple[Demand, ...]:
        role = self._below.role
        return () if role is None else role.demand()

    def shares(self) -> dict[AppId, float]:
        demand = {one.app: one.rate for one in self.demand()}
        return mix(demand) if demand else {}

    def near(self, told: NearReplicas) -> None:
        """An agent knows all replicas."""

    def acquainted(self) -> list[NodeId]:
        role = self._below.role
        return [] if role is None else [node for node in role.peers.agents() if node != self._below.ctx.me]

    def vouch(self, head: NodeId) -> tuple[int, int]:
        role = self._below.role
        if role is None or not isinstance(role.peers, Zone):
            return (0, 0)
        return (role.sets.digest(), role.peers.heard_to(head))

    def told(self, head: NodeId, changes: tuple[MemberUpdate, ...], answered: bool) -> None:
        role = self._below.role
        if role is not None and isinstance(role.peers, Zone):
            role.peers.told(head, changes, answered)
