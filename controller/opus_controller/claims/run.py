"""Tasks done, each once, a few at a time in processes of their own; what was done before is taken from where it is kept."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from opus_controller.bench.kept import plain
from opus_controller.bench.overlay import forks
from opus_controller.claims.claim import Claim, Task
from opus_controller.claims.kept import Done, Kept
from opus_controller.claims.setting import Setting

WORKERS = 2


def tasks_of(claims: Iterable[Claim], setting: Setting) -> list[Task]:
    """Of all of them, each name once, the longest first."""
    found: dict[str, Task] = {}
    for claim in claims:
        for task in claim.tasks(setting):
            found.setdefault(task.name, task)
    return sorted(found.values(), key=lambda task: -task.cost)


def run(
    tasks: Sequence[Task],
    *,
    kept: Kept | None = None,
    workers: int = WORKERS,
    on_progress: Callable[[str], None] = lambda news: None,
) -> dict[str, Done]:
    """By the name of the task. `kept`: what is there is not made again, and what is made is put there at once."""
    found = {} if kept is None else {task.name: done for task in tasks if (done := kept.done(task.name)) is not None}
    wanted = [task for task in tasks if task.name not in found]
    began = time.monotonic()
    for count, (number, done) in enumerate(forks.each([partial(_timed, task) for task in wanted], workers), start=1):
        task = wanted[number]
        found[task.name] = done
        if kept is not None:
            kept.keep(task.name, done)
        on_progress(f"{task.name}: {done.cpu_s:.0f} s ({count} of {len(wanted)}, {time.monotonic() - began:.0f} s so far)")
    return found


def _timed(task: Task) -> Done:
    """Futures of a life are processes of their own: their time counts as well."""
    figures = task.run()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Done(plain(figures), sum(one.ru_utime + one.ru_stime for one in used))
