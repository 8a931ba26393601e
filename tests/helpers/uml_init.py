"""The first process of the User-mode Linux guest: mounts, modules, one command, power off. Started by `helpers.uml`.

Standard library only, and nothing of the host is started. What fails before the command is said on the console; the
host then sees that there is no exit code.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
import traceback
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

_MS_RDONLY = 1
_RB_POWER_OFF = 0x4321FEDC
_SYS_FINIT_MODULE = 313  # x86-64, the only machine that Debian's user-mode-linux is made for
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_TMPFS = ("/tmp", "/run", "/var/tmp", "/var/lib", "/dev/shm")


def main(job_path: str) -> None:
    """Do the job described in the JSON file (`helpers.uml.Job`) and switch the machine off, whatever happens."""
    try:
        job: dict[str, Any] = json.loads(Path(job_path).read_text())
        _mounts(job)
        for name in job["modules"]:
            _load(Path(job["modules_directory"], os.uname().release), name, set())
        _loopback_up()
        _plain_console()
        print(f"uml: Linux {os.uname().release}, {os.cpu_count()} cpu", flush=True)
        code = _command(job)
        Path(job["result"]).write_text(str(code))
    except BaseException:  # noqa: BLE001  (said below; a first process that ends is a panic of the kernel)
        traceback.print_exc()
    sys.stdout.flush()
    os.sync()
    _libc.reboot(_RB_POWER_OFF)


def _mounts(job: dict[str, Any]) -> None:
    _mount("proc", "/proc", "proc")
    _mount("sysfs", "/sys", "sysfs")
    for place in _TMPFS:
        os.makedirs(place, exist_ok=True)
        _mount("tmpfs", place, "tmpfs", data="mode=1777")
    os.makedirs("/dev/pts", exist_ok=True)
    _mount("devpts", "/dev/pts", "devpts", data="ptmxmode=0666")
    if Path("/sys/fs/cgroup").is_dir():
        _mount("cgroup2", "/sys/fs/cgroup", "cgroup2", required=False)
    for place in job["visible"]:
        if any(Path(place).is_relative_to(hidden) for hidden in _TMPFS):
            os.makedirs(place, exist_ok=True)
            _mount("none", place, "hostfs", _MS_RDONLY, place)
    _mount("none", job["shared"], "hostfs", 0, job["shared"])


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "", required: bool = True) -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()) != 0 and required:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind} at {target}: {os.strerror(number)}")


def _load(directory: Path, name: str, seen: set[str]) -> None:
    """Load a module after those it needs; one that the kernel was not built with as a module is passed over."""
    depends = _dependencies(directory)
    if name in seen or name not in depends:
        return
    seen.add(name)
    path, needs = depends[name]
    for other in needs:
        _load(directory, other, seen)
    with open(path, "rb") as file:
        failed = _libc.syscall(_SYS_FINIT_MODULE, file.fileno(), b"", 0)
    if failed and ctypes.get_errno() != 17:  # EEXIST: loaded already
        print(f"uml: module {name}: {os.strerror(ctypes.get_errno())}", flush=True)


def _dependencies(directory: Path) -> dict[str, tuple[Path, list[str]]]:
    """From modules.dep: a module's name to its file and the names of those it needs, the deepest first."""
    found = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        found[_module_name(path)] = (directory / path, [_module_name(need) for need in reversed(needs.split())])
    return found


def _module_name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def _loopback_up() -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s24x", b"lo"))
        flags = struct.unpack_from("@h", request, 16)[0] | _IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags))


def _plain_console() -> None:
    """No carriage returns in the output."""
    settings = termios.tcgetattr(1)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(1, termios.TCSANOW, settings)


def _command(job: dict[str, Any]) -> int:
    """Run it to its end, reaping every orphan meanwhile, as a first process must."""
    with open(os.devnull, "rb") as nothing:
        child = subprocess.Popen(job["command"], cwd=job["directory"], env=job["environment"], stdin=nothing)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    main(sys.argv[1])
