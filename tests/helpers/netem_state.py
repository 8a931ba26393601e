"""What the kernel says is in force in a run's netem links, worked out from nothing but its own answers."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from opus_controller.model.network import Network
from opus_controller.model.plan import Host
from opus_controller.model.shapes import Direction
from opus_controller.net import namespaces, tc_qdisc
from opus_controller.net.namespaces import run_inside
from opus_controller.net.netem_options import combine, decode, refused
from opus_controller.net.netem_port import INTERFACE, wan_name
from opus_controller.net.netem_rates import in_force
from opus_controller.net.tc_netlink import Netlink, Request, attributes
from opus_controller.net.tc_qdisc import EGRESS, INGRESS, ROOT

from helpers.fidelity.live import LiveNetwork

_TCMSG = struct.Struct("=BxxxiIII")
_RTM_GETTFILTER = 46
_DOWN, _CUT, _DOUBLED = 5, 10, 20
"""Priorities of the filters that drop, and of those that lead to what duplicates."""
_CLASS, _PATTERN = 0xFFFF, 0xFFF00000
"""Bits of a packet's mark."""


class NetemState:
    """Sockets into the wan namespace and the hosts' own; `of(live)` is made anew after a host's restart."""

    def __init__(self, live: LiveNetwork) -> None:
        wan = namespaces.path_of(namespaces.wan_namespace(live.run))
        self._wan, self._index = run_inside(wan, lambda: (Netlink(), {name: number for number, name in socket.if_nameindex()}))
        self._live = live

    def __enter__(self) -> NetemState:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wan.close()

    def differs(self, network: Network) -> list[str]:
        """Every way in which the kernel has something else in force than `network`; none at best."""
        marks, filters = self._marks(), {host.name: self._filters(wan_name(host)) for host in network.hosts}
        leaves = {(one.index, one.parent): one for one in map(tc_qdisc.read_qdisc, self._wan.dump(tc_qdisc.all_qdiscs()))}
        wrong = self._rates(network)
        for source in network.hosts:
            mark = marks[source.index + 1]
            for target in network.hosts:
                if source is target:
                    continue
                pair = f"{source.name} to {target.name}"
                cut = (
                    (INGRESS, _DOWN, 1) in filters[source.name]
                    or (EGRESS, _DOWN, 1) in filters[target.name]
                    or (mark & _PATTERN != 0 and (EGRESS, _CUT, mark & _PATTERN) in filters[target.name])
                )
                if cut != network.is_cut(source.name, target.name):
                    wrong.append(f"{pair}: {'cut' if cut else 'not cut'}")
                leaf = leaves[self._place(target, 0x10000 | mark & _CLASS, filters[target.name])]
                asked = combine(source.access, network.path(source, target), target.access)
                wrong += [
                    f"{pair}: {line}" for line in refused(asked, leaf.options) if not line.startswith("limit")
                ]  # fmt: skip
                if int(str(decode(leaf.options)["limit"])) < 1000:
                    wrong.append(f"{pair}: room for too few packets")
        return wrong

    def _place(self, target: Host, group: int, filters: set[tuple[int, int, int]]) -> tuple[int, int]:
        """Interface and parent of the netem that packets of this group meet: a leaf of the receiver's tree, or the netem by
        itself to which a filter at its port leads those that are duplicated."""
        if (EGRESS, _DOUBLED, group) in filters:
            return self._index[f"x{target.index}.{group & _CLASS}"], ROOT
        return self._index[f"d{target.index}"], group

    def _rates(self, network: Network) -> list[str]:
        wrong = []
        for host in network.hosts:
            up = self._live.inside(host.name, lambda: _own(INTERFACE))
            down = in_force(self._index[wan_name(host)], self._wan)
            for name, found, asked in (("up", up, host.access.up), ("down", down, host.access.down)):
                wanted = (asked.rate_bps, asked.may_wait) if asked.rate_bps else (None, None)
                if (found.rate_bps, found.queue_bytes) != wanted:
                    wrong.append(f"{host.name} {name}: {found} is in force, {asked} is asked for")
        return wrong

    def _marks(self) -> dict[int, int]:
        """Of each port: what its host's packets are marked with."""
        marks: dict[int, int] = {}
        for answer in self._wan.dump(tc_qdisc.all_actions("skbedit")):
            for _, table in (one for one in attributes(answer, 4) if one[0] == 1):
                for _, action in attributes(table):
                    options = next((dict(attributes(value)) for kind, value in attributes(action) if kind == 2), {})
                    if 2 in options and 5 in options:
                        marks[struct.unpack_from("=I", options[2])[0]] = struct.unpack_from("=I", options[5])[0]
        return marks

    def _filters(self, interface: str) -> set[tuple[int, int, int]]:
        """(parent, priority, handle) of each filter there."""
        found = set()
        for parent in (INGRESS, EGRESS):
            body = _TCMSG.pack(0, self._index[interface], 0, parent, 0)
            for answer in self._wan.dump(Request(_RTM_GETTFILTER, 0, body, "list filters")):
                _, _, handle, _, info = _TCMSG.unpack_from(answer)
                found.add((parent, info >> 16, handle))
        return found


def _own(interface: str) -> Direction:
    netlink = Netlink()
    try:
        return in_force(socket.if_nametoindex(interface), netlink)
    finally:
        netlink.close()
