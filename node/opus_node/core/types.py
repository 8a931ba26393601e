"""The few words every part of the core shares: identities, time, what a host can do, what an application asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any, Final, cast

from opus_node.core.utility import Utility

NodeId = str
"""A node's identity is its emulated address ("198.18.0.7"): a peer that knows the name can dial it, so no address book exists."""

AppId = str
"""An application's name, as in the scenario."""

Nanos = int
"""Nanoseconds. As a point in time: since the run's origin. Never a float, never backward."""

MICROSECOND: Final[Nanos] = 1_000
MILLISECOND: Final[Nanos] = 1_000_000
SECOND: Final[Nanos] = 1_000_000_000


NOTHING: Final[dict[Any, Any]] = cast(dict[Any, Any], MappingProxyType({}))
"""In place of a table of one's own while nothing is in it: of most parts of most nodes that is always, and one for all takes no
room. Whoever writes replaces it first; who forgets that gets a TypeError."""


NONE_OF_THEM: Final[frozenset[str]] = frozenset()
"""The same for names of applications."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a host can give ("from each according to his abilities", the paper)."""

    cpu: float = 1.0
    """Cores."""
    memory: int = 256 << 20
    """Bytes."""
    storage: int = 1 << 30
    """Bytes."""
    bandwidth: int = 100_000_000
    """Bits per second, the lesser of up and down."""


OPUS, CHORD, PASTRY, KADEMLIA, ONE_HOP = "opus", "chord", "pastry", "kademlia", "one-hop"
PROTOCOLS = (OPUS, CHORD, PASTRY, KADEMLIA, ONE_HOP)
"""Overlays behind the same door: this one, and those that it is compared with (`opus_node.baselines`)."""
BEST = "best"
CONSISTENCIES = ("linearizable", "write-all", "primary", "bounded", "eventual")
LINEARIZABLE, WRITE_ALL, PRIMARY, BOUNDED, EVENTUAL = CONSISTENCIES
"""How an application's registers are kept, what is promised by each: `data.rules`."""


@dataclass(frozen=True, slots=True)
class AppConfig:
    """One application as every node is told of it at boot: its name and its targets, never who serves it."""

    name: AppId
    replicas: int = 3
    """m, the number of replicas the steward keeps; the least, with `most`."""
    program: bool = False
    """Whether a user's program beside the node answers requests (`events.Serve`), not the node itself."""
    service_time: Nanos = 0
    """What one request takes on one core, emulated (`work`): a host answers cores / service_time a second. 0: nothing. A steward
    takes it for what a request costs until that is measured (`costs`)."""
    memory: int = 0
    """Bytes that a host must have to serve it ..."""
    storage: int = 0
    """... and bytes of storage."""
    queue: Nanos = 250 * MILLISECOND
    """Load limit: a replica turns a request away that would wait longer than this for its turn."""
    choice: str = "latency"
    """How a request's replica is chosen, by name (`choice.CHOICES`)."""
    choose: Callable[[Sequence[Any], Random], int] | None = None
    """A function of the user's own (`choice.Choice`) in its place."""
    hedge: Nanos = 0
    """A request without an answer for so long is asked of a second replica too, the first answer counts; 0: never."""
    policy: str = BEST
    """How members are chosen, one of `placement.POLICIES`."""
    agents_serve: bool = False
    """Whether an agent may be a replica too; otherwise only where there is nobody else."""
    most: int = 0
    """Above 0: the steward measures how many are needed (`sizing`), up to so many. 0: always `replicas`."""
    availability: float = 0.999
    """With `most`: the share of requests that must be expected to be answered though members die."""
    utility: Utility | None = None
    """What it is worth, by what its users feel; None: nobody said so."""
    floor: int = 0
    """With a utility: hosts that it is promised."""
    spread: float = 0.0
    """Above 1: replicas tell each other of writes, on ways that are at most so much longer than the direct ones (`mesh`)."""
    consistency: str = ""
    """One of CONSISTENCIES: its keys are registers that the replicas keep (`data`). Empty: it holds no data that change."""
    staleness: Nanos = 5 * SECOND
    """With BOUNDED: a read may miss what was written during so long before it ..."""
    missed: int = -1
    """... and at most so many writes; -1: any number."""
    static: bool = False
    """Its members stay who they were at first, whatever becomes of them."""
    members: tuple[NodeId, ...] = ()
    """Who they are at first, of static ones the primary first; empty: the steward chooses them."""
    shards: int = 0
    """With EVENTUAL: its keys are divided into so many, each held by some of the replicas only (`shards`); 0: all hold all."""
    copies: int = 3
    """With shards: so many members hold each at least."""

    @property
    def divided(self) -> bool:
        """Whether its hosts are given to it by what they are worth, in competition with other applications (`division`)."""
        return self.utility is not None and self.policy == BEST

    @property
    def measured(self) -> bool:
        """Whether its steward has a use for what a request costs (`costs`): it sizes the set, or divides hosts, by it."""
        return self.most > 0 or self.divided

    def fits(self, memory: int, storage: int) -> bool:
        """Whether a host with so many bytes of each has what a replica needs."""
        return memory >= self.memory and storage >= self.storage


@dataclass(frozen=True, slots=True)
class History:
    """What a host's own clock and disk tell its node when it starts: its past, nothing of its future or of another host."""

    age: Nanos = 0
    """For how long the host had been up when the node started: above 0 where a run begins in the middle of its hosts' lives."""
    sessions: int = 0
    """Before this one, as far as the host remembers."""
    up: Nanos = 0
    """Their sum."""
    away: Nanos = 0
    """The sum of the absences after them."""


HARD_CAP = 32
"""Times `nodes_per_agent`."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of the overlay. Every default says where it comes from; times in nanoseconds."""

    apps: tuple[AppConfig, ...] = ()
    abilities: Abilities = Abilities()
    history: History = History()

    lease_interval: Nanos = 5 * SECOND
    """Between a node's heartbeats to its agent."""
    lease_timeout: Nanos = 16 * SECOND
    """An agent forgets a node after this silence: three missed leases and one second."""

    depth: int = 2
    """Levels of the hierarchy. 1: every node is an agent, and knows all others; 2: nodes and agents; 3: zones of agents, each
    under a head; 4: zones of heads, too."""
    nodes_per_agent: int = 22
    """The cap at which an agent promotes another, on each level. It should be near the depth-th root of n."""
    near_enough: Nanos = 20 * MILLISECOND
    """A node whose round trip to its agent exceeds this wants a nearer one; its agent may promote one ("agents by need")."""
    known_agents: int = 14
    """Other ways in that a node remembers: at the loss of half of all hosts 15 ways strand 0.002 % of nodes, 4 strand 6 %."""

    probe_interval: Nanos = 1 * SECOND
    """SWIM's protocol period among agents."""
    indirect_probes: int = 3
    """SWIM's k: members asked to probe on one's behalf."""
    suspicion_periods: int = 4
    """Suspicion lasts this many probe intervals x log10(max(10, agents)), as in memberlist."""

    timeout_rtts: float = 1.5
    """A hop is silent after this many estimated round trips ..."""
    timeout_slack: Nanos = 30 * MILLISECOND
    """... plus this, for scheduling at the far end (1.5 RTT + 30 ms was good on the PlanetLab matrix)."""
    wave: int = 4
    """How many backups are tried at once after a silent agent."""

    load_staleness: Nanos = 5 * SECOND
    """What was heard of a replica's load counts for so long, then half, and half of that after as long again."""

    control_budget: int = 100
    """Bytes/s of control traffic, sent and received, that a node may cost once it has settled; an agent one and a half times as
    much for each of its nodes, a replica two and a half times (`budget`). 100 is what DESIGN's figures ask for."""

    direct: bool = True
    """Whether a node caches replicas from replies and goes to them directly (one hop) while they answer."""

    protocol: str = OPUS
    """The overlay, one of PROTOCOLS; what follows is for the others, the settings above for Opus but `wave` and time-outs."""
    neighbours: int = 0
    """Chord's successors, Pastry's leaf set, Kademlia's k. 0: as many as the protocol's paper has (`baselines`)."""
    upkeep: Nanos = 0
    """Between two rounds of maintenance: the knob that trades bytes for freshness. 0: the protocol's own."""
    proximity: bool = True
    """Whether entries that may be any of several nodes are the nearest of some (proximity neighbour selection)."""

    @property
    def nodes_most(self) -> int:
        """An agent accepts no more (while others are promoted): its tables are bounded."""
        return HARD_CAP * self.nodes_per_agent
