"""What a machine can carry: reckoned from costs and what there is, each figure with its source; and who is warned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_runtime import SECOND, small_plan
from opus_controller.bench import capacity, machine, stored
from opus_controller.bench.capacity import FILL, RELEASE, RELEASE_TURNS, Capacity, Machine, costs_here
from opus_controller.bench.table import row

TWO_CORES = Machine(cores=2, free_cores=2.0, turns=RELEASE_TURNS, memory_mb=16_000, files=1 << 20)


def test_hosts_fill_the_cores_and_one_more_does_not_fit() -> None:
    of = Capacity(TWO_CORES, RELEASE)
    for rate in (0.0, 17.0, 100.0):
        hosts, limit = of.hosts(rate)
        assert limit == "cores"
        assert of.cores_for(hosts, rate) <= FILL * 2.0 < of.cores_for(hosts + 2, rate)
    assert of.hosts(1_000)[0] == 0
    few = Capacity(replace(TWO_CORES, free_cores=0.2), RELEASE)
    assert few.cores_for(few.hosts()[0], 0) <= FILL * 0.2 < few.cores_for(few.hosts()[0] + 1, 0)


def test_the_quickstart_s_own_load_is_what_it_was() -> None:
    """The release's costs give back the run that they were taken from: 19% of two cores."""
    assert Capacity(TWO_CORES, RELEASE).cores_for(30, 17) == pytest.approx(0.19 * 2, rel=0.1)


def test_whatever_ends_first_limits() -> None:
    assert Capacity(replace(TWO_CORES, memory_mb=640), RELEASE).hosts() == (40, "memory")
    assert Capacity(replace(TWO_CORES, files=256), RELEASE).hosts() == (32, "open files")
    asked = Capacity(TWO_CORES, RELEASE).hosts_asked(1.0)
    assert asked < Capacity(TWO_CORES, RELEASE).hosts()[0]
    assert Capacity(TWO_CORES, RELEASE).cores_for(asked, asked) <= FILL * 2.0


def test_costs_of_the_release_are_scaled_to_the_machine_s_speed_and_say_so() -> None:
    slow = costs_here(RELEASE_TURNS / 2, {})
    assert slow.rest_ms_per_s.value == 2 * RELEASE.rest_ms_per_s.value
    assert slow.packets_a_second.value == RELEASE.packets_a_second.value / 2
    assert slow.host_mb.value == RELEASE.host_mb.value
    assert slow.rest_ms_per_s.source.endswith("times 2.00 for this machine's speed")


def test_what_was_benched_here_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert stored.load() == {}
    stored.save(
        "hop", [row("CPU of a host at rest", 5.5, "ms/s"), row("CPU of an overlay request, all hosts together", 0.0, "ms")]
    )
    stored.save("links", [row("packets a second, every property on, none dropped unasked", 50_000, "packets/s")])
    costs = costs_here(RELEASE_TURNS / 2, stored.load())
    assert costs.rest_ms_per_s.value == 5.5
    assert costs.rest_ms_per_s.source.startswith("opus bench hop here, 20")
    assert costs.request_ms.value == 2 * RELEASE.request_ms.value, "a figure of 0 was too small to be measured"
    assert costs.packets_a_second.value == 50_000
    stored.file().write_text("not JSON")
    assert stored.load() == {}
    stored.save("hop", [row("CPU of a host at rest", 6.0, "ms/s")])
    assert stored.load()["hop"].value("CPU of a host at rest") == 6.0


def test_a_plan_that_is_too_much_is_warned_of() -> None:
    plan = small_plan(clients=("a-1", "b-1", "c-1"))
    assert capacity.requests_a_second(plan) == 3
    assert capacity.warning(plan, Capacity(TWO_CORES, RELEASE)) == ""
    line = capacity.warning(plan, Capacity(replace(TWO_CORES, free_cores=0.08), RELEASE))
    assert line.startswith("warning: 6 hosts with 3 requests/s are too much here: about 4 can be carried")
    assert "0.1 of 2 free" in line
    assert "its memory does not hold more" in capacity.warning(plan, Capacity(replace(TWO_CORES, memory_mb=320), RELEASE))


def test_requests_a_second_are_those_at_the_busiest_time() -> None:
    plan = small_plan(clients=("a-1", "b-1"))
    one, other = plan.workload
    other = other.model_copy(update={"start_ns": one.stop_ns, "stop_ns": one.stop_ns + SECOND, "rate_per_s": 5.0})
    assert capacity.requests_a_second(plan.model_copy(update={"workload": (one, other)})) == 5
    assert capacity.requests_a_second(plan.model_copy(update={"workload": ()})) == 0


def test_this_machine_is_looked_at() -> None:
    found = capacity.look()
    assert found.cores >= 1
    assert 0 <= found.free_cores <= found.cores
    assert found.turns > 1_000
    assert found.memory_mb > 0


def test_a_clock_of_coarse_steps_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """User-mode Linux tells CPU time in steps of 10 ms: a short try would have taken none."""
    asked: list[int] = []

    def stepped(rounds: int) -> float:
        asked.append(rounds)
        return rounds / 1_000_000 // 0.01 * 0.01  # of a million turns a second

    monkeypatch.setattr(machine, "_seconds", stepped)
    assert machine.turns_a_second(1_000, 2) == pytest.approx(1_000_000, rel=0.5)
    assert asked[0] == 1_000
    assert asked[-1] > 1_000
