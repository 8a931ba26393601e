"""What enters and leaves the core: ten events in, one `Ready` out.

The shape is etcd/raft's Step and Ready with aioquic's explicit clock: whoever drives the core (a process on a
real network, the simulator, a test) does everything in `Ready` in order, and calls `step(Wake(), now)` at `wake_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

from opus_node.core.messages import Message
from opus_node.core.quick import quicken
from opus_node.core.types import SECOND, AppId, Nanos, NodeId


@dataclass(frozen=True, slots=True)
class Boot:
    """The first event, once. `seeds` are ways in; a node that finds itself among them starts as an agent."""

    seeds: tuple[NodeId, ...]
    incarnation: int = 0
    """Grows by one with every start of the same host, so that an old self is never mistaken for the new one."""


@dataclass(frozen=True, slots=True)
class Receive:
    source: NodeId
    message: Message


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The runtime could not deliver to `peer`: refused or reset, or, seconds later, given up for silence. Advice, never proof."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class Request:
    """A local client asks. The core answers with exactly one `RequestDone` notice (and one `ClientReply`) by `deadline`."""

    app: AppId
    request: int
    """Unique at this client for the life of the process."""
    key: int
    write: bool
    request_bytes: int
    reply_bytes: int
    deadline: Nanos
    """Absolute."""
    content: bytes = b""
    """For a user's program, if one serves the application."""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """Whether the program that serves `app` on this host answers. Told at every change, and again while it is being made
    ready and that goes on: a replica whose program stays unready in silence is given up."""

    app: AppId
    ready: bool
    why: str = ""
    lost: bool = False
    """It will not become ready here by waiting (no room on the disk): somebody else should serve, at once."""


@dataclass(frozen=True, slots=True)
class Served:
    """The program's answer to a `Serve`, exactly one each."""

    ticket: int
    ok: bool
    reply_bytes: int = 0
    """Of an answer without content."""
    content: bytes = b""
    why: str = ""
    """If not ok."""
    busy: bool = False
    """If not ok: the program itself says that it has no room (HTTP 503)."""


CONSUMED_EVERY: Nanos = 1 * SECOND


@dataclass(frozen=True, slots=True)
class Consumed:
    """Told by the runtime each CONSUMED_EVERY while the program that serves `app` here runs, where it can be measured. Without it
    nobody knows what a request to that program costs."""

    app: AppId
    core_time: Nanos
    """User and system time of the program and all that it started, since the node's process began, over all its starts."""


@dataclass(frozen=True, slots=True)
class Wake:
    """`wake_at` has come. Harmless at any other time."""


@dataclass(frozen=True, slots=True)
class Leave:
    """This node is to go, and not in silence: it lays down what it is, tells whoever counts on it, and says `Ready.left` when
    nobody has to miss it. Once; nothing new is to be asked of it after."""


@dataclass(frozen=True, slots=True)
class Metered:
    """Told by the runtime with each second lease (`budget.meter_every`), since it alone sees what connections cost. Without it no
    budget is kept."""

    control_bytes: int
    """Sent and received since the process began."""


Event = Boot | Receive | Unreachable | Request | ServiceHealth | Served | Consumed | Wake | Metered | Leave


@dataclass(frozen=True, slots=True)
class Send:
    to: NodeId
    message: Message


@dataclass(frozen=True, slots=True)
class ClientReply:
    """To the local client that made `Request`; `outcome` as in `RequestDone`."""

    app: AppId
    request: int
    outcome: str
    replica: NodeId = ""
    """Who answered; empty unless ok."""
    content: bytes = b""
    """What a user's program answered."""


@dataclass(frozen=True, slots=True)
class Serve:
    """To the program that serves `app` on this host; the runtime answers with `Served` of the same ticket, by `deadline`."""

    ticket: int
    app: AppId
    key: int
    write: bool
    request_bytes: int
    reply_bytes: int
    deadline: Nanos
    content: bytes


# Notices: facts an observer may want. They change nothing. `kind` is the name in events.ndjson.


@dataclass(frozen=True, slots=True)
class RoleChanged:
    kind: ClassVar[str] = "role"
    role: str
    """agent, head (of a zone of agents), replica or steward."""
    active: bool
    app: AppId = ""
    """The application, for replica and steward."""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Attached:
    kind: ClassVar[str] = "attached"
    agent: NodeId
    rtt: Nanos


@dataclass(frozen=True, slots=True)
class AgentLost:
    """This node gave its agent up; it attaches elsewhere."""

    kind: ClassVar[str] = "agent_lost"
    agent: NodeId


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """This agent's view of another agent: alive, suspect or dead (SWIM's words)."""

    kind: ClassVar[str] = "member"
    member: NodeId
    state: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ReplicaSetDecided:
    """This node, as steward, decided a new replica set."""

    kind: ClassVar[str] = "replica_set"
    app: AppId
    epoch: int
    members: tuple[NodeId, ...]
    cause: str
    """A few words: "first", "lost 198.18.0.7", "merged with ..."."""


@dataclass(frozen=True, slots=True)
class MembersPlaced:
    """This node, as steward, decided a replica set of an application that has no utility: by what it knew (`reasons`). Told
    before the `ReplicaSetDecided` of the same epoch; of those with a utility `HostsDivided` tells."""

    kind: ClassVar[str] = "placement"
    app: AppId
    epoch: int
    cause: str
    """As in `ReplicaSetDecided`."""
    members: tuple[NodeId, ...]
    before: tuple[NodeId, ...]
    silent: tuple[Nanos, ...]
    """For each of `before` that is no member any more: since when it was not heard by then; -1: it was never heard."""
    wanted: int
    """As many as there should be."""
    candidates: int
    """Who could serve, as far as told of: agents are none, unless there is nobody else."""
    demand: int | float
    """Requests/s, of all places, as told."""
    cost: float
    """Core-seconds a request; 0: unknown, or of no account, the size being fixed."""
    e: float
    """Fraction of a host's cores at which it was taken to overload; 0: of no account."""
    delay: Nanos
    """Round trip to the nearest member, mean of what is asked, as far as known or guessed; -1: no agent tells of any."""
    delay_before: Nanos
    """The same with the members of before."""
    keeps: tuple[Nanos, ...]
    """Of each member: by how much `delay` would be longer without it; -1: unknown, or there is no other."""


@dataclass(frozen=True, slots=True)
class KeysAsked:
    """This node, as steward: the keys that are asked for most, the most popular first, have changed notably (`popularity`)."""

    kind: ClassVar[str] = "keys"
    app: AppId
    keys: tuple[int, ...]
    rates: tuple[float, ...]
    """Requests/s for each."""


@dataclass(frozen=True, slots=True)
class ShardsDecided:
    """This node, as steward, decided anew who holds which shard (`shards`)."""

    kind: ClassVar[str] = "shards"
    app: AppId
    epoch: int
    copies: tuple[int, ...]
    """Of each shard."""
    holders: tuple[int, ...]
    """As in the set, of which they are positions."""
    domains: tuple[int, ...]
    """In how many failure domains each is held, as far as the steward can tell."""
    moves: int
    """Copies that have to be made."""
    rates: tuple[float, ...]
    """Requests/s for each, as agents tell."""


@dataclass(frozen=True, slots=True)
class KeysKept:
    """This node holds these keys of a shard from now on, or has handed all of them over and forgotten them."""

    kind: ClassVar[str] = "kept"
    app: AppId
    shard: int
    held: bool
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HostsDivided:
    """This node, as steward, divided hosts among applications anew: what one of them got, and why (`allocate`). Told of each
    application whenever the hosts of any have changed; figures are what was expected, in the unit of `Utility.worth`."""

    kind: ClassVar[str] = "division"
    app: AppId
    cause: str
    """A few words: "first", "lost 198.18.0.7", "demand moved", "worth more"."""
    demand: float
    """Requests/s, of all places."""
    cost: float
    """Core-seconds a request."""
    e: float
    """Fraction of a host's cores at which it was taken to overload."""
    floor: int
    members: tuple[NodeId, ...]
    before: tuple[NodeId, ...]
    latency: Nanos
    """At the utility's quantile; -1: nobody would have served."""
    availability: float
    throughput: float
    utility: float
    utility_before: float
    """With the hosts of before."""
    moving: float
    """Set against the gain, for hosts that are new to it."""
    keeps: tuple[float, ...]
    """Of each member: utility that the application would lose without it ..."""
    rivals: tuple[AppId, ...]
    """... the other one that would gain most by it, if any would ..."""
    offers: tuple[float, ...]
    """... and how much."""
    promised: bool
    """It holds no more than its floor."""
    pool: int
    """Hosts that were considered, of all applications."""
    forecasts: int
    """Worked out for the whole division."""
    whole: bool
    """False: the search was cut short."""


@dataclass(frozen=True, slots=True)
class RequestDone:
    """The one record of a request, at its client: the client's own count (DESIGN section 7)."""

    kind: ClassVar[str] = "request"
    app: AppId
    request: int
    key: int
    write: bool
    issued_at: Nanos
    done_at: Nanos
    outcome: str
    """ok, or deadline (nobody answered in time), or refused (answered that it cannot be served)."""
    replica: NodeId
    """Who answered; empty unless ok."""
    arrived_at: Nanos
    """When the winning attempt reached that replica, by the clock of the record (`opus_node.clock`); 0 unless ok."""
    hops: int
    """Overlay hops of the winning attempt to the replica: 0 (self), 1 (direct) or 2 (by an agent)."""
    attempts: int
    """Messages this client sent for it, hedges at agents not included."""
    via: str
    """self, direct or agent: how the winning attempt went."""
    first: bool
    """Whether this is the node's first request to this application (no cache could help)."""


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """Requests of `app` are taken by this host's program from now on, or are not."""

    kind: ClassVar[str] = "service"
    app: AppId
    ready: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class UpdateDelivered:
    """A replica has, in its turn, what another one or itself has published."""

    kind: ClassVar[str] = "update"
    app: AppId
    source: NodeId
    life: int
    """The source's incarnation; versions begin anew with 1 in each."""
    version: int
    bytes: int
    """Of what was published."""
    by: NodeId
    """Who sent it here; empty: it is this replica's own."""
    missed: int = 0
    """Updates just before it that nobody keeps any more."""


@dataclass(frozen=True, slots=True)
class MeshChanged:
    """This replica's links with other replicas, over which updates go, are these from now on (`linking`)."""

    kind: ClassVar[str] = "mesh"
    app: AppId
    links: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class DataKept:
    """This node is one of those that keep an application's registers, or is none any more (`data`)."""

    kind: ClassVar[str] = "data"
    app: AppId
    member: bool
    number: int
    """Of the last configuration it has heard of as decided, and ..."""
    members: tuple[NodeId, ...]
    """... all who are to keep them."""


@dataclass(frozen=True, slots=True)
class RegisterDone:
    """Beside `RequestDone`, of the same request, where it read or wrote a register: what a judge of histories must know."""

    kind: ClassVar[str] = "register"
    app: AppId
    request: int
    key: int
    write: bool
    issued_at: Nanos
    done_at: Nanos
    outcome: str
    """As in `RequestDone`. A write that is not ok may have been done, or may yet be, or not at all."""
    value: str
    """Written or read, as a digest of its bytes; empty: never written, or (not ok) never read."""
    count: int
    writer: str
    """The value's tag; of a write that never got one 0 and empty."""
    life: int
    """This node's incarnation: requests are numbered anew in each."""


# What the runtime notices of programs; recorded like the core's own


@dataclass(frozen=True, slots=True)
class ProgramChanged:
    kind: ClassVar[str] = "program"
    app: AppId
    change: str
    """started, ready (with `took`), ended (by itself), stopped, or failed (could not be started)."""
    why: str = ""
    took: Nanos = 0
    """From start to ready."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A service's files have come to this host."""

    kind: ClassVar[str] = "shipped"
    app: AppId
    source: NodeId
    """The (last) host they came from."""
    bytes: int
    """Transferred, broken attempts included."""
    took: Nanos
    """From when they were wanted to when they lay there unpacked."""


Notice = (
    RoleChanged
    | Attached
    | AgentLost
    | MemberChanged
    | ReplicaSetDecided
    | HostsDivided
    | MembersPlaced
    | ShardsDecided
    | KeysKept
    | KeysAsked
    | RequestDone
    | ServiceChanged
    | UpdateDelivered
    | MeshChanged
    | DataKept
    | RegisterDone
    | ProgramChanged
    | Shipped
)


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything the runtime must do, in order. Nothing else leaves the core."""

    sends: tuple[Send, ...] = ()
    replies: tuple[ClientReply, ...] = ()
    notices: tuple[Notice, ...] = ()
    wake_at: Nanos | None = None
    """The one absolute time at which the core wants a `Wake`; it replaces the last one. None: nothing is pending."""
    serves: tuple[Serve, ...] = ()
    """For this host's programs."""
    left: bool = False
    """The node has gone, as `Leave` asked: once all this has been sent, its process may end."""


@dataclass(frozen=True, slots=True)
class Spreading:
    """A replica's part in spreading one application's updates."""

    app: AppId
    links: int
    """In the mesh."""
    copies: int
    """Updates sent since boot, each time anew ..."""
    needless: int
    """... and received though they had come before."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a node would say of itself when asked (status, metrics); a pure read."""

    agent: NodeId
    """Whom it is attached to; itself if it is an agent; empty while it looks for one."""
    is_agent: bool
    replica_of: tuple[AppId, ...]
    steward_of: tuple[AppId, ...]
    epochs: tuple[tuple[AppId, int], ...]
    nodes: int
    """Leases this agent holds; 0 for others."""
    entries: int
    """Table entries held, over all tables (DESIGN section 7, State)."""
    state_bytes: int
    """Their size as the messages that carry them would encode it, estimated."""
    requests_served: int
    """As a replica, since boot."""
    requests_routed: int
    """As an agent, since boot."""
    requests_shed: int = 0
    """Turned away as a replica or as an agent, since boot."""
    fellows: tuple[tuple[AppId, tuple[NodeId, ...]], ...] = ()
    """The whole replica sets of the applications served here."""
    level: int = 0
    """On how many levels it is an agent: 0 as a node, 1 as an agent, 2 as the head of a zone of agents, and so on."""
    spreads: tuple[Spreading, ...] = ()
    """Of the applications whose updates it spreads, or has."""


quicken(*get_args(Event), *get_args(Notice), Ready, Send, ClientReply)
