"""What commands print with: JSON for programs, tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def print_json(document: Any) -> None:
    """The one JSON document of a `--json` command."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table, as wide as its cells: the same on a terminal and in a pipe, nothing cut off."""
    lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def console() -> Console:
    """For rich tables; where it is not a terminal, as wide as the table: nothing folded in a file or a CI log."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=200)


def write_out(text: str, out: Path | None) -> None:
    """What a command made: into the file `out`, or, if there is none, to standard output."""
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"cannot write {out}: {error.strerror}") from None


def need_writable(out: Path | None) -> None:
    """ScenarioError if `out` could not be written: said before the work of an hour, not after it."""
    if out is None:
        return
    if out.is_dir() or not out.parent.is_dir():
        raise ScenarioError(f"cannot write {out}: {'is a directory' if out.is_dir() else 'its directory does not exist'}")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise ScenarioError(f"cannot write {out}: permission denied")
