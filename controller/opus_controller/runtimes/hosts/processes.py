"""Processes by identity: a pid alone may mean another process by the time one looks; a pid and a start time cannot."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process for good: `started` is field 22 of /proc/PID/stat, clock ticks since the machine's boot."""

    pid: int
    started: int

    @staticmethod
    def of(pid: int) -> Process | None:
        """The process that has this pid now; None if none has, or only its remains (a zombie)."""
        status = _status(pid)
        return None if status is None else Process(pid, status)

    @staticmethod
    def own() -> Process:
        """The calling process."""
        started = _status(os.getpid())
        assert started is not None
        return Process(os.getpid(), started)

    def alive(self) -> bool:
        return _status(self.pid) == self.started

    def stopped(self) -> bool:
        """Whether a signal has stopped it."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
        return False

    def session(self) -> list[Process]:
        """The others in the session that this process leads or led: what it has started, and that in turn, unless it left."""
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != self.pid:
                fields = _stat(int(entry.name))
                if fields and int(fields[3]) == self.pid and int(fields[19]) >= self.started:
                    found.append(Process(int(entry.name), int(fields[19])))
        return found

    def signal(self, number: int) -> bool:
        """Send a signal to this process and no other; False if it is gone."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive():  # the descriptor holds whoever had the pid; only now is it known to be ours
                    signal.pidfd_send_signal(handle, number)
                    return True
            finally:
                os.close(handle)
        return False


def ended_how(status: int) -> str:
    """In words, of a status as os.waitstatus_to_exitcode gives it."""
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"


def end(processes: Iterable[Process], *, grace_s: float = 0.0, wait_s: float = 10.0) -> list[Process]:
    """SIGTERM and `grace_s` to comply (0: none of that), then SIGKILL, then wait until they are gone.

    Returns those that were alive when asked. A process in uninterruptible sleep may outlive `wait_s`.
    """
    alive = [process for process in processes if process.alive()]
    if grace_s > 0:
        for process in alive:
            process.signal(signal.SIGTERM)
        wait_gone(alive, grace_s)
    for process in alive:
        process.signal(signal.SIGKILL)
    wait_gone(alive, wait_s)
    return alive


def wait_gone(processes: Iterable[Process], timeout_s: float) -> bool:
    """Until all are gone; False if some are not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    return all(_wait_one(process, deadline) for process in processes)


def _wait_one(process: Process, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if process.alive():
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        return not process.alive()
    finally:
        os.close(handle)


def _status(pid: int) -> int | None:
    """Start time of a living process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/PID/stat from the third, its state, on; none if it is dead."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name may hold spaces and brackets
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] in (b"Z", b"X") else fields
