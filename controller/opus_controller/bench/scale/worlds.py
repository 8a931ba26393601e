"""Worlds of any number of hosts: the shipped cloud's regions with as many hosts each as it takes, made in memory."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from opus_controller.bench.worlds import APP, SECOND
from opus_controller.model.compile import plan_of_topology
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import App, Host, OverlaySettings, Plan
from opus_controller.model.scenario import find
from opus_controller.model.topology import load_topology

TOPOLOGY = "cloud-33"
LEAST, MOST = 60, 1_000_000
RAMP_S = 60.0
"""Hosts boot one after the other within so long: nobody starts a million processes in one instant."""
HOSTS_A_SEED = 10_000
"""Ways in that everybody is told of: one for so many hosts, three at least, as who asks for an agent asks one of them."""
HOSTS_A_REPLICA = 1_000
BUDGET = 32
"""Bytes/s of control traffic for a node, at which leases are three times as seldom as `lease_interval` says (`budget`) ..."""
LEASE: Final = 5 * SECOND
"""... every 15 s, that is, and measure less."""
LEASE_TIMEOUT: Final = 9 * LEASE + SECOND
"""Three missed leases and one second, as NodeConfig has it for its own interval."""
KNOWN_AGENTS = 5
"""Ways in that a node remembers besides its agent. 14 by default, for the loss of half of all hosts at once; here hosts go one by
one."""


@dataclass(frozen=True)
class Size:
    """Of one run."""

    hosts: int
    replicas: int | None = None
    """None: one for each HOSTS_A_REPLICA hosts, three at least."""
    minutes: float = 10.0
    depth: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        if not LEAST <= self.hosts <= MOST:
            raise ScenarioError(f"--hosts {self.hosts}; allowed for scale: numbers from {LEAST} to {MOST} with commas between")
        if self.replicas is not None and self.replicas > self.hosts:
            raise ScenarioError(f"--replicas {self.replicas}; allowed: at most as many as there are hosts, {self.hosts}")

    @property
    def m(self) -> int:
        return self.replicas if self.replicas is not None else max(3, self.hosts // HOSTS_A_REPLICA)

    @property
    def nodes_per_agent(self) -> int:
        """The depth-th root of the number of hosts, as NodeConfig advises."""
        root: float = self.hosts ** (1 / self.depth)
        return max(4, round(root))


def plan_of(size: Size) -> Plan:
    """Hosts are named by their addresses, ordered by site; every host may serve."""
    topology = load_topology(find("topologies", TOPOLOGY))
    like, given = topology.hosts[0], set(Host.model_fields)
    ramp = Random(f"{size.seed}/scale/boot")
    sites = [site.name for site in topology.sites]
    hosts = []
    for index in range(size.hosts):
        address = address_of(index)
        hosts.append(
            Host.model_construct(
                given,  # one set for all: a host of its own would be four times as large
                name=address,
                index=index,
                site=sites[index * len(sites) // size.hosts],
                group=like.group,
                address=address,
                access=like.access,
                abilities=like.abilities,
                boot_at_ns=int(ramp.random() * RAMP_S * SECOND),
            )
        )
    seeds = seeds_of(size)
    for index in seeds:
        hosts[index] = hosts[index].model_copy(update={"boot_at_ns": 0})
    base = plan_of_topology(topology, seed=size.seed, apps=[App(name=APP, replicas=size.m)], duration_ns=duration_of(size))
    overlay = OverlaySettings(
        depth=size.depth,
        nodes_per_agent=size.nodes_per_agent,
        lease_interval=LEASE,
        lease_timeout=LEASE_TIMEOUT,
        control_budget=BUDGET,
        known_agents=KNOWN_AGENTS,
    )
    changes = {"hosts": tuple(hosts), "seeds": tuple(hosts[index].name for index in seeds), "overlay": overlay}
    return base.model_copy(update=changes)


def duration_of(size: Size) -> int:
    return round(size.minutes * 60 * SECOND)


def seeds_of(size: Size) -> tuple[int, ...]:
    """Evenly over the hosts, and so over the sites."""
    count = max(3, size.hosts // HOSTS_A_SEED)
    return tuple((2 * turn + 1) * size.hosts // (2 * count) for turn in range(count))


def address_of(index: int) -> str:
    """Of 10.0.0.0/8 (RFC 1918), which has room for all of them; nothing is ever bound to it."""
    block, last = divmod(index, 254)
    return f"10.{block >> 8}.{block & 255}.{last + 1}"
