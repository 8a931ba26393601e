"""Disks of hosts' own: a tmpfs of a bounded size over a host's directory, so that one can be full while its neighbours are not.

Filling one moves no byte: it is remounted with the size of what it holds, and then the kernel refuses every write with ENOSPC,
as any full disk does; remounted with what the host is to have, it takes writes again. What lies there is memory of this machine,
counted as the host's own by its cgroup.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from opus_controller.model.errors import PlatformError

_MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 2, 4, 32
_MNT_DETACH: Final = 2
_TRIES: Final = 20
"""A disk may grow between a look at it and the remount; the kernel refuses a size below what is there."""
FIRST: Final = ".opus"
"""A file of one page, root's: a tmpfs that holds nothing cannot be told to take nothing (a size of 0 is none)."""

_libc = ctypes.CDLL(None, use_errno=True)


def make(directory: Path, size: int, uid: int) -> None:
    """A disk of `size` bytes over this directory, which is `uid`'s. OSError if this machine refuses."""
    _mount(directory, _MS_NOSUID | _MS_NODEV, f"size={size},mode=700,uid={uid},gid={uid}")
    (directory / FIRST).write_bytes(bytes(os.sysconf("SC_PAGE_SIZE")))


def limit(directory: Path, size: int) -> None:
    """From now on it holds `size` bytes at most, or, if it holds more already, no more. OSError if the kernel refuses, or says
    another size when asked."""
    wanted = size
    for last in (False,) * (_TRIES - 1) + (True,):
        wanted = max(size, _used(directory))
        try:
            _mount(directory, _MS_REMOUNT | _MS_NOSUID | _MS_NODEV, f"size={wanted}")
        except OSError:
            if last:
                raise
            continue
        break
    disk = os.statvfs(directory)
    if not wanted <= disk.f_blocks * disk.f_frsize < wanted + disk.f_frsize:
        raise OSError(errno.EIO, f"it has {disk.f_blocks * disk.f_frsize} bytes and not {wanted}", str(directory))


def clear(directories: Iterable[Path]) -> None:
    """Nothing is left on these disks, or in these directories where there are no disks. PlatformError if something cannot be
    removed."""
    try:
        for entry in [entry for directory in directories for entry in os.scandir(directory)]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name != FIRST:
                os.unlink(entry.path)
    except OSError as error:
        raise PlatformError(f"a host's disk cannot be emptied: {error.strerror} ({error.filename})") from error


def of_run(state: Path) -> list[Path]:
    """Mounts below the run's directory."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4])
        if state in point.parents:
            found.append(point)
    return found


def remove(state: Path) -> None:
    """All disks of the run whose directory this is. What cannot be removed is left, and told by who removes the directory."""
    for point in of_run(state):
        _libc.umount2(os.fsencode(point), _MNT_DETACH)


def _used(directory: Path) -> int:
    disk = os.statvfs(directory)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def _mount(directory: Path, flags: int, options: str) -> None:
    if _libc.mount(b"opus", os.fsencode(directory), b"tmpfs", ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", str(directory))
