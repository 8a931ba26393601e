"""A comparison for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from opus_controller.report import words
from opus_controller.report.several import measures
from opus_controller.report.several.comparison import Compared, Comparison
from opus_controller.report.several.effects import Effect
from opus_controller.report.several.gate import Judged
from opus_controller.report.several.tables import HEADLINE, grid

SHOWN = ("routing_latency_ms.mean", *HEADLINE)
"""Figures that are shown even if they do not differ."""

MOST_TOLD = 101.0
"""A bound beyond this ratio says only that there are too few runs."""


def render(comparison: Comparison, *, all_figures: bool = False) -> RenderableType:
    """A: before, B: after. Figures that differ, and the important others; `all_figures`: every one."""
    parts: list[RenderableType] = [Text(f"A {comparison.before}\nB {comparison.after}", style="bold")]
    for group in comparison.groups:
        parts += [Text(""), *_group(group, all_figures)]
    return Group(*parts)


def _group(group: Compared, all_figures: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if group.values:
        parts.append(Text(", ".join(f"{key} {value}" for key, value in group.values.items()), style="bold"))
    parts.append(Text(_how(group), style="dim"))
    parts += [Text(f" {line}", style="yellow") for line in group.remarks]
    parts += [Text(f" differs: {line}") for line in group.differences] or [Text(" nothing differs in what was asked for")]
    shown = [effect for effect in group.effects if all_figures or effect.finding == "different" or effect.figure in SHOWN]
    if group.identical:
        parts.append(Text(" every run was the same, step for step", style="green"))
    if shown and (all_figures or not group.identical):
        parts.append(Padding(_table(shown), (1, 0, 0, 1), expand=False))
        parts.append(Text(_rest(group.effects, shown), style="dim"))
    parts += [_verdict(judged) for judged in group.conditions]
    return parts


def _how(group: Compared) -> str:
    before, after = group.runs
    if not group.paired:
        return (
            f"{words.count(before, 'run')} and {words.count(after, 'run')}, not the same seeds: compared as independent samples"
        )
    return f"{words.count(before, 'pair')} of runs with the same seed"


def _rest(effects: Sequence[Effect], shown: Sequence[Effect]) -> str:
    others = len(effects) - len(shown)
    if all(effect.low is None for effect in effects):
        rest = f" {words.count(others, 'other figure')}: --all;" if others else ""
        return f"{rest} one run on a side: what is chance cannot be told; more seeds: opus run --repeat"
    rest = f" of {words.count(others, 'other figure')} none differs (--all shows them);" if others else ""
    return f"{rest} the intervals hold together with 95%"


def _table(effects: Sequence[Effect]) -> Table:
    table = grid("figure", "A", "B", "change", "interval", "")
    for effect in sorted(effects, key=lambda effect: effect.finding != "different"):
        name, differs = effect.figure, effect.finding == "different"
        table.add_row(
            name,
            measures.plain(name, effect.before),
            measures.plain(name, effect.after),
            Text(change(effect, effect.change), style="bold" if differs else ""),
            interval(effect),
            Text(effect.finding.upper() if differs else effect.finding, style="bold" if differs else "dim"),
        )
    return table


def interval(effect: Effect) -> str:
    if effect.low is None or effect.high is None:
        return words.NOTHING
    return f"{change(effect, effect.low)} to {change(effect, effect.high)}"


def change(effect: Effect, value: float | None) -> str:
    """ "+9.8%" of a ratio, "-0.12 points" of a share, "+0.5" of a count."""
    if value is None:
        return words.NOTHING
    if effect.scale == "ratio":
        return f"{_signed(100 * (value - 1))}%" if value < MOST_TOLD else f"over +{100 * (MOST_TOLD - 1):,.0f}%"
    return f"{_signed(100 * value)} points" if measures.is_share(effect.figure) else _signed(value)


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"


def _verdict(judged: Judged) -> Text:
    mark = ("REGRESSED", "bold red") if judged.failed else ("ok", "green")
    found = judged.effect
    bounds = f" ({interval(found)})" if found.low is not None else ""
    return Text.assemble(" ", mark, f" {judged.condition}: {change(found, found.change)}{bounds}, {judged.why}")
