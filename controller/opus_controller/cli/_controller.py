"""A word with the controller of a living testbed; where a testbed that stays up has none yet, one is started."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from opus_controller.model.errors import PlatformError

if TYPE_CHECKING:
    from opus_controller.runtimes.hosts.state import RunState

ANSWERS_S = 120.0
"""Many hosts may have to start."""
STARTS_S = 60.0
LOG = "controller.log"


def ask_controller(run: str | None, question: dict[str, Any], timeout_s: float = ANSWERS_S) -> dict[str, Any]:
    """The answer of the run that is meant (`engine.hands`). ScenarioError, PlatformError as it says."""
    from opus_controller.engine.console import ask
    from opus_controller.runtimes.hosts import state

    found = state.find(run)
    try:
        return ask(found.console, question, timeout_s)
    except ConnectionError as error:
        if found.mode != "up" or found.runtime != "netns":
            raise PlatformError(f"run {found.run} is starting or ending: its controller does not listen; try again") from error
    with state.locked(found):
        _start(found)
    return ask(found.console, question, timeout_s)


def _start(run: RunState) -> None:
    """The controller of a testbed of processes; somebody else may have been faster."""
    from opus_controller.runtimes.hosts.machine import last_lines

    if _listens(run):
        return
    log = run.directory / LOG
    command = [sys.executable, "-m", "opus_controller.runtimes.netns", run.run]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/")
    deadline = time.monotonic() + STARTS_S
    while not _listens(run):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise PlatformError(f"the testbed's controller did not start: {last_lines(log, 1) or 'it says nothing'} ({log})")
        time.sleep(0.02)


def _listens(run: RunState) -> bool:
    from opus_controller.engine.console import ask

    try:
        ask(run.console, {"do": "list"}, STARTS_S)
    except ConnectionError:
        return False
    return True
