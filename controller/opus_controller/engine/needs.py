"""Which faults a runtime can bring about: told before anything starts."""

from __future__ import annotations

from collections.abc import Iterable

from opus_controller.engine.runtime import RunInfo
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Fault, Strain

REAL = ("netns", "docker")
"""Runtimes whose hosts have a memory."""


def check(faults: Iterable[Fault], info: RunInfo) -> None:
    """ScenarioError for the first fault that is not possible there."""
    for fault in faults:
        if why := _impossible(fault, info):
            raise ScenarioError(f"{fault.kind} {fault.name!r}: {why}")


def _impossible(fault: Fault, info: RunInfo) -> str:
    """Every other fault is possible everywhere."""
    if not isinstance(fault, Strain):
        return ""
    if fault.change.memory is not None and info.runtime == "sim":
        return f"simulated hosts have no memory to take; allowed with --runtime {' or '.join(REAL)}"
    return ""
