"""Runs a command under a kernel that has netem: User-mode Linux over this machine's own files, without its network.

    python -m helpers.uml [--limit SECONDS] -- COMMAND...          (or tests/netem/in-uml COMMAND...)

What the guest sees and which exit codes there are: `helpers.guest`. Nothing needs a terminal, a network or kvm; it boots in
two seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from helpers.guest import TESTS, Kind, Machine

MODULES_DIRECTORY = Path("/usr/lib/uml/modules")
MEMORY = 2 << 30
MEND = "apt-get install --no-install-recommends user-mode-linux"


def lacks() -> str:
    """Why it cannot run here; empty if it can."""
    if shutil.which("linux.uml") is None or not MODULES_DIRECTORY.is_dir():
        return f"User-mode Linux is missing: {MEND}"
    if os.geteuid() != 0:
        return "User-mode Linux reads the host's files as this user, and tests in it want to be root: run as root"
    return ""


def machine(job: Path, place: Path) -> Machine:
    """The kernel, with its first process: `uml_init`."""
    # The kernel and the programs in it are processes that take turns, thousands of times a second: on one cpu each turn is
    # a switch, across two it waits for the other to wake up, which costs half the guest's time and the links' timers.
    kernel = [
        "taskset", "--cpu-list", str(max(os.sched_getaffinity(0))),
        "linux.uml", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"mem={MEMORY >> 20}M", "quiet", "loglevel=3",
        "con0=null,fd:1", "con=null", f"uml_dir={place}", "umid=guest",
        f"PYTHONPATH={TESTS}", f"init={sys.executable}", "--", "-m", "helpers.uml_init", str(job), str(MODULES_DIRECTORY),
    ]  # fmt: skip
    return Machine(kernel, {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": _memory_directory(place)})


def _memory_directory(place: Path) -> str:
    """Where the guest's memory lies: a tmpfs with room, or else the disk (containers give /dev/shm 64 MB)."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        free = 0
    return "/dev/shm" if free > MEMORY else str(place)


UML = Kind("uml", "User-mode Linux", lacks, machine, limit_s=900.0)

if __name__ == "__main__":
    sys.exit(UML.main(sys.argv[1:]))
