"""One host's place in the wan namespace: its veth, the tree of delays towards it, its queues, and the cuts before it.

    host's namespace │ wan namespace
    eth0 ────────────┼─ w12            in:  mark (the source's group and cuts)             ─▶ routed to w<receiver>
      tbf: up rate   │                 out: drop what is cut ─▶ redirect to d12
      and its queue  │   d12 (ifb)     htb: a class for each mark, each with a netem leaf  ─▶ back to w12, not redirected again
                     │   w12           tbf: down rate and its queue                        ─▶ eth0
                     │   x12.<class>   a netem of its own for a class that duplicates      ─▶ back to w12

The delay is outside the sender's stack, and before the down rate as on a real path. The queue of the down rate is a
queue of bytes and nothing else: a netem leaf under a shaping HTB would hold what is in flight and what waits in one.
Kernels since 6.16 (and the stable ones since) refuse `duplicate` beside another netem in one tree, hence the IFBs of their own.
Packets that come back from an IFB skip the filters, so what was in flight when a cut came still arrives.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from opus_controller.model.plan import Host
from opus_controller.model.shapes import AccessLink
from opus_controller.net import tc_link, tc_offload, tc_qdisc
from opus_controller.net.namespaces import run_inside
from opus_controller.net.netem_desired import CLASS_MASK, HANDLE, PATTERN_MASK, Tree
from opus_controller.net.netem_options import KIND, NetemOptions, encode
from opus_controller.net.tc_netlink import Netlink, Request
from opus_controller.net.tc_qdisc import EGRESS, INGRESS, ROOT, QueueStats

INTERFACE = "eth0"
GATEWAY = "169.254.1.1"
"""What hosts send everything to; nobody has it, a permanent neighbour entry answers for it."""
_FIRST_INDEX = 16
_IFB_QUEUE = 1000
_STRIP = 0x40000000
"""Number of the shared action `strip`."""
_PRIORITY_DOWN, _PRIORITY_CUT, _PRIORITY_DUPLICATE, _PRIORITY_REST = 5, 10, 20, 50
_PRIORITY_ALIAS, _PRIORITY_CLASS = 10, 20
RATE_HANDLE = 0x20000
"""Of the token buckets (`netem_rates`)."""


@dataclass
class Port:
    """A host attached to the wan namespace, and what is in force there. `network`: a socket in the host's namespace."""

    host: Host
    network: Netlink | None
    eth0: int = 0
    """Interface number of eth0 in the host's namespace."""
    access: AccessLink | None = None
    """Whose rates are in force (`netem_rates`); None: not known."""
    mark: int = 0
    tree: Tree | None = None
    """None: not known; then everything is stated anew."""
    doubling: frozenset[int] = frozenset()
    """Classes whose packets go through an IFB of their own."""
    boxes: set[int] = field(default_factory=set)
    """Classes for which such an IFB exists: kept for what is in flight in it."""
    refused: frozenset[int] = frozenset()
    down: bool = False

    @property
    def number(self) -> int:
        return self.host.index + 1

    @property
    def wan(self) -> int:
        """Interface number of the veth's end here."""
        return _FIRST_INDEX + 2 * self.host.index

    @property
    def delays(self) -> int:
        """Interface number of the IFB with the tree."""
        return self.wan + 1

    def box(self, minor: int) -> int:
        """Interface number of the IFB for a class that duplicates."""
        return self.number << 16 | minor

    def box_action(self, minor: int) -> int:
        return self.number << 16 | minor


def wan_name(host: Host) -> str:
    return f"w{host.index}"


def index_of(name: str) -> int | None:
    """The host's index that an interface of the wan namespace belongs to, if it is a veth's end."""
    return int(name[1:]) if name[:1] == "w" and name[1:].isdigit() else None


def strip() -> bytes:
    """The action that takes the cuts out of a mark before it is taken for a class; one for all ports."""
    return tc_qdisc.mark(_STRIP, 0, PATTERN_MASK)


# --- coming and going ---


def enter_host(netns: Path, host: Host, wan: Netlink, mtu: int) -> Port:
    """Make the veth, its far end in the host's namespace, configured and up. OSError as the kernel has it."""
    handle = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        port = Port(host, None)
        mac, peer_mac = _mac(b"w", host), _mac(b"h", host)
        wan.do([tc_link.add_veth(wan_name(host), port.wan, mac, mtu, INTERFACE, peer_mac, handle)])
    finally:
        os.close(handle)
    try:
        port.network, port.eth0 = run_inside(netns, lambda: _configure(host, mac))
    except BaseException:
        wan.do([tc_link.delete(port.wan)])
        raise
    return port


def _configure(host: Host, gateway_mac: bytes) -> tuple[Netlink, int]:
    """Inside the host's namespace."""
    _no_ipv6(INTERFACE)
    tc_offload.segmentation_off(INTERFACE)
    index = socket.if_nametoindex(INTERFACE)
    netlink = Netlink()
    try:
        requests = [
            tc_link.set_up(socket.if_nametoindex("lo")),
            tc_link.add_address(index, host.address),
            tc_link.set_up(index),
            tc_link.add_neighbour(index, GATEWAY, gateway_mac),
            tc_link.add_default_route(index, GATEWAY),
        ]
        netlink.do(requests)
    except BaseException:
        netlink.close()
        raise
    return netlink, index


def found_again(host: Host, netns: Path) -> Port:
    """The port of a host that another process attached; its own queue's counters are told if its namespace is at `netns`."""
    port = Port(host, None)
    with suppress(OSError):
        port.network, port.eth0 = run_inside(netns, lambda: (Netlink(), socket.if_nametoindex(INTERFACE)))
    return port


def first_requests(port: Port, mtu: int) -> Iterator[Request]:
    """In the wan namespace, after `enter_host`: everything that never changes."""
    host, wan, delays = port.host, port.wan, port.delays
    yield tc_link.add_ifb(f"d{host.index}", delays, mtu, _IFB_QUEUE)
    yield tc_qdisc.htb(delays, HANDLE)
    yield tc_qdisc.mark_is_class(delays, HANDLE, _PRIORITY_CLASS)
    yield tc_qdisc.clsact(wan)
    yield tc_qdisc.set_action(tc_qdisc.drop(port.number))
    yield tc_qdisc.match_all(wan, INGRESS, _PRIORITY_REST, _marking(port, 0))
    yield tc_qdisc.match_all(wan, EGRESS, _PRIORITY_REST, strip(), tc_qdisc.redirect(port.number, delays))


def last_requests(port: Port) -> Iterator[Request]:
    """Open the way, both ways, once everything else is there."""
    yield tc_link.set_up(port.wan)
    yield tc_link.add_neighbour(port.wan, port.host.address, _mac(b"h", port.host))
    yield tc_link.add_host_route(port.wan, port.host.address)


def leave_requests(port: Port) -> Iterator[Request]:
    """Remove it all; what is in flight to the host goes with it."""
    yield tc_link.delete(port.wan)
    yield tc_link.delete(port.delays)
    for minor in sorted(port.boxes):
        yield tc_link.delete(port.box(minor))
        yield tc_qdisc.delete_action("mirred", port.box_action(minor))
    yield tc_qdisc.delete_action("gact", port.number)
    yield tc_qdisc.delete_action("skbedit", port.number)
    yield tc_qdisc.delete_action("mirred", port.number)


# --- changing what is in force ---


def set_down(port: Port, down: bool) -> Iterator[Request]:
    """Nothing from or to a host that is down."""
    for parent in (INGRESS, EGRESS):
        if down:
            yield tc_qdisc.match_all(port.wan, parent, _PRIORITY_DOWN, tc_qdisc.drop(port.number))
        else:
            yield tc_qdisc.delete_filter(port.wan, parent, _PRIORITY_DOWN, "matchall", 1)
    port.down = down


def set_tree(port: Port, tree: Tree, seed: int, mtu: int, proven: Container[NetemOptions]) -> Iterator[Request]:
    """Bring the classes to `tree`. Those no longer used stay, for what is in flight in them.

    The kernel sends back what it has set, except of the `proven` options.
    """
    before = port.tree
    if before is tree:
        return
    known = before.classes if before is not None else {}
    for minor, options in tree.classes.items():
        if known.get(minor) == options:
            continue
        if minor not in known:
            yield tc_qdisc.htb_class(port.delays, HANDLE, minor)
        index, handle, parent = place(port, minor, options)
        if options.duplicate and minor not in port.boxes:
            yield from _box(port, minor, mtu)
        encoded = encode(options, _seed(seed, port, minor))
        yield tc_qdisc.qdisc(index, KIND, handle, parent, encoded, echo=options not in proven)
    yield from _set_aliases(port, tree, before.aliases if before is not None else {})
    yield from _set_doubling(port, tree)
    port.tree = tree


def place(port: Port, minor: int, options: NetemOptions) -> tuple[int, int, int]:
    """Interface, handle and parent of a class's netem: a leaf of the common tree, or, if it duplicates, one by itself."""
    if options.duplicate:
        return port.box(minor), HANDLE, ROOT
    return port.delays, (minor + 1) << 16, HANDLE | minor


def _box(port: Port, minor: int, mtu: int) -> Iterator[Request]:
    """The IFB for a netem in a tree of its own, and the action that leads there."""
    yield tc_link.add_ifb(f"x{port.host.index}.{minor}", port.box(minor), mtu, _IFB_QUEUE)
    yield tc_qdisc.set_action(tc_qdisc.redirect(port.box_action(minor), port.box(minor)))
    port.boxes.add(minor)


def _set_aliases(port: Port, tree: Tree, before: Mapping[int, int]) -> Iterator[Request]:
    known = dict(before)
    for group, minor in tree.aliases.items():
        if known.pop(group, None) != minor:
            yield tc_qdisc.match_mark(
                port.delays, HANDLE, _PRIORITY_ALIAS, HANDLE | group, CLASS_MASK, classid=HANDLE | minor
            )  # fmt: skip
    for group in known:
        yield tc_qdisc.delete_filter(port.delays, HANDLE, _PRIORITY_ALIAS, "fw", HANDLE | group)


def _set_doubling(port: Port, tree: Tree) -> Iterator[Request]:
    """Send the groups whose class duplicates through its IFB, and only those."""
    groups = {minor: minor for minor in tree.classes} | dict(tree.aliases)
    doubling = frozenset(group for group, minor in groups.items() if tree.classes[minor].duplicate)
    for group in doubling - port.doubling:
        minor = groups[group]
        action = tc_qdisc.redirect(port.box_action(minor), port.box(minor))
        yield tc_qdisc.match_mark(port.wan, EGRESS, _PRIORITY_DUPLICATE, HANDLE | group, CLASS_MASK, action)
    for group in port.doubling - doubling:
        yield tc_qdisc.delete_filter(port.wan, EGRESS, _PRIORITY_DUPLICATE, "fw", HANDLE | group)
    port.doubling = doubling


def set_mark(port: Port, mark: int) -> Iterator[Request]:
    """Mark what the host sends."""
    yield tc_qdisc.set_action(_marking(port, mark))
    port.mark = mark


def refuse(port: Port, patterns: frozenset[int]) -> Iterator[Request]:
    """Drop sources with these patterns too."""
    for pattern in sorted(patterns - port.refused):
        yield tc_qdisc.match_mark(port.wan, EGRESS, _PRIORITY_CUT, pattern, PATTERN_MASK, tc_qdisc.drop(port.number))
    port.refused |= patterns


def admit(port: Port, patterns: frozenset[int]) -> Iterator[Request]:
    """Drop sources with these patterns no longer."""
    for pattern in sorted(patterns & port.refused):
        yield tc_qdisc.delete_filter(port.wan, EGRESS, _PRIORITY_CUT, "fw", pattern)
    port.refused -= patterns


def forget(port: Port) -> Iterator[Request]:
    """Take away the filters that depend on the state, of a port that another process made."""
    for parent in (INGRESS, EGRESS):
        yield tc_qdisc.delete_filter(port.wan, parent, _PRIORITY_DOWN, "matchall", 1)
    for priority in (_PRIORITY_CUT, _PRIORITY_DUPLICATE):
        yield tc_qdisc.delete_filter(port.wan, EGRESS, priority, "fw", 0)
    yield tc_qdisc.delete_filter(port.delays, HANDLE, _PRIORITY_ALIAS, "fw", 0)


# --- counters ---


def counter_requests(port: Port) -> list[Request]:
    """In the wan namespace: the tree's and the down queue's qdiscs, and the leaves that reorder or duplicate."""
    requests = [tc_qdisc.get_qdisc(port.delays, HANDLE, ROOT), tc_qdisc.get_qdisc(port.wan, RATE_HANDLE, ROOT)]
    for minor, options in (port.tree.classes if port.tree else {}).items():
        if options.reorder and not options.duplicate:
            requests.append(tc_qdisc.get_qdisc(*place(port, minor, options)))
    return requests + [tc_qdisc.get_qdisc(port.box(minor), HANDLE, ROOT) for minor in sorted(port.boxes)]


def up_queue(port: Port) -> QueueStats:
    """The host's own up queue; nothing if it has none, or its namespace is gone."""
    if port.network is None:
        return QueueStats()
    with suppress(OSError):
        for answer in port.network.do([tc_qdisc.get_qdisc(port.eth0, RATE_HANDLE, ROOT)]):
            return tc_qdisc.read_qdisc(answer).stats
    return QueueStats()


# --- helpers ---


def _marking(port: Port, mark: int) -> bytes:
    return tc_qdisc.mark(port.number, mark, 0xFFFFFFFF, tc_qdisc.ACT_OK)


def _mac(end: bytes, host: Host) -> bytes:
    return b"\x02o" + end + host.index.to_bytes(3, "big")


def _seed(seed: int, port: Port, minor: int) -> int:
    """Different for every class of every receiver."""
    return (seed + port.number * 0x9E3779B97F4A7C15 + minor * 0xC2B2AE3D27D4EB4F) & 0xFFFFFFFFFFFFFFFF


def _no_ipv6(interface: str) -> None:
    """Spare the links router solicitations; a kernel without IPv6 has nothing to turn off, nor a container's read-only /proc."""
    with suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("1")
