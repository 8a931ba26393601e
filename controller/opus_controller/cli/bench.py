"""`opus bench`: speed and size of Opus on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.cli._choose import LinksName, LinksOption, RuntimeName
from opus_controller.cli._output import JsonOption, need_writable, print_json, print_table

if TYPE_CHECKING:
    from opus_controller.bench.agreement import Line as Compared
    from opus_controller.bench.overlay.rows import Line
    from opus_controller.bench.overlay.run import Results
    from opus_controller.bench.table import Row


class What(StrEnum):
    hop = "hop"
    hosts = "hosts"
    links = "links"
    sim = "sim"
    overlay = "overlay"
    agree = "agree"
    utility = "utility"
    spread = "spread"
    availability = "availability"
    survival = "survival"
    scale = "scale"
    all = "all"


def register(app: typer.Typer) -> None:
    @app.command()
    def bench(
        what: Annotated[
            What,
            typer.Argument(
                help="hop: what a hop costs; hosts: start and memory; links: what they carry; overlay: its figures; "
                "agree: 60 real hosts against the simulator; utility: hosts to applications against the exact optimum; "
                "spread: updates among replicas; availability: what runs measure against m, and what the planner said; "
                "survival: shards when hosts fail for good; scale: the simulator's time and memory against the number of nodes."
            ),
        ],
        hosts: Annotated[
            str,
            typer.Option(
                "--hosts",
                help="For hosts and scale: how many, with commas between; 200,500,1000 and 1000,3000,10000 unless given.",
            ),
        ] = "",
        runtime: Annotated[RuntimeName, typer.Option("--runtime", help="For hosts: netns or docker.")] = RuntimeName.netns,
        links: LinksOption = LinksName.auto,
        rows: Annotated[
            list[str] | None,
            typer.Option(
                "--rows",
                help="Which rows of overlay, utility, spread, availability, survival or agree, with commas between; all unless "
                "given; repeatable.",
            ),
        ] = None,
        seeds: Annotated[
            int | None,
            typer.Option(
                "--seeds",
                min=1,
                max=1000,
                help="For overlay, utility, spread, availability, survival (10, with --quick 2) and agree (1).",
            ),
        ] = None,
        draws: Annotated[
            int, typer.Option("--draws", min=1, max=100, help="For agree: runs of each seed in sim, each with a hop 1 us longer.")
        ] = 1,
        into: Annotated[
            Path | None,
            typer.Option(
                "--into",
                help="For overlay, availability and scale: a directory to keep figures in, or an earlier table's to go on with. "
                "For agree: an earlier comparison's. What is there is not made again; a run of scale goes on where it stopped.",
            ),
        ] = None,
        data: Annotated[
            Path | None, typer.Option("--data", help="For overlay, spread and survival: the matrix, or the directory it is in.")
        ] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", help="For overlay: NAME=VALUE, a setting; repeatable.")
        ] = None,
        quick: Annotated[
            bool, typer.Option("--quick", help="For overlay, utility, spread and availability: 2 seeds, and less of everything.")
        ] = False,
        picture: Annotated[
            Path | None, typer.Option("--picture", help="For survival: also draw the curves: a .png or .svg file.")
        ] = None,
        replicas: Annotated[
            str, typer.Option("--replicas", help="For scale: how many, or auto: one for each 1000 hosts, three at least.")
        ] = "auto",
        minutes: Annotated[float, typer.Option("--minutes", min=0.5, max=1440, help="For scale: virtual ones.")] = 10.0,
        depth: Annotated[int, typer.Option("--depth", min=2, max=4, help="For scale: levels of the hierarchy.")] = 3,
        seed: Annotated[int, typer.Option("--seed", min=0, help="For scale.")] = 1,
        processes: Annotated[
            int, typer.Option("--processes", min=1, max=16, help="For scale: that share a run's hosts; the steps are the same.")
        ] = 1,
        compiled: Annotated[
            bool,
            typer.Option(
                "--compiled", help="For scale: compile the core and the simulator first (mypyc), for the same steps sooner."
            ),
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Measure Opus itself. Nothing else should run meanwhile. `all` leaves out overlay, utility, spread, availability and
        survival, which tell nothing of this machine, agree, which takes two minutes a seed of half-kill or quickstart, four of
        hot-spot and seven of churn, and scale, which takes an hour.

        Exit code: 0 whatever the figures are, 3 where this machine cannot run it.
        """
        from opus_controller.bench import machine, stored

        if what is What.scale:
            order = (replicas, minutes, depth, seed, into, processes, compiled)
            _scale(hosts or "1000,3000,10000", *order, as_json)
            return
        counts = _counts(hosts or "200,500,1000")
        if runtime not in (RuntimeName.netns, RuntimeName.docker):
            raise typer.BadParameter(f"{runtime.value}; allowed: netns, docker", param_hint="--runtime")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # hosts are taken down then, too
        if what is What.overlay:
            _overlay(rows or [], seeds or (2 if quick else 10), data, settings or [], quick, into, as_json)
            return
        if what is What.utility:
            _utility(rows or [], seeds or (2 if quick else 10), quick, as_json)
            return
        if what is What.spread:
            _spread(rows or [], seeds or (2 if quick else 10), data, quick, as_json)
            return
        if what is What.availability:
            _availability(rows or [], seeds or (2 if quick else 10), quick, into, as_json)
            return
        if what is What.survival:
            _survival(rows or [], seeds or (2 if quick else 10), data, picture, as_json)
            return
        if what is What.agree:
            _agree(rows or [], seeds or 1, draws, links.value, into, as_json)
            return
        measured: list[Row] = machine.run()
        aside = {"hosts": runtime is not RuntimeName.netns, "links": links is LinksName.netem}  # not what runs reckon with
        kept = [part for part in stored.KEPT if not aside.get(part)]
        for part in ("hop", "hosts", "links", "sim") if what is What.all else (what.value,):
            print(f"bench {part} ...", file=sys.stderr, flush=True)
            rows_of = _part(part, counts, links.value, runtime.value)()
            if part in kept:
                stored.save(part, rows_of)
            measured += rows_of
        if as_json:
            print_json([_plain(row) for row in measured])
        else:
            print_table(("what", "measured", "promised", ""), [(r.what, r.measured, r.promised, _mark(r.ok)) for r in measured])


def _overlay(
    rows: list[str], seeds: int, data: Path | None, settings: list[str], quick: bool, into: Path | None, as_json: bool
) -> None:
    from opus_controller.bench import overlay

    scale = overlay.QUICK if quick else overlay.FULL
    order = overlay.Order(_names(rows), seeds, data, overlay.Settings.parse(settings), scale, into)
    lines, results = overlay.measure(order, lambda news: print(f"bench overlay: {news}", file=sys.stderr, flush=True))
    _print_lines(order.told(), lines, results, as_json)


def _utility(rows: list[str], seeds: int, quick: bool, as_json: bool) -> None:
    from opus_controller.bench.utility import table

    order = table.Order(_names(rows), seeds, table.QUICK if quick else table.FULL)
    lines, results = table.measure(order, lambda news: print(f"bench utility: {news}", file=sys.stderr, flush=True))
    _print_lines(order.told(), lines, results, as_json)


def _spread(rows: list[str], seeds: int, data: Path | None, quick: bool, as_json: bool) -> None:
    from opus_controller.bench.spread import table

    order = table.Order(_names(rows), seeds, data, table.QUICK if quick else table.FULL)
    lines, results = table.measure(order, lambda news: print(f"bench spread: {news}", file=sys.stderr, flush=True))
    _print_lines(order.told(), lines, results, as_json)


def _availability(rows: list[str], seeds: int, quick: bool, into: Path | None, as_json: bool) -> None:
    from opus_controller.bench.availability import shown, table

    order = table.Order(_names(rows), seeds, table.QUICK if quick else table.FULL, into)

    def say(news: str) -> None:
        print(f"bench availability: {news}", file=sys.stderr, flush=True)

    if table.DELAYS in order.rows:
        took = table.delays(order, say)
        if as_json:
            print_json([vars(one) for one in took])
        else:
            print_table(shown.DELAYS, shown.delay_rows(took))
        return
    found = table.measure(order, say)
    pictures = shown.keep(found, into)
    if as_json:
        print_json(shown.plain(found))
    else:
        print_table(shown.COLUMNS, [shown.row(line) for line in found])
        print_table(shown.CURVES, shown.curve_rows(found))
        for path in pictures:
            print(path)


def _survival(rows: list[str], seeds: int, data: Path | None, picture: Path | None, as_json: bool) -> None:
    from opus_controller.bench.survival import picture as drawn
    from opus_controller.bench.survival import table

    need_writable(picture)
    order = table.Order(_names(rows), seeds, data)
    lines, results = table.measure(order, lambda news: print(f"bench survival: {news}", file=sys.stderr, flush=True))
    if picture is not None:
        drawn.save(results, picture)
    _print_lines(order.told(), lines, results, as_json)


def _scale(
    hosts: str,
    replicas: str,
    minutes: float,
    depth: int,
    seed: int,
    into: Path | None,
    processes: int,
    compiled: bool,
    as_json: bool,
) -> None:
    from opus_controller.bench.scale import picture, table

    if not all(word.isdigit() for word in hosts.split(",")):
        raise typer.BadParameter(f"{hosts!r}; allowed: numbers with commas between, as 1000,10000", param_hint="--hosts")
    if replicas != "auto" and not (replicas.isdigit() and int(replicas)):
        raise typer.BadParameter(f"{replicas!r}; allowed: auto, or a number from 1", param_hint="--replicas")
    counts = [int(word) for word in hosts.split(",")]
    asked = None if replicas == "auto" else int(replicas)
    order = table.Order(counts, asked, minutes, depth, seed, into, processes, compiled)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is under way is kept then, too
    found = table.measure(order, _say_scale)
    grows = table.trend(found)
    drawn = picture.save(found, into) if into is not None and grows is not None else None
    if as_json:
        print_json({"runs": found, "trend": None if grows is None else vars(grows)})
        return
    print_table(table.COLUMNS, [table.row(one) for one in found])
    for line in (None if grows is None else grows.told(), drawn):
        if line is not None:
            print(line)


def _say_scale(news: str) -> None:
    """Sent to the process that a run lives in."""
    print(f"bench scale: {news}", file=sys.stderr, flush=True)


def _print_lines(told: dict[str, object], lines: list[Line], results: Results, as_json: bool) -> None:
    if as_json:
        print_json({**told, "rows": [line.plain() for line in lines], "wall_s": dict(results.wall_s)})
    else:
        print_table(("what", "to reach", "measured [95%]", "n", "", "besides"), [_cells(line) for line in lines])


def _agree(rows: list[str], seeds: int, draws: int, links: str, into: Path | None, as_json: bool) -> None:
    from opus_controller.bench import agree

    found = agree.run(agree.Order(_names(rows) or tuple(agree.SCENARIOS), seeds, draws, links, into))
    if as_json:
        facts = {
            "calibration": vars(found.calibration),
            "release_hop_ms": found.release_hop_ms,
            "seeds": seeds,
            "draws": draws,
            "notes": found.notes,
        }
        compared = [{**vars(line), "off": line.off, "by_seed": vars(line.by_seed), "ok": line.ok} for line in found.lines]
        print_json({**facts, "directory": found.directory, "rows": compared})
        return
    times = f" x {draws}" if draws > 1 else ""
    here = f"sim{times}, hop {found.calibration.hop_ms:.2f} ms, start {found.calibration.start_ms:.0f} ms"
    release = f"sim, hop {found.release_hop_ms:.2f} ms, at once (release)"
    columns = ("what", "netns", here, "off", "by seed [95%]", release, "off", "promised", "")
    print_table(columns, [_agreement(line) for line in found.lines])
    for note in found.notes:
        print(note)
    print(f"the runs: {found.directory}")


def _agreement(line: Compared) -> tuple[str, ...]:
    real, calibrated, release = (_figure(value, line.unit) for value in (line.real, line.calibrated, line.release))
    off, off_release = (f"{off:+.2f} points" if line.unit == "%" else f"{off:+.1%}" for off in (line.off, line.off_release))
    return (line.what, real, calibrated, off, _by_seed(line), release, off_release, line.promised, _mark(line.ok))


def _figure(value: float, unit: str) -> str:
    """A ratio has no unit, and needs more digits; of a share in %, a tenth of a point counts."""
    if not unit:
        return f"{value:.3f}"
    return f"{value:.2f}%" if unit == "%" else f"{value:,.1f} {unit}"


def _by_seed(line: Compared) -> str:
    """Mean and interval over seeds; of one seed there is none."""
    seeds = line.by_seed
    if seeds.count < 2:
        return ""
    if line.unit == "%":
        return f"{seeds.value:+.2f} [{seeds.low:+.2f}, {seeds.high:+.2f}] points of {seeds.count}"
    return f"{seeds.value:+.1%} [{seeds.low:+.1%}, {seeds.high:+.1%}] of {seeds.count}"


def _cells(line: Line) -> tuple[str, ...]:
    return (line.row.what, line.to_reach, line.measured, str(line.estimate.count or ""), line.verdict, line.note)


def _names(rows: list[str]) -> list[str]:
    return [name for text in rows for name in text.split(",") if name]


def _counts(text: str) -> list[int]:
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(6 <= count <= 5000 for count in counts):
        raise typer.BadParameter(
            f"{text!r}; allowed: numbers from 6 to 5000 with commas between, as 200,500", param_hint="--hosts"
        )
    return counts


def _part(part: str, counts: list[int], links: str, runtime: str) -> Callable[[], list[Row]]:
    """Imported when asked for: a bench of one thing need not load the others'."""
    from opus_controller.bench import hop, sim
    from opus_controller.bench import hosts as real
    from opus_controller.bench import links as carried

    table: dict[str, Callable[[], list[Row]]] = {
        "hop": lambda: hop.run(links=links),
        "hosts": lambda: real.run(counts, links, runtime),
        "links": lambda: carried.run(links),
        "sim": sim.run,
    }
    return table[part]


def _mark(ok: bool | None) -> str:
    return "" if ok is None else "ok" if ok else "MISSED"


def _plain(row: Row) -> dict[str, Any]:
    return {"what": row.what, "value": row.value, "unit": row.unit, "bound": row.bound, "ok": row.ok}
