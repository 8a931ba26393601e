"""Network coordinates: they find a space's distances, stay in their bits, and are not thrown about by one bad answer."""

from __future__ import annotations

import gzip
from math import dist
from pathlib import Path
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opus_node.core.coordinates import ERROR_MOST, Position, between, certain, expected, pack, shift, unpack
from opus_node.core.types import MILLISECOND

PLANETLAB = Path(__file__).parents[3] / "shared" / "data" / "planetlab-490-rtt-ms.csv.gz"


def settled(rtt_ms: list[list[float]], rounds: int, peers: int, seed: int = 1) -> list[Position]:
    """Everybody measures a few others, now and then, and believes what they say of themselves."""
    rng = Random(seed)
    n = len(rtt_ms)
    nodes = [Position() for _ in range(n)]
    known = [rng.sample([j for j in range(n) if j != i], peers) for i in range(n)]
    for _ in range(rounds):
        for i in rng.sample(range(n), n):
            j = rng.choice(known[i])
            nodes[i].sample(str(j), int(rtt_ms[i][j] * MILLISECOND), nodes[j].at)
    return nodes


def errors(nodes: list[Position], rtt_ms: list[list[float]], seed: int = 2) -> list[float]:
    rng = Random(seed)
    pairs = [rng.sample(range(len(nodes)), 2) for _ in range(2000)]
    return [abs(expected(nodes[i].at, nodes[j].at) / MILLISECOND - rtt_ms[i][j]) / rtt_ms[i][j] for i, j in pairs]


def test_a_plane_with_access_links_is_found_again() -> None:
    rng = Random(3)
    where = [(rng.uniform(0, 200), rng.uniform(0, 150), rng.uniform(1, 15)) for _ in range(60)]
    rtt = [[((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 + a[2] + b[2] for b in where] for a in where]
    nodes = settled(rtt, rounds=200, peers=14)
    assert median(errors(nodes, rtt)) < 0.06
    assert median(node.error for node in nodes) < 0.2, "and they know it"
    assert all(certain(node.at) for node in nodes)


@pytest.mark.skipif(not PLANETLAB.exists(), reason=f"{PLANETLAB} is not here")
def test_planetlab_from_fourteen_peers() -> None:
    with gzip.open(PLANETLAB, "rt") as file:
        rtt = [[max(float(cell), 0.1) for cell in line.split(",")] for line in file]
    some = Random(4).sample(range(len(rtt)), 150)
    rtt = [[rtt[i][j] for j in some] for i in some]
    found = median(errors(settled(rtt, rounds=150, peers=14), rtt))
    print(f"median error {found:.1%}")
    assert found < 0.2, "published: 10 to 20% on such matrices"


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.floats(0, 1e6), st.floats(0, 100))
def test_any_place_fits_its_bits(where: list[float], height: float, error: float) -> None:
    place = pack(where, height, error)
    assert 0 < place < 1 << 56
    there, high, wrong = unpack(place)
    for axis, found in zip(where, there, strict=True):
        assert abs(found - min(max(axis, -512), 511.5)) <= 0.25
    assert abs(high - min(height, 127)) <= 0.5
    assert wrong <= ERROR_MOST + 0.06


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(1, 10**12))
def test_what_a_peer_claims_does_no_harm(one: int, other: int, rtt: int) -> None:
    node = Position()
    for claimed in (one, other, one):
        node.sample("x", rtt, claimed)
    assert 0 < node.at < 1 << 56
    assert expected(one, other) >= 0
    assert expected(0, other) == expected(one, 0) == 0


def test_one_late_answer_moves_nobody() -> None:
    rng = Random(5)
    rtt = [[abs(i - j) * 10.0 + 5 for j in range(10)] for i in range(10)]
    nodes = settled(rtt, rounds=100, peers=9, seed=rng.randrange(100))
    before = expected(nodes[0].at, nodes[9].at)
    for peer in (1, 9):
        nodes[0].sample(str(peer), 3000 * MILLISECOND, nodes[peer].at)
    assert abs(expected(nodes[0].at, nodes[9].at) - before) < 0.1 * before


@given(st.integers(1, (1 << 56) - 1), st.integers(1, (1 << 56) - 1))
def test_distances_taken_from_the_bits_are_those_of_the_places(one: int, other: int) -> None:
    (here, height, _), (there, other_height, _) = unpack(one), unpack(other)
    assert between(one, other) == dist(here, there) + height + other_height
    assert shift(one, other) == dist(here, there) + abs(height - other_height)
