"""One scenario under several settings, each repeated over the same seeds: `sweep.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from opus_controller.report.result import Part
from opus_controller.report.several.repeat import EXIT, INTERRUPTED, WORST, Repeat, Verdict

SWEEP = "sweep.json"


class Setting(Part):
    """One combination of values."""

    values: dict[str, Any]
    """By dotted key."""
    directory: str
    """From sweep.json's own; it holds a repeat.json, too."""
    repeat: Repeat


class Sweep(Part):
    """The whole of sweep.json."""

    format: Literal[1] = 1
    kind: Literal["sweep"] = "sweep"
    scenario: str
    vary: dict[str, list[Any]]
    runtime: str
    links: str
    asked: int
    """Settings asked for; fewer are below if it was interrupted or failed."""
    interrupted: bool
    verdict: Verdict
    """The worst."""
    exit_code: int
    settings: list[Setting]


def collected(settings: Sequence[Setting], *, vary: dict[str, list[Any]], asked: int, interrupted: bool) -> Sweep | None:
    """None if no run ended."""
    if not settings:
        return None
    first = settings[0].repeat
    worst = next(verdict for verdict in WORST if any(setting.repeat.verdict == verdict for setting in settings))
    return Sweep(
        scenario=first.scenario,
        vary=vary,
        runtime=first.runtime,
        links=first.links,
        asked=asked,
        interrupted=interrupted,
        verdict=worst,
        exit_code=INTERRUPTED if interrupted else EXIT[worst],
        settings=list(settings),
    )
