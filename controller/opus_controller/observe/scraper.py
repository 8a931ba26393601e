"""Reads hosts' metrics over the control line: when somebody asks for them, and now and then for the run's record.

Whatever is read goes into the archive. What somebody else asks for again and again is not read for the record as well, so a
Prometheus that looks on costs no second reading. A host that does not answer is a failed reading of that host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from opus_controller.model.errors import PlatformError
from opus_controller.observe.archive import Archive

CONTROLLER = "controller"
"""The controller's own metrics, as a target; hosts are named with a digit at the end."""
READ_S = 2.0
"""For a host to answer. Paused ones never do."""
AT_ONCE = 16
ASKED_INTERVALS = 2.5
"""Whoever has not asked for a target for so many intervals is gone."""
WATCHED_A_SECOND = 15
"""Hosts read a second with somebody looking on, at most: a reading costs both processes together about 3 ms."""
UNWATCHED_A_SECOND = 6


def every_s(hosts: int, *, watched: bool) -> float:
    """Between two readings of the same host."""
    if watched:
        return max(2.0, float(-(-hosts // WATCHED_A_SECOND)))
    return max(5.0, float(-(-hosts // UNWATCHED_A_SECOND)))


class Scraper:
    """`read_host` and `read_own` give Prometheus' text format, or raise PlatformError."""

    def __init__(
        self,
        labels: Mapping[str, Mapping[str, str]],
        read_host: Callable[[str], Awaitable[str]],
        read_own: Callable[[], Awaitable[str]],
        archive: Archive | None,
        every: float,
    ) -> None:
        """`labels`: of every target, the controller among them."""
        self._read_host = read_host
        self._read_own = read_own
        self._archive = archive
        self._every = every
        self._targets = list(labels)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._asked_at = dict.fromkeys(labels, float("-inf"))
        """When somebody last asked for each target."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.outcomes = {"ok": 0, "failed": 0}
        """Readings of hosts."""
        if archive is not None:
            for name, of in labels.items():
                archive.target(name, of)

    async def ask(self, target: str) -> str:
        """A fresh reading for somebody. PlatformError, in one line, if there is none."""
        self._asked_at[target] = time.monotonic()
        return await self._read(target)

    async def _read(self, target: str) -> str:
        at, began = time.time(), time.perf_counter()
        try:
            async with self._places, asyncio.timeout(READ_S):
                text = await (self._read_own() if target == CONTROLLER else self._read_host(target))
        except TimeoutError as error:
            self._note_failure(target, at, f"{target}: no answer within {READ_S:.0f} s")
            raise PlatformError(f"{target}: no answer within {READ_S:.0f} s") from error
        except PlatformError as error:
            self._note_failure(target, at, str(error))
            raise
        if self._archive is not None:
            self._archive.reading(target, at, time.perf_counter() - began, text)
        if target != CONTROLLER:
            self.outcomes["ok"] += 1
        return text

    def start(self) -> None:
        self._task = asyncio.create_task(self._on_and_on(), name="scrapes")

    async def stop(self) -> None:
        """After one last reading of the controller's own metrics."""
        for task in (self._task, *self._under_way):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._task, *self._under_way) if task is not None), return_exceptions=True)
        await self._try(CONTROLLER)

    async def _on_and_on(self) -> None:
        """Round and round, evenly spread; a host that keeps us waiting does not keep the others waiting."""
        while True:
            for target in self._targets:
                asked = time.monotonic() - self._asked_at[target] < ASKED_INTERVALS * self._every
                if not asked and len(self._under_way) < AT_ONCE:
                    task = asyncio.create_task(self._try(target))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
                await asyncio.sleep(self._every / len(self._targets))

    async def _try(self, target: str) -> None:
        try:
            await self._read(target)
        except PlatformError:
            return  # noted

    def _note_failure(self, target: str, at: float, why: str) -> None:
        if self._archive is not None:
            self._archive.failed(target, at, why)
        if target != CONTROLLER:
            self.outcomes["failed"] += 1


def target_labels(run: str, hosts: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    """Of every target of a run, the controller first; `hosts`: name, site, group."""
    labels = {CONTROLLER: {"job": "opus-controller", "instance": f"{run}/{CONTROLLER}", "run": run}}
    for host, site, group in hosts:
        labels[host] = {
            "job": "opus-host",
            "instance": f"{run}/{host}",
            "run": run,
            "host": host,
            "site": site,
            "group": group,
        }
    return labels
