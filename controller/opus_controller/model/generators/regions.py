"""Measured round trips between regions of the globe, and a last mile of its own for each host.

The core is a topology's: of cloud-33, median round trips between cloud regions. A host's last mile is drawn from a log-normal
distribution: last miles spread widely, by provider, technology and subscriber (Sundaresan, de Donato, Feamster, Teixeira,
Crawford, Pescapè, *Broadband Internet Performance: A View From the Gateway*, SIGCOMM 2011; Bajpai, Eravuchira, Schönwälder,
*Dissecting Last-mile Latency Characteristics*, CCR 47(5), 2017). The default is ours, not fitted to either: a round trip of 10 ms
in the median and a sigma of 0.6, so that a tenth is below 4.6 ms, and a tenth above 22 ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from opus_controller.model.errors import ScenarioError
from opus_controller.model.generators.provenance import check_hosts, command
from opus_controller.model.scenario import find
from opus_controller.model.topology import Topology, load_topology
from opus_controller.model.topology_hosts import Site
from opus_controller.model.topology_text import distinct, head, matrix_text, plain, quoted, slug
from opus_controller.model.units import format_duration

MOST_HOSTS: Final = 10_000
"""Each has an entry in the file."""
_STEP_NS: Final = 10_000
"""Last miles are whole steps, one at least."""
RATES: Final = "up: 20Mbit, down: 100Mbit"


@dataclass(frozen=True)
class Regions:
    hosts: int
    seed: int = 1
    core: str = "cloud-33"
    """A topology's name or file; its sites are the regions."""
    regions: int = 0
    """So many of them, drawn; 0: all."""
    last_mile_ns: int = 10_000_000
    """The median of its round trip."""
    sigma: float = 0.6
    """Deviation of its logarithm."""

    def text(self, name: str = "") -> str:
        """The topology's file: hosts spread evenly over the regions. Raises ScenarioError."""
        check_hosts(self.hosts, MOST_HOSTS)
        if not (0 < self.last_mile_ns <= 2_000_000_000 and 0 <= self.sigma <= 2):
            raise ScenarioError("regions: a last mile out of place; allowed: a median up to 2s, a sigma from 0 to 2")
        core = load_topology(find("topologies", self.core))
        if not 0 <= self.regions <= len(core.sites):
            raise ScenarioError(f"--regions {self.regions} of {len(core.sites)} in {core.name}; allowed: 1 to {len(core.sites)}")
        rng = Random(f"{self.seed}/regions")
        wanted = min(self.regions or len(core.sites), self.hosts)
        chosen = sorted(rng.sample(range(len(core.sites)), wanted))
        sites = "sites:\n" + "".join(f"  - {_site(core.sites[i])}\n" for i in chosen)
        rtts = core.rtts_ms()
        matrix = matrix_text([[rtts[i][j] for j in chosen] for i in chosen])
        groups = self._groups([core.sites[i] for i in chosen], rng)
        return f"{head(name or slug(f'{core.name}-last-miles'), self._source(core))}\n{sites}\n{matrix}\n{groups}"

    def _groups(self, sites: Sequence[Site], rng: Random) -> str:
        """A group for each host, of its name, since only a group has an access link."""
        where = sorted(k % len(sites) for k in range(self.hosts))
        lines = ["groups:\n"]
        for name, k in zip(distinct([sites[k].short for k in where]), where, strict=True):
            one_way = self.last_mile_ns / 2 * math.exp(self.sigma * rng.gauss(0, 1))
            access = f"{{delay: {format_duration(max(round(one_way / _STEP_NS), 1) * _STEP_NS)}, {RATES}}}"
            lines.append(f"  - {{name: {plain(name)}, site: {plain(sites[k].name)}, count: 1, access: {access}}}\n")
        return "".join(lines)

    def _source(self, core: Topology) -> str:
        options: dict[str, object] = {
            "hosts": self.hosts,
            "seed": self.seed,
            "core": self.core,
            "regions": self.regions or len(core.sites),
            "last-mile": format_duration(self.last_mile_ns),
            "sigma": f"{self.sigma:g}",
        }
        median = format_duration(self.last_mile_ns)
        return (
            f"Between regions: those of {core.name} ({core.source or 'which names no source'}). Last miles are SYNTHETIC: "
            f"log-normal (median round trip {median}, sigma {self.sigma:g}: assumed, as the rates are; that they spread widely "
            f"was measured by Bajpai et al., CCR 2017). Made by: {command('regions', options)}"
        )


def _site(site: Site) -> str:
    place = f", lat: {site.place.lat:g}, lon: {site.place.lon:g}" if site.place is not None else ""
    said = f", description: {quoted(site.description)}" if site.description else ""
    return f"{{name: {plain(site.name)}, short: {plain(site.short)}{place}{said}}}"
