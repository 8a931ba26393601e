"""Whether a plan that did not come from `compile_plan` holds together: every name and position in it means something."""

from __future__ import annotations

from collections.abc import Iterator

from opus_controller.model.plan import Fault, Flood, HostFault, LinkChange, Partition, Plan, Strain, Target


def problem(plan: Plan) -> str:
    """The first thing that does not fit, in a few words; empty if all does."""
    return next(_problems(plan), "")


def _problems(plan: Plan) -> Iterator[str]:
    hosts = {host.name for host in plan.hosts}
    if not hosts or len(hosts) < len(plan.hosts) or len({host.address for host in plan.hosts}) < len(plan.hosts):
        yield "no hosts, or two of one name or address"
    if len(set(plan.sites)) < len(plan.sites) or len(plan.places) not in (0, len(plan.sites)):
        yield "two sites of one name, or places of other sites"
    for k, host in enumerate(plan.hosts):
        if host.index != k or host.site not in plan.sites:
            yield f"host {host.name!r:.40} is out of place"
    yield from _paths(plan)
    apps = {app.name for app in plan.apps}
    for load in plan.workload:
        if load.client not in hosts or load.app not in apps:
            yield f"a client {load.client!r:.40} of {load.app!r:.40}, one of which there is not"
    named = {fault.name for fault in plan.timeline}
    for fault in plan.timeline:
        yield from (f"{fault.kind} {fault.name!r:.40}: {what}" for what in _fault(fault, hosts, apps, plan.sites, named))
    if not plan.seeds or not hosts.issuperset(plan.seeds):
        yield "a seed that is no host"
    if plan.churn is not None:
        moved = {name for event in plan.churn.events for name in event.hosts}
        if [life.host for life in plan.churn.lives] != [host.name for host in plan.hosts] or not hosts.issuperset(moved):
            yield "churn of other hosts"


def _paths(plan: Plan) -> Iterator[str]:
    sites, shapes = len(plan.sites), len(plan.paths.shapes)
    rows = plan.paths.index
    if len(rows) != sites or any(len(row) != sites or not all(0 <= k < shapes for k in row) for row in rows):
        yield "paths that are not those between its sites"


def _fault(fault: Fault, hosts: set[str], apps: set[str], sites: tuple[str, ...], named: set[str]) -> Iterator[str]:
    match fault:
        case Flood():
            yield from _target(fault.target, hosts)
            if fault.app not in apps:
                yield "an application that there is not"
        case HostFault() | Strain():
            yield from _target(fault.target, hosts)
            if fault.same_as and fault.same_as not in named:
                yield "the same hosts as an event that there is not"
        case Partition():
            yield from _target(fault.a, hosts)
            yield from _target(fault.b, hosts)
            if fault.same_as and fault.same_as not in named:
                yield "the same hosts as an event that there is not"
        case LinkChange():
            if fault.source not in sites or fault.target not in sites:
                yield "a site that there is not"
        case _:
            if fault.undoes not in named:
                yield "an event that there is not"


def _target(target: Target, hosts: set[str]) -> Iterator[str]:
    if not hosts.issuperset((*target.hosts, *target.exclude, *([target.of] if target.of else []))):
        yield "a host that there is not"
