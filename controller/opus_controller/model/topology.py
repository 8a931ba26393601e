"""What a topology means: its hosts with their addresses, and the shape of the path between any two sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opus_controller.model.document import KeyPath, Problems, load_document
from opus_controller.model.errors import ScenarioError
from opus_controller.model.explain import read_form
from opus_controller.model.fields import listed, parse_name, suggestion
from opus_controller.model.graph import graph_delays
from opus_controller.model.matrix import Pair, one_way_delays, rtts_from_csv, rtts_from_value
from opus_controller.model.plan import Host, PathTable, Place
from opus_controller.model.settings import Setting, applied
from opus_controller.model.shapes import PathShape
from opus_controller.model.topology_form import MAX_SITES, SiteForm, TopologyForm
from opus_controller.model.topology_hosts import Site, make_hosts
from opus_controller.model.topology_paths import path_table
from opus_controller.model.units import shown


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
    files: tuple[Path, ...] = ()
    """That it was read from: its own, and that of its matrix."""

    def shape(self, source: str, target: str) -> PathShape:
        """The path from one site to another, access links not included."""
        names = [site.name for site in self.sites]
        return self.paths.shapes[self.paths.index[names.index(source)][names.index(target)]]

    def rtts_ms(self) -> list[list[float]]:
        """Round trips between sites, both directions together, access links not included."""
        shapes, index = self.paths.shapes, self.paths.index
        n = range(len(self.sites))
        return [[(shapes[index[i][j]].delay_ns + shapes[index[j][i]].delay_ns) / 1e6 for j in n] for i in n]


def load_topology(path: Path, settings: Sequence[Setting] = ()) -> Topology:
    """Read and check a topology's file; `settings` stand in for what it says, as a scenario's do.

    Raises ScenarioError: one line with file, line, key and what is allowed.
    """
    document = applied(load_document(path), settings)
    form = read_form(document, TopologyForm)
    problems = Problems(document)
    rtts, sites = _matrix(problems, form)
    problems.raise_if_any()
    names = [site.name for site in sites]
    delays = _delays(problems, form, sites, rtts)
    problems.raise_if_any()
    paths = path_table(problems, form, names, delays)
    hosts = make_hosts(problems, form.groups, sites)
    problems.raise_if_any()
    return Topology(
        name=form.name,
        description=form.description,
        source=form.source,
        sites=tuple(sites),
        hosts=hosts,
        paths=paths,
        groups=tuple(group.name for group in form.groups),
        files=(path, *([path.parent / form.rtt_matrix.file] if form.rtt_matrix is not None else [])),
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
