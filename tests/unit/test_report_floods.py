"""Requests of hosts that flood others are no clients'."""

from __future__ import annotations

from typing import Any

from opus_controller.report.floods import parted

FLOOD = {
    "kind": "fault",
    "fault": "flood",
    "name": "dos",
    "t": 2_000,
    "done_t": 2_010,
    "undoes": "",
    "victims": ["a"],
    "sources": ["b"],
}
HEAL = {"kind": "fault", "fault": "heal", "name": "over", "t": 5_000, "done_t": 5_100, "undoes": "dos", "victims": []}


def asked(host: str, *times: int, outcome: str = "ok") -> list[dict[str, Any]]:
    return [{"host": host, "issued_at": t, "outcome": outcome} for t in times]


def test_what_its_sources_ask_while_it_goes_on_is_told_apart() -> None:
    requests = [*asked("b", 1_000, 3_000, 6_000), *asked("b", 4_000, outcome="refused"), *asked("c", 3_500)]
    left, (told,) = parted(requests, [FLOOD, HEAL])
    assert [(request["host"], request["issued_at"]) for request in left] == [("b", 1_000), ("b", 6_000), ("c", 3_500)]
    assert (told.name, told.issued, told.ok, told.refused, told.sources) == ("dos", 2, 1, 1, ["b"])


def test_one_that_never_ended_lasts_to_the_end_and_one_that_found_nobody_is_none() -> None:
    left, floods = parted(asked("b", 9_000_000), [FLOOD])
    assert (left, floods[0].issued) == ([], 1)
    requests = asked("b", 3_000)
    assert parted(requests, [{**FLOOD, "victims": [], "sources": []}, HEAL]) == (requests, [])
