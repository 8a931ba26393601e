"""Which faults a runtime can bring about: told before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from opus_controller.engine.runtime import RunInfo
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.plan import App, Fault, HostFault, Strain

REAL = ("netns", "docker")
"""Runtimes whose hosts have a memory."""


def check(faults: Iterable[Fault], info: RunInfo, apps: Sequence[App]) -> None:
    """ScenarioError for the first fault that is not possible there, where `apps` run."""
    for fault in faults:
        if why := _impossible(fault, info, apps):
            raise ScenarioError(f"{fault.kind} {fault.name!r}: {why}")


def check_machine(faults: Iterable[Fault], lacks: Callable[[], Mapping[str, str]]) -> None:
    """PlatformError for the first fault that this machine cannot bring about: `lacks`, which is asked only if there is something
    to know, says of cgroup controllers (cpu, memory, freezer) that cannot be used why, and what mends it."""
    needed = [(fault, controller) for fault in faults for controller in _controllers(fault)]
    missing = lacks() if needed else {}
    for fault, controller in needed:
        if controller in missing:
            raise PlatformError(f"{fault.kind} {fault.name!r}: {missing[controller]}")


def _controllers(fault: Fault) -> tuple[str, ...]:
    """What real hosts need for it. Where a pause is a signal nothing is said of the freezer."""
    if isinstance(fault, HostFault):
        return ("freezer",) if fault.kind == "pause" else ()
    if not isinstance(fault, Strain):
        return ()
    return (*(("cpu",) if fault.change.cpu < 1 else ()), *(("memory",) if fault.change.memory is not None else ()))


def _impossible(fault: Fault, info: RunInfo, apps: Sequence[App]) -> str:
    """Every other fault is possible everywhere."""
    if not isinstance(fault, Strain):
        return ""
    if fault.change.memory is not None and info.runtime == "sim":
        return f"simulated hosts have no memory to take; allowed with --runtime {' or '.join(REAL)}"
    if fault.change.disk is not None and info.runtime == "docker":
        return "containers share the engine's disk, and none has a size of its own; allowed with --runtime netns or sim"
    if fault.change.disk is not None and info.runtime == "netns" and info.facts.get("disks") is False:
        return "these hosts were started without disks of their own; a scenario that has `disk` in its timeline gives them some"
    if fault.change.write_bps is not None and info.runtime in REAL:
        return "hosts' disks lie in this machine's memory, or are all of them one, and cannot be slow; allowed with --runtime sim"
    writes = fault.change.disk is not None or fault.change.write_bps is not None
    if writes and not any(app.service is not None and app.service.files is not None for app in apps):
        return "nothing is written here: no application has files; allowed where a service has some (docs/services.md)"
    program = next((app.name for app in apps if app.service is not None), "")
    if (fault.change.clock_ns or fault.change.drift_ppm) and program and info.runtime in REAL:
        return (
            f"the program of {program} reads this machine's clock, which no host has for itself; allowed with --runtime sim, or "
            "where nodes themselves serve"
        )
    return ""
