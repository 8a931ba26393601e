"""What commands about a living testbed share: which run, which host, and a moment's conversation with it."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from opus_controller.cli._names import complete_runs
from opus_controller.model.errors import PlatformError, ScenarioError

if TYPE_CHECKING:
    from opus_controller.runtimes.hosts.runtime import HostsRuntime
    from opus_controller.runtimes.hosts.state import RunState

T = TypeVar("T")

_MEANT = "The run's eight digits, or the first of them; not needed if only one is alive."
RunOption = Annotated[str | None, typer.Option("--run", help=_MEANT, autocompletion=complete_runs)]
RunArgument = Annotated[str | None, typer.Argument(help=_MEANT, metavar="RUN", autocompletion=complete_runs)]


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise PlatformError(f"{what} needs root; run with sudo")


def host_of(state: RunState, host: str) -> str:
    """`host` if the run has it; ScenarioError with the nearest names otherwise."""
    if host in state.hosts:
        return host
    near = difflib.get_close_matches(host, state.hosts, n=3, cutoff=0.4) or list(state.hosts)[:3]
    raise ScenarioError(f"run {state.run} has no host {host!r}; there is: {', '.join(near)} ... (all: opus hosts)")


def with_runtime(run: RunState, do: Callable[[HostsRuntime], Awaitable[T]]) -> T:
    """Open a living run, do something with it, and let it go again."""

    async def conversation() -> T:
        runtime = await runtime_of(run).open(run.run)
        try:
            return await do(runtime)
        finally:
            await runtime.leave()

    return asyncio.run(conversation())


def runtime_of(run: RunState) -> type[HostsRuntime]:
    """The class that can open it."""
    if run.runtime == "docker":
        from opus_controller.runtimes.docker import DockerRuntime

        return DockerRuntime
    from opus_controller.runtimes.netns import NetnsRuntime

    return NetnsRuntime
