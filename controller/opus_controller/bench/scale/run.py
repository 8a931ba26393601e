"""One process lives a world, or its part of one: how time passes, what is said meanwhile, and what it costs this machine.

A run of many hours is kept now and then (`state`), and when somebody stops it; then it goes on in other processes.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

from opus_node.core.types import Nanos

from opus_controller.bench.scale.load import Load, census
from opus_controller.bench.scale.small import small
from opus_controller.bench.scale.worlds import Size, duration_of
from opus_controller.bench.worlds import SECOND
from opus_controller.model.plan import Plan
from opus_controller.runtimes.sim.agenda import Agenda
from opus_controller.runtimes.sim.costs import HopCost
from opus_controller.runtimes.sim.parts import Part
from opus_controller.runtimes.sim.trace import Trace
from opus_controller.runtimes.sim.world import World

Say = Callable[[str], None]

SLICE = 10_000
"""Entries of the agenda between two looks at the clock."""
SAY_EVERY_S = 10.0
KEEP_EVERY_S = 2400.0
"""Real ones, between two times that a run of many hours is kept at least ..."""
KEEP_SELDOM = 20
"""... and so many times as long as that took, as nothing else happens meanwhile."""
BARE = 400_000
"""Entries that the bare heap handles to be timed."""
NEVER: Nanos = 10**9 * SECOND


class Stopped(Exception):
    """Before the end, as somebody wished; the run is kept if there is where to."""


class Wish(IntEnum):
    """What becomes of a run."""

    GO_ON = 0
    KEEP = 1
    STOP = 2
    """And keep."""


class Clock(Protocol):
    """How time passes in a process."""

    waited_s: float
    """Seconds, for other processes."""

    def run(self, until: Nanos, most: int, wish: Wish) -> bool:
        """About so many entries of the agenda; True when `until` is reached. `wish` is the first process's."""

    def agreed(self) -> Wish:
        """What the first process wished before the last moment at which all could stand still; here it is now."""

    def keep(self, write: Callable[[Path], None], place: Path) -> None:
        """All processes write a file each of the directory `place`: all are there then, or what was before. Raises OSError."""


@dataclass(frozen=True)
class Counts:
    """What one process has to tell."""

    built_s: float
    wall_s: float
    cpu_s: float
    waited_s: float
    rss_bytes: int
    peak_bytes: int
    bytes_more: int
    """Than before it built its world."""
    added: Counter[str]
    """Figures of the whole that are sums of those of its parts."""
    outcomes: Counter[tuple[bool, bool]]
    hops: Counter[tuple[bool, int]]
    trace: int | None
    """The sum of all steps' hashes."""


class Life:
    """Of one process's hosts."""

    def __init__(self, plan: Plan, size: Size, part: Part | None = None, trace: Trace | None = None) -> None:
        began = time.perf_counter()
        self.world = World(plan, _overlay, HopCost(), NEVER, trace, part=part)
        self.world.make_random = small
        self.load = Load(self.world, size, plan)
        self.until = duration_of(size)
        self.wall_s = self.cpu_s = self.waited_s = 0.0
        """What it has taken in all processes that it has lived in, without being kept and read again."""
        self.peak_bytes = 0
        """Of those before this one."""
        self.built_s = time.perf_counter() - began

    def live(self, clock: Clock, say: Say, place: Path | None, keep: Callable[[Path], None], stop: Callable[[], bool]) -> None:
        """To the end. `keep` writes this life to a file, in the directory `place`. Raises Stopped when it ends before, as
        the first process's `stop` wishes."""
        world = self.world
        kept = said = time.perf_counter()
        steps, over, wish, pause = world.steps, False, Wish.GO_ON, KEEP_EVERY_S
        while not over:
            began, began_cpu, waited = time.perf_counter(), time.process_time(), clock.waited_s
            over = clock.run(self.until, SLICE, wish)
            self.load.collect()
            now = time.perf_counter()
            self.wall_s += now - began
            self.cpu_s += time.process_time() - began_cpu
            self.waited_s += clock.waited_s - waited
            if now - said >= SAY_EVERY_S:
                say(self._progress((world.steps - steps) / (now - said)))
                said, steps = now, world.steps
            agreed = clock.agreed()
            if place is not None and not over and agreed is not Wish.GO_ON:
                self._keep(clock, say, place, keep)
                kept = said = time.perf_counter()
                pause = max(KEEP_EVERY_S, KEEP_SELDOM * (kept - now))
            if not over and agreed is Wish.STOP:
                raise Stopped
            due = place is not None and now - kept >= pause
            wish = Wish.STOP if stop() else Wish.KEEP if due and agreed is Wish.GO_ON else Wish.GO_ON

    def _keep(self, clock: Clock, say: Say, place: Path, keep: Callable[[Path], None]) -> None:
        """For want of room the run goes on without."""
        began, at = time.perf_counter(), self.world.agenda.now / SECOND
        self.peak_bytes = max(self.peak_bytes, rss(peak=True))
        try:
            clock.keep(keep, place)
        except OSError as error:
            say(f"at {at:.1f} virtual s it could not be kept: {error}")
        else:
            say(f"kept at {at:.1f} virtual s in {time.perf_counter() - began:.0f} s: {place}")
        with suppress(OSError), open("/proc/self/clear_refs", "w") as peak:  # where the kernel has it
            peak.write("5")  # what it took to write is no part of the run's memory

    def _progress(self, rate: float) -> str:
        """The start costs more than what comes after it, so the estimate is too long at first."""
        virtual_s, end_s = self.world.agenda.now / SECOND, self.until / SECOND
        left = self.wall_s * (end_s - virtual_s) / virtual_s if virtual_s > 0 else float("nan")
        told = f"{virtual_s:6.1f} of {end_s:.0f} virtual s in {self.wall_s:.0f} s, {left:.0f} s to go"
        return f"{told}, {rate:,.0f} steps/s, {rss() / 1e9:.2f} GB, {self.load.crashes} crashes"

    def counts(self, before: int) -> Counts:
        """`before`: bytes of the process when it had nothing of it."""
        world, load = self.world, self.load
        added = Counter(
            steps=world.steps,
            messages=world.fabric.delivered,
            entries=world.agenda.handled,
            waiting=len(world.agenda),
            crashes=load.crashes,
            restarts=load.restarts,
            sent_across=0 if world.border is None else world.border.sent,
            **census(world),
        )
        now, peak = rss(), max(self.peak_bytes, rss(peak=True))
        hashed = None if world.trace is None else world.trace.sum
        times = (self.built_s, self.wall_s, self.cpu_s, self.waited_s)
        return Counts(*times, now, peak, now - before, added, load.outcomes, load.hops, hashed)


def _overlay(node_id: str, config: Any, rng: Any) -> Any:
    from opus_node.core.node import NodeCore

    return NodeCore(node_id, config, rng)


# This machine


def bare_rate(waiting: int) -> float:
    """Entries a second of the same agenda with so many waiting, whose handler does nothing but put itself down again."""
    agenda, draw = Agenda(), Random("bare").random
    span = 15 * SECOND

    def handler(now: Nanos, a: Any, b: Any, c: Any) -> None:
        agenda.at(now + int(draw() * span), handler, a)

    for _ in range(max(1, waiting)):
        agenda.at(int(draw() * span), handler, None)
    began = time.perf_counter()
    agenda.run(NEVER, BARE)
    return BARE / (time.perf_counter() - began)


def rss(*, peak: bool = False) -> int:
    """Bytes of this process in memory, now or at most so far."""
    name: Final = "VmHWM:" if peak else "VmRSS:"
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(name):
                return int(line.split()[1]) << 10
    return 0


@contextmanager
def no_garbage() -> Iterator[None]:
    """Collections happen when enough has died (`load.DEAD_KEPT`), not whenever much was made."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
