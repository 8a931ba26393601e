"""A plan whose victims are those of an earlier run: what was aimed by live state hits the same hosts again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opus_controller.engine.record import RecordReader
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Fault, Flood, HostFault, Partition, Plan, Strain, Target


def with_victims_of(plan: Plan, record: RecordReader) -> Plan:
    """`plan` with the hosts that its events of the same names hit in `record`, in place of roles, and those that flooded them.

    Another plan, with another digest: what was chosen while running is now chosen beforehand. ScenarioError if the record has no
    such event (the run broke off before it, or was of another scenario), if the event found nobody, or if a host is not there.
    """
    hit = {str(event["name"]): event for event in record.events() if event["kind"] == "fault"}
    hosts = {host.name for host in plan.hosts}
    timeline = tuple(_fixed(fault, hit, hosts, str(record.directory)) for fault in plan.timeline)
    return plan.model_copy(update={"timeline": timeline})


def _fixed(fault: Fault, hit: Mapping[str, Mapping[str, Any]], hosts: set[str], run: str) -> Fault:
    match fault:
        case HostFault(target=target) | Strain(target=target) if target.role:
            event = _event(fault.name, hit, run)
            return fault.model_copy(
                update={"target": _target(target, event, (*event["victims"], *event.get("skipped", ())), hosts, run)}
            )
        case Partition() if fault.a.role or fault.b.role:
            event = _event(fault.name, hit, run)
            sides = {side: getattr(fault, side) for side in "ab"}
            fixed = {side: _target(old, event, event[side], hosts, run) if old.role else old for side, old in sides.items()}
            return fault.model_copy(update=fixed)
        case Flood(target=target):  # whoever is flooded, who asks is always chosen by live state
            event = _event(fault.name, hit, run)
            flooded = _target(target, event, event["victims"], hosts, run)
            asking = _target(target, event, event["sources"], hosts, run).hosts
            return fault.model_copy(update={"target": flooded if target.role else target, "sources": asking})
    return fault


def _event(name: str, hit: Mapping[str, Mapping[str, Any]], run: str) -> Mapping[str, Any]:
    if name not in hit:
        known = ", ".join(hit) or "none"
        raise ScenarioError(f"{run} has no event {name!r} whose victims could be taken; it has: {known}")
    return hit[name]


def _target(old: Target, event: Mapping[str, Any], victims: Sequence[str], hosts: set[str], run: str) -> Target:
    if not victims:
        raise ScenarioError(f"{event['name']!r} found nobody to hit in {run}; another run may have victims to take")
    if missing := sorted(set(victims) - hosts):
        raise ScenarioError(f"{event['name']!r} hit {missing[0]} in {run}, which this topology does not have")
    return Target(text=old.text, hosts=tuple(sorted(victims)))
