"""Figures as people read them: the same words in the terminal and in report.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opus_controller.report.result import (
    AppConsistency,
    AppShards,
    AppSpread,
    ChurnResult,
    ExpectationResult,
    FaultResult,
    Latency,
    Result,
    ServiceResult,
    UtilityResult,
)

NOTHING = "–"


def count(n: int, noun: str) -> str:
    """ "1 host", "1,200 hosts"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def ms(value: float | None) -> str:
    """Three significant digits and never fewer than whole milliseconds: "0.42 ms", "12.3 ms", "1,240 ms"."""
    return NOTHING if value is None else f"{_significant(value)} ms"


def seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{_significant(value)} s"


def number(value: float | None) -> str:
    return NOTHING if value is None else _significant(value)


def ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A percentage that never rounds up to a whole 100%: "99.97%", "100%", "99.9996%"."""
    if value is None:
        return NOTHING
    if value in (0.0, 1.0):
        return f"{value:.0%}"
    for digits in (2, 3, 4, 5):
        text = f"{100 * value:.{digits}f}"
        if not text.startswith("100"):
            return f"{text}%"
    return "99.99999%"


def size(value: int) -> str:
    for factor, unit in ((1_000_000, "MB"), (1_000, "kB")):
        if value >= factor:
            return f"{_significant(value / factor)} {unit}"
    return f"{value} B"


def bytes_per_s(value: float | None) -> str:
    return NOTHING if value is None else f"{_significant(value)} B/s"


def rate(value: float | None) -> str:
    """Of bits per second, in Mbit/s: "0.512 Mbit/s", "98.7 Mbit/s"."""
    return NOTHING if value is None else f"{value / 1e6:.3g} Mbit/s"


def _significant(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def latency(value: Latency) -> str:
    """ "mean 41.2 ms   p50 38.1   p90 80.2   p99 110   max 240 "."""
    if value.mean is None:
        return NOTHING
    rest = "  ".join(f"{name} {number(getattr(value, name))}" for name in ("p50", "p90", "p99", "max"))
    return f"{rest}  mean {number(value.mean)} ms"


def fact(value: object) -> str:
    """What a runtime says of itself, without the marks of a programming language."""
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {fact(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(fact(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def when(seconds_: float) -> str:
    """A time of the run to a tenth of a second: "22 s", "22.4 s"."""
    return f"{round(seconds_, 1):g} s"


def recovery(seconds_: float | None, recovered: bool | None) -> str:
    """ "no dip", "1 s", or that availability was not back by the next fault."""
    if recovered is None:
        return "no requests"
    if seconds_ is None:
        return "not before the next"
    return "no dip" if seconds_ == 0 else seconds(seconds_)


def victims(fault: FaultResult, most: int) -> str:
    """Who was hit, the first `most` by name. Of link events the target says it all."""
    if fault.kind in ("link", "heal"):
        return ""
    shown = ", ".join(fault.victims[:most])
    return f"{shown} +{len(fault.victims) - most}" if len(fault.victims) > most else shown or "nobody"


def churn(what: ChurnResult, hosts: int) -> str:
    """ "12 power-offs, 5 crashes, 15 returns; 24.2 of 30 hosts up (20 to 28); sessions median 172 s"."""
    moves = [(what.power_offs, "power-off"), (what.crashes, "crash"), (what.leaves, "leave"), (what.returns, "return")]
    told = ", ".join(count(n, noun) if noun != "crash" or n == 1 else f"{n:,} crashes" for n, noun in moves if n)
    up = f"{number(what.alive.mean)} of {hosts:,} hosts up ({number(what.alive.min)} to {number(what.alive.max)})"
    medians = [("sessions", what.sessions), ("absences", what.downtimes)]
    lasted = "".join(f"; {name} median {seconds(spells.median_s)}" for name, spells in medians if spells.median_s is not None)
    return f"{told or 'nobody left'}; {up}{lasted}"


def service(what: ServiceResult) -> str:
    """ "ran on 5 hosts, 5 starts, 1 stop; ready p50 0.52 s, max 1.4 s after the role; files 10.2 kB, shipped to 4 hosts ..."."""
    told = [(what.stopped, "stop"), (what.ended, "end by itself"), (what.failed, "failed start")]
    counts = ", ".join([count(what.started, "start"), *(f"{n:,} {noun if n == 1 else _PLURAL[noun]}" for n, noun in told if n)])
    ready = f"; ready p50 {seconds(what.ready_s.p50)}, max {seconds(what.ready_s.max)} after the role" if what.started else ""
    shipped = what.shipped
    if not what.files_bytes:
        return f"ran on {count(what.hosts, 'host')}, {counts}{ready}"
    took = f" in p50 {seconds(shipped.time_s.p50)}, max {seconds(shipped.time_s.max)}" if shipped.count else ""
    files = f"; files {size(what.files_bytes)}, shipped to {count(shipped.count, 'host')}{took}, {size(shipped.bytes)} in all"
    return f"ran on {count(what.hosts, 'host')}, {counts}{ready}{files}"


_PLURAL = {"stop": "stops", "end by itself": "ends by themselves", "failed start": "failed starts"}


def measured(expected: ExpectationResult) -> str:
    """An expectation's figure in the unit its own name uses, or why there is none."""
    if expected.actual is None:
        return expected.note or "no data"
    parts = expected.figure.split(".")
    head = ".".join(parts[:2]) if parts[0] == "spread" else parts[0]
    unit = next((unit for end, unit in UNITS.items() if head.endswith(end)), number)
    return f"{unit(expected.actual)} ({expected.note})" if expected.note else unit(expected.actual)


UNITS: Mapping[str, Callable[[float | None], str]] = {
    "availability": share,
    "utility": share,
    "spread.reached": share,
    "spread.within_s": seconds,
    "spread.all_s": seconds,
    "bytes_per_s": bytes_per_s,
    "_ms": ms,
    "_s": seconds,
}
"""How a figure is written, by the end of its name; the first that fits."""


def headline(result: Result) -> list[tuple[str, str]]:
    """The run in a dozen lines: (what, figures)."""
    asked, routes = result.requests, result.by_route
    rows = [
        ("requests", f"{asked.issued:,} issued, {asked.ok:,} ok, {asked.failed:,} failed{_why(result)}"),
        ("availability", f"{share(asked.availability)}; of clients with a path {share(asked.reachable.availability)}"),
        ("routing latency", latency(result.routing_latency_ms)),
        ("request latency", latency(result.request_latency_ms)),
        ("hops", f"mean {ratio(result.hops.mean)}  p50 {number(result.hops.p50)}  max {number(result.hops.max)}"),
        ("first / repeat", f"routing p50 {_pair(result)}"),
        ("stretch", f"{ratio(result.stretch)}, regret p50 {ms(result.regret_ms.p50)}  p95 {ms(result.regret_ms.p95)}"),
        ("self-organization", f"{ratio(result.cost_of_self_organization)} times the latency of a full-knowledge placement"),
        ("agents, replicas", f"{result.agents:,} agents; {_replicas(result)}"),
        ("state", _state(result)),
        ("control traffic", _control(result)),
    ]
    if result.churn is not None:
        rows.append(("churn", churn(result.churn, result.hosts)))
    if result.utility is not None:
        rows.append(("utility", utility(result.utility)))
    if result.consistency is not None:
        rows += [(f"data of {one.app}", consistency(one)) for one in result.consistency.apps]
    if result.spread is not None:
        rows += [(f"updates of {one.app}", spread(one)) for one in result.spread.apps]
    if result.shards is not None:
        rows += [(f"shards of {one.app}", shards(one)) for one in result.shards.apps]
    rows += [(f"service {one.app}", service(one)) for one in result.services]
    if asked.shed:
        rows.insert(2, ("turned away", f"{asked.shed:,} times for want of room, before they were answered elsewhere or refused"))
    if not asked.issued:
        kept = {"agents, replicas", "state", "control traffic", "churn", *(f"service {one.app}" for one in result.services)}
        return [("requests", "none"), *(row for row in rows if row[0] in kept)]
    if routes:
        shares = ", ".join(f"{name} {share(figures.requests.issued / asked.issued)}" for name, figures in routes.items())
        rows.insert(5, ("routes", shares))
    return rows


def consistency(told: AppConsistency) -> str:
    """ "linearizable: kept for all of 20 keys, 1,860 operations, 12 of them unheard"."""
    many = f"{told.operations:,} operations, {count(told.unheard, 'write')} unheard"
    if told.stale:
        many += f", {count(told.stale, 'read')} stale by up to {told.stalest_s:.1f} s"
    if told.violations:
        return f"{told.mode}: violated for {told.violations:,} of {count(told.keys, 'key')}; {many}"
    if told.undecided:
        return f"{told.mode}: not decided for {told.undecided:,} of {count(told.keys, 'key')}; {many}"
    return f"{told.mode}: kept for all of {count(told.keys, 'key')}; {many}"


def spread(told: AppSpread) -> str:
    """ "1,204 published, 99.98% of live replicas reached, all of them within p50 0.21 s  p99 0.9  max 1.2; 1.02 copies ..."."""
    if not told.judged:
        return f"{told.published:,} published, too late to be judged" if told.published else "none published"
    all_s = told.all_s
    took = f"all within p50 {seconds(all_s.p50)}  p99 {seconds(all_s.p99)}  max {seconds(all_s.max)}"
    links = f"links mean {ratio(told.links.mean)}, most {number(told.links.max)}"
    lost = f", {told.lost:,} lost with their publishers" if told.lost else ""
    reached = f"{told.published:,} published{lost}, {share(told.reached)} of live replicas reached"
    return f"{reached}, {took}; copies {ratio(told.copies)}, {links}"


def shards(told: AppShards) -> str:
    """ "48 with 3 to 9 copies, mean 3.4, the hottest 9; 20 moves; 0 of 500 keys lost"."""
    copies = f"{told.shards} with {told.copies_min} to {told.copies_max} copies, mean {told.copies_mean:.1f}"
    return (
        f"{copies}, the hottest {told.hottest_copies}; {count(told.moves, 'move')}; {told.lost_keys:,} of {told.keys:,} keys lost"
    )


def utility(told: UtilityResult) -> str:
    """Of each application what it was worth, of what it could have been."""
    each = ", ".join(f"{one.app} {_worth(one.mean)} of {one.worth:g}" for one in told.apps)
    return f"{share(told.share)}: {each}"


def _worth(mean: float | None) -> str:
    return "nothing asked" if mean is None else f"{mean:.3g}"


def _why(result: Result) -> str:
    why = ", ".join(f"{n:,} {name}" for name, n in result.requests.outcomes.items() if name != "ok")
    return f" ({why})" if why else ""


def _pair(result: Result) -> str:
    first, repeat = result.first_requests.routing_latency_ms.p50, result.repeat_requests.routing_latency_ms.p50
    return f"{ms(first)} / {ms(repeat)}"


def _replicas(result: Result) -> str:
    return ", ".join(f"{app.app} {app.replicas_live} of {app.replicas_wanted}" for app in result.by_app) or "no application"


def _state(result: Result) -> str:
    node, agent = result.state_entries.node, result.state_entries.agent
    if node.max is None and agent.max is None:
        return "not sampled"
    of_agent = f"of an agent p50 {number(agent.p50)} max {number(agent.max)}"
    return f"entries of a node p50 {number(node.p50)} max {number(node.max)}, {of_agent}"


def _control(result: Result) -> str:
    control = result.control_bytes_per_s
    if control.mean is None:
        return "not sampled"
    return f"mean {bytes_per_s(control.mean)}  p99 {bytes_per_s(control.p99)}  max {bytes_per_s(control.max)} a host"
