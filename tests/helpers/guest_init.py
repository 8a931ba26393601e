"""The first process of a guest, whatever its kind: does one job and switches the machine off.

Standard library only, and nothing of the host is started. What fails before the command is said on the console; the
host then sees that there is no exit code.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]
"""As `helpers.guest.Job` has it."""

MS_RDONLY, MS_BIND = 1, 4096
_RB_POWER_OFF = 0x4321FEDC
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
WRITABLE = ("/tmp", "/run", "/var/tmp", "/var/lib", "/dev/shm")
"""Each an empty tmpfs in the guest."""

libc = ctypes.CDLL(None, use_errno=True)


def main(name: str, job_path: str, prepare: Callable[[Job], None]) -> None:
    """Do the job described in the JSON file and switch the machine off, whatever happens; `prepare` mounts what is needed."""
    try:
        job: Job = json.loads(Path(job_path).read_text())
        prepare(job)
        _loopback_up()
        _plain_console()
        print(f"{name}: Linux {os.uname().release}, {os.cpu_count()} cpu, up {_uptime_s():.1f} s", flush=True)
        code = _command(job)
        Path(job["result"]).write_text(str(code))
    except BaseException:  # noqa: BLE001  (said below; a first process that ends is a panic of the kernel)
        traceback.print_exc()
    sys.stdout.flush()
    os.sync()
    libc.reboot(_RB_POWER_OFF)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "", required: bool = True) -> None:
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()) != 0 and required:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind} at {target}: {os.strerror(number)}")


def usual_mounts() -> None:
    """The kernel's own file systems, and a tmpfs wherever programs write."""
    mount("proc", "/proc", "proc", required=not os.path.exists("/proc/self"))
    mount("sysfs", "/sys", "sysfs")
    for place in WRITABLE:
        os.makedirs(place, exist_ok=True)
        mount("tmpfs", place, "tmpfs", data="mode=1777")
    os.makedirs("/dev/pts", exist_ok=True)
    mount("devpts", "/dev/pts", "devpts", data="ptmxmode=0666")
    if Path("/sys/fs/cgroup").is_dir():
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2", required=False)


def hidden(places: list[str]) -> list[str]:
    """Those that lie under one of the tmpfs; a directory is made for each."""
    found = [place for place in places if any(Path(place).is_relative_to(tmpfs) for tmpfs in WRITABLE)]
    for place in found:
        os.makedirs(place, exist_ok=True)
    return found


def _uptime_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s24x", b"lo"))
        flags = struct.unpack_from("@h", request, 16)[0] | _IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags))


def _plain_console() -> None:
    """No carriage returns in the output."""
    settings = termios.tcgetattr(1)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(1, termios.TCSANOW, settings)


def _command(job: Job) -> int:
    """Run it to its end, reaping every orphan meanwhile, as a first process must."""
    with open(os.devnull, "rb") as nothing:
        child = subprocess.Popen(job["command"], cwd=job["directory"], env=job["environment"], stdin=nothing)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status)
