"""The networks that claims are measured on, each of its own kind: hosts of a university testbed, a cloud's regions, a backbone.

planetlab   490 hosts, host-by-host round trips: other people's data, where they are (`bench.overlay.data`)
clouds      the 33 regions of the shipped cloud-33, several hosts in each: always there
cogentco    the routers of a Topology Zoo graph, a host or more at each, delays by distance: other people's data
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from opus_controller.bench.overlay import data
from opus_controller.model.errors import OpusError
from opus_controller.model.scenario import find
from opus_controller.model.topology import Topology, load_topology

PLANETLAB, CLOUDS, COGENTCO = "planetlab", "clouds", "cogentco"
GRAPH = "Cogentco.graphml"


@dataclass(frozen=True)
class Network:
    name: str
    what: str
    """With its source, for the report."""
    make: Callable[[int], Topology]
    map: Path | None = None
    """The graph it is made of, if it is made of one."""

    def topology(self, hosts: int) -> Topology:
        """Of `hosts` hosts, or the nearest number that gives each place as many."""
        return _made(self, hosts)


@lru_cache(maxsize=8)
def _made(network: Network, hosts: int) -> Topology:
    return network.make(hosts)


def available(place: Path | None) -> tuple[list[Network], list[str]]:
    """Networks whose data are there, and for each of the others why it is left out. `place`: as in `bench.overlay.data.find`."""
    found: list[Network] = []
    missing: list[str] = []
    for make in (_planetlab, _clouds, _cogentco):
        try:
            found.append(make(place))
        except OpusError as error:
            missing.append(str(error).removeprefix("skipped: "))
    return found, missing


def _planetlab(place: Path | None) -> Network:
    matrix = data.Matrix(data.find(place))
    what = f"490 hosts, host-by-host round trips ({data.SOURCE})"
    return Network(PLANETLAB, what, lambda hosts: matrix.topology(None if hosts == 490 else hosts))


def _clouds(place: Path | None) -> Network:
    document = yaml.safe_load(find("topologies", "cloud-33").read_text())
    return Network(CLOUDS, f"33 regions of a cloud, {document['source'].strip()}", lambda hosts: _spread(document, hosts))


def _cogentco(place: Path | None) -> Network:
    from opus_controller.model.importers.table import import_topology

    path = data.find(place).parent / GRAPH
    document = yaml.safe_load(import_topology(path, name="cogentco", hosts=2))
    what = (
        "the routers of Cogent's backbone, delays by distance (Internet Topology Zoo, Knight et al., IEEE JSAC 2011, CC BY 4.0)"
    )
    return Network(COGENTCO, what, lambda hosts: _spread(document, hosts), path)


def _spread(document: dict[str, Any], hosts: int) -> Topology:
    """As many hosts at each site; of fewer hosts than sites only the first sites are used."""
    sites = len(document["sites"])
    each = max(1, round(hosts / sites))
    some = "all" if hosts >= sites else [_name(site) for site in document["sites"][:hosts]]
    access = {"delay": "0.5ms"}  # rates and loss are other claims' subject
    group = {"name": "servers", "sites": some, "access": access} | ({"count": each} if each > 1 else {})
    made = {key: value for key, value in document.items() if key not in ("path", "groups", "description")} | {"groups": [group]}
    with tempfile.TemporaryDirectory(prefix="opus-claims-") as place:
        path = Path(place) / "topology.yaml"
        path.write_text(yaml.safe_dump(made))
        return load_topology(path)


def _name(site: Any) -> str:
    return str(site["name"] if isinstance(site, dict) else site)
