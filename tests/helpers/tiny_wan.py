"""A few namespaces joined by a routing one, by `ip` alone: hosts for tests that need a network but no shaping.

Every host has one address, 198.18.0.N/32 on eth0, and reaches the others through `wan`; a cut drops in silence there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


def _ip(*lines: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)


def _in(namespace: str, *lines: str) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)


class TinyWan:
    """Hosts 1..n; `address(i)` and `namespace(i)` name them."""

    def __init__(self, tag: str, hosts: int) -> None:
        self._tag = f"otest-{os.getpid()}-{tag}"
        self.wan = f"{self._tag}-wan"
        self.hosts = range(1, hosts + 1)

    def namespace(self, host: int) -> str:
        return f"{self._tag}-h{host}"

    def path(self, host: int) -> str:
        return f"/run/netns/{self.namespace(host)}"

    @staticmethod
    def address(host: int) -> str:
        return f"198.18.{host >> 8}.{host & 255}"

    def up(self) -> None:
        _ip(f"netns add {self.wan}", *(f"netns add {self.namespace(host)}" for host in self.hosts))
        subprocess.run(["ip", "netns", "exec", self.wan, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        for namespace in (self.wan, *(self.namespace(host) for host in self.hosts)):  # no chatter of the kernels' own
            subprocess.run(
                ["ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"], check=True
            )
        for host in self.hosts:
            namespace, address = self.namespace(host), self.address(host)
            _in(self.wan, f"link add w{host} type veth peer name eth0 netns {namespace}")
            _in(
                namespace,
                "link set lo up",
                "link set eth0 up",
                f"address add {address}/32 dev eth0",
                "route add 169.254.0.1 dev eth0 scope link",
                "route add default via 169.254.0.1 dev eth0",
            )
            _in(
                self.wan, f"address add 169.254.0.1/32 dev w{host}", f"link set w{host} up", f"route add {address}/32 dev w{host}"
            )

    def cut(self, hosts: Iterable[int]) -> None:
        """Nothing reaches these hosts any more, and nobody is told."""
        _in(self.wan, *(f"route replace blackhole {self.address(host)}/32" for host in hosts))

    def heal(self, hosts: Iterable[int]) -> None:
        _in(self.wan, *(f"route replace {self.address(host)}/32 dev w{host}" for host in hosts))

    def down(self) -> None:
        for namespace in (*(self.namespace(host) for host in self.hosts), self.wan):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@contextmanager
def tiny_wan(tag: str, hosts: int) -> Iterator[TinyWan]:
    wan = TinyWan(tag, hosts)
    try:
        wan.up()
        yield wan
    finally:
        wan.down()
