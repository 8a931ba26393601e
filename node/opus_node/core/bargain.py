"""The search for who should serve whom: hosts to applications so that the sum of utilities is greatest.

    fill     bundles of free units, always the one that gains most a unit: of an S-shape the first unit alone gains nothing
    climb    single units moved or let go, two swapped, then raids: a bundle for one application out of what others lose least by
    regroup  two applications give all back, and divide it anew, either before the other

Each step is taken only if the sum grows, net of what moving costs: an allocation never gets worse, small gains move nobody.
Greedy choice alone is exact for separable concave utilities (Fox 1966), and far from the optimum on S-shapes.

Deterministic: no step depends on anything but the arguments, among equals the first in order wins. Sets are bit masks over units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opus_node.core.forecast import Forecast, Need, Unit
from opus_node.core.utility import Felt

Masks = list[int]
"""By application: its units. No unit is in two."""
Hope = tuple[float, float, float]

GAIN = 1e-9
"""Of the worth of all: what gains less gains nothing but rounding."""

STALE = 1e-6
"""Of availability."""


def bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low
        mask ^= low


def positions(mask: int) -> list[int]:
    return [low.bit_length() - 1 for low in bits(mask)]


class Bargain:
    """Applications and units by position; `now` is who serves whom before."""

    def __init__(self, needs: Sequence[Need], units: Sequence[Unit], now: Masks, rent: float, effort: int) -> None:
        self.needs = needs
        self.forecasts = [Forecast(need, units) for need in needs]
        self.everyone = (1 << len(units)) - 1
        self._able = [sum(1 << u for u in range(len(units)) if one.can(u)) for one in self.forecasts]
        self._hopeful = [need.utility.hopeful for need in needs]
        self._now = now
        self._rent = rent
        self._effort = effort
        self.least = GAIN * max(1e-12, sum((need.utility.worth for need in needs), 0.0))
        self._worths: list[dict[int, float]] = [{} for _ in needs]
        self._hopes: list[dict[int, Hope]] = [{} for _ in needs]
        self._climbed: dict[tuple[int, ...], Masks] = {}
        """Where searches ended, by where they began: many begin alike."""

    # What a configuration is worth

    def felt(self, app: int, mask: int) -> Felt:
        return self.forecasts[app].felt(positions(mask))

    def paid(self, app: int, mask: int) -> float:
        """For the units that are new to it, and for all that it holds."""
        return self.needs[app].moving * (mask & ~self._now[app]).bit_count() + self._rent * mask.bit_count()

    def utility(self, app: int, mask: int) -> float:
        return self.needs[app].utility.of(self.felt(app, mask))

    def worth(self, app: int, mask: int) -> float:
        """Utility less what is paid."""
        known = self._worths[app]
        found = known.get(mask)
        if found is None:
            found = known[mask] = self.utility(app, mask) - self.paid(app, mask)
        return found

    def hope(self, app: int, mask: int) -> Hope:
        """The same by concave envelopes; among equals who answers more, then sooner."""
        known = self._hopes[app]
        found = known.get(mask)
        if found is None:
            felt = self.felt(app, mask)
            hoped = self._hopeful[app].of(felt) - self.paid(app, mask)
            found = known[mask] = (hoped, felt.availability, -felt.latency)
        return found

    def total(self, masks: Masks) -> float:
        return sum((self.worth(app, mask) for app, mask in enumerate(masks)), 0.0)

    @property
    def forecast_count(self) -> int:
        return sum(one.count for one in self.forecasts)

    @property
    def tired(self) -> bool:
        return self.forecast_count >= self._effort

    def free(self, masks: Masks) -> int:
        taken = 0
        for mask in masks:
            taken |= mask
        return self.everyone & ~taken

    # What is promised

    def promise(self, masks: Masks) -> Masks:
        """Floors kept, whatever it costs: first who lacks most of its own; of what is free, then of what others miss least."""
        masks = list(masks)
        while True:
            short = [app for app, need in enumerate(self.needs) if masks[app].bit_count() < need.floor]
            for app in sorted(short, key=lambda app: (masks[app].bit_count() / self.needs[app].floor, app)):
                taken = self._promised(masks, app)
                if taken:
                    self._move(masks, taken, app)
                    break
            else:
                return masks

    def _promised(self, masks: Masks, app: int) -> int:
        """The unit to give it; 0 if there is none."""
        offers = self.free(masks) & self._able[app] or self._spare(masks, app)
        return max(bits(offers), key=lambda unit: (*self._net_hope(masks, app, unit), -unit), default=0)

    def _spare(self, masks: Masks, app: int) -> int:
        """Units of others, who keep their floors without any one of them."""
        others = [mask for i, mask in enumerate(masks) if i != app and mask.bit_count() > self.needs[i].floor]
        found = 0
        for mask in others:
            found |= mask
        return found & self._able[app]

    def _owner(self, masks: Masks, unit: int) -> int:
        return next((app for app, mask in enumerate(masks) if mask & unit), -1)

    def _loss(self, masks: Masks, unit: int) -> float:
        """To its owner."""
        owner = self._owner(masks, unit)
        return self.worth(owner, masks[owner]) - self.worth(owner, masks[owner] ^ unit) if owner >= 0 else 0.0

    def _move(self, masks: Masks, unit: int, app: int) -> None:
        """To an application, or, -1, to nobody."""
        owner = self._owner(masks, unit)
        if owner >= 0:
            masks[owner] ^= unit
        if app >= 0:
            masks[app] |= unit

    # Bundles

    def fill(self, masks: Masks, apps: Sequence[int]) -> Masks:
        """Free units to these applications, the bundle that gains most a unit first."""
        masks = list(masks)
        while not self.tired:
            free = self.free(masks)
            bids = [(self._bundle(app, masks[app], free), -app) for app in apps]
            (gain, grown), app = max(bids, default=((0.0, 0), 0), key=lambda bid: (bid[0][0], bid[1]))
            if gain <= self.least:
                break
            masks[-app] = grown
        return masks

    def single(self, masks: Masks) -> Masks:
        """Free units one by one, always where one alone gains most; no bundles, nothing taken back."""
        masks = list(masks)
        while True:
            gains = [
                (self.worth(app, mask | unit) - self.worth(app, mask), -app, -unit)
                for app, mask in enumerate(masks)
                if mask.bit_count() < self.needs[app].most
                for unit in bits(self.free(masks) & self._able[app])
            ]
            gain, app, unit = max(gains, default=(0.0, 0, 0))
            if gain <= self.least:
                return masks
            masks[-app] |= -unit

    def _bundle(self, app: int, mask: int, free: int) -> tuple[float, int]:
        """(gain a unit, units with it) of the bundle that gains most a unit; (0, mask) if none gains."""
        before = self.worth(app, mask)
        best, grown = (0.0, mask), mask
        free &= self._able[app]
        most = self.needs[app].most - mask.bit_count()
        for size in range(1, min(most, free.bit_count()) + 1):
            unit = max(bits(free), key=lambda unit: (self.hope(app, grown | unit), -unit))
            grown |= unit
            free ^= unit
            gain = (self.worth(app, grown) - before) / size
            if gain > best[0] + self.least:
                best = (gain, grown)
            if self.tired or self._content(app, grown) or self._stale(app, grown, grown ^ unit):
                break
        return best

    def _content(self, app: int, mask: int) -> bool:
        """Whether more units cannot be worth anything."""
        return self.utility(app, mask) >= self.needs[app].utility.worth - self.least

    def _stale(self, app: int, grown: int, before: int) -> bool:
        """Whether the last unit brought nothing, not even hope."""
        hope, was = self.hope(app, grown), self.hope(app, before)
        gain = hope[0] + self.paid(app, grown) - was[0] - self.paid(app, before)
        return gain <= self.least and hope[1] - was[1] <= STALE

    # Moves

    def climb(self, masks: Masks, raids: bool = True) -> Masks:
        """While anything gains."""
        start = (raids, *masks)
        if start not in self._climbed:
            self._climbed[start] = self._climb(list(masks), raids)
        return self._climbed[start]

    def _climb(self, masks: Masks, raids: bool) -> Masks:
        while not self.tired:
            if self._moved(masks) or self._swapped(masks):
                continue
            filled = self.fill(masks, range(len(masks)))
            if filled == masks and raids:
                filled = self._raided(masks)
            if filled == masks:
                break
            masks = filled
        return masks

    def _moved(self, masks: Masks) -> bool:
        """Single units, to whom they gain most."""
        changed = False
        for unit in bits(self.everyone):
            owner = self._owner(masks, unit)
            if owner >= 0 and masks[owner].bit_count() <= self.needs[owner].floor:
                continue
            loss = self._loss(masks, unit)
            gains = [(-loss, 1, -1)] if owner >= 0 else []
            for app, mask in enumerate(masks):
                if app != owner and unit & self._able[app] and mask.bit_count() < self.needs[app].most:
                    gains.append((self.worth(app, mask | unit) - self.worth(app, mask) - loss, -app, app))
            gain, _, app = max(gains, default=(0.0, 0, -1))
            if gain > self.least:
                self._move(masks, unit, app)
                changed = True
        return changed

    def _swapped(self, masks: Masks) -> bool:
        """Two units of different owners change places; one of them may be free."""
        changed = False
        for one in range(len(masks)):
            for two in (-1, *range(one + 1, len(masks))):
                changed |= self._swapped_between(masks, one, two)
        return changed

    def _swapped_between(self, masks: Masks, one: int, two: int) -> bool:
        """`two` may be nobody, -1."""
        changed = False
        for unit in bits(masks[one] & (self._able[two] if two >= 0 else self.everyone)):
            mine, theirs = masks[one], masks[two] if two >= 0 else self.free(masks)
            before = self.worth(one, mine) + (self.worth(two, theirs) if two >= 0 else 0.0)
            for other in bits(theirs & self._able[one]):
                both = unit | other
                after = self.worth(one, mine ^ both) + (self.worth(two, theirs ^ both) if two >= 0 else 0.0)
                if after > before + self.least:
                    masks[one] ^= both
                    if two >= 0:
                        masks[two] ^= both
                    changed = True
                    break
        return changed

    def _raided(self, masks: Masks) -> Masks:
        """The raid that gains most; `masks` if none gains."""
        best, found = self.total(masks) + self.least, masks
        for app in range(len(masks)):
            whole, raided = self._raid(masks, app)
            if whole > best:
                best, found = whole, raided
        return found

    def _raid(self, masks: Masks, app: int) -> tuple[float, Masks]:
        """(sum, allocation) of the best bundle for `app`, one unit after the other out of what others lose least by.

        Once an S-shaped donor has lost one unit the rest of its bundle is for nothing.
        """
        trial = list(masks)
        best, found = self.total(masks), masks
        while trial[app].bit_count() < self.needs[app].most and not self.tired and not self._content(app, trial[app]):
            offers = (self.free(trial) & self._able[app]) | self._spare(trial, app)
            if not offers:
                break
            unit = max(bits(offers), key=lambda unit: (*self._net_hope(trial, app, unit), -unit))
            self._move(trial, unit, app)
            whole = self.total(trial)
            if whole > best + self.least:
                best, found = whole, list(trial)
        return best, found

    def _net_hope(self, masks: Masks, app: int, unit: int) -> Hope:
        """With one unit more, less what its owner loses by it."""
        hoped = self.hope(app, masks[app] | unit)
        return (hoped[0] - self._loss(masks, unit), hoped[1], hoped[2])

    # Dividing anew

    def regroup(self, masks: Masks) -> Masks:
        """Two by two, until no pair gains."""
        pairs = [(a, b) for a in range(len(masks)) for b in range(len(masks)) if a != b]
        since, k = 0, 0
        whole = self.total(masks)
        while pairs and since < len(pairs) and not self.tired:
            first, second = pairs[k % len(pairs)]
            k, since = k + 1, since + 1
            trial = self._divided(masks, first, second)
            anew = self.total(trial)
            if anew > whole + self.least:
                masks, whole, since = trial, anew, 0
        return masks

    def _divided(self, masks: Masks, first: int, second: int) -> Masks:
        trial = list(masks)
        trial[first] = trial[second] = 0
        trial = self.promise(trial)
        trial = self.fill(trial, [first])
        trial = self.fill(trial, [second])
        return self.climb(trial, raids=False)
