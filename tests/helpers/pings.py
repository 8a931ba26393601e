"""What `ping` printed, in figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import comb
from statistics import median


@dataclass(frozen=True)
class Pings:
    sent: int
    rtt_ms: tuple[float, ...]
    """Of those that were answered."""

    @property
    def lost(self) -> int:
        return self.sent - len(self.rtt_ms)

    @property
    def least_ms(self) -> float:
        return min(self.rtt_ms)

    @property
    def median_ms(self) -> float:
        return median(self.rtt_ms)


def parse(text: str) -> Pings:
    """Output of iputils' or busybox' ping, not -q."""
    summary = re.search(r"(\d+) packets transmitted", text)
    assert summary is not None, text
    return Pings(int(summary[1]), tuple(float(ms) for ms in re.findall(r"time=([0-9.]+) ms", text)))


def plausible_losses(sent: int, probability: float, confidence: float = 0.9999) -> tuple[int, int]:
    """The fewest and the most of `sent` independent packets that are lost, with this confidence (exact binomial tails).

    By hand: an emulated machine would take longer to import a library for it than to ping.
    """
    chances = [comb(sent, lost) * probability**lost * (1 - probability) ** (sent - lost) for lost in range(sent + 1)]
    tail = (1 - confidence) / 2
    return _first_beyond(chances, tail), sent - _first_beyond(chances[::-1], tail)


def _first_beyond(chances: list[float], tail: float) -> int:
    """The first position up to which more than `tail` has come together."""
    together = 0.0
    for position, chance in enumerate(chances):
        together += chance
        if together > tail:
            return position
    return len(chances) - 1
