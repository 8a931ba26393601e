"""`opus bench survival`: the share of sharded data lost for good when regions, or single hosts, fail for good at one instant.

Shards are of one size here, so that shares of shards are shares of data, and none has extra copies for being popular. Nothing is
mended in between: with time, copies would be made anew. Rows with a bound are those that the steward's placement must keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.experiments import Figures
from opus_controller.bench.overlay.rows import Line, Row, chosen, lines, mean_of
from opus_controller.bench.overlay.run import Results
from opus_controller.bench.survival import places
from opus_controller.bench.survival.losses import FAILURES, losses
from opus_controller.bench.survival.places import DOMAINS, PLACEMENTS, RANDOM, STEWARD, Ground
from opus_controller.bench.survival.played import played

COPIES = (1, 2, 3, 4, 5)
PLAYED_COPIES = 2
APART = 0.02
"""What was lost in a run may differ from what its table says by so much: of what is written while shards move."""
NAMES = {RANDOM: "random members", DOMAINS: "random, over domains", STEWARD: "the steward's"}
SIX, PLANET, PLAYED = "six", "planet", "played"


@dataclass(frozen=True)
class Order:
    rows: Sequence[str] = ()
    """Names; none: all."""
    seeds: int = 10
    data: Path | None = None

    def told(self) -> dict[str, object]:
        """For JSON."""
        return {"seeds": self.seeds, "copies": COPIES, "placements": PLACEMENTS}


def all_rows() -> list[Row]:
    return [*_rows(SIX, "six-regions, 12 members"), *_rows(PLANET, "PlanetLab, 50 members"), *_played()]


def _rows(ground: str, told: str) -> Iterator[Row]:
    for failure in FAILURES:
        for copies in COPIES:
            others = {NAMES[one]: key(one, copies, failure) for one in (RANDOM, DOMAINS)}
            bound = 0.0 if ground == SIX and copies > FAILURES.index(failure) + 1 and "region" in failure else None
            yield Row(
                ground, f"{told}: {failure} gone, {copies} of each shard: lost", ground, mean_of(key(STEWARD, copies, failure)),
                bound, unit="%", digits=2, scale=100, note=partial(_percent, others),
            )  # fmt: skip


def _played() -> Iterator[Row]:
    what = f"six-regions in sim, 3 regions gone, {PLAYED_COPIES} of each shard: keys"
    note = partial(_percent, {"by the table in force": "predicted"})
    yield Row(PLAYED, f"{what} lost", PLAYED, mean_of("lost"), unit="%", digits=2, scale=100, note=note)
    yield Row(PLAYED, f"{what} lost and kept against the table", PLAYED, mean_of("apart"), APART, unit="%", digits=2, scale=100)


def _percent(others: dict[str, str], figures: Sequence[Figures]) -> str:
    """ "random members 4.10 [2.00, 6.20]%": by what they are called, and their keys."""
    found = {name: statistics.mean([one[of_name] for one in figures]) for name, of_name in others.items()}
    some = len(figures) > 1
    return ", ".join(
        f"{name} {100 * one.value:.2f}{f' [{100 * one.low:.2f}, {100 * one.high:.2f}]' if some else ''}%"
        for name, one in found.items()
    )


def key(placement: str, copies: int, failure: str) -> str:
    return f"{placement} {copies} {failure}"


def measure(order: Order, on_progress: Callable[[str], None] = lambda news: None) -> tuple[list[Line], Results]:
    """Raises ScenarioError for a row that does not exist, PlatformError where the matrix is not there."""
    picked = chosen(all_rows(), order.rows)
    wanted = {row.experiment for row in picked}
    results = Results(range(1, order.seeds + 1))
    grounds: dict[str, Callable[[], Ground]] = {SIX: places.six, PLANET: partial(places.planet, order.data)}
    of_seed: dict[str, Callable[[int], Figures]] = {
        name: partial(_losses, ground()) for name, ground in grounds.items() if name in wanted
    }
    if PLAYED in wanted:
        of_seed[PLAYED] = partial(played, copies=PLAYED_COPIES)
    for name, work in of_seed.items():
        for seed in results.seeds:
            began = time.perf_counter()
            results.figures[name][seed] = work(seed)
            results.wall_s[name] += time.perf_counter() - began
            on_progress(f"{name}, seed {seed}: {time.perf_counter() - began:.0f} s")
    return lines(picked, results), results


def _losses(ground: Ground, seed: int) -> Figures:
    return {
        key(placement, copies, failure): share
        for placement in PLACEMENTS
        for copies in COPIES
        for failure, share in losses(ground, placement, copies, seed).items()
    }
