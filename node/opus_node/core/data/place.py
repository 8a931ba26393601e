"""What those who keep data are told by the node that they are part of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opus_node.core.data.quorum import Outcome
from opus_node.core.messages import RouteRequest
from opus_node.core.types import AppId, Nanos, NodeId

Done = Callable[[RouteRequest, Nanos, Outcome], None]
"""(request, when it arrived, what came of it)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this node stands in the overlay."""

    agent: Callable[[], NodeId]
    """Whom it is attached to."""
    stewards: Callable[[AppId], bool]
    """Whether it is in office as an application's steward; who has ceased to be an agent is not, and may not hear who is."""


def writer_of(client: NodeId, life: int, request: int) -> str:
    """Whose write it is, unlike any other: the client, its incarnation, the number of its request."""
    return f"{client}/{life}/{request}"
