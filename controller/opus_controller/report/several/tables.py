"""Several runs for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from opus_controller.report import words
from opus_controller.report.several import measures
from opus_controller.report.several.repeat import OneRun, Repeat, Summary
from opus_controller.report.table import VERDICT_STYLE

MOST_REASONS = 6


def grid(*columns: str) -> Table:
    """The first column is text, the others are figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if k else "left", no_wrap=not k, overflow="fold")
    return table


def repeat(summary: Repeat) -> RenderableType:
    """A title, a line a figure, the expectations and what was invalid."""
    parts: list[RenderableType] = [_title(summary)]
    if summary.figures:
        parts.append(Padding(_figures(summary.figures), (0, 0, 0, 1)))
    if summary.expectations:
        parts.append(Padding(_expectations(summary), (1, 0, 0, 1)))
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
