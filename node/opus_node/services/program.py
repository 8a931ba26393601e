"""One start of a user's program: as a child in a process group of its own, its output in the node's log, its end told.

It runs as the node does: same user without any capability, same namespaces, same limits. It ends with the node: `setpriv`
(util-linux) asks the kernel for that, and whoever ends a host ends all that runs in it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from opus_node.core.events import CONSUMED_EVERY
from opus_node.core.types import SECOND, Nanos
from opus_node.errors import LocalError
from opus_node.services.meter import core_time

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE: Final = 3.0
"""Seconds from SIGTERM to SIGKILL."""
LOG_MOST: Final = 1 << 20
"""Bytes of a service's output kept for the life of a node; what comes after is read and thrown away."""
LINE_MOST: Final = 4096
FIRST_TO_GO: Final = 1000
"""Of /proc/PID/oom_score_adj (proc(5)). Where a host's memory runs out it is the program's end, however big its node is:
a host outlives what it runs."""


class Running(Protocol):
    """A program that was started: a child of the node's, or a container beside it (`services.containers`)."""

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when it is no more, with how it ended."""

    async def stop(self) -> None:
        """Ask it to end, end it after a while, and return when it has ended."""

    def kill(self) -> None:
        """Now, without waiting."""

    async def consumed(self) -> Nanos:
        """Waits until it is measured again, CONSUMED_EVERY or so, for ever where nobody does that: what it has consumed since
        this start, never less than was said before."""


class ProgramLog:
    """A service's output in the node's log: bounded, whatever its program writes, however often it is started."""

    def __init__(self, app: str, most: int = LOG_MOST) -> None:
        self._log = logging.getLogger(f"program.{app}")
        self._left = most
        self._broken_off = b""

    def write(self, data: bytes) -> None:
        """Whole lines are logged; a line over `LINE_MOST` in pieces."""
        if self._left <= 0:
            return
        *lines, rest = (self._broken_off + data).split(b"\n")
        while len(rest) > LINE_MOST:
            lines.append(rest[:LINE_MOST])
            rest = rest[LINE_MOST:]
        self._broken_off = rest
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """The program has closed its output."""
        if self._broken_off:
            self._line(self._broken_off)
            self._broken_off = b""

    def _line(self, line: bytes) -> None:
        if self._left <= 0:
            return
        self._left -= len(line) + 1
        self._log.info("%s", line.decode(errors="replace"))
        if self._left <= 0:
            self._log.warning("it has written so much that the rest is not kept")


class Program:
    """A running program; `ended` is done when it is no more, with how it ended."""

    def __init__(self, process: asyncio.subprocess.Process, log: ProgramLog) -> None:
        self._process = process
        self._log = log
        self._core_time: Nanos = 0
        self.ended = asyncio.create_task(self._wait())

    @staticmethod
    async def start(command: Sequence[str], directory: Path, environment: Mapping[str, str], log: ProgramLog) -> Program:
        """LocalError if there is no such program, or it cannot be run."""
        if shutil.which(command[0], path=PATH) is None:
            raise LocalError(f"{command[0]}: no such program on this host ({PATH})")
        wrapped = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv", path=PATH) else ()
        try:
            process = await asyncio.create_subprocess_exec(
                *wrapped,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=directory,
                env={"PATH": PATH, "HOME": str(directory), "LANG": "C.UTF-8", **environment},
                process_group=0,
            )
        except OSError as error:
            raise LocalError(f"{command[0]}: {error.strerror}") from error
        _first_to_go(process.pid)
        return Program(process, log)

    async def stop(self) -> None:
        """SIGTERM, a while, SIGKILL; and whatever of its process group outlives it is killed with it."""
        if not self.ended.done():
            self._signal(signal.SIGTERM)
            await asyncio.wait((self.ended,), timeout=GRACE)
        self._signal(signal.SIGKILL)
        await self.ended

    def kill(self) -> None:
        """Now, without waiting."""
        self._signal(signal.SIGKILL)

    async def consumed(self) -> Nanos:
        await asyncio.sleep(CONSUMED_EVERY / SECOND)
        self._core_time = max(self._core_time, core_time(self._process.pid) or 0)
        return self._core_time

    def _signal(self, number: int) -> None:
        """To the whole group: it is this program's as long as anything of it lives."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _wait(self) -> str:
        reading = asyncio.create_task(self._read())
        status = await self._process.wait()
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(reading, 1.0)  # a child that it left behind may hold its output open
        self._log.end()
        return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"

    async def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        while data := await output.read(1 << 16):
            self._log.write(data)


def _first_to_go(pid: int) -> None:
    """With all that it starts from here on."""
    with suppress(OSError):  # it has ended already
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(FIRST_TO_GO))
