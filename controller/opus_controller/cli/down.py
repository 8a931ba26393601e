"""`opus down`: end a run and remove everything of it."""

from __future__ import annotations

from typing import Annotated

import typer

from opus_controller.cli._output import JsonOption, print_json
from opus_controller.cli._runs import RunArgument, need_root


def register(app: typer.Typer) -> None:
    @app.command()
    def down(
        run: RunArgument = None,
        everything: Annotated[bool, typer.Option("--all", help="Every run on this machine, dead or alive.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        """End a run (a testbed of `opus up`, or an `opus run` in another terminal) and remove everything of it."""
        need_root("taking down hosts")
        from opus_controller.cli._removal import take_down
        from opus_controller.runtimes.hosts import state

        wanted = state.everything() if everything else [state.find(run)]
        removed = [take_down(one) for one in wanted]
        if as_json:
            print_json([vars(one) for one in removed])
        else:
            for one in removed:
                print(one)
            if not removed:
                print("nothing is running")
        raise typer.Exit(3 if any(one.left for one in removed) else 0)
