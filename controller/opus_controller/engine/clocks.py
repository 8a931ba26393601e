"""How wrong each host's clock is to be: what its strains ask for, and what a drift has made of it so far."""

from __future__ import annotations

from dataclasses import dataclass

from opus_controller.model.shapes import HostChange

PPM = 1_000_000


@dataclass(frozen=True)
class Skew:
    """A clock that reads `at_ns` + `ahead_ns` at `at_ns` (since the origin), and from there on runs too fast by `drift_ppm`."""

    at_ns: int = 0
    ahead_ns: int = 0
    drift_ppm: int = 0
    clock_ns: int = 0
    """Of `ahead_ns`, what no drift has made."""

    def now(self, now: int) -> int:
        """How far it is ahead."""
        return self.ahead_ns + (now - self.at_ns) * self.drift_ppm // PPM

    def under(self, strain: HostChange, now: int) -> Skew:
        """As `strain` has it from `now` on. A clock that ceases to drift is set right; one that goes on keeps what it has got."""
        drifted = self.now(now) - self.clock_ns if strain.drift_ppm else 0
        return Skew(now, strain.clock_ns + drifted, strain.drift_ppm, strain.clock_ns)

    def fits(self, strain: HostChange) -> bool:
        """Whether it is what `strain` asks for already."""
        return (self.clock_ns, self.drift_ppm) == (strain.clock_ns, strain.drift_ppm)


RIGHT = Skew()
