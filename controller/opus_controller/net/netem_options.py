"""What one netem qdisc is asked to do: a path with the access links at both ends folded in, and its netlink form.

    delay       source access + path + target access             loss   what is left after three independent chances
    burst       the chain steps as the path's; the access links' losses are added to both of its states

Everything is stated every time. A change that leaves an attribute out keeps the old value for most of them (delay
table, corrupt, rate) and resets it for others (loss model), and none can be taken away; so "no jitter" is a jitter of
zero, and uniform is a table like the others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from opus_controller.model.errors import PlatformError
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.net.tc_netlink import attribute, attributes, nested
from opus_controller.net.userspace_jitter import table

KIND = "netem"

_QOPT = struct.Struct("=6I")
_GEMODEL = struct.Struct("=4I")
_TWO = struct.Struct("=II")
_RATE = struct.Struct("=IiIi")
_TICK_NS = 64

_CORR, _DELAY_DIST, _REORDER, _CORRUPT, _LOSS, _RATE_ATTRIBUTE = 1, 2, 3, 4, 5, 6
_LATENCY64, _JITTER64, _PRNG_SEED = 10, 11, 14
_LOSS_GILBERT_ELLIOTT = 2

_ALL = 0xFFFFFFFF
_IN_ORDER_RATE = 4_000_000_000
"""Bytes/s: netem's own rate keeps packets in order, and at this one costs a large packet 0.4 µs."""
LONGEST_JITTER_NS = (1 << 31) - 1
"""The kernel takes jitter as a signed 32-bit number."""

SMALLEST_LIMIT = 2_000
LARGEST_LIMIT = 250_000
_SMALL_PACKET_BITS = 64 * 8
_ENCODED = 2048
"""Encoded options that are kept, of 8 kB each at most."""


@dataclass(frozen=True, slots=True)
class NetemOptions:
    """Times in ns, shares in [0, 1]. `limit`: packets that may be under way at once."""

    delay_ns: int = 0
    jitter_ns: int = 0
    distribution: str = "uniform"
    keep_order: bool = False
    loss: float = 0.0
    burst: tuple[float, float, float, float] | None = None
    """p, r, loss in the bad state, loss in the good state; then `loss` is 0."""
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    limit: int = SMALLEST_LIMIT

    @property
    def loses(self) -> bool:
        return bool(self.loss or self.burst)


def combine(source: AccessLink, shape: PathShape, target: AccessLink) -> NetemOptions:
    """What a packet meets between two hosts. PlatformError for what the kernel's netem cannot do."""
    if shape.jitter_ns > LONGEST_JITTER_NS:
        raise PlatformError(f"netem's jitter ends at 2147 ms, {shape.jitter_ns / 1e6:.0f} ms asked; use --links userspace")
    kept = (1 - source.loss) * (1 - target.loss)
    burst = None
    if shape.burst is not None:
        b = shape.burst
        burst = (b.p, b.r, 1 - kept * (1 - b.loss_bad), 1 - kept * (1 - b.loss_good))
    return NetemOptions(
        delay_ns=source.delay_ns + shape.delay_ns + target.delay_ns,
        jitter_ns=shape.jitter_ns,
        distribution=shape.distribution if shape.jitter_ns else "uniform",
        keep_order=shape.keep_order and bool(shape.jitter_ns),
        loss=0.0 if burst else 1 - kept * (1 - shape.loss),
        burst=burst,
        duplicate=shape.duplicate,
        reorder=shape.reorder,
        corrupt=shape.corrupt,
    )


def with_limit(options: NetemOptions, rate_bps: int | None) -> NetemOptions:
    """With room for all the packets that senders of `rate_bps` together (None: unlimited) have under way.

    The kernel's default of 1,000 would drop from 1,000 / delay packets a second on: of 100 Mbit/s in small packets at
    200 ms, 97%. Counted in packets of 64 bytes; the room costs nothing until it is used.
    """
    longest = options.delay_ns + 4 * options.jitter_ns
    limit = LARGEST_LIMIT
    if rate_bps is not None:
        limit = min(LARGEST_LIMIT, SMALLEST_LIMIT + rate_bps * longest // (_SMALL_PACKET_BITS * 1_000_000_000))
    return replace(options, limit=limit)


def encode(options: NetemOptions, seed: int) -> bytes:
    """TCA_OPTIONS of the qdisc. `seed` (64 bits) makes the draws repeatable where the kernel is 6.6 or newer."""
    return _encode(options) + attribute(_PRNG_SEED, struct.pack("=Q", seed))


@lru_cache(_ENCODED)
def _encode(options: NetemOptions) -> bytes:
    """All but the seed: the same for every receiver at a site."""
    ticks = min(_ALL, options.delay_ns // _TICK_NS)
    jitter_ticks = min(_ALL, options.jitter_ns // _TICK_NS)
    gap = 1 if options.reorder else 0
    head = _QOPT.pack(ticks, options.limit, share(options.loss), gap, share(options.duplicate), jitter_ticks)
    rate = _IN_ORDER_RATE if options.keep_order else 0
    parts = [
        head,
        attribute(_CORR, struct.pack("=3I", 0, 0, 0)),
        attribute(_REORDER, _TWO.pack(share(options.reorder), 0)),
        attribute(_CORRUPT, _TWO.pack(share(options.corrupt), 0)),
        attribute(_RATE_ATTRIBUTE, _RATE.pack(rate, 0, 0, 0)),
        attribute(_LATENCY64, struct.pack("=q", options.delay_ns)),
        attribute(_JITTER64, struct.pack("=q", options.jitter_ns)),
    ]
    if options.burst is not None:
        parts.append(nested(_LOSS, attribute(_LOSS_GILBERT_ELLIOTT, _gemodel(options.burst))))
    if options.jitter_ns:
        parts.append(_table(options.distribution))
    return b"".join(parts)


def refused(asked: NetemOptions, accepted: bytes) -> list[str]:
    """What of `asked` is not in the options that the kernel reads back: "loss asked 0.1, set 0" and so on.

    The table of the distribution is never read back; only packets prove it.
    """
    got = decode(accepted)
    wanted: dict[str, object] = {
        "delay": asked.delay_ns,
        "jitter": asked.jitter_ns,
        "limit": asked.limit,
        "loss": share(asked.loss),
        "burst": _gemodel(asked.burst) if asked.burst else b"",
        "duplicate": share(asked.duplicate),
        "reorder": share(asked.reorder),
        "corrupt": share(asked.corrupt),
        "rate": _IN_ORDER_RATE if asked.keep_order else 0,
    }
    return [f"{name} asked {value!r}, set {got[name]!r}" for name, value in wanted.items() if got[name] != value]


def decode(options: bytes) -> dict[str, object]:
    """The parameters in TCA_OPTIONS, as the kernel has them: ns, packets, shares of 2^32 - 1, bytes/s."""
    latency, limit, loss, _, duplicate, jitter = _QOPT.unpack_from(options)
    found: dict[str, object] = {
        "delay": latency * _TICK_NS, "jitter": jitter * _TICK_NS, "limit": limit, "loss": loss, "burst": b"",
        "duplicate": duplicate, "reorder": 0, "corrupt": 0, "rate": 0, "seed": None,
    }  # fmt: skip
    for kind, value in attributes(options, _QOPT.size):
        if kind == _LATENCY64:
            found["delay"] = struct.unpack_from("=q", value)[0]
        elif kind == _JITTER64:
            found["jitter"] = struct.unpack_from("=q", value)[0]
        elif kind == _REORDER:
            found["reorder"] = _TWO.unpack_from(value)[0]
        elif kind == _CORRUPT:
            found["corrupt"] = _TWO.unpack_from(value)[0]
        elif kind == _RATE_ATTRIBUTE:
            found["rate"] = _RATE.unpack_from(value)[0]
        elif kind == _PRNG_SEED:
            found["seed"] = struct.unpack_from("=Q", value)[0]
        elif kind == _LOSS:
            models = dict(attributes(value))
            if _LOSS_GILBERT_ELLIOTT in models:
                found["burst"] = bytes(models[_LOSS_GILBERT_ELLIOTT])
    return found


def share(value: float) -> int:
    """A share as the kernel has it: of 2^32 - 1."""
    return round(value * _ALL)


def _gemodel(burst: tuple[float, float, float, float]) -> bytes:
    """struct tc_netem_gemodel. Its h is the share that gets *through* in the bad state, its k1 the share lost in the good one."""
    p, r, loss_bad, loss_good = burst
    return _GEMODEL.pack(share(p), share(r), share(1 - loss_bad), share(loss_good))


@cache
def _table(distribution: str) -> bytes:
    return attribute(_DELAY_DIST, struct.pack("=4096h", *table(distribution)))
