"""`result.json`, typed: what a run came to. Other tools read it; its JSON Schema is docs/result.schema.json.

Shares are in [0, 1], latencies in milliseconds, spans in seconds, as the keys say. null: nothing was measured.
DESIGN section 7 and docs/glossary.md define every figure.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(Part):
    """Of ok requests, milliseconds."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None


class Hops(Part):
    """Overlay hops to the replica, of ok requests."""

    mean: float | None = None
    p50: float | None = None
    max: int | None = None


class Regret(Part):
    """Routing latency less the one-way delay to the best live replica, milliseconds, of clients that are no replicas."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Requests(Part):
    issued: int = 0
    ok: int = 0
    failed: int = 0
    availability: float | None = None


class Figures(Part):
    """What is said of any selection of requests: all of them, one site's, first ones, ..."""

    requests: Requests
    routing_latency_ms: Latency
    request_latency_ms: Latency
    hops: Hops
    stretch: float | None
    """Sum of routing latencies / sum of one-way delays to the best live replica, of clients that are no replicas."""
    regret_ms: Regret
    cost_of_self_organization: float | None
    """Sum of routing latencies / sum of one-way delays to a full-knowledge k-median placement of as many replicas."""


class AllRequests(Requests):
    outcomes: dict[str, int]
    """How many ended how: ok, deadline, refused."""
    attempts_mean: float | None
    """Messages that clients sent for a request."""
    shed: int = 0
    """Times that replicas and agents turned a request away for want of room, up to the last sample; others were asked then."""
    reachable: Requests
    """Of clients that had a path, both ways, to a live replica when they issued them."""


class Spread(Part):
    p50: float | None = None
    max: float | None = None


class StateEntries(Part):
    """Table entries a host holds, in steady state: samples since the workload began."""

    node: Spread = Spread()
    agent: Spread = Spread()


class ControlBytes(Part):
    """All traffic but requests and replies, sent plus received, per host and second; over hosts."""

    mean: float | None = None
    p99: float | None = None
    max: float | None = None


class FaultResult(Part):
    at_s: float
    name: str
    kind: str
    target: str
    victims: list[str]
    recovery_s: float | None
    """To the end of the last 1 s window below the availability target, before the next fault. 0: no window was below.
    null: no requests to tell by, or no recovery (see `recovered`)."""
    recovered: bool | None
    """Whether availability was back at the target before the next fault; null: no requests to tell by."""
    recovery_reachable_s: float | None
    """The same of clients that had a path to a live replica."""
    recovered_reachable: bool | None
    availability: float | None
    """Of requests issued between this fault and the next."""


class Alive(Part):
    """Hosts that ran, over time since churn began."""

    mean: float | None = None
    min: int | None = None
    max: int | None = None


class Spells(Part):
    """Sessions or absences of hosts that churn."""

    ended: int
    """By churn."""
    under_way: int
    """At the end of the run, or when something else than churn ended them."""
    median_s: float | None
    """By the product-limit estimator, which knows of those that were not seen whole; null: too few have ended."""


class Late(Part):
    """From when a departure or return was due to when it was in force, milliseconds."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None


class ChurnResult(Part):
    """Departures and returns: no faults, since nothing is to recover from one before the next."""

    text: list[str]
    """What the scenario asked for."""
    hosts: int
    """That come and go."""
    crashes: int
    power_offs: int
    returns: int
    leaves: int = 0
    """Departures in which the node said so first."""
    skipped: int
    """Departures and returns of hosts that a fault held dead, or that had died by themselves."""
    alive: Alive
    sessions: Spells
    downtimes: Spells
    late_ms: Late


class Shipping(Part):
    """Files of a service on their way to hosts that had none of them."""

    count: int = 0
    """Hosts that got them."""
    bytes: int = 0
    """Transferred over the emulated network, broken attempts included; TCP and IP come on top."""
    time_s: Spread = Spread()
    """From when they were wanted to when they lay there unpacked."""


class ServiceResult(Part):
    """A user's program (docs/services.md), over all hosts."""

    app: str
    hosts: int
    """That ran it."""
    started: int
    stopped: int
    """Because the host was no replica any more, or the program was not healthy."""
    ended: int
    """By themselves."""
    failed: int
    """That could not be started."""
    start_s: Spread
    """From start to healthy."""
    ready_s: Spread
    """From the host's becoming a replica to its taking requests: what a new replica costs in time, shipping included."""
    files_bytes: int
    """What one new replica costs in bytes: the service's files, packed."""
    shipped: Shipping


class FloodResult(Part):
    """Requests that hosts were flooded with; they count in no other figure."""

    name: str
    at_s: float
    targets: list[str]
    sources: list[str]
    issued: int
    ok: int
    refused: int


class ExpectationResult(Part):
    name: str
    target: float
    actual: float | None
    ok: bool
    op: str
    figure: str
    note: str = ""


class RttError(Part):
    p50: float | None = None
    p99: float | None = None


class AskedAndMeasured(Part):
    asked: float
    measured: float | None


class GatePair(Part):
    """A pair of hosts before the workload: medians of its echoes' round trip and of both ways, ms."""

    source: str
    target: str
    asked_ms: float
    measured_ms: float | None
    there_ms: AskedAndMeasured
    back_ms: AskedAndMeasured
    tolerance_ms: float
    """Of the round trip."""
    loss: AskedAndMeasured
    """Shares of the echoes."""
    echoes: int
    ok: bool
    wrong: str
    """In a line what is beyond tolerance."""


class GateRate(Part):
    """One way between two hosts before the workload: what its access links let through, bits of IP packets per second."""

    source: str
    target: str
    asked_bps: int
    measured_bps: float | None
    """None: no train of packets told, the machine being too busy."""
    ok: bool
    wrong: str


class Gate(Part):
    """The fidelity gate: links measured before any node was booted."""

    setting: Literal["stop", "annotate"]
    ok: bool
    seconds: float
    """That it took."""
    pairs: list[GatePair]
    rates: list[GateRate] = Field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """All that is not as asked for, a line each."""
        return [wrong for wrong in (*(pair.wrong for pair in self.pairs), *(rate.wrong for rate in self.rates)) if wrong]


class Fidelity(Part):
    """Measured against asked-for round trips, on sampled pairs of hosts; `pairs` 0: not measured (sim has nothing to)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    pairs: int = 0
    rtt_error_ms: RttError = RttError()
    gate: Gate | None = None
    """None: not measured before the workload."""


class InvalidSpan(Part):
    from_s: float
    to_s: float
    reason: str


class Validity(Part):
    ok: bool
    reasons: list[str] = Field(default_factory=list)
    spans: list[InvalidSpan] = Field(default_factory=list)
    """When, for plots; a reason about the whole run has none."""
    setting: Literal["strict", "exclude", "annotate"] = "strict"
    notes: list[str] = Field(default_factory=list)
    """Limits that were passed without making the run invalid, by the setting."""
    excluded_requests: int = 0
    """That count in no figure: under way while the machine was too busy."""


class SiteResult(Part):
    site: str
    hosts: int
    clients: int
    requests: Requests
    reachable: Requests
    routing_latency_ms: Latency
    request_latency_ms: Latency


class AppResult(Part):
    app: str
    replicas_wanted: int
    """With `replicas: auto` as many as there are, within the bounds."""
    replicas_live: int
    """At the end."""
    figures: Figures


class AppUtility(Part):
    """What one application was worth to its users, in the unit of its `worth`."""

    app: str
    worth: float
    floor: int
    """Hosts that it was promised."""
    mean: float | None
    """Over the windows in which its clients asked; null: they never did."""
    share: float | None
    """Mean / worth."""
    least: float | None
    """Of any window."""
    windows: list[float | None]
    """Of `UtilityResult.width_s` each, from the start on; null where nobody asked."""
    hosts: list[tuple[float, int]]
    """(s, hosts that serve it from then on), as its stewards decided."""
    follow_s: float | None = None
    """From when more clients began to ask for it until its hosts had risen half as far as they rose while those asked: of several
    such crowds the longest; null: there was none, or none that its hosts rose for."""
    short_s: float | None = None
    """For so long it held fewer hosts than promised, as its stewards decided, since it first held as many; null: it never did."""


class UtilityResult(Part):
    """Of applications that say what they are worth (docs/utility.md)."""

    share: float | None
    """All their utility / all they could have been worth."""
    width_s: int
    apps: list[AppUtility]
    follow_s: float | None = None
    """The longest of all applications' ..."""
    short_s: float | None = None
    """... and the sum of these; null if it is so of any."""


class Violation(Part):
    """A register whose history no order of its operations explains."""

    key: int
    stuck_at: list[str]
    """Operations of which none can come next, after the longest order that was found to be possible."""


class AppConsistency(Part):
    """What clients of one application were promised of its data, and whether it was kept."""

    app: str
    mode: str
    operations: int
    """Reads and writes recorded, of all clients."""
    keys: int
    violations: int | None
    """Keys for which it was not kept; null: none was found, but not all could be judged."""
    undecided: int
    """Keys whose history has too many operations at once to be judged."""
    unheard: int
    """Writes of which the client never heard: they may have happened or not."""
    stale: int = 0
    """Reads that missed a write that had been acknowledged before they began, ..."""
    stalest_s: float = 0.0
    """... and for how long at most it had been."""
    violated: list[Violation] = Field(default_factory=list)
    """The first of them."""


class AppShards(Part):
    """Where the shards of one application's keys were (docs/shards.md)."""

    app: str
    shards: int
    copies_wanted: int
    """Of each shard at least."""
    copies_min: int
    """Of the last table that was decided on, and likewise ..."""
    copies_mean: float
    copies_max: int
    hottest_copies: int
    """... of the shard that was asked for most in the last quarter of requests."""
    hottest_share: float
    """Of all requests, those for the shard that was asked for most."""
    domains_min: int
    """The least number of failure domains, as far as the steward could tell, in which a shard was, by the last table."""
    tables: int
    """Decided on."""
    moves: int
    """Copies of shards that were made, after the first table."""
    fullest_share: float
    """Of all entries held at the end, those of the host that held most."""
    keys: int
    """Written and acknowledged at least 5 s before the end."""
    lost_keys: int
    """Of them, those that no live host held at the end, ..."""
    lost: float
    """... as a share."""


class ShardsResult(Part):
    """Of applications whose keys are divided among their replicas."""

    lost: float
    """Share of keys that are gone, of all of them together."""
    moves: int
    """Of all of them."""
    hottest_copies: int
    """The least of any, and so is ..."""
    domains_min: int
    apps: list[AppShards]


class ConsistencyResult(Part):
    """Of applications that promise something of data that change (docs/data.md)."""

    violations: int | None
    """All of them together; null: none was found, but not all could be judged."""
    apps: list[AppConsistency]


class Within(Part):
    """Over updates, seconds; null: not by the end, or there is none."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None


class MeshDegree(Part):
    """Links of replicas with each other."""

    mean: float | None = None
    """Of the live ones at the end."""
    max: int | None = None
    """Of any of them at any time."""


class SpreadFigures(Part):
    """What became of updates, each a write that a replica told the others of.

    An update is to reach every replica that served when it was published and did for 10 s more, or until it came.
    Those published in the last 10 s are not judged.
    """

    published: int
    judged: int
    lost: int
    """Of the judged: whoever published it fell silent within 10 s, and nobody else ever had it. These count no further."""
    reached: float | None
    """Of all pairs of an update and a replica that it was to reach, the share in which it did, by the end."""
    unreached: int
    """Pairs in which it did not."""
    within_s: Within
    """Until 99.9% of those to be reached had it (of less than a thousand that is all of them)."""
    all_s: Within
    """Until all had it."""
    copies: float | None
    """Updates sent / updates that came to others than the publisher: 1 is the least. Of all updates, up to the last sample."""
    links: MeshDegree


class AppSpread(SpreadFigures):
    """Of one application."""

    app: str
    bound: float
    """Asked for: the way over the mesh / the direct one."""
    bytes: int
    """Published."""
    needless: int
    """Updates that came where they had come before."""


class SpreadResult(SpreadFigures):
    """Of the applications whose replicas tell each other of writes (docs/spread.md), all together."""

    apps: list[AppSpread]


class Result(Part):
    """The whole of `result.json`."""

    format: Literal[1] = 1
    verdict: Literal["pass", "fail", "invalid"]
    scenario: str
    seed: int
    plan_digest: str
    runtime: str
    links: str
    hosts: int
    agents: int
    """Live agents at the end."""
    replicas: int
    """Live replicas at the end, of all applications together."""
    duration_s: float
    wall_s: float | None
    requests: AllRequests
    routing_latency_ms: Latency
    request_latency_ms: Latency
    hops: Hops
    stretch: float | None
    """As in `Figures`, which says what the three are."""
    regret_ms: Regret
    cost_of_self_organization: float | None
    state_entries: StateEntries
    control_bytes_per_s: ControlBytes
    faults: list[FaultResult]
    churn: ChurnResult | None = None
    expectations: list[ExpectationResult]
    fidelity: Fidelity
    validity: Validity
    first_requests: Figures
    """Each client's first to an application: no cache could help."""
    repeat_requests: Figures
    """All others."""
    by_route: dict[str, Figures]
    """self, direct (from the client's cache of replicas), agent; and none for requests without an answer."""
    by_site: list[SiteResult]
    """By the client's site."""
    by_app: list[AppResult]
    utility: UtilityResult | None = None
    """None: no application has one."""
    consistency: ConsistencyResult | None = None
    """None: no application promises anything."""
    spread: SpreadResult | None = None
    """None: replicas of no application tell each other of writes."""
    shards: ShardsResult | None = None
    """None: no application has any."""
    floods: list[FloodResult] = Field(default_factory=list)
    services: list[ServiceResult] = Field(default_factory=list)
    """Of applications that a user's own program serves."""
    topology: str
    facts: dict[str, Any]
    """What the runtime says of itself: kernel, why these links, the hop cost given to sim and where it came from."""
    died: list[str]
    """Hosts that ended by themselves: a fault of the node, not of the timeline."""
    versions: dict[str, str]
    started_at: str | None
    command: str
    """Reproduces the run."""
