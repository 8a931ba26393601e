"""`opus claims`: the paper's claims as experiments, and one report of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import JsonOption, need_writable, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opus_controller.claims.claim import Claim
    from opus_controller.claims.report import Chapter
    from opus_controller.claims.setting import Setting

OUT = Path("claims.md")


def register(app: typer.Typer) -> None:
    @app.command()
    def claims(
        which: Annotated[list[str] | None, typer.Argument(help="Numbers or names; all unless given.")] = None,
        quick: Annotated[bool, typer.Option("--quick", help="Small overlays, one seed: all in five minutes.")] = False,
        scale: Annotated[str, typer.Option("--scale", help="full, quick or tiny, in place of --quick.")] = "",
        into: Annotated[
            Path | None, typer.Option("--into", help="A directory to keep figures in, or an earlier report's to go on with.")
        ] = None,
        out: Annotated[
            Path, typer.Option("--out", help="The report (.md); plots go into a directory of its name beside it.")
        ] = OUT,
        data: Annotated[Path | None, typer.Option("--data", help="The directory of the networks' data.")] = None,
        network: Annotated[list[str] | None, typer.Option("--network", help="Only this network; repeatable.")] = None,
        workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes at a time.")] = 2,
        seed: Annotated[int, typer.Option("--seed", min=0, help="The first of the seeds.")] = 1,
        show: Annotated[bool, typer.Option("--list", help="Only list the claims and their rules.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Measure what *Self-Organizing Subsets* (IPTPS 2002) claims, and say of each claim whether it holds.

        Chord, Pastry, Kademlia and a one-hop overlay run on the same networks with the same clients. Everything happens in the
        simulator; nothing needs root. A network whose data are not here is left out and named.

        Exit code: 0 whatever the verdicts are.
        """
        from opus_controller.claims.catalogue import chosen

        wanted = chosen(which or [])
        if show:
            _list(wanted, as_json)
            return
        setting, left_out = _setting(scale or ("quick" if quick else "full"), data, network or [], seed)
        need_writable(out)
        chapters = _measure(wanted, setting, left_out, into, out, workers)
        if as_json:
            print_json([_told(one) for one in chapters])
        else:
            _show(chapters, out)


def _setting(scale: str, data: Path | None, wanted: Sequence[str], seed: int) -> tuple[Setting, list[str]]:
    from opus_controller.claims.measure import networks
    from opus_controller.claims.setting import SCALES, Setting
    from opus_controller.model.errors import ScenarioError

    if scale not in SCALES:
        raise ScenarioError(f"--scale {scale}: not known; allowed: {', '.join(SCALES)}")
    found, left_out = networks.available(data)
    if unknown := [name for name in wanted if name not in [one.name for one in found]]:
        raise ScenarioError(f"--network {unknown[0]}: not there; allowed: {', '.join(one.name for one in found)}")
    return Setting(SCALES[scale], [one for one in found if not wanted or one.name in wanted], seed), left_out


def _measure(
    wanted: Sequence[Claim], setting: Setting, left_out: list[str], into: Path | None, out: Path, workers: int
) -> list[Chapter]:
    import sys
    from importlib.metadata import version

    from opus_controller.claims.kept import Kept
    from opus_controller.claims.report import About, Chapter, save
    from opus_controller.claims.run import run, tasks_of

    there = {one.name for one in setting.networks}
    able = [claim for claim in wanted if set(claim.networks) <= there]
    left_out += [f"claim {claim.number} {claim.name}" for claim in wanted if claim not in able]
    kept = None if into is None else Kept.into(into, setting)

    def progress(news: str) -> None:
        print(f"claims: {news}", file=sys.stderr, flush=True)

    found = run(tasks_of(able, setting), kept=kept, workers=workers, on_progress=progress)
    figures = {name: done.figures for name, done in found.items()}
    chapters = [
        Chapter(claim, claim.judge({task.name: figures[task.name] for task in claim.tasks(setting)}, setting)) for claim in able
    ]
    about = About(_command(), version("opus-testbed"), sum(done.cpu_s for done in found.values()), left_out)
    save(chapters, setting, about, out)
    return chapters


def _command() -> str:
    """As it was given, less where this machine keeps things."""
    import sys

    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word in ("--into", "--out", "--data"):
            next(words, None)
        elif not word.startswith(("--into=", "--out=", "--data=")):
            kept.append(word)
    return " ".join(["opus", *kept])


def _list(wanted: Sequence[Claim], as_json: bool) -> None:
    if as_json:
        print_json([{"number": c.number, "name": c.name, "says": c.says, "measured": c.measured, "rule": c.rule} for c in wanted])
        return
    for claim in wanted:
        typer.echo(f"{claim.number} {claim.name}: {claim.says}\n   measured: {claim.measured}\n   rule: {claim.rule}\n")


def _told(chapter: Chapter) -> dict[str, object]:
    return {
        "number": chapter.claim.number,
        "name": chapter.claim.name,
        "verdict": chapter.finding.verdict,
        "because": chapter.finding.because,
        "tables": [{"title": one.title, "head": one.head, "rows": one.rows} for one in chapter.finding.tables],
    }


def _show(chapters: Sequence[Chapter], out: Path) -> None:
    print_table(
        ("", "claim", "verdict", "because"),
        [(c.claim.number, c.claim.name, c.finding.verdict, c.finding.because) for c in chapters],
    )
    typer.echo(f"\nThe report: {out}")
