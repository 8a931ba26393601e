"""How fast one core of this machine is at what Opus is made of: without it, no two machines' figures can be compared."""

from __future__ import annotations

import heapq
import time
from collections import deque

from opus_controller.bench.table import Row, row

ROUNDS = 200_000
TRIES = 5
SURE_S = 0.015
"""The least that tells: a process's CPU time may come in steps of 10 ms (as under User-mode Linux)."""


def run() -> list[Row]:
    """Turns a second of a small event loop in plain Python on one core: the best of some tries, as neighbours disturb."""
    turns = turns_a_second(ROUNDS, TRIES)
    return [row("this machine: turns of a plain event loop in Python, one core", turns, "/s", digits=0)]


def turns_a_second(rounds: int, tries: int) -> float:
    """Of `rounds` turns a try, or of more where those are over before the clock has moved enough."""
    while (least := min(_seconds(rounds) for _ in range(tries))) < SURE_S:
        rounds *= 2
    return rounds / least


def _seconds(rounds: int) -> float:
    """A heap of events, a table of counters, small objects made and dropped; CPU time of this process."""
    heap = [(at, at % 97) for at in range(1_000)]
    counted: dict[int, int] = {}
    recent: deque[tuple[int, int, str]] = deque(maxlen=64)
    began = time.process_time()
    for turn in range(rounds):
        at, who = heapq.heappop(heap)
        counted[who] = counted.get(who, 0) + 1
        recent.append((at, who, "turn"))
        heapq.heappush(heap, (at + 1 + (turn * 7919) % 1_000, (who * 31 + turn) % 97))
    return time.process_time() - began
