"""A network of hosts without programs: namespaces, links of either kind between them, sockets inside them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from opus_controller.model.network import Network
from opus_controller.model.plan import Host, HostAbilities, PathTable
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.net import namespaces, stamps
from opus_controller.net.links import Links
from opus_controller.net.netem import NetemLinks
from opus_controller.net.userspace import UserspaceLinks

T = TypeVar("T")

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER = 8 << 20
PLAIN = PathShape(delay_ns=1_000_000)
"""Of paths that a test says nothing about."""


class LiveNetwork:
    """Hosts, attached. `network` is the state in force when it was made."""

    def __init__(self, links: Links, network: Network, run: str) -> None:
        self.links = links
        self.network = network
        self.run = run
        self.hosts = {host.name: host for host in network.hosts}

    def path_of(self, host: str) -> Path:
        return namespaces.path_of(namespaces.host_namespace(self.run, host))

    def inside(self, host: str, work: Callable[[], T]) -> T:
        return namespaces.run_inside(self.path_of(host), work)

    def udp(self, host: str, port: int = 0) -> socket.socket:
        """A datagram socket in the host's namespace, large buffers, arrivals stamped by the kernel, bound to `port`."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            stamps.ask(sock)
            sock.bind(("0.0.0.0", port))
            sock.setblocking(False)
            return sock

        return self.inside(host, make)

    def tcp(self, host: str) -> socket.socket:
        """A stream socket in the host's namespace, not connected."""
        return self.inside(host, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))


def network_of(access: Mapping[str, AccessLink], paths: Mapping[tuple[str, str], PathShape]) -> Network:
    """Each host a site of its own; the paths not named are `PLAIN`."""
    names = list(access)
    shapes = list(dict.fromkeys([PLAIN, *paths.values()]))
    number = {shape: i for i, shape in enumerate(shapes)}
    index = tuple(tuple(number[paths.get((a, b), PLAIN)] for b in names) for a in names)
    hosts = tuple(
        Host(
            name=name, index=i, site=name, group="probe", access=access[name], abilities=HostAbilities(),
            address=f"198.18.{(i + 1) >> 8}.{(i + 1) & 255}",
        )
        for i, name in enumerate(names)
    )  # fmt: skip
    return Network(hosts=hosts, sites=tuple(names), paths=PathTable(shapes=tuple(shapes), index=index))


def start(kind: str, run: str, directory: Path) -> Links:
    """Links of one kind, with draws that are the same every time where the links can."""
    if kind == "netem":
        return NetemLinks(run, seed=1)
    return UserspaceLinks(directory, seed="fidelity")


@contextmanager
def live_network(kind: str, network: Network, directory: Path) -> Iterator[LiveNetwork]:
    """The hosts of `network`, linked; gone at the end."""
    run = namespaces.new_run()
    links = start(kind, run, directory)
    names = [namespaces.host_namespace(run, host.name) for host in network.hosts]
    try:
        links.apply(network)
        namespaces.create(names)
        live = LiveNetwork(links, network, run)
        for host in live.hosts:
            links.attach(host, live.path_of(host))
        yield live
    finally:
        links.close()
        for name in names:
            namespaces.delete(name)
