"""The shape of the path between any two sites: delays, defaults, and the exceptions that overlay them key by key."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.matrix import Pair
from opus_controller.model.plan import PathTable
from opus_controller.model.shapes import PathShape
from opus_controller.model.topology_form import PathForm, ShapeForm, TopologyForm
from opus_controller.model.units import shown

DEFAULT_WITHIN_NS = 250_000
"""One way inside a site: a round trip of 0.5 ms, as between machines of one data centre."""


def given(form: ShapeForm) -> dict[str, object]:
    """The fields of PathShape that `form` puts in their place. Loss and bursty loss displace each other."""
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
        change["loss"], change["burst"] = 0.0, form.burst.model_dump()
    return change


def overlay(shape: PathShape, form: ShapeForm) -> PathShape:
    """`shape` with what `form` gives in its place."""
    change = given(form)
    return PathShape.model_validate({**shape.model_dump(), **change}) if change else shape


def path_table(problems: Problems, form: TopologyForm, sites: list[str], delays: dict[Pair, int]) -> PathTable:
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
        sources = list(positions(problems, (*keys, "from"), path.from_, sites))
        targets = list(positions(problems, (*keys, "to"), path.to, sites))
        many = len(sources) > 1 or len(targets) > 1
        pairs = dict.fromkeys((i, j) for i, j in itertools.product(sources, targets) if i != j or not many)
        if path.both_ways:
            pairs |= dict.fromkeys((j, i) for i, j in list(pairs))
        for pair in pairs:
            found.setdefault(pair, []).append(path)
    return found


def positions(problems: Problems, keys: KeyPath, names: Sequence[str], sites: Sequence[str]) -> Iterator[int]:
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
