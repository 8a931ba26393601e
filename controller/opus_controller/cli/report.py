"""`opus report`: the figures of a run again, from its directory."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import JsonOption, console, need_writable
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.report.result import Result

LATEST = Path("runs/latest")


def register(app: typer.Typer) -> None:
    @app.command()
    def report(
        run: Annotated[Path, typer.Argument(help="A run's directory.")] = LATEST,
        html: Annotated[Path | None, typer.Option("--html", help="Write the page here instead of into the directory.")] = None,
        picture: Annotated[Path | None, typer.Option("--picture", help="Also draw the overview: a .png or .svg file.")] = None,
        prometheus: Annotated[
            Path | None,
            typer.Option(
                "--prometheus", help="Also put the run's samples into this Prometheus data directory (its storage.tsdb.path)."
            ),
        ] = None,
        pack: Annotated[
            Path | None,
            typer.Option("--pack", help="Also put the run into this one file, from which opus run FILE runs it again."),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Work a run's figures out again and write its result.json and report.html; of several runs, show what they came to."""
        if run == LATEST and not run.exists():
            raise ScenarioError("no run yet (runs/latest is missing); make one with: opus run SCENARIO")
        if _several(run):
            if given := [
                name
                for name, value in (("html", html), ("picture", picture), ("prometheus", prometheus), ("pack", pack))
                if value
            ]:
                raise ScenarioError(f"--{given[0]}: {run} holds several runs; allowed: the directory of one of them")
            _show_several(run, as_json=as_json)
            return
        need_writable(pack)
        result = _report(run, html, picture, as_json=as_json)
        if pack is not None:
            _pack(run, result, pack)
        if prometheus is not None:
            _backfill(run, prometheus)


def _several(directory: Path) -> bool:
    from opus_controller.report.several.repeat import REPEAT
    from opus_controller.report.several.sweep import SWEEP

    return any((directory / name).is_file() for name in (REPEAT, SWEEP))


def _show_several(directory: Path, *, as_json: bool) -> None:
    from opus_controller.report.several import files, tables

    document = files.document(directory)
    if as_json:
        typer.echo(files.to_json(document), nl=False)
    else:
        console().print(tables.several(document))


def _backfill(run: Path, data: Path) -> None:
    from opus_controller.observe.backfill import backfill
    from opus_controller.observe.prometheus import view_command

    filled = backfill(run, data)
    start, end = (datetime.fromtimestamp(at).astimezone() for at in (filled.start, filled.end))
    lines = (
        f"{filled.samples} samples of {filled.series} series, {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}, are in {data}",
        f"to look at them, if no Prometheus runs there: {view_command(data)}",
    )
    print("\n".join(lines), file=sys.stderr)


def _pack(run: Path, result: Result, out: Path) -> None:
    from opus_controller.report.pack import write

    manifest = write(run, result, out)
    size = f"{len(manifest.files)} files, {out.stat().st_size / 1e6:.1f} MB"
    print(f"packed into {out} ({size}); again, from anywhere: opus run {out}", file=sys.stderr)


def _report(directory: Path, html: Path | None, picture: Path | None, *, as_json: bool) -> Result:
    from rich.console import Console

    from opus_controller.report.conclude import conclude, to_json
    from opus_controller.report.picture import save
    from opus_controller.report.run import read
    from opus_controller.report.table import show

    try:
        if picture is not None:
            save(read(directory), picture)
        result = conclude(directory, html=html)
    except OSError as error:
        raise ScenarioError(f"cannot write {error.filename}: {error.strerror}") from error
    if as_json:
        typer.echo(to_json(result), nl=False)
    else:
        show(result, Console(), page=html or directory / "report.html")
    return result
