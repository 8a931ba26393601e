"""A run of one world: in one process, or in several with the same steps and figures but for time and memory, sooner.

    fork ─▶ each builds its own hosts ─▶ window ─▶ swap ─▶ window ─▶ swap ... ─▶ counts, which are added up

Each process has the hosts of some sites (`runtimes.sim.parts`). A window is as long as the shortest way between two of them: what
one does meanwhile reaches another in the next one at the earliest, so all live through it without hearing of each other; then
they swap what they have for each other (`runtimes.sim.border`). Nobody directs them; only whether all are to be kept, or to stop,
the first one says (`run.Wish`).
"""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from opus_node.core.types import Nanos

from opus_controller.bench.scale import state
from opus_controller.bench.scale.load import Figures, told_of
from opus_controller.bench.scale.run import Clock, Counts, Life, Say, Wish, bare_rate, no_garbage, rss
from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.bench.worlds import SECOND
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.runtimes.sim.agenda import Agenda
from opus_controller.runtimes.sim.border import Border
from opus_controller.runtimes.sim.parts import Parts, divide
from opus_controller.runtimes.sim.trace import Trace, digest_of

_NO_LIMIT: Final = 1 << 62
LOOK_S = 1.0
"""Between two looks for whether whoever waits for the figures still does."""


@dataclass(frozen=True)
class Peer:
    """Another of the processes."""

    number: int
    line: Connection
    first: bool
    """Whether this end writes before it reads: one of the two must, or both might wait for room."""


class Windows:
    """How time passes in one of several processes: window by window (`run.Clock`)."""

    def __init__(self, agenda: Agenda, border: Border, peers: Sequence[Peer], ahead: Nanos) -> None:
        """From where the agenda is: at the beginning, or where a window ended."""
        self._agenda = agenda
        self._border = border
        self._peers = peers
        self._ahead = ahead
        self._end = (agenda.now + 1) // ahead * ahead + ahead
        """Of this window, which does not belong to it."""
        self._agreed = Wish.GO_ON
        self.waited_s = 0.0

    def run(self, until: Nanos, most: int, wish: Wish) -> bool:
        agenda, last = self._agenda, self._agenda.handled + most
        while True:
            agenda.run(min(self._end - 1, until), _NO_LIMIT)
            self._swap(wish)
            if self._end > until:
                return True
            self._end += self._ahead
            if self._agreed is not Wish.GO_ON or agenda.handled >= last:
                return False

    def agreed(self) -> Wish:
        return self._agreed

    def _swap(self, wish: Wish) -> None:
        """What all have for each other, and what the first one wishes. All hear the same of it, at the end of the same window."""
        self._agreed = wish
        for peer in self._peers:
            mine = bytes([wish]) + self._border.out(peer.number)
            if peer.first:
                peer.line.send_bytes(mine)
            began = time.perf_counter()
            theirs = peer.line.recv_bytes()
            self.waited_s += time.perf_counter() - began
            if not peer.first:
                peer.line.send_bytes(mine)
            if peer.number == 0:
                self._agreed = Wish(theirs[0])
            self._border.bring(theirs[1:])

    def keep(self, write: Callable[[Path], None], place: Path) -> None:
        _keep(self._peers, write, place)


class Alone:
    """The same in one process that has all hosts."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._agreed = Wish.GO_ON
        self.waited_s = 0.0

    def run(self, until: Nanos, most: int, wish: Wish) -> bool:
        self._agreed = wish
        return self._agenda.run(until, most)

    def agreed(self) -> Wish:
        return self._agreed

    def keep(self, write: Callable[[Path], None], place: Path) -> None:
        _keep((), write, place)


def _keep(peers: Sequence[Peer], write: Callable[[Path], None], place: Path) -> None:
    """A file of each process: one after the other, as writing takes room for every object that is written."""
    draft = place.with_suffix(".new")
    if peers and peers[0].number == 0:
        first = peers[0].line
        first.send(_tried(write, draft / str(first.recv())))
        failed = first.recv()
    else:
        failed = _tried(_cleared, draft) or _tried(write, draft / "0")
        for peer in peers:
            peer.line.send(peer.number)
            failed = peer.line.recv() or failed
        if failed is None:
            shutil.rmtree(place, ignore_errors=True)
            draft.replace(place)
        shutil.rmtree(draft, ignore_errors=True)
        for peer in peers:
            peer.line.send(failed)
    if failed is not None:
        raise failed


def _cleared(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


def _tried(write: Callable[[Path], None], file: Path) -> OSError | None:
    try:
        write(file)
    except OSError as error:
        return error
    return None


def play(
    size: Size,
    say: Say,
    processes: int = 1,
    *,
    trace: bool = False,
    place: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Figures:
    """Figures of one run; with `trace` the digest of all its steps, too.

    With `place` it is kept there now and then, in a directory, and goes on from there if it is; then its digest is of what came
    after. Raises Stopped soon after `stop` says so (asked in the first of the processes), InvalidRun if a core ended with an
    exception, ScenarioError if there cannot be so many processes, or for a file that cannot be read.
    """
    parts = divide(plan_of(size), processes)
    if parts is None:
        raise ScenarioError(f"--processes {processes}; the regions cannot be divided among so many; take fewer")

    def live(number: int, peers: Sequence[Peer]) -> Counts:
        return _live(size, parts, number, peers, say, Trace() if trace else None, place, stop)

    counts = [live(0, ())] if processes == 1 else _together(parts, live, stop)
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
        "window_ms": parts.ahead / 1e6 if processes > 1 else None,
        "built_s": max(one.built_s for one in counts),
        "wall_s": wall_s,
        "cpu_s": sum(one.cpu_s for one in counts),
        "waited_s": sum(one.waited_s for one in counts),
        "cpu_by_process_s": [one.cpu_s for one in counts],
        "steps_per_s": added["steps"] / wall_s,
        "steps_per_node": added["steps"] / size.hosts,
        "entries_per_s": added["entries"] / wall_s,
        "bare_entries_per_s": bare,
        "of_bare": added["entries"] / wall_s / bare,
        "rss_bytes": sum(one.rss_bytes for one in counts),
        "peak_bytes": sum(one.peak_bytes for one in counts),
        "bytes_per_node": sum(one.bytes_more for one in counts) / size.hosts,
        **added,
        **told_of(outcomes, hops),
        **({"trace_digest": digest_of(sum(one.trace or 0 for one in counts))} if trace else {}),
    }


def _live(
    size: Size,
    parts: Parts,
    number: int,
    peers: Sequence[Peer],
    say: Say,
    trace: Trace | None,
    place: Path | None,
    stop: Callable[[], bool],
) -> Counts:
    """One process's part: the first one speaks for all, and hears who wants them to stop."""
    before, part = rss(), parts.part(number) if peers else None

    def tell(news: str) -> None:
        if number == 0:
            say(f"first of {parts.count} processes: {news}" if peers else news)

    with no_garbage():
        plan = plan_of(size)  # of its own: of one from before the fork each would come to have its own pages as well
        if place is not None and place.exists():
            began = time.perf_counter()
            life = state.read(place / str(number), plan, part)
            life.world.trace = trace
            tell(f"goes on at {life.world.agenda.now / SECOND:.1f} virtual s, read in {time.perf_counter() - began:.0f} s")
        else:
            life = Life(plan, size, part, trace)
        world = life.world
        clock: Clock = Alone(world.agenda) if world.border is None else Windows(world.agenda, world.border, peers, parts.ahead)
        life.live(clock, tell, place, lambda file: state.keep(file, life), stop if number == 0 else lambda: False)
    return life.counts(before)


# Processes


def _together(parts: Parts, live: Callable[[int, Sequence[Peer]], Counts], stop: Callable[[], bool]) -> list[Counts]:
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
        found = [_heard(line, stop) for line in told]
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
        raise PlatformError("one of the processes was killed, for want of memory most likely; take fewer hosts")
    return counts


def _heard(line: Connection, stop: Callable[[], bool]) -> object:
    """Counts, or what it has failed of; None: it ended without a word, by itself or since another one did."""
    while not line.poll(LOOK_S):
        stop()  # this process hears first that nobody waits any more, and has the others know
    try:
        return line.recv()
    except EOFError:
        return None


def _work(
    number: int, lines: dict[tuple[int, int], Any], tell: Connection, live: Callable[[int, Sequence[Peer]], Counts]
) -> None:
    """In a new process: its ends of its lines stay open, so that the others see when it is gone. An interrupt is heard by whoever
    waits for all, and the first one asks (`stop`)."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
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
