"""The desired state of a run's links: the topology's shapes and what faults have laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from opus_controller.model.plan import Host, PathTable, Plan
from opus_controller.model.shapes import PathShape


@dataclass(frozen=True)
class Cut:
    """Nothing sent by a host of `sources` reaches a host of `targets` (one way; two cuts make a partition)."""

    sources: frozenset[str]
    targets: frozenset[str]


@dataclass(frozen=True)
class Network:
    """The desired state of all links of a run."""

    hosts: tuple[Host, ...]
    sites: tuple[str, ...]
    paths: PathTable
    """The topology's own, never changed."""
    overrides: Mapping[tuple[str, str], PathShape] = field(default_factory=dict)
    """(source site, target site) to the shape that replaces the topology's for now. Cuts win over shapes."""
    host_overrides: Mapping[tuple[str, str], PathShape] = field(default_factory=dict)
    """(source host, target host), stronger than `overrides`."""
    cuts: tuple[Cut, ...] = ()
    down: frozenset[str] = frozenset()
    """Hosts that are powered off: nothing from or to them passes."""

    @staticmethod
    def of(plan: Plan) -> Network:
        """As it is at the origin."""
        lives = plan.churn.lives if plan.churn else ()
        down = frozenset(life.host for life in lives if life.left_by == "power-off")
        return Network(hosts=plan.hosts, sites=plan.sites, paths=plan.paths, down=down)

    def path(self, source: Host, target: Host) -> PathShape:
        """The shape of the path between two hosts, access links not included, cuts and `down` aside."""
        shape = self.host_overrides.get((source.name, target.name)) or self.overrides.get((source.site, target.site))
        if shape is not None:
            return shape
        return self.between(source.site, target.site)

    def between(self, source: str, target: str) -> PathShape:
        """The topology's own shape from one site to another."""
        return self.paths.shapes[self.paths.index[self._position[source]][self._position[target]]]

    @cached_property
    def _position(self) -> dict[str, int]:
        """Of each site: a host-by-host matrix has hundreds of them, and paths are asked for thousands of times a second."""
        return {site: i for i, site in enumerate(self.sites)}

    def is_cut(self, source: str, target: str) -> bool:
        if source in self.down or target in self.down:
            return True
        return any(source in cut.sources and target in cut.targets for cut in self.cuts)

    def one_way_ns(self, source: Host, target: Host) -> int:
        """Base one-way delay: access, path, access. Jitter, queues and transmission times come on top."""
        return source.access.delay_ns + self.path(source, target).delay_ns + target.access.delay_ns
