"""The ledger of faults: everything in force, and what all of it together asks of hosts and links.

    a host is    off      while a power-off claims it
    else         crashed  while a crash claims it
    else         left     while a leave claims it: dead as well, but it has said so
    else         paused   while a pause claims it
    else         up

A fault claims hosts or lies over links under its name; undoing it takes away what is its own and nothing else. So faults
overlap and end in any order, and what is left is at every instant exactly what the rest asks for. Link changes build on each
other from the oldest to the youngest: two that each add 80 ms make 160, until one of them is healed. What is added stays beside
whatever is there, also loss beside loss in bursts; of two that set the same, the younger counts until it is healed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from opus_controller.model.errors import ScenarioError
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import Host, LinkChange, Plan, Workload
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange, PathShape, ShapeChange, composed

CHURN = "(churn)"
"""Under which departures are claimed; no event can have this name."""


class Want(IntEnum):
    """What a host is to be; of several claims the greatest counts."""

    UP = 0
    PAUSED = 1
    LEFT = 2
    CRASHED = 3
    OFF = 4

    @property
    def dead(self) -> bool:
        return self >= Want.LEFT


CLAIMS: dict[str, Want] = {"pause": Want.PAUSED, "leave": Want.LEFT, "crash": Want.CRASHED, "power-off": Want.OFF}
"""What each kind of host fault claims."""


@dataclass(frozen=True)
class Layer:
    """What one named fault lays over links, or over hosts that go on living."""

    name: str
    changes: tuple[tuple[str, str, ShapeChange], ...] = ()
    """(source site, target site, change)."""
    cuts: tuple[Cut, ...] = ()
    strained: tuple[str, ...] = ()
    """Hosts that it takes from what `strain` says."""
    strain: HostChange = NOTHING_TAKEN
    flood: tuple[Workload, ...] = ()
    """What is asked beside the plan's clients."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Of sites whose path it changes."""
        return tuple((source, target) for source, target, _ in self.changes)


def partition(name: str, a: Iterable[str], b: Iterable[str], *, both_ways: bool) -> Layer:
    """Cut every path from `a` to `b` (host names), and back if `both_ways`; empty if a side is."""
    one, other = frozenset(a), frozenset(b)
    if not one or not other:
        return Layer(name)
    cuts = (Cut(one, other), Cut(other, one)) if both_ways else (Cut(one, other),)
    return Layer(name, cuts=cuts)


def link_change(change: LinkChange) -> Layer:
    """Change the path between two sites, in one direction or both."""
    changes = [(change.source, change.target, change.change)]
    if change.both_ways and change.source != change.target:
        changes.append((change.target, change.source, change.change))
    return Layer(change.name, changes=tuple(changes))


class Ledger:
    """Starts as the plan does: churn claims whom it lets begin absent.

    `base`: the network without faults, in place of the topology's own.
    """

    def __init__(self, plan: Plan, base: Network | None = None) -> None:
        self._base = base if base is not None else Network.of(plan)
        self._layers: list[Layer] = []
        self._claims: dict[str, dict[str, Want]] = {host.name: {} for host in plan.hosts}
        for life in plan.churn.lives if plan.churn else ():
            if not life.up:
                self.claim((life.host,), CHURN, CLAIMS[life.left_by])

    # What is kept

    @classmethod
    def restored(cls, plan: Plan, kept: Mapping[str, Any], base: Network | None = None) -> Ledger:
        """As it was when `plain` gave `kept`."""
        ledger = cls(plan, base)
        ledger._claims = {
            host.name: {by: Want[want] for by, want in kept["claims"].get(host.name, {}).items()} for host in plan.hosts
        }
        ledger._layers = [_layer(line) for line in kept["layers"]]
        return ledger

    def plain(self) -> dict[str, Any]:
        """All of it in JSON's terms."""
        claims = {host: {by: want.name for by, want in made.items()} for host, made in self._claims.items() if made}
        return {"claims": claims, "layers": [_plain(layer) for layer in self._layers]}

    def rebase(self, base: Network) -> None:
        """The network without faults has changed."""
        self._base = base

    @property
    def in_force(self) -> tuple[str, ...]:
        """Names of the faults that hold a host or lie over links; layers first, the oldest first. Churn is none."""
        claims = (by for made in self._claims.values() for by in made if by != CHURN)
        return tuple(dict.fromkeys([*(layer.name for layer in self._layers), *claims]))

    # Hosts

    def claim(self, hosts: Iterable[str], by: str, want: Want) -> None:
        for host in hosts:
            self._claims[host][by] = want

    def release(self, hosts: Iterable[str], by: str) -> None:
        """Takes back what `by` claimed; what it did not claim stays as it is."""
        for host in hosts:
            self._claims[host].pop(by, None)

    def release_all(self, hosts: Iterable[str], wants: Iterable[Want]) -> None:
        """Takes back every claim of a timeline to these states, whoever made it; churn's stay."""
        given_back = set(wants)
        for host in hosts:
            claims = self._claims[host]
            self._claims[host] = {by: want for by, want in claims.items() if by == CHURN or want not in given_back}

    def wanted(self, host: str) -> Want:
        return max(self._claims[host].values(), default=Want.UP)

    # Links

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Oldest first; set to what it was before, this takes back what came in between."""
        return tuple(self._layers)

    @layers.setter
    def layers(self, layers: Iterable[Layer]) -> None:
        self._layers = list(layers)

    def lay(self, layer: Layer) -> None:
        self._layers.append(layer)

    def lift(self, name: str) -> Layer:
        """Take away the youngest layer called `name`. ScenarioError if none lies there."""
        for layer in reversed(self._layers):
            if layer.name == name:
                self._layers.remove(layer)
                return layer
        known = ", ".join(sorted({layer.name for layer in self._layers})) or "nothing"
        raise ScenarioError(f"cannot heal {name!r}: in force is {known}")

    def shape(self, source: str, target: str) -> PathShape:
        """The path between two sites as all layers together have it."""
        base = self._base.overrides.get((source, target)) or self._base.between(source, target)
        return composed(base, self._changes(source, target))

    def _changes(self, source: str, target: str) -> list[ShapeChange]:
        return [change for layer in self._layers for *pair, change in layer.changes if pair == [source, target]]

    def _host_overrides(self) -> dict[tuple[str, str], PathShape]:
        """Paths between two hosts that are not their sites': faults lie over them as well."""
        site = {host.name: host.site for host in self._base.hosts} if self._base.host_overrides else {}
        return {
            (source, target): composed(shape, self._changes(site[source], site[target]))
            for (source, target), shape in self._base.host_overrides.items()
        }

    @property
    def strains(self) -> dict[str, HostChange]:
        """What is taken from hosts; those that are not named have all of theirs."""
        strains: dict[str, HostChange] = {}
        for layer in self._layers:
            for host in layer.strained:
                strains[host] = strains.get(host, NOTHING_TAKEN) & layer.strain
        return strains

    @property
    def flood(self) -> tuple[Workload, ...]:
        """All that is asked beside the plan's clients."""
        return tuple(load for layer in self._layers for load in layer.flood)

    @property
    def network(self) -> Network:
        """The whole state to bring about."""
        pairs = dict.fromkeys(pair for layer in self._layers for pair in layer.pairs)
        strains = self.strains
        limited = any(strain.up_bps is not None or strain.down_bps is not None for strain in strains.values())
        return replace(
            self._base,
            hosts=tuple(_limited(host, strains.get(host.name)) for host in self._base.hosts) if limited else self._base.hosts,
            overrides={**self._base.overrides, **{pair: self.shape(*pair) for pair in pairs}},
            host_overrides=self._host_overrides(),
            cuts=tuple(cut for layer in self._layers for cut in layer.cuts),
            down=frozenset(host for host in self._claims if self.wanted(host) is Want.OFF),
        )


def _limited(host: Host, strain: HostChange | None) -> Host:
    return host if strain is None else host.model_copy(update={"access": strain.on(host.access)})


def _plain(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "changes": [[source, target, change.model_dump(mode="json")] for source, target, change in layer.changes],
        "cuts": [[sorted(cut.sources), sorted(cut.targets)] for cut in layer.cuts],
        "strained": list(layer.strained),
        "strain": layer.strain.model_dump(mode="json"),
        "flood": [load.model_dump(mode="json") for load in layer.flood],
    }


def _layer(line: Mapping[str, Any]) -> Layer:
    return Layer(
        line["name"],
        changes=tuple((source, target, ShapeChange.model_validate(change)) for source, target, change in line["changes"]),
        cuts=tuple(Cut(frozenset(sources), frozenset(targets)) for sources, targets in line["cuts"]),
        strained=tuple(line["strained"]),
        strain=HostChange.model_validate(line["strain"]),
        flood=tuple(Workload.model_validate(load) for load in line["flood"]),
    )
