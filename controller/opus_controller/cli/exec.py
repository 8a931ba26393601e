"""`opus exec`: a command inside a host."""

from __future__ import annotations

from typing import Annotated

import typer

from opus_controller.cli._names import complete_hosts
from opus_controller.cli._runs import RunOption, host_of, need_root


def register(app: typer.Typer) -> None:
    @app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
    def run_inside(
        host: Annotated[str, typer.Argument(help="As `opus hosts` names it.", autocompletion=complete_hosts)],
        command: Annotated[list[str], typer.Argument(help="What to run, with its arguments.", metavar="-- COMMAND...")],
        run: RunOption = None,
    ) -> None:
        """Run a command as root in a host's network: ping, iperf3, tcpdump, a shell. Hosts are known by name there.

        Terminal, signals and exit code are the command's own.
        """
        need_root("entering a host")
        from opus_controller.net.namespaces import path_of
        from opus_controller.runtimes.hosts import state
        from opus_controller.runtimes.hosts.inside import become

        found = state.find(run)
        name = host_of(found, host)
        words = command[1:] if command[0] == "--" else command
        become(words, netns=path_of(found.hosts[name].netns), hosts=found.directory / "hosts")
