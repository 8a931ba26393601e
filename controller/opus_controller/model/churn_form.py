"""The key `churn` of a scenario as people write it. What it means is in `churn.py`; the distributions, in `lifetimes.py`.

    churn:
      hosts: all except site eu-west-1
      sessions: {distribution: weibull, shape: 0.6, median: 3m}
      downtimes: {distribution: exponential, mean: 1m}

Or `alive: 80%` in place of downtimes (then exponential), or a `diurnal` pattern, or a `trace` in place of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opus_controller.model import lifetimes, units
from opus_controller.model.fields import (
    Duration,
    Flag,
    Form,
    Frequency,
    Name,
    Share,
    Span,
    Text,
    choice,
    real,
    suggestion,
)
from opus_controller.model.selector_fields import Selectors
from opus_controller.model.selectors import Selector, parse_selector
from opus_controller.model.units import SECOND, shown

DEPARTURES: Final = ("crash", "power-off", "leave")
REGIONAL: Final = ("partition", "power-off")

_FILE_SHARING_SHAPE: Final = 0.59
PRESETS: Final[Mapping[str, Mapping[str, object]]] = {
    "bittorrent": {"distribution": "weibull", "shape": _FILE_SHARING_SHAPE, "scale": "41.9m"},
    "gnutella": {"distribution": "weibull", "shape": _FILE_SHARING_SHAPE, "median": "60m"},
    "overnet": {"distribution": "weibull", "shape": _FILE_SHARING_SHAPE, "median": "60m"},
    "kazaa": {"distribution": "weibull", "shape": _FILE_SHARING_SHAPE, "median": "2.4m"},
}
"""Sessions as measured; each can also be written out.

bittorrent  Weibull, shape 0.59, scale 41.9 min (median 22.5 min): the peers of one torrent, fitted by Stutzbach and Rejaie,
            *Understanding churn in peer-to-peer networks*, IMC 2006. (Two other torrents gave shapes 0.38 and 0.34.)
gnutella    median 60 min: Saroiu, Gummadi, Gribble, *A measurement study of peer-to-peer file sharing systems*, MMCN 2002.
overnet     median 60 min: Bhagwan, Savage, Voelker, *Understanding availability*, IPTPS 2003. Half of those hosts were there for
            30% of the time or less: `alive: 30%` goes with it.
kazaa       median 2.4 min: Gummadi et al., *Measurement, modeling, and analysis of a peer-to-peer file-sharing workload*,
            SOSP 2003.

The medians of the last three are those collected in Table 1 of Rhea, Geels, Roscoe, Kubiatowicz, *Handling churn in a DHT*,
USENIX 2004. No fitted shape was published with them; they borrow bittorrent's, the least skewed of the three.
"""

_LIFETIME_ALLOWED: Final = (
    "a duration (always exactly so long), "
    f"or {{distribution: {'|'.join(lifetimes.KINDS)}, median (or mean, or scale): 3m, shape: 0.6}}"
)


class LifetimeForm(Form):
    """A distribution of times."""

    distribution: Annotated[
        str,
        BeforeValidator(choice(*lifetimes.KINDS, lifetimes.Constant.name)),
        WithJsonSchema({"enum": [*lifetimes.KINDS, lifetimes.Constant.name]}),
    ]
    median: Span | None = None
    mean: Span | None = None
    scale: Span | None = None
    """The distribution's own parameter, as publications give it (of exponential, the mean; of lognormal, the median)."""
    shape: real(0.05, 100) | None = None  # type: ignore[valid-type]
    """weibull's k, lognormal's sigma, pareto's alpha."""

    @model_validator(mode="after")
    def _parameters(self) -> LifetimeForm:
        given = [name for name in ("median", "mean", "scale") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'no length'} given; allowed: exactly one of median, mean, scale")
        kind = lifetimes.KINDS.get(self.distribution, lifetimes.Constant)
        limits = kind.shape_limits
        if not kind.has_shape() and self.shape is not None:
            raise ValueError(f"{self.distribution} has no shape; allowed: shape with weibull, lognormal, pareto")
        if kind.has_shape() and self.shape is None:
            raise ValueError(f"the shape of {self.distribution} is missing; allowed: shape: {limits[0]:g} to {limits[1]:g}")
        if self.shape is not None and not limits[0] <= self.shape <= limits[1]:
            why = " (at 1 its mean is infinite)" if self.distribution == "pareto" else ""
            raise ValueError(
                f"shape {self.shape:g} of {self.distribution} is out of place; allowed: {limits[0]:g} to {limits[1]:g}{why}"
            )
        return self

    def build(self) -> lifetimes.Lifetimes:
        scale, median, mean = (value / SECOND if value is not None else None for value in (self.scale, self.median, self.mean))
        if self.distribution == lifetimes.Constant.name:
            return lifetimes.Constant(scale or median or mean or 0.0)
        return lifetimes.of(self.distribution, self.shape, scale=scale, median=median, mean=mean)


def _lifetime(presets: Mapping[str, Mapping[str, object]]) -> Any:
    """The type of a field that takes a distribution, a duration (always exactly so long) or the name of one of `presets`."""
    allowed = ", ".join([*presets, _LIFETIME_ALLOWED])

    def parse(value: object) -> object:
        if not isinstance(value, str):
            return value
        if value in presets:
            return presets[value]
        try:
            units.parse_duration(value)
        except ValueError:
            raise ValueError(f"{shown(value)} is not known; {suggestion(value, list(presets))}allowed: {allowed}") from None
        return {"distribution": lifetimes.Constant.name, "mean": value}

    pattern = units.DURATION_PATTERN + "".join(f"|^{name}$" for name in presets)
    words = {"type": "string", "pattern": pattern, "description": allowed, "examples": [*presets, "90s"]}
    text = Annotated[str, WithJsonSchema(words)]
    return Annotated[LifetimeForm, BeforeValidator(parse, json_schema_input_type=LifetimeForm | text)]


class DiurnalForm(Form):
    """The share of hosts that are up goes up and down as a cosine."""

    low: Share
    high: Share
    period: Span = 24 * 3600 * SECOND
    peak: Duration = 0
    """A time, since the origin, at which most are up."""

    @model_validator(mode="after")
    def _order(self) -> DiurnalForm:
        if not 0 < self.low < self.high <= 0.99:
            raise ValueError(
                f"low {units.format_share(self.low)}, high {units.format_share(self.high)}; allowed: 0% < low < high <= 99%"
            )
        return self


class RegionalForm(Form):
    """Whole sites go at once, at random instants, each site by itself."""

    rate: Frequency
    """How often, of each site (while nothing of the kind is in force there)."""
    lasts: _lifetime({})  # type: ignore[valid-type]
    fault: Annotated[
        str, BeforeValidator(choice(*REGIONAL)), WithJsonSchema({"enum": list(REGIONAL)})
    ] = "partition"  # fmt: skip
    """partition: the site is cut off from everyone else, its hosts live on; an event like those of the timeline, with a
    recovery of its own. power-off: its hosts leave in one instant and return in one."""


class TraceForm(Form):
    """Sessions as they were measured; `opus churn import` makes such a file of the Failure Trace Archive's."""

    file: Text
    """node,start,end: a line for each session, in seconds; relative to the scenario."""
    begin: Duration = 0
    """Where in the trace the replay begins."""
    speed: real(0.001, 1e6) = 1.0  # type: ignore[valid-type]
    """60: an hour of the trace in a minute."""


def _trace(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


def _departures(value: object) -> dict[str, float]:
    if isinstance(value, str):
        value = {value: "100%"}
    allowed = f"{', '.join(DEPARTURES)}, or shares of them, such as {{crash: 30%, power-off: 70%}}"
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{shown(value)} is no way to leave; allowed: {allowed}")
    for kind in value:
        if kind not in DEPARTURES:
            raise ValueError(f"{shown(kind)} is no way to leave; {suggestion(str(kind), DEPARTURES)}allowed: {allowed}")
    shares = {kind: units.parse_share(value.get(kind, 0)) for kind in DEPARTURES}
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"the shares sum up to {units.format_share(sum(shares.values()))}; allowed: 100%, {allowed}")
    return shares


def _everyone() -> tuple[Selector, ...]:
    return (parse_selector("all"),)


class ChurnForm(Form):
    """Hosts that come and go by themselves."""

    name: Name | None = None
    """Seeds its own draws; named entries keep theirs when others are added."""
    hosts: Selectors = Field(default_factory=_everyone)
    spare_seeds: Flag = True
    """The seeds, whom newcomers ask first, never leave."""
    sessions: _lifetime(PRESETS) | None = None  # type: ignore[valid-type]
    """How long a host stays."""
    downtimes: _lifetime({}) | None = None  # type: ignore[valid-type]
    """How long it is away."""
    alive: Share | None = None
    """In place of downtimes: the share of hosts up at any time; downtimes are then exponential."""
    diurnal: DiurnalForm | None = None
    """In place of downtimes: the share of hosts up follows the time of day; returns are then a Poisson process."""
    trace: Annotated[TraceForm, BeforeValidator(_trace, json_schema_input_type=str | TraceForm)] | None = None
    """In place of sessions and downtimes."""
    arrivals: Frequency | None = None
    """The hosts are not there at first; they come one after another, so often (a Poisson process). Without downtimes or alive
    they do not come back once they have left."""
    departures: Annotated[
        dict[str, float],
        BeforeValidator(_departures),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": list(DEPARTURES)},
                    {"type": "object", "propertyNames": {"enum": list(DEPARTURES)}, "additionalProperties": {"type": "string"}},
                ]
            }
        ),
    ] = Field(default_factory=lambda: _departures("power-off"))
    """How they go: power-off (silence), crash (the kernel resets connections), leave (the node says so first), or shares of
    these: {power-off: 70%, leave: 30%}."""
    regional: RegionalForm | None = None
    start: Duration | None = None
    """Since the origin; the end of `settle` unless given. Until then those that are up stay up."""
    stop: Duration | None = None
    """Since the origin; the end of the run unless given."""

    @model_validator(mode="after")
    def _one_model(self) -> ChurnForm:
        returns = [key for key in ("downtimes", "alive", "diurnal") if getattr(self, key) is not None]
        if self.trace is not None:
            others = [key for key in ("sessions", *returns, "arrivals") if key in returns or getattr(self, key) is not None]
            if others:
                raise ValueError(f"{others[0]} beside a trace, which says it all; allowed: either")
        elif self.sessions is None and (returns or self.arrivals is not None):
            raise ValueError(f"the key 'sessions' is missing; allowed: {', '.join(PRESETS)}, {_LIFETIME_ALLOWED}")
        elif self.sessions is None and self.regional is None:
            raise ValueError("nobody comes or goes; allowed: sessions (and downtimes, alive or diurnal), a trace, or regional")
        elif len(returns) > 1:
            raise ValueError(f"{' and '.join(returns)} together; allowed: one of downtimes, alive, diurnal")
        elif self.sessions is not None and not returns and self.arrivals is None:
            raise ValueError("sessions, but no word of returning; allowed with them: downtimes, alive or diurnal")
        if self.arrivals is not None and self.diurnal is not None:
            raise ValueError("arrivals beside a diurnal pattern; allowed: either")
        if self.alive is not None and not 0 < self.alive < 1:
            raise ValueError(f"alive {units.format_share(self.alive)} is no churn; allowed: more than 0% and less than 100%")
        return self

    @property
    def moves_hosts(self) -> bool:
        """Whether hosts leave, and not only lose their links."""
        only_cut = self.sessions is None and self.trace is None
        return not only_cut or (self.regional is not None and self.regional.fault == "power-off")
