"""Other overlays behind the core's door: what Opus is compared with (docs/baselines.md).

    core.BaselineCore       the door: events in, Ready out; clients, caches, time-outs and retries are Opus' own classes
      holders.Holders       who holds an application: the protocol's choice, or copies placed by the configuration
      overlay.Overlay       what a protocol adds: tables, their maintenance, next hops, who holds a key
        chord · pastry · kademlia · one_hop

An application's key is the hash of its name; the m nodes that the protocol makes responsible for it are its replicas, unless its
`members` are given.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

from opus_node.core.events import Event, Ready, Snapshot
from opus_node.core.types import CHORD, KADEMLIA, ONE_HOP, OPUS, PASTRY, Nanos, NodeConfig, NodeId

if TYPE_CHECKING:
    from opus_node.baselines.overlay import Make


class Core(Protocol):
    def step(self, event: Event, now: Nanos) -> Ready: ...

    def snapshot(self) -> Snapshot: ...


def core_of(node_id: NodeId, config: NodeConfig, rng: Random) -> Core:
    """One node of the overlay that `config.protocol` names: Opus' own, or another one. ValueError for a name that is none."""
    if config.protocol == OPUS:
        from opus_node.core.node import NodeCore

        return NodeCore(node_id, config, rng)
    from opus_node.baselines.core import BaselineCore

    return BaselineCore(node_id, config, rng, _make(config.protocol))


def _make(protocol: str) -> Make:
    makers: dict[str, Callable[[], Make]] = {CHORD: _chord, PASTRY: _pastry, KADEMLIA: _kademlia, ONE_HOP: _one_hop}
    if protocol not in makers:
        raise ValueError(f"no overlay is called {protocol!r}")
    return makers[protocol]()


def _chord() -> Make:
    from opus_node.baselines.chord import Chord

    return Chord


def _pastry() -> Make:
    from opus_node.baselines.pastry import Pastry

    return Pastry


def _kademlia() -> Make:
    from opus_node.baselines.kademlia import Kademlia

    return Kademlia


def _one_hop() -> Make:
    from opus_node.baselines.one_hop import OneHop

    return OneHop
