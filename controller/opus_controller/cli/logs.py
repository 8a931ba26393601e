"""`opus logs`: what a host's process printed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._names import complete_hosts
from opus_controller.cli._runs import RunOption, host_of
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.runtimes.hosts.state import RunState

LATEST = Path("runs/latest")
_LOOK_EVERY_S = 0.2


def register(app: typer.Typer) -> None:
    @app.command()
    def logs(
        host: Annotated[str, typer.Argument(help="As `opus hosts` names it.", autocompletion=complete_hosts)],
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends, or Ctrl-C.")] = False,
        run: RunOption = None,
    ) -> None:
        """What a host's process printed; of the latest finished run if none is alive."""
        from opus_controller.runtimes.hosts import state

        living = [one for one in state.everything() if one.alive()]
        if run is None and not living and LATEST.exists():
            _print(_finished(host))
            return
        found = state.find(run)
        of = found.hosts[host_of(found, host)]
        if found.runtime == "docker":
            _print_container(found, of.container, follow=follow)
            return
        path = Path(of.log)
        _follow(path, found) if follow else _print(path)


def _finished(host: str) -> Path:
    path = LATEST / "logs" / f"{host}.log"
    if not path.exists():
        raise ScenarioError(f"{LATEST.resolve()} has no log of {host!r}; see {LATEST / 'logs'}")
    return path


def _print(path: Path) -> None:
    if path.exists():
        sys.stdout.write(path.read_text(errors="replace"))


def _print_container(run: RunState, container: str, *, follow: bool) -> None:
    from opus_controller.runtimes.docker.engine import Engine

    if not container:
        return  # it has never run
    engine = Engine.find(run.engine)
    for part in engine.follow(container) if follow else [engine.logs(container)]:
        sys.stdout.write(part.decode(errors="replace"))
        sys.stdout.flush()


def _follow(path: Path, run: RunState) -> None:
    """The log may appear late; it ends with the run."""
    position = 0
    while True:
        alive = run.alive()
        if path.exists():
            with path.open(errors="replace") as file:
                file.seek(position)
                sys.stdout.write(file.read())
                sys.stdout.flush()
                position = file.tell()
        if not alive:
            return
        time.sleep(_LOOK_EVERY_S)
