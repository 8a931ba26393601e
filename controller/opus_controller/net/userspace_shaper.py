"""The shaper: the process at the far end of every host's eth0. `python -m opus_controller.net.userspace_shaper --help`.

Its own process, with real-time priority and without a garbage collector's pauses (there are no cycles on the packet path):
that took the 99th percentile of the round-trip error from 7.9 to 1.5 ms on a busy machine. What the machine refuses of
it is said in "facts" and does not end it. It outlives whoever started it, until it is told to close; with --exit-with it
ends with that process.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from opus_controller.net.userspace_control import Control
from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_loop import Loop
from opus_controller.net.userspace_protocol import bind

_PRIORITY = 10
_DESCRIPTORS = 1 << 16
"""Two a host."""


def main() -> None:
    """Listen, say so on standard output (one line of JSON, the facts), and serve."""
    options = _options()
    engine = Engine(seed=options.seed)
    loop = Loop(engine)
    if options.exit_with:
        _end_with(options.exit_with, loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing to save; the kernel removes the devices
    facts = {"pid": os.getpid(), "python": platform.python_version(), "offloads": options.offloads, "mtu": options.mtu}
    facts |= _privileges()
    path = Path(options.socket)
    listener = bind(path)
    Control(loop, engine, listener, facts)
    print(json.dumps(facts), flush=True)
    os.close(1)
    gc.collect()
    gc.freeze()
    gc.disable()
    loop.run()
    path.unlink(missing_ok=True)
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="userspace_shaper", description="Carries the packets of a run's userspace links.")
    parser.add_argument("--socket", required=True, help="Unix socket to listen at")
    parser.add_argument("--exit-with", type=int, metavar="PID", help="end when this process ends")
    parser.add_argument("--seed", help="make the draws of loss and jitter repeatable")
    parser.add_argument("--offloads", action="store_true", help="devices are to hand over TCP in super-packets")
    parser.add_argument("--mtu", type=int, default=1500, help="of the devices; with --offloads, kept for whoever attaches hosts")
    return parser.parse_args()


def _end_with(pid: int, loop: Loop) -> None:
    def ended() -> None:
        loop.running = False

    try:
        loop.add(os.pidfd_open(pid), ended)
    except ProcessLookupError:
        sys.exit(f"process {pid}, to end with, is gone already")


def _privileges() -> dict[str, Any]:
    """Take what makes timers exact, and say what was granted."""
    facts: dict[str, Any] = {}
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
        facts["scheduler"] = f"SCHED_RR {_PRIORITY}"
    except OSError as error:
        facts["scheduler"] = f"SCHED_OTHER (SCHED_RR refused: {error.strerror})"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, max(hard, _DESCRIPTORS)))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    facts["descriptors"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return facts


if __name__ == "__main__":
    main()
