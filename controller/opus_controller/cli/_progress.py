"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from opus_controller.engine.play import Progress

LINE_EVERY_S = 5.0
"""Between two plain lines without news, in wall time: enough to see life, few enough for a CI log."""


@contextmanager
def shown() -> Iterator[Bar | Lines]:
    """What `play` is to call with its progress; the bar is gone and the last line printed afterwards."""
    out = sys.stderr  # standard output is for the result
    if not out.isatty():
        yield Lines(out)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.fields[phase]:<19}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(file=out), transient=True) as rich:
        yield Bar(rich)


class Bar:
    """One bar for the virtual or real time of the plan; news scroll by above it."""

    def __init__(self, rich: object) -> None:
        from rich.progress import Progress as RichProgress

        assert isinstance(rich, RichProgress)
        self._rich = rich
        self._task = rich.add_task("", total=1.0, phase="starting", told="")

    def __call__(self, progress: Progress) -> None:
        done = progress.t_ns / progress.end_ns if progress.end_ns else 0.0
        self._rich.update(self._task, completed=done, phase=progress.phase, told=_told(progress))
        if progress.news:
            self._rich.console.print(_clock(progress), progress.news, highlight=False, markup=False)


class Lines:
    """A line for every piece of news, every change of phase, and every few seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._phase = ""
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not progress.news and progress.phase == self._phase and now < self._next:
            return
        self._phase, self._next = progress.phase, now + LINE_EVERY_S
        print(f"{_clock(progress)} {progress.news or f'{progress.phase}, {_told(progress)}'}", file=self._out, flush=True)


def _clock(progress: Progress) -> str:
    return f"{progress.t_ns / 1e9:6.1f} s"


def _told(progress: Progress) -> str:
    answered = f"{progress.ok} answered"
    return f"{answered}, {progress.failed} failed" if progress.failed else answered
