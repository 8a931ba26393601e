"""The timeline of a scenario to the faults of a plan: names, victims drawn beforehand, shapes, and whether it makes sense."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import cast

from opus_controller.model.aim import Aim, host_change, path_change
from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.plan import Fault, Flood, Heal, HostFault, LinkChange, Partition, Strain, Target
from opus_controller.model.scenario_form import HOST_FAULTS, UNDONE_BY, EventForm, undone_by
from opus_controller.model.selectors import ALLOWED_STATIC, Selector
from opus_controller.model.topology import Topology
from opus_controller.model.undoing import HostFaultKind, flapping
from opus_controller.model.units import format_duration, shown

Draws = Callable[[str], Random]
"""A stream of randomness for a purpose, always the same for the same purpose."""


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
        self._duration = duration
        self._draws = draws
        self._absent = absent
        self._aim = Aim(topology, apps)
        self._sites = [site.name for site in topology.sites]
        self._down: dict[str, dict[str, Step]] = {}
        self._paused: dict[str, dict[str, Step]] = {}
        """Host to what has it down or paused: several events may, and each has to be undone."""
        self._laid: dict[str, Step] = {}
        """Partitions, link changes and strains not healed yet."""
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
        return self._with_flapping(steps, faults, names)

    def _with_flapping(self, steps: Sequence[Step], faults: list[Fault], taken: set[str]) -> tuple[Fault, ...]:
        """Those that come and go, written out; until here each stood for its whole time."""
        named = {fault.name: fault for fault in faults}
        undone = {step.undoes: step.name for step in steps if step.undoes}

        def fresh(wanted: str) -> str:
            taken.add(found := free(wanted, taken))
            return found

        for step in steps:
            period, first, last = step.event.flap, named.get(step.name), named.get(undone.get(step.name, ""))
            if period is not None and not step.undoes and first is not None and last is not None:
                series = flapping(first, last, period, fresh)
                faults = [fault for fault in faults if fault not in (first, last)] + series
        return tuple(sorted(faults, key=lambda fault: fault.at_ns))

    # --- names and order ---

    def _steps(self, events: Sequence[EventForm]) -> list[Step]:
        steps: list[Step] = []
        taken: set[str] = {event.name for event in events if event.name}
        seen: set[str] = set()
        for k, event in enumerate(events):
            keys: KeyPath = ("timeline", k)
            if event.name in seen:
                self._problems.add((*keys, "name"), f"{shown(event.name)} is given twice; allowed: names that differ")
            name = event.name or free(default_name(event), taken)
            seen.add(name)
            taken.add(name)
            steps.append(Step(event.at, event.action, name, event, keys))
            self._check_time((*keys, "at"), event.at)
            if event.for_ is not None:
                undo = UNDONE_BY[event.action]
                end = event.at + event.for_
                self._check_time((*keys, "for"), end)
                undoing = free(f"{undo}-{name}", taken)
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
            if step.kind == "strain":
                return self._strain(step)
            if step.kind == "flood":
                return self._flood(step)
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
        state = (not step.undoes and step.event.state) or "same"
        return HostFault(kind=kind, at_ns=step.at, name=step.name, target=target, same_as=same_as, state=state)

    def _victims_of(self, name: str, kind: HostFaultKind, names: set[str]) -> tuple[str, ...]:
        """Of an earlier event that `kind` can follow."""
        if name not in self._past:
            when = "comes later" if name in names else "does not exist"
            earlier = [known for known, (step, _) in self._past.items() if step.kind in HOST_FAULTS]
            raise ValueError(
                f"the event {shown(name)} {when}; {suggestion(name, earlier)}allowed: {listed(earlier) or 'none so far'}"
            )
        step, victims = self._past[name]
        needed = undone_by(kind) or HOST_FAULTS
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

    def _strain(self, step: Step) -> Strain:
        target = self._target(step.event.strain or (), step)
        self._laid[step.name] = step
        return Strain(kind="strain", at_ns=step.at, name=step.name, target=target, change=host_change(step.event))

    def _flood(self, step: Step) -> Flood:
        event = step.event
        target = self._target(event.flood or (), step)
        self._laid[step.name] = step
        return Flood(
            kind="flood",
            at_ns=step.at,
            name=step.name,
            target=target,
            app=self._aim.app(event.app, target),
            rate_per_s=event.rate or 0,
            until_ns=step.at + (event.for_ or 0),
        )

    def _heal(self, step: Step, names: set[str]) -> Heal:
        undoes = step.undoes or (step.event.heal or "")
        if undoes not in self._laid:
            known = list(self._laid)
            if undoes in self._past:
                other = self._past[undoes][0]
                what = "is healed already" if UNDONE_BY.get(other.kind) == "heal" else f"is a {other.kind}"
            else:
                what = "comes later" if undoes in names else "does not exist"
            raise ValueError(
                f"the event {shown(undoes)} {what}; {suggestion(undoes, known)}allowed: {listed(known) or 'none in force then'}"
            )
        del self._laid[undoes]
        return Heal(kind="heal", at_ns=step.at, name=step.name, undoes=undoes)

    # --- targets ---

    def _target(self, selectors: Sequence[Selector], step: Step, side: str = "") -> Target:
        purpose = f"timeline/{step.name}" + (f"/{side}" if side else "")
        return self._aim.target(selectors, lambda part: self._draws(purpose + part), without=self._gone(step))

    def _gone(self, step: Step) -> Collection[str]:
        """Hosts to which the step could do nothing."""
        if step.kind in ("restart", "resume"):
            return ()
        states = (self._down, self._paused) if step.kind == "pause" else (self._down,)
        return {name for state in states for name, steps in state.items() if steps}.union(self._absent(step.at))

    # --- links ---

    def _link(self, step: Step) -> LinkChange:
        change = path_change(step.event, self._sites, name=step.name, at_ns=step.at)
        self._laid[step.name] = step
        return change


def default_name(event: EventForm) -> str:
    """ "heal-cut", "restart-loss", or by kind and time: "crash-20s"; so that other events do not change it."""
    victims = getattr(event, event.action.replace("-", "_"))
    undone = event.heal or ("" if isinstance(victims, str) else next((s.same_as for s in victims if s.same_as), ""))
    return f"{event.action}-{undone or format_duration(event.at).replace('.', '-')}"


def free(name: str, taken: set[str]) -> str:
    """`name`, or with the first number behind it that makes it new."""
    k, free = 1, name
    while free in taken:
        k += 1
        free = f"{name}-{k}"
    return free
