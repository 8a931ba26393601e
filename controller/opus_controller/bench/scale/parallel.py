"""One world in several processes: the same steps, the same figures but for time and memory, sooner.

    fork ─▶ each builds its own hosts ─▶ window ─▶ swap ─▶ window ─▶ swap ... ─▶ counts, which are added up

Each process has the hosts of some sites (`runtimes.sim.parts`). A window is as long as the shortest way between two of them: what
one does meanwhile reaches another in the next one at the earliest, so all live through it without hearing of each other; then
they swap what they have for each other (`runtimes.sim.border`). Nobody directs them.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from opus_node.core.types import Nanos

from opus_controller.bench.scale.run import (
    Figures,
    Load,
    Say,
    bare_rate,
    census,
    no_garbage,
    rss,
    told_of,
    world_of,
)
from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.runtimes.sim.agenda import Agenda
from opus_controller.runtimes.sim.border import Border
from opus_controller.runtimes.sim.parts import Parts, divide
from opus_controller.runtimes.sim.trace import Trace, digest_of


@dataclass(frozen=True)
class Peer:
    """Another of the processes."""

    number: int
    line: Connection
    first: bool
    """Whether this end writes before it reads: one of the two must, or both might wait for room."""


class Windows:
    """How time passes in one of several processes: `run` in place of the agenda's."""

    def __init__(self, agenda: Agenda, border: Border, peers: Sequence[Peer], ahead: Nanos) -> None:
        self._agenda = agenda
        self._border = border
        self._peers = peers
        self._ahead = ahead
        self._end = ahead
        """Of this window, which does not belong to it."""
        self.waited_s = 0.0
        """For the others."""
        self.spans = array("d")
        """CPU time of this process, by window."""
        self._counted_s = time.process_time()

    def run(self, until: Nanos, most: int) -> bool:
        agenda, last = self._agenda, self._agenda.handled + most
        while agenda.run(min(self._end - 1, until), last - agenda.handled):
            self._swap()
            if self._end > until:
                return True
            self._end += self._ahead
        return False

    def _swap(self) -> None:
        spent = time.process_time()
        self.spans.append(spent - self._counted_s)
        self._counted_s = spent
        for peer in self._peers:
            mine = self._border.out(peer.number)
            if peer.first:
                peer.line.send_bytes(mine)
            began = time.perf_counter()
            theirs = peer.line.recv_bytes()
            self.waited_s += time.perf_counter() - began
            if not peer.first:
                peer.line.send_bytes(mine)
            self._border.bring(theirs)


@dataclass(frozen=True)
class Counts:
    """What one process has to tell."""

    built_s: float
    wall_s: float
    cpu_s: float
    waited_s: float
    spans: array[float]
    peak_bytes: int
    bytes_more: int
    """Than before it built its world."""
    added: Counter[str]
    """Figures of the whole that are sums of those of its parts."""
    outcomes: Counter[tuple[bool, bool]]
    hops: Counter[tuple[bool, int]]
    trace: int | None
    """The sum of all steps' hashes."""


def play(size: Size, say: Say, processes: int, *, trace: bool = False) -> Figures:
    """Like `run.play`; raises ScenarioError if there cannot be so many processes. Besides: `longest_s`, CPU time of whichever
    process took longest, window by window, which is what the run would take with a core for each."""
    began = time.perf_counter()
    plan = plan_of(size)
    parts = divide(plan, processes)
    if parts is None:
        raise ScenarioError(f"--processes {processes}; the regions cannot be divided among so many; take fewer")
    planned_s = time.perf_counter() - began
    counts = _together(parts, lambda number, peers: _live(plan, size, parts, number, peers, say, trace))
    added = Counter[str]()
    outcomes, hops = Counter[tuple[bool, bool]](), Counter[tuple[bool, int]]()
    for one in counts:
        added.update(one.added)
        outcomes.update(one.outcomes)
        hops.update(one.hops)
    wall_s = max(one.wall_s for one in counts)
    bare = bare_rate(added["waiting"])
    return {
        "hosts": size.hosts,
        "replicas_asked": size.m,
        "minutes": size.minutes,
        "depth": size.depth,
        "seed": size.seed,
        "processes": processes,
        "window_ms": parts.ahead / 1e6,
        "built_s": planned_s + max(one.built_s for one in counts),
        "wall_s": wall_s,
        "cpu_s": sum(one.cpu_s for one in counts),
        "waited_s": sum(one.waited_s for one in counts),
        "cpu_by_process_s": [one.cpu_s for one in counts],
        "longest_s": sum(map(max, zip(*(one.spans for one in counts), strict=True))),
        "steps_per_s": added["steps"] / wall_s,
        "steps_per_node": added["steps"] / size.hosts,
        "entries_per_s": added["entries"] / wall_s,
        "bare_entries_per_s": bare,
        "of_bare": added["entries"] / wall_s / bare,
        "rss_bytes": sum(one.bytes_more for one in counts) + rss(),
        "peak_bytes": sum(one.peak_bytes for one in counts),
        "bytes_per_node": sum(one.bytes_more for one in counts) / size.hosts,
        **added,
        **told_of(outcomes, hops),
        **({"trace_digest": digest_of(sum(one.trace or 0 for one in counts))} if trace else {}),
    }


def _live(plan: Plan, size: Size, parts: Parts, number: int, peers: Sequence[Peer], say: Say, trace: bool) -> Counts:
    """One process's part."""
    before, began = rss(), time.perf_counter()
    kept = Trace() if trace else None
    world = world_of(plan, kept, parts.part(number))
    assert world.border is not None
    load = Load(world, size, plan)
    windows = Windows(world.agenda, world.border, peers, parts.ahead)
    load.run = windows.run
    built_s = time.perf_counter() - began
    with no_garbage():
        wall_s, cpu_s = load.live(say if number == 0 else lambda news: None)
    added = Counter(
        steps=world.steps,
        messages=world.fabric.delivered,
        entries=world.agenda.handled,
        waiting=len(world.agenda),
        crashes=load.crashes,
        restarts=load.restarts,
        sent_across=world.border.sent,
        **census(world),
    )
    more, peak, sum_of_steps = rss() - before, rss(peak=True), None if kept is None else kept.sum
    return Counts(
        built_s, wall_s, cpu_s, windows.waited_s, windows.spans, peak, more, added, load.outcomes, load.hops, sum_of_steps
    )


# Processes


def _together(parts: Parts, live: Callable[[int, Sequence[Peer]], Counts]) -> list[Counts]:
    """What each process of its own returns. Raises what the first one raises that fails."""
    context = get_context("fork")
    lines = {(a, b): context.Pipe() for b in range(parts.count) for a in range(b)}
    told: list[Connection] = []
    workers: list[BaseProcess] = []
    for number in range(parts.count):
        ours, theirs = context.Pipe(duplex=False)
        workers.append(context.Process(target=_work, args=(number, lines, theirs, live), daemon=True))
        workers[-1].start()
        theirs.close()
        told.append(ours)
    for pair in lines.values():
        for line in pair:
            line.close()
    try:
        found = [_heard(line) for line in told]
    finally:
        for worker in workers:
            worker.join(timeout=5.0)
            if worker.exitcode is None:
                worker.terminate()
    for one in found:
        if isinstance(one, Exception):
            raise one
    counts = [one for one in found if isinstance(one, Counts)]
    if len(counts) < parts.count:
        raise PlatformError("one of the processes was ended, for want of memory most likely; take fewer hosts")
    return counts


def _heard(line: Connection) -> object:
    """Counts, or what it has failed of; None: it ended without a word, by itself or since another one did."""
    try:
        return line.recv()
    except EOFError:
        return None


def _work(
    number: int, lines: dict[tuple[int, int], Any], tell: Connection, live: Callable[[int, Sequence[Peer]], Counts]
) -> None:
    """In a new process: its ends of its lines stay open, so that the others see when it is gone."""
    peers = []
    for (a, b), pair in sorted(lines.items()):
        if number in (a, b):
            peers.append(Peer(b if number == a else a, pair[number == b], number == a))
            pair[number == a].close()
        else:
            for line in pair:
                line.close()
    try:
        tell.send(live(number, peers))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # another one has failed, and says why
    except Exception as error:  # noqa: BLE001  (told to whoever waits)
        tell.send(error)
