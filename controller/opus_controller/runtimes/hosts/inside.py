"""Becomes a command inside a host: its network, and every host's name in /etc/hosts; all else is the machine's own.

As Mininet's users expect it: root, the machine's files, `ping`, `iperf3` and `tcpdump` as installed. The calling process is
replaced, so terminal, signals and exit code are the command's own.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from opus_controller.model.errors import PlatformError

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def become(command: Sequence[str], *, netns: Path, hosts: Path) -> NoReturn:
    """Replace this process by `command` in the namespace, with `hosts` as its /etc/hosts.

    Call it from the main thread. PlatformError if the namespace is gone, the privilege is missing, or there is no such command.
    """
    if shutil.which(command[0]) is None:
        raise PlatformError(f"there is no command {command[0]!r} on this machine; install it first")
    try:
        with netns.open("rb") as handle:
            _check(_libc.setns(handle.fileno(), _CLONE_NEWNET))
        _check(_libc.unshare(_CLONE_NEWNS))
        _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
        _check(_libc.mount(os.fsencode(hosts), b"/etc/hosts", None, ctypes.c_ulong(_MS_BIND), None))
    except OSError as error:
        raise PlatformError(f"cannot enter {netns} ({error.strerror}); run as root, and see: opus status") from error
    with suppress(OSError):  # /sys shows the interfaces of whoever mounted it; a container may forbid to mount it anew
        _show_own_interfaces()
    os.execvp(command[0], list(command))


def _show_own_interfaces() -> None:
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(_libc.mount(b"sysfs", b"/sys", b"sysfs", ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
