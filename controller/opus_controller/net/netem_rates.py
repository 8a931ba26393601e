"""The rates of a host's access link with netem links: a token bucket at its eth0 (up), one before it in the wan namespace (down).

A change in place keeps what waits. So a bucket that is no longer wanted stays, and lets everything pass: with it would go its
queue. What the kernel sends back is held against what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opus_controller.model.errors import PlatformError
from opus_controller.model.shapes import Direction
from opus_controller.net import tc_qdisc
from opus_controller.net.netem_port import RATE_HANDLE, Port
from opus_controller.net.tc_netlink import Netlink, Request

ANY_BPS = 100_000_000_000
"""Of a bucket that is not wanted any more."""
_ANY_QUEUE = 64 << 20
_BURST_NS = 4_000_000


def set_rates(ports: Iterable[Port], wan: Netlink) -> None:
    """Bring the access links of these ports to what their hosts are to have. PlatformError if the kernel makes something else of
    it, OSError as the kernel has it. A host whose namespace is out of reach gets its up rate when it is attached."""
    changed = [port for port in ports if port.access != port.host.access]
    for port in changed:
        if port.network is not None:
            before = port.access.up if port.access is not None else None
            _done(port.network, _change(port.eth0, before, port.host.access.up, f"{port.host.name}'s up rate"))
    downs = (
        change
        for port in changed
        for change in _change(
            port.wan,
            port.access.down if port.access is not None else None,
            port.host.access.down,
            f"{port.host.name}'s down rate",
        )
    )
    _done(wan, downs)
    for port in changed:
        port.access = port.host.access


def _change(index: int, before: Direction | None, asked: Direction, what: str) -> Iterator[tuple[Request, str]]:
    """`before`: what is in force; None: not known."""
    if before == asked:
        return
    if asked.rate_bps is not None:
        yield _bucket(index, asked.rate_bps, asked.may_wait), what
    elif before is None:
        yield tc_qdisc.delete_qdisc(index), what
    else:
        yield _bucket(index, ANY_BPS, _ANY_QUEUE), what


def _bucket(index: int, rate_bps: int, queue: int) -> Request:
    return tc_qdisc.tbf(index, RATE_HANDLE, rate_bps, queue, burst(rate_bps), echo=True)


def _done(netlink: Netlink, changes: Iterable[tuple[Request, str]]) -> None:
    """Have them carried out, and hold what comes back against what went."""
    made = list(changes)
    asked = {request.body: what for request, what in made}
    accepted = {
        (found.index, tc_qdisc.read_tbf(found.options))
        for found in map(tc_qdisc.read_qdisc, netlink.do(request for request, _ in made))
        if found.kind == "tbf"
    }
    for body, what in asked.items():
        wanted = tc_qdisc.read_qdisc(body)
        if wanted.kind == "tbf" and (wanted.index, tc_qdisc.read_tbf(wanted.options)) not in accepted:
            raise PlatformError(f"the kernel did not accept {what}; use --links userspace")


def in_force(index: int, netlink: Netlink) -> Direction:
    """As the kernel tells it now: the rate and the queue of an interface."""
    for answer in netlink.do([tc_qdisc.get_qdisc(index, RATE_HANDLE, tc_qdisc.ROOT)]):
        found = tc_qdisc.read_qdisc(answer)
        if found.kind == "tbf":
            rate, queue = tc_qdisc.read_tbf(found.options)
            return Direction(rate_bps=rate, queue_bytes=queue) if rate != ANY_BPS else Direction()
    return Direction()


def burst(rate_bps: int) -> int:
    """Bytes that may pass at once after silence: two large packets, or what makes up for timers that are 4 ms late."""
    return max(2 * 1514, rate_bps * _BURST_NS // 8_000_000_000)
