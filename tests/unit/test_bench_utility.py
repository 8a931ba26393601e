"""`opus bench utility`: its instances, its oracle held against an integer program, and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from random import Random

import numpy as np
import pytest
from opus_controller.bench.overlay.statistics import NOTHING, Estimate, quantile
from opus_controller.bench.utility import exact, measured, shares, table
from opus_controller.bench.utility.instances import APPS, SEEDS, Instance, load, made, path, text
from opus_controller.cli._app import run
from opus_node.core.allocate import allocate
from scipy.optimize import Bounds, LinearConstraint, milp

TINY = table.Scale(apps=(4,), draws=1, shared=(4,), beside=(4,), epochs=1)

# Instances


@pytest.mark.parametrize("seed", SEEDS)
def test_the_files_are_what_their_seeds_make(seed: int) -> None:
    assert path(seed).read_text() == text(seed), "written anew by: python -m opus_controller.bench.utility.instances"
    assert load(seed) == [made(seed, apps) for apps in APPS]


def test_they_are_as_the_table_says() -> None:
    every = [one for seed in SEEDS for one in load(seed)]
    assert len(SEEDS) >= 10
    assert {len(one.apps) for one in every} == {4, 5, 6, 8}
    for one in every:
        assert one.load == pytest.approx(1.5, rel=0.01)
        assert one.at_load(0.75).load == pytest.approx(0.75)
        assert sum(app.floor for app in one.apps) <= len(one.units())


# The exact optimum


def small(seed: int) -> Instance:
    """Three kinds of hosts, three applications: 64 configurations of each."""
    whole = made(seed, 4)
    return replace(whole, kinds=whole.kinds[:3], apps=whole.apps[:3])


def by_integer_program(tables: list[exact.Floats]) -> float:
    """Each application takes one configuration, no kind of host more often than it is there."""
    shape = tables[0].shape
    counts = np.array(list(np.ndindex(*shape)))
    utility = np.concatenate([one.ravel() for one in tables])
    possible = np.isfinite(utility)
    one_each = np.kron(np.eye(len(tables)), np.ones(len(counts)))
    taken = np.tile(counts.T, len(tables))
    found = milp(
        -np.where(possible, utility, 0.0),
        integrality=np.ones(len(utility), dtype=np.int64),
        bounds=Bounds(0, possible.astype(float)),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(taken, 0, np.array(shape) - 1)],
    )
    assert found.success
    return -float(found.fun)


@pytest.mark.parametrize("seed", range(1, 7))
def test_the_dynamic_program_is_the_integer_program(seed: int) -> None:
    tables = exact.tables(small(seed))
    assert exact.optimum(tables) == pytest.approx(by_integer_program(tables), abs=1e-6)


def test_nothing_is_better_than_the_optimum_and_little_is_lost() -> None:
    reached = []
    for seed in range(1, 13):
        one = small(seed)
        optimum = exact.optimum(exact.tables(one))
        found = allocate(one.units(), one.needs()).utility
        assert found <= optimum * (1 + 1e-9)
        reached.append(found / optimum if optimum > 0 else 1.0)
    assert np.mean(reached) >= 0.97


def test_floors_that_cannot_be_kept_leave_no_optimum() -> None:
    one = small(1)
    greedy = replace(one, apps=tuple(replace(app, floor=4) for app in one.apps))
    assert exact.optimum(exact.tables(greedy)) == -inf


# What stewards know, and what static shares are


def test_measured_information_is_near_what_is_so_and_the_same_again() -> None:
    one = made(1, 4)
    units, needs = measured.told(one, Random("a"))
    assert (units, needs) == measured.told(one, Random("a"))
    asked = [sum(need.demand) for need in one.needs()]
    assert [sum(need.demand) for need in needs] == pytest.approx(asked, rel=0.25)
    so = [rtt for row in one.needs()[0].rtts.values() for rtt in row]
    told = [rtt for row in needs[0].rtts.values() for rtt in row]
    assert 0.08 < np.median(np.abs(np.array(told) / np.array(so) - 1)) < 0.2
    assert units != one.units()


def test_hosts_that_are_left_go_where_there_is_most_work_for_each() -> None:
    rates = (60.0, 30.0, 9.0, 0.0)
    needs = [replace(need, demand=[rate], cost=1.0) for need, rate in zip(made(1, 4).needs(), rates, strict=True)]
    assert shares.divided([0, 0, 0, 0], needs, 9) == [6, 3, 0, 0]
    assert shares.divided([0, 0, 1, 1], needs, 8) == [4, 2, 1, 1]


def test_demand_varies_as_asked() -> None:
    rng = Random("demand")
    drawn = [shares.lognormal(0.5, rng) for _ in range(20_000)]
    assert np.mean(drawn) == pytest.approx(1.0, abs=0.03)
    assert np.std(drawn) == pytest.approx(0.5, abs=0.03)


# The table


def test_a_quantile_over_clusters() -> None:
    clusters = [[float(10 * k + i) for i in range(10)] for k in range(10)]
    found = quantile(clusters, 0.05)
    assert found.value == pytest.approx(float(np.quantile(np.arange(100.0), 0.05)))
    assert found.low <= found.value < found.high < 40
    assert quantile(clusters, 0.05) == found, "the same draws again"
    assert quantile([[1.0, 3.0]], 0.5) == Estimate(2.0, -inf, inf, 1)
    assert quantile([], 0.5) is NOTHING


def test_the_command_prints_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(table, "QUICK", TINY)
    monkeypatch.setattr(table, "_instances", lambda seed, apps: [small(seed)])
    assert run(["bench", "utility", "--quick", "--seeds", "2", "--rows", "exact,measured", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in told["rows"]] == ["exact", "exact", "measured", "measured"]
    assert all(0.5 < row["value"] <= 1 + 1e-9 for row in told["rows"])
    assert told["rows"][0]["bound"] == 0.97
    assert "greedy alone" in told["rows"][0]["note"]


def test_shares_that_follow_are_held_against_static_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_instances", lambda seed, apps: [small(seed)])
    found = table.against_static(1, TINY, 1.0, 1.5)
    assert found["following"] > 0
    assert found["static"] > 0
    assert found["epochs"] == 1
    rows = [row for row in table.all_rows() if row.name == "static"]
    assert len(rows) == 9
    assert [row.bound for row in rows].count(1.3) == 2


def test_a_crowd_is_followed_and_floors_are_kept() -> None:
    """The row's figures are those that the scenario expects."""
    lines, _ = table.measure(table.Order(("crowd",), 1, TINY))
    soon, short = lines
    assert 0 < soon.estimate.value <= 10.0
    assert short.estimate.value == 0.0
    assert "1 of 1 within 10 s" in soon.note
    assert (soon.row.bound, short.row.bound) == (10.0, 0.0)


def test_a_row_that_does_not_exist_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "utility", "--rows", "exakt"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "did you mean 'exact'" in line
