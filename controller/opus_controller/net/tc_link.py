"""rtnetlink messages about interfaces: veth pairs, IFBs, addresses, routes, permanent neighbours, statistics."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from opus_controller.net.tc_netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    attributes,
    nested,
    text,
    u32,
)

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_NEWROUTE, _RTM_NEWNEIGH = 20, 24, 28

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGH = struct.Struct("=BxxxiHBB")
_STATS64 = struct.Struct("=8Q")

_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_TXQLEN, _IFLA_LINKINFO = 1, 3, 4, 13, 18
_IFLA_STATS64, _IFLA_NET_NS_FD, _IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES, _IFLA_GSO_MAX_SEGS = 23, 28, 31, 32, 40
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_RT_TABLE_MAIN, _RTPROT_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK = 254, 4, 0, 253
_RTN_UNICAST, _RTN_BLACKHOLE = 1, 6
_RTNH_F_ONLINK = 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_NUD_PERMANENT = 0x80
_NEW = NLM_F_CREATE | NLM_F_EXCL
_SET = NLM_F_CREATE | NLM_F_REPLACE


@dataclass(frozen=True, slots=True)
class LinkStats:
    """An interface's counters; bytes include the Ethernet header of every packet."""

    index: int
    name: str
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int


def add_veth(name: str, index: int, mac: bytes, mtu: int, peer: str, peer_mac: bytes, peer_netns: int) -> Request:
    """A veth pair, down: `name` here with interface number `index`, `peer` in the namespace of descriptor `peer_netns`.

    Packets of one segment at most: TCP has used software GSO since Linux 4.17 whatever the interface's features say, so
    the qdisc of the interface would still see 64 kB at a time.
    """
    there = _IFINFO.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, peer) + attribute(_IFLA_ADDRESS, peer_mac)
    there += u32(_IFLA_MTU, mtu) + u32(_IFLA_NET_NS_FD, peer_netns) + _one_queue() + _one_segment()
    info = nested(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, there)))
    here = text(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, mac) + u32(_IFLA_MTU, mtu) + _one_queue() + _one_segment()
    body = _IFINFO.pack(0, 0, index, 0, 0) + here + info
    return Request(_RTM_NEWLINK, _NEW, body, f"make veth {name}")


def add_ifb(name: str, index: int, mtu: int, queue_packets: int) -> Request:
    """An intermediate functional block, up."""
    body = _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP) + text(_IFLA_IFNAME, name) + u32(_IFLA_MTU, mtu)
    body += u32(_IFLA_TXQLEN, queue_packets) + _one_queue() + nested(_IFLA_LINKINFO, text(_INFO_KIND, "ifb"))
    return Request(_RTM_NEWLINK, _NEW, body, f"make ifb {name}")


def delete(index: int) -> Request:
    """Remove an interface; none is no error."""
    return Request(_RTM_DELLINK, 0, _IFINFO.pack(0, 0, index, 0, 0), f"remove interface {index}", (errno.ENODEV,))


def set_up(index: int) -> Request:
    return Request(_RTM_NEWLINK, 0, _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP), f"bring up interface {index}")


def all_links() -> Request:
    """For `Netlink.dump`; `stats` reads the answers."""
    return Request(_RTM_GETLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0), "list interfaces")


def stats(answer: bytes) -> LinkStats:
    """One interface of a dump."""
    index = _IFINFO.unpack_from(answer)[2]
    name, figures = "", (0,) * 8
    for kind, value in attributes(answer, _IFINFO.size):
        if kind == _IFLA_IFNAME:
            name = bytes(value).rstrip(b"\0").decode()
        elif kind == _IFLA_STATS64:
            figures = _STATS64.unpack_from(value)
    rx_packets, tx_packets, rx_bytes, tx_bytes, _, _, rx_dropped, tx_dropped = figures
    return LinkStats(index, name, rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped)


def add_address(index: int, address: str) -> Request:
    """address/32 on an interface."""
    raw = socket.inet_aton(address)
    body = _IFADDR.pack(socket.AF_INET, 32, 0, _SCOPE_UNIVERSE, index) + attribute(2, raw) + attribute(1, raw)
    return Request(_RTM_NEWADDR, _SET, body, f"give interface {index} the address {address}")


def add_host_route(index: int, address: str) -> Request:
    """address/32 lies behind an interface."""
    body = _route(32, _SCOPE_LINK, _RTN_UNICAST, 0) + attribute(_RTA_DST, socket.inet_aton(address)) + u32(_RTA_OIF, index)
    return Request(_RTM_NEWROUTE, _SET, body, f"route {address} to interface {index}")


def add_default_route(index: int, gateway: str) -> Request:
    """Everything else goes to `gateway`, which need not be in any of the interface's networks."""
    body = _route(0, _SCOPE_UNIVERSE, _RTN_UNICAST, _RTNH_F_ONLINK)
    body += attribute(_RTA_GATEWAY, socket.inet_aton(gateway)) + u32(_RTA_OIF, index)
    return Request(_RTM_NEWROUTE, _SET, body, f"set the default route of interface {index}")


def add_blackhole() -> Request:
    """What no other route takes is dropped in silence."""
    return Request(_RTM_NEWROUTE, _SET, _route(0, _SCOPE_UNIVERSE, _RTN_BLACKHOLE, 0), "set the blackhole route")


def add_neighbour(index: int, address: str, mac: bytes) -> Request:
    """A permanent neighbour: never asked for by ARP, never counted against the table's limits."""
    body = _NEIGH.pack(socket.AF_INET, index, _NUD_PERMANENT, 0, 0) + attribute(1, socket.inet_aton(address)) + attribute(2, mac)
    return Request(_RTM_NEWNEIGH, _SET, body, f"set neighbour {address}")


def _route(bits: int, scope: int, kind: int, flags: int) -> bytes:
    return _ROUTE.pack(socket.AF_INET, bits, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, kind, flags)


def _one_queue() -> bytes:
    return u32(_IFLA_NUM_TX_QUEUES, 1) + u32(_IFLA_NUM_RX_QUEUES, 1)


def _one_segment() -> bytes:
    return u32(_IFLA_GSO_MAX_SEGS, 1)
