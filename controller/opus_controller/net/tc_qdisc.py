"""rtnetlink messages about queueing: qdiscs, HTB classes, filters, actions, and their counters.

Everything is asked for with CREATE and REPLACE: the same message makes an object or changes it in place, and a change in
place keeps the packets it holds. So a change must restate every parameter.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from opus_controller.net.tc_netlink import (
    NLM_F_CREATE,
    NLM_F_ECHO,
    NLM_F_REPLACE,
    Request,
    attribute,
    attributes,
    nested,
    text,
    u32,
)

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_GETQDISC = 36, 37, 38
_RTM_NEWTCLASS, _RTM_NEWTFILTER, _RTM_DELTFILTER = 40, 44, 45
_RTM_NEWACTION, _RTM_DELACTION, _RTM_GETACTION = 48, 49, 50
_SET = NLM_F_CREATE | NLM_F_REPLACE

ROOT = 0xFFFFFFFF
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
"""Where clsact's filters hang: on packets that come in by an interface, and that go out."""
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000

_TCMSG = struct.Struct("=BxxxiIII")
_KIND, _OPTIONS, _STATS2, _STAB = 1, 2, 7, 8
_RATESPEC = struct.Struct("=BBHhHI")
_ETHERNET = 1
"""TC_LINKLAYER_ETHERNET; without it the kernel asks for a rate table."""
ETHERNET_HEADER = 14
_ETH_P_ALL = 3
_TICK_NS = 64
_U32 = 0xFFFFFFFF

_UNLIMITED = 12_500_000_000
"""Bytes/s of an HTB class that is there to classify, not to shape: 100 Gbit/s."""
_HTB_VERSION = 3
_QUANTUM = 60_000
ACT_OK, ACT_SHOT, ACT_PIPE, ACT_STOLEN = 0, 2, 3, 4
_GEN = struct.Struct("=IIiii")
_EGRESS_REDIRECT = 1


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counters of a qdisc or an action."""

    packets: int = 0
    bytes: int = 0
    drops: int = 0
    requeues: int = 0
    """netem: packets sent ahead by its reorder."""
    overlimits: int = 0
    """mirred: packets that the qdisc behind it refused."""
    backlog: int = 0
    queued: int = 0
    """Packets in it now."""


@dataclass(frozen=True, slots=True)
class Qdisc:
    """A qdisc as the kernel describes it."""

    index: int
    """Of the interface."""
    handle: int
    parent: int
    kind: str
    options: bytes
    stats: QueueStats


# --- qdiscs ---


def qdisc(
    index: int, kind: str, handle: int, parent: int, options: bytes, *, ip_bytes: bool = False, echo: bool = False
) -> Request:
    """Make a qdisc or change it. `ip_bytes`: lengths do not count the Ethernet header. `echo`: it comes back as accepted."""
    body = _tc(index, handle, parent, 0) + text(_KIND, kind) + attribute(_OPTIONS, options)
    if ip_bytes:
        body += nested(_STAB, attribute(1, struct.pack("=BBhiIIII", 0, 0, 0, -ETHERNET_HEADER, _ETHERNET, 0, 0, 0)))
    flags = _SET | (NLM_F_ECHO if echo else 0)
    return Request(_RTM_NEWQDISC, flags, body, f"set {kind} {handle >> 16:x}: on interface {index}")


def clsact(index: int) -> Request:
    """The place for filters on an interface."""
    body = _tc(index, _CLSACT_HANDLE, _CLSACT, 0) + text(_KIND, "clsact")
    return Request(_RTM_NEWQDISC, _SET, body, f"set clsact on interface {index}")


def delete_qdisc(index: int, parent: int = ROOT) -> Request:
    """Remove a qdisc with what it holds; none is no error."""
    body = _tc(index, 0, parent, 0)
    return Request(_RTM_DELQDISC, 0, body, f"remove a qdisc of interface {index}", (errno.ENOENT, errno.ENODEV, errno.EINVAL))


def get_qdisc(index: int, handle: int, parent: int) -> Request:
    """Its answer is for `read_qdisc`; no answer if there is none such."""
    body = _tc(index, handle, parent, 0)
    return Request(_RTM_GETQDISC, NLM_F_ECHO, body, f"read qdisc {handle >> 16:x}:", (errno.ENOENT, errno.ENODEV, errno.EINVAL))


def all_qdiscs() -> Request:
    """For `Netlink.dump`: those of every interface in the namespace."""
    return Request(_RTM_GETQDISC, 0, _tc(0, 0, 0, 0), "list qdiscs")


def read_qdisc(answer: bytes) -> Qdisc:
    """A qdisc from an answer, an echo or a dump."""
    _, index, handle, parent, _ = _TCMSG.unpack_from(answer)
    kind, options, stats = "", b"", QueueStats()
    for number, value in attributes(answer, _TCMSG.size):
        if number == _KIND:
            kind = bytes(value).rstrip(b"\0").decode()
        elif number == _OPTIONS:
            options = bytes(value)
        elif number == _STATS2:
            stats = _stats(value)
    return Qdisc(index, handle, parent, kind, options, stats)


def tbf(index: int, handle: int, rate_bps: int, queue_bytes: int, burst_bytes: int, *, echo: bool = False) -> Request:
    """Token bucket at the root: `rate_bps` of IP packets, a queue of `queue_bytes` of them. `echo`: it comes back as accepted."""
    rate = rate_bps // 8
    spec = _RATESPEC.pack(0, _ETHERNET, 0, 0, 0, min(rate, _U32))
    buffer = min(_U32, burst_bytes * 1_000_000_000 // rate // _TICK_NS)
    parameters = spec + _RATESPEC.pack(0, _ETHERNET, 0, 0, 0, 0) + struct.pack("=III", queue_bytes, buffer, 0)
    options = attribute(1, parameters) + attribute(4, struct.pack("=Q", rate)) + u32(6, burst_bytes)
    return qdisc(index, "tbf", handle, ROOT, options, ip_bytes=True, echo=echo)


def read_tbf(options: bytes) -> tuple[int, int]:
    """(rate in bits per second, queue in bytes) of a token bucket's options, as asked for or as the kernel tells them."""
    rate = queue = 0
    for kind, value in attributes(options):
        if kind == 1:
            rate, queue = max(rate, _RATESPEC.unpack_from(value)[5]), struct.unpack_from("=I", value, 2 * _RATESPEC.size)[0]
        elif kind == 4:
            rate = struct.unpack_from("=Q", value)[0]
    return 8 * rate, queue


def htb(index: int, handle: int) -> Request:
    """HTB at the root, to sort packets into classes."""
    return qdisc(index, "htb", handle, ROOT, attribute(2, struct.pack("=IIIII", _HTB_VERSION, 10, 0, 0, 0)))


def htb_class(index: int, handle: int, minor: int) -> Request:
    """A class without a limit to speak of."""
    spec = _RATESPEC.pack(0, _ETHERNET, 0, 0, 0, _U32)
    ticks = 1_000_000 // _TICK_NS
    parameters = spec + spec + struct.pack("=IIIII", ticks, ticks, _QUANTUM, 0, 0)
    rate = struct.pack("=Q", _UNLIMITED)
    body = _tc(index, handle | minor, handle, 0) + text(_KIND, "htb")
    body += nested(_OPTIONS, attribute(1, parameters), attribute(6, rate), attribute(7, rate))
    return Request(_RTM_NEWTCLASS, _SET, body, f"set class {minor:x} on interface {index}")


# --- actions ---


def drop(number: int) -> bytes:
    """Action: drop it. Filters that name the same `number` share the action and its counters."""
    return _action("gact", attribute(2, _GEN.pack(number, 0, ACT_SHOT, 0, 0)))


def mark(number: int, value: int, mask: int, then: int = ACT_PIPE) -> bytes:
    """Action: set the bits of `mask` in the packet's mark to those of `value`."""
    options = attribute(2, _GEN.pack(number, 0, then, 0, 0)) + u32(5, value) + u32(8, mask)
    return _action("skbedit", options)


def redirect(number: int, index: int) -> bytes:
    """Action: let it go out by another interface."""
    return _action("mirred", attribute(2, _GEN.pack(number, 0, ACT_STOLEN, 0, 0) + struct.pack("=iI", _EGRESS_REDIRECT, index)))


def set_action(action: bytes) -> Request:
    """Make an action by itself, which lives on without filters, or change it under the filters that use it."""
    return Request(_RTM_NEWACTION, _SET, _tca() + nested(1, attribute(1 | 0x8000, action)), "set an action")


def delete_action(kind: str, number: int) -> Request:
    """Remove an action that no filter uses; none is no error."""
    body = _tca() + nested(1, nested(1, text(1, kind), u32(3, number)))
    return Request(_RTM_DELACTION, 0, body, f"remove action {kind} {number}", (errno.ENOENT,))


def all_actions(kind: str) -> Request:
    """For `Netlink.dump`; `read_actions` reads the answers."""
    body = _tca() + nested(1, nested(1, text(1, kind))) + attribute(2, struct.pack("=II", 1, 1))
    return Request(_RTM_GETACTION, 0, body, f"list {kind} actions")


def read_actions(answer: bytes) -> Iterator[tuple[int, QueueStats]]:
    """(number, counters) of the actions in one message of a dump."""
    for kind, table in attributes(answer, 4):
        if kind != 1:
            continue
        for _, action in attributes(table):
            number, stats = 0, QueueStats()
            for part, value in attributes(action):
                if part == 2:
                    number = next(
                        (struct.unpack_from("=I", parms)[0] for k, parms in attributes(value) if k == 2), 0
                    )  # fmt: skip
                elif part == 4:
                    stats = _stats(value)
            yield number, stats


# --- filters ---


def match_all(index: int, parent: int, priority: int, *actions: bytes) -> Request:
    """Filter: every packet. It cannot be replaced: one that is there already stays, change its actions instead."""
    return replace(_filter(index, parent, priority, 1, "matchall", _actions(2, actions)), ignore=(errno.EEXIST,))


def match_mark(
    index: int, parent: int, priority: int, value: int, mask: int, *actions: bytes, classid: int | None = None
) -> Request:
    """Filter: packets whose mark under `mask` is `value`. A hash table; all of one priority share the mask."""
    options = (u32(1, classid) if classid is not None else b"") + u32(5, mask)
    return _filter(index, parent, priority, value, "fw", options + (_actions(4, actions) if actions else b""))


def mark_is_class(index: int, parent: int, priority: int) -> Request:
    """Filter: the packet's mark is the class it belongs to (cls_fw without any rule of its own)."""
    body = _tc(index, 0, parent, priority << 16 | socket.htons(_ETH_P_ALL)) + text(_KIND, "fw")
    return Request(_RTM_NEWTFILTER, NLM_F_CREATE, body, f"set the mark's filter on interface {index}", (errno.EEXIST,))


def delete_filter(index: int, parent: int, priority: int, kind: str, handle: int) -> Request:
    """Remove one filter; none is no error."""
    body = _tc(index, handle, parent, priority << 16 | socket.htons(_ETH_P_ALL)) + text(_KIND, kind)
    what = f"remove a filter of interface {index}"
    return Request(_RTM_DELTFILTER, 0, body, what, (errno.ENOENT, errno.ENODEV, errno.EINVAL))


def _filter(index: int, parent: int, priority: int, handle: int, kind: str, options: bytes) -> Request:
    body = _tc(index, handle, parent, priority << 16 | socket.htons(_ETH_P_ALL)) + text(_KIND, kind)
    body += attribute(_OPTIONS | 0x8000, options)
    return Request(_RTM_NEWTFILTER, _SET, body, f"set a {kind} filter on interface {index}")


# --- helpers ---


def _tc(index: int, handle: int, parent: int, info: int) -> bytes:
    return _TCMSG.pack(0, index, handle, parent, info)


def _tca() -> bytes:
    return struct.pack("=Bxxx", 0)


def _action(kind: str, options: bytes) -> bytes:
    return text(1, kind) + attribute(2 | 0x8000, options)


def _actions(kind: int, actions: tuple[bytes, ...]) -> bytes:
    return nested(kind, *(attribute(i | 0x8000, action) for i, action in enumerate(actions, 1)))


def _stats(value: memoryview) -> QueueStats:
    size = packets = 0
    queue = (0, 0, 0, 0, 0)
    for kind, part in attributes(value):
        if kind == 1:
            size, packets = struct.unpack_from("=QI", part)
        elif kind == 3:
            queue = struct.unpack_from("=5I", part)
        elif kind == 8:
            packets = struct.unpack_from("=Q", part)[0]
    queued, backlog, drops, requeues, overlimits = queue
    return QueueStats(packets, size, drops, requeues, overlimits, backlog, queued)
