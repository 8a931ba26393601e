"""Claim 16: what is handed on from host to host comes late, and the later the larger it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from opus_node.sizes import MAX_PAYLOAD

from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.claims import words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Finding, Found, Line, Plot, Table, Task
from opus_controller.claims.measure import forwarding
from opus_controller.claims.measure.forwarding import AGENT, DIRECT, MANY, RATES_BPS, ROUTES, SIZES
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import Setting

PAIRS = 60
SMALL, LARGE, LOOKUP = 1000, 1_000_000, 100
"""Bytes: a request of most applications; an object; a question where something is."""
DOWNLOAD = SIZES[-1]
"""A multi-megabyte file."""
SIGNIFICANT = 1.5
"""Times the direct latency."""
GROWTH = 2.0
"""Times as much is added to a LARGE one as to a SMALL one."""
UNNOTICED = 1.1
"""Times the time of a download that nobody had to be asked for."""
FEW_HOPS = 0.5
"""Share of what MANY hops add, which the way by an agent may add at most."""
MOST_HOPS = f"{MANY[-1]} hops"


@dataclass(frozen=True)
class Case:
    network: str
    rate_bps: int
    ms: dict[str, dict[int, Sequence[float]]]
    """By route and size, of each client."""
    overlapped_ms: dict[str, dict[int, Sequence[float]]]

    @property
    def name(self) -> str:
        return f"{self.network}, {_rate(self.rate_bps)}"

    def mean(self, route: str, size: int) -> float:
        return sum(self.ms[route][size]) / len(self.ms[route][size])

    def factor(self, route: str, size: int) -> float:
        """Times the direct latency, of the means."""
        return self.mean(route, size) / self.mean(DIRECT, size)

    def added(self, route: str, size: int) -> float:
        return self.mean(route, size) - self.mean(DIRECT, size)

    def download(self, route: str, size: int) -> float:
        """Times the time of question and download with a direct question, if the question goes this way."""
        return (self.mean(route, LOOKUP) + self.mean(DIRECT, size)) / (self.mean(DIRECT, LOOKUP) + self.mean(DIRECT, size))

    def checks(self) -> Iterator[tuple[str, bool]]:
        for hops in MANY:
            yield f"{hops} hops {SIGNIFICANT:g}x for {_size(SMALL)}", self.factor(f"{hops} hops", SMALL) >= SIGNIFICANT
        yield (
            f"{GROWTH:g}x as much added to {_size(LARGE)}",
            self.added(MOST_HOPS, LARGE) >= GROWTH * self.added(MOST_HOPS, SMALL),
        )
        yield f"a download within {UNNOTICED:g}x", self.download(MOST_HOPS, DOWNLOAD) <= UNNOTICED
        yield "an agent adding half at most", self.added(AGENT, SMALL) <= FEW_HOPS * self.added(MOST_HOPS, SMALL)


def _name(network: Network, rate_bps: int, setting: Setting) -> str:
    return f"store-and-forward {network.name} {setting.scale.hosts} {rate_bps}"


def tasks(setting: Setting) -> list[Task]:
    hosts, m, pairs = setting.scale.hosts, setting.scale.replicas, setting.times(PAIRS, 4)
    return [
        Task(_name(one, rate, setting), partial(forwarding.forwarded, one, hosts, m, pairs, rate), 2 + pairs / 8)
        for one in setting.networks
        for rate in RATES_BPS
    ]


def judge(found: Found, setting: Setting) -> Finding:
    cases = list(_cases(found, setting))
    checked = [(case, what, fine) for case in cases for what, fine in case.checks()]
    missed = [f"{what} ({case.name})" for case, what, fine in checked if not fine]
    verdict = HOLDS if not missed else CONDITIONS if 2 * len(missed) <= len(checked) else FAILS
    many = [case.factor(f"{hops} hops", SMALL) for case in cases for hops in MANY]
    agent = [case.factor(AGENT, SMALL) for case in cases]
    downloads = [case.download(MOST_HOPS, DOWNLOAD) for case in cases]
    grown = [case.added(MOST_HOPS, LARGE) / case.added(MOST_HOPS, SMALL) for case in cases]
    return Finding(
        verdict,
        f"{MANY[0]} or {MANY[-1]} hops take {_range(many)}x as long as the direct way for {_size(SMALL)}, the way by an agent "
        f"{_range(agent)}x; {MANY[-1]} hops add {_range(grown)}x as much to {_size(LARGE)}; a question over {MANY[-1]} hops "
        f"makes a download of {_size(DOWNLOAD)} {_range(downloads, 3)}x as long."
        + (f" Not so: {words.listed(missed)}." if missed else ""),
        tables=[_table(cases[: len(RATES_BPS)]), _downloads(cases), _elsewhere(cases)],
        plots=[_plot(case) for case in cases[: len(RATES_BPS)]],
        notes=_notes(cases[0]),
    )


def _notes(main: Case) -> list[str]:
    overlapped, whole = (
        sum(of[MOST_HOPS][LARGE]) / sum(of[DIRECT][LARGE]) for of in (main.overlapped_ms, main.ms)
    )  # fmt: skip
    return [
        "Of each client the nearest of well-placed replicas, for all routes; the agent is the one nearest to the client; the "
        "hosts between are random ones, as a hash has them. Both access links of every host have the rate. Connections are "
        f"open, nothing else is under way. Intervals are over clients; {len(main.ms[DIRECT][SMALL])} of them.",
        f"A message carries {_size(MAX_PAYLOAD)} at most (`sizes.MAX_PAYLOAD`). {_size(DOWNLOAD)} is computed from the same "
        "path, as if there were no such bound; for what can be sent the computation gives what was simulated, by test.",
        "The simulator has an object pass both access links of a hop one after the other. Where packets overlap, a hop takes "
        f"up to half as long; {MOST_HOPS} against the direct way are hardly another thing: for {_size(LARGE)} "
        f"{overlapped:.2f}x in place of {whole:.2f}x ({main.name}).",
        f"At {LOOKUP} B nearly all of it is the way: its length, and the 0.5 ms that a message costs at each hop. What larger "
        "objects take beyond that is sending them whole once more at each hop.",
        "A host hands on what it has whole. One that hands on packet by packet would add less to large objects; none of the "
        "overlays here does.",
    ]


def _cases(found: Found, setting: Setting) -> Iterator[Case]:
    for network in setting.networks:
        for rate in RATES_BPS:
            figures = found[_name(network, rate, setting)]
            ms, overlapped = (
                {route: {int(size): values for size, values in sizes.items()} for route, sizes in figures[name].items()}
                for name in ("ms", "overlapped_ms")
            )
            yield Case(network.name, rate, ms, overlapped)


def _size(size: int) -> str:
    if size == MAX_PAYLOAD:
        return f"{MAX_PAYLOAD >> 20} MiB"
    return f"{size} B" if size < 1000 else f"{size // 1000} kB" if size < 1_000_000 else f"{size // 1_000_000} MB"


def _rate(bps: int) -> str:
    return f"{bps // 1_000_000} Mbit/s"


def _range(values: Sequence[float], digits: int = 1) -> str:
    low, high = (words.number(value, digits) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _table(cases: Sequence[Case]) -> Table:
    head = ("access links", "size", "direct, ms", *(f"{route}, ms" for route in ROUTES[1:]))
    rows = [
        (
            *(_rate(case.rate_bps), _size(size) + (" (computed)" if size > MAX_PAYLOAD else "")),
            words.estimate(words.mean(case.ms[DIRECT][size])),
            *(f"{words.estimate(words.mean(case.ms[route][size]))} ({case.factor(route, size):.1f}x)" for route in ROUTES[1:]),
        )
        for case in cases
        for size in SIZES
    ]
    return Table(f"From issue to arrival, whole, at the replica, {cases[0].network}", head, rows)


def _downloads(cases: Sequence[Case]) -> Table:
    head = ("network", "question by", *(f"then {_size(size)} directly" for size in SIZES))
    rows = [
        (case.name, route, *(f"{case.download(route, size):.2f}x" for size in SIZES)) for case in cases for route in ROUTES[1:]
    ]
    return Table(f"A question of {LOOKUP} B and a download, against one with a direct question", head, rows)


def _elsewhere(cases: Sequence[Case]) -> Table:
    head = ("network", "size", *(f"{route}, times direct" for route in ROUTES[1:]))
    rows = [
        (case.name, _size(size), *(f"{case.factor(route, size):.2f}x" for route in ROUTES[1:]))
        for case in cases
        for size in (SMALL, LARGE, DOWNLOAD)
    ]
    return Table("Handed on whole, all networks", head, rows)


def _plot(case: Case) -> Plot:
    lines = []
    for route in ROUTES:
        of: list[Estimate] = [words.mean(case.ms[route][size]) for size in SIZES]
        low, value, high = ([getattr(one, name) for one in of] for name in ("low", "value", "high"))
        lines.append(Line(route, SIZES, value, [max(one, 0.1) for one in low], high))
    name = f"{case.rate_bps // 1_000_000}-mbit"
    title = f"An object handed on whole, {case.name} access links"
    return Plot(name, title, "bytes", "ms to the replica", lines, log_x=True, log_y=True)


CLAIMS = (
    Claim(
        number=16,
        name="store-and-forward",
        says="“Application-layer store and forward delays can significantly impact end-to-end latency (even when only O(lg n) "
        "such hops are taken). While such inflation of latency is perhaps not noticeable when performing a lookup to download "
        "a multi-megabyte file, it can become the bottleneck for a more general class of applications.”",
        measured="Objects of 100 B to 10 MB from clients to replicas in the simulator, directly, by an agent, and by 3 and 4 "
        "hops, over access links of 10 and 100 Mbit/s.",
        rule=f"Holds if on every network and at every rate {MANY[0]} and {MANY[-1]} hops take at least {SIGNIFICANT:g} times "
        f"as long as the direct way for {_size(SMALL)}, {MANY[-1]} hops add at least {GROWTH:g} times as much to "
        f"{_size(LARGE)}, a question over them makes a download of {_size(DOWNLOAD)} at most {UNNOTICED:g} times as long, and "
        f"the way by an agent adds at most {FEW_HOPS:.0%} of what they add to {_size(SMALL)}; under conditions if at least "
        "half of these hold (the others are named); else not.",
        tasks=tasks,
        judge=judge,
    ),
)
