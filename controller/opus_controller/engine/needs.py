"""Which faults a runtime can bring about: told before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opus_controller.engine.runtime import RunInfo
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import App, Fault, Strain

REAL = ("netns", "docker")
"""Runtimes whose hosts have a memory."""


def check(faults: Iterable[Fault], info: RunInfo, apps: Sequence[App]) -> None:
    """ScenarioError for the first fault that is not possible there, where `apps` run."""
    for fault in faults:
        if why := _impossible(fault, info, apps):
            raise ScenarioError(f"{fault.kind} {fault.name!r}: {why}")


def _impossible(fault: Fault, info: RunInfo, apps: Sequence[App]) -> str:
    """Every other fault is possible everywhere."""
    if not isinstance(fault, Strain):
        return ""
    if fault.change.memory is not None and info.runtime == "sim":
        return f"simulated hosts have no memory to take; allowed with --runtime {' or '.join(REAL)}"
    program = next((app.name for app in apps if app.service is not None), "")
    if (fault.change.clock_ns or fault.change.drift_ppm) and program and info.runtime in REAL:
        return (
            f"the program of {program} reads this machine's clock, which no host has for itself; allowed with --runtime sim, or "
            "where nodes themselves serve"
        )
    return ""
