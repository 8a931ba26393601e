"""`python -m opus_controller.runtimes.docker.keeper RUN`: watches the containers of a testbed that stays up (`opus up`).

What netns has in its zygote: the process whose life is the testbed's. A container that ends by itself is told in its log, one
that somebody starts again is wired, shaped and booted again. It ends with the run.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time

from opus_controller.model.errors import OpusError, PlatformError
from opus_controller.runtimes.hosts.machine import last_lines, raise_file_limit
from opus_controller.runtimes.hosts.processes import Process
from opus_controller.runtimes.hosts.state import RunState

LOG = "keeper.log"
READY = "keeping"
STARTS_S = 60.0


def start(run: RunState) -> Process:
    """Start the keeper of a run and wait until it watches. PlatformError, with what it said last, if it does not."""
    log = run.directory / LOG
    command = [sys.executable, "-m", "opus_controller.runtimes.docker.keeper", run.run]
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


async def _keep(run: str) -> None:
    from opus_controller.runtimes.docker.runtime import DockerRuntime

    runtime = await DockerRuntime.open(run)
    keeping = asyncio.create_task(runtime.keep())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, keeping.cancel)
    died = asyncio.create_task(_tell(runtime))
    try:
        await keeping
    except asyncio.CancelledError:
        logging.info("told to end")
    finally:
        died.cancel()
        await runtime.leave()


async def _tell(runtime: object) -> None:
    """Deaths and returns go into the log: nobody else asks for them. Notices are for nobody either."""
    from opus_controller.runtimes.docker.runtime import DockerRuntime

    assert isinstance(runtime, DockerRuntime)
    while True:
        for host, words in runtime.died().items():
            logging.warning("%s died by itself: %s", host, words)
        for host in runtime.returned():
            logging.warning("%s runs again", host)
        runtime.records()
        await asyncio.sleep(0.5)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keeper: %(message)s", stream=sys.stderr)
    raise_file_limit()
    try:
        asyncio.run(_keep(sys.argv[1]))
    except OpusError as error:
        print(f"keeper: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
