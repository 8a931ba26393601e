"""What nodes tell each other: frozen dataclasses, mapped to protobuf field by field (`proto/opus_proto/v1/overlay.proto`).

A message class and its protobuf message have the same name and the same field names; `codec.py` relies on it and a test
checks every class. Field types are limited to: int, bool, float, str, tuples of str, and (tuples of) the record
classes of this file. A request's and a reply's payload is its size: the codec fills it with that many real bytes. Their
`content` is what a user's program is asked and answers, bytes that the core carries and never reads (bytes is a field
type, too).

`level` says which relation of the hierarchy a message belongs to: 0 is that of nodes to their agents, 1 that of agents to the
heads of their zones, and so on.

`REQUEST_TRAFFIC` names what does not count as control bytes (DESIGN section 7).
`DROPPABLE` says which a full queue may drop (oldest first, counted): what is repeated anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from opus_node.core.coordinates import Place
from opus_node.core.data.cells import Ballot, Config, Key, Peer, Tag, Value
from opus_node.core.quick import quicken
from opus_node.core.types import AppId, Nanos, NodeId

# Records carried inside messages


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """Who serves `app`. Ordered by (epoch, steward): the greater wins everywhere, and no two sets share both.

    An epoch's last three digits are its steward's incarnation, see `sets.next_epoch`.
    """

    app: AppId
    epoch: int
    steward: NodeId
    members: tuple[NodeId, ...]
    holders: tuple[int, ...] = ()
    """Where its keys are sharded: of each shard how many members hold it, and their positions (`shards`). Members and agents know
    them; clients are not told."""


@dataclass(frozen=True, slots=True)
class AgentHint:
    """A way in: an agent, and the round trip from whoever gives the hint to it (0: not measured)."""

    agent: NodeId
    rtt: Nanos
    at: Place = 0
    """Where the agent is, as far as whoever gives the hint has heard."""


@dataclass(frozen=True, slots=True)
class AppDelay:
    """How far an agent is from the replica it would choose for `app`, as a round trip."""

    app: AppId
    rtt: Nanos


@dataclass(frozen=True, slots=True)
class NearReplicas:
    """Replicas of `app` that are likely to be near a node, the likeliest first, as its agent guesses: worth measuring."""

    app: AppId
    replicas: tuple[NodeId, ...]
    gone: tuple[NodeId, ...] = ()
    """Who has ceased to serve since the node was last told: it may remember them, and they are about to refuse."""


@dataclass(frozen=True, slots=True)
class KeyRate:
    """Requests per second for one key (`popularity`)."""

    key: int
    rate: float


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests per second for one application."""

    app: AppId
    rate: float
    nearest: Nanos = 0
    """Round trip to the nearest replica that the node has measured; 0: none."""
    keys: tuple[KeyRate, ...] = ()
    """Those asked for most, the most popular first."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A round trip between whoever tells it and `node`."""

    node: NodeId
    rtt: Nanos


@dataclass(frozen=True, slots=True)
class Offer:
    """A node that could become an agent, and the delay that would save: round trips summed over those it would serve."""

    node: NodeId
    gain: Nanos


@dataclass(frozen=True, slots=True)
class MemberUpdate:
    """SWIM's gossip about one agent: state is alive, suspect, dead or left, at an incarnation."""

    member: NodeId
    state: str
    incarnation: int
    source: NodeId
    """Who suspects it, so that independent suspicions can be told from one that is passed on (Lifeguard); else empty."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that could serve, or already does, and what is needed at its place."""

    node: NodeId
    rtt: Nanos
    """To its agent; 0 from the agent itself."""
    age: Nanos
    cpu: float
    bandwidth: int
    at: Place = 0
    weight: int = 1
    """Its share of its agent's demand, relative to the others told of with it."""
    near: tuple[int, ...] = ()
    """What was measured: another candidate's position in the summary, the round trip to it in 0.1 ms, and so on. Positions go on
    beyond the candidates with those in `abroad`."""
    sessions: int = 0
    """It has had before this one, as far as it remembers, and ..."""
    up: Nanos = 0
    """... how long they were together."""
    unfit: bool = False
    """It lacks memory or storage to serve; what is asked for at its place counts all the same."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a replica is, by its own account (`load`); told only where answering takes time."""

    used: int
    """Per cent of what it can do that was asked of it in the last second."""
    toll: Nanos
    """How much longer a round trip a request should rather take than come here."""
    spare: int
    """Thousandths of a core that are free."""


@dataclass(frozen=True, slots=True)
class MeshLinks:
    """The links of one replica with others of its application, as it says itself; a greater `seq` replaces a smaller one."""

    origin: NodeId
    seq: int
    """Its incarnation, and 32 bits below that count."""
    links: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has come with what `source` published in its `life`: everything up to `version`."""

    source: NodeId
    life: int
    version: int


@dataclass(frozen=True, slots=True)
class Held:
    """A cell of a register: what was written last, and its tag."""

    key: Key
    tag: Tag
    value: Value
    """Of a tag that counts 0 it says nothing: the register was never written."""


# Join, attachment, leases (node <-> agent)


@dataclass(frozen=True, slots=True)
class FindAgents:
    """To any node: which agents do you know?"""

    nonce: int
    level: int = 0


@dataclass(frozen=True, slots=True)
class AgentsKnown:
    nonce: int
    agents: tuple[AgentHint, ...]
    level: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """Answer at once, the way it came; the asker measures the round trip."""

    nonce: int
    level: int = 0
    stream: bool = False
    """Through the connection that requests would take, made if there is none; otherwise by a datagram, which may be lost."""


@dataclass(frozen=True, slots=True)
class ProbeReply:
    nonce: int
    is_agent: bool
    room: int
    """How many more nodes this agent would take; negative: it is over its cap; 0 from a node that is none."""
    at: Place = 0
    """Where whoever answers is (`coordinates`)."""
    delays: tuple[AppDelay, ...] = ()
    """An agent's."""
    level: int = 0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A node's heartbeat; the first one asks to attach."""

    seq: int
    incarnation: int
    age: Nanos
    rtt: Nanos
    cpu: float
    memory: int
    storage: int
    bandwidth: int
    demand: tuple[Demand, ...]
    at: Place = 0
    spare: Nanos = 0
    """How much farther this node would be served without its agent (round trips, by its second best way in); 0: unknown."""
    measured: tuple[Measured, ...] = ()
    """What the agent asked for."""
    sets: int = 0
    """An agent's: a digest of the replica sets it knows (`sets.ReplicaSets.digest`)."""
    zone: int = 0
    """An agent's: up to which change it has heard its head's list of the zone; 0: of nothing."""
    level: int = 0
    brief: bool = False
    """What is zero or empty here is about as the lease before said (`brief`)."""
    sessions: int = 0
    """Of its host before this one, as far as that remembers, and ..."""
    up: Nanos = 0
    """... how long they were together."""


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """`accepted` False: attach elsewhere, `agents` says where. Otherwise more ways in, likeliest to be near the node first.

    Also sent unasked, with `seq` 0: there is a new agent, or (not accepted) this agent hands the node over.
    """

    seq: int
    accepted: bool
    agents: tuple[AgentHint, ...]
    at: Place = 0
    delays: tuple[AppDelay, ...] = ()
    """The agent's own; empty where nothing has changed."""
    measure: tuple[NodeId, ...] = ()
    """Other nodes of this agent: how far are they? The answer goes with the next lease, or, if `seq` is 0, with one soon."""
    near: tuple[NearReplicas, ...] = ()
    """For each application that the node uses and whose set has changed."""
    zone: tuple[MemberUpdate, ...] = ()
    """To an agent: who has come to its zone or left it since; incarnations count these changes."""
    level: int = 0
    again: bool = False
    """A brief lease from a node that this agent does not know: say everything."""


@dataclass(frozen=True, slots=True)
class Release:
    """A node has moved to another agent; courtesy, since a lease runs out anyway."""

    level: int = 0


@dataclass(frozen=True, slots=True)
class Promote:
    """From an agent to one of its nodes: become an agent; here are the others and what is agreed."""

    agents: tuple[MemberUpdate, ...]
    replica_sets: tuple[ReplicaSet, ...]
    above: tuple[NodeId, ...] = ()
    """Agents one level up, where there is such a level: ways in to it."""
    level: int = 0


# How many agents, and who (agent <-> steward of the agents)


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What another agent near this one would gain, and what this one's end would cost."""

    nodes: int
    burden: Nanos
    """Delay of its nodes, round trips to it and a share of its own to the replicas, summed (`siblings`)."""
    cost: Nanos
    """What would be added to that if it stepped down; 0: not known yet."""
    offers: tuple[Offer, ...]
    """Best first, each on top of those before it."""
    heir: tuple[Offer, ...]
    """At most one: who would serve these nodes better in its place."""
    level: int = 0


@dataclass(frozen=True, slots=True)
class AgentOrder:
    """The answer: whom to promote, whether to step down, and what an offer must bring to be worth making."""

    promote: tuple[NodeId, ...]
    step_down: bool
    bar: Nanos
    level: int = 0


# Membership among agents (SWIM + Lifeguard)


@dataclass(frozen=True, slots=True)
class Ping:
    seq: int
    updates: tuple[MemberUpdate, ...]
    replica_sets: tuple[ReplicaSet, ...]
    level: int = 0


@dataclass(frozen=True, slots=True)
class PingReq:
    seq: int
    target: NodeId
    updates: tuple[MemberUpdate, ...]
    level: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """To Ping, or, relayed, to PingReq."""

    seq: int
    updates: tuple[MemberUpdate, ...]
    replica_sets: tuple[ReplicaSet, ...]
    at: Place = 0
    delays: tuple[AppDelay, ...] = ()
    level: int = 0


@dataclass(frozen=True, slots=True)
class Nack:
    """The helper is alive, the target did not answer it (Lifeguard)."""

    seq: int
    level: int = 0


@dataclass(frozen=True, slots=True)
class Sync:
    """Push-pull anti-entropy: all that one agent knows; `reply` asks for the same back.

    With a `digest` of what the sender knows, and nothing else: whoever knows something else says all it knows, and asks.
    """

    reply: bool
    members: tuple[MemberUpdate, ...]
    replica_sets: tuple[ReplicaSet, ...]
    digest: int = 0
    level: int = 0


# Stewardship


@dataclass(frozen=True, slots=True)
class Summary:
    """An agent to the steward of `app`: its nodes in brief. Without candidates: they are as in the last one of this version."""

    app: AppId
    nodes: int
    rate: float
    version: int
    candidates: tuple[Candidate, ...]
    """The fittest first."""
    near: tuple[Measured, ...]
    """The nearest of the other agents."""
    abroad: tuple[NodeId, ...] = ()
    """Other agents' nodes that some of the candidates have measured."""
    agent: NodeId = ""
    """Whose nodes these are, if not those of whoever sends it: a head passes on what its zone's agents tell."""
    level: int = 0
    keys: tuple[KeyRate, ...] = ()
    """Those that its nodes ask for most; empty without candidates: as before."""
    shards: tuple[KeyRate, ...] = ()
    """The same of shards, as the agent has routed them; told each time."""


@dataclass(frozen=True, slots=True)
class SummaryWanted:
    """A steward to an agent, or a head: it does not have that version."""

    app: AppId
    agent: NodeId = ""
    """Of whose nodes, if the head passed them on."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A steward to an agent: how far are these from you?"""

    nodes: tuple[NodeId, ...]
    by: NodeId = ""
    """Not from the agent, but from this node of its; the answer comes with the next summaries."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The answer, without those that were silent."""

    rtts: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class Appoint:
    """The steward to a (new or old) member, and to a member that is no longer one: this is the set now.

    Idempotent, so it is also how a steward asks a silent member whether it lives; a restarted one serves again at once.
    """

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True)
class AppointReply:
    app: AppId
    epoch: int
    accepted: bool


@dataclass(frozen=True, slots=True)
class ReplicaBeat:
    """A replica to its steward: I serve."""

    app: AppId
    epoch: int
    served: int
    """Requests answered since boot; with `spent` those for `app` that it was spent on."""
    load: tuple[Load, ...] = ()
    """At most one."""
    provides: int = 0
    """Thousandths of a core that requests for `app` may have; 0 where nobody counts."""
    turned_away: int = 0
    """Requests for `app`, since boot."""
    unready: bool = False
    """Its program is not there yet, or does not answer."""
    spent: int = 0
    """Milliseconds of a core since boot, on `served`; told only where a steward sizes by it (`AppConfig.measured`)."""


@dataclass(frozen=True, slots=True)
class BeatReply:
    """The steward's answer; with a set for a replica that has another."""

    replica_sets: tuple[ReplicaSet, ...]
    app: AppId = ""


@dataclass(frozen=True, slots=True)
class ReplicaSilent:
    """An agent to the steward: this replica did not answer me. A replica of itself: it goes, and will be silent."""

    app: AppId
    epoch: int
    replica: NodeId


# Requests (client node -> agent -> replica -> client node)


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """A request under way. `hops` counts overlay hops so far; `attempt` tells a client's retries apart."""

    app: AppId
    client: NodeId
    request: int
    attempt: int
    key: int
    write: bool
    hops: int
    direct: bool
    """Sent by the client to a cached replica: whoever is no replica refuses instead of forwarding."""
    left: Nanos
    """How long its client still waits for an answer, as of its sending: two hosts' clocks do not agree."""
    reply_bytes: int
    payload: int
    """Bytes."""
    content: bytes = b""
    tags: tuple[Tag, ...] = ()
    """At most one, of a write to a register: under which it is to be committed. Without one a tag is wanted for it."""
    again: bool = False
    """The same as before, sent once more since no answer has come when one was due; it is answered alike, by a datagram."""
    ahead: bool = False
    """Passed on by an overlay whose nodes have connections with few of those to whom they pass requests on."""


@dataclass(frozen=True, slots=True)
class RouteAck:
    """Each hop acknowledges at once to the hop before it (a small `Reply` to that hop is acknowledgement enough)."""

    client: NodeId
    request: int
    attempt: int
    load: tuple[Load, ...] = ()
    """At most one: a replica's."""
    again: bool = False


@dataclass(frozen=True, slots=True)
class RouteRefuse:
    """To the hop before: I cannot (no replica known, or I am none). Try elsewhere now. From a replica to the client, past an
    agent that was told already that the request arrived: the program here could not answer."""

    client: NodeId
    request: int
    attempt: int
    reason: str
    """`BUSY`, `NOT_READY`, `NO_AGENT`, or in other words."""
    alternative: NodeId = ""
    """With BUSY: who may take it instead; a replica names a replica, an agent an agent. With NO_AGENT: the agent of who is none.
    Empty: nobody is known."""
    load: tuple[Load, ...] = ()
    """At most one: a replica's."""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """From the replica straight to the client."""

    app: AppId
    client: NodeId
    request: int
    attempt: int
    arrived_at: Nanos
    hops: int
    replica_set: ReplicaSet
    """For the client's cache of replicas."""
    payload: int
    """Bytes."""
    content: bytes = b""
    load: tuple[Load, ...] = ()
    """At most one."""
    tags: tuple[Tag, ...] = ()
    """At most one, of a register: of what was read or written, or the tag for a write that came without one."""
    again: bool = False


# Among the replicas of an application (`spread`)


@dataclass(frozen=True, slots=True)
class MeshHello:
    """Now and then to each neighbour in the mesh and to one other member: what the sender knows, as digests."""

    app: AppId
    links: int
    """Of what it was told of links (`mesh.Mesh.digest`)."""
    marks: int
    """Of how far it has come (`updates.Updates.digest`)."""


@dataclass(frozen=True, slots=True)
class MeshAsk:
    """Shall we be neighbours?"""

    app: AppId
    rtt: Nanos
    """Between the two, as whoever asks has measured."""


@dataclass(frozen=True, slots=True)
class MeshAnswer:
    """`linked` False: no, or not any more."""

    app: AppId
    linked: bool


@dataclass(frozen=True, slots=True)
class MeshNews:
    """What members say of their links, passed on. `whole`: it is all that the sender knows, and so is the answer."""

    app: AppId
    told: tuple[MeshLinks, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """What a replica has published, to be delivered in order of `version`."""

    app: AppId
    source: NodeId
    life: int
    """The source's incarnation; versions begin anew with 1 in each."""
    version: int
    after: int
    """Whoever has come so far may deliver it: the version before, or an earlier one, where nothing in between is kept."""
    content: bytes
    payload: int = 0
    """Bytes besides, of a write that has a size and no content."""

    @property
    def size(self) -> int:
        """Bytes of what was published."""
        return len(self.content) + self.payload


@dataclass(frozen=True, slots=True)
class Have:
    """The sender has delivered so much. It acknowledges updates, and says what could be asked for."""

    app: AppId
    marks: tuple[Mark, ...]
    whole: bool = False
    """Of every source it knows."""


@dataclass(frozen=True, slots=True)
class Want:
    """Send what comes after these."""

    app: AppId
    marks: tuple[Mark, ...]


# Among those who keep an application's registers (`data`)


@dataclass(frozen=True, slots=True)
class Data:
    """One of the questions and answers of `data.cells`, which `data.wire` packs into this and unpacks."""

    app: AppId
    kind: str
    """The name of its class in small letters; of what follows only that class's fields are set."""
    number: int = 0
    op: int = 0
    key: Key = ""
    ballots: tuple[Ballot, ...] = ()
    configs: tuple[Config, ...] = ()
    peers: tuple[Peer, ...] = ()
    cells: tuple[Held, ...] = ()
    count: int = 0
    spans: tuple[Nanos, ...] = ()
    more: bool = False
    shard: int = 0
    """Which one it is about, where keys are sharded."""


# What the overlays that Opus is compared with tell each other (`opus_node.baselines`)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to one node; whoever is there answers with `Told`."""

    nonce: int
    what: str
    """Which part of its tables: one of the protocol's words. Empty: only whether it is there."""
    key: int = 0
    nodes: tuple[NodeId, ...] = ()
    updates: tuple[MemberUpdate, ...] = ()
    """What the asker has to tell, where the answer is to show that it was heard."""


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to `Ask` and `Seek`."""

    nonce: int
    nodes: tuple[NodeId, ...] = ()
    more: tuple[NodeId, ...] = ()
    """A second list, where a protocol has one."""
    final: bool = False
    """The nodes are those the key belongs to."""
    updates: tuple[MemberUpdate, ...] = ()
    """Nodes with their incarnations, where a protocol counts them."""


@dataclass(frozen=True, slots=True)
class Seek:
    """A question that is passed on towards a key; the node it belongs to answers its origin with `Told`."""

    nonce: int
    origin: NodeId
    what: str
    key: int
    hops: int
    nodes: tuple[NodeId, ...] = ()
    """Gathered on the way."""


@dataclass(frozen=True, slots=True)
class News:
    """Who has come or gone, passed along; sent over connections."""

    what: str
    updates: tuple[MemberUpdate, ...] = ()
    nodes: tuple[NodeId, ...] = ()


BUSY = "busy"
"""The reason of a refusal that only says: not now, not here (a request turned away, *shed*)."""
NOT_READY = "service not ready"
"""The same of a replica whose program does not answer yet, or not just now."""
NOT_PRIMARY = "not the primary"
"""The reason of a replica where another one alone answers, which it names."""
NOT_HOLDER = "not a holder"
"""The reason of a replica that does not hold the key's shard, or not yet; it names one that should."""
NO_AGENT = "no agent"
"""Who was asked as an agent is none, perhaps no more."""

Message = (
    FindAgents
    | AgentsKnown
    | Probe
    | ProbeReply
    | Lease
    | LeaseReply
    | Release
    | Promote
    | Ping
    | PingReq
    | Ack
    | Nack
    | Sync
    | Summary
    | Appoint
    | AppointReply
    | ReplicaBeat
    | BeatReply
    | ReplicaSilent
    | RouteRequest
    | RouteAck
    | RouteRefuse
    | Reply
    | Survey
    | Surveyed
    | AgentReport
    | AgentOrder
    | SummaryWanted
    | MeshHello
    | MeshAsk
    | MeshAnswer
    | MeshNews
    | Update
    | Have
    | Want
    | Data
    | Ask
    | Told
    | Seek
    | News
)

SMALL = 1024
"""Bytes of content that fit one packet together with what a request or a reply says besides (a set of twenty replicas: 300)."""

REQUEST_TRAFFIC = (RouteRequest, Reply, Data, Update, Have, Want)
"""Not control: requests and replies, and what registers and updates cost, which grows with the requests. All other classes count
as control bytes."""

_ALONE = frozenset((FindAgents, AgentsKnown, Probe, ProbeReply, ReplicaBeat, BeatReply, Ask, Told, Seek))


def by_datagram(message: Message) -> bool:
    """Whether it travels by itself, outside of connections, if it fits a packet: between those who may never speak again, what is
    said each second anyway, and what is sent `again`, so that it need not wait for what the connection has lost."""
    kind = type(message)
    if kind in _ALONE:
        return not getattr(message, "stream", False)
    return kind in _REQUESTING and message.again  # type: ignore[union-attr]


_ANSWERS = frozenset((RouteAck, RouteRefuse, Reply))
_APPOINTING = frozenset((Appoint, AppointReply))
_REQUESTING = frozenset((RouteRequest, *_ANSWERS))


def hastened(message: Message) -> bool:
    """Whether it goes by a datagram *as well* where the connection that carries it must first be made, which takes two round
    trips that a user would wait for: a client's own request (agents have connections with their replicas; other overlays say
    `ahead`), and whatever answers one; an appointment, by which a steward also asks who is silent. So it may come twice: who is
    answered waits no more, a request is taken once (`once`), an appointment twice is one. Not what is sent `again`: it has no
    connection to wait for."""
    kind = type(message)
    if kind in _APPOINTING:
        return True
    if kind is RouteRequest:
        return (message.hops == 1 or message.ahead) and not message.again  # type: ignore[union-attr]
    return kind in _ANSWERS and not message.again  # type: ignore[union-attr]


DROPPABLE = (Probe, Ping, PingReq, Sync, Summary, Lease, ReplicaBeat, Survey, Surveyed, AgentReport, MeshHello)
"""Repeated anyway, so a full queue may drop the oldest of these (and counts it)."""

quicken(*get_args(Message), AgentHint, AppDelay, Candidate, Demand, KeyRate, Measured, MemberUpdate)
