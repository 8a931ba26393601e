"""A matrix of round trips made larger (or smaller): sites drawn with replacement, and copies of a site told apart.

**Which.** Balanced resampling (Davison, Hinkley, Schechtman, *Efficient Bootstrap Simulation*, Biometrika 73(3), 1986): every
site is there equally often but for one, the remainder drawn. So clusters keep their shares.
**A copy hangs on its site by a leg**, drawn from the matrix' own nearest neighbours: the round trips from each site to its
nearest other one, but none longer than the site's own, so that a copy is no further away than another site was. The first copy of
each site has none. Between two copies of a site the round trip is the longer of their legs; to any other site it is the site's
round trip and a part of the leg, even between nothing and half of it.

So round trips between first copies are the measured ones, clusters stay, and no triple breaks the triangle inequality
unless the sites that it is copied from do. The price is a median that rises by a few percent where sites are far from each other
(of 33 cloud regions by 2%, of PlanetLab's 490 hosts by nothing). Both directions of a pair change alike: asymmetry stays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from opus_controller.model.errors import ScenarioError
from opus_controller.model.generators.provenance import check_hosts, command, digest, sharing
from opus_controller.model.graph import Position
from opus_controller.model.importers.network import Cables
from opus_controller.model.importers.table import read_network
from opus_controller.model.scenario import find
from opus_controller.model.topology import load_topology
from opus_controller.model.topology_form import MAX_SITES
from opus_controller.model.topology_text import distinct, groups_text, head, matrix_text, sites_text, slug

_DECIMALS = 3
"""Of milliseconds, where a figure is drawn."""


@dataclass(frozen=True)
class Resample:
    matrix: str
    """A file that `opus topology import` reads, or a topology."""
    hosts: int
    seed: int = 1
    sites: int = 0
    """0: one for each host, as far as a topology may have so many."""
    format_name: str = ""
    unit: str = ""
    one_way: bool = False

    def text(self, name: str = "") -> str:
        """The topology's file. Raises ScenarioError."""
        check_hosts(self.hosts)
        n = self.sites or min(self.hosts, MAX_SITES)
        if not 1 <= n <= min(self.hosts, MAX_SITES):
            raise ScenarioError(f"--sites {n} of {self.hosts} hosts; allowed: 1 to {min(self.hosts, MAX_SITES)}")
        labels, rtt, places, path = self._read()
        rng = Random(f"{self.seed}/resample")
        drawn = balanced(len(labels), n, rng)
        resampled = resampled_rtts(rtt, drawn, rng)
        names = distinct([labels[i] for i in drawn])
        source = self._source(path, len(labels), n)
        body = f"{sites_text(names, [places[i] for i in drawn])}\n{matrix_text(resampled)}"
        title = name or f"{slug(path.name.split('.')[0])[:18].rstrip('-')}-x{n}"
        return f"{head(title, source, sharing(self.hosts, n))}\n{body}\n{groups_text(names, self.hosts)}"

    def _read(self) -> tuple[Sequence[str], list[list[float]], Sequence[Position | None], Path]:
        path = Path(self.matrix)
        if path.suffix in (".yaml", ".yml", "") and not self.format_name:
            path = find("topologies", self.matrix)
            topology = load_topology(path)
            places = [(site.place.lat, site.place.lon) if site.place is not None else None for site in topology.sites]
            return [site.name for site in topology.sites], topology.rtts_ms(), places, path
        network = read_network(path, format_name=self.format_name, unit=self.unit, one_way=self.one_way)
        if isinstance(network, Cables):
            network = network.matrix(range(len(network.labels)))
        return network.labels, network.rtt_ms.tolist(), network.places, path

    def _source(self, path: Path, of: int, n: int) -> str:
        options: dict[str, object] = {"hosts": self.hosts, "seed": self.seed, "sites": n}
        options |= {key: value for key, value in (("format", self.format_name), ("unit", self.unit)) if value}
        line = command("resample", options, path.name) + (" --one-way" if self.one_way else "")
        return (
            f"SYNTHETIC: resampled from the {of} sites of {path.name} (sha256 {digest(path)}...); between the first copies "
            "of sites round trips are its own, every other copy hangs on its site by a leg drawn from its nearest neighbours. "
            f"Made by: {line}"
        )


def balanced(sites: int, n: int, rng: Random) -> list[int]:
    """n positions out of so many sites, each equally often but for one, in order."""
    each, more = divmod(n, sites)
    return sorted([*range(sites)] * each + rng.sample(range(sites), more))


def resampled_rtts(rtt: Sequence[Sequence[float]], drawn: Sequence[int], rng: Random) -> list[list[float]]:
    """Round trips in ms between copies of sites, `drawn` in order, of a complete matrix. The diagonal is the sites' own."""
    nearest = _nearest(rtt)
    near = sorted(nearest)
    legs = [0.0 if k == 0 or drawn[k - 1] != i else _draw(near, nearest[i], rng) for k, i in enumerate(drawn)]
    moved = [round(leg / 2 * rng.random(), _DECIMALS) for leg in legs]

    def between(a: int, b: int) -> float:
        i, j = drawn[a], drawn[b]
        if i == j:
            return rtt[i][i] if a == b else max(legs[a], legs[b])
        return rtt[i][j] + moved[a] + moved[b]

    n = range(len(drawn))
    return [[between(a, b) for b in n] for a in n]


def _nearest(rtt: Sequence[Sequence[float]]) -> list[float]:
    """The round trip from each site to its nearest other one; of a single site, that inside it or 1 ms."""
    n = range(len(rtt))
    if len(rtt) == 1:
        return [rtt[0][0] or 1.0]
    return [min(min(rtt[i][j], rtt[j][i]) for j in n if j != i) for i in n]


def _draw(near: Sequence[float], most: float, rng: Random) -> float:
    """One of `near` (ascending) that is not above `most`, which is among them."""
    return near[rng.randrange(bisect_right(near, most))]
