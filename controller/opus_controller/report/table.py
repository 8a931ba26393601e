"""A run's result for a terminal: what happened, who was hurt, what was expected. One screen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from opus_controller.report import words
from opus_controller.report.result import ExpectationResult, FaultResult, Result, SiteResult

VERDICT_STYLE = {"pass": "bold black on green", "fail": "bold white on red", "invalid": "bold black on yellow"}
MOST_SITES = 12
"""Rows of the table by site; the worst ones are kept."""
MOST_FAULTS = 20


def show(result: Result, console: Console, *, page: Path | None = None) -> None:
    """Print the table; `page` is named at the end as the place of the rest."""
    console.print(render(result, page=page))


def render(result: Result, *, page: Path | None = None) -> RenderableType:
    parts: list[RenderableType] = [_title(result), Padding(_figures(result), (0, 0, 0, 1))]
    if result.faults:
        parts.append(Padding(_faults(result.faults), (1, 0, 0, 1)))
    if _sites_differ(result):
        parts.append(Padding(_sites(result.by_site), (1, 0, 0, 1)))
    if result.expectations:
        parts.append(Padding(_expectations(result.expectations), (1, 0, 0, 1)))
    parts += [Text(f" invalid: {reason}", style="yellow") for reason in result.validity.reasons]
    parts += [Text(f" {result.validity.setting}: {note}", style="yellow") for note in result.validity.notes]
    if result.fidelity.gate is not None:
        parts += [Text(f" links: {line}", style="yellow") for line in result.fidelity.gate.wrong]
    if page is not None:
        parts.append(Text(f"\n {page}", style="dim"))
    return Group(*parts)


def _title(result: Result) -> Text:
    title = Text.assemble(
        (f" {result.verdict.upper()} ", VERDICT_STYLE[result.verdict]),
        " ",
        (result.scenario, "bold"),
        f" on {result.topology}, {words.count(result.hosts, 'host')}, {words.seconds(result.duration_s)}",
    )
    wall = f", {words.seconds(result.wall_s)} of wall time" if result.wall_s is not None else ""
    how = f"{result.runtime}, {result.links} links, seed {result.seed}, plan {result.plan_digest[:12]}{wall}"
    title.append(f"\n {how}", "dim")
    return title


def _grid(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def _figures(result: Result) -> Table:
    table = _grid(("", "left"), ("", "left"))
    table.show_header = False
    for name, value in words.headline(result):
        table.add_row(Text(name, style="dim"), value)
    return table


def _faults(faults: list[FaultResult]) -> Table:
    table = _grid(
        ("at", "right"), ("fault", "left"), ("hit", "left"), ("recovery", "right"),
        ("with a path", "right"), ("available", "right"),
    )  # fmt: skip
    for _, fault in worst_faults(faults, MOST_FAULTS):
        table.add_row(
            words.when(fault.at_s),
            Text.assemble((fault.kind, "bold"), f" {fault.target}"),
            words.victims(fault, most=2),
            _recovery(fault.recovery_s, fault.recovered),
            _recovery(fault.recovery_reachable_s, fault.recovered_reachable),
            words.share(fault.availability),
        )
    if len(faults) > MOST_FAULTS:
        table.add_row("", f"and {len(faults) - MOST_FAULTS} that hurt less", "", "", "", "")
    return table


def worst_faults(faults: list[FaultResult], most: int) -> list[tuple[int, FaultResult]]:
    """The `most` faults that took longest to recover from, with their numbers, in order of time."""
    numbered = list(enumerate(faults, start=1))

    def harm(entry: tuple[int, FaultResult]) -> tuple[float, float]:
        fault = entry[1]
        endless = float("inf") if fault.recovered is False else -1.0
        return (endless if fault.recovery_s is None else fault.recovery_s, -(fault.availability or 0.0))

    return sorted(sorted(numbered, key=harm, reverse=True)[:most])


def _recovery(seconds: float | None, recovered: bool | None) -> Text:
    style = {None: "dim", True: "", False: "red"}[recovered]
    return Text(words.recovery(seconds, recovered), style=style)


def _sites_differ(result: Result) -> bool:
    """Whether a site had it worse than the rest: something failed, and not everywhere alike."""
    shares = {site.requests.availability for site in result.by_site if site.requests.issued}
    return len(shares) > 1


def _sites(sites: list[SiteResult]) -> Table:
    table = _grid(
        ("site", "left"), ("clients", "right"), ("requests", "right"), ("available", "right"), ("with a path", "right"),
        ("routing p50", "right"), ("p99", "right"),
    )  # fmt: skip
    asked = [site for site in sites if site.requests.issued]
    for site in worst_first(asked)[:MOST_SITES]:
        poor = (site.requests.availability or 0.0) < 0.999
        table.add_row(
            site.site,
            str(site.clients),
            f"{site.requests.issued:,}",
            Text(words.share(site.requests.availability), style="red" if poor else ""),
            words.share(site.reachable.availability),
            words.ms(site.routing_latency_ms.p50),
            words.ms(site.routing_latency_ms.p99),
        )
    if len(asked) > MOST_SITES:
        table.add_row(f"and {len(asked) - MOST_SITES} better ones", "", "", "", "", "", "")
    return table


def worst_first(sites: Iterable[SiteResult]) -> list[SiteResult]:
    """By availability; those without requests last."""

    def rank(site: SiteResult) -> tuple[float, str]:
        share = site.requests.availability
        return (2.0 if share is None else share, site.site)

    return sorted(sites, key=rank)


def _expectations(expectations: list[ExpectationResult]) -> Table:
    table = _grid(("", "left"), ("expected", "left"), ("measured", "right"))
    for expected in expectations:
        mark = Text("ok", style="green") if expected.ok else Text("FAILED", style="bold red")
        table.add_row(mark, expected.name, words.measured(expected))
    return table
