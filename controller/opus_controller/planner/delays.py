"""How long the overlay takes, as measured in the simulator by `opus bench availability --rows delays`."""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000_000
_MS = 1_000_000


@dataclass(frozen=True)
class Delays:
    """Nanoseconds."""

    died: int = 3200 * _MS
    """From a member's death until another keeps the data in its place."""
    cut: int = 4900 * _MS
    """The same where it is cut off ..."""
    headless: int = 5200 * _MS
    """... and where the steward is, too, or has died."""
    found: int = 7000 * _MS
    """Where no majority is needed: from when no replica is in reach until one is on this side, if the steward is there (in those
    runs it never was: so long `opus_node.core.steward` waits in a cut, and asks) ..."""
    founded: int = 13000 * _MS
    """... and if this side has to get one first."""
    back: int = 1800 * _MS
    """From a host's return until a static set has taken it in anew, if all others are there ..."""
    short: int = 5000 * _MS
    """... and so much longer if not (`opus_node.core.data.move.WHOLE`)."""

    @staticmethod
    def alike(nanos: int) -> Delays:
        """Whatever has happened."""
        return Delays(nanos, nanos, nanos, nanos, nanos, nanos, 0)


MEASURED = Delays()
