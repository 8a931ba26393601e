"""Several runs for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from opus_controller.report import words
from opus_controller.report.several import measures
from opus_controller.report.several.repeat import OneRun, Repeat, Summary
from opus_controller.report.several.sweep import Sweep
from opus_controller.report.table import VERDICT_STYLE

MOST_REASONS = 6


def grid(*columns: str) -> Table:
    """The first column is text, the others are figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if k else "left", no_wrap=not k, overflow="fold")
    return table


def several(document: Repeat | Sweep) -> RenderableType:
    return repeat(document) if isinstance(document, Repeat) else sweep(document)


def repeat(summary: Repeat) -> RenderableType:
    """A title, a line a figure, the expectations and what was invalid."""
    parts: list[RenderableType] = [_title(summary)]
    if summary.figures:
        parts.append(Padding(_figures(summary.figures), (0, 0, 0, 1), expand=False))
    if summary.expectations:
        parts.append(Padding(_expectations(summary), (1, 0, 0, 1), expand=False))
    parts += [Text(f" {line}", style="yellow") for line in remarks(summary.runs)]
    return Group(*parts)


def _title(summary: Repeat) -> Text:
    verdict = summary.verdict or "invalid"
    many = words.count(len(summary.runs), "run")
    if len(summary.runs) < summary.asked:
        many = f"{len(summary.runs)} of {words.count(summary.asked, 'run')}"
    settings = "".join(f", {key} {value}" for key, value in summary.settings.items())
    title = Text.assemble(
        (f" {verdict.upper()} ", VERDICT_STYLE[verdict]),
        " ",
        (summary.scenario, "bold"),
        f" on {summary.topology}, {words.count(summary.hosts, 'host')}{settings}: {many}, {verdicts(summary.runs)}",
    )
    title.append(f"\n {summary.runtime}, {summary.links} links, {seeds(summary.runs)}", "dim")
    return title


def verdicts(runs: Sequence[OneRun]) -> str:
    """ "9 pass, 1 fail"."""
    counted = Counter(run.verdict for run in runs)
    return ", ".join(f"{counted[verdict]} {verdict}" for verdict in ("pass", "fail", "invalid") if counted[verdict])


def seeds(runs: Sequence[OneRun]) -> str:
    """ "seeds 1 to 10", or the list of them where some are missing."""
    of = sorted(run.seed for run in runs)
    if len(of) == 1:
        return f"seed {of[0]}"
    whole = of == list(range(of[0], of[0] + len(of)))
    return f"seeds {of[0]} to {of[-1]}" if whole else f"seeds {', '.join(map(str, of))}"


def interval(name: str, summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return words.NOTHING
    return f"{measures.plain(name, summary.low)} to {measures.plain(name, summary.high)}"


def _figures(figures: dict[str, Summary]) -> Table:
    table = grid("figure", "mean", "95% interval", "median", "least", "most", "")
    most = max(summary.runs for summary in figures.values())
    for name, one in figures.items():
        few = f"of {words.count(one.runs, 'run')}" if one.runs < most else ""
        shown = (measures.plain(name, value) for value in (one.median, one.min, one.max))
        table.add_row(name, measures.plain(name, one.mean), interval(name, one), *shown, few)
    return table


def _expectations(summary: Repeat) -> Table:
    table = grid("expected", "held in")
    for expected in summary.expectations:
        style = "" if expected.held == expected.runs else "bold red"
        table.add_row(expected.name, Text(f"{expected.held} of {words.count(expected.runs, 'run')}", style=style))
    return table


def remarks(runs: Sequence[OneRun]) -> list[str]:
    """Why figures of some runs are not among the others."""
    lines = [
        f"seed {run.seed} invalid, left out: {run.reasons[0] if run.reasons else ''}" for run in runs if run.verdict == "invalid"
    ]
    if len(lines) > MOST_REASONS:
        lines[MOST_REASONS:] = [f"and {len(lines) - MOST_REASONS} more invalid runs left out"]
    if lost := [run for run in runs if run.did_not_recover]:
        lines.append(f"no recovery from a fault in {words.count(len(lost), 'run')} ({seeds(lost)})")
    return lines


HEADLINE = (
    "availability",
    "routing_latency_ms.p50",
    "routing_latency_ms.p99",
    "hops.mean",
    "stretch",
    "control_bytes_per_s.mean",
)
"""Columns of a sweep's table unless others are asked for."""


def sweep(swept: Sweep, figures: Sequence[str] = HEADLINE) -> RenderableType:
    """A title and a line a setting: each figure's mean and half its interval."""
    names = [name for name in figures if any(name in setting.repeat.figures for setting in swept.settings)]
    table = grid("", *short(swept.vary), "verdicts", *names)
    for setting in swept.settings:
        values = (str(setting.values[key]) for key in swept.vary)
        cells = (_cell(name, setting.repeat.figures.get(name)) for name in names)
        style = VERDICT_STYLE[setting.repeat.verdict or "invalid"].split()[-1]
        verdict = Text(verdicts(setting.repeat.runs), style="" if style == "green" else style)
        table.add_row(setting.directory.split("-", 1)[0], *values, verdict, *cells)
    parts: list[RenderableType] = [_swept(swept), Padding(table, (0, 0, 0, 1), expand=False)]
    parts += [
        Text(f" {setting.directory}: {line}", style="yellow")
        for setting in swept.settings
        for line in remarks(setting.repeat.runs)
    ]
    return Group(*parts)


def short(keys: Iterable[str]) -> list[str]:
    """Their last parts, where those tell them apart: "replicas" for "applications.web.replicas"."""
    whole = list(keys)
    last = [key.rpartition(".")[2] for key in whole]
    return last if len(set(last)) == len(last) else whole


def _swept(swept: Sweep) -> Text:
    many = words.count(len(swept.settings), "setting")
    if len(swept.settings) < swept.asked:
        many = f"{len(swept.settings)} of {words.count(swept.asked, 'setting')}"
    runs = [run for setting in swept.settings for run in setting.repeat.runs]
    title = Text.assemble(
        (f" {swept.verdict.upper()} ", VERDICT_STYLE[swept.verdict]),
        " ",
        (swept.scenario, "bold"),
        f": {many}, {words.count(len(runs), 'run')}, {verdicts(runs)}",
    )
    title.append(f"\n {swept.runtime}, {swept.links} links, {seeds(swept.settings[0].repeat.runs)}", "dim")
    return title


def _cell(name: str, summary: Summary | None) -> str:
    """ "24.6 ±3.1": the mean and half of its 95% interval."""
    if summary is None:
        return words.NOTHING
    mean = measures.plain(name, summary.mean)
    if summary.low is None or summary.high is None:
        return mean
    half = max(summary.high - summary.mean, summary.mean - summary.low)
    return f"{mean} ±{f'{100 * half:.2g}' if measures.is_share(name) else words.number(half)}"
