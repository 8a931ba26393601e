"""A scenario as people write it. What it means is in `compile.py`; who is meant, in `selectors.py`.

One clock: every time is since the run's origin, the instant at which the first node boots.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from opus_controller.model.churn_form import ChurnForm
from opus_controller.model.expectations import FIGURES, OPTIONS, ExpectationForm, parse_expectation
from opus_controller.model.fields import (
    Drift,
    Duration,
    Flag,
    Form,
    Frequency,
    Name,
    Offset,
    Rate,
    Room,
    Share,
    Size,
    Span,
    Text,
    choice,
    one_or_more,
    real,
    whole,
)
from opus_controller.model.selector_fields import Selectors, parse_selectors
from opus_controller.model.selectors import Selector
from opus_controller.model.service_form import ServiceForm
from opus_controller.model.topology_form import ShapeForm
from opus_controller.model.units import SECOND, format_duration, shown
from opus_controller.model.utility_form import UtilityForm

HOST_FAULTS: Final = ("crash", "power-off", "leave", "restart", "pause", "resume")
ACTIONS: Final = (*HOST_FAULTS, "partition", "heal", "link", "strain", "flood")
UNDONE_BY: Final = {
    "crash": "restart",
    "power-off": "restart",
    "leave": "restart",
    "pause": "resume",
    "partition": "heal",
    "link": "heal",
    "strain": "heal",
    "flood": "heal",
}
"""What `for: 10s` adds at its end."""


def undone_by(action: str) -> tuple[str, ...]:
    """The events that `action` takes back: what a restart, a resume or a heal can follow. Nothing of any other."""
    return tuple(cause for cause, undo in UNDONE_BY.items() if undo == action)


STRAINS: Final = ("cpu", "memory", "up", "down", "clock", "drift", "disk", "writes")
LEAST_MEMORY: Final = 64 << 20
MOST_CLOCK: Final = 3600 * SECOND
MOST_DRIFT: Final = 100_000
"""Millionths."""
MOST_FLOOD: Final = 1_000
LONGEST_FLOOD: Final = 600 * SECOND
FLAPPING: Final = ("pause", "partition", "link", "strain", "flood")
"""What may come and go with a frequency."""
MAX_CYCLES: Final = 1_000

MAX_REPLICAS: Final = 1_000
MAX_SEED: Final = 2**63 - 1


def _integer(least: int, most: int) -> Any:
    return Annotated[
        int, BeforeValidator(whole(least, most)), WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})
    ]


AUTO: Final = "auto"
LEAST_REPLICAS: Final = 3


def _replicas(value: object) -> int | str:
    if value == AUTO:
        return AUTO
    if isinstance(value, str):
        raise ValueError(f"{shown(value)} is no number of replicas; allowed: a whole number from 1 to {MAX_REPLICAS}, or auto")
    return whole(1, MAX_REPLICAS)(value)


Replicas = Annotated[
    int | str,
    BeforeValidator(_replicas),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}, {"const": AUTO}]}),
]

CHOICES: Final = ("latency", "latency-load", "capacity")
"""Of `opus_node.core.choice`; others are installed as entry points."""
CHOICE_GROUP: Final = "opus.choices"


def parse_choice(value: object) -> str:
    return choice(*CHOICES, *sorted(entry_points(group=CHOICE_GROUP).names))(value)


Choice = Annotated[str, BeforeValidator(parse_choice), WithJsonSchema({"type": "string", "examples": list(CHOICES)})]


POLICIES: Final = ("best", "nearest-to-demand", "oldest", "random", "everywhere")
"""Of `opus_node.core.placement`."""
EVERYWHERE: Final = "everywhere"
Policy = Annotated[str, BeforeValidator(choice(*POLICIES)), WithJsonSchema({"enum": list(POLICIES)})]


NONE: Final = "none"
BOUNDED: Final = "bounded"
STATIC: Final = "static"
MEMBERSHIPS: Final = ("reconfigured", STATIC)
Membership = Annotated[str, BeforeValidator(choice(*MEMBERSHIPS)), WithJsonSchema({"enum": list(MEMBERSHIPS)})]
EVENTUAL: Final = "eventual"
CONSISTENCIES: Final = (NONE, "linearizable", "write-all", "primary", BOUNDED, EVENTUAL)
"""NONE, and those of `opus_node.core.data.rules`."""
Consistency = Annotated[str, BeforeValidator(choice(*CONSISTENCIES)), WithJsonSchema({"enum": list(CONSISTENCIES)})]

OPUS: Final = "opus"
PROTOCOLS: Final = (OPUS, "chord", "pastry", "kademlia", "one-hop")
"""Those of `opus_node.core.types`."""
Protocol = Annotated[str, BeforeValidator(choice(*PROTOCOLS)), WithJsonSchema({"enum": list(PROTOCOLS)})]

MAX_SHARDS: Final = 256
"""So that the table of who holds them, two small numbers a copy at most, stays a message of a few KiB."""
COPIES: Final = 3


LEAST_BOUND: Final = 1.1
"""Below, nearly all members would have to be linked with each other."""
MOST_BOUND: Final = 20.0


class AppForm(Form):
    """A service that the overlay runs."""

    name: Name
    replicas: Replicas | None = None
    """m, the number of hosts that serve it at any time; auto: as many as its demand and availability need. Not with the policy
    everywhere: all do."""
    min_replicas: _integer(1, MAX_REPLICAS) | None = None  # type: ignore[valid-type]
    """With auto: at least so many (3), and at first."""
    max_replicas: _integer(1, MAX_REPLICAS) | None = None  # type: ignore[valid-type]
    """With auto: at most so many (all hosts)."""
    policy: Policy = "best"
    """Which hosts serve: the best (near the demand, stable, able), or for comparison nearest-to-demand, oldest, random,
    everywhere."""
    service: ServiceForm | None = None
    """A program of one's own that serves it; the nodes themselves answer unless given."""
    service_time: Duration = 0
    """What one request takes on one core, emulated: a host of two cores and 20ms answers 100 a second. Nothing unless given."""
    queue: Duration = 250 * SECOND // 1000
    """The load limit: a replica turns a request away that would wait longer for its turn, and names another."""
    choice: Choice = "latency"
    """How a request's replica is chosen: latency; latency-load (farther ones before near ones overload); capacity; or a
    function of one's own, an entry point of the group opus.choices."""
    memory: Size = 0
    """Hosts with less do not serve it."""
    storage: Size = 0
    """The same."""
    hedge: Span | None = None
    """A request without an answer for so long is asked of a second replica too, for a tenth of the requests at most."""
    utility: UtilityForm | None = None
    """What it is worth, by what its users feel. With the policy best, hosts are divided by it among all applications that have
    one; replicas is the most that it may hold, or, with auto, max_replicas."""
    consistency: Consistency = NONE
    """What its clients are promised of data that change (docs/data.md). none: it holds none. In the other modes its keys are
    registers. linearizable, write-all, primary: each read and write is as if it had happened at one moment; a majority of the
    replicas answers each; or any replica a read and all a write; or one replica a read and a majority a write. bounded: any
    replica answers a read, which may miss some of the latest writes. eventual: any replica answers each, also where it is cut
    off."""
    membership: Membership = "reconfigured"
    """Of those who keep the data: reconfigured, the set follows losses and demand; static, it stays as it was decided first, and
    one that restarts is taken in anew."""
    members: Selectors | None = None
    """Who keeps the data at first, as many hosts as replicas says; the overlay chooses them unless given. With membership: static
    for good, and with primary the first one is that."""
    staleness: Span | None = None
    """With bounded: a read misses nothing that was written longer before it (5s), ..."""
    missed: _integer(0, 1_000_000) | None = None  # type: ignore[valid-type]
    """... and at most so many writes (any number)."""
    spread: real(LEAST_BOUND, MOST_BOUND) | None = None  # type: ignore[valid-type]
    """Replicas tell each other of every write, over a mesh in which no way is longer than so many times the direct one
    (docs/spread.md); 1.75 is good. They do not unless given."""
    shards: _integer(2, MAX_SHARDS) | None = None  # type: ignore[valid-type]
    """With eventual: keys are divided into so many shards, and each replica holds some of them only (docs/shards.md). Unless
    given, each holds all keys."""
    copies: _integer(2, 16) | None = None  # type: ignore[valid-type]
    """Of each shard at least (3); more of those that are asked for more."""

    @model_validator(mode="after")
    def _size(self) -> AppForm:
        bounds = (self.min_replicas or LEAST_REPLICAS, self.max_replicas or MAX_REPLICAS)
        if self.replicas != AUTO and (self.min_replicas or self.max_replicas):
            raise ValueError(f"min_replicas and max_replicas are for replicas: auto, not for {self.replicas}")
        if self.replicas == AUTO and not self.service_time and self.service is None:
            raise ValueError("replicas: auto measures load; allowed with a service_time, such as 20ms, or a service")
        if bounds[0] > bounds[1]:
            raise ValueError(f"min_replicas is {bounds[0]}, max_replicas {bounds[1]}; allowed: a least that is at most the other")
        if self.policy == EVERYWHERE and self.replicas is not None:
            raise ValueError("replicas given, but the policy is everywhere; allowed: one of them")
        if self.policy != EVERYWHERE and self.replicas is None:
            raise ValueError("replicas is missing; allowed: replicas: 3, or policy: everywhere")
        return self

    @model_validator(mode="after")
    def _whose_time(self) -> AppForm:
        if self.service is not None and self.service_time:
            raise ValueError("service_time is emulated, but a program serves; allowed: one of service and service_time")
        return self

    @model_validator(mode="after")
    def _how_stale(self) -> AppForm:
        if self.membership == STATIC and self.consistency == NONE:
            raise ValueError(f"membership: {STATIC} without a consistency; allowed: with one of {', '.join(CONSISTENCIES[1:])}")
        if self.members is not None and self.consistency == NONE:
            raise ValueError(f"members without a consistency; allowed: with one of {', '.join(CONSISTENCIES[1:])}")
        for key in ("staleness", "missed"):
            if getattr(self, key) is not None and self.consistency != BOUNDED:
                raise ValueError(f"{key} with consistency: {self.consistency}, which has no bounds; allowed: with {BOUNDED}")
        if self.shards is not None and self.consistency != EVENTUAL:
            raise ValueError(f"shards with consistency: {self.consistency}; allowed: with consistency: {EVENTUAL}")
        if self.copies is not None and self.shards is None:
            raise ValueError("copies without shards; allowed: with shards, such as 48 (without, each replica holds everything)")
        if self.shards is not None and self.membership == STATIC:
            raise ValueError(f"shards with membership: {STATIC}; allowed: shards that move, or data that all replicas hold")
        if self.shards is not None and isinstance(self.replicas, int) and (self.copies or COPIES) > self.replicas:
            message = (
                f"{self.copies or COPIES} copies of each shard on {self.replicas} replicas; allowed: at most {self.replicas}"
            )
            raise ValueError(message)
        if self.staleness is not None and self.staleness < LEAST_STALENESS:
            raise ValueError(
                f"staleness is {format_duration(self.staleness)}, in which hardly a majority can be asked; allowed: at least 1s"
            )
        return self

    @model_validator(mode="after")
    def _to_whom(self) -> AppForm:
        if self.spread is None:
            return self
        most = self.max_replicas if self.replicas == AUTO else self.replicas
        if most == 1:
            raise ValueError("spread with one replica, who has nobody to tell; allowed: with 2 replicas or more")
        if self.service is not None:
            raise ValueError("spread with service, but nobody hands updates to a program; allowed: one of the two")
        if self.consistency != NONE:
            raise ValueError(
                f"spread with consistency: {self.consistency}, whose replicas tell each other of writes by its own rules; "
                "allowed: one of the two"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _whose_data(cls, given: object) -> object:
        """Before what is said of sizes: whoever reads `replicas: auto` here is to hear that it is not for registers at all."""
        mode = given.get("consistency", NONE) if isinstance(given, dict) else NONE
        if not isinstance(given, dict) or mode not in CONSISTENCIES or mode == NONE:
            return given
        for key, why in _NOT_WITH_REGISTERS.items():
            if given.get(key) is not None and (key != "replicas" or given[key] == AUTO):
                raise ValueError(f"{key} with consistency: {mode}, but {why}; allowed: one of the two")
        if given.get("policy") == EVERYWHERE:
            raise ValueError(
                f"policy: {EVERYWHERE} with consistency: {mode}, but a majority of all hosts, or all, would have to answer "
                "requests; allowed: a number of replicas"
            )
        return given


LEAST_STALENESS: Final = 1 * SECOND
_NOT_WITH_REGISTERS: Final = {
    "service": "a program's data are its own",
    "replicas": "as many as have been chosen keep the data, however busy they are",
    "service_time": "what takes its time is that a majority answers",
    "utility": "data cannot be moved as fast as hosts are divided",
}


class OverlayForm(Form):
    """Settings of the overlay in place of its defaults; each is described in opus_node.core.types.NodeConfig."""

    lease_interval: Span | None = None
    lease_timeout: Span | None = None
    depth: _integer(1, 4) | None = None  # type: ignore[valid-type]
    nodes_per_agent: _integer(1, 100_000) | None = None  # type: ignore[valid-type]
    near_enough: Duration | None = None
    known_agents: _integer(1, 1_000) | None = None  # type: ignore[valid-type]
    probe_interval: Span | None = None
    indirect_probes: _integer(0, 100) | None = None  # type: ignore[valid-type]
    suspicion_periods: _integer(1, 1_000) | None = None  # type: ignore[valid-type]
    timeout_rtts: real(1, 100) | None = None  # type: ignore[valid-type]
    timeout_slack: Duration | None = None
    wave: _integer(1, 100) | None = None  # type: ignore[valid-type]
    load_staleness: Span | None = None
    control_budget: _integer(1, 1_000_000) | None = None  # type: ignore[valid-type]
    direct: Flag | None = None
    protocol: Protocol | None = None
    """Another overlay in place of Opus' own (docs/baselines.md); the three settings below are for those."""
    neighbours: _integer(1, 256) | None = None  # type: ignore[valid-type]
    upkeep: Span | None = None
    proximity: Flag | None = None

    @model_validator(mode="after")
    def _lease_outlives_interval(self) -> OverlayForm:
        if self.lease_interval is not None and self.lease_timeout is not None and self.lease_timeout <= self.lease_interval:
            raise ValueError(
                "lease_timeout is not above lease_interval; allowed: some missed heartbeats, such as three intervals"
            )
        return self


class WorkloadForm(Form):
    """Clients that send requests open loop, at random instants (Poisson)."""

    name: Name | None = None
    """Seeds its own draws; named entries keep theirs when others are added."""
    clients: Selectors
    app: Text | None = None
    """May be left out while there is one application."""
    rate: Frequency | None = None
    """Of each client."""
    total_rate: Frequency | None = None
    """Of all clients together, in equal parts."""
    start: Duration | None = None
    """Since the origin; the end of `settle` unless given."""
    stop: Duration | None = None
    """Since the origin; the end of the run unless given."""
    deadline: Span = 2 * SECOND
    """From issue; a request that is not answered by then has failed."""
    keys: _integer(1, 10_000_000) = 1000  # type: ignore[valid-type]
    zipf: real(0, 10) = 0.99  # type: ignore[valid-type]
    """Exponent of the popularity of keys; 0: all alike. 0.99 is YCSB's."""
    first_key: _integer(0, 10_000_000) = 0  # type: ignore[valid-type]
    """The most popular one, of 0 to `keys` - 1; then those after it, and after the last the first."""
    write_share: Share = 0.0
    request_size: Size = 100
    reply_size: Size = 1000

    @model_validator(mode="after")
    def _one_rate(self) -> WorkloadForm:
        if (self.rate is None) == (self.total_rate is None):
            raise ValueError("must say how often, once; allowed: rate (of each client) or total_rate (of all together)")
        return self


STATES: Final = ("same", "lost")
"""What a restarted host has of what it had."""
State = Annotated[Literal["same", "lost"], BeforeValidator(choice(*STATES)), WithJsonSchema({"enum": list(STATES)})]


class EventForm(Form):
    """Something done to hosts or links at a time: exactly one of the actions."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [action]} for action in ACTIONS]},
    )

    at: Duration
    name: Name | None = None
    """By which later events and expectations refer to it."""
    for_: Span | None = Field(default=None, alias="for")
    """Undone after so long: a restart, a resume or a heal is added."""
    flap: Span | None = None
    """Of what lasts (with `for`): again and again, in force for the first half of every such period and undone for the second."""
    crash: Selectors | None = None
    """The process dies; its kernel resets connections."""
    power_off: Selectors | None = Field(default=None, alias="power-off")
    """The links are cut, then the process dies: silence."""
    leave: Selectors | None = None
    """The node is asked to go: it tells whoever counts on it, serves until others do, and ends by itself within seconds."""
    restart: Selectors | None = None
    state: State | None = None
    """Of a restart: the host has what it had on its disk and knows what it lived before (same, unless given), or is as
    one that has never run (lost)."""
    pause: Selectors | None = None
    resume: Selectors | None = None
    partition: Selectors | None = None
    """No packet passes between these hosts and those of `from`."""
    from_: Selectors | None = Field(default=None, alias="from")
    """The other side of a partition; everyone else unless given."""
    both_ways: Flag = True
    """Of a partition; false: only packets from the first side to the second are lost."""
    heal: Text | None = None
    """The name of a partition, link or strain event."""
    strain: Selectors | None = None
    """Hosts that keep less of what they have, in one way or several (`cpu`, `memory`, `up`, `down`, `disk`, `writes`), or whose
    clocks are wrong (`clock`, `drift`)."""
    cpu: Share | None = None
    """The share of its processor that a strained host keeps."""
    memory: Size | None = None
    """What a strained host may use at most; only real hosts have any."""
    up: Rate | None = None
    down: Rate | None = None
    """Of a strained host's access link, at most."""
    disk: Room | None = None
    """What a strained host's disk holds at most; full: not a byte more than there is."""
    writes: Rate | None = None
    """Rate at which a strained host's disk takes what is written; only simulated ones can be slow."""
    clock: Offset | None = None
    """How far a strained host's clock is ahead, or behind: it jumps ahead, and is slewed back by 83 ms a second."""
    drift: Drift | None = None
    """How much too fast, or too slow, a strained host's clock runs."""
    flood: Selectors | None = None
    """Hosts that are asked far more than clients do: `rate` in all, by a few hosts beside them, for so long (`for`)."""
    rate: Frequency | None = None
    app: Text | None = None
    """Which application a flood asks for; may be left out while there is one, or where the selector names it."""
    link: Text | None = None
    """The path between two sites: "a <-> b", or "a -> b" for one direction."""
    set_: ShapeForm | None = Field(default=None, alias="set")
    """Values in place of what the path has by then."""
    add: ShapeForm | None = None
    """Values on top of what the path has by then: link events that overlap add up."""

    @property
    def action(self) -> str:
        return next(action for action in ACTIONS if self.given(action))

    def given(self, action: str) -> bool:
        return getattr(self, action.replace("-", "_")) is not None

    @model_validator(mode="after")
    def _one_action(self) -> EventForm:
        actions = [action for action in ACTIONS if self.given(action)]
        if len(actions) != 1:
            found = f"{' and '.join(actions)} in one event" if actions else "does nothing"
            raise ValueError(f"{found}; allowed: exactly one of {', '.join(ACTIONS)}")
        self._check_companions(actions[0])
        return self

    def _check_companions(self, action: str) -> None:
        if action != "partition" and (self.from_ is not None or "both_ways" in self.model_fields_set):
            raise ValueError(f"from and both_ways belong to a partition, not to {shown(action)}")
        if action != "restart" and self.state is not None:
            raise ValueError(f"state belongs to a restart, not to {shown(action)}; allowed: a restart event of its own")
        if action != "link" and (self.set_ is not None or self.add is not None):
            raise ValueError(f"set and add belong to a link event, not to {shown(action)}")
        taken = [key for key in STRAINS if getattr(self, key) is not None]
        if taken and action != "strain":
            raise ValueError(f"{taken[0]} belongs to a strain, not to {shown(action)}")
        if action == "strain" and not taken:
            raise ValueError(f"a strain that takes nothing; allowed: {', '.join(STRAINS)}, such as cpu: 20%")
        if action != "flood" and (self.rate is not None or self.app is not None):
            raise ValueError(f"rate and app belong to a flood, not to {shown(action)}")
        if action == "flood" and (self.rate is None or self.for_ is None):
            raise ValueError("a flood without rate or end; allowed: with rate and for, such as rate: 200/s, for: 10s")
        if self.rate is not None and not 0 < self.rate <= MOST_FLOOD:
            raise ValueError(f"rate: allowed: above 0 and at most {MOST_FLOOD}/s")
        if action == "flood" and self.for_ is not None and self.for_ > LONGEST_FLOOD:
            raise ValueError(f"for: a flood ends; allowed: at most {LONGEST_FLOOD // (60 * SECOND)}m")
        if self.cpu == 0:
            raise ValueError("cpu: nothing left is a pause; allowed: a share above 0%")
        if self.clock is not None and abs(self.clock) > MOST_CLOCK:
            raise ValueError("clock: allowed: at most an hour ahead or behind")
        if self.drift is not None and abs(self.drift) > MOST_DRIFT:
            raise ValueError(f"drift: allowed: at most {MOST_DRIFT // 10_000}% too fast or too slow")
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise ValueError(f"memory: a node does not live on less than {LEAST_MEMORY >> 20}MiB; allowed: that or more")
        if action == "link" and self.set_ is None and self.add is None:
            raise ValueError("a link event that changes nothing; allowed: set: {...} or add: {...}, such as add: {rtt: 80ms}")
        if self.for_ is not None and action not in UNDONE_BY:
            raise ValueError(f"for undoes what lasts; allowed with {', '.join(UNDONE_BY)}, not with {action}")
        if self.flap is not None and (self.for_ is None or action not in FLAPPING):
            raise ValueError(f"flap needs an end; allowed with `for`, and with {', '.join(FLAPPING)}")
        if self.flap is not None and self.for_ is not None and self.for_ > MAX_CYCLES * self.flap:
            raise ValueError(f"flap: more than {MAX_CYCLES} periods in `for`; allowed: a longer period")


def _seeds(value: object) -> object:
    if isinstance(value, int):
        return whole(1, 1000)(value)
    return parse_selectors(value)


Seeds = Annotated[
    int | tuple[Selector, ...],
    BeforeValidator(_seeds),
    WithJsonSchema(
        {
            "description": "Hosts known to all as the first ways in: how many (in different sites), or which",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 1000},
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        }
    ),
]

Expected = Annotated[
    ExpectationForm,
    BeforeValidator(parse_expectation),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "(<=|>=|==|≤|≥)", "examples": ["availability >= 99.9% outside 2s after faults"]},
                {
                    "type": "object",
                    "properties": {
                        **{figure: {"type": "string", "pattern": "(<=|>=|==|≤|≥)"} for figure in FIGURES},
                        **{option: {"type": ["string", "boolean"]} for option in OPTIONS},
                    },
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class ScenarioForm(Form):
    """What to run on a topology, what to break, and what to expect."""

    name: Name
    description: Text = ""
    topology: Text
    """A file, relative to this one, or the name of one that comes with Opus."""
    seed: _integer(0, MAX_SEED) = 1  # type: ignore[valid-type]
    """Of all random choices, unless the command line gives another."""
    duration: Span
    """From the origin to the end; requests still open then are waited for."""
    settle: Duration = 10 * SECOND
    """For the hosts to join, before the workload starts."""
    applications: list[AppForm] = Field(min_length=1)
    overlay: OverlayForm = OverlayForm()
    seeds: Seeds = 3
    workload: list[WorkloadForm] = Field(default_factory=list)
    timeline: list[EventForm] = Field(default_factory=list)
    churn: Annotated[
        list[ChurnForm], BeforeValidator(one_or_more, json_schema_input_type=ChurnForm | list[ChurnForm])
    ] = Field(default_factory=list)  # fmt: skip
    """Hosts that come and go by themselves; one entry, or several for different hosts."""
    expectations: list[Expected] = Field(default_factory=list)
    availability_target: Share = 0.999
    """Recovery from a fault ends with the last second in which availability was below this."""
    fidelity: Annotated[
        Literal["stop", "annotate", "skip"],
        BeforeValidator(choice("stop", "annotate", "skip")),
        WithJsonSchema({"enum": ["stop", "annotate", "skip"]}),
    ] = "stop"
    """If links of real hosts, measured on sampled pairs before the hosts boot, are not what the topology says: end with exit
    code 4, say so in the result, or do not measure."""
    validity: Annotated[
        Literal["strict", "exclude", "annotate"],
        BeforeValidator(choice("strict", "exclude", "annotate")),
        WithJsonSchema({"enum": ["strict", "exclude", "annotate"]}),
    ] = "strict"
    """If the machine was too busy for a while: the run is invalid (exit code 4), the requests of that while count in no figure,
    or it is only marked."""
