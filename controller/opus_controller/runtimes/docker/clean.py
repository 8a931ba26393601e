"""Takes a run's containers off the machine, and what else there is of the run; and nothing else.

A container is the run's if its labels and its name say so, both and exactly (ADR 6).
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from opus_controller.model.errors import PlatformError
from opus_controller.runtimes.docker.engine import Engine, engine_url, why_unusable
from opus_controller.runtimes.hosts import clean, state
from opus_controller.runtimes.hosts.clean import Removed
from opus_controller.runtimes.hosts.processes import end

AT_ONCE = 6


def remove(run: str, url: str) -> Removed:
    """Everything of the run called `run`, its containers at the engine `url` first. What could not be removed is said."""
    _end_keeper(run)
    containers, left = remove_containers(run, url)
    removed = clean.remove(run)
    removed.containers = containers
    removed.left += left
    return removed


def remove_containers(run: str, url: str) -> tuple[list[str], list[str]]:
    """(names of those removed, what is left and why)."""
    if why := why_unusable(url):
        return [], [f"its containers ({why})"]
    try:
        engine = Engine.find(url)
        try:
            found = [*engine.beside(run).values(), *engine.of_run(run).values()]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(engine.remove, [seen.identity for seen in found]))
            return sorted(seen.name for seen in found), []
        finally:
            engine.close()
    except PlatformError as error:
        return [], [f"its containers ({error})"]


def remove_stray(living: Collection[str]) -> list[str]:
    """Remove containers of runs that are not `living`, at the engine that the environment names; their names. Nothing where
    there is no engine."""
    url = engine_url()
    if why_unusable(url):
        return []
    try:
        engine = Engine.find(url)
        try:
            dead = [run for run in engine.runs() if run not in living]
        finally:
            engine.close()
    except PlatformError:
        return []
    return [name for run in dead for name in remove_containers(run, url)[0]]


def _end_keeper(run: str) -> None:
    """It would take the end of its containers for news."""
    for one in state.everything():
        if one.run == run and one.keeper is not None:
            end([one.keeper], grace_s=5.0)
