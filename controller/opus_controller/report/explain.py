"""Which hosts an application holds, since when, and why: each division of a run told by its inputs (`opus explain`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opus_controller.engine.record import RecordReader
from opus_controller.model.errors import ScenarioError

SECOND = 1_000_000_000
DIVISION = "division"


@dataclass(frozen=True)
class Held:
    """One host that the application got or kept, and what it was worth there, in the unit of the utilities."""

    host: str
    new: bool
    keeps: float
    """What the application would lose without it."""
    rival: str
    """Who else would gain most by it; empty: nobody would gain."""
    offer: float
    """... and how much."""

    def model(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Decision:
    """One division, as far as it is about one application."""

    at_s: float
    steward: str
    cause: str
    demand_per_s: float
    cost_s: float
    """Core-seconds a request."""
    e: float
    floor: int
    promised: bool
    """It holds no more than its floor."""
    held: tuple[Held, ...]
    lost: tuple[str, ...]
    """Hosts that it held before."""
    latency_ms: float | None
    """Expected, at the utility's quantile; None: nobody would have served."""
    availability: float
    throughput_per_s: float
    utility: float
    utility_before: float
    """What it would have been with the hosts of before."""
    moving: float
    pool: int
    forecasts: int
    whole: bool

    def model(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**vars(self), "held": [one.model() for one in self.held]}


def decisions(reader: RecordReader, app: str) -> list[Decision]:
    """In order of time. ScenarioError if the run has no such application, or nobody divided hosts for it."""
    names = [one.name for one in reader.plan.apps]
    if app not in names:
        raise ScenarioError(f"{reader.directory}: there is no application {app!r}; allowed: {', '.join(names)}")
    told = sorted((e for e in reader.events() if e["kind"] == DIVISION and e["app"] == app), key=lambda e: int(e["t"]))
    if not told:
        why = "it has no utility" if _one(reader, app).utility is None else "no steward has divided hosts in this run"
        raise ScenarioError(f"{reader.directory}: nothing to explain of {app}: {why}; allowed: applications with a utility")
    return [_decision(reader, event) for event in told]


def _one(reader: RecordReader, app: str) -> Any:
    return next(one for one in reader.plan.apps if one.name == app)


def _decision(reader: RecordReader, event: Mapping[str, Any]) -> Decision:
    before: Sequence[str] = event["before"]
    members: Sequence[str] = event["members"]
    reasons = zip(members, event["keeps"], event["rivals"], event["offers"], strict=True)
    return Decision(
        at_s=round(int(event["t"]) / SECOND, 3),
        steward=str(event["host"]),
        cause=_named(reader, str(event["cause"])),
        demand_per_s=event["demand"],
        cost_s=event["cost"],
        e=event["e"],
        floor=event["floor"],
        promised=event["promised"],
        held=tuple(Held(reader.name_of(node), node not in before, *why) for node, *why in reasons),
        lost=tuple(reader.name_of(node) for node in before if node not in members),
        latency_ms=None if event["latency"] < 0 else event["latency"] / 1e6,
        availability=event["availability"],
        throughput_per_s=event["throughput"],
        utility=event["utility"],
        utility_before=event["utility_before"],
        moving=event["moving"],
        pool=event["pool"],
        forecasts=event["forecasts"],
        whole=event["whole"],
    )


def _named(reader: RecordReader, cause: str) -> str:
    """Identities in it as names: "lost 198.18.0.7"."""
    return " ".join(reader.name_of(word.rstrip(",")) + ("," if word.endswith(",") else "") for word in cause.split(" "))
