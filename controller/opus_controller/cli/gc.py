"""`opus gc`: remove what dead runs have left behind."""

from __future__ import annotations

from typing import Annotated

import typer

from opus_controller.cli._output import JsonOption, print_json
from opus_controller.cli._runs import need_root


def register(app: typer.Typer) -> None:
    @app.command()
    def gc(
        orphans: Annotated[
            bool, typer.Option("--orphans", help="Also what is named as a run's but has no directory under /run/opus.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Remove what runs have left behind whose owner is gone: namespaces, processes, sockets, cgroups, containers.

        Living runs, and whatever is not named exactly as a run's, stay untouched.
        """
        need_root("removing what runs left")
        from opus_controller.cli._removal import remove, remove_stray_containers
        from opus_controller.runtimes.hosts import clean, state

        removed = [remove(one) for one in state.everything() if not one.alive()]
        removed += [clean.remove(run) for run in (clean.orphans() if orphans else ())]
        containers = remove_stray_containers()
        if as_json:
            print_json({"runs": [vars(one) for one in removed], "containers": containers})
        else:
            for one in removed:
                print(one)
            for container in containers:
                print(f"removed container {container}")
            if not removed and not containers:
                print("nothing was left")
        raise typer.Exit(3 if any(one.left for one in removed) else 0)
