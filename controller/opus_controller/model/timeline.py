"""The timeline of a scenario to the faults of a plan: names, victims drawn beforehand, shapes, and whether it makes sense."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, cast

from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.plan import Fault, Heal, HostFault, LinkChange, Partition, Target
from opus_controller.model.scenario_form import HOST_FAULTS, UNDONE_BY, EventForm
from opus_controller.model.selectors import ALLOWED_STATIC, Chooser, Selector
from opus_controller.model.shapes import ShapeChange, composed
from opus_controller.model.topology import Topology
from opus_controller.model.topology_form import ShapeForm
from opus_controller.model.topology_paths import given
from opus_controller.model.units import format_duration, shown

HostFaultKind = Literal["crash", "power-off", "restart", "pause", "resume"]
Draws = Callable[[str], Random]
"""A stream of randomness for a purpose, always the same for the same purpose."""


WITHOUT_APP = ("agent", "agent-of", "busiest-agent", "busiest", "oldest", "best-connected")
"""Roles that are about no single application."""


@dataclass(frozen=True)
class Step:
    """One event of the timeline, or the undoing that `for` asks for."""

    at: int
    kind: str
    name: str
    event: EventForm
    keys: KeyPath
    undoes: str = ""


class TimelineCompiler:
    """Goes through the events in order of time, keeping what is known of the hosts: who is down, paused, cut."""

    def __init__(
        self,
        problems: Problems,
        topology: Topology,
        apps: Sequence[str],
        duration: int,
        draws: Draws,
        absent: Callable[[int], Collection[str]] = lambda t: (),
    ) -> None:
        """`absent`: hosts that are away at a time by churn; who is drawn is drawn among the others."""
        self._problems = problems
        self._topology = topology
        self._apps = apps
        self._duration = duration
        self._draws = draws
        self._absent = absent
        self._chooser = Chooser(topology)
        self._sites = [site.name for site in topology.sites]
        self._down: dict[str, dict[str, Step]] = {}
        self._paused: dict[str, dict[str, Step]] = {}
        """Host to what has it down or paused: several events may, and each has to be undone."""
        self._laid: dict[str, Step] = {}
        """Partitions and link changes not healed yet."""
        self._changes: dict[str, LinkChange] = {}
        """Of these the link changes, the oldest first."""
        self._past: dict[str, tuple[Step, tuple[str, ...]]] = {}
        """Every event so far by name, with its victims as far as known."""

    def compile(self, events: Sequence[EventForm]) -> tuple[Fault, ...]:
        """The faults in order of time. What is wrong is added to the problems."""
        steps = self._steps(events)
        names = {step.name for step in steps}
        faults: list[Fault] = []
        for step in steps:
            if fault := self._fault(step, names):
                faults.append(fault)
            self._past.setdefault(step.name, (step, ()))
        return tuple(faults)

    # --- names and order ---

    def _steps(self, events: Sequence[EventForm]) -> list[Step]:
        steps: list[Step] = []
        taken: set[str] = {event.name for event in events if event.name}
        seen: set[str] = set()
        for k, event in enumerate(events):
            keys: KeyPath = ("timeline", k)
            if event.name in seen:
                self._problems.add((*keys, "name"), f"{shown(event.name)} is given twice; allowed: names that differ")
            name = event.name or _free(_default_name(event), taken)
            seen.add(name)
            taken.add(name)
            steps.append(Step(event.at, event.action, name, event, keys))
            self._check_time((*keys, "at"), event.at)
            if event.for_ is not None:
                undo = UNDONE_BY[event.action]
                end = event.at + event.for_
                self._check_time((*keys, "for"), end)
                undoing = _free(f"{undo}-{name}", taken)
                taken.add(undoing)
                steps.append(Step(end, undo, undoing, event, keys, undoes=name))
        return sorted(steps, key=lambda step: step.at)

    def _check_time(self, keys: KeyPath, at: int) -> None:
        if at > self._duration:
            given, end = format_duration(at), format_duration(self._duration)
            self._problems.add(keys, f"{given} is after the end of the run; allowed: at most the duration, {end}")

    # --- one event ---

    def _fault(self, step: Step, names: set[str]) -> Fault | None:
        keys = step.keys if step.undoes else (*step.keys, step.kind)
        try:
            if step.kind in HOST_FAULTS:
                return self._host_fault(step, names)
            if step.kind == "partition":
                return self._partition(step)
            if step.kind == "link":
                return self._link(step)
            return self._heal(step, names)
        except ValueError as error:
            self._problems.add(keys, str(error))
            return None

    def _host_fault(self, step: Step, names: set[str]) -> HostFault:
        kind = cast(HostFaultKind, step.kind)
        selectors = () if step.undoes else cast("tuple[Selector, ...]", getattr(step.event, step.kind.replace("-", "_")))
        same_as = step.undoes or next((selector.same_as for selector in selectors if selector.same_as), "")
        if same_as:
            if len(selectors) > 1:
                raise ValueError('"same as" stands alone; allowed: no list around it')
            victims = self._victims_of(same_as, kind, names)
            target = Target(text=f"same as {same_as}", hosts=victims)
        else:
            target = self._target(selectors, step)
            if kind in ("restart", "resume") and target.role:
                raise ValueError(f'a {kind} needs known hosts; allowed: "same as EVENT", {ALLOWED_STATIC}')
            victims = target.hosts
        self._track(kind, victims, step, same_as, named=not same_as and all(not s.share and not s.count for s in selectors))
        self._past[step.name] = (step, victims)
        return HostFault(kind=kind, at_ns=step.at, name=step.name, target=target, same_as=same_as)

    def _victims_of(self, name: str, kind: HostFaultKind, names: set[str]) -> tuple[str, ...]:
        """Of an earlier event that `kind` can follow."""
        if name not in self._past:
            when = "comes later" if name in names else "does not exist"
            earlier = [known for known, (step, _) in self._past.items() if step.kind in HOST_FAULTS]
            raise ValueError(
                f"the event {shown(name)} {when}; {suggestion(name, earlier)}allowed: {listed(earlier) or 'none so far'}"
            )
        step, victims = self._past[name]
        needed = {"restart": ("crash", "power-off"), "resume": ("pause",)}.get(kind, HOST_FAULTS)
        if step.kind not in needed:
            raise ValueError(f"{shown(name)} is a {step.kind}, which a {kind} cannot follow; allowed: a {' or '.join(needed)}")
        return victims

    def _track(self, kind: HostFaultKind, victims: tuple[str, ...], step: Step, same_as: str, *, named: bool) -> None:
        """Follow who is down and who is paused, and refuse what could not happen. Victims by role are not known yet: then
        nothing is refused."""
        state, word = (self._paused, "paused") if kind in ("pause", "resume") else (self._down, "down")
        undoing = kind in ("restart", "resume")
        other = [name for name in victims if bool(state.get(name)) != undoing]
        causes = [cause for cause, undo in UNDONE_BY.items() if undo == kind]
        open_ended = any(earlier.kind in causes and not hosts for earlier, hosts in self._past.values())
        if other and (named or len(other) == len(victims)):
            if undoing and not open_ended:
                raise ValueError(
                    f"{other[0]} is not {word} at {format_duration(step.at)}; allowed: hosts that are {word} by then"
                )
            if not undoing and len(other) == len(victims):
                since = next(iter(state[other[0]].values()))
                raise ValueError(
                    f"{other[0]} is {word} already, by {since.name!r} at {format_duration(since.at)}; allowed: live hosts"
                )
        for name in victims:
            if not undoing:
                state.setdefault(name, {})[step.name] = step
            elif same_as:
                state.get(name, {}).pop(same_as, None)
            else:
                state.pop(name, None)

    def _partition(self, step: Step) -> Partition:
        event = step.event
        a = self._target(event.partition or (), step)
        b = Target(text="")
        if event.from_ is not None and not any(selector.rest for selector in event.from_):
            b = self._target(event.from_, step, side="from")
        both = sorted(set(a.hosts) & set(b.hosts))
        if both:
            raise ValueError(f"{both[0]} is on both sides; allowed: sides without a host in common")
        if len(a.hosts) == len(self._topology.hosts):
            raise ValueError("all hosts are on one side; allowed: some of them, against everyone else")
        self._laid[step.name] = step
        return Partition(kind="partition", at_ns=step.at, name=step.name, a=a, b=b, both_ways=event.both_ways)

    def _heal(self, step: Step, names: set[str]) -> Heal:
        undoes = step.undoes or (step.event.heal or "")
        if undoes not in self._laid:
            known = list(self._laid)
            if undoes in self._past:
                other = self._past[undoes][0]
                what = "is healed already" if other.kind in ("partition", "link") else f"is a {other.kind}"
            else:
                what = "comes later" if undoes in names else "does not exist"
            raise ValueError(
                f"the event {shown(undoes)} {what}; {suggestion(undoes, known)}allowed: {listed(known) or 'none in force then'}"
            )
        del self._laid[undoes]
        if (lifted := self._changes.pop(undoes, None)) is not None:
            self._check_paths(lifted)
        return Heal(kind="heal", at_ns=step.at, name=step.name, undoes=undoes)

    # --- targets ---

    def _target(self, selectors: Sequence[Selector], step: Step, side: str = "") -> Target:
        text = ", ".join(selector.text for selector in selectors)
        roles = [selector for selector in selectors if selector.role]
        if any(selector.rest for selector in selectors):
            raise ValueError(f"{shown(text)}: everyone else than whom? allowed: as `from` of a partition")
        if any(selector.same_as for selector in selectors):
            raise ValueError(f'{shown(text)}: "same as" is for host faults; allowed: {ALLOWED_STATIC}')
        purpose = f"timeline/{step.name}" + (f"/{side}" if side else "")
        if not roles:
            hosts = self._chooser.choose(selectors, lambda k: self._draws(f"{purpose}/{k}"), without=self._gone(step))
            if not hosts:
                raise ValueError(f"{shown(text)} means no host of this topology; allowed: at least one")
            return Target(text=text, hosts=hosts)
        if len(selectors) > 1:
            raise ValueError(f"{shown(text)}: a role stands alone; allowed: one role, or a list without roles")
        selector = roles[0]
        return Target(
            text=text,
            role=selector.role,
            app=self._app(selector),
            count=selector.count,
            share=selector.share,
            of=self._chooser.members((("host", selector.of),))[0] if selector.of else "",
            pick=self._draws(purpose).random(),
            exclude=tuple(self._chooser.members(selector.excluded)),
        )

    def _gone(self, step: Step) -> Collection[str]:
        """Hosts to which the step could do nothing."""
        if step.kind in ("restart", "resume"):
            return ()
        states = (self._down, self._paused) if step.kind == "pause" else (self._down,)
        return {name for state in states for name, steps in state.items() if steps}.union(self._absent(step.at))

    def _app(self, selector: Selector) -> str:
        if selector.role in WITHOUT_APP:
            return ""
        if selector.app:
            if selector.app not in self._apps:
                hint = suggestion(selector.app, self._apps)
                raise ValueError(f"there is no application {shown(selector.app)}; {hint}allowed: {listed(self._apps)}")
            return selector.app
        if len(self._apps) > 1:
            raise ValueError(f'{shown(selector.text)}: of which application? allowed: "... of APP" with {listed(self._apps)}')
        return self._apps[0]

    # --- links ---

    def _link(self, step: Step) -> LinkChange:
        event = step.event
        match = re.fullmatch(r"\s*([\w.-]+?)\s*(<->|->|<-|↔|→)\s*([\w.-]+)\s*", event.link or "")
        if match is None:
            raise ValueError(f'{shown(event.link)} is not a path; allowed: "SITE <-> SITE", or "SITE -> SITE" for one direction')
        source, arrow, target = match.groups()
        if arrow == "<-":
            source, target = target, source
        for site in (source, target):
            if site not in self._sites:
                raise ValueError(f"there is no site {shown(site)}; {suggestion(site, self._sites)}allowed: {listed(self._sites)}")
        both_ways = arrow in ("<->", "↔") or source == target
        if not both_ways and any(form is not None and form.rtt is not None for form in (event.set_, event.add)):
            raise ValueError("rtt is a round trip, the path is one way; allowed: delay, or <->")
        change = LinkChange(
            kind="link",
            at_ns=step.at,
            name=step.name,
            source=source,
            target=target,
            both_ways=both_ways,
            change=_change(event),
        )
        self._changes[step.name] = change
        self._check_paths(change)
        self._laid[step.name] = step
        return change

    def _check_paths(self, changed: LinkChange) -> None:
        """ValueError where all changes in force cannot be made together to the paths that `changed` is about."""
        for pair in {(changed.source, changed.target), (changed.target, changed.source)}:
            composed(self._topology.shape(*pair), [one.change for one in self._changes.values() if pair in _pairs(one)])


def _pairs(change: LinkChange) -> set[tuple[str, str]]:
    one = (change.source, change.target)
    return {one, one[::-1]} if change.both_ways else {one}


def _change(event: EventForm) -> ShapeChange:
    """What `set` puts in place and `add` puts on top; distribution, burst and order can only be set."""
    add = event.add or ShapeForm()
    for field in ("distribution", "burst", "keep_order"):
        if getattr(add, field) is not None:
            raise ValueError(f"{field} cannot be added to another; allowed: set: {{{field}: ...}}")
    return ShapeChange(
        put=given(event.set_) if event.set_ is not None else {},
        add_delay_ns=(add.delay or 0) + (add.rtt or 0) // 2,
        add_jitter_ns=add.jitter or 0,
        **{f"add_{field}": getattr(add, field) or 0.0 for field in ("loss", "duplicate", "reorder", "corrupt")},
    )


def _default_name(event: EventForm) -> str:
    """ "heal-cut", "restart-loss", or by kind and time: "crash-20s"; so that other events do not change it."""
    victims = getattr(event, event.action.replace("-", "_"))
    undone = event.heal or ("" if isinstance(victims, str) else next((s.same_as for s in victims if s.same_as), ""))
    return f"{event.action}-{undone or format_duration(event.at).replace('.', '-')}"


def _free(name: str, taken: set[str]) -> str:
    """`name`, or with the first number behind it that makes it new."""
    k, free = 1, name
    while free in taken:
        k += 1
        free = f"{name}-{k}"
    return free
