"""Members of an application at places on a plane, in the bench's virtual time."""

from __future__ import annotations

from math import hypot
from random import Random

from opus_controller.bench.spread.world import World
from opus_node.core.types import MILLISECOND


def plane(members: int, seed: int = 1, bound: float = 1.75) -> World:
    """Round trips of 1 to about 140 ms."""
    rng = Random(f"plane/{seed}")
    names = [f"n{i:02}" for i in range(members)]
    places = {name: (rng.random(), rng.random()) for name in names}

    def rtt(a: str, b: str) -> int:
        (x, y), (u, v) = places[a], places[b]
        return int((1 + 100 * hypot(x - u, y - v)) * MILLISECOND)

    return World(names, rtt, bound, f"{seed}")
