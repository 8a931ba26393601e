"""One event as a hand asks for it of a living testbed, to a fault of its plan.

It is written as in a scenario's timeline, less `at`: {"crash": "a replica of web", "for": "10s"}. What a plan's compiler finds
out by going through the timeline (who is down by then, what is in force) is known here, and given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from opus_controller.model.aim import Aim, host_change, path_change
from opus_controller.model.churn_form import ChurnForm
from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import Form, listed, parse_name, suggestion
from opus_controller.model.lifetimes import Lifetimes
from opus_controller.model.plan import Fault, Flood, Heal, HostFault, Partition, Plan, Strain, Target
from opus_controller.model.scenario_form import HOST_FAULTS, UNDONE_BY, EventForm, undone_by
from opus_controller.model.selectors import ALLOWED_STATIC, Selector
from opus_controller.model.timeline import free
from opus_controller.model.topology import Topology
from opus_controller.model.topology_hosts import Site
from opus_controller.model.undoing import HostFaultKind, flapping, undoing
from opus_controller.model.units import format_duration, parse_duration, shown

F = TypeVar("F", bound=Form)


@dataclass(frozen=True)
class Known:
    """What a testbed knows of itself at the time of an event."""

    kinds: Mapping[str, str]
    """Every event so far, of the timeline or by hand: its name and its kind."""
    taken: Collection[str]
    """Names of events to come."""
    in_force: Collection[str]
    """Events that are."""
    down: Collection[str]
    paused: Collection[str]


@dataclass(frozen=True)
class Wish:
    """The fault, and what follows: its undoing after a while, or a flapping."""

    fault: Fault
    later: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Turnover:
    """Hosts that are to come and go."""

    name: str
    text: str
    hosts: tuple[str, ...]
    sessions: Lifetimes
    downtimes: Lifetimes
    departures: Mapping[str, float]
    """crash, power-off or leave, and its share."""
    for_ns: int | None

    def departure(self, rng: Random) -> str:
        """The way in which a host leaves this time."""
        left = rng.random()
        for kind, share in self.departures.items():
            left -= share
            if left < 0:
                return kind
        return next(iter(self.departures))


class HandCompiler:
    """Of one plan. ScenarioError, in one line, for what does not make sense there."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._aim = Aim(_topology(plan), [app.name for app in plan.apps])

    def compile(self, asked: Mapping[str, Any], at_ns: int, known: Known) -> Wish:
        event = _read(asked)
        taken = {*known.kinds, *known.taken}
        if event.name in taken:
            raise ScenarioError(f"there is an event {shown(event.name)}; allowed: a name that is new")
        name = event.name or free(_name(event, at_ns), taken)
        try:
            fault = self._fault(event, name, at_ns, known)
        except ValueError as error:
            raise ScenarioError(f"{event.action}: {error}") from None
        if event.for_ is None:
            return Wish(fault)
        undo = free(f"{UNDONE_BY[event.action]}-{name}", {*taken, name})
        last = undoing(name, fault.kind, at_ns + event.for_, undo)
        if event.flap is None:
            return Wish(fault, (last,))
        taken.update((name, undo))

        def fresh(wanted: str) -> str:
            taken.add(found := free(wanted, taken))
            return found

        return Wish(fault, tuple(flapping(fault, last, event.flap, fresh)[1:]))

    def turnover(self, asked: Mapping[str, Any], at_ns: int, known: Known) -> Turnover:
        """`asked` as an entry of a scenario's churn with sessions and downtimes, and `for` and `name` beside."""
        asked = dict(asked)
        taken = {*known.kinds, *known.taken}
        given, for_ = asked.pop("name", None), asked.pop("for", None)
        if given in taken:
            raise ScenarioError(f"there is an event {shown(given)}; allowed: a name that is new")
        form = _validated(ChurnForm, asked)
        if form.sessions is None or form.downtimes is None:
            raise ScenarioError("churn: allowed: sessions and downtimes")
        name = parse_name(given) if given else free(f"churn-{_since(at_ns)}", taken)
        try:
            lasts = None if for_ is None else parse_duration(for_)
            target = self._target(form.hosts, name, ())
        except ValueError as error:
            raise ScenarioError(f"churn: {error}") from None
        if target.role:
            raise ScenarioError(f"churn: {shown(target.text)}: needs known hosts; allowed: {ALLOWED_STATIC}")
        spared = self._plan.seeds if form.spare_seeds else ()
        hosts = tuple(host for host in target.hosts if host not in spared)
        if not hosts:
            raise ScenarioError(f"churn: {shown(target.text)} are seeds, which stay; allowed: others, or spare_seeds: false")
        departures = form.departures or {"crash": 1.0}
        return Turnover(name, target.text, hosts, form.sessions.build(), form.downtimes.build(), departures, lasts)

    def _fault(self, event: EventForm, name: str, at_ns: int, known: Known) -> Fault:
        if event.action in HOST_FAULTS:
            return self._host_fault(event, name, at_ns, known)
        if event.action == "partition":
            return self._partition(event, name, at_ns, known)
        if event.action == "link":
            return path_change(event, self._plan.sites, name=name, at_ns=at_ns)
        if event.action == "strain":
            target = self._target(event.strain or (), name, known.down)
            return Strain(kind="strain", at_ns=at_ns, name=name, target=target, change=host_change(event))
        if event.action == "flood":
            target = self._target(event.flood or (), name, known.down)
            app = self._aim.app(event.app, target)
            rate, until = event.rate or 0, at_ns + (event.for_ or 0)
            return Flood(kind="flood", at_ns=at_ns, name=name, target=target, app=app, rate_per_s=rate, until_ns=until)
        there = [name for name, kind in known.kinds.items() if name in known.in_force and UNDONE_BY[kind] == "heal"]
        if event.heal not in there:
            raise ValueError(f"{shown(event.heal)} is not in force; {suggestion(str(event.heal), there)}allowed: {_list(there)}")
        return Heal(kind="heal", at_ns=at_ns, name=name, undoes=event.heal or "")

    def _host_fault(self, event: EventForm, name: str, at_ns: int, known: Known) -> HostFault:
        kind = cast(HostFaultKind, event.action)
        selectors = cast("tuple[Selector, ...]", getattr(event, kind.replace("-", "_")))
        same_as = next((selector.same_as for selector in selectors if selector.same_as), "")
        keeps = event.state or "same"
        if same_as:
            self._check_same(kind, same_as, selectors, known)
            target = Target(text=f"same as {same_as}")
            return HostFault(kind=kind, at_ns=at_ns, name=name, target=target, same_as=same_as, state=keeps)
        undoes = kind in ("restart", "resume")
        gone = () if undoes else {*known.down, *(known.paused if kind == "pause" else ())}
        target = self._target(selectors, name, gone)
        if undoes and target.role:
            raise ValueError(f'needs known hosts; allowed: "same as EVENT", {ALLOWED_STATIC}')
        state, word = (known.paused, "paused") if kind in ("pause", "resume") else (known.down, "down")
        if target.hosts and not any((host in state) == undoes for host in target.hosts):
            raise ValueError(f"{target.hosts[0]} is {'not ' * undoes}{word}{'' if undoes else ' already'}; see: opus status")
        return HostFault(kind=kind, at_ns=at_ns, name=name, target=target, state=keeps)

    @staticmethod
    def _check_same(kind: HostFaultKind, same_as: str, selectors: Sequence[Selector], known: Known) -> None:
        if len(selectors) > 1:
            raise ValueError('"same as" stands alone; allowed: no list around it')
        causes = undone_by(kind) or HOST_FAULTS
        fitting = [name for name, earlier in known.kinds.items() if earlier in causes]
        if same_as not in fitting:
            raise ValueError(
                f"there has been no {' or '.join(causes)} {shown(same_as)}; {suggestion(same_as, fitting)}"
                f"allowed: {_list(fitting)}"
            )

    def _partition(self, event: EventForm, name: str, at_ns: int, known: Known) -> Partition:
        a = self._target(event.partition or (), name, known.down)
        b = Target(text="")
        if event.from_ is not None and not any(selector.rest for selector in event.from_):
            b = self._target(event.from_, f"{name}/from", known.down)
        both = sorted(set(a.hosts) & set(b.hosts))
        if both:
            raise ValueError(f"{both[0]} is on both sides; allowed: sides without a host in common")
        if len(a.hosts) == len(self._plan.hosts):
            raise ValueError("all hosts are on one side; allowed: some of them, against everyone else")
        return Partition(kind="partition", at_ns=at_ns, name=name, a=a, b=b, both_ways=event.both_ways)

    def _target(self, selectors: Sequence[Selector], name: str, without: Collection[str]) -> Target:
        return self._aim.target(selectors, lambda part: Random(f"{self._plan.seed}/hand/{name}{part}"), without)


def _read(asked: Mapping[str, Any]) -> EventForm:
    return _validated(EventForm, {**asked, "at": "0s"})


def _validated(form: type[F], asked: Mapping[str, Any]) -> F:
    try:
        return form.model_validate(asked)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        what = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else f"{shown(detail['input'])}: {detail['msg']}"
        raise ScenarioError(f"{key}: {what}" if key else what) from None


def _name(event: EventForm, at_ns: int) -> str:
    """ "crash-83s", or "heal-cut"."""
    return f"{event.action}-{event.heal or _since(at_ns)}"


def _since(at_ns: int) -> str:
    return format_duration(max(0, round(at_ns / 1e8)) * 100_000_000).replace(".", "-")


def _list(names: Sequence[str]) -> str:
    return listed(names) if names else "none so far"


def _topology(plan: Plan) -> Topology:
    """As much of it as a plan keeps."""
    return Topology(
        name=plan.topology,
        description="",
        source="",
        sites=tuple(Site(site, site, None) for site in plan.sites),
        hosts=plan.hosts,
        paths=plan.paths,
        groups=tuple(dict.fromkeys(host.group for host in plan.hosts)),
    )
