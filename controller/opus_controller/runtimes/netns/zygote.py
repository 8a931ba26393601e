"""Starts the zygote, the process that forks a node into each namespace, and speaks with it.

Lines of JSON over a Unix stream socket (opus_node.zygote): a request is answered in order; {"op": "exited"} comes unasked.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from opus_controller.model.errors import PlatformError

SOCKET = "zygote.sock"
LOG = "zygote.log"
START_S = 180.0
"""An import of half a second of CPU time: much longer only where a thousand other processes want the processor."""
ANSWER_S = 60.0


class Zygote:
    """One run's zygote. `on_exit(host, status)` is told of every node that ends; status as in os.waitstatus_to_exitcode."""

    def __init__(self, directory: Path, on_exit: Callable[[str, int], None]) -> None:
        self._directory = directory
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._waiting: deque[asyncio.Future[dict[str, Any]]] = deque()

    async def start(self, *, exit_with: int | None) -> int:
        """Start it and wait until it listens; its pid. It ends with the process `exit_with`; None: it stays.

        PlatformError, with the last line of its log, if it does not start.
        """
        self._process = _launch(self._directory, exit_with)
        await self._connect()
        return self._process.pid

    async def attach(self) -> None:
        """Speak with the zygote of a run that another process started. PlatformError if it is gone."""
        await self._connect()

    async def spawn(self, host: str, request: dict[str, Any]) -> int:
        """Fork a node for `host`; its pid. PlatformError if it could not."""
        answer = await self._ask({"op": "spawn", "host": host, **request})
        if not answer.get("ok"):
            raise PlatformError(f"{host}: its node could not be started: {answer.get('error', 'no reason given')}")
        return int(answer["pid"])

    async def quit(self) -> None:
        """Ask it to end all nodes and itself; no error if it is gone."""
        with suppress(PlatformError, TimeoutError):  # whoever takes the run down kills what does not go
            async with asyncio.timeout(5.0):
                await self._ask({"op": "quit"})

    async def close(self) -> None:
        """Let go of the connection and, if it is our child, of its remains."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0)

    async def _connect(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_S
        while True:
            try:
                self._reader, self._writer = await asyncio.open_unix_connection(str(self._directory / SOCKET))
                break
            except OSError as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or asyncio.get_running_loop().time() > deadline:
                    raise PlatformError(f"the zygote does not answer: {self._last_words()}") from error
            await asyncio.sleep(0.02)
        self._listening = asyncio.create_task(self._listen(), name="zygote")

    def _last_words(self) -> str:
        log = self._directory / LOG
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return (lines[-1] if lines else "it left no log") + f" ({log})"

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._writer is None or self._listening is None or self._listening.done():
            raise PlatformError(f"the zygote is gone: {self._last_words()}")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._writer.write(json.dumps(request).encode() + b"\n")
        await self._writer.drain()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError as error:
            raise PlatformError(f"the zygote did not answer {request['op']} within {ANSWER_S:.0f} s") from error

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            message = json.loads(line)
            if message.get("op") == "exited":
                self._on_exit(message["host"], int(message.get("status", 0)))
            elif self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(message)
        for future in self._waiting:
            if not future.done():
                future.set_exception(PlatformError(f"the zygote ended: {self._last_words()}"))
        self._waiting.clear()


def _launch(directory: Path, exit_with: int | None) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C at the terminal is for the controller, which then ends the nodes in order."""
    command = [sys.executable, "-m", "opus_node.zygote", "--socket", str(directory / SOCKET)]
    if exit_with is not None:
        command += ["--exit-with", str(exit_with)]
    with (directory / LOG).open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
