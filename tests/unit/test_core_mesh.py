"""The mesh's two rules, and the trees that all members work out alike."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from opus_node.core.mesh import Mesh, shortest
from opus_node.core.messages import Measured, MeshLinks
from opus_node.core.types import MILLISECOND

Links = dict[tuple[str, str], int]


def mesh_of(links: Links, seq: int = 1) -> Mesh:
    """Both ends tell each link; round trips in ms."""
    told: dict[str, list[Measured]] = {}
    for (a, b), rtt in links.items():
        told.setdefault(a, []).append(Measured(b, rtt * MILLISECOND))
        told.setdefault(b, []).append(Measured(a, rtt * MILLISECOND))
    mesh = Mesh()
    for origin, own in sorted(told.items()):
        assert mesh.put(MeshLinks(origin, seq, tuple(own)))
    return mesh


def rtts(**by_node: int) -> dict[str, int]:
    return {node: rtt * MILLISECOND for node, rtt in by_node.items()}


def test_a_link_counts_when_both_ends_tell_it() -> None:
    mesh = Mesh()
    mesh.put(MeshLinks("a", 1, (Measured("b", 10),)))
    assert "b" not in mesh.tree("a").delay
    mesh.put(MeshLinks("b", 1, (Measured("a", 12),)))
    assert mesh.tree("a").delay == {"a": 0, "b": 12}, "the longer one, where they differ"


def test_the_last_word_counts() -> None:
    mesh = mesh_of({("a", "b"): 10}, seq=5)
    digest, tree = mesh.digest(), mesh.tree("a")
    assert not mesh.put(MeshLinks("a", 5, ()))
    assert not mesh.put(MeshLinks("a", 4, ()))
    assert mesh.digest() == digest
    assert mesh.tree("a") is tree, "not worked out anew"
    assert mesh.put(MeshLinks("a", 6, ()))
    assert mesh.digest() != digest
    assert "b" not in mesh.tree("a").delay


def test_digests_agree_in_whatever_order_it_was_told() -> None:
    links = [MeshLinks(name, seq, ()) for name in "abcd" for seq in (1, 2)]
    meshes = []
    for seed in range(4):
        order = list(links)
        Random(seed).shuffle(order)
        mesh = Mesh()
        for one in order:
            mesh.put(one)
        meshes.append(mesh)
    assert len({mesh.digest() for mesh in meshes}) == 1
    meshes[0].keep(["a", "b"])
    assert meshes[0].digest() != meshes[1].digest()
    meshes[1].keep(["a", "b"])
    assert meshes[0].digest() == meshes[1].digest()


def test_the_nearest_of_those_that_are_too_far_over_the_mesh_is_wanted() -> None:
    mesh = mesh_of({("a", "b"): 10, ("b", "c"): 10, ("c", "d"): 10})
    assert mesh.wanted("a", rtts(b=10, c=11, d=29), 2.0, away=()) == "", "20 over 11 and 30 over 29 are within the bound"
    assert mesh.wanted("a", rtts(b=10, c=9, d=8), 2.0, away=()) == "d"
    assert mesh.wanted("a", rtts(b=10, c=9, d=8), 2.0, away=("d",)) == "c"
    assert mesh.wanted("a", rtts(b=10, c=9, e=300), 2.5, away=()) == "e", "who cannot be reached is too far at any distance"


def test_the_longest_link_that_nobody_needs_is_spare() -> None:
    mesh = mesh_of({("a", "b"): 10, ("b", "c"): 10, ("a", "c"): 15, ("a", "d"): 30, ("c", "d"): 16})
    assert mesh.spare("a", 1.5, of=("b", "c", "d")) == "d", "31 by way of c is within 45; so is 20 within 22.5 for c"
    assert mesh.spare("a", 1.5, of=("b", "c")) == "c"
    assert mesh.spare("a", 1.01, of=("b", "c", "d")) == ""


def test_no_link_is_left_out_for_a_way_over_who_is_taken_for_dead() -> None:
    mesh = mesh_of({("a", "b"): 10, ("b", "c"): 10})
    assert mesh.wanted("a", rtts(b=10, c=20), 2.0, away=()) == ""
    mesh.bar("b", 0)
    assert mesh.wanted("a", rtts(b=10, c=20), 2.0, away=()) == "c"
    mesh.unbar("b")
    assert mesh.wanted("a", rtts(b=10, c=20), 2.0, away=()) == ""


def test_trees_are_the_same_whoever_is_taken_for_dead_and_whoever_sends_passes_those_by() -> None:
    mesh = mesh_of({("a", "b"): 10, ("b", "c"): 10, ("c", "d"): 10, ("b", "e"): 10})
    tree = mesh.tree("a")
    mesh.bar("b", 0)
    mesh.bar("c", 0)
    assert mesh.tree("a") is tree
    assert tree.delay["d"] == 30 * MILLISECOND
    assert mesh.below(tree, "a") == ["d", "e"], "the children's children, and theirs"
    assert mesh.below(tree, "b") == ["e", "d"] or mesh.below(tree, "b") == ["d", "e"]


def test_parts_without_a_path_hang_on_the_source() -> None:
    """x is new and has no links; c and d lost the one that linked them with the rest."""
    mesh = mesh_of({("a", "b"): 10, ("d", "c"): 10})
    mesh.keep(["a", "b", "c", "d", "x"])
    tree = mesh.tree("a")
    assert (tree.children["a"], tree.children["c"]) == (["b", "c", "x"], ["d"])
    assert (tree.parent["c"], tree.parent["d"], tree.parent["x"]) == ("a", "c", "a")
    assert tree.delay.keys() == {"a", "b"}
    assert mesh.tree("d").children["d"] == ["c", "a", "x"]


@pytest.mark.parametrize("seed", range(5))
def test_trees_are_shortest_paths_and_everybody_is_in_them_once(seed: int) -> None:
    rng = Random(seed)
    names = [f"n{i}" for i in range(12)]
    graph: dict[str, dict[str, int]] = {name: {} for name in names}
    for a, b in combinations(names, 2):
        if rng.random() < 0.4:
            graph[a][b] = graph[b][a] = rng.randint(1, 9)  # many equals
    far = {a: {b: 0 if a == b else graph[a].get(b, 10**9) for b in names} for a in names}
    for k in names:
        for a in names:
            for b in names:
                far[a][b] = min(far[a][b], far[a][k] + far[k][b])
    for source in names:
        tree = shortest(graph, source)
        assert tree.delay == {b: d for b, d in far[source].items() if d < 10**9}
        children = [child for own in tree.children.values() for child in own]
        assert sorted(children) == sorted(set(tree.delay) - {source})
        assert all(tree.delay[child] == tree.delay[p] + graph[p][child] for p, own in tree.children.items() for child in own)
