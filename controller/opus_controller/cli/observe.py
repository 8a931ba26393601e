"""`opus observe`: look on at a testbed that is up; in the foreground, or for `opus up --observe` in the background."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from opus_controller.cli._observe import RUNS, ObserveAddressOption, asked_for, observing
from opus_controller.cli._runs import RunArgument, need_root, runtime_of
from opus_controller.model.errors import OpusError, PlatformError, ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan
    from opus_controller.observe.observer import RunObserver
    from opus_controller.runtimes.hosts.state import RunState

HOSTS_A_SECOND = 60
"""Asked for their roles, at most."""
STARTS_S = 90.0
LOG = "observe.log"


def register(app: typer.Typer) -> None:
    @app.command()
    def observe(run: RunArgument = None, observe_address: ObserveAddressOption = None) -> None:
        """Serve the metrics of a testbed that is up, and start a Prometheus if one is on PATH; until Ctrl-C or its end."""
        need_root("speaking with hosts")
        from opus_controller.runtimes.hosts import state

        found = state.find(run)
        if found.mode != "up":
            raise ScenarioError(f"run {found.run} is being played; who plays it serves its metrics: opus run ... --observe")
        with suppress(KeyboardInterrupt):
            look_on(found, observe_address)


def look_on(run: RunState, address: str | None) -> None:
    """Until somebody ends this process (SIGINT, SIGTERM), or the run is gone."""
    from opus_controller.runtimes.hosts import state

    plan = run.plan()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with state.looking_on(run), observing(plan, run.run, None, asked_for(True, address), RUNS) as observer:
        asyncio.run(_look_on(run, plan, observer))


async def _look_on(run: RunState, plan: Plan, observer: RunObserver) -> None:
    from opus_controller.observe.live import Glances, Struck
    from opus_controller.runtimes.hosts.hands import EVENTS

    runtime = await runtime_of(run).open(run.run)
    glances, struck = Glances(), Struck(run.directory / EVENTS)
    runtime.probe(plan)
    await observer.begin(runtime)
    try:
        while run.directory.exists():
            with suppress(OpusError):  # it is being taken down, or a host is not there at this moment
                runtime.look_again(plan)
                observer.records(glances.records(runtime.now(), await runtime.live()))
                observer.records(struck.new())
                observer.health(await runtime.health())
            await asyncio.sleep(max(1.0, len(plan.hosts) / HOSTS_A_SECOND))
    finally:
        await observer.end()
        await runtime.leave()


def start_in_background(run: RunState, address: str | None) -> None:
    """A process of its own that looks on; what it says of itself is repeated here. PlatformError if it does not come up."""
    log = run.directory / LOG
    command = [sys.executable, "-m", "opus_controller.cli", "observe", run.run]
    command += [] if address is None else ["--observe-address", address]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    deadline = time.monotonic() + STARTS_S
    while not _complete(log) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    said = log.read_text(errors="replace").strip()
    if not _complete(log):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        raise PlatformError(f"observing did not start: {(said.splitlines() or ['it says nothing'])[-1].removeprefix('opus: ')}")
    print(said, file=sys.stderr)


def _complete(log: Path) -> bool:
    """Whether it has said where metrics are, and what of Prometheus."""
    return log.read_text(errors="replace").count("observe: ") >= 2
