"""Named network namespaces of a run: create, find, enter, delete; by exact names only.

A name is a bind mount at /run/netns/NAME, as `ip netns` keeps them, so `ip netns exec opus-0a1b2c3d-use1-3 ping ...`
works. Made with unshare(2) and mount(2) in a thread, since a process per host would cost a second per hundred hosts.

    opus-<run>-<host>     a host's namespace; run is 8 lowercase hexadecimal digits
    opus-<run>.wan        the run's wide-area core (netem links)

The run has a fixed length and is followed by "-" or ".wan" and the end, so the names of two runs never overlap, and a
namespace that is named almost like these is nobody's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from opus_controller.model.errors import PlatformError

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 1 << 20
_MNT_DETACH = 2

_RUN = re.compile(r"[0-9a-f]{8}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HOST_NAMESPACE = re.compile(rf"opus-(?P<run>{_RUN.pattern})-(?P<host>{_HOST.pattern})")
_WAN_NAMESPACE = re.compile(rf"opus-(?P<run>{_RUN.pattern})\.wan")

_libc = ctypes.CDLL(None, use_errno=True)


# --- names ---


@dataclass(frozen=True)
class NamespaceName:
    """What a namespace's name says: its run, and its host ("" for the run's wan)."""

    run: str
    host: str

    def __str__(self) -> str:
        return host_namespace(self.run, self.host) if self.host else wan_namespace(self.run)


def new_run() -> str:
    """A run's identity: 8 lowercase hexadecimal digits, random."""
    return secrets.token_hex(4)


def host_namespace(run: str, host: str) -> str:
    """The namespace's name of a run's host. ValueError if either has a form that could not be parsed back."""
    if not _RUN.fullmatch(run) or not _HOST.fullmatch(host):
        raise ValueError(f"no namespace can be named for run {run!r} and host {host!r}")
    return f"opus-{run}-{host}"


def wan_namespace(run: str) -> str:
    """The name of the namespace where a run's veths meet."""
    if not _RUN.fullmatch(run):
        raise ValueError(f"no namespace can be named for run {run!r}")
    return f"opus-{run}.wan"


def parse(name: str) -> NamespaceName | None:
    """The run and host that `name` says, or None if it is not exactly of our form."""
    if match := _HOST_NAMESPACE.fullmatch(name):
        return NamespaceName(match["run"], match["host"])
    if match := _WAN_NAMESPACE.fullmatch(name):
        return NamespaceName(match["run"], "")
    return None


def path_of(name: str) -> Path:
    """Where the namespace called `name` is found."""
    return NETNS_DIR / name


# --- create, list, delete ---


def create(names: Iterable[str]) -> None:
    """Make a network namespace for each name, loopback still down; about 1 ms each.

    All or nothing: those made are deleted again if one fails. FileExistsError if a name is taken; PlatformError without
    the privilege.
    """
    wanted = list(names)
    made: list[str] = []

    def work() -> None:
        for name in wanted:
            os.close(os.open(path_of(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            made.append(name)
            _check(_libc.unshare(_CLONE_NEWNET), f"unshare for namespace {name}")
            _mount("/proc/thread-self/ns/net", path_of(name), _MS_BIND)

    try:
        _prepare_directory()
        _in_thread(work)
    except PermissionError as error:
        _undo(made)
        raise PlatformError(f"cannot make network namespaces ({error}); run as root, or use --runtime sim") from error
    except BaseException:
        _undo(made)
        raise


def adopt(name: str, netns: Path) -> None:
    """Give the namespace at `netns` (/proc/PID/ns/net of a container's process) a name, like those of `create`: it stays
    until the name is deleted, whatever becomes of the process. FileExistsError if the name is taken."""
    _prepare_directory()
    os.close(os.open(path_of(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        _mount(str(netns), path_of(name), _MS_BIND)
    except BaseException:
        _undo([name])
        raise


def delete(name: str) -> bool:
    """Take the name away; the namespace itself ends with its last process and descriptor. False if there was none."""
    path = path_of(name)
    if _libc.umount2(os.fsencode(path), _MNT_DETACH) != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise OSError(ctypes.get_errno(), f"unmount: {os.strerror(ctypes.get_errno())}", str(path))
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def of_run(run: str) -> list[str]:
    """Names of all namespaces of one run, its wan included, sorted."""
    return [name for name, parsed in _ours() if parsed.run == run]


def runs() -> list[str]:
    """Every run that has a namespace on this machine, sorted."""
    return sorted({parsed.run for _, parsed in _ours()})


def processes_in(names: Iterable[str]) -> dict[str, list[int]]:
    """Process ids inside each of the named namespaces (a name that is gone has none). One walk through /proc."""
    members: dict[str, list[int]] = {name: [] for name in names}
    by_identity: dict[tuple[int, int], str] = {}
    for name in members:
        try:
            by_identity[identity(path_of(name))] = name
        except FileNotFoundError:
            continue
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            found = by_identity.get(identity(Path("/proc", entry, "ns/net")))
        except OSError:  # it ended meanwhile, or is a kernel thread
            continue
        if found is not None:
            members[found].append(int(entry))
    return members


def identity(netns: Path) -> tuple[int, int]:
    """(device, inode) of a namespace: equal for two paths exactly if they are the same namespace."""
    status = os.stat(netns)
    return status.st_dev, status.st_ino


# --- inside ---


def run_inside(netns: Path, work: Callable[[], T]) -> T:
    """Call `work` in a thread of its own that has entered the namespace; its value or exception comes back here.

    `netns` is a path such as /run/netns/NAME or /proc/PID/ns/net. The calling thread never moves. Sockets and devices
    that `work` opens stay in that namespace and can be used from any thread afterwards.
    """

    def inside() -> T:
        with open(netns, "rb") as handle:
            _check(_libc.setns(handle.fileno(), _CLONE_NEWNET), f"enter {netns}")
        return work()

    return _in_thread(inside)


# --- helpers ---


def _ours() -> list[tuple[str, NamespaceName]]:
    try:
        names = sorted(os.listdir(NETNS_DIR))
    except FileNotFoundError:
        return []
    return [(name, parsed) for name in names if (parsed := parse(name)) is not None]


def _prepare_directory() -> None:
    """Make /run/netns a shared mount, as `ip netns add` does, so that a deletion reaches every mount namespace."""
    NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        _mount("", NETNS_DIR, _MS_SHARED | _MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount(str(NETNS_DIR), NETNS_DIR, _MS_BIND | _MS_REC)  # not a mount point yet: make it one
        _mount("", NETNS_DIR, _MS_SHARED | _MS_REC)


def _mount(source: str, target: Path, flags: int) -> None:
    _check(_libc.mount(source.encode(), os.fsencode(target), b"none", ctypes.c_ulong(flags), None), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _undo(names: Iterable[str]) -> None:
    for name in names:
        delete(name)


def _in_thread(work: Callable[[], T]) -> T:
    """Namespaces belong to threads: what must not happen to the caller's happens in one that ends right after."""
    values: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            values.append(work())
        except BaseException as error:  # noqa: BLE001  (handed to the caller, whatever it is)
            errors.append(error)

    thread = threading.Thread(target=call, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return values[0]
