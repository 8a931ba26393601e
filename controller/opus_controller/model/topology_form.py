"""A topology as people write it. What it means is in `topology.py`; units and types of single values in `fields.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opus_controller.model.fields import (
    Capacity,
    Duration,
    Flag,
    Form,
    Name,
    Rate,
    Share,
    Text,
    choice,
    number,
    one_or_more,
    whole,
)
from opus_controller.model.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration, parse_size, shown

MAX_HOSTS = 512 * 254
"""198.18.0.0/15 without the .0 and .255 of each /24."""
MAX_SITES = 1_024

Latitude = Annotated[float, BeforeValidator(number(-90, 90)), WithJsonSchema({"type": "number", "minimum": -90, "maximum": 90})]
Longitude = Annotated[
    float, BeforeValidator(number(-180, 180)), WithJsonSchema({"type": "number", "minimum": -180, "maximum": 180})
]
Distribution = Annotated[
    Literal["uniform", "normal", "pareto", "paretonormal"],
    BeforeValidator(choice("uniform", "normal", "pareto", "paretonormal")),
]
References = Annotated[list[Text], BeforeValidator(one_or_more, json_schema_input_type=str | list[str]), Field(min_length=1)]
"""Names of what is defined elsewhere, or `all`; whether they exist is checked in `topology.py`."""
_Milliseconds = {"type": "number", "exclusiveMinimum": 0, "maximum": 60000}


def _queue(value: object) -> tuple[str, int]:
    """("bytes", n) or ("time", ns) of "256KiB" or "100ms"."""
    for kind, parse in (("bytes", parse_size), ("time", parse_duration)):
        try:
            amount = parse(value)
        except ValueError:
            continue
        if amount > 0:
            return kind, amount
    raise ValueError(
        f'{shown(value)} is not a queue; allowed: bytes such as "256KiB", or the time to send them such as "100ms", more than 0'
    )


Queue = Annotated[
    tuple[str, int],
    BeforeValidator(_queue),
    WithJsonSchema({"type": "string", "anyOf": [{"pattern": SIZE_PATTERN}, {"pattern": DURATION_PATTERN}]}),
]


def _check_place(lat: float | None, lon: float | None) -> None:
    if (lat is None) != (lon is None):
        raise ValueError("has only one of lat and lon; allowed: both, or neither")


def _site(value: object) -> object:
    return value if isinstance(value, dict) else {"name": value}


class SiteForm(Form):
    """A place with hosts."""

    name: Name
    short: Name | None = None
    """Stands for the name in the names of hosts: `use1` makes use1-1, use1-2, ..."""
    lat: Latitude | None = None
    lon: Longitude | None = None
    description: Text = ""

    @model_validator(mode="after")
    def _both_or_none(self) -> SiteForm:
        _check_place(self.lat, self.lon)
        return self


class BurstForm(Form):
    """Gilbert-Elliott loss (tc-netem(8), gemodel): two states, stepped once a packet."""

    p: Share
    """Probability of going from the good state to the bad one."""
    r: Share
    """Probability of going back; the mean burst is 1/r packets."""
    loss_bad: Share = 1.0
    loss_good: Share = 0.0

    @model_validator(mode="after")
    def _ends(self) -> BurstForm:
        if self.r <= 0:
            raise ValueError("r is 0, so a burst would never end; allowed: r above 0%")
        return self


class ShapeForm(Form):
    """What a path does to packets. What is not given is inherited."""

    rtt: Duration | None = None
    """Round trip; each direction takes half."""
    delay: Duration | None = None
    """One way."""
    jitter: Duration | None = None
    distribution: Distribution | None = None
    loss: Share | None = None
    burst: BurstForm | None = None
    duplicate: Share | None = None
    reorder: Share | None = None
    corrupt: Share | None = None
    keep_order: Flag | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> ShapeForm:
        if self.rtt is not None and self.delay is not None:
            raise ValueError("has both rtt and delay; allowed: rtt (a round trip) or delay (one way)")
        if self.loss is not None and self.burst is not None:
            raise ValueError("has both loss and burst; allowed: loss (independent) or burst (Gilbert-Elliott)")
        return self


class PathForm(ShapeForm):
    """The shape of the paths between some sites."""

    from_: References = Field(alias="from")
    """A site, a list of sites, or all."""
    to: References
    both_ways: Flag = True


class AccessForm(Form):
    """How each host hangs on its site."""

    delay: Duration = 0
    """One way, in each direction."""
    up: Rate | None = None
    down: Rate | None = None
    queue: Queue | None = None
    """What may wait in each direction: bytes, or the time it takes to send them. Unless given: 100ms, at least 64KiB."""
    loss: Share = 0.0

    @model_validator(mode="after")
    def _queue_needs_rate(self) -> AccessForm:
        if self.queue is not None and self.up is None and self.down is None:
            raise ValueError("has a queue but neither up nor down; allowed: a queue in front of a rate")
        return self


Cores = Annotated[
    float, BeforeValidator(number(0.01, 1024)), WithJsonSchema({"type": "number", "minimum": 0.01, "maximum": 1024})
]


class AbilitiesForm(Form):
    """What each host has to give."""

    cpu: Cores = 1.0
    memory: Capacity = 256 << 20
    storage: Capacity = 1 << 30
    bandwidth: Rate | None = None
    """The lesser of up and down unless given."""
    processes: Annotated[
        int, BeforeValidator(whole(32, 1 << 20)), WithJsonSchema({"type": "integer", "minimum": 32, "maximum": 1 << 20})
    ] = 256
    """And threads, at most; enforced where hosts are containers. A node has about 20."""


class GroupForm(Form):
    """Hosts that are alike."""

    name: Name
    site: Text | None = None
    sites: References | None = None
    """A list of sites, or all: the group has hosts in each."""
    count: (
        Annotated[
            int, BeforeValidator(whole(1, MAX_HOSTS)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_HOSTS})
        ]
        | None
    ) = None
    """Hosts in each site, named SITE-1, SITE-2, ...; not given: one, named as its site."""
    access: AccessForm = AccessForm()
    abilities: AbilitiesForm = AbilitiesForm()

    @model_validator(mode="after")
    def _somewhere(self) -> GroupForm:
        if (self.site is None) == (self.sites is None):
            raise ValueError("must say where its hosts are, once; allowed: site: NAME, sites: [NAMES] or sites: all")
        return self


class MatrixFileForm(Form):
    """Round trips in milliseconds from a CSV file, square, with or without names in its first row and column."""

    file: Text
    """Relative to the topology's file; .gz is read too."""
    take: (
        Annotated[
            int, BeforeValidator(whole(1, MAX_SITES)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_SITES})
        ]
        | None
    ) = None
    """Only the first so many rows and columns."""


class NodeForm(Form):
    """A router of the graph that has no hosts; without a place where all its edges have a delay."""

    lat: Latitude | None = None
    lon: Longitude | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> NodeForm:
        _check_place(self.lat, self.lon)
        return self


def _edge(value: object) -> object:
    if isinstance(value, list):
        if len(value) != 2:
            raise ValueError(f"{len(value)} ends; allowed: [a, b], or a mapping with from and to")
        return {"from": value[0], "to": value[1]}
    return value


class EdgeForm(Form):
    """A cable between two nodes; its delay follows from their distance unless given."""

    from_: Text = Field(alias="from")
    to: Text
    delay: Duration | None = None
    """One way."""


Edge = Annotated[
    EdgeForm,
    BeforeValidator(_edge, json_schema_input_type=EdgeForm | Annotated[list[str], Field(min_length=2, max_length=2)]),
]


class GraphForm(Form):
    """Cables between sites and routers; a path takes the shortest way, at two thirds of the speed of light."""

    nodes: dict[Name, NodeForm] = Field(default_factory=dict)
    """Routers without hosts; the sites are nodes too. Ends of an edge without a delay need lat and lon."""
    edges: list[Edge] = Field(min_length=1)


def _rtt(value: object) -> Any:
    if not isinstance(value, list | dict) or not value:
        raise ValueError(
            f"{shown(value)} is not a matrix of round trips; allowed: rows in the order of the sites (full, or lower triangle), "
            "or {site: {site: ms}}"
        )
    return value


RttMatrix = Annotated[
    Any,
    BeforeValidator(_rtt),
    WithJsonSchema(
        {
            "description": "Round trips in ms: rows in the order of the sites (full, or lower triangle), or {site: {site: ms}}",
            "anyOf": [
                {"type": "array", "items": {"type": "array", "items": _Milliseconds}},
                {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _Milliseconds}},
            ],
        }
    ),
]


class TopologyForm(Form):
    """A network: sites, the paths between them, and groups of hosts with an access link each."""

    name: Name
    description: Text = ""
    source: Text = ""
    """Where the figures come from."""
    sites: list[Annotated[SiteForm, BeforeValidator(_site, json_schema_input_type=Name | SiteForm)]] | None = Field(
        default=None, min_length=1, max_length=MAX_SITES
    )
    """Names, or mappings; may be left out where rtt_matrix brings them."""
    rtt_ms: RttMatrix | None = None
    rtt_matrix: MatrixFileForm | None = None
    graph: GraphForm | None = None
    path: ShapeForm = ShapeForm()
    """Of every path between different sites, unless `paths` says otherwise."""
    within: ShapeForm = ShapeForm()
    """Of the path inside each site; a round trip of 0.5 ms unless given here or by the matrix's diagonal."""
    paths: list[PathForm] = Field(default_factory=list)
    """Exceptions, in order: a later one wins, key by key."""
    groups: list[GroupForm] = Field(min_length=1)
