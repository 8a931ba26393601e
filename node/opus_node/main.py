"""`python -m opus_node.main --control-dir DIR [--listen ADDRESS:PORT]`: one node, waiting on its control socket to be booted.

Exit status: 0 asked to leave (SIGTERM: others are told first) or to end (SIGINT, a second SIGTERM) · 2 bad options or
environment (one line on stderr) · 70 the node broke (traceback in the log).
"""

from __future__ import annotations

import os

# gRPC reads these when it is imported, so they come before anything that imports it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # no node forks, and the zygote forks before gRPC runs
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Without its event engine a received message takes one thread less to get to Python: 0.31 ms instead of 0.45 ms CPU a
# message at the receiver (sparse, gRPC 1.85), a quarter less for a whole idle overlay. A gRPC that no longer knows these
# names says so once in the log and works as usual.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener,-event_engine_for_all_other_endpoints")

import argparse
import asyncio
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from opus_node.control import Control, control_server
from opus_node.errors import LocalError
from opus_node.process import NodeProcess
from opus_node.transport import PORT

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
EXIT_OPTIONS = 2
EXIT_BROKEN = 70


@dataclass(frozen=True, slots=True)
class Options:
    control_dir: Path
    address: str = "0.0.0.0"
    port: int = PORT


def parse(arguments: list[str]) -> Options:
    """Exits with status 2 and one line if they make no sense."""
    parser = argparse.ArgumentParser(prog="opus_node", description="One node of the overlay, booted through its control socket.")
    parser.add_argument("--control-dir", type=Path, required=True, help="directory of the control socket, 0700, made if missing")
    parser.add_argument(
        "--listen", default=f"0.0.0.0:{PORT}", metavar="ADDRESS:PORT", help="for other nodes (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        return Options(options.control_dir, *parse_address(options.listen))
    except ValueError as error:
        parser.error(str(error))


def parse_address(text: str) -> tuple[str, int]:
    """ "198.18.0.7:7000" or "198.18.0.7"; ValueError otherwise."""
    address, colon, port = text.partition(":")
    if not address or (colon and not (port.isdecimal() and 0 < int(port) < 1 << 16)):
        raise ValueError(f"--listen {text}: ADDRESS:PORT is wanted, with a port from 1 to 65535")
    return address, int(port) if colon else PORT


def run(options: Options) -> int:
    """Serve until told to end or broken; the exit status."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True)
    try:
        return asyncio.run(_serve(options))
    except LocalError as error:
        print(f"opus_node: {error}", file=sys.stderr)
        return EXIT_OPTIONS


async def _serve(options: Options) -> int:
    node = NodeProcess(options.address, options.port, directory=options.control_dir)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, node.leave)
    loop.add_signal_handler(signal.SIGINT, node.end)
    server = control_server(Control(node), options.control_dir)
    await server.start()
    if await node.ended is not None:  # and the traceback is in the log
        return EXIT_BROKEN
    await node.close()
    await server.stop(None)
    return 0


def main() -> None:
    status = run(parse(sys.argv[1:]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # gRPC's threads need no goodbye, and now and then do not come to an end


if __name__ == "__main__":
    main()
