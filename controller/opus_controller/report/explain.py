"""Which hosts an application holds, since when, and why: each decision of a run told by its inputs (`opus explain`).

Of applications with a utility: the divisions of hosts among them. Of the others: what their steward placed its members by.
Of those whose data move: the configurations that followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opus_controller.engine.record import RecordReader
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import App

SECOND = 1_000_000_000
DIVISION, PLACEMENT, SET, DATA = "division", "placement", "replica_set", "data"
DECIDED = (DIVISION, PLACEMENT, SET, DATA)
"""Kinds of records that tell who decided what on who serves."""

Record = Mapping[str, Any]
Name = Callable[[str], str]
"""A host's name by its identity."""


@dataclass(frozen=True)
class Held:
    """One host that the application got or kept, and what it was worth there."""

    host: str
    new: bool
    keeps: float | None
    """What the application would lose without it: of its utility, or in ms of mean delay; None: unknown."""
    rival: str = ""
    """Who else would gain most by it; empty: nobody would gain, or it was not asked."""
    offer: float = 0.0
    """... and how much."""

    def model(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Decided:
    """One decision on who serves an application."""

    at_s: float
    steward: str
    cause: str
    held: tuple[Held, ...]
    lost: tuple[str, ...]
    """Hosts that it held before."""

    @property
    def gained(self) -> tuple[str, ...]:
        return tuple(one.host for one in self.held if one.new)

    def model(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**vars(self), "held": [one.model() for one in self.held]}


@dataclass(frozen=True)
class Decision(Decided):
    """One division, as far as it is about one application."""

    demand_per_s: float
    cost_s: float
    """Core-seconds a request."""
    e: float
    floor: int
    promised: bool
    """It holds no more than its floor."""
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


@dataclass(frozen=True)
class Placed(Decided):
    """One replica set of an application without a utility, and by what it was chosen."""

    silent_s: Mapping[str, float | None]
    """Of hosts that it held before: unheard for so long by then; None: it was never heard."""
    wanted: int
    candidates: int
    demand_per_s: float
    cost_s: float
    """Core-seconds a request; 0: of no account."""
    e: float
    """0: of no account."""
    delay_ms: float | None
    """Round trip to the nearest member, mean of what is asked, as the steward knew it."""
    delay_before_ms: float | None


@dataclass(frozen=True)
class Configuration:
    """Those who were to keep an application's registers."""

    number: int
    members: tuple[str, ...]
    cause: str
    """Of the replica set that it follows; empty: none of those members was decided before."""
    decided_s: float | None
    """When that was."""
    began_s: float
    """When the first of them entered it."""
    in_force_s: float | None
    """... and a majority of them; None: never."""
    entered: int

    def model(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Explained:
    """All of it, of one application."""

    app: App
    decisions: tuple[Decided, ...]
    configurations: tuple[Configuration, ...] = field(default=())

    def model(self) -> dict[str, Any]:
        """As `--json` prints it."""
        found = {"app": self.app.name, "decisions": [one.model() for one in self.decisions]}
        return {**found, "configurations": [one.model() for one in self.configurations]} if self.configurations else found


def explained(reader: RecordReader, app: str) -> Explained:
    """In order of time. ScenarioError if the run has no such application, or nobody decided who serves it."""
    names = [one.name for one in reader.plan.apps]
    if app not in names:
        raise ScenarioError(f"{reader.directory}: there is no application {app!r}; allowed: {', '.join(names)}")
    records = sorted((e for e in reader.events() if e["kind"] in DECIDED), key=lambda e: int(e["t"]))
    found = of_app(reader.plan.apps[names.index(app)], records, reader.name_of)
    if not found.decisions:
        raise ScenarioError(f"{reader.directory}: nothing to explain of {app}: no steward decided who serves it in this run")
    return found


def of_app(app: App, records: Iterable[Record], name: Name) -> Explained:
    """`records`: of the kinds DECIDED, in order of time."""
    mine = [one for one in records if one["app"] == app.name]
    inputs = {_key(one): one for one in mine if one["kind"] in (DIVISION, PLACEMENT)}
    sets = [one for one in mine if one["kind"] == SET]
    before: Sequence[str] = ()
    decisions: list[Decided] = []
    shown = set()
    for one in sets:
        told = inputs.get(_key(one))
        shown.add(_key(one))
        decisions.append(_decided(one, told, before, name))
        before = one["members"]
    # A division that left this application its hosts has no set of its own.
    rest = [_division(one, name) for key, one in inputs.items() if key not in shown and one["kind"] == DIVISION]
    decisions = sorted([*decisions, *rest], key=lambda one: one.at_s)
    return Explained(app, tuple(decisions), tuple(_configurations([one for one in mine if one["kind"] == DATA], sets, name)))


def _key(record: Record) -> tuple[int, str]:
    """A steward tells why at the very instant at which it decides."""
    return int(record["t"]), str(record["host"])


def _decided(record: Record, told: Record | None, before: Sequence[str], name: Name) -> Decided:
    if told is not None and told["kind"] == DIVISION:
        return _division(told, name)
    if told is not None:
        return _placed(told, name)
    members: Sequence[str] = record["members"]
    return Decided(
        **_who(record, name),
        held=tuple(Held(name(node), node not in before, None) for node in members),
        lost=tuple(name(node) for node in before if node not in members),
    )


def _who(event: Record, name: Name) -> dict[str, Any]:
    return {"at_s": round(int(event["t"]) / SECOND, 3), "steward": str(event["host"]), "cause": _named(str(event["cause"]), name)}


def _division(event: Record, name: Name) -> Decision:
    before: Sequence[str] = event["before"]
    members: Sequence[str] = event["members"]
    reasons = zip(members, event["keeps"], event["rivals"], event["offers"], strict=True)
    return Decision(
        **_who(event, name),
        demand_per_s=event["demand"],
        cost_s=event["cost"],
        e=event["e"],
        floor=event["floor"],
        promised=event["promised"],
        held=tuple(Held(name(node), node not in before, *why) for node, *why in reasons),
        lost=tuple(name(node) for node in before if node not in members),
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


def _placed(event: Record, name: Name) -> Placed:
    before: Sequence[str] = event["before"]
    members: Sequence[str] = event["members"]
    lost = [node for node in before if node not in members]
    return Placed(
        **_who(event, name),
        held=tuple(Held(name(node), node not in before, _ms(ns)) for node, ns in zip(members, event["keeps"], strict=True)),
        lost=tuple(map(name, lost)),
        silent_s={name(node): None if ns < 0 else ns / SECOND for node, ns in zip(lost, event["silent"], strict=True)},
        wanted=event["wanted"],
        candidates=event["candidates"],
        demand_per_s=event["demand"],
        cost_s=event["cost"],
        e=event["e"],
        delay_ms=_ms(event["delay"]),
        delay_before_ms=_ms(event["delay_before"]),
    )


def _ms(ns: int) -> float | None:
    return None if ns < 0 else ns / 1e6


def _named(cause: str, name: Name) -> str:
    """Identities in it as names: "lost 198.18.0.7"."""
    return " ".join(name(word.rstrip(",")) + ("," if word.endswith(",") else "") for word in cause.split(" "))


def _configurations(data: Sequence[Record], sets: Sequence[Record], name: Name) -> Iterable[Configuration]:
    """By number. A member has entered one when it says so in that one or a later one."""
    numbers = dict.fromkeys(sorted({int(one["number"]) for one in data if one["member"]}))
    for number in numbers:
        members = next(tuple(one["members"]) for one in data if one["member"] and int(one["number"]) == number)
        entered: dict[str, int] = {}
        for one in data:
            host = str(one["host"])
            if one["member"] and int(one["number"]) >= number and host in map(name, members):
                entered.setdefault(host, int(one["t"]))
        times, needed = sorted(entered.values()), len(members) // 2 + 1
        follows = [one for one in sets if set(one["members"]) == set(members) and int(one["t"]) <= times[0]]
        yield Configuration(
            number=number,
            members=tuple(map(name, members)),
            cause=_named(str(follows[-1]["cause"]), name) if follows else "",
            decided_s=round(int(follows[-1]["t"]) / SECOND, 3) if follows else None,
            began_s=round(times[0] / SECOND, 3),
            in_force_s=round(times[needed - 1] / SECOND, 3) if len(times) >= needed else None,
            entered=len(times),
        )
