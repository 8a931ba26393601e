"""What a node process may see and do: its network namespace, cgroups, user and descriptors. Linux' own calls, by ctypes.

`os.setns` comes with Python 3.12 only; prctl, mallopt and malloc_trim are in no module.
A function that fails raises OSError, which says what.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWNET = 0x4000_0000
PR_SET_PDEATHSIG, PR_SET_NAME, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 15, 24, 38
M_ARENA_MAX = -8

_libc = ctypes.CDLL(None, use_errno=True)


def spare_memory() -> None:
    """One malloc arena: gRPC's threads would otherwise each fault in their own."""
    _libc.mallopt(M_ARENA_MAX, 1)


def return_memory() -> None:
    """Give freed memory back to the machine: what hundreds of closed connections leave behind, much of it in cycles."""
    gc.collect()
    _libc.malloc_trim(0)


def enter_netns(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), f"cannot enter the network namespace {path}")
    finally:
        os.close(descriptor)


def join_cgroups(directories: Iterable[str]) -> None:
    for directory in directories:
        (Path(directory) / "cgroup.procs").write_text("0")  # 0: whoever writes


def limit_files(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def drop_privileges(uid: int, gid: int) -> None:
    """Become `uid` for good: no groups, no capability in any set, and no way to gain one (setuid programs included)."""
    capability = 0
    while _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)  # which empties the permitted, effective and ambient sets (capabilities(7))
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "cannot set no_new_privs")


def die_with_parent() -> None:
    """Be killed when the parent dies. After a change of user, since that forgets it."""
    parent = os.getppid()
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "cannot ask for a signal at the parent's death")
    if os.getppid() != parent:  # it died in between
        os._exit(1)


def name_process(name: str) -> None:
    """As `ps` and `top` show it, 15 bytes of it."""
    _libc.prctl(PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]), 0, 0, 0)


def redirect(log: str | None, keep: int) -> None:
    """A session of its own, input from nowhere, output to `log` (appended; None: as it was), no other descriptor but `keep`."""
    os.setsid()  # a terminal's Ctrl-C is for the controller
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    if log is not None:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
