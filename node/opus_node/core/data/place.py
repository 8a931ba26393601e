"""What those who keep data are told by the node that they are part of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opus_node.core.data.quorum import Outcome
from opus_node.core.messages import RouteRequest
from opus_node.core.types import AppId, Nanos, NodeId

Done = Callable[[RouteRequest, Nanos, Outcome], None]
"""(request, when it arrived, what came of it)."""


class Place(Protocol):
    """Where this node stands in the overlay."""

    def agent_id(self) -> NodeId:
        """Whom it is attached to."""

    def acts(self, app: AppId) -> bool:
        """Whether it is in office as an application's steward; who has ceased to be an agent is not, and may not hear who is."""


class Nowhere:
    """In none."""

    def agent_id(self) -> NodeId:
        return ""

    def acts(self, app: AppId) -> bool:
        return False


def writer_of(client: NodeId, life: int, request: int) -> str:
    """Whose write it is, unlike any other: the client, its incarnation, the number of its request."""
    return f"{client}/{life}/{request}"
