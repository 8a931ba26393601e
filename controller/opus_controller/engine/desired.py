"""The links' desired state while a plan plays: the topology with named layers over it, in any order of coming and going.

A partition or a link change is one layer. Where two layers shape the same path the younger one wins; taking a layer
away brings back whatever lies under it. Power-off is no layer but a set of hosts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opus_controller.model.errors import ScenarioError
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import LinkChange, Plan
from opus_controller.model.shapes import PathShape


@dataclass(frozen=True)
class Layer:
    """What one named fault lays over the links."""

    name: str
    overrides: dict[tuple[str, str], PathShape] = field(default_factory=dict)
    """(source site, target site) to shape."""
    host_overrides: dict[tuple[str, str], PathShape] = field(default_factory=dict)
    cuts: tuple[Cut, ...] = ()


def partition(name: str, a: Iterable[str], b: Iterable[str], *, both_ways: bool) -> Layer:
    """Cut every path from `a` to `b` (host names), and back if `both_ways`."""
    one, other = frozenset(a), frozenset(b)
    cuts = (Cut(one, other), Cut(other, one)) if both_ways else (Cut(one, other),)
    return Layer(name, cuts=cuts)


def link_change(change: LinkChange) -> Layer:
    """Replace the shape of one path between sites."""
    overrides = {(change.source, change.target): change.shape}
    if change.both_ways:
        overrides[change.target, change.source] = change.reverse_shape or change.shape
    return Layer(change.name, overrides=overrides)


class DesiredNetwork:
    """Starts as the topology; `network` is always the whole state to bring about."""

    def __init__(self, plan: Plan) -> None:
        self._base = Network.of(plan)
        self._layers: list[Layer] = []
        self._down = self._base.down

    @property
    def network(self) -> Network:
        overrides: dict[tuple[str, str], PathShape] = {}
        host_overrides: dict[tuple[str, str], PathShape] = {}
        cuts: list[Cut] = []
        for layer in self._layers:
            overrides.update(layer.overrides)
            host_overrides.update(layer.host_overrides)
            cuts.extend(layer.cuts)
        return Network(
            hosts=self._base.hosts,
            sites=self._base.sites,
            paths=self._base.paths,
            overrides=overrides,
            host_overrides=host_overrides,
            cuts=tuple(cuts),
            down=self._down,
        )

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

    def power_off(self, hosts: Iterable[str]) -> None:
        self._down |= frozenset(hosts)

    def power_on(self, hosts: Iterable[str]) -> None:
        self._down -= frozenset(hosts)
