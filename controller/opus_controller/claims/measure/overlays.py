"""The overlays under test, each as its literature tunes it, with the knob that trades bytes for freshness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opus_node.core.types import CHORD, KADEMLIA, ONE_HOP, OPUS, PASTRY, SECOND

from opus_controller.bench.overlay.settings import Settings


@dataclass(frozen=True)
class Overlay:
    label: str
    """For tables and the names of tasks."""
    protocol: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """By the names of `bench.overlay.settings`."""
    placed: bool = False
    """Its replicas are where someone with full knowledge would put them (k-median), whatever the protocol would say."""

    def of(self) -> Settings:
        return Settings().but(protocol=self.protocol, **self.settings)

    def tuned(self, often: float) -> Overlay:
        """With maintenance `often` times as frequent as its own: for Opus, so many times the budget of control bytes."""
        label = f"{self.label} x{often:g}"
        if self.protocol == OPUS:
            return replace(self, label=label, settings={**self.settings, "control_budget": round(100 * often)})
        every = round(default_upkeep_s(self.protocol) / often * SECOND)
        return replace(self, label=label, settings={**self.settings, "upkeep": every})


def default_upkeep_s(protocol: str) -> float:
    """As the protocol's module has it."""
    if protocol == CHORD:
        from opus_node.baselines.chord import UPKEEP
    elif protocol == PASTRY:
        from opus_node.baselines.pastry import UPKEEP
    elif protocol == KADEMLIA:
        from opus_node.baselines.kademlia import UPKEEP
    else:
        from opus_node.baselines.one_hop import UPKEEP
    return float(UPKEEP) / SECOND


OURS = Overlay("opus", OPUS)
MULTI_HOP: Sequence[Overlay] = (Overlay("chord", CHORD), Overlay("pastry", PASTRY), Overlay("kademlia", KADEMLIA))
RIVAL = Overlay("one-hop", ONE_HOP)
PLACED = Overlay("one-hop, placed", ONE_HOP, placed=True)
RANDOM_SUBSET = Overlay("opus, random subset", OPUS, {"app.policy": "random"})
EVERYONE: Sequence[Overlay] = (OURS, *MULTI_HOP, RIVAL)
"""Each once, by its own defaults."""
