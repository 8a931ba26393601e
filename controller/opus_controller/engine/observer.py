"""Who looks on while a plan is played, what a runtime shows them, and the wall between: whatever they do, the run goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from opus_controller.engine.fidelity import Gate
from opus_controller.engine.runtime import Health, Record, Runtime
from opus_controller.net.links import LinkCounters

BEGIN_END_S = 5.0
"""What an observer may take at either end of a run."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PathSeen:
    """One pair of hosts whose round trip is measured while a run goes on. Counters are cumulated."""

    source: str
    target: str
    asked_ns: int
    """The round trip that the links are told to give now, jitter, queues and cuts aside."""
    asked_loss: float
    """The share of round trips that the shapes of both paths are told to lose now."""
    cut: bool
    """No packet is to pass now, one way or the other."""
    answered: int = 0
    rtt_ns: int = 0
    """Sum of those answered."""
    lost: int = 0


@dataclass(frozen=True)
class Observed:
    """What a runtime sees of its links beside what hosts tell."""

    links: Mapping[str, LinkCounters] = field(default_factory=dict)
    """By host."""
    paths: Sequence[PathSeen] = ()
    rtt_errors_ns: Sequence[int] = ()
    """Measured less asked, of every echo so far; grows at its end."""
    gate: Gate | None = None
    """What the fidelity gate found; None: it was skipped, or another process started the run."""


@runtime_checkable
class Observable(Protocol):
    """A runtime in real time whose hosts can be asked for their metrics. (In virtual time nobody could look on.)"""

    async def metrics(self, host: str) -> str:
        """The host's metrics in Prometheus' text format. PlatformError if it does not answer."""

    async def observed(self) -> Observed: ...


class Observer(Protocol):
    """Called in the player's own loop: none of it may block. An exception is logged, and the observer not called again."""

    async def begin(self, runtime: Runtime) -> None:
        """The runtime is up."""

    def records(self, records: Sequence[Record]) -> None:
        """What has just gone into the run's record."""

    def health(self, health: Health) -> None: ...

    async def end(self) -> None:
        """The runtime is still up, but not for long. Called whenever `begin` was."""


class Guarded:
    """An observer that cannot harm the run; None: nobody looks on."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._begun = False

    async def begin(self, runtime: Runtime) -> None:
        if self._observer is not None:
            self._begun = True
            try:
                async with asyncio.timeout(BEGIN_END_S):
                    await self._observer.begin(runtime)
            except Exception as error:  # noqa: BLE001  (the run must go on)
                self._drop(error)

    def records(self, records: Sequence[Record]) -> None:
        if self._observer is not None and records:
            try:
                self._observer.records(records)
            except Exception as error:  # noqa: BLE001
                self._drop(error)

    def health(self, health: Health) -> None:
        if self._observer is not None:
            try:
                self._observer.health(health)
            except Exception as error:  # noqa: BLE001
                self._drop(error)

    async def end(self) -> None:
        if self._observer is not None and self._begun:
            try:
                async with asyncio.timeout(BEGIN_END_S):
                    await self._observer.end()
            except Exception as error:  # noqa: BLE001
                self._drop(error)

    def _drop(self, error: Exception) -> None:
        self._observer = None
        log.error("nobody observes this run any more", exc_info=error)
