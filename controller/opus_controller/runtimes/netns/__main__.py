"""`python -m opus_controller.runtimes.netns RUN`: the controller of a testbed of processes that stays up, for `opus fault`.

Started when a hand first wants something; ends with the testbed. Exit status as the commands'.
"""

from __future__ import annotations

import sys

from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.hosts.resident import stay, until_told
from opus_controller.runtimes.hosts.tending import Tender
from opus_controller.runtimes.netns.runtime import NetnsRuntime


async def _tend(run: str) -> None:
    with state.looking_on(state.load(run)):
        runtime = await NetnsRuntime.open(run)
        await runtime.take_over()
        try:
            await until_told(Tender(runtime).tend())
        finally:
            await runtime.leave()


if __name__ == "__main__":
    sys.exit(stay("controller", _tend(sys.argv[1])))
