"""What a topology means: its hosts with their addresses, and the shape of the path between any two sites."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opus_controller.model.document import KeyPath, Problems, load_document
from opus_controller.model.errors import ScenarioError
from opus_controller.model.explain import read_form
from opus_controller.model.fields import listed, parse_name, suggestion
from opus_controller.model.graph import graph_delays
from opus_controller.model.matrix import Pair, one_way_delays, rtts_from_csv, rtts_from_value
from opus_controller.model.plan import Host, HostAbilities, PathTable, Place
from opus_controller.model.shapes import AccessLink, BurstLoss, Direction, PathShape
from opus_controller.model.topology_form import (
    MAX_HOSTS,
    MAX_SITES,
    AbilitiesForm,
    AccessForm,
    GroupForm,
    PathForm,
    ShapeForm,
    SiteForm,
    TopologyForm,
)
from opus_controller.model.units import SECOND, format_duration, shown

DEFAULT_WITHIN_NS = 250_000
"""One way inside a site: a round trip of 0.5 ms, as between machines of one data centre."""
DEFAULT_QUEUE_NS = 100_000_000
"""A rate without a queue gets this much of one: common in access routers ..."""
LEAST_DEFAULT_QUEUE = 64 << 10
"""... but never less than one segmentation-offload packet, in bytes."""
MTU = 1500


@dataclass(frozen=True)
class Site:
    name: str
    short: str
    place: Place | None
    description: str = ""


@dataclass(frozen=True)
class Topology:
    """A network, resolved. Hosts are ordered by site, then group; `paths` is indexed by position in `sites`."""

    name: str
    description: str
    source: str
    sites: tuple[Site, ...]
    hosts: tuple[Host, ...]
    paths: PathTable
    groups: tuple[str, ...]

    def shape(self, source: str, target: str) -> PathShape:
        """The path from one site to another, access links not included."""
        names = [site.name for site in self.sites]
        return self.paths.shapes[self.paths.index[names.index(source)][names.index(target)]]


def load_topology(path: Path) -> Topology:
    """Read and check a topology's file. Raises ScenarioError: one line with file, line, key and what is allowed."""
    document = load_document(path)
    form = read_form(document, TopologyForm)
    problems = Problems(document)
    rtts, sites = _matrix(problems, form)
    problems.raise_if_any()
    names = [site.name for site in sites]
    delays = _delays(problems, form, sites, rtts)
    problems.raise_if_any()
    paths = _path_table(problems, form, names, delays)
    hosts = _hosts(problems, form.groups, sites)
    problems.raise_if_any()
    return Topology(
        name=form.name,
        description=form.description,
        source=form.source,
        sites=tuple(sites),
        hosts=hosts,
        paths=paths,
        groups=tuple(group.name for group in form.groups),
    )


# Sites and delays


def _matrix(problems: Problems, form: TopologyForm) -> tuple[dict[Pair, float] | None, list[Site]]:
    """Round trips in ms where a matrix gives them (in the file or beside it), and the sites, which such a file may bring."""
    given = [key for key in ("rtt_ms", "rtt_matrix", "graph") if getattr(form, key) is not None]
    if len(given) > 1:
        problems.add((given[1],), f"{given[0]} is given too; allowed: one of rtt_ms, rtt_matrix, graph", of_key=True)
    sites = [_site(site) for site in form.sites or ()]
    _check_unique(problems, sites)
    if form.rtt_matrix is not None:
        return _from_file(problems, form, sites)
    if not sites:
        problems.add((), "the key 'sites' is missing; needed here: sites (or rtt_matrix, whose file may name them)")
    if form.rtt_ms is not None:
        return rtts_from_value(problems, ("rtt_ms",), form.rtt_ms, [site.name for site in sites]), sites
    return None, sites


def _site(form: SiteForm) -> Site:
    place = Place(lat=form.lat, lon=form.lon) if form.lat is not None and form.lon is not None else None
    return Site(form.name, form.short or form.name, place, form.description)


def _check_unique(problems: Problems, sites: Sequence[Site]) -> None:
    seen: dict[str, Site] = {}
    shorts: dict[str, Site] = {}
    for k, site in enumerate(sites):
        if site.name in seen:
            problems.add(("sites", k), f"the site {shown(site.name)} is given twice; allowed: names that differ")
        elif site.short in shorts:
            other = shorts[site.short].name
            problems.add(("sites", k), f"the short name {shown(site.short)} is that of {other} too; allowed: names that differ")
        seen[site.name] = shorts[site.short] = site


def _from_file(problems: Problems, form: TopologyForm, sites: list[Site]) -> tuple[dict[Pair, float], list[Site]]:
    """Rows and columns of the matrix's file for the sites; without sites, the file's own names or h001, h002, ..."""
    assert form.rtt_matrix is not None
    keys: KeyPath = ("rtt_matrix", "file")
    path = problems.document.path.parent / form.rtt_matrix.file
    try:
        names, rows = rtts_from_csv(path)
    except ScenarioError as error:
        problems.add(keys, str(error))
        return {}, sites
    if form.rtt_matrix.take is not None:
        if form.rtt_matrix.take > len(rows):
            problems.add(("rtt_matrix", "take"), f"{form.rtt_matrix.take} of {len(rows)} rows; allowed: at most {len(rows)}")
            return {}, sites
        rows = rows[: form.rtt_matrix.take]
        names = names[: form.rtt_matrix.take] if names else None
    if not sites:
        sites = [_site_named(problems, keys, name) for name in names or [f"h{i + 1:03d}" for i in range(len(rows))]]
        _check_unique(problems, sites)
    if len(sites) > MAX_SITES:
        problems.add(keys, f"{len(sites)} sites; allowed: at most {MAX_SITES} (take: N reads the first N)")
    rows_of = _rows_of(problems, sites, names, len(rows))
    if problems:
        return {}, sites
    found = {(i, j): rows[a][b] for i, a in enumerate(rows_of) for j, b in enumerate(rows_of) if rows[a][b] > 0}
    return found, sites


def _site_named(problems: Problems, keys: KeyPath, name: str) -> Site:
    try:
        parse_name(name)
    except ValueError as error:
        problems.add(keys, f"the file names a site {error}")
    return Site(name, name, None)


def _rows_of(problems: Problems, sites: Sequence[Site], names: list[str] | None, rows: int) -> list[int]:
    """For each site its row in the matrix's file: by name if the file has names, by order otherwise."""
    if names is None:
        if len(sites) != rows:
            problems.add(
                ("sites",), f"{len(sites)} sites for a matrix of {rows} rows without names; allowed: as many", of_key=True
            )
        return list(range(min(rows, len(sites))))
    found = []
    for k, site in enumerate(sites):
        if site.name in names:
            found.append(names.index(site.name))
        else:
            hint = suggestion(site.name, names)
            problems.add(("sites", k), f"the matrix's file has no row {shown(site.name)}; {hint}allowed: {listed(names)}")
    return found


def _delays(problems: Problems, form: TopologyForm, sites: Sequence[Site], rtts: dict[Pair, float] | None) -> dict[Pair, int]:
    if form.graph is not None:
        places = {site.name: (site.place.lat, site.place.lon) for site in sites if site.place is not None}
        return graph_delays(problems, form.graph, [site.name for site in sites], places)
    return one_way_delays(rtts or {})


# Paths


def overlay(shape: PathShape, form: ShapeForm) -> PathShape:
    """`shape` with what `form` gives in its place. Loss and bursty loss displace each other."""
    change: dict[str, object] = {}
    for field in ("distribution", "duplicate", "reorder", "corrupt", "keep_order"):
        if getattr(form, field) is not None:
            change[field] = getattr(form, field)
    if form.jitter is not None:
        change["jitter_ns"] = form.jitter
    if form.delay is not None:
        change["delay_ns"] = form.delay
    if form.rtt is not None:
        change["delay_ns"] = form.rtt // 2
    if form.loss is not None:
        change["loss"], change["burst"] = form.loss, None
    if form.burst is not None:
        change["loss"], change["burst"] = 0.0, BurstLoss(**form.burst.model_dump())
    return shape.model_copy(update=change) if change else shape


def _path_table(problems: Problems, form: TopologyForm, sites: list[str], delays: dict[Pair, int]) -> PathTable:
    exceptions = _exceptions(problems, form.paths, sites)
    between = overlay(PathShape(), form.path)
    inside = overlay(PathShape(delay_ns=DEFAULT_WITHIN_NS), form.within)
    has_default = form.path.rtt is not None or form.path.delay is not None
    numbers: dict[PathShape, int] = {}
    by_delay: dict[tuple[bool, int], int] = {}
    index = []
    for i, j in itertools.product(range(len(sites)), repeat=2):
        base = inside if i == j else between
        delay = delays.get((i, j), base.delay_ns)
        overrides = exceptions.get((i, j), ())
        if i != j and (i, j) not in delays and not has_default and not any(_gives_delay(o) for o in overrides):
            key = next((key for key in ("rtt_ms", "rtt_matrix", "paths") if problems.document.has((key,))), "sites")
            message = f"nothing gives the delay from {sites[i]} to {sites[j]}; allowed: rtt_ms, rtt_matrix, graph, path or paths"
            problems.add((key,), message, of_key=True)
            return PathTable(shapes=(), index=())
        number = by_delay.get((i == j, delay)) if not overrides else None
        if number is None:
            shape = base.model_copy(update={"delay_ns": delay})
            for override in overrides:
                shape = overlay(shape, override)
            number = numbers.setdefault(shape, len(numbers))
            if not overrides:
                by_delay[i == j, delay] = number
        index.append(number)
    n = len(sites)
    return PathTable(shapes=tuple(numbers), index=tuple(tuple(index[i * n : (i + 1) * n]) for i in range(n)))


def _gives_delay(form: ShapeForm) -> bool:
    return form.rtt is not None or form.delay is not None


def _exceptions(problems: Problems, paths: Sequence[PathForm], sites: Sequence[str]) -> dict[Pair, list[PathForm]]:
    """The entries of `paths` that touch each pair, in order. `all` in from and to means every *other* site."""
    found: dict[Pair, list[PathForm]] = {}
    for k, path in enumerate(paths):
        keys: KeyPath = ("paths", k)
        if path.rtt is not None and not path.both_ways:
            problems.add((*keys, "rtt"), "is a round trip on a path one way; allowed: delay, or both_ways: true")
        if not path.model_fields_set - {"from_", "to", "both_ways"}:
            problems.add(keys, f"changes nothing; allowed: {', '.join(ShapeForm.model_fields)}")
        sources = list(_positions(problems, (*keys, "from"), path.from_, sites))
        targets = list(_positions(problems, (*keys, "to"), path.to, sites))
        many = len(sources) > 1 or len(targets) > 1
        pairs = dict.fromkeys((i, j) for i, j in itertools.product(sources, targets) if i != j or not many)
        if path.both_ways:
            pairs |= dict.fromkeys((j, i) for i, j in list(pairs))
        for pair in pairs:
            found.setdefault(pair, []).append(path)
    return found


def _positions(problems: Problems, keys: KeyPath, names: Sequence[str], sites: Sequence[str]) -> Iterator[int]:
    if list(names) == ["all"]:
        yield from range(len(sites))
        return
    as_list = isinstance(problems.document.plain_at(keys), list)
    for k, name in enumerate(names):
        if name in sites:
            yield sites.index(name)
        else:
            hint = suggestion(name, sites)
            where = (*keys, k) if as_list else keys
            problems.add(where, f"there is no site {shown(name)}; {hint}allowed: {listed(sites)}, or all")


# Hosts


def _hosts(problems: Problems, groups: Sequence[GroupForm], sites: Sequence[Site]) -> tuple[Host, ...]:
    names = [site.name for site in sites]
    members: dict[int, list[tuple[int, GroupForm]]] = {i: [] for i in range(len(sites))}
    for k, group in enumerate(groups):
        if group.name in [other.name for other in groups[:k]]:
            problems.add(("groups", k, "name"), f"{shown(group.name)} is given twice; allowed: names that differ")
        if group.site == "all":
            problems.add(("groups", k, "site"), "'all' is not one site; allowed: sites: all")
            continue
        key, wanted = ("site", [group.site]) if group.site is not None else ("sites", group.sites or [])
        for i in dict.fromkeys(_positions(problems, ("groups", k, key), wanted, names)):
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
    return HostAbilities(cpu=form.cpu, memory=form.memory, storage=form.storage, bandwidth=bandwidth)
