"""What overlays put on the physical links under them: how many copies of one request, or of one update, cross a link.

    stress    copies of the same thing over one link, in either direction, the links that carry none left out (Chu, Rao, Zhang,
              *A case for end system multicast*, SIGMETRICS 2000)
    usage     sum over links of delay x copies, ms (theirs, too: "resource usage")

Links are the cables of a map and every host's access link. Between two hosts everything takes the shortest way, as IP does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log, log2
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from opus_node.core.types import MILLISECOND, SECOND

from opus_controller.bench.overlay.oracles import Floats, local_search
from opus_controller.bench.overlay.stability import places_of_agents
from opus_controller.bench.spread.table import BOUND
from opus_controller.bench.spread.world import World
from opus_controller.claims.claim import Figures
from opus_controller.model.graph import distance_km, fibre_delay_ns
from opus_controller.model.importers.table import import_topology

ACCESS_MS = 0.5
DIRECT, OPUS, CHORD, PASTRY = "direct", "opus, first request", "chord, ideal", "pastry, ideal"
ROUTES = (DIRECT, OPUS, CHORD, PASTRY)
MESH, UNICAST, MULTICAST = "opus' mesh", "unicast to each", "IP multicast"
WAYS = (UNICAST, MESH, MULTICAST)
PLACED, WIDE = "placed", "random"
WIDER = 4
"""Times as many members, at random."""
DIGIT = 16
"""Pastry's digits."""
STARTS = 4
SETTLE_S, SPREAD_S = 25, 3
"""Members make their links; an update spreads."""

Link = tuple[int, int]
"""Two sites, the lesser first; of an access link, the host and HOST."""
HOST = -1


@dataclass(frozen=True)
class Ground:
    """Hosts on a map, as many at each site."""

    each: int
    ways: Sequence[Sequence[Sequence[int]]]
    """Sites on the shortest way from one to another, both included."""
    cables_ms: dict[Link, float]
    delay: Floats
    """One way between hosts, ms."""

    def site(self, host: int) -> int:
        return host // self.each

    def links(self, source: int, target: int) -> list[Link]:
        """That a message crosses, each once."""
        if source == target:
            return []
        way = self.ways[self.site(source)][self.site(target)]
        between = [(min(a, b), max(a, b)) for a, b in pairs(way)]
        return [(source, HOST), *between, (target, HOST)]

    def ms(self, link: Link) -> float:
        return ACCESS_MS if link[1] == HOST else self.cables_ms[link]


def ground(path: Path, hosts: int) -> Ground:
    """Of a GraphML map, as `model.importing` reads it; ScenarioError if it is none."""
    import networkx as nx

    document: dict[str, Any] = yaml.safe_load(import_topology(path))
    sites = {str(site["name"]): k for k, site in enumerate(document["sites"])}
    places = [(float(site["lat"]), float(site["lon"])) for site in document["sites"]]
    net: nx.Graph[int] = nx.Graph()
    for a, b in ((sites[str(one)], sites[str(other)]) for one, other in document["graph"]["edges"]):
        net.add_edge(a, b, ms=fibre_delay_ns(distance_km(places[a], places[b])) / MILLISECOND)
    ways: list[list[list[int]]] = []
    away: list[list[float]] = []
    for site in range(len(sites)):
        paths = nx.single_source_dijkstra_path(net, site, weight="ms")
        ways.append([paths[other] for other in range(len(sites))])
        away.append([sum(net.edges[pair]["ms"] for pair in pairs(way)) for way in ways[-1]])
    each = max(1, round(hosts / len(sites)))
    delay = np.kron(np.array(away), np.ones((each, each))) + 2 * ACCESS_MS
    np.fill_diagonal(delay, 0.0)
    cables = {(min(a, b), max(a, b)): float(net.edges[a, b]["ms"]) for a, b in net.edges}
    return Ground(each, ways, cables, delay)


# Requests


def requests(path: Path, hosts: int, m: int, count: int) -> Figures:
    """By route, of each request: stress over its links (mean, most), over cables alone, usage, and that of the direct way between
    its ends."""
    on = ground(path, hosts)
    rng = Random("stress")
    found: dict[str, dict[str, list[float]]] = {}
    for route, ways in routes(on.delay, m, count, rng).items():
        rows = [_told(on, pairs(way)) | {"direct": _told(on, [(way[0], way[-1])])["usage"]} for way in ways]
        found[route] = {key: [row[key] for row in rows] for key in rows[0]} | {"hops": [len(way) - 1.0 for way in ways]}
    return {"hosts": len(on.delay), "sites": len(on.ways), "cables": len(on.cables_ms), "routes": found}


def pairs(way: Sequence[int]) -> list[tuple[int, int]]:
    """Who sends to whom."""
    return list(pairwise(way))


def _told(on: Ground, messages: Iterable[tuple[int, int]]) -> dict[str, float]:
    copies = Counter(link for source, target in messages for link in on.links(source, target))
    cables = [count for link, count in copies.items() if link[1] != HOST]
    return {
        "mean": float(np.mean(list(copies.values()))) if copies else 1.0,
        "most": float(max(copies.values(), default=1)),
        "cables_mean": float(np.mean(cables)) if cables else 1.0,
        "usage": sum(count * on.ms(link) for link, count in copies.items()),
    }


def routes(delay: Floats, m: int, count: int, rng: Random) -> dict[str, list[list[int]]]:
    """Hosts that each request passes, the same clients for all. Opus' replicas are well placed, the agent is the nearest one and
    sends to the replica nearest to itself. The others' replicas are random hosts, and their hops as the literature has them:

        chord     half of log2 n hops, to anybody (Stoica et al. 2001), the last one to the replica responsible
        pastry    log16 n hops, each to the nearest of n / 16^i hosts whose names fit (Rowstron, Druschel 2001), the last one to
                  the nearest of the replicas
    """
    n = len(delay)
    serving, agents = local_search(delay, m, starts=STARTS).chosen, places_of_agents(delay)
    others = [host for host in range(n) if host not in serving and host not in agents]
    found: dict[str, list[list[int]]] = {route: [] for route in ROUTES}

    def nearest(host: int, among: Sequence[int]) -> int:
        return min((one for one in among if one != host), key=lambda one: (delay[host, one], one))

    for _ in range(count):
        client = rng.choice(others)
        agent = nearest(client, agents)
        found[DIRECT].append([client, nearest(client, serving)])
        found[OPUS].append([client, agent, nearest(agent, serving)])
        hashed = rng.sample([host for host in range(n) if host != client], m)
        strangers = [host for host in range(n) if host != client and host not in hashed]
        between = rng.sample(strangers, max(1, round(log2(n) / 2)) - 1)
        found[CHORD].append([client, *between, rng.choice(hashed)])
        way = [client]
        for digit in range(1, ceil(log(n, DIGIT))):
            fitting = rng.sample(strangers, max(2, n // DIGIT**digit))
            way.append(nearest(way[-1], [one for one in fitting if one not in way]))
        found[PASTRY].append([*way, nearest(way[-1], hashed)])
    return found


# Updates


def updates(path: Path, hosts: int, m: int, sources: int, seed: int) -> Figures:
    """By set of members and way of spreading, of each update the same figures."""
    on = ground(path, hosts)
    rng = Random(f"{seed}/updates")
    sets = {
        PLACED: list(local_search(on.delay, m, starts=STARTS).chosen),
        WIDE: rng.sample(range(len(on.delay)), min(WIDER * m, len(on.delay))),
    }
    found: Figures = {}
    for name, members in sets.items():
        senders = rng.sample(members, min(sources, len(members)))
        sent = {
            UNICAST: [[(sender, member) for member in members if member != sender] for sender in senders],
            MESH: by_mesh(on.delay, members, senders, seed),
        }
        told = {way: [_told(on, messages) for messages in of] for way, of in sent.items()}
        told[MULTICAST] = [_once(on, messages) for messages in sent[UNICAST]]
        found[name] = {"members": len(members)} | {
            way: {key: [row[key] for row in rows] for key in rows[0]} for way, rows in told.items()
        }
    return found


def _once(on: Ground, messages: Iterable[tuple[int, int]]) -> dict[str, float]:
    """Each link that is on the way to anybody carries one copy."""
    links = {link: None for source, target in messages for link in on.links(source, target)}
    return {"mean": 1.0, "most": 1.0, "cables_mean": 1.0, "usage": sum(on.ms(link) for link in links)}


def by_mesh(delay: Floats, members: Sequence[int], senders: Sequence[int], seed: int) -> list[list[tuple[int, int]]]:
    """Who sends whom each update, needless copies included: the core's `Spread`, once its links are made."""
    world = World([str(one) for one in members], lambda a, b: round(2e6 * float(delay[int(a), int(b)])), BOUND, f"{seed}")
    world.run(SETTLE_S * SECOND)
    found = []
    for sender in senders:
        world.carried.clear()
        world.publish(str(sender), bytes(1000))
        world.run(SPREAD_S * SECOND)
        found.append([(int(a), int(b)) for (a, b), copies in sorted(world.carried.items()) for _ in range(copies)])
    return found
