"""`opus bench spread`: its instances, its ideals, its table, and what it says where it cannot run."""

from __future__ import annotations

import json
from itertools import combinations
from math import hypot
from pathlib import Path
from random import Random

import numpy as np
import pytest
from opus_controller.bench.overlay.rows import lines
from opus_controller.bench.overlay.run import Results
from opus_controller.bench.spread import ideals, instances, table
from opus_controller.cli._app import run

TINY = table.Scale(sets=("20 random",), bounds=(2.0,), sources=3, settle_s=15)


def plane(n: int, seed: int = 1) -> instances.Rtts:
    rng = Random(seed)
    places = [(rng.random(), rng.random()) for _ in range(n)]
    return [[0 if p == q else int(1e6 + 1e8 * hypot(p[0] - q[0], p[1] - q[1])) for q in places] for p in places]


def test_the_file_has_ten_seeds_of_each_set() -> None:
    known = json.loads(instances.FILE.read_text())
    assert sorted(map(int, known)) == list(instances.SEEDS)
    for sets in known.values():
        assert {name: len(set(rows)) for name, rows in sets.items()} == {
            "20 random": 20, "50 random": 50, "100 random": 100, "50 placed": 50,
        }  # fmt: skip


def test_random_sets_are_what_their_seeds_make() -> None:
    rtts = [[0] * 490 for _ in range(490)]
    known = json.loads(instances.FILE.read_text())
    for name in ("20 random", "50 random", "100 random"):
        assert known["3"][name] == sorted(Random(f"3/{name.split()[0]}").sample(range(len(rtts)), int(name.split()[0])))


def test_the_spanning_tree_is_the_lightest_of_all() -> None:
    rtts = np.array(plane(5), dtype=np.float64)
    pairs = list(combinations(range(5), 2))

    def spans(links: tuple[tuple[int, int], ...]) -> bool:
        reached, before = {0}, 0
        while len(reached) > before:
            before = len(reached)
            reached |= {end for link in links if reached & set(link) for end in link}
        return len(reached) == 5

    best = min(sum(rtts[link] for link in links) for links in combinations(pairs, 4) if spans(links))
    assert sum(rtts[link] for link in ideals.spanning(rtts)) == pytest.approx(best)


def test_shortest_paths_may_go_by_others() -> None:
    rtts = np.array([[0, 1, 9], [1, 0, 2], [9, 2, 0]], dtype=np.float64)
    assert ideals.shortest(rtts)[0].tolist() == [0, 1, 3]
    assert ideals.over(rtts[:1], ideals.shortest(rtts)[:1]) == (10 / 4, 9 / 3)


def test_the_figures_of_one_seed_and_their_rows() -> None:
    figures = table.dissemination(1, TINY, plane(16), range(16), table.BOUND, silent=True)
    assert 1 <= figures["cost"] < figures["star_cost"]
    assert 1 <= figures["mean"] < figures["mst_mean"] * 1.2
    assert figures["degree"] <= table.DEGREE
    assert all(len(one) == 11 for kind in table.SILENCES for one in figures[kind]), "a third of 16 is five"
    results = Results(range(1, 2))
    results.figures["20 random"][1] = results.figures["bound 2"][1] = figures
    found = lines(table.all_rows(TINY), results)
    assert {line.row.name for line in found} == {"cost", "delay", "degree", "silent", "bounds"}
    assert all(line.estimate.count for line in found)


def test_mistakes_end_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "spread", "--rows", "costs"]) == 2
    assert "allowed: cost, delay, degree, silent, bounds" in capsys.readouterr().err
    assert run(["bench", "spread", "--data", str(tmp_path)]) == 2
    assert "allowed: that file" in capsys.readouterr().err
