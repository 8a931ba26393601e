"""Groups to hosts: names, addresses, access links and abilities."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.plan import Host, HostAbilities, Place
from opus_controller.model.shapes import DEFAULT_QUEUE_NS, AccessLink, Direction
from opus_controller.model.topology_form import MAX_HOSTS, AbilitiesForm, AccessForm, GroupForm
from opus_controller.model.topology_paths import positions
from opus_controller.model.units import SECOND, format_duration, shown

LEAST_DEFAULT_QUEUE = 64 << 10
"""A rate without a queue gets DEFAULT_QUEUE_NS of one, common in access routers, and never less than one segmentation-offload
packet, in bytes."""
MTU = 1500


@dataclass(frozen=True)
class Site:
    name: str
    short: str
    place: Place | None
    description: str = ""


def make_hosts(problems: Problems, groups: Sequence[GroupForm], sites: Sequence[Site]) -> tuple[Host, ...]:
    names = [site.name for site in sites]
    members: dict[int, list[tuple[int, GroupForm]]] = {i: [] for i in range(len(sites))}
    for k, group in enumerate(groups):
        if group.name in [other.name for other in groups[:k]]:
            problems.add(("groups", k, "name"), f"{shown(group.name)} is given twice; allowed: names that differ")
        if group.site == "all":
            problems.add(("groups", k, "site"), "'all' is not one site; allowed: sites: all")
            continue
        key, wanted = ("site", [group.site]) if group.site is not None else ("sites", group.sites or [])
        for i in dict.fromkeys(positions(problems, ("groups", k, key), wanted, names)):
            members[i].append((k, group))
    total = sum(group.count or 1 for of_site in members.values() for _, group in of_site)
    if total > MAX_HOSTS:
        problems.add(("groups",), f"{total} hosts in all; allowed: at most {MAX_HOSTS}, the addresses of 198.18.0.0/15")
    if problems:
        return ()
    hosts: dict[str, Host] = {}
    links = [_access(problems, ("groups", k, "access"), group.access) for k, group in enumerate(groups)]
    abilities = [_abilities(group.abilities, group.access) for group in groups]
    for i, site in enumerate(sites):
        numbered = itertools.count(1)
        for k, group in members[i]:
            for name in _host_names(site, group, numbered):
                if name in hosts:
                    message = f"a second host named {name}; allowed: a count here, or another short name for site {site.name}"
                    problems.add(("groups", k), message)
                    return ()
                hosts[name] = Host(
                    name=name,
                    index=len(hosts),
                    site=site.name,
                    group=group.name,
                    address=address_of(len(hosts)),
                    access=links[k],
                    abilities=abilities[k],
                )
    return tuple(hosts.values())


def _host_names(site: Site, group: GroupForm, numbered: Iterator[int]) -> Iterator[str]:
    if group.count is None:
        return iter([site.short])
    return (f"{site.short}-{number}" for number in itertools.islice(numbered, group.count))


def address_of(index: int) -> str:
    """The address of host `index`: 198.18.0.1 on, within 198.18.0.0/15, never ending in .0 or .255."""
    block, last = divmod(index, 254)
    return f"198.{18 + block // 256}.{block % 256}.{last + 1}"


def _access(problems: Problems, keys: KeyPath, form: AccessForm) -> AccessLink:
    def direction(rate: int | None) -> Direction:
        if rate is None:
            return Direction()
        if form.queue is None:
            return Direction(rate_bps=rate, queue_bytes=max(LEAST_DEFAULT_QUEUE, rate * DEFAULT_QUEUE_NS // (8 * SECOND)))
        kind, amount = form.queue
        size = amount if kind == "bytes" else rate * amount // (8 * SECOND)
        if size < MTU:
            what = f"holds {size} bytes" + (f" ({format_duration(amount)} at the rate)" if kind == "time" else "")
            problems.add((*keys, "queue"), f"{what}; allowed: at least one packet, {MTU} bytes")
            size = MTU
        return Direction(rate_bps=rate, queue_bytes=size)

    return AccessLink(delay_ns=form.delay, loss=form.loss, up=direction(form.up), down=direction(form.down))


def _abilities(form: AbilitiesForm, access: AccessForm) -> HostAbilities:
    rates = [rate for rate in (access.up, access.down) if rate is not None]
    bandwidth = form.bandwidth or min(rates, default=HostAbilities().bandwidth)
    return HostAbilities(cpu=form.cpu, memory=form.memory, storage=form.storage, bandwidth=bandwidth, processes=form.processes)
