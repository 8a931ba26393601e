"""What a packet meets between two hosts: the path's shape, and the access link at either end.

All delays are one way and in integer nanoseconds; all shares are in [0, 1]; all rates in bits per second of IP packets
(headers from IP up count, link framing does not: the emulated links have none).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LEAST_QUEUE_BYTES = 10 * 1500
"""Of a link that a fault has made slower, and of one whose queue nothing is said of."""
DEFAULT_QUEUE_NS = 100_000_000
"""Of a rate of which no more is said: no queue is unbounded."""

Share = Field(default=0.0, ge=0.0, le=1.0)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BurstLoss(Frozen):
    """Gilbert-Elliott loss: a two-state Markov chain stepped once a packet (tc-netem(8), `loss gemodel p r 1-h 1-k`)."""

    p: float = Field(ge=0.0, le=1.0)
    """Probability of going from the good state to the bad one."""
    r: float = Field(gt=0.0, le=1.0)
    """Probability of going from bad back to good; the mean burst is 1/r packets."""
    loss_bad: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of packets lost in the bad state (1-h)."""
    loss_good: float = Share
    """Share of packets lost in the good state (1-k)."""

    @property
    def mean(self) -> float:
        """Long-run share of packets lost."""
        if self.p == 0:
            return self.loss_good
        bad = self.p / (self.p + self.r)
        return bad * self.loss_bad + (1 - bad) * self.loss_good

    def beside(self, loss: float) -> BurstLoss:
        """The same chain where packets are lost independently as well, whatever state it is in: a packet passes if both let
        it pass. Exact, and what either kind of links can carry."""
        if not loss:
            return self  # to the last bit
        lost = {"loss_bad": 1 - (1 - self.loss_bad) * (1 - loss), "loss_good": 1 - (1 - self.loss_good) * (1 - loss)}
        return self.model_copy(update=lost)


class PathShape(Frozen):
    """One direction of a path between two sites (or two hosts), access links not included."""

    delay_ns: int = Field(default=0, ge=0)
    jitter_ns: int = Field(default=0, ge=0)
    """netem's jitter: the standard deviation for normal and paretonormal (0.82 of it for pareto), half the width for uniform."""
    distribution: Literal["uniform", "normal", "pareto", "paretonormal"] = "normal"
    keep_order: bool = False
    """Jitter reorders packets unless this is set (a packet then leaves no earlier than the one before it)."""
    loss: float = Share
    """Independent loss."""
    burst: BurstLoss | None = None
    """Bursty loss, instead of the independent one."""
    duplicate: float = Share
    reorder: float = Share
    """Share of packets that skip the delay (netem's reorder): they overtake those before them."""
    corrupt: float = Share
    """Share of packets with one bit flipped."""

    @property
    def loss_mean(self) -> float:
        return self.burst.mean if self.burst is not None else self.loss

    @property
    def delay_only(self) -> bool:
        """Whether whole segmentation-offload packets may cross unsplit: nothing is decided packet by packet."""
        return not (self.jitter_ns or self.loss_mean or self.duplicate or self.reorder or self.corrupt)


class ShapeChange(Frozen):
    """What a fault changes of a path, whatever it is by then: some values put in their place, others put on top."""

    put: Mapping[str, Any] = {}
    """Fields of PathShape by name."""
    add_delay_ns: int = Field(default=0, ge=0)
    add_jitter_ns: int = Field(default=0, ge=0)
    add_loss: float = Share
    add_duplicate: float = Share
    add_reorder: float = Share
    add_corrupt: float = Share
    """Shares add up, to at most 1. Independent loss beside a bursty one is a second chance to be lost in either state."""

    def on(self, shape: PathShape) -> PathShape:
        """`shape` changed."""
        shape = PathShape.model_validate({**shape.model_dump(), **self.put})
        return shape.model_copy(
            update={
                "delay_ns": shape.delay_ns + self.add_delay_ns,
                "jitter_ns": shape.jitter_ns + self.add_jitter_ns,
                "loss": min(1.0, shape.loss + self.add_loss) if shape.burst is None else shape.loss,
                "burst": None if shape.burst is None else shape.burst.beside(self.add_loss),
                "duplicate": min(1.0, shape.duplicate + self.add_duplicate),
                "reorder": min(1.0, shape.reorder + self.add_reorder),
                "corrupt": min(1.0, shape.corrupt + self.add_corrupt),
            }
        )


def composed(shape: PathShape, changes: Iterable[ShapeChange]) -> PathShape:
    """`shape` after all `changes`, the oldest first."""
    for change in changes:
        shape = change.on(shape)
    return shape


class HostChange(Frozen):
    """What a fault takes from a host. Several come together in any order: shares multiply, of limits the least counts."""

    cpu: float = Field(default=1.0, gt=0.0, le=1.0)
    """The share that is left of its processor."""
    memory: int | None = Field(default=None, gt=0)
    """Bytes that it may use at most."""
    up_bps: int | None = Field(default=None, gt=0)
    down_bps: int | None = Field(default=None, gt=0)
    """Rates of its access link, at most; the queue holds as long as before."""
    clock_ns: int = 0
    """How far its clock is ahead; negative: behind. Several add up."""
    drift_ppm: int = Field(default=0, gt=-1_000_000)
    """How much too fast its clock runs, in millionths. Several add up."""
    disk: int | None = Field(default=None, ge=0)
    """Bytes that its disk holds at most; where there are more, they stay, and no more come."""
    write_bps: int | None = Field(default=None, gt=0)
    """Rate at which its disk takes what is written, at most."""

    def __and__(self, other: HostChange) -> HostChange:
        return HostChange(
            cpu=self.cpu * other.cpu,
            memory=_least(self.memory, other.memory),
            up_bps=_least(self.up_bps, other.up_bps),
            down_bps=_least(self.down_bps, other.down_bps),
            clock_ns=self.clock_ns + other.clock_ns,
            drift_ppm=self.drift_ppm + other.drift_ppm,
            disk=_least(self.disk, other.disk),
            write_bps=_least(self.write_bps, other.write_bps),
        )

    @property
    def within(self) -> bool:
        """Whether it is about the host itself, and not its access link alone."""
        return self.model_copy(update={"up_bps": None, "down_bps": None}) != NOTHING_TAKEN

    def on(self, access: AccessLink) -> AccessLink:
        """The access link that is left."""
        return access.model_copy(update={"up": access.up.limited(self.up_bps), "down": access.down.limited(self.down_bps)})


NOTHING_TAKEN = HostChange()


def _least(a: int | None, b: int | None) -> int | None:
    return min((limit for limit in (a, b) if limit is not None), default=None)


class Direction(Frozen):
    """One direction of an access link: a token-bucket rate in front of a queue. No rate: no queue either."""

    rate_bps: int | None = Field(default=None, gt=0)
    queue_bytes: int | None = Field(default=None, gt=0)
    """Bytes that may wait; what comes beyond is dropped and counted. Compiled from "256KiB" or from "100ms" at the rate."""

    @property
    def may_wait(self) -> int:
        """Bytes before the rate: as told, or the default."""
        return self.queue_bytes or max(LEAST_QUEUE_BYTES, (self.rate_bps or 0) * DEFAULT_QUEUE_NS // 8_000_000_000)

    def limited(self, rate_bps: int | None) -> Direction:
        """With this rate at most. What waits, waits as long as before; where nothing did, as the links' own default has it."""
        if rate_bps is None or (self.rate_bps is not None and self.rate_bps <= rate_bps):
            return self
        if self.rate_bps is None or self.queue_bytes is None:
            return Direction(rate_bps=rate_bps)
        return Direction(rate_bps=rate_bps, queue_bytes=max(LEAST_QUEUE_BYTES, self.queue_bytes * rate_bps // self.rate_bps))


class AccessLink(Frozen):
    """How a group's hosts hang on their site. The bottleneck of a path is one of its two access links."""

    delay_ns: int = Field(default=0, ge=0)
    """One way, in each direction."""
    loss: float = Share
    """Independent, in each direction."""
    up: Direction = Direction()
    down: Direction = Direction()
