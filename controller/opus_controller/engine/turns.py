"""Whoever does something to a host waits for whoever is at it; what is done to different hosts goes on side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType


class Turn:
    """`async with` it: entered when all earlier turns of its hosts have been left."""

    def __init__(self, before: set[asyncio.Future[None]], mine: asyncio.Future[None]) -> None:
        self._before = before
        self._mine = mine

    async def __aenter__(self) -> None:
        if before := {turn for turn in self._before if not turn.done()}:
            await asyncio.wait(before)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._mine.set_result(None)


class Turns:
    """Of all hosts of a run. Turns of one host come in the order in which they were taken."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    def take(self, hosts: Iterable[str]) -> Turn:
        """The place in the queue is taken at this call, not when the turn is entered. To be entered in any case."""
        names = list(hosts)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before = {self._last[name] for name in names if name in self._last}
        self._last.update(dict.fromkeys(names, mine))
        return Turn(before, mine)
