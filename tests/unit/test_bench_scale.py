"""`opus bench scale`: worlds made in memory, one run's figures, what is kept, and the trend."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from helpers.ended import failed, killed
from helpers.netns_runs import OPUS
from opus_controller.bench import kept
from opus_controller.bench.scale import table
from opus_controller.bench.scale.load import Figures
from opus_controller.bench.scale.parallel import play
from opus_controller.bench.scale.small import Small, small
from opus_controller.bench.scale.worlds import LEAST, RAMP_S, Size, address_of, plan_of
from opus_controller.bench.worlds import SECOND
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.network import Network


@pytest.fixture(scope="module")
def lived() -> Figures:
    return play(Size(200, minutes=2), lambda news: None)


def test_hosts_attach_are_asked_for_and_come_back(lived: Figures) -> None:
    assert lived["attached"] >= 0.9 * lived["alive"]
    assert lived["crashes"] > lived["restarts"] > 0
    assert lived["heads"] < lived["agents"] < lived["alive"] / 2
    assert lived["replicas"] == lived["replicas_asked"] == 3
    assert lived["issued"] > 10
    assert lived["availability"] > 0.9
    assert 1 <= lived["first_hops"] <= 2


def test_the_cost_of_a_run_is_told(lived: Figures) -> None:
    assert lived["steps"] > lived["messages"] > 0
    assert 0 < lived["of_bare"] < 1, "a step does more than an empty handler"
    assert lived["peak_bytes"] >= lived["rss_bytes"] > 0
    assert len(table.row(lived)) == len(table.COLUMNS)


def test_the_same_seed_gives_the_same_steps() -> None:
    once, again, other = (
        play(Size(LEAST, minutes=0.5, seed=seed), lambda news: None, trace=True)["trace_digest"] for seed in (1, 1, 2)
    )
    assert once == again != other


def test_hosts_are_spread_over_the_regions_and_boot_within_a_minute() -> None:
    plan = plan_of(Size(1000))
    by_site = [sum(host.site == site for host in plan.hosts) for site in plan.sites]
    assert max(by_site) - min(by_site) <= 1
    assert len({host.address for host in plan.hosts}) == 1000
    assert 0 <= min(host.boot_at_ns for host in plan.hosts) <= max(host.boot_at_ns for host in plan.hosts) < RAMP_S * SECOND
    assert len({host.site for host in plan.hosts if host.name in plan.seeds}) == len(plan.seeds)
    network = Network.of(plan)
    assert network.path(plan.hosts[0], plan.hosts[-1]).delay_ns > network.path(plan.hosts[0], plan.hosts[1]).delay_ns


def test_addresses_are_addresses_and_no_two_alike() -> None:
    places = [*range(2_000), *range(998_000, 1_000_000)]
    assert len({address_of(index) for index in places}) == len(places)
    assert all(0 <= int(part) <= 255 for index in places for part in address_of(index).split("."))


def test_small_random_numbers_are_even_and_follow_from_the_seed() -> None:
    rng = small("1/a")
    drawn = [rng.random() for _ in range(20_000)]
    assert [small("1/a").random(), small("1/b").random()] != [drawn[0]] * 2
    tenths = [sum(tenth <= 10 * one < tenth + 1 for one in drawn) for tenth in range(10)]
    assert all(1800 < count < 2200 for count in tenths)
    follows = sum(one < 0.5 and two < 0.5 for one, two in pairwise(drawn))
    assert 0.23 < follows / len(drawn) < 0.27
    assert sorted(rng.sample(range(10), 10)) == list(range(10))
    assert {rng.choice("abc") for _ in range(100)} == set("abc")
    assert all(Small("x").getrandbits(bits) < 1 << bits for bits in (1, 31, 32, 33, 64))
    assert not isinstance(rng, Random)


def test_bad_orders_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(ScenarioError, match="from 60 to 1000000"):
        table.measure(table.Order([10]), print)
    with pytest.raises(ScenarioError, match="at most as many as there are hosts, 100"):
        table.measure(table.Order([100], replicas=101), print)


def test_figures_kept_are_not_made_again_and_others_not_taken_for_them(tmp_path: Path, lived: Figures) -> None:
    order = table.Order([200], minutes=2, into=tmp_path)
    kept.claim(tmp_path, order.about(), "")
    (tmp_path / "200.json").write_text(json.dumps(lived))
    assert table.measure(order, print) == [lived]
    with pytest.raises(ScenarioError, match="is of other minutes and seed"):
        table.measure(replace(order, minutes=3, seed=2), print)
    (tmp_path / "about.json").write_text(json.dumps({**order.about(), "sources": "others"}))
    with pytest.raises(ScenarioError, match="is of other sources"):
        table.measure(order, print)


def test_half_a_file_of_figures_is_made_again(tmp_path: Path) -> None:
    order = table.Order([LEAST], minutes=0.5, into=tmp_path)
    kept.claim(tmp_path, order.about(), "")
    (tmp_path / f"{LEAST}.json").write_text(f'{{"hosts": {LEAST}')
    (made,) = table.measure(order, print)
    assert made["steps"] > 0
    assert table.measure(order, print) == [made]


def test_the_trend_is_the_power_of_n() -> None:
    runs: list[Figures] = [{"hosts": n, "cpu_s": 3.0 * n, "peak_bytes": 7.0 * n**1.5} for n in (1000, 3000, 10_000)]
    grows = table.trend(runs)
    assert grows is not None
    assert grows.told() == "CPU time grows as n^1.00, memory as n^1.50"
    assert table.trend(runs[:1]) is None


# A run under way


def test_a_table_that_is_interrupted_keeps_its_run_and_goes_on(tmp_path: Path) -> None:
    """By a signal to the command alone; two processes live the run, two more stand between."""
    command = [*OPUS, "bench", "scale", "--hosts", "400", "--minutes", "20", "--processes", "2", "--into", str(tmp_path / "kept")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "virtual s in" in line:
            break
    process.terminate()
    rest = process.stderr.read()
    assert process.wait(120) == 130
    assert "kept at" in rest
    assert "Traceback" not in rest
    assert sorted(one.name for one in (tmp_path / "kept").iterdir()) == ["400.state", "about.json"]


@pytest.mark.parametrize(("end", "told"), [(killed, "was killed, for want of memory"), (failed, "failed, as it says above")])
def test_a_run_whose_process_ends_without_a_word_is_one_line(
    end: Callable[..., None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_live", end)
    with pytest.raises(PlatformError, match=f"the run of 100 nodes {told}"):
        table.measure(table.Order([100]), print)
