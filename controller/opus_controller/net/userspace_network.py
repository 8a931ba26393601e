"""The desired state inside the shaper: hosts by address, and the path between two of them, looked up when first used.

It comes as two JSON objects (made by `userspace_desired`): the base, which is the topology and is sent once, and what
is laid over it, which is small and sent at every change.

    base   {"sites": [name], "hosts": [[name, address, site index, access index]],
            "access": [[delay, loss, up rate, up queue, down rate, down queue]], "shapes": [shape], "index": [[shape index]]}
    over   {"site_shapes": [[site, site, shape]], "host_shapes": [[host, host, shape]],
            "cuts": [[[source host], [target host]]], "down": [host]}
    shape  the fields of `userspace_path.Shape` that differ from its defaults

Times in ns, rates in bits/s, queues in bytes, null for none.
"""

from __future__ import annotations

import socket
from typing import Any

from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_host import Host
from opus_controller.net.userspace_path import Path, Shape


class NetworkState:
    """What is asked for now."""

    def __init__(self, engine: Engine) -> None:
        self.hosts: dict[str, Host] = {}
        self._engine = engine
        self._by_address: dict[bytes, Host] = {}
        self._site: dict[str, int] = {}
        self._site_index: dict[str, int] = {}
        self._shapes: list[Shape] = []
        self._index: list[list[int]] = []
        self._site_shapes: dict[tuple[int, int], Shape] = {}
        self._host_shapes: dict[tuple[str, str], Shape] = {}
        self._cuts: list[tuple[frozenset[str], frozenset[str]]] = []
        self._down: frozenset[str] = frozenset()
        self._paths: dict[tuple[str, str], Path] = {}

    def set_base(self, base: dict[str, Any]) -> list[Host]:
        """Take the topology; hands back the hosts that are in it no longer."""
        before, self.hosts, self._by_address, self._site = self.hosts, {}, {}, {}
        self._site_index = {name: i for i, name in enumerate(base["sites"])}
        for name, text, site, access in base["hosts"]:
            address = socket.inet_aton(text)
            host = before.pop(name, None) or Host(self._engine, name, address, self._find)
            host.address = address
            delay, loss, up_rate, up_queue, down_rate, down_queue = base["access"][access]
            host.configure_access(delay, loss, (up_rate, up_queue), (down_rate, down_queue))
            self.hosts[name] = self._by_address[address] = host
            self._site[name] = site
        self._shapes = [_shape(shape) for shape in base["shapes"]]
        self._index = base["index"]
        self._paths = {pair: path for pair, path in self._paths.items() if pair[0] in self.hosts and pair[1] in self.hosts}
        self._forget()
        return list(before.values())

    def set_over(self, over: dict[str, Any]) -> None:
        """Take what is laid over the topology, wholly replacing what was before; in force for the next packet."""
        sites = self._site_index
        self._site_shapes = {(sites[a], sites[b]): _shape(shape) for a, b, shape in over["site_shapes"]}
        self._host_shapes = {(a, b): _shape(shape) for a, b, shape in over["host_shapes"]}
        self._cuts = [(frozenset(sources), frozenset(targets)) for sources, targets in over["cuts"]]
        self._down = frozenset(over["down"])
        for name, host in self.hosts.items():
            host.power(name not in self._down)
        self._forget()

    def _forget(self) -> None:
        for host in self.hosts.values():
            host.forget_paths()

    def _find(self, source: Host, address: bytes) -> Path | None:
        """The path from a host to an address, brought to what is asked for now."""
        target = self._by_address.get(address)
        if target is None or source.name not in self.hosts:
            return None
        pair = source.name, target.name
        path = self._paths.get(pair)
        if path is None:
            path = self._paths[pair] = Path(self._engine, source, target)
        path.configure(self._wanted(*pair), self._is_cut(*pair))
        return path

    def _wanted(self, source: str, target: str) -> Shape:
        i, j = self._site[source], self._site[target]
        return (
            self._host_shapes.get((source, target))
            or self._site_shapes.get((i, j))
            or self._shapes[self._index[i][j]]
        )  # fmt: skip

    def _is_cut(self, source: str, target: str) -> bool:
        if source in self._down or target in self._down:
            return True
        return any(source in sources and target in targets for sources, targets in self._cuts)


def _shape(fields: dict[str, Any]) -> Shape:
    burst = fields.get("burst")
    return Shape(**{**fields, "burst": tuple(burst) if burst else None})
