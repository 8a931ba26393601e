"""Where a running testbed hears hands: a Unix socket, one JSON document a line, answered by one.

    {"do": ...}        ->  {"ok": true, ...} or {"ok": false, "error": "one line", "exit_code": 2}

Only the user who runs the testbed may connect. What can be asked is in `engine.hands`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from opus_controller.model.errors import OpusError, PlatformError, ScenarioError

MOST_BYTES = 1 << 20
"""Of a question, and of an answer."""
INTERNAL = 70

Answer = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


@runtime_checkable
class Reachable(Protocol):
    """A runtime in real time, which hands can reach. (In virtual time nobody would be fast enough.)"""

    @property
    def console(self) -> Path:
        """Where the socket is to be; its directory exists once the run is up."""


class Console:
    """`answer` may raise OpusError: its line and its exit code become the answer."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._path.unlink(missing_ok=True)
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._hear, str(draft), limit=MOST_BYTES)
        os.chmod(draft, 0o600)
        draft.rename(self._path)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, ValueError):  # too long a line: a stranger
                while line := await reader.readline():
                    writer.write(json.dumps(await self._answered(line)).encode() + b"\n")
                    await writer.drain()
        finally:
            writer.close()

    async def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            question = json.loads(line)
            if not isinstance(question, dict):
                raise ScenarioError("a question is a JSON object")
            return {"ok": True, **await self._answer(question)}
        except json.JSONDecodeError as error:
            return {"ok": False, "error": f"not JSON: {error}", "exit_code": ScenarioError.exit_code}
        except OpusError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}
        except Exception as error:  # noqa: BLE001  (a hand's mistake or ours: the run goes on)
            return {"ok": False, "error": f"internal error ({type(error).__name__}: {error})", "exit_code": INTERNAL}


def ask(path: Path, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Blocks. The answer's fields. ScenarioError or PlatformError as the other side says; PlatformError too if nobody answers,
    and ConnectionError if nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_s)
        try:
            line.connect(str(path))
        except OSError as error:
            raise ConnectionError(f"nobody listens at {path} ({error.strerror})") from error
        try:
            line.sendall(json.dumps(question).encode() + b"\n")
            with line.makefile("rb") as file:
                said = file.readline(MOST_BYTES)
        except OSError as error:
            raise PlatformError(f"the testbed's controller did not answer within {timeout_s:g} s ({path})") from error
    if not said.endswith(b"\n"):
        raise PlatformError(f"the testbed's controller ended before it answered ({path})")
    answer: dict[str, Any] = json.loads(said)
    if not answer.pop("ok"):
        kinds: dict[int, type[OpusError]] = {ScenarioError.exit_code: ScenarioError}
        raise kinds.get(answer["exit_code"], PlatformError)(answer["error"])
    return answer
