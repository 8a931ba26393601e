"""`python -m opus_controller.runtimes.netns RUN`: the controller of a testbed of processes that stays up, for `opus fault`.

Started when a hand first wants something; ends with the testbed. Exit status as the commands'.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from opus_controller.model.errors import OpusError
from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.hosts.machine import raise_file_limit
from opus_controller.runtimes.hosts.tending import Tender
from opus_controller.runtimes.netns.runtime import NetnsRuntime


async def _tend(run: str) -> None:
    runtime = await NetnsRuntime.open(run)
    await runtime.take_over()
    tending = asyncio.create_task(Tender(runtime).tend())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, tending.cancel)
    try:
        await tending
    except asyncio.CancelledError:
        logging.info("told to end")
    finally:
        await runtime.leave()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s controller: %(message)s", stream=sys.stderr)
    raise_file_limit()
    try:
        with state.looking_on(state.load(sys.argv[1])):
            asyncio.run(_tend(sys.argv[1]))
    except OpusError as error:
        print(f"controller: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
