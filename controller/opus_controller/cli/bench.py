"""`opus bench`: speed and size of Opus on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.cli._choose import LinksName, LinksOption
from opus_controller.cli._output import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from opus_controller.bench.table import Row


class What(StrEnum):
    hop = "hop"
    hosts = "hosts"
    links = "links"
    sim = "sim"
    all = "all"


def register(app: typer.Typer) -> None:
    @app.command()
    def bench(
        what: Annotated[What, typer.Argument(help="hop: what a hop costs; hosts: start and memory; links: what they carry.")],
        hosts: Annotated[str, typer.Option("--hosts", help="For hosts: how many, with commas between.")] = "200,500,1000",
        links: LinksOption = LinksName.auto,
        as_json: JsonOption = False,
    ) -> None:
        """Measure Opus itself. Nothing else should run meanwhile.

        Exit code: 0 whatever the figures are, 3 where this machine cannot run it.
        """
        counts = _counts(hosts)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # hosts are taken down then, too
        rows: list[Row] = []
        for part in ("hop", "hosts", "links", "sim") if what is What.all else (what.value,):
            print(f"bench {part} ...", file=sys.stderr, flush=True)
            rows += _part(part, counts, links.value)()
        if as_json:
            print_json([_plain(row) for row in rows])
        else:
            print_table(("what", "measured", "promised", ""), [(r.what, r.measured, r.promised, _mark(r.ok)) for r in rows])


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


def _part(part: str, counts: list[int], links: str) -> Callable[[], list[Row]]:
    """Imported when asked for: a bench of one thing need not load the others'."""
    from opus_controller.bench import hop, sim
    from opus_controller.bench import hosts as real
    from opus_controller.bench import links as carried

    table: dict[str, Callable[[], list[Row]]] = {
        "hop": lambda: hop.run(links=links),
        "hosts": lambda: real.run(counts, links),
        "links": carried.run,
        "sim": sim.run,
    }
    return table[part]


def _mark(ok: bool | None) -> str:
    return "" if ok is None else "ok" if ok else "MISSED"


def _plain(row: Row) -> dict[str, Any]:
    return {"what": row.what, "value": row.value, "unit": row.unit, "bound": row.bound, "ok": row.ok}
