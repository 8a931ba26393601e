"""The simulator's agenda: whatever slots entries lie in, they come by time, and at one instant as they were put down."""

from __future__ import annotations

from random import Random
from typing import Any

from opus_controller.runtimes.sim.agenda import SLOT_BITS, Agenda

SLOT = 1 << SLOT_BITS


def test_entries_come_by_time_and_then_as_they_were_put_down() -> None:
    rng, agenda = Random("agenda"), Agenda()
    put: list[tuple[int, int]] = []
    came: list[tuple[int, int]] = []

    def put_down(t: int) -> None:
        put.append((max(t, agenda.now), len(put)))
        agenda.at(t, handler, len(put) - 1)

    def handler(now: int, number: int, _b: Any, _c: Any) -> None:
        came.append((now, number))
        if len(put) < 3000:  # at this instant, before it, in this slot, and far later
            for away in rng.choices((-SLOT, 0, 1, SLOT // 3, SLOT, 40 * SLOT), k=2):
                put_down(now + away)

    for _ in range(50):
        put_down(rng.randrange(5 * SLOT))
    until = 0
    while came != sorted(put):
        until += rng.choice((1, SLOT // 2, 7 * SLOT))
        while not agenda.run(until, rng.randrange(1, 40)):
            assert came[-1][0] <= until
        assert agenda.now == until
        assert came == sorted(came)
        assert len(agenda) == len(put) - len(came)
    assert agenda.handled == len(put) >= 3000


def test_a_run_ends_after_so_many_entries_and_goes_on_from_there() -> None:
    agenda, came = Agenda(), []
    for t in (3, 5 * SLOT, 5 * SLOT, 9 * SLOT):
        agenda.at(t, lambda now, _a, _b, _c: came.append(now))
    assert not agenda.run(9 * SLOT, 2)
    assert came == [3, 5 * SLOT]
    assert agenda.run(6 * SLOT, 10)
    assert came == [3, 5 * SLOT, 5 * SLOT]
    assert len(agenda) == 1
    assert agenda.run(9 * SLOT, 10), "what is due at the end itself comes, too"
    assert len(agenda) == 0
