"""Requests that carry something, handed on from host to host: each has to have all of it before it hands it on.

    direct     client -> replica, the nearest of m well-placed ones
    agent      client -> agent nearest to it -> the same replica
    n hops     client -> others at random -> the same replica

Hosts, access links with a rate and connections are the simulator's; a courier for a core does nothing but hand on. One object is
under way at a time, over connections that are open. What is larger than a message may be is computed from the same path, as if
there were no such bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from random import Random

from opus_node.core.events import Event, Ready, Receive, Request, Send, Snapshot
from opus_node.core.messages import RouteRequest
from opus_node.core.types import Nanos, NodeConfig, NodeId
from opus_node.sizes import GRPC_OVERHEAD, MAX_PAYLOAD, TCP_IP_OVERHEAD, encoded_size, in_frame

from opus_controller.bench.overlay.oracles import Floats, delays_ms, local_search
from opus_controller.bench.overlay.stability import places_of_agents
from opus_controller.bench.worlds import APP, SECOND
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.networks import Network
from opus_controller.model.compile import plan_of_topology
from opus_controller.model.network import Network as Links
from opus_controller.model.plan import Host, Plan
from opus_controller.model.shapes import Direction
from opus_controller.runtimes.sim.costs import MSS, HopCost
from opus_controller.runtimes.sim.host import SimHost
from opus_controller.runtimes.sim.path import Path
from opus_controller.runtimes.sim.world import World

DIRECT, AGENT = "direct", "agent"
MANY = (3, 4)
"""Hops by others at random."""
ROUTES = (DIRECT, AGENT, *(f"{hops} hops" for hops in MANY))
SIZES = (100, 1000, 10_000, 100_000, 1_000_000, MAX_PAYLOAD, 10_000_000)
"""Bytes."""
RATES_BPS = (10_000_000, 100_000_000)
"""Of each access link, up and down."""
STARTS = 4
SPAN_S = 100.0
"""In which anything arrives; so short that no connection is idle for three minutes, the last of a way not either."""
MS = 1e6
_NEVER: Nanos = 10**9 * SECOND


def forwarded(network: Network, hosts: int, m: int, pairs: int, rate_bps: int) -> Figures:
    """By route and size, ms from issue to arrival at the replica, a value for each client; the same clients for all."""
    made = plan_of_topology(network.topology(hosts), duration_ns=1)
    ways = routes(delays_ms(made), m, pairs, Random("forwarding"))
    plain = limited(made, rate_bps)
    found: dict[str, dict[str, list[float]]] = {route: {str(size): [] for size in SIZES} for route in ways}
    overlapped: dict[str, dict[str, list[float]]] = {route: {str(size): [] for size in SIZES} for route in ways}
    for route, several in ways.items():
        for way in several:
            on = [plain.hosts[k] for k in way]
            ms = carried(plain, on, [size for size in SIZES if size <= MAX_PAYLOAD])
            for size in SIZES:
                found[route][str(size)].append(ms[size] if size in ms else computed(plain, on, size))
                overlapped[route][str(size)].append(computed(plain, on, size, overlap=True))
    return {"hosts": len(made.hosts), "ms": found, "overlapped_ms": overlapped}


def routes(delay: Floats, m: int, pairs: int, rng: Random) -> dict[str, list[tuple[int, ...]]]:
    """Hosts' numbers from each client to its replica, by kind of route."""
    serving = local_search(delay, m, starts=STARTS).chosen
    agents = places_of_agents(delay)
    others = [host for host in range(len(delay)) if host not in serving and host not in agents]
    found: dict[str, list[tuple[int, ...]]] = {route: [] for route in ROUTES}
    for client in rng.sample(others, min(pairs, len(others))):
        replica = min(serving, key=lambda one: (delay[client, one], one))
        agent = min((one for one in agents if one != replica), key=lambda one: (delay[client, one], one))
        found[DIRECT].append((client, replica))
        found[AGENT].append((client, agent, replica))
        for hops in MANY:
            between = rng.sample([one for one in range(len(delay)) if one not in (client, replica)], hops - 1)
            found[f"{hops} hops"].append((client, *between, replica))
    return found


def limited(plan: Plan, rate_bps: int) -> Plan:
    """Every access link carries so much in either direction."""
    rate = Direction(rate_bps=rate_bps)
    hosts = (h.model_copy(update={"access": h.access.model_copy(update={"up": rate, "down": rate})}) for h in plan.hosts)
    return plan.model_copy(update={"hosts": tuple(hosts)})


# Carried in the simulator


@dataclass
class Courier:
    """A core that hands requests on along one way."""

    me: NodeId
    way: Sequence[NodeId]
    arrived: dict[int, Nanos] = field(default_factory=dict)
    """By number of the request; all couriers of a way share it."""

    def step(self, event: Event, now: Nanos) -> Ready:
        if isinstance(event, Request):
            first = RouteRequest(event.app, self.me, event.request, 0, 0, False, 1, False, event.deadline, 0, event.request_bytes)
            return Ready(sends=(Send(self.way[1], first),))
        if isinstance(event, Receive) and isinstance(event.message, RouteRequest):
            request = event.message
            if request.hops < len(self.way) - 1:
                return Ready(sends=(Send(self.way[request.hops + 1], replace(request, hops=request.hops + 1)),))
            self.arrived[request.request] = now
        return Ready()

    def snapshot(self) -> Snapshot:
        raise AssertionError("of a courier nobody takes samples")


def carried(plan: Plan, way: Sequence[Host], sizes: Sequence[int]) -> Mapping[int, float]:
    """ms that an object of each size takes along a way, one after the other."""
    arrived: dict[int, Nanos] = {}
    names = [host.address for host in way]

    def core(node: NodeId, config: NodeConfig, rng: Random) -> Courier:
        return Courier(node, names, arrived)

    few = plan.model_copy(update={"hosts": tuple(way), "seeds": (), "apps": ()})
    world = World(few, core, HopCost(), _NEVER, None)
    client = world.hosts[way[0].name]
    found: dict[int, float] = {}
    for number, size in enumerate((0, *sizes)):  # the first opens the connections
        began = round(number * SPAN_S * SECOND) + SECOND
        world.agenda.at(began, partial(_issue, world), client, number, size)
        world.agenda.run(began + round(SPAN_S * SECOND) - 1, 1 << 30)
        if number:
            found[size] = (arrived[number] - began) / MS
    return found


def _issue(world: World, now: Nanos, client: SimHost, number: int, size: int) -> None:
    world.step(client, Request(APP, number, 0, False, size, 0, now + round(SPAN_S * SECOND)), now)


# Computed


def computed(plan: Plan, way: Sequence[Host], size: int, *, overlap: bool = False) -> float:
    """ms, as the simulator has it, of any size: for each hop its own cost, the whole object up, the path with TCP's slow start,
    and the whole object down. `overlap`: what is through the one access link is on the other already, packet by packet."""
    links, taken = Links.of(plan), 0.0
    for source, target in pairwise(way):
        request = RouteRequest(APP, way[0].address, 1, 0, 0, False, 1, False, SECOND, 0, size)
        framed = in_frame(encoded_size(request)) + GRPC_OVERHEAD
        packets = -(-framed // MSS)
        wire = framed + packets * TCP_IP_OVERHEAD
        up, down = (8 * SECOND * wire / (rate.rate_bps or 1) for rate in (source.access.up, target.access.down))
        both = max(up, down) + min(up, down) / packets if overlap else up + down
        taken += HopCost().per_message_ns + both + Path(links, source, target).transit(packets, lambda: 0.0)
    return taken / MS
