"""Starts the keeper, the process that watches the containers of a testbed that stays up (`opus up`).

It is what netns has in its zygote: the process whose life is the testbed's. It ends with the run.
"""

from __future__ import annotations

import subprocess
import sys
import time

from opus_controller.model.errors import PlatformError
from opus_controller.runtimes.hosts.machine import last_lines
from opus_controller.runtimes.hosts.processes import Process
from opus_controller.runtimes.hosts.state import RunState

LOG = "keeper.log"
READY = "keeping"
STARTS_S = 180.0


def start(run: RunState) -> Process:
    """Start the keeper of a run and wait until it watches. PlatformError, with what it said last, if it does not."""
    log = run.directory / LOG
    command = [sys.executable, "-m", "opus_controller.runtimes.docker", run.run]
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/")
    deadline = time.monotonic() + STARTS_S
    while READY not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise PlatformError(f"the containers' keeper did not start: {last_lines(log, 1) or 'it says nothing'} ({log})")
        time.sleep(0.02)
    keeper = Process.of(process.pid)
    if keeper is None:
        raise PlatformError(f"the containers' keeper ended at once: {last_lines(log, 1)} ({log})")
    return keeper
