"""The key `churn` of a scenario to the departures and returns of a plan: who, when, how; all of it drawn here.

Each host has streams of its own, `churn/<entry>/<host>/...`, so that another host, or another way of leaving, changes nothing
in its times. Entries do not share hosts. Where a region's outage and a host's own course meet, the host is up only while both
say so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from opus_controller.model.availability_trace import Session, load_trace
from opus_controller.model.churn_course import (
    MOST_CHANGES,
    Course,
    Tide,
    TooMany,
    arrival,
    blacked_out,
    nanoseconds,
    outages,
    renewal,
    traced,
)
from opus_controller.model.churn_form import ChurnForm, TraceForm
from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.errors import ScenarioError
from opus_controller.model.lifetimes import Exponential, Lifetimes
from opus_controller.model.plan import Churn, ChurnEvent, Fault, Heal, Life, Partition, Target
from opus_controller.model.scenario_form import ScenarioForm
from opus_controller.model.selectors import Selector
from opus_controller.model.topology import Topology
from opus_controller.model.units import SECOND, format_duration, format_share

Draws = Callable[[str], Random]
"""A stream of randomness for a purpose, always the same for the same purpose."""
Static = Callable[[KeyPath, Sequence[Selector], str], tuple[str, ...]]
"""The hosts that selectors under these keys mean, drawn for a purpose; none if they are wrong, which has been told then."""
Way = Literal["crash", "power-off", "leave"]
Kind = Literal["crash", "power-off", "leave", "return"]
Left = Literal["", "crash", "power-off", "leave"]
Span = tuple[int, int]


@dataclass
class Compiled:
    """What all entries together mean."""

    churn: Churn | None = None
    timeline: tuple[Fault, ...] = ()
    """Regions cut off, and healed."""
    courses: Mapping[str, Course] = field(default_factory=dict)

    def absent(self, t: int) -> tuple[str, ...]:
        """Hosts that are away at `t`."""
        return tuple(host for host, course in self.courses.items() if not course.is_up(t))


@dataclass(frozen=True)
class _Entry:
    """One entry, with whom and when it means."""

    form: ChurnForm
    keys: KeyPath
    name: str
    hosts: tuple[str, ...]
    """Who comes and goes."""
    region: tuple[str, ...]
    """And the seeds among them, whom a region's cut does not spare."""
    start: int
    end: int


class ChurnCompiler:
    def __init__(self, problems: Problems, topology: Topology, form: ScenarioForm, static: Static, draws: Draws) -> None:
        self._problems = problems
        self._topology = topology
        self._form = form
        self._static = static
        self._draws = draws
        self._site_of = {host.name: host.site for host in topology.hosts}
        self._changes_so_far = 0

    def compile(self, seeds: Collection[str], taken: Collection[str]) -> Compiled:
        """`taken`: the names that events have. What is wrong is added to the problems."""
        if not self._form.churn:
            return Compiled()
        entries = self._entries(seeds)
        courses: dict[str, Course] = {}
        cuts: list[Fault] = []
        for entry in entries:
            try:
                courses |= self._courses(entry)
                cuts += self._cuts(entry, taken)
            except (ValueError, ScenarioError) as error:
                self._problems.add(entry.keys, str(error))
        if self._problems:
            return Compiled()
        text = tuple(_text(entry) for entry in entries)
        churn = Churn(text=text, lives=self._lives(entries, courses), events=self._events(entries, courses))
        return Compiled(churn, tuple(cuts), courses)

    # --- entries ---

    def _entries(self, seeds: Collection[str]) -> list[_Entry]:
        entries: list[_Entry] = []
        for k, form in enumerate(self._form.churn):
            # One entry may stand without a list around it.
            keys: KeyPath = ("churn", k) if self._problems.document.has(("churn", k)) else ("churn",)
            given = form.name or ", ".join(selector.text for selector in form.hosts)
            same = [entry for entry in entries if entry.name.partition("#")[0] == given]
            if form.name and same:
                self._problems.add((*keys, "name"), f'"{given}" is given twice; allowed: names that differ')
            region = self._static((*keys, "hosts"), form.hosts, f"churn/{given}/hosts")
            hosts = tuple(host for host in region if not (form.spare_seeds and host in seeds))
            both = next((host for host in region for other in entries if host in other.region), None)
            if both is not None:
                self._problems.add((*keys, "hosts"), f"{both} is in another entry already; allowed: hosts in one entry each")
            if region and not hosts and form.moves_hosts:
                message = "all of them are seeds, which are spared; allowed: other hosts, or spare_seeds: false"
                self._problems.add((*keys, "hosts"), message)
            start = self._form.settle if form.start is None else form.start
            end = self._form.duration if form.stop is None else form.stop
            self._check_times(keys, form, start, end)
            name = f"{given}#{len(same) + 1}" if same else given
            entries.append(_Entry(form, keys, name, hosts, region, start, end))
        return entries

    def _check_times(self, keys: KeyPath, form: ChurnForm, start: int, end: int) -> None:
        if end > self._form.duration:
            most = format_duration(self._form.duration)
            self._problems.add((*keys, "stop"), f"{format_duration(end)} is after the end of the run; allowed: at most {most}")
        if start >= end:
            which = next((key for key in ("start", "stop") if getattr(form, key) is not None), None)
            message = f"churn would start at {format_duration(start)} and stop at {format_duration(end)}"
            self._problems.add((*keys, which) if which else keys, f"{message}; allowed: a start (or settle) before the stop")

    # --- who is up when ---

    def _courses(self, entry: _Entry) -> dict[str, Course]:
        courses = self._own_courses(entry)
        regional = entry.form.regional
        if regional is not None and regional.fault == "power-off":
            spans = {site: list(spans) for site, spans in self._outages(entry)}
            for host in entry.hosts:
                # A host that only its region takes down has been up all the time.
                course = courses.get(host, Course(True, 0, ()))
                courses[host] = blacked_out(course, spans[self._site_of[host]], entry.end)
        return courses

    def _own_courses(self, entry: _Entry) -> dict[str, Course]:
        form, start, end = entry.form, entry.start, entry.end
        if form.trace is not None:
            return self._traced(entry, form.trace)
        if form.sessions is None:
            return {}
        sessions = form.sessions.build()
        if form.arrivals is not None:
            return self._arrivals(entry, sessions, _downtimes(form, sessions))
        if form.diurnal is not None:
            tide = Tide(sessions, form.diurnal.low, form.diurnal.high, form.diurnal.period, form.diurnal.peak)
            return self._each(entry.hosts, lambda host: tide.course(*self._streams(entry, host), start, end))
        downtimes = _downtimes(form, sessions)
        assert downtimes is not None  # the form says so
        return self._each(entry.hosts, lambda host: renewal(sessions, downtimes, *self._streams(entry, host), start, end))

    def _each(self, hosts: Iterable[str], course: Callable[[str], Course]) -> dict[str, Course]:
        """One course a host, as long as all of the plan's together are not too many changes."""
        courses = {}
        for host in hosts:
            courses[host] = course(host)
            self._changes_so_far += len(courses[host].changes)
            if self._changes_so_far > MOST_CHANGES:
                raise TooMany
        return courses

    def _streams(self, entry: _Entry, host: str) -> tuple[Random, Random]:
        """What a host does, and what it did before."""
        return self._draws(f"churn/{entry.name}/{host}"), self._draws(f"churn/{entry.name}/{host}/past")

    def _arrivals(self, entry: _Entry, sessions: Lifetimes, downtimes: Lifetimes | None) -> dict[str, Course]:
        """In an order that is drawn, exponential times apart."""
        rng = self._draws(f"churn/{entry.name}/arrivals")
        order = sorted(entry.hosts, key=lambda host: self._draws(f"churn/{entry.name}/{host}/order").random())
        apart = Exponential(1 / (entry.form.arrivals or 1.0))
        comes, at = {}, entry.start
        for host in order:
            at += nanoseconds(apart.sample(rng))
            comes[host] = at
        return self._each(order, lambda host: arrival(comes[host], sessions, downtimes, self._streams(entry, host)[0], entry.end))

    def _traced(self, entry: _Entry, form: TraceForm) -> dict[str, Course]:
        trace = load_trace(self._problems.document.path.parent / form.file)
        begin, span = form.begin / SECOND, (entry.end - entry.start) / SECOND * form.speed
        if begin + span > trace.end:
            needs = f"the run needs {span:g} s of the trace, from {begin:g} s on, and it ends at {trace.end:g} s"
            raise ValueError(f"{needs}; allowed: an earlier begin, a lower speed, a shorter run")
        chosen = self._measured(entry, trace.sessions)
        return self._each(entry.hosts, lambda host: traced(chosen[host], begin, form.speed, entry.start, entry.end))

    def _measured(self, entry: _Entry, sessions: Mapping[str, Sequence[Session]]) -> dict[str, Sequence[Session]]:
        """Whose sessions each host lives through: its namesake's if all have one, else somebody's, drawn, each taken once."""
        if all(host in sessions for host in entry.hosts):
            return {host: sessions[host] for host in entry.hosts}
        if len(sessions) < len(entry.hosts):
            few = f"{len(sessions)} nodes in the trace for {len(entry.hosts)} hosts"
            raise ValueError(f"{few}; allowed: at most as many hosts, such as hosts: {len(sessions)} of all")
        rng = self._draws(f"churn/{entry.name}/nodes")
        keys = {node: rng.random() for node in sessions}
        drawn = sorted(sessions, key=lambda node: keys[node])
        return {host: sessions[node] for host, node in zip(entry.hosts, drawn, strict=False)}

    # --- regions ---

    def _outages(self, entry: _Entry) -> Iterator[tuple[str, Iterator[Span]]]:
        regional = entry.form.regional
        assert regional is not None
        lasts = regional.lasts.build()
        for site in dict.fromkeys(self._site_of[host] for host in entry.region):
            yield site, outages(regional.rate, lasts, self._draws(f"churn/{entry.name}/region/{site}"), entry.start, entry.end)

    def _cuts(self, entry: _Entry, taken: Collection[str]) -> list[Fault]:
        """Partitions and heals, as if the timeline had them. A cut that outlasts the run is not healed."""
        regional = entry.form.regional
        if regional is None or regional.fault != "partition":
            return []
        cuts: list[Fault] = []
        for site, spans in self._outages(entry):
            hosts = tuple(host for host in entry.region if self._site_of[host] == site)
            if len(hosts) == len(self._topology.hosts):
                raise ValueError(f"all hosts are in {site}, from whom it could be cut off; allowed: a topology of several sites")
            for k, (at, over) in enumerate(spans, start=1):
                name = f"region-{site}-{k}"
                if name in taken:
                    raise ValueError(f'"{name}" is the name of an event of the timeline; allowed: other names there')
                target = Target(text=f"site {site}", hosts=hosts)
                cuts.append(Partition(kind="partition", at_ns=at, name=name, a=target, b=Target(text="")))
                if over < self._form.duration:
                    cuts.append(Heal(kind="heal", at_ns=over, name=f"heal-{name}", undoes=name))
        return cuts

    # --- into the plan ---

    def _lives(self, entries: Sequence[_Entry], courses: Mapping[str, Course]) -> tuple[Life, ...]:
        """Every host at the origin; those that never leave are as old as the oldest of the others."""
        lives = {host: self._life(entry, host, courses[host]) for entry in entries for host in entry.hosts if host in courses}
        oldest = max((life.age_ns for life in lives.values() if life.up), default=0)
        return tuple(lives.get(host.name, Life(host=host.name, age_ns=oldest)) for host in self._topology.hosts)

    def _life(self, entry: _Entry, host: str, course: Course) -> Life:
        """Until its churn starts a host is kept as it is, so at the origin it is that much younger, or as good as new."""
        new = entry.form.arrivals is not None
        left_by: Left = "" if course.up else "power-off" if new else next(self._ways(entry, host, "before"))
        return Life(
            host=host,
            up=course.up,
            left_by=left_by,
            age_ns=max(0, course.age - entry.start),
            sessions=course.sessions,
            up_ns=course.up_sum,
            away_ns=course.away_sum,
            churns_from_ns=entry.start,
        )

    def _events(self, entries: Sequence[_Entry], courses: Mapping[str, Course]) -> tuple[ChurnEvent, ...]:
        hosts: dict[tuple[int, Kind], list[str]] = {}
        for entry in entries:
            dark = self._dark(entry)
            for host in entry.hosts:
                if host in courses:
                    for at, kind in self._changes(entry, host, courses[host], dark.get(self._site_of[host], frozenset())):
                        hosts.setdefault((at, kind), []).append(host)
        return tuple(ChurnEvent(at_ns=at, kind=kind, hosts=tuple(hosts[at, kind])) for at, kind in sorted(hosts))

    def _dark(self, entry: _Entry) -> dict[str, frozenset[int]]:
        """When the lights go out at a site: those who leave in that instant leave by that."""
        regional = entry.form.regional
        if regional is None or regional.fault != "power-off":
            return {}
        return {site: frozenset(at for at, _ in spans) for site, spans in self._outages(entry)}

    def _changes(self, entry: _Entry, host: str, course: Course, dark: frozenset[int]) -> Iterator[tuple[int, Kind]]:
        up, ways = course.up, self._ways(entry, host, "ways")
        for at in course.changes:
            yield at, "return" if not up else "power-off" if at in dark else next(ways)
            up = not up

    def _ways(self, entry: _Entry, host: str, purpose: str) -> Iterator[Way]:
        """How a host leaves, each time."""
        rng = self._draws(f"churn/{entry.name}/{host}/{purpose}")
        shares = entry.form.departures
        while True:
            drawn = rng.random()
            yield "crash" if drawn < shares["crash"] else "leave" if drawn >= 1 - shares["leave"] else "power-off"


def _downtimes(form: ChurnForm, sessions: Lifetimes) -> Lifetimes | None:
    """Of `alive`: exponential, of the mean that leaves that share up."""
    if form.alive is not None:
        return Exponential(sessions.mean * (1 - form.alive) / form.alive)
    return form.downtimes.build() if form.downtimes is not None else None


# For people


def _text(entry: _Entry) -> str:
    form, start = entry.form, format_duration(entry.start)
    who = f"{len(entry.hosts)} hosts ({', '.join(selector.text for selector in form.hosts)}), from {start} on"
    return f"{who}: {'; '.join(_model(form))}"


def _model(form: ChurnForm) -> Iterator[str]:
    if form.trace is not None:
        speed = f", {form.trace.speed:g} times as fast" if form.trace.speed != 1 else ""
        yield f"trace {form.trace.file} from {format_duration(form.trace.begin)}{speed}"
    if form.sessions is not None:
        sessions = form.sessions.build()
        yield f"sessions {_described(sessions)}"
        if form.arrivals is not None:
            yield f"arrivals every {1 / form.arrivals:.4g} s"
        if form.diurnal is not None:
            tide = form.diurnal
            low, high = format_share(tide.low), format_share(tide.high)
            yield f"{low} to {high} up, most at {format_duration(tide.peak)} and every {format_duration(tide.period)}"
        elif (downtimes := _downtimes(form, sessions)) is not None:
            yield f"downtimes {_described(downtimes)}"
        elif form.arrivals is not None:
            yield "gone for good"
    if form.regional is not None:
        lasts = _described(form.regional.lasts.build())
        yield f"each site every {1 / form.regional.rate:.4g} s by {form.regional.fault}, for {lasts}"
    if form.trace is not None or form.sessions is not None:
        shares = [f"{kind} {format_share(share)}" for kind, share in form.departures.items() if share]
        yield f"leave by {', '.join(shares) if len(shares) > 1 else shares[0].split()[0]}"


def _described(lifetimes: Lifetimes) -> str:
    """ "weibull 0.6, median 180 s, mean 499 s"."""
    shape = f" {lifetimes.shape:g}" if lifetimes.has_shape() else ""
    if lifetimes.median == lifetimes.mean:
        return f"{lifetimes.mean:.4g} s"
    return f"{lifetimes.name}{shape}, median {lifetimes.median:.4g} s, mean {lifetimes.mean:.4g} s"
