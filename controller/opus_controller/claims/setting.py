"""How much is measured: sizes, seeds, networks; FULL for the report, QUICK for CI and for a first look, TINY for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opus_controller.claims.measure.networks import Network


@dataclass(frozen=True)
class Scale:
    name: str
    hosts: int
    """At most, of each network, where a claim is not about n."""
    seeds: int
    """Of what differs much from run to run."""
    sizes: tuple[int, ...]
    """n of live overlays, where a claim is about n ..."""
    ideal: tuple[int, ...]
    """... and of converged tables, which are made and not grown."""
    routes: int
    """Sampled of converged tables, for each n."""
    replicas: int = 10
    """m."""
    settle_s: float = 240.0
    """From the first boot until an overlay is taken to be settled."""
    rest_s: float = 40.0
    """For which control bytes are counted."""
    fractions: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Of the hosts, that fall silent at once."""
    arms: tuple[float, ...] = (0.5, 2.0)
    """Of each overlay's knob of maintenance, besides its own default: times as often."""
    effort: float = 1.0
    """For claims that draw many cases: by how much their number is to be multiplied."""


FULL = Scale("full", 490, 2, (100, 300, 1000), (100, 1000, 10_000, 100_000, 1_000_000), 400)
QUICK = Scale(
    "quick", 90, 1, (45, 90, 180), (100, 1000, 10_000, 100_000), 100,
    settle_s=90.0, rest_s=20.0, fractions=(0.5, 0.9), arms=(0.5,), effort=0.25,
)  # fmt: skip
TINY = Scale(
    "tiny", 36, 1, (20, 40), (100, 1000), 20, replicas=4, settle_s=40.0, rest_s=10.0, fractions=(0.5,), arms=(), effort=0.05,
)  # fmt: skip
SCALES = {scale.name: scale for scale in (FULL, QUICK, TINY)}


@dataclass(frozen=True)
class Setting:
    scale: Scale
    networks: Sequence[Network]
    """Those that are there; the first is the main one."""
    first_seed: int = 1

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.scale.seeds)

    @property
    def main(self) -> Network:
        return self.networks[0]

    def times(self, count: float, least: int = 1) -> int:
        """So many cases of something, at this scale."""
        return max(least, round(count * self.scale.effort))
