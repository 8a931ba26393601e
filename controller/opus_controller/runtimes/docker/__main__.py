"""`python -m opus_controller.runtimes.docker RUN`: the keeper of a run of containers that stay up.

A container that ends by itself is told in its log, one that somebody starts again is wired, shaped and booted again. It is the
testbed's controller, too: `opus fault` speaks with it.

Exit status: 0 the run is gone, or asked to end; otherwise as the commands'.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from opus_controller.model.errors import OpusError
from opus_controller.runtimes.docker.runtime import DockerRuntime
from opus_controller.runtimes.hosts.machine import raise_file_limit
from opus_controller.runtimes.hosts.tending import Tender


async def _keep(run: str) -> None:
    runtime = await DockerRuntime.open(run)
    keeping = asyncio.create_task(runtime.keep())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, keeping.cancel)
    tending = asyncio.create_task(Tender(runtime).tend())
    try:
        await keeping
    except asyncio.CancelledError:
        logging.info("told to end")
    finally:
        tending.cancel()
        await runtime.leave()


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
