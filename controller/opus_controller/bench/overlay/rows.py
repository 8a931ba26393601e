"""The table: what is to be reached, which experiment's figures tell, and how they become one estimate.

A row's `name` is what `--rows` selects by; several rows share one. A figure for which the core has no mechanism yet is a row
all the same: it says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import Any, Literal

import numpy as np

from opus_controller.bench.overlay import churn, sizing, statistics
from opus_controller.bench.overlay.experiments import AGENTS_SERVE, BUDGETS, MEDIANS_S, Figures, Scale
from opus_controller.bench.overlay.run import Results
from opus_controller.bench.overlay.settings import known
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import listed, suggestion
from opus_controller.runtimes.sim.costs import HopCost

Verdict = Literal["ok", "ok?", "MISSED?", "MISSED", "missing", ""]
"""With a question mark: the bound lies inside the interval. Empty: printed only."""
Estimator = Callable[[Sequence[Figures]], Estimate]


@dataclass(frozen=True)
class Row:
    name: str
    what: str
    experiment: str
    """Whose figures it is made of."""
    estimate: Estimator
    bound: float | None = None
    least: bool = False
    """Whether the bound is the least allowed."""
    around: float | None = None
    """The interval must hold this value, and `bound` is for half its width."""
    unit: str = ""
    digits: int = 2
    scale: float = 1.0
    """Of the printed figure: 100 for shares in percent."""
    note: Callable[[Sequence[Figures]], str] = lambda figures: ""
    missing: str = ""
    """The mechanism that the core lacks."""


@dataclass(frozen=True)
class Line:
    """A row with what was measured."""

    row: Row
    estimate: Estimate
    note: str

    @property
    def verdict(self) -> Verdict:
        if self.row.missing:
            return "missing"
        bound, found = self.row.bound, self.estimate
        if bound is None or isnan(found.value):
            return "" if bound is None else "MISSED"
        if self.row.around is not None:
            narrow = (found.high - found.low) / 2 <= bound
            return "ok" if narrow and found.low <= self.row.around <= found.high else "MISSED"
        sign = -1.0 if self.row.least else 1.0
        kept = sign * found.value <= sign * bound
        sure = not found.low <= bound <= found.high or found.low == found.high
        return ("ok" if sure else "ok?") if kept else ("MISSED" if sure else "MISSED?")

    @property
    def to_reach(self) -> str:
        if self.row.bound is None:
            return ""
        if self.row.around is not None:
            return f"around {self.row.around:g}, ± at most {self.row.bound:g}"
        return f"{'at least' if self.row.least else 'at most'} {self._shown(self.row.bound, trim=True)}"

    @property
    def measured(self) -> str:
        if self.row.missing:
            return "mechanism missing"
        if isnan(self.estimate.value):
            return "nothing"
        interval = ""
        if isfinite(self.estimate.low) and self.estimate.low < self.estimate.high:
            interval = f" [{self._number(self.estimate.low)}, {self._number(self.estimate.high)}]"
        return f"{self._shown(self.estimate.value)}{interval}"

    def _number(self, value: float) -> str:
        return f"{value * self.row.scale:,.{self.row.digits}f}"

    def _shown(self, value: float, *, trim: bool = False) -> str:
        number = f"{value * self.row.scale:g}" if trim else self._number(value)
        return f"{number} {self.row.unit}".rstrip() if self.row.unit != "%" else f"{number}%"

    def plain(self) -> dict[str, Any]:
        """For JSON: figures unscaled, null where there is none."""
        found = self.estimate
        numbers = {"value": found.value, "low": found.low, "high": found.high}
        return {
            "row": self.row.name,
            "what": self.row.what,
            "bound": self.row.bound,
            "least": self.row.least,
            "unit": self.row.unit,
            **{name: value if isfinite(value) else None for name, value in numbers.items()},
            "count": found.count,
            "verdict": self.verdict,
            "note": self.note,
        }


def lines(rows: Sequence[Row], results: Results) -> list[Line]:
    found = []
    for row in rows:
        figures = [] if row.missing else results.of(row.experiment)
        estimate = row.estimate(figures) if figures else statistics.NOTHING
        found.append(Line(row, estimate, row.note(figures) if figures else row.missing))
    return found


# Estimators and notes


def mean_of(key: str) -> Estimator:
    return lambda figures: statistics.mean([one[key] for one in figures])


def worst_of(key: str) -> Estimator:
    return lambda figures: statistics.worst([one[key] for one in figures])


def ratio_of(over: str, under: str) -> Estimator:
    return lambda figures: statistics.ratio([(one[over], one[under]) for one in figures])


def share_of(successes: str, trials: str) -> Estimator:
    return lambda figures: statistics.share([(one[successes], one[trials]) for one in figures])


def averages(**texts: str) -> Callable[[Sequence[Figures]], str]:
    """ "agents 73.2, hops 1.8": means over seeds, by key and text."""
    return lambda figures: ", ".join(f"{text} {np.mean([one[key] for one in figures]):.3g}" for key, text in texts.items())


# The rows


def chosen(every: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Those so called; no names: all. ScenarioError for a row that does not exist."""
    there = list(dict.fromkeys(row.name for row in every))
    for name in names:
        if name not in there:
            raise ScenarioError(f"--rows {name}: no such row; {suggestion(name, there)}allowed: {listed(there)}")
    return [row for row in every if not names or row.name in names]


def all_rows(scale: Scale) -> list[Row]:
    return [
        *_stretch(),
        *_regret(),
        *_cost(),
        *_placement(),
        *_entries(scale),
        *_depth(scale),
        *_control(),
        *_budget(),
        *_half_kill(),
        *_silent_replica(),
        *_stability(),
        *_churn(),
        *_sizing(),
        *_hot_spot(),
    ]


WAYS = {"forwarded": "forwarded by an agent", "direct": "direct from a node's cache"}
HOP = f"with {HopCost().per_message_ns / 1e6:g} ms a hop"


def _stretch() -> Iterator[Row]:
    note = averages(stretch_with_hops=HOP, hops="hops")
    lacks = "" if known(AGENTS_SERVE) else f"the setting {AGENTS_SERVE}"
    for way, bound in (("forwarded", 1.12), ("direct", 1.04)):
        for m in (10, 20, 50):
            what = f"stretch, m = {m}, {WAYS[way]}"
            yield Row("stretch", what, f"{way} {m}", mean_of("stretch"), bound if m == 10 else None, digits=3, note=note)
        what = f"stretch, m = 10, {way}, agents may serve"
        yield Row("stretch", what, f"{way} 10 shared", mean_of("stretch"), digits=3, note=note, missing=lacks)


def _regret() -> Iterator[Row]:
    for p, bound in ((95, 8.0), (99, 15.0)):
        what = f"regret, m = 10, {WAYS['forwarded']}, p{p}"
        yield Row("regret", what, "forwarded 10", mean_of(f"regret_p{p}_ms"), bound, unit="ms", note=averages(hops="hops"))


def _cost() -> Iterator[Row]:
    for way, bound in (("forwarded", 1.20), ("direct", 1.08)):
        what = f"cost of self-organization, m = 10, {way}"
        note = averages(mean_ms="routing latency, ms:")
        yield Row("cost", what, f"{way} 10", mean_of("cost"), bound, digits=3, note=note)
    for way, bound in (("forwarded", 0.65), ("direct", 0.58)):
        what = f"routing latency / that of 10 random replicas, {way}"
        yield Row("random", what, f"{way} 10", mean_of("by_random"), bound, digits=3)


def _placement() -> Iterator[Row]:
    for m, bound, most in ((10, 1.08, 1.12), (20, 1.10, 1.15), (50, 1.28, 1.42)):
        note = averages(probes_per_node="probes a node:", agents="agents", replicas="replicas")
        what = f"placement, m = {m}: / best of 20 searches"
        yield Row("placement", what, f"placement {m}", mean_of("placement"), bound, digits=3, note=note)
        yield Row("placement", f"placement, m = {m}: worst seed", f"placement {m}", worst_of("placement"), most, digits=3)


ENTRIES = 16 + 3
"""At a node that uses one application."""


def _entries(scale: Scale) -> Iterator[Row]:
    note = averages(node_mean="mean", hosts="hosts", agents="agents", agent_max="most at an agent")
    for n in scale.sizes:
        yield Row(
            "entries", f"entries at a node, n = {n:,}, most", f"entries {n}", worst_of("node_max"), ENTRIES, digits=0, note=note
        )


def _depth(scale: Scale) -> Iterator[Row]:
    """Printed for comparison."""
    held = averages(
        nodes="nodes", node_entries="each", node_entries_max="at most", agents="agents", agent_entries_max="at most",
        heads="heads", head_entries="each", tops="at the top", top_entries="each", steward_entries="steward",
    )  # fmt: skip
    sent = averages(node_bytes="nodes", head_bytes="heads", top_bytes="at the top", join_bytes="a newcomer's first minute, B:")
    for depth, n in scale.deep:
        of, experiment = f"depth {depth}, n = {n:,}", f"depth {depth}, {n}"
        yield Row("depth", f"{of}: entries at an agent, median", experiment, mean_of("agent_entries"), digits=0, note=held)
        yield Row("depth", f"{of}: control bytes of agents", experiment, mean_of("agent_bytes"), unit="B/s", digits=0, note=sent)
        note = averages(hops_max="hops at most", ok="answered", issued="of")
        yield Row("depth", f"{of}: routing latency by agents", experiment, mean_of("latency_ms"), unit="ms", note=note)


def _control() -> Iterator[Row]:
    def row(what: str, key: str, bound: float | None = None, unit: str = "B/s", experiment: str = "control", **more: Any) -> Row:
        return Row("control", f"control bytes, {what}", experiment, mean_of(key), bound, unit=unit, digits=0, **more)

    idle = averages(idle_node_mean="without requests")
    yield row("nodes, mean", "node_mean", 100, note=lambda figures: f"{idle(figures)}; {_kinds(figures, 'node_kinds')}")
    besides = averages(idle_node_p99="without requests", plain_p99="of those that are no replicas")
    yield row("nodes, p99", "node_p99", 250, note=besides)
    calm = averages(idle_all_mean="without requests", agents="agents", new_agents="new a minute", new_replicas="new replicas")
    yield row("all hosts, mean", "all_mean", 250, note=calm)
    most = averages(agent_max="most")
    yield row("agents, mean", "agent_mean", note=lambda figures: f"{most(figures)}; {_kinds(figures, 'agent_kinds')}")
    yield row("a newcomer's first minute", "join_bytes", unit="B")
    for median in MEDIANS_S:
        yield row(f"all hosts, median session {median / 60:g} min", "control_bytes", experiment=f"churn {median:g}")


def _budget() -> Iterator[Row]:
    for budget in BUDGETS:
        what = f"control bytes, nodes, mean, at a budget of {budget} B/s"
        note = averages(mean_ms="routing latency, ms:", stretch="stretch, direct:", agent_mean="agents")
        yield Row("budget", what, f"budget {budget}", mean_of("node_mean"), budget, unit="B/s", digits=0, note=note)


KINDS_TOLD = 6


def _kinds(figures: Sequence[Figures], key: str) -> str:
    """ "Lease 40, LeaseReply 31": the kinds of messages that make most of the control bytes, B/s."""
    kinds = sorted({kind for one in figures for kind in one[key]})
    means = {kind: float(np.mean([one[key].get(kind, 0.0) for one in figures])) for kind in kinds}
    first = sorted(kinds, key=lambda kind: -means[kind])[:KINDS_TOLD]
    return ", ".join(f"{kind} {means[kind]:.0f}" for kind in first)


def _half_kill() -> Iterator[Row]:
    for kind, told in (("random", "at random"), ("region", "one region")):
        for within, bound in ((2.0, 0.999), (6.0, 0.9999)):
            what = f"half of all hosts silent ({told}): answered within {within:g} s"
            yield Row(
                "half-kill", what, "half-kill", _answered(kind, within), bound, least=True, unit="%", digits=3, scale=100,
                note=_times(kind),
            )  # fmt: skip


def _kills(figures: Sequence[Figures], kind: str) -> list[list[float]]:
    """By kill, the seconds each live client waited; infinity where none answered."""
    return [[inf if took is None else took for took in kill] for one in figures for kill in one[kind]]


def _answered(kind: str, within: float) -> Estimator:
    return lambda figures: statistics.share([(sum(t <= within for t in kill), len(kill)) for kill in _kills(figures, kind)])


def _times(kind: str) -> Callable[[Sequence[Figures]], str]:
    def note(figures: Sequence[Figures]) -> str:
        kills = _kills(figures, kind)
        every = sorted(took for kill in kills for took in kill)
        if not every:
            return "every kill left no replica"
        p50, p99, p999 = (every[min(len(every) - 1, int(q * len(every)))] for q in (0.5, 0.99, 0.999))
        bereft = sum(one[f"bereft_{kind}"] for one in figures)
        return (
            f"{len(kills)} kills, {len(every):,} clients; p50 {p50:.2f} s, p99 {p99:.2f} s, p99.9 {p999:.2f} s; "
            f"{bereft} more kills left no replica"
        )

    return note


def _silent_replica() -> Iterator[Row]:
    for way in ("direct", "forwarded"):
        what = f"silent crash of a replica: first requests, {way}, extra p99"
        note = averages(extra_p50_ms="p50", first_requests="requests a seed:")
        yield Row("crash", what, f"silent replica, {way}", mean_of("extra_p99_ms"), 400, unit="ms", digits=0, note=note)
    what = "needless time-outs at 0.1% loss, of requests"
    counts = {"by_agents": "by agents, a seed:", "refused": "not counted, as refused:", "asked_again": "asked again:"}
    note = averages(**counts, requests="requests a seed:")
    yield Row("crash", what, "loss", ratio_of("timeouts", "requests"), 0.001, unit="%", digits=3, scale=100, note=note)


def _stability() -> Iterator[Row]:
    def gain(arm: str) -> Estimator:
        return lambda figures: statistics.ratio([_gain(one[arm]) for one in figures])

    def note(arm: str) -> Callable[[Sequence[Figures]], str]:
        return lambda figures: (
            f"{sum(one[arm]['departures'] for one in figures):,} departures, "
            f"placement {np.mean([one[arm]['placement'] for one in figures]):.2f}"
        )

    def row(arm: str, what: str, bound: float | None = None, **more: Any) -> Row:
        told = f"population's departures / members', {what}"
        return Row("stability", told, "stability", gain(arm), bound, note=note(arm), **more)

    yield row("random", "Weibull sessions, random members")
    yield row("oldest", "Weibull sessions, policy oldest", 3.3, least=True)
    yield row("shipped", "Weibull sessions, the shipped policy", 2.3, least=True)
    yield row("exponential", "exponential sessions, the shipped policy", 0.1, around=1.0)
    yield row("own", "hosts that return, each with a law of its own, the shipped policy")
    for arm, what in (("shipped", "Weibull"), ("exponential", "exponential"), ("own", "hosts' own")):
        told = f"predicted stability, {what} sessions: Brier score"
        yield Row("stability", told, "stability", _of_forecasts(arm, "brier"), digits=3, note=_forecasts(arm))


def _of_forecasts(arm: str, key: str) -> Estimator:
    return lambda figures: statistics.mean([one[arm]["forecasts"][key] for one in figures])


def _forecasts(arm: str) -> Callable[[Sequence[Figures]], str]:
    def note(figures: Sequence[Figures]) -> str:
        every = [one[arm]["forecasts"] for one in figures]
        skill, off, stayed = (float(np.mean([one[key] for one in every])) for key in ("skill", "calibration", "stayed"))
        count = sum(one["forecasts"] for one in every)
        by_age = float(np.mean([one[arm]["by_age"]["skill"] for one in figures]))
        alone = f" ({by_age:.3f} by ages alone)" if round(by_age, 3) != round(skill, 3) else ""
        return f"skill {skill:.3f}{alone}, off by {off:.3f} on average, {stayed:.0%} of {count:,} sessions went on for an hour"

    return note


def _gain(arm: Figures) -> tuple[float, float]:
    """(departures that the population's rate would have meant for the members, departures)."""
    return arm["deaths"] / arm["nodes_minutes"] * arm["members_minutes"], arm["departures"]


def _churn() -> Iterator[Row]:
    for median, bound in zip(MEDIANS_S, (0.9999, 0.999), strict=True):
        what = f"availability, median session {median / 60:g} min, deadline {churn.DEADLINE_S:g} s"
        yield Row(
            "churn", what, f"churn {median:g}", share_of("ok", "issued"), bound, least=True, unit="%", digits=3, scale=100,
            note=_grown,
        )  # fmt: skip


def _grown(figures: Sequence[Figures]) -> str:
    issued, ok, ends = (sum(one[key] for one in figures) for key in ("grown_issued", "grown_ok", "ends"))
    return f"of clients older than {churn.GROWN_S:g} s {100 * ok / max(1, issued):.3f}%; {ends:,} ends"


def _sizing() -> Iterator[Row]:
    def mean(figures: Sequence[Figures]) -> Estimate:
        return statistics.mean(sizing.errors(figures))

    def p90(figures: Sequence[Figures]) -> Estimate:
        found = float(np.quantile(sizing.errors(figures), 0.9))
        return Estimate(found, found, found, len(figures))

    m = averages(m_half="m", m_twice="and", d="d")
    told = "m from u/(d E), half and twice the load"
    yield Row("sizing", f"{told}, mean error", "sizing", mean, 0.10, unit="%", digits=1, scale=100, note=m)
    yield Row("sizing", f"{told}, p90 of the error", "sizing", p90, 0.20, unit="%", digits=1, scale=100, note=_all_e)
    what = f"E, {sizing.CHOICE}, heard {sizing.STALENESS / 1e9:g} s ago"
    yield Row("sizing", what, "sizing", mean_of("e"), note=averages(n="n"))


def _all_e(figures: Sequence[Figures]) -> str:
    means = {name: np.mean([one["e_by"][name] for one in figures]) for name in figures[0]["e_by"]}
    return "E: " + "; ".join(f"{name} {mean:.2f}" for name, mean in means.items())


def _hot_spot() -> Iterator[Row]:
    note = averages(
        followed="followed by", moved="new members (each a state transfer, not in this):", at_first="at first x",
        placement="settled placement / ideal for that demand",
    )  # fmt: skip
    what = "hot spot moves to another region: latency within 10% of settled after"
    yield Row("hot-spot", what, "hot spot", mean_of("back_s"), 30, unit="s", digits=1, note=note)
