"""The plan: a scenario with every random choice already made. Immutable; the same bytes for every runtime.

Hosts are named ("use1-3") everywhere a person looks; their node's identity is `address`. Times are integer nanoseconds
since the run's origin, the instant at which the runtime boots the first node.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from opus_controller.model.shapes import AccessLink, Frozen, HostChange, PathShape, ShapeChange

HostName = str
SiteName = str


class HostAbilities(Frozen):
    cpu: float = Field(default=1.0, gt=0)
    memory: int = Field(default=256 << 20, gt=0)
    storage: int = Field(default=1 << 30, gt=0)
    bandwidth: int = Field(default=100_000_000, gt=0)
    processes: int = Field(default=256, gt=0)
    """And threads, at most. Enforced where hosts are containers; no node is told."""


class Host(Frozen):
    name: HostName
    index: int
    """Position in `Plan.hosts`."""
    site: SiteName
    group: str
    address: str
    """In 198.18.0.0/15 (RFC 2544)."""
    access: AccessLink
    abilities: HostAbilities
    boot_at_ns: int = 0


class PathTable(Frozen):
    """Shapes between sites: `shapes[index[i][j]]` from site i to site j (i = j: within a site).

    A host-by-host topology is one whose sites have one host each.
    """

    shapes: tuple[PathShape, ...]
    index: tuple[tuple[int, ...], ...]


class Files(Frozen):
    """A service's files (`model.bundle`), which the run's directory keeps as services/<digest>.tar."""

    path: str
    """Of the directory, as the scenario names it."""
    digest: str
    size: int
    """Bytes of the tar, which is what travels."""
    files: int


class Service(Frozen):
    """A user's program that serves an application (docs/services.md)."""

    command: tuple[str, ...] = ()
    """With placeholders {port}, {address}, {files}, {data}."""
    image: str = ""
    """In place of a command."""
    port: int
    protocol: Literal["http", "tcp"]
    health_path: str
    health_every_ns: int
    health_timeout_ns: int
    health_failures: int
    start_ns: int
    """A started program that is not healthy by then is started anew."""
    request: str
    """What a request of the workload asks; {key} is its key."""
    gateway: int
    """Port on every host's 127.0.0.1."""
    deadline_ns: int
    files: Files | None = None
    model_start_ns: int
    model_answer_ns: int
    """What the simulator takes for the time to start and to answer."""


class Utility(Frozen):
    """What an application is worth, by what its users feel: piecewise linear through (x, share of `worth`), flat outside.

    The shares of those parts that have points are combined: multiplied, or the least of them.
    """

    worth: float = Field(ge=0)
    combine: Literal["product", "least"]
    floor: int = Field(default=0, ge=0)
    """Hosts that it is promised."""
    latency_quantile: float | None = Field(default=None, gt=0, lt=1)
    latency_ns: tuple[tuple[int, float], ...] = ()
    """At that quantile of answered requests."""
    availability: tuple[tuple[float, float], ...] = ()
    throughput_per_s: tuple[tuple[float, float], ...] = ()
    """Requests answered, of all clients."""


class Later(Frozen):
    """Of what has got fields since plans exist: where these say nothing, a plan's bytes are as if there were no such thing."""

    LATER: ClassVar[tuple[str, ...]]

    @model_serializer(mode="wrap")
    def _without_nothing(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = dumped(self)
        for name in self.LATER:
            if getattr(self, name) == type(self).model_fields[name].default:
                found.pop(name, None)
        return found


class App(Later):
    LATER = (
        *("utility", "memory", "storage", "consistency", "staleness_ns", "missed", "static", "members", "spread"),
        *("shards", "copies"),
    )

    name: str
    replicas: int = Field(ge=1)
    """m; the least, with `most`."""
    most: int = Field(default=0, ge=0)
    """Above 0: the overlay measures how many are needed, up to so many."""
    availability: float = Field(default=0.999, ge=0, le=1)
    """With `most`: what must be expected though members die."""
    policy: str = "best"
    """Which hosts serve, one of opus_node.core.placement.POLICIES."""
    service: Service | None = None
    """None: the nodes themselves answer."""
    service_time_ns: int = Field(default=0, ge=0)
    """What a request takes on one core, emulated: a host answers cores / this. 0: nothing."""
    queue_ns: int = Field(default=250_000_000, ge=0)
    """A request that would wait longer for its turn at a replica is turned away."""
    choice: str = "latency"
    """How a request's replica is chosen: opus_node.core.choice, or an entry point of the group opus.choices."""
    hedge_ns: int = Field(default=0, ge=0)
    """Without an answer for so long, a second replica is asked; 0: never."""
    utility: Utility | None = None
    """None: nobody said what it is worth."""
    memory: int = Field(default=0, ge=0)
    """Bytes that a host must have to serve it ..."""
    storage: int = Field(default=0, ge=0)
    """... and bytes of storage."""
    consistency: str = ""
    """What clients are promised of data that change, one of opus_node.core.types.CONSISTENCIES, or nothing."""
    staleness_ns: int = Field(default=5_000_000_000, ge=0)
    """bounded: a read may miss what was written during so long before it ..."""
    missed: int = Field(default=-1, ge=-1)
    """... and at most so many writes; -1: any number."""
    static: bool = False
    """Its members stay who they were at first."""
    members: tuple[HostName, ...] = ()
    """Who they are at first; empty: the overlay chooses them."""
    spread: float = Field(default=0.0, ge=0)
    """Above 1: replicas tell each other of writes, on ways at most so much longer than the direct ones (docs/spread.md)."""
    shards: int = Field(default=0, ge=0)
    """eventual: keys are divided into so many, each held by some members; 0: all members hold all keys."""
    copies: int = Field(default=3, ge=1)
    """With shards: of each at least."""

    @property
    def by_majority(self) -> bool:
        """Whether nothing is answered where a majority of those who keep its data is out of reach."""
        return self.consistency not in ("", "eventual")


class OverlaySettings(Later):
    """Overrides of `opus_node.core.types.NodeConfig`, by the same names; None keeps the core's default."""

    LATER = ("protocol", "neighbours", "upkeep", "proximity")

    lease_interval: int | None = None
    lease_timeout: int | None = None
    depth: int | None = None
    nodes_per_agent: int | None = None
    near_enough: int | None = None
    known_agents: int | None = None
    probe_interval: int | None = None
    indirect_probes: int | None = None
    suspicion_periods: int | None = None
    timeout_rtts: float | None = None
    timeout_slack: int | None = None
    wave: int | None = None
    load_staleness: int | None = None
    control_budget: int | None = None
    direct: bool | None = None
    protocol: str | None = None
    neighbours: int | None = None
    upkeep: int | None = None
    proximity: bool | None = None


class Workload(Later):
    """Open-loop Poisson requests of one client host; arrivals and keys come from `seed` alone (opus_node.workload)."""

    client: HostName
    app: str
    seed: str
    rate_per_s: float = Field(gt=0)
    start_ns: int
    stop_ns: int
    deadline_ns: int
    """From issue; a request unanswered by then has failed."""
    keys: int = Field(ge=1)
    zipf: float = Field(ge=0)
    """Exponent; 0 is uniform."""
    write_share: float = Field(default=0.0, ge=0, le=1)
    request_bytes: int = Field(default=100, ge=0)
    reply_bytes: int = Field(default=1000, ge=0)
    first_key: int = Field(default=0, ge=0)
    """The most popular."""

    LATER = ("first_key",)


Role = Literal[
    "",
    "replica",
    "replicas",
    "replicas-but-one",
    "agent",
    "agent-of",
    "busiest-agent",
    "busiest-replica",
    "steward",
    "site-without-replica",
    "busiest",
    "oldest",
    "best-connected",
]


class Target(Frozen):
    """Who is meant. `hosts` were chosen at compile time; otherwise `role` is resolved at the time by live state."""

    text: str
    """As the scenario wrote it, for reports: "a replica of web", "site sa-east-1", "20% of hosts"."""
    hosts: tuple[HostName, ...] = ()
    role: Role = ""
    """Whom to look for among the live hosts when the event is due; nobody fits: the player records the event with no victims.

    replica, agent, busiest-agent, busiest-replica, steward, agent-of: one host. replicas, replicas-but-one: all (but one) that
    serve `app`; replicas with a `share`: so many of them. busiest (requests served and routed), oldest (time since its start),
    best-connected (mean delay to all others by the plan): `count` hosts, or `share` of the live ones. site-without-replica: every
    host of one site that has clients of `app` in `Plan.workload` and no live replica of `app`; the steward's site is taken only
    if no other fits."""
    count: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, gt=0, le=1)
    of: HostName = ""
    """Of agent-of: whose."""
    app: str = ""
    """The application, where the role is about one; empty for agents and for hosts of any kind."""
    pick: float = 0.5
    """In [0, 1): which of the eligible hosts (or sites), sorted by name, when several fit the role: number
    floor(pick * how many). Drawn at compile time."""
    exclude: tuple[HostName, ...] = ()
    """Never these (a client that must stay, a seed)."""


class HostFault(Later):
    LATER = ("state",)

    kind: Literal["crash", "power-off", "leave", "restart", "pause", "resume"]
    at_ns: int
    name: str = ""
    """Label by which a later event refers to the same victims ("restart what `loss-1` killed"). Compiled plans name every
    event, no two alike."""
    target: Target
    same_as: str = ""
    """The `name` of an earlier fault whose victims these are; `target` is then only for reports."""
    state: Literal["same", "lost"] = "same"
    """Of a restart: whether a host that is dead by then keeps what lies on its disk and what it knows of its own past."""


class Partition(Frozen):
    kind: Literal["partition"]
    at_ns: int
    name: str
    a: Target
    b: Target
    """No hosts and no role: everyone else."""
    both_ways: bool = True
    """False: only packets from `a` to `b` are lost."""
    same_as: str = ""
    """The `name` of an earlier partition: `a` are the hosts that it cut off, whoever `a` would be by now."""


class Heal(Frozen):
    kind: Literal["heal"]
    at_ns: int
    name: str = ""
    """By which an expectation refers to it ("recovery_s <= 2 after heal-cut")."""
    undoes: str
    """The `name` of a partition, link change, strain or flood."""


class LinkChange(Frozen):
    """Changes the path between two sites, on top of what others have changed already; `heal` takes this change back."""

    kind: Literal["link"]
    at_ns: int
    name: str
    source: SiteName
    target: SiteName
    both_ways: bool = True
    """The same change in both directions; where they differ (an asymmetric path) they go on differing."""
    change: ShapeChange


class Strain(Frozen):
    """Takes processor, memory or bandwidth from hosts that go on living; `heal` gives it back."""

    kind: Literal["strain"]
    at_ns: int
    name: str
    target: Target
    change: HostChange
    same_as: str = ""
    """The `name` of an earlier strain: on the hosts that it hit."""


class Flood(Later):
    """Denial of service: hosts near the target ask far more than clients do, until `heal` stops them. Bounded in rate and time.

    Who asks is chosen when it is due, and recorded: of an agent, nodes that are attached to it; otherwise the hosts nearest to
    the target. While they do, they are no clients: their requests count in no figure of availability or latency.
    """

    LATER = ("sources",)

    kind: Literal["flood"]
    at_ns: int
    name: str
    target: Target
    app: str
    rate_per_s: float = Field(gt=0)
    """Of all of them together."""
    until_ns: int
    """The end at the latest."""
    sources: tuple[HostName, ...] = ()
    """Who asks, where that is known beforehand: in an earlier run they were chosen."""


Fault = Annotated[HostFault | Partition | Heal | LinkChange | Strain | Flood, Field(discriminator="kind")]


class Life(Frozen):
    """A host in the middle of its life at the origin, in a plan with churn. Every host of the plan has one."""

    host: HostName
    up: bool = True
    left_by: Literal["", "crash", "power-off", "leave"] = ""
    """How an absent host left: after a crash or a leave its kernel refuses, after a power-off there is silence."""
    age_ns: int = Field(default=0, ge=0)
    """For how long it has been up, or absent, at the origin. Hosts that never leave are as old as the oldest of the others."""
    sessions: int = Field(default=0, ge=0)
    """Ended before, as far as it remembers; `up_ns` and `away_ns` are their sum and that of the absences between them."""
    up_ns: int = Field(default=0, ge=0)
    away_ns: int = Field(default=0, ge=0)
    churns_from_ns: int | None = None
    """From when on it leaves and returns (until then it is kept as it is); None: it never does."""


class ChurnEvent(Frozen):
    at_ns: int
    kind: Literal["crash", "power-off", "leave", "return"]
    hosts: tuple[HostName, ...]
    """Several: a region's outage takes them all in the same instant."""


class Churn(Frozen):
    """Hosts come and go by themselves. All of it was drawn, or read from a trace, when the plan was compiled."""

    text: tuple[str, ...]
    """What the scenario asked for, one line for each of its entries."""
    lives: tuple[Life, ...]
    """In the order of `Plan.hosts`."""
    events: tuple[ChurnEvent, ...]
    """In order of time."""


class Expectation(Frozen):
    """A figure of `result.json` and the bound it must keep."""

    name: str
    """As the scenario wrote it: "availability >= 99.9% outside 2s after faults where reachable"."""
    figure: str
    """availability, routing_latency_ms.p50, hops.max, recovery_s.max, ..."""
    op: Literal["<=", ">=", "=="]
    bound: float
    """In the figure's unit as result.json has it (a share, ms, s)."""
    app: str = ""
    site: str = ""
    """Of requests, where their clients are."""
    outside_faults_ns: int | None = None
    """Leave out requests issued in this span after each fault; of state and control bytes, samples and the time between them."""
    outside_churn: bool = False
    """Departures and returns by churn count as faults for `outside_faults_ns`, too."""
    reachable: bool = False
    """Count only requests whose client had a path to a live replica when it issued them."""
    fault: str = ""
    """For recovery_s: only the recovery from the timeline's event of this `name`; empty: from every one. The level of
    availability that counts as recovered is `Plan.availability_target`."""


class Place(Frozen):
    """Where a site is, in degrees; for maps only, delays are in the paths."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class Plan(Frozen):
    format: Literal[1] = 1
    name: str
    seed: int
    topology: str
    duration_ns: int
    """End of the timeline; requests still open then are waited for until their deadline."""
    sites: tuple[SiteName, ...]
    places: tuple[Place | None, ...] = ()
    """Of each site, where the topology tells; as long as `sites`."""
    hosts: tuple[Host, ...]
    paths: PathTable
    seeds: tuple[HostName, ...]
    """The first ways in; they start as agents."""
    apps: tuple[App, ...]
    overlay: OverlaySettings = OverlaySettings()
    workload: tuple[Workload, ...] = ()
    timeline: tuple[Fault, ...] = ()
    churn: Churn | None = None
    expectations: tuple[Expectation, ...] = ()
    availability_target: float = Field(default=0.999, ge=0, le=1)
    """Recovery from a fault ends with the last 1 s window whose availability is below this (DESIGN section 7)."""
    fidelity: Literal["stop", "annotate", "skip"] = "stop"
    """What becomes of the run if the links, measured on sampled pairs before the workload, are not what was asked for."""
    validity: Literal["strict", "exclude", "annotate"] = "strict"
    """What becomes of spans in which the machine was too busy: the run is invalid, their requests are left out, or they are only
    marked."""

    @property
    def absent(self) -> tuple[HostName, ...]:
        """Hosts that are not there at the origin: no runtime starts them before their first return."""
        return tuple(life.host for life in self.churn.lives if not life.up) if self.churn else ()

    def canonical(self) -> bytes:
        """The one byte form: JSON, keys in the order declared, no spaces, defaults written out, newline at the end."""
        return (json.dumps(self.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False) + "\n").encode()

    @property
    def digest(self) -> str:
        """sha256 of `canonical()`, the plan's identity."""
        return hashlib.sha256(self.canonical()).hexdigest()
