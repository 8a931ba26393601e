"""`python -m opus_controller.runtimes.docker RUN`: the keeper of a run of containers that stay up.

A container that ends by itself is told in its log, one that somebody starts again is wired, shaped and booted again. It is the
testbed's controller, too: `opus fault` speaks with it.

Exit status: 0 the run is gone, or asked to end; otherwise as the commands'.
"""

from __future__ import annotations

import asyncio
import sys

from opus_controller.runtimes.docker.runtime import DockerRuntime
from opus_controller.runtimes.hosts.resident import stay, until_told
from opus_controller.runtimes.hosts.tending import Tender


async def _keep(run: str) -> None:
    runtime = await DockerRuntime.open(run)
    tending = asyncio.create_task(Tender(runtime).tend())
    try:
        await until_told(runtime.keep())
    finally:
        tending.cancel()
        await runtime.leave()


if __name__ == "__main__":
    sys.exit(stay("keeper", _keep(sys.argv[1])))
