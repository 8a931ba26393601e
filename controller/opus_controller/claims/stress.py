"""Claim 17: what overlays put on the physical links under them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.claims import words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Figures, Finding, Found, Line, Plot, Table, Task
from opus_controller.claims.measure import stress
from opus_controller.claims.measure.networks import COGENTCO
from opus_controller.claims.measure.stress import CHORD, MESH, OPUS, PASTRY, PLACED, ROUTES, UNICAST, WAYS, WIDE
from opus_controller.claims.setting import Setting

BESIDE = ("Geant2012.graphml", "Abilene.graphml")
"""Maps that are measured, too, where they lie beside Cogent's."""
REQUESTS, SOURCES = 400, 10
MULTI_HOP = (CHORD, PASTRY)
OURS, SMALL = 1.5, 2.0
"""Copies a link on the mean: of a request by Opus' route; what may be called a small inflation."""
USAGE = 2.0
"""Times the direct way's usage, which Opus' route may take, and times Opus' usage, which others take."""
FIRST = "stress of Opus' requests"
"""Without this, on the first map, nothing is left of the claim."""
LESS = 0.5
"""Share of unicast's greatest stress that the mesh may have."""


@dataclass(frozen=True)
class Case:
    """One map."""

    name: str
    requests: Figures
    updates: Figures

    def of(self, route: str, key: str) -> Estimate:
        return words.mean(self.requests["routes"][route][key])

    def usage(self, route: str) -> float:
        """Times that of the direct way between the same ends."""
        return self.of(route, "usage").value / self.of(route, "direct").value

    def against_ours(self, route: str) -> float:
        return self.of(route, "usage").value / self.of(OPUS, "usage").value

    def spread(self, members: str, way: str, key: str) -> Estimate:
        return words.mean(self.updates[members][way][key])

    def relieved(self, members: str, key: str) -> float:
        return self.spread(members, MESH, key).value / self.spread(members, UNICAST, key).value

    def checks(self) -> Iterator[tuple[str, bool]]:
        yield FIRST, self.of(OPUS, "mean").value <= OURS
        yield "usage of Opus' requests", self.usage(OPUS) <= USAGE
        for route in MULTI_HOP:
            yield f"small inflation by {route}", self.of(route, "mean").value <= SMALL
            yield f"more usage by {route}", self.against_ours(route) >= USAGE
        for members in (PLACED, WIDE):
            yield f"half the stress by mesh ({members})", self.relieved(members, "most") <= LESS
            yield f"less usage by mesh ({members})", self.relieved(members, "usage") < 1


def _maps(setting: Setting) -> list[Path]:
    path = next(one.map for one in setting.networks if one.name == COGENTCO)
    if path is None:
        return []
    return [path, *(beside for name in BESIDE if (beside := path.parent / name).is_file())]


def _names(path: Path, setting: Setting) -> tuple[str, str]:
    return (f"link-stress requests {path.stem} {setting.scale.hosts}", f"link-stress updates {path.stem} {setting.scale.hosts}")


def tasks(setting: Setting) -> list[Task]:
    hosts, m, found = setting.scale.hosts, setting.scale.replicas, []
    requests, sources = setting.times(REQUESTS, 20), setting.times(SOURCES, 2)
    for path in _maps(setting):
        asked, updated = _names(path, setting)
        found.append(Task(asked, partial(stress.requests, path, hosts, m, requests), 3.0))
        found.append(Task(updated, partial(stress.updates, path, hosts, m, sources, setting.first_seed), 5.0))
    return found


def judge(found: Found, setting: Setting) -> Finding:
    cases = [Case(path.stem, *(found[name] for name in _names(path, setting))) for path in _maps(setting)]
    checked = [(case, what, fine) for case in cases for what, fine in case.checks()]
    missed: dict[str, list[str]] = {}
    for case, what, fine in checked:
        if not fine:
            missed.setdefault(what, []).append(case.name)
    count = sum(map(len, missed.values()))
    most = 2 * count <= len(checked) and cases[0].name not in missed.get(FIRST, ())
    verdict = HOLDS if not missed else CONDITIONS if most else FAILS
    told = [f"{what} ({', '.join(names)})" for what, names in missed.items()]
    ours = [case.of(OPUS, "mean").value for case in cases]
    others = [(case, route) for case in cases for route in MULTI_HOP]
    relieved = [case.relieved(members, "most") for case in cases for members in (PLACED, WIDE)]
    return Finding(
        verdict,
        f"A first request by Opus crosses its links {_range(ours)} times on the mean, one by ideal multi-hop routes "
        f"{_range([case.of(route, 'mean').value for case, route in others])} times; those take "
        f"{_range([case.against_ours(route) for case, route in others])} times as much of the network. Updates by the mesh "
        f"have {_range(relieved)} of unicast's greatest stress." + (f" Not so: {words.listed(told)}." if told else ""),
        tables=[_requests(cases), _updates(cases)],
        plots=[_plot(cases), _crowded(cases)],
        notes=[
            "Stress: copies of one request (or update) over one link, in either direction, on the mean of the links that carry "
            f"any, and the most; usage: the sum of delay x copies. A host's access link ({stress.ACCESS_MS:g} ms) is a link: "
            "whoever hands on has two copies on it. Everything between two hosts takes the shortest way.",
            f"About {setting.scale.hosts} hosts, as many at each site; m = {setting.scale.replicas}. Opus' replicas are well "
            "placed and the agent sends to the one nearest to itself; a repeated request goes directly, and its stress is 1. "
            "The others' replicas are random hosts. Their hops are ideal: converged tables, no retries; Pastry takes the "
            "nearest host at each hop, Chord anybody.",
            f"Updates of {setting.times(SOURCES, 2)} sources among m placed members, and among {stress.WIDER}m random ones, by "
            "the core's own dissemination; needless copies count.",
        ],
    )


def _range(values: Sequence[float]) -> str:
    return f"{words.number(min(values), 2)} to {words.number(max(values), 2)}"


def _requests(cases: Sequence[Case]) -> Table:
    head = (
        *("map", "route", "hops", "stress, mean", "stress of cables, mean", "stress, most", "usage, ms"),
        *("times the direct way between its ends", "times Opus'"),
    )
    rows = [
        (
            *(case.name, route, words.number(case.of(route, "hops").value)),
            *(words.estimate(case.of(route, key), 2) for key in ("mean", "cables_mean")),
            words.number(max(case.requests["routes"][route]["most"]), 0),
            words.estimate(case.of(route, "usage")),
            *(words.number(case.usage(route), 2), words.number(case.against_ours(route), 2)),
        )
        for case in cases
        for route in ROUTES
    ]
    return Table("Requests", head, rows)


def _updates(cases: Sequence[Case]) -> Table:
    head = ("map", "members", "by", "stress, mean", "stress, most", "usage, ms", "most, times unicast", "usage, times unicast")
    rows = []
    for case in cases:
        for members in (PLACED, WIDE):
            for way in WAYS:
                most, usage = (case.spread(members, way, key) for key in ("most", "usage"))
                unicast = [case.spread(members, UNICAST, key).value for key in ("most", "usage")]
                rows.append(
                    (
                        *(case.name, f"{case.updates[members]['members']} {members}", way),
                        words.estimate(case.spread(members, way, "mean"), 2),
                        *(words.estimate(most), words.estimate(usage)),
                        *(words.number(one.value / base, 2) for one, base in zip((most, usage), unicast, strict=True)),
                    )
                )
    return Table("Updates", head, rows)


def _plot(cases: Sequence[Case]) -> Plot:
    at = list(range(1, len(cases) + 1))
    lines = []
    for route in ROUTES:
        of = [case.of(route, "mean") for case in cases]
        low, value, high = ([getattr(one, name) for one in of] for name in ("low", "value", "high"))
        lines.append(Line(route, at, value, low, high))
    return Plot("requests", "Copies of one request a link", _where(cases), "stress, mean", lines)


def _crowded(cases: Sequence[Case]) -> Plot:
    at = list(range(1, len(cases) + 1))
    lines = [Line(way, at, [case.spread(WIDE, way, "most").value for case in cases], points=True) for way in WAYS]
    return Plot("updates", "Copies of one update on the most stressed link, random members", _where(cases), "stress, most", lines)


def _where(cases: Sequence[Case]) -> str:
    return ", ".join(f"{k} {case.name}" for k, case in enumerate(cases, start=1))


CLAIMS = (
    Claim(
        number=17,
        name="link-stress",
        says="Massively decentralized overlays result in “small inflation in ‘network stress’ relative to IP”; “because we "
        "have explicit control over connectivity, hierarchy, and placement of functionality, we can ensure that requests from "
        "end hosts are routed to a nearby agent, which is in turn routed to an active replica”; “services running on Opus "
        "employ per-application overlays to disseminate their own service data and metadata among individual replica sites.”",
        measured="Routes of requests and updates on the links of maps of the Topology Zoo: direct, by Opus' agents, by ideal "
        "hops of Chord and Pastry; updates by Opus' mesh, by unicast, and as IP multicast would.",
        rule=f"Holds if on every map a request by Opus' route crosses its links {OURS:g} times on the mean at most and takes "
        f"{USAGE:g} times the direct way's usage at most; multi-hop routes cross theirs {SMALL:g} times at most (a small "
        f"inflation), but take at least {USAGE:g} times Opus' usage; and the mesh has {LESS:.0%} of unicast's greatest stress "
        "at most, with less usage. Under conditions if at least half of this is so, on Cogent's map the first of it (what is "
        "not is named); else not.",
        tasks=tasks,
        judge=judge,
        networks=(COGENTCO,),
    ),
)
