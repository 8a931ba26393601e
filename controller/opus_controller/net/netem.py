"""netem links: the kernel's own delay, loss and rates, on veth pairs whose far ends meet in one namespace of the run.

Nothing is in the root namespace, there is no bridge and no daemon: what is in force stays so when the controller ends, and
deleting the namespace `opus-<run>.wan` removes it all. `netem_port` draws the picture of one host's place in it.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Host
from opus_controller.net import namespaces, netem_port, netem_rates, tc_link, tc_offload, tc_qdisc
from opus_controller.net.links import LinkCounters, TimerLag
from opus_controller.net.namespaces import run_inside
from opus_controller.net.netem_counters import read_counters
from opus_controller.net.netem_desired import Desired, Planner
from opus_controller.net.netem_lag import Canary
from opus_controller.net.netem_options import KIND, NetemOptions, decode, refused
from opus_controller.net.netem_port import Port
from opus_controller.net.netem_probe import lacking
from opus_controller.net.tc_netlink import Netlink, NetlinkError, Request

T = TypeVar("T")

_LARGEST_INDEX = 16_000
"""Interface numbers are made from a host's position in the plan."""
_SETTINGS = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
}
_OPTIONAL = "ipv6/"


class NetemLinks:
    """One run's links (`net.links.Links`).

    `run`: the run's identity, 8 hexadecimal digits. `seed` makes draws repeatable where the kernel can (6.6 or newer).
    PlatformError if the kernel lacks a piece, or the right to use it. May be used from several threads.
    """

    kind = "netem"

    def __init__(self, run: str, *, mtu: int = 1500, seed: int = 0) -> None:
        self._run = run
        self._name = namespaces.wan_namespace(run)
        namespaces.create([self._name])
        try:
            self._inside(_prepare)
            self._set_up(mtu, seed)
        except OSError as error:
            namespaces.delete(self._name)
            raise _refused("the wan namespace", error) from error
        except BaseException:
            namespaces.delete(self._name)
            raise

    @classmethod
    def open(cls, run: str, *, mtu: int = 1500, seed: int = 0) -> NetemLinks:
        """The links of a run that another process made; `apply` comes before anything else. PlatformError if they are gone."""
        links = cls.__new__(cls)
        links._run = run
        links._name = namespaces.wan_namespace(run)
        if not namespaces.path_of(links._name).exists():
            raise PlatformError(f"there are no netem links of run {run}: namespace {links._name} is gone")
        links._set_up(mtu, seed)
        links._found = {index for index in map(netem_port.index_of, links._interfaces()) if index is not None}
        return links

    def _set_up(self, mtu: int, seed: int) -> None:
        self._lock = threading.RLock()
        self._mtu = mtu
        self._seed = seed
        self._changes = 0
        self._planner = Planner()
        self._desired = Desired({}, {}, {}, frozenset())
        self._hosts: dict[str, Host] = {}
        self._ports: dict[str, Port] = {}
        self._found: set[int] = set()
        self._proven: set[NetemOptions] = set()
        """Parameters that the kernel has been seen to accept."""
        self._seeded = False
        self._wan, self._canary = self._inside(_open)

    @property
    def facts(self) -> Mapping[str, Any]:
        """For the record: what was set and what the kernel accepted of it."""
        trees = {id(tree): tree for tree in self._desired.trees.values()}.values()
        return {
            "namespace": self._name,
            "mtu": self._mtu,
            "netem_qdiscs": sum(len(port.tree.classes) for port in self._ports.values() if port.tree),
            "seeded": self._seeded,
            "classes_most": max((len(tree.classes) for tree in trees), default=0),
            "quantisation_error_ms": max((tree.error_ns for tree in trees), default=0) / 1e6,
        }

    def attach(self, host: str, netns: Path) -> None:
        """See `Links.attach`. `apply` comes first: it tells the host's address (KeyError for a host it did not name)."""
        with self._lock:
            entry = self._hosts[host]
            self.detach(host)
            try:
                port = netem_port.enter_host(netns, entry, self._wan, self._mtu)
                try:
                    self._inside(lambda: tc_offload.segmentation_off(netem_port.wan_name(entry)))
                    self._do(netem_port.first_requests(port, self._mtu))
                    self._bring_about([port])
                    self._do(netem_port.last_requests(port))
                except BaseException:
                    self._remove(port)
                    raise
            except OSError as error:
                raise _refused(f"{host} in {netns}", error) from error
            self._ports[host] = port

    def detach(self, host: str) -> None:
        with self._lock:
            port = self._ports.pop(host, None)
            if port is not None:
                self._remove(port)

    def apply(self, network: Network) -> None:
        with self._lock:
            if len(network.hosts) > _LARGEST_INDEX:
                raise PlatformError(f"netem links take at most {_LARGEST_INDEX} hosts, not {len(network.hosts)}")
            self._desired = self._planner.desired(network)
            self._hosts = {host.name: host for host in network.hosts}
            self._adopt()
            try:
                self._bring_about(list(self._ports.values()))
            except OSError as error:
                raise _refused("the links", error) from error

    def counters(self) -> dict[str, LinkCounters]:
        with self._lock:
            return read_counters(self._wan, self._ports)

    def lag(self) -> TimerLag:
        return self._canary.reading()

    def close(self) -> None:
        """Remove the namespace and with it everything. No error if it is gone."""
        with self._lock:
            self._canary.close()
            for port in self._ports.values():
                if port.network is not None:
                    port.network.close()
            self._ports.clear()
            self._wan.close()
            namespaces.delete(self._name)

    # --- what is in force ---

    def _bring_about(self, ports: list[Port]) -> None:
        """Make `_desired` the state of these ports: hosts that go down first, and cuts so that no moment has too few."""
        desired, name = self._desired, _name
        self._changes += 1
        seed = self._seed * 1_000_003 + self._changes
        for port in ports:
            if (name(port) in desired.down) and not port.down:
                self._do(netem_port.set_down(port, True))
        self._set_trees(ports, seed)
        for port in ports:
            port.host = self._hosts[name(port)]
        netem_rates.set_rates(ports, self._wan)
        refused = {name(port): desired.refused.get(name(port), frozenset()) for port in ports}
        self._do(chain.from_iterable(netem_port.refuse(port, refused[name(port)]) for port in ports))
        self._do(
            chain.from_iterable(
                netem_port.set_mark(port, desired.marks[name(port)]) for port in ports if port.mark != desired.marks[name(port)]
            )
        )
        self._do(chain.from_iterable(netem_port.admit(port, port.refused - refused[name(port)]) for port in ports))
        for port in ports:
            if port.down and name(port) not in desired.down:
                self._do(netem_port.set_down(port, False))

    def _set_trees(self, ports: list[Port], seed: int) -> None:
        """Change the netems that differ, and hold what the kernel says it has set against what was asked.

        Each set of parameters is read back once: what the kernel took for one receiver it takes for all.
        """
        trees = self._desired.trees
        changed = [port for port in ports if port.tree != trees[_name(port)]]
        asked: dict[tuple[int, int, int], NetemOptions] = {}
        for port in changed:
            for minor, options in trees[_name(port)].classes.items():
                if options not in self._proven:
                    asked[netem_port.place(port, minor, options)] = options
        requests = (
            request
            for port in changed
            for request in netem_port.set_tree(port, trees[_name(port)], seed, self._mtu, self._proven)
        )
        for qdisc in map(tc_qdisc.read_qdisc, self._do(requests)):
            wanted = asked.get((qdisc.index, qdisc.handle, qdisc.parent))
            if wanted is not None and qdisc.kind == KIND:
                self._prove(wanted, qdisc.options)

    def _prove(self, asked: NetemOptions, accepted: bytes) -> None:
        if wrong := refused(asked, accepted):
            raise PlatformError(f"the kernel did not accept all of a netem: {'; '.join(wrong)}; use --links userspace")
        self._proven.add(asked)
        self._seeded = decode(accepted)["seed"] is not None

    def _adopt(self) -> None:
        """Take over the ports that another process made (see `open`)."""
        for host in self._hosts.values():
            if host.index in self._found and host.name not in self._ports:
                port = netem_port.found_again(host, namespaces.path_of(namespaces.host_namespace(self._run, host.name)))
                self._do(netem_port.forget(port))
                self._ports[host.name] = port
        self._found.clear()

    def _remove(self, port: Port) -> None:
        if port.network is not None:
            port.network.close()
        self._do(netem_port.leave_requests(port))

    # --- helpers ---

    def _do(self, requests: Iterator[Request]) -> list[bytes]:
        return self._wan.do(requests)

    def _inside(self, work: Callable[[], T]) -> T:
        return run_inside(namespaces.path_of(self._name), work)

    def _interfaces(self) -> list[str]:
        return [tc_link.stats(answer).name for answer in self._wan.dump(tc_link.all_links())]


def _name(port: Port) -> str:
    return port.host.name


def _prepare() -> None:
    """Inside the wan namespace: a router that keeps silent about what it cannot deliver."""
    for key, value in _SETTINGS.items():
        try:
            Path("/proc/sys/net", key).write_text(value)
        except OSError:
            if not key.startswith(_OPTIONAL):
                raise
    netlink = Netlink()
    try:
        netlink.do([tc_link.set_up(1), tc_link.add_blackhole(), tc_qdisc.set_action(netem_port.strip())])
    finally:
        netlink.close()


def _open() -> tuple[Netlink, Canary]:
    netlink = Netlink()
    try:
        return netlink, Canary(netlink)
    except BaseException:
        netlink.close()
        raise


def _refused(what: str, error: OSError) -> PlatformError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return PlatformError(f"not allowed to shape links ({error}); run as root")
    if isinstance(error, NetlinkError) and error.errno in (errno.ENOENT, errno.EOPNOTSUPP) and "unknown" in str(error):
        return PlatformError(lacking("piece that netem links need", error))
    return PlatformError(f"cannot link {what}: {error}")
