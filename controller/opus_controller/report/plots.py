"""The plots, as matplotlib figures. Each is one question; none needs the others. Colours come from a `Palette`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from opus_controller.model.plan import Plan
from opus_controller.report import figures, series, steady
from opus_controller.report.palette import Palette
from opus_controller.report.result import Result, SiteResult, UtilityResult
from opus_controller.report.run import SECOND, Run
from opus_controller.report.table import worst_first
from opus_controller.report.world import FaultSeen

WIDTH = 9.6
"""Inches at 72 dots: the width of the page's column."""
MOST_SITES = 24
MOST_DOTS = 2500
MOST_CROWDS = 8

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "text.parse_math": False,  # a "$" in a name is a dollar
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
}


def style(colours: Palette) -> Any:
    """A dict of rcParams for `matplotlib.rc_context` (whose keys matplotlib types as a literal of all their names)."""
    return {
        **_STYLE,
        "text.color": colours.ink,
        "axes.labelcolor": colours.muted,
        "axes.edgecolor": colours.grid,
        "axes.titlecolor": colours.ink,
        "xtick.color": colours.muted,
        "ytick.color": colours.muted,
        "grid.color": colours.grid,
        "legend.labelcolor": colours.ink,
    }


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page; `name` makes its inner identifiers the page's only ones, and stable."""
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    content = text.getvalue()
    content = re.sub(r'<g id="[^"]*"', "<g", content)  # names of groups: the same in every figure, and nobody refers to them
    return content[content.index("<svg") :].replace("DejaVu Sans", "inherit")


def overview(run: Run, colours: Palette) -> Figure:
    """Was it available, how fast was it, and what happened meanwhile?"""
    figure = Figure(figsize=(WIDTH, 5.4))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 3])
    _availability(top, run, colours)
    _latency(bottom, run, colours)
    for axes in (top, bottom):
        mark(axes, run, colours, numbers=axes is top)
        axes.set_xlim(0, max(run.end / SECOND, 1))
    bottom.set_xlabel("seconds since the start" if series.width_s(run) == 1 else _windowed(run))
    return figure


def _windowed(run: Run) -> str:
    return f"seconds since the start; windows of {series.width_s(run)} s"


def _availability(axes: Axes, run: Run, colours: Palette) -> None:
    everyone = series.windows(run)
    with_path = series.windows(run, run.everyone.oracle.reachable)
    x = _edges(everyone)
    of_all, of_reachable = _held(everyone.availability * 100), _held(with_path.availability * 100)
    axes.fill_between(x, of_all, 100, step="post", color=colours.bad, alpha=0.25, linewidth=0)
    axes.step(x, of_all, where="post", color=colours.bad, label="all clients")
    axes.step(x, of_reachable, where="post", color=colours.good, label="clients with a path to a live replica")
    lowest = np.nanmin(np.concatenate([everyone.availability, with_path.availability, [0.99]])) * 100
    axes.set_ylim(max(0.0, lowest - (100 - lowest) * 0.08), 100 + (100 - lowest) * 0.06)
    axes.set_title("requests answered in time, %", pad=22)
    axes.legend(loc="lower right", ncols=2, bbox_to_anchor=(1.0, 1.11), borderaxespad=0.0)


def _latency(axes: Axes, run: Run, colours: Palette) -> None:
    over_time = series.windows(run, quantiles=(0.5, 0.9, 0.99))
    x, q = _edges(over_time), over_time.quantiles_ms
    _dots(axes, run, colours)
    for share, line, colour in ((0.99, ":", colours.ink), (0.9, "--", colours.ink), (0.5, "-", colours.a)):
        axes.step(x, _held(q[share]), where="post", color=colour, linestyle=line, linewidth=1.3, label=f"p{share * 100:.0f}")
    _log_ms(axes.yaxis, axes, np.concatenate(list(q.values())), which="y")
    axes.set_title("routing latency, ms")
    axes.legend(loc="lower right", ncols=3, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def _edges(windows: series.Windows) -> Any:
    """Starts of all windows and the end of the last: what a step needs to be as wide as its window."""
    return np.append(windows.start_s, windows.start_s[-1] + windows.width_s)


def _held(values: Any) -> Any:
    return np.append(values, values[-1:])


def _dots(axes: Axes, run: Run, colours: Palette) -> None:
    """Ok requests that left their host, or an even sample: one path of tiny strokes, a tenth of the size of as many markers."""
    requests = run.everyone.requests
    left = np.flatnonzero(requests.ok & (requests.routing_ns > 0))
    if not len(left):
        return
    left = left[np.linspace(0, len(left) - 1, min(len(left), MOST_DOTS)).round().astype(int)]
    at = np.repeat(np.column_stack([requests.issued[left] / SECOND, requests.routing_ns[left] / 1e6]), 2, axis=0)
    at[1::2, 0] += run.end / SECOND / 5000  # a stroke without length has no ends to draw
    path = Path(at, [Path.MOVETO, Path.LINETO] * len(left))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colours.a, alpha=0.45, linewidth=2.8, capstyle="round"))


def _log_ms(axis: Any, axes: Axes, values: Any, *, which: str) -> None:
    """A logarithmic axis of milliseconds with plain numbers, if the values ask for one."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive) or positive.max() / positive.min() < 8:
        (axes.set_ylim if which == "y" else axes.set_xlim)(0)
        return
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    steps = (1.0,) if which == "x" and positive.max() / positive.min() > 300 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=14))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))


def in_force(faults: Sequence[FaultSeen], end: int) -> list[tuple[int, int]]:
    """From when to when (ns) something lay over the links or hosts stood still: until undone, else to `end`."""
    spans = []
    for fault in faults:
        if fault.kind in ("partition", "link", "pause", "strain", "flood"):
            undone = (f.t for f in faults if f.t >= fault.t and f is not fault and fault.name and f.undoes == fault.name)
            spans.append((fault.t, min(undone, default=end)))
    return spans


def mark(axes: Axes, run: Run, colours: Palette, *, numbers: bool) -> None:
    """Faults as numbered lines (the numbers of the table of faults), spans in force and invalid ones as bands."""
    for start, end in in_force(run.world.faults, run.end):
        axes.axvspan(start / SECOND, end / SECOND, color=colours.span, alpha=0.07, linewidth=0)
    _mark_invalid(axes, run, colours)
    last = -math.inf
    crowded = len(run.world.faults) > 24
    for i, fault in enumerate(run.world.faults, start=1):
        x = fault.t / SECOND
        axes.axvline(x, color=colours.fault, linewidth=0.5 if crowded else 0.9, alpha=0.4 if crowded else 0.8)
        apart = run.end / SECOND / 45  # nearer numbers would lie over each other
        if numbers and x - last >= apart:
            axes.text(
                x, 1.02, str(i), transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=8.5,
                fontweight="bold", color=colours.fault,
            )  # fmt: skip
            last = x


def _mark_invalid(axes: Axes, run: Run, colours: Palette) -> None:
    for start, end in run.invalid_spans:
        axes.axvspan(start, max(end, start + 0.5), color=colours.invalid, alpha=0.25, linewidth=0)


def crowds(plan: Plan) -> list[tuple[str, int, int]]:
    """(application, from, to; ns) of clients that begin to ask later than others do, or end sooner: short ones, told once."""
    if not plan.workload:
        return []
    first, last = min(load.start_ns for load in plan.workload), max(load.stop_ns for load in plan.workload)
    spans = dict.fromkeys((load.app, load.start_ns, load.stop_ns) for load in plan.workload)
    short = [(app, start, stop) for app, start, stop in spans if start > first or stop < last]
    return sorted(short, key=lambda one: one[1:])[:MOST_CROWDS]


def mark_crowds(axes: Axes, run: Run, colours: Palette, *, told: bool) -> None:
    """Bands, from when to when there are more who ask; by name if they are to be told."""
    end = run.end / SECOND
    for app, start, stop in crowds(run.plan):
        axes.axvspan(start / SECOND, stop / SECOND, color=colours.muted, alpha=0.12, linewidth=0, zorder=0)
        if told:
            x = min(start / SECOND + 0.006 * end, end)
            how = f"more ask\nfor {app}"
            axes.text(x, 0.97, how, transform=axes.get_xaxis_transform(), va="top", fontsize=8.0, color=colours.muted)


def worth(run: Run, told: UtilityResult, colours: Palette) -> Figure:
    """What was each application worth to its users, and how many hosts did it hold?"""
    figure = Figure(figsize=(WIDTH, 4.6))
    top, bottom = figure.subplots(2, 1, sharex=True)
    looks = [(colour, line) for line in ("-", "--", ":") for colour in (colours.a, colours.b, colours.c, colours.d)]
    for one, (colour, line) in zip(told.apps, looks, strict=False):
        felt = np.array([np.nan if each is None else each for each in one.windows])
        x = np.arange(len(felt) + 1) * told.width_s
        top.step(x, _held(felt), where="post", color=colour, linestyle=line, label=f"{one.app}, of {one.worth:g}")
        if one.hosts:
            at, count = zip(*one.hosts, strict=True)
            end = max(run.end / SECOND, at[-1])
            bottom.step([*at, end], [*count, count[-1]], where="post", color=colour, linestyle=line)
    for axes in (top, bottom):
        mark(axes, run, colours, numbers=axes is top)
        mark_crowds(axes, run, colours, told=axes is bottom)
        axes.set_xlim(0, max(run.end / SECOND, 1))
        axes.set_ylim(0)
    top.set_title("worth to its users", pad=22)
    top.legend(loc="lower right", ncols=4, bbox_to_anchor=(1.0, 1.08), borderaxespad=0.0)
    bottom.set_title("hosts that serve it")
    bottom.yaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.set_xlabel("seconds since the start")
    return figure


def latency_cdf(run: Run, colours: Palette) -> Figure:
    """How are latencies spread, with and without a warm cache, and against the best that was possible?"""
    figure = Figure(figsize=(WIDTH / 2, 3.4))
    axes = figure.subplots()
    requests = run.judged.requests
    comparable = figures.comparable(run.judged)
    best = run.judged.oracle.best[comparable] / 1e6
    drawn = [np.array([])]
    for name, mask, colour, line in (
        ("repeat requests", requests.ok & ~requests.first, colours.a, "-"),
        ("first requests", requests.ok & requests.first, colours.b, "--"),
    ):
        if mask.any():
            drawn.append(_cdf(axes, requests.routing_ns[mask] / 1e6, name, colour, line))
    if len(best):
        drawn.append(_cdf(axes, best, "one way to the best live replica", colours.muted, ":"))
    _log_ms(axes.xaxis, axes, np.concatenate(drawn), which="x")
    axes.set_ylim(0, 101)
    axes.set_title("routing latency, % of requests within … ms")
    axes.legend(loc="lower right", fontsize=8.5)
    return figure


def _cdf(axes: Axes, values: Any, name: str, colour: str, line: str) -> Any:
    x, share = series.distribution(np.asarray(values, dtype=np.float64))
    axes.plot(x, share * 100, color=colour, linestyle=line, label=name)
    return x


def sites(result: Result, colours: Palette) -> Figure:
    """Where were requests lost, and had those clients a path at all?"""
    asked = worst_first([site for site in result.by_site if site.requests.issued])[:MOST_SITES]
    figure = Figure(figsize=(WIDTH / 2, max(2.2, 0.9 + 0.26 * len(asked))))
    axes = figure.subplots()
    rows = np.arange(len(asked))
    left = np.zeros(len(asked))
    for name, of_site, colour in (
        ("ok", _ok, colours.good),
        ("failed with a path", _failed_with_path, colours.bad),
        ("failed without", _failed_without, colours.muted),
    ):
        width = np.array([100 * of_site(site) / site.requests.issued for site in asked])
        axes.barh(rows, width, left=left, color=colour, height=0.68, label=name, alpha=0.85, linewidth=0)
        left += width
    axes.set_yticks(rows, [site.site for site in asked])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(visible=False, axis="y")
    axes.set_title("requests by site of the client, %", pad=20)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, ncols=3, columnspacing=1, handlelength=1, fontsize=8.5
    )
    return figure


def _ok(site: SiteResult) -> int:
    return site.requests.ok


def _failed_with_path(site: SiteResult) -> int:
    return site.reachable.failed


def _failed_without(site: SiteResult) -> int:
    return site.requests.failed - site.reachable.failed


def roles(run: Run, colours: Palette) -> Figure:
    """How many hosts lived, how many were agents, how many served?"""
    figure = Figure(figsize=(WIDTH, 2.7))
    left, right = figure.subplots(1, 2)
    track = run.world.counts
    times = np.array([*track.times, run.end]) / SECOND
    values = np.array([*track.values, track.values[-1]]) if track.values else np.zeros((1, 2 + len(run.plan.apps)))
    left.step(times, values[:, 0], where="post", color=colours.muted, label="hosts up")
    left.step(times, values[:, 1], where="post", color=colours.a, label="agents")
    left.set_title("hosts and agents")
    for i, app in enumerate(run.plan.apps[:4]):
        colour = (colours.b, colours.c, colours.d, colours.a)[i]
        right.step(times, values[:, 2 + i], where="post", color=colour, label=f"replicas of {app.name}")
        right.axhline(app.replicas, color=colour, linestyle=":", linewidth=1)
    right.set_title("live replicas (dotted: wanted)")
    for axes in (left, right):
        mark(axes, run, colours, numbers=False)
        axes.set_xlim(0, max(run.end / SECOND, 1))
        axes.set_ylim(0, max(1.0, axes.get_ylim()[1] * 1.15))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=4, fontsize=8.5)
        axes.set_xlabel("seconds since the start")
    return figure


def burden(run: Run, colours: Palette) -> Figure:
    """What does the overlay cost each host, in table entries and in control traffic?"""
    figure = Figure(figsize=(WIDTH, 2.8))
    left, right = figure.subplots(1, 2)
    samples = run.steady_samples
    for name, is_agent, colour in (("nodes", False, colours.a), ("agents", True, colours.b)):
        entries = np.array([s["entries"] for s in samples if bool(s["is_agent"]) is is_agent], dtype=np.float64)
        if len(entries):
            _cdf(left, entries, name, colour, "-")
    left.set_title("table entries held, % of samples with at most …")
    rates = steady.control_rates(samples, run.starts)
    for name, hosts, colour in _by_office(run, samples, colours):
        of_kind = np.array([rate for host, rate in rates.items() if host in hosts])
        if len(of_kind):
            _cdf(right, of_kind, name, colour, "-")
    right.set_title("control traffic in bytes/s, % of hosts with at most …")
    for axes in (left, right):
        axes.set_ylim(0, 101)
        axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
        axes.legend(loc="lower right", fontsize=8.5)
    return figure


def _by_office(run: Run, samples: Sequence[steady.Sample], colours: Palette) -> list[tuple[str, set[str], str]]:
    """Hosts by the most that they ever were: (name, hosts, colour)."""
    everyone = {host.name for host in run.plan.hosts}
    agents = {str(sample["host"]) for sample in samples if sample["is_agent"]}
    replicas = {run.plan.hosts[i].name for track in run.world.serving.values() for _, serving in track.values for i in serving}
    return [
        ("nodes", everyone - agents - replicas, colours.a),
        ("agents at some time", agents, colours.b),
        ("replicas at some time", replicas - agents, colours.c),
    ]


def health(run: Run, colours: Palette) -> Figure:
    """Was the testbed itself well enough for the figures to mean something?"""
    figure = Figure(figsize=(WIDTH, 2.6))
    left, right = figure.subplots(1, 2)
    times = np.array([h.t_ns for h in run.health]) / SECOND
    left.plot(times, [100 * h.cpu_busy for h in run.health], color=colours.a, label="all")
    if any(h.cpu_others for h in run.health):
        left.plot(times, [100 * h.cpu_others for h in run.health], color=colours.b, linestyle="--", label="by other programs")
        left.legend(loc="upper right", fontsize=8.5)
    left.set_ylim(0, 105)
    left.set_title("processors busy, %")
    right.plot(times, [h.link_lag_p99_ns / 1e6 for h in run.health], color=colours.a, label="links, p99")
    right.plot(times, [h.node_lag_p99_ns / 1e6 for h in run.health], color=colours.b, linestyle="--", label="nodes' timers, p99")
    right.set_ylim(0)
    right.set_title("how late the testbed was, ms")
    right.legend(loc="upper right", fontsize=8.5)
    for axes in (left, right):
        axes.set_xlim(0, max(run.end / SECOND, float(times[-1]) if len(times) else 1, 1))
        axes.set_xlabel("seconds since the start")
        _mark_invalid(axes, run, colours)
    return figure
