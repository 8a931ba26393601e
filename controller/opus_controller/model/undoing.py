"""What takes a fault back, and faults that come and go with a frequency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from opus_controller.model.plan import Fault, Flood, Heal, HostFault, Partition, Strain, Target
from opus_controller.model.scenario_form import UNDONE_BY

HostFaultKind = Literal["crash", "power-off", "leave", "restart", "pause", "resume"]


def undoing(name: str, kind: str, at_ns: int, by: str, hosts: tuple[str, ...] = ()) -> Fault:
    """The fault called `by` that takes back, at `at_ns`, the fault `name` of this kind, which hit `hosts` (as far as known)."""
    undo = UNDONE_BY[kind]
    if undo == "heal":
        return Heal(kind="heal", at_ns=at_ns, name=by, undoes=name)
    target = Target(text=f"same as {name}", hosts=hosts)
    return HostFault(kind=cast(HostFaultKind, undo), at_ns=at_ns, name=by, target=target, same_as=name)


def flapping(first: Fault, last: Fault, period: int, fresh: Callable[[str], str]) -> list[Fault]:
    """`first` and what undoes it, again and again until the time of `last`, which is the undoing of the last one.

    In force for the first half of each period (ns). `fresh` makes a name that is not taken of one that may be.
    """
    end = last.at_ns
    series: list[Fault] = []
    on = first
    while True:
        off = min(on.at_ns + period // 2, end)
        following = on.at_ns + period
        hosts = on.target.hosts if isinstance(on, HostFault) else ()
        count = len(series) // 2 + 1
        by = last.name if following >= end else fresh(f"{UNDONE_BY[on.kind]}-{first.name}-{count}")
        series += [on, undoing(on.name, on.kind, off, by, hosts)]
        if following >= end:
            return series
        on = _again(first, following, fresh(f"{first.name}-{count + 1}"))


def _again(fault: Fault, at_ns: int, name: str) -> Fault:
    """The same, on the same hosts."""
    same: dict[str, object] = {"same_as": fault.name} if isinstance(fault, HostFault | Partition | Strain) else {}
    if isinstance(fault, Flood):
        same["until_ns"] = fault.until_ns
    return fault.model_copy(update={"at_ns": at_ns, "name": name, **same})
