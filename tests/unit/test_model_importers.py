"""Other people's networks: each format by a small file, its figures as loaded, and what is wrong with a file in one line."""

from __future__ import annotations

import gzip
import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from opus_controller.cli._app import run
from opus_controller.model.errors import ScenarioError
from opus_controller.model.importers.network import Cables, Matrix
from opus_controller.model.importers.table import FORMATS, format_of, import_topology, read_network
from opus_controller.model.topology import Topology, load_topology

KING = """topology E2EGraph 4
failure_model NullFailureModel

node 1
node 2 ns.example
node 3
node 4
1,2 41280
1,3 100001
2,3 7
1,4 -1
2,4 80000
3,4 90000
"""
"""1 and 4 were not measured, each lacks one other: the later is left out."""
SQUARE = "0 41280 100001\n41282 0 7\n100001 7 0\n"
PAIRS = "from,to,p10,p50\nuse1,euw1,60,69.62\neuw1,use1,60,69.74\nuse1,use1,1,5.5\nuse1,apse2,1,199\neuw1,apse2,1,255\n"
SERVERS = (
    '"id","name","title","location","state","country","state_abbv","continent","latitude","longitude"\n'
    '"0","JoaoPessoa","Joao Pessoa","Patos","Paraiba","Brazil","PB","2","-7.0833","-34.8333"\n'
    '"3","Prague","Prague","Prague","Prague","Czech Republic","","3","50.0833","14.4167"\n'
    '"9","Nowhere","Nowhere","","","","","3","0","0"\n'
)
PINGS = (
    '"source","destination","timestamp","min","avg","max","mdev"\n'
    '"0","3","2020-07-20 00:00:17.000","1","200.5","400","1"\n'
    '"0","3","2020-07-20 01:00:17.000","1","201.5","400","1"\n'
    '"3","0","2020-07-20 00:00:17.000","1","203","400","1"\n'
    '"3","77","2020-07-20 00:00:17.000","1","3","400","1"\n'
    '"0","0","2020-07-20 00:00:17.000","0.1","0.2","0.3","0"\n'
)
GML = """Creator "Topology Zoo Toolset"
graph [
  directed 0
  node [ id 0 label "Gr&#252;n" Longitude 8.0 Latitude 50.0 ]
  node [ id 1 label "B" Longitude 9.0 Latitude 50.0 ]
  node [ id 2 label "None" hyperedge 1 ]
  node [ id 3 label "None" Longitude 9.5 Latitude 50.0 ]
  edge [ source 0 target 1 LinkLabel "a" ]
  edge [ source 0 target 1 LinkLabel "b" ]
  edge [ source 1 target 2 ]
]
"""
GRAPHML = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="Latitude" attr.type="double" for="node" id="lat"/>
  <key attr.name="Longitude" attr.type="double" for="node" id="lon"/>
  <graph edgedefault="undirected">
    <node id="0"><data key="lat">40.71</data><data key="lon">-74.00</data></node>
    <node id="1"><data key="lat">41.85</data><data key="lon">-87.65</data></node>
    <edge source="0" target="1"/>
  </graph>
</graphml>
"""
BRITE = """Topology: ( 4 Nodes, 3 Edges )
Model (1 - RTWaxman):  4 5 5 1  2  0.15 0.2 1 1 10.0 1024.0

Nodes: ( 4 )
0\t1\t3\t2\t2\t-1\tRT_NODE
1\t0\t3\t1\t1\t-1\tRT_NODE
2\t4\t3\t1\t1\t-1\tRT_NODE
7\t4\t3\t0\t0\t-1\tRT_NODE

Edges: ( 3 )
0\t0\t1\t769.6\t2.567067754167381\t10.0\t-1\t-1\tE_RT\tU
1\t0\t2\t299.792458\t-1\t10.0\t-1\t-1\tE_RT\tU
2\t7\t7\t1\t1\t10.0\t-1\t-1\tE_RT\tU
"""


def imported(path: Path, **options: object) -> Topology:
    out = path.parent / "imported.yaml"
    out.write_text(import_topology(path, **options))  # type: ignore[arg-type]
    return load_topology(out)


def rtt_ms(topology: Topology, a: str, b: str) -> float:
    return (topology.shape(a, b).delay_ns + topology.shape(b, a).delay_ns) / 1e6


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


# Each format


def test_a_csv_table_of_regions_keeps_both_directions(tmp_path: Path) -> None:
    path = written(tmp_path, "clouds.csv", ",eu-west-1,us-east-1\neu-west-1,3.18,69.743211\nus-east-1,69.62,5.51\n")
    text = import_topology(path)
    assert "[3.18, 69.743211]" in text
    assert "[69.62, 5.51]" in text
    topology = imported(path)
    assert rtt_ms(topology, "eu-west-1", "us-east-1") == pytest.approx((69.743211 + 69.62) / 2, abs=2e-6)
    assert rtt_ms(topology, "eu-west-1", "eu-west-1") == 3.18


def test_a_symmetric_matrix_comes_back_to_the_nanosecond(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rtt = rng.uniform(0.01, 900, (9, 9)).round(5)
    rtt = np.triu(rtt) + np.triu(rtt, 1).T
    path = written(tmp_path, "m.csv", "\n".join(",".join(map(repr, row)) for row in rtt.tolist()))
    topology = imported(path)
    assert topology.rtts_ms() == [[pytest.approx(rtt[i, j], abs=1.1e-6) for j in range(9)] for i in range(9)]


@pytest.mark.parametrize("name", ["m.npy", "m.npz"])
def test_a_numpy_array_with_holes(tmp_path: Path, name: str) -> None:
    rtt = np.array([[0, 20, np.nan, 40], [22, 1, -1, 50], [30, 31, 0, np.nan], [40, 50, 0, 0]], dtype=np.float32)
    with (tmp_path / name).open("wb") as file:
        np.save(file, rtt) if name == "m.npy" else np.savez(file, rtt=rtt)
    network = read_network(tmp_path / name)
    assert isinstance(network, Matrix)
    assert (list(network.labels), list(network.left_out)) == (["h001", "h002", "h003"], ["h004"])
    assert network.rtt_ms.tolist() == [[0, 20, 30], [22, 1, 31], [30, 31, 0]], "one direction stands for both"
    topology = imported(tmp_path / name, unit="s")
    assert rtt_ms(topology, "h001", "h003") == 30_000
    assert rtt_ms(topology, "h001", "h001") == 0.5, "a zero on the diagonal is no figure"


def test_king_as_p2psim_has_it(tmp_path: Path) -> None:
    path = written(tmp_path, "uking-t", KING)
    assert format_of(path) == "king"
    topology = imported(path)
    assert [site.name for site in topology.sites] == ["n1", "n2", "n3"]
    assert "# Without round trips to some others, so left out: n4" in import_topology(path)
    assert [rtt_ms(topology, *pair) for pair in (("n1", "n2"), ("n1", "n3"), ("n2", "n3"))] == [41.28, 100.001, 0.007]
    halves = imported(written(tmp_path, "mking-t", "node 1\nnode 2\n1,2 7\n"), unit="ms", one_way=True)
    assert rtt_ms(halves, "n1", "n2") == 14


def test_king_as_a_square_and_as_triples(tmp_path: Path) -> None:
    square = imported(written(tmp_path, "matrix", SQUARE))
    assert rtt_ms(square, "h001", "h002") == 41.281, "a round trip is of a pair: both directions' mean"
    assert "[0, 41.28, 100.001]" in import_topology(tmp_path / "matrix")
    triples = imported(written(tmp_path, "triples.txt", "1 2 41280\n2 1 41282\n1 3 100001\n2 3 7\n"))
    assert rtt_ms(triples, "n1", "n2") == 41.281
    assert rtt_ms(triples, "n2", "n3") == 0.007


def test_the_site_that_lacks_most_is_left_out(tmp_path: Path) -> None:
    """A star of holes: without its middle nothing is missing, so one is left out, not the four about it."""
    rows = [[0 if i == j else -1 if 2 in (i, j) else 50_000 for j in range(5)] for i in range(5)]
    path = written(tmp_path, "king.matrix", "\n".join(" ".join(map(str, row)) for row in rows))
    network = read_network(path)
    assert isinstance(network, Matrix)
    assert (len(network.labels), list(network.left_out)) == (4, ["h003"])


def test_a_first_row_longer_than_what_is_looked_at(tmp_path: Path) -> None:
    n = 1100
    row = " ".join(["70000"] * n)
    path = written(tmp_path, "matrix", "\n".join([row] * n))
    assert format_of(path) == "king"
    with pytest.raises(ScenarioError, match="1100 sites; allowed: at most 1024 \\(--take N"):
        import_topology(path)
    assert len(imported(path, take=3).sites) == 3


def test_some_sites_are_the_first_or_drawn(tmp_path: Path) -> None:
    rows = [[0 if i == j else 1000 * (i + j) for j in range(30)] for i in range(30)]
    path = written(tmp_path, "king.matrix", "\n".join(" ".join(map(str, row)) for row in rows))
    assert [site.name for site in imported(path, take=3).sites] == ["h001", "h002", "h003"]
    drawn = import_topology(path, take=3, seed=5)
    assert drawn == import_topology(path, take=3, seed=5) != import_topology(path, take=3, seed=6)
    assert drawn.startswith("# 3 of 30 sites: drawn with seed 5.\n")
    topology = imported(path, take=3, seed=5)
    (a, b, _), numbers = topology.sites, [int(site.name[1:]) - 1 for site in topology.sites]
    assert rtt_ms(topology, a.name, b.name) == numbers[0] + numbers[1]


def test_wondernetwork(tmp_path: Path) -> None:
    written(tmp_path, "servers-2020-07-19.csv", SERVERS)
    with gzip.open(tmp_path / "pings.csv.gz", "wt") as file:
        file.write(PINGS)
    topology = imported(tmp_path / "pings.csv.gz")
    assert [site.name for site in topology.sites] == ["joaopessoa", "prague"]
    assert topology.sites[1].place is not None
    assert (topology.sites[1].place.lat, topology.sites[1].place.lon) == (50.0833, 14.4167)
    assert rtt_ms(topology, "joaopessoa", "prague") == 202, "the mean of 201, itself a mean, and 203"
    assert "201" in import_topology(tmp_path / "pings.csv.gz"), "both directions stay in the file"
    assert rtt_ms(topology, "joaopessoa", "joaopessoa") == 0.2


def test_a_line_for_each_pair(tmp_path: Path) -> None:
    path = written(tmp_path, "cloudping.csv", PAIRS)
    assert format_of(path) == "pairs"
    topology = imported(path)
    assert rtt_ms(topology, "use1", "euw1") == pytest.approx(69.68)
    assert rtt_ms(topology, "apse2", "euw1") == 255
    assert rtt_ms(topology, "use1", "use1") == 5.5


def test_a_map_as_gml(tmp_path: Path) -> None:
    path = written(tmp_path, "zoo.gml", GML)
    topology = imported(path)
    assert [site.name for site in topology.sites] == ["grun", "b"]
    assert import_topology(path).startswith("# Without a place or a cable to the others, so left out: None, None\n")
    assert 0.6 < rtt_ms(topology, "grun", "b") < 0.8, "71 km of fibre there and back"


def test_brite(tmp_path: Path) -> None:
    path = written(tmp_path, "net.brite", BRITE)
    topology = imported(path)
    assert [site.name for site in topology.sites] == ["n0", "n1", "n2"]
    assert rtt_ms(topology, "n0", "n1") == pytest.approx(2 * 2.567067754, abs=2e-6)
    assert rtt_ms(topology, "n0", "n2") == 2, "without a delay, its length at the speed of light"
    assert rtt_ms(topology, "n1", "n2") == pytest.approx(2 * 2.567067754 + 2, abs=2e-6)
    assert "left out: n7" in import_topology(path)


def test_a_few_sites_of_a_map_keep_their_round_trips(tmp_path: Path) -> None:
    path = written(tmp_path, "net.brite", BRITE)
    whole, some = imported(path), imported(path, take=2, seed=4)
    a, b = (site.name for site in some.sites)
    assert rtt_ms(some, a, b) == pytest.approx(rtt_ms(whole, a, b), abs=2e-6)


def test_violations_of_the_triangle_inequality_stay(tmp_path: Path) -> None:
    topology = imported(written(tmp_path, "m.csv", "0,10,100\n10,0,10\n100,10,0\n"))
    assert rtt_ms(topology, "h001", "h003") == 100


# Which format


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "0,1\n1,0\n", "csv"),
        ("a.csv", PAIRS, "pairs"),
        ("a.csv", PINGS, "wondernetwork"),
        ("a.csv", KING, "king"),
        ("a", GML, "gml"),
        ("a", GML.replace("graph [", "graph\n["), "gml"),
        ("a", GRAPHML, "graphml"),
        ("a.txt", BRITE, "brite"),
        ("a.txt", SQUARE.replace(" ", "\t"), "king"),
        ("a.gml", "?", "gml"),
        ("a.csv", "", "csv"),
    ],
)
def test_the_content_says_what_a_file_is_and_then_its_name(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert format_of(written(tmp_path, name, text)) == expected


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    path = written(tmp_path, "x.dat", ",a,b\na,0,3\nb,3,0\n")
    with pytest.raises(ScenarioError, match="what is it\\? say it with --format; allowed: numpy, graphml"):
        import_topology(path)
    assert rtt_ms(imported(path, format_name="csv"), "a", "b") == 3
    with pytest.raises(ScenarioError, match="did you mean 'king'\\? allowed"):
        import_topology(path, format_name="kink")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unit": "h"}, "is not known; allowed: us, ms, s"),
        ({"seed": 3}, "allowed: with --take"),
        ({"take": 3}, "--take 3 of 2 sites"),
        ({"hosts": 100_000}, "100000 hosts in each of 2 sites"),
    ],
)
def test_options_out_of_place(tmp_path: Path, options: dict[str, object], said: str) -> None:
    path = written(tmp_path, "a.csv", "0,1\n1,0\n")
    with pytest.raises(ScenarioError, match=said):
        import_topology(path, **options)  # type: ignore[arg-type]


def test_a_map_has_no_unit(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="has no round trips; allowed without --unit"):
        import_topology(written(tmp_path, "a.graphml", GRAPHML), unit="us")
    assert isinstance(read_network(tmp_path / "a.graphml"), Cables)


# What is wrong with a file


WRONG = [
    ("csv", "0,1\n1\n", ":2: 1 numbers in a matrix of 2 rows"),
    ("csv", "0,1\n-1,0\n", ":2: number 1 is -1"),
    ("csv", ",a\nb,1\n", ":2: the row of b where a belongs"),
    ("csv", '0,"' + "9" * 200_000 + '"\n1,0\n', ":1: not CSV"),
    ("csv", "", ":1: the file is empty"),
    ("king", "", ":1: no figure in the file"),
    ("king", "0 1\n1 0 3\n", ":2: 3 figures in a matrix of 2 rows"),
    ("king", "0 1\n1 x\n", ":2: x is not a round trip"),
    ("king", "node 1\nnode 1\n1,2 3\n", ":2: node 1 is given twice"),
    ("king", "node 1\nnode 2\n1,2 3\nnode 3\n", ":4: node 3 after a pair"),
    ("king", "node x\n", ":1: x is not a node"),
    ("king", "node 1\nnode 2\n1,3 3\n", ":3: there is no node 3"),
    ("king", "node 1\nnode 2\n1,2\n", ":3: 1,2; allowed: two nodes and a round trip"),
    ("king", "node 1\nnode 2\n1,2 3\n,\n", ":4: ,; allowed: two nodes"),
    ("king", "node 1\nnode 2\n1,2 3\n1,2 4\n", ":4: the pair 1,2 is given twice"),
    ("king", "node 1\nnode 2\n1,2 many\n", ":3: many is not a round trip"),
    ("king", "node 1\nnode 2\n1,2 -1\n", "no two of 2 sites have a round trip"),
    ("king", "node 1\nnode 2\n1,2 99000000\n", "99000 ms from n1 to n2; allowed: at most 60000 ms"),
    ("king", "node 1\n", "no two of 1 sites"),
    ("king", "?\n", ":1: ? where a node"),
    ("pairs", "from,to\na,b\n", ":1: no column p50 or"),
    ("pairs", "", ":1: no column from or"),
    ("pairs", "from,to,p50\na,b,3\n,b,3\n", ":3: ,b,3 names no pair"),
    ("pairs", "from,to,p50\na,b,3\na,b,4\n", ":3: a to b is given twice"),
    ("pairs", "from,to,p50\na,b,x\n", ":2: x is not a round trip"),
    ("pairs", "from,to,p50\na,b\n", "no two of 2 sites"),
    ("pairs", "from,to,p50\n", "0 sites; allowed"),
    ("pairs", "from,to,p50\n\0", ":2: not text"),
    ("wondernetwork", "source,destination,avg\n0\n", ":2: 1 values"),
    ("wondernetwork", "source,destination,avg\n0,3,x\n", ":2: x is not a round trip"),
    ("wondernetwork", "source,destination,avg\n5,6,1\n", "no ping between two of the servers"),
    ("wondernetwork", "source,avg\n", ":1: no column destination"),
    ("gml", "graph [ node [", "not GML: expected"),
    ("gml", "graph [ node 5 ]", "not GML"),
    ("gml", "graph [ node [ id 0 ] ]", "no node has Latitude"),
    ("gml", 'graph [ node [ id 0 label "a" Latitude "x" Longitude 3 ] ]', "the node a is at"),
    ("gml", "graph [ node [ id 0 Latitude 1 Longitude 3 ] ]", "no cable joins two of its 1 nodes"),
    ("graphml", "<graphml", "not GraphML"),
    ("graphml", GRAPHML.replace("40.71", "140.71"), "the node 0 is at 140.71, -74.0"),
    ("brite", "", "0 lines of Nodes where it says 0"),
    ("brite", BRITE.replace("Edges: ( 3 )", "Edges: ( 4 )"), "3 lines of Edges where it says 4"),
    ("brite", BRITE.replace("7\t4\t3", "2\t4\t3"), ":8: "),
    ("brite", BRITE.replace("0\t0\t1\t", "0\t0\t5\t"), ":11: there is no node 5"),
    ("brite", BRITE.replace("2.567067754167381", "fast"), ":11: length 769.6, delay fast"),
    ("brite", BRITE.replace("2.567067754167381\t10.0\t-1\t-1\tE_RT\tU", ""), ":11: 4 values of an edge"),
    ("numpy", "graph", "not a NumPy array"),
]


@pytest.mark.parametrize(("format_name", "text", "said"), WRONG, ids=[f"{k}-{w[0]}" for k, w in enumerate(WRONG)])
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, format_name: str, text: str, said: str) -> None:
    if format_name == "wondernetwork":
        written(tmp_path, "servers.csv", SERVERS)
    path = written(tmp_path, "file", text)
    with pytest.raises(ScenarioError) as caught:
        import_topology(path, format_name=format_name)
    assert said in str(caught.value).replace('"', "")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_every_format_has_a_test_of_what_is_wrong() -> None:
    assert {name for name, _, _ in WRONG} == set(FORMATS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"0","A","","","","","","","91","0"', ":2: no place is at 91,0"),
        ('"0","A","","","","","","","",""', ":2: no place is at"),
        ('"0","A"', ":2: 2 values"),
        ('"0","A","","","","","","","1","0"\n"0","A","","","","","","","1","0"', ":3: the server 0 is given twice"),
    ],
)
def test_wrong_servers_are_told_by_their_own_file(tmp_path: Path, line: str, said: str) -> None:
    servers = written(tmp_path, "servers.csv", SERVERS.splitlines()[0] + "\n" + line + "\n")
    with pytest.raises(ScenarioError) as caught:
        import_topology(written(tmp_path, "pings.csv", PINGS))
    assert f"{servers}{said}" in str(caught.value).replace('"', "")


def test_pings_without_servers_or_with_two(tmp_path: Path) -> None:
    path = written(tmp_path, "pings.csv", PINGS)
    with pytest.raises(ScenarioError, match="there: none; needed: one"):
        import_topology(path)
    for name in ("servers-1.csv", "servers-2.csv"):
        written(tmp_path, name, SERVERS)
    with pytest.raises(ScenarioError, match=r"there: servers-1\.csv, servers-2\.csv"):
        import_topology(path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3)), "the array is 2 x 3"),
        (np.zeros(4), "the array is 4;"),
        (np.array(3.0), "a single figure"),
        (np.zeros((2, 2), dtype=complex), "complex128; allowed: whole or real"),
        (np.full((2, 2), "a"), "<U1; allowed"),
        (np.full((2, 2), np.inf), "inf ms from h001"),
        (np.array([[{}, 1], [1, 2]], dtype=object), "not a NumPy array of numbers"),
    ],
    ids=["shape", "vector", "scalar", "complex", "text", "infinite", "pickled"],
)
def test_arrays_that_are_no_matrix(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ScenarioError) as caught:
        import_topology(tmp_path / "a.npy")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_archives_that_hold_no_single_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    with pytest.raises(ScenarioError, match=r"2 arrays \(a, b\); allowed: an \.npz with one"):
        import_topology(tmp_path / "two.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ScenarioError, match="not a NumPy array"):
        import_topology(tmp_path / "text.npz")
    whole = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ScenarioError, match="not a NumPy array"):
        import_topology(tmp_path / "cut.npz")


def test_broken_gzip_and_other_text(tmp_path: Path) -> None:
    whole = gzip.compress(b"from,to,p50\na,b,1\n" * 2000, mtime=0)
    for k, raw in enumerate((whole[:40], b"hello", whole[:30] + b"\xff" * 20 + whole[50:])):
        path = tmp_path / f"{k}.csv.gz"
        path.write_bytes(raw)
        with pytest.raises(ScenarioError) as caught:
            import_topology(path)
        assert str(caught.value).startswith(f"{path}: cannot be read")
    (tmp_path / "latin.csv").write_bytes("from,to,p50\nä,b,1\n".encode("latin-1"))
    with pytest.raises(ScenarioError, match="not UTF-8"):
        import_topology(tmp_path / "latin.csv")


def test_labels_of_any_kind_become_a_file_that_loads(tmp_path: Path) -> None:
    labels = ["a\x07b", "#", "São", "Sao", "all", "x" * 60, "x" * 61, "7", "no", "tail"]
    lines = [f"{a},{b},{'' if b == 'tail' else 5}" for a, b in itertools.combinations(labels, 2)]
    path = written(tmp_path, "p.csv", "from,to,p50\n" + "\n".join(lines) + "\n")
    topology = imported(path, source="line\nbreak \x7f", name="Names!")
    assert topology.name == "names"
    assert [site.name for site in topology.sites][2:5] == ["sao", "sao-2", "all-1"]
    assert len({site.name for site in topology.sites}) == len(labels) - 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "uking-t", KING)
    assert run(["topology", "import", str(path), "--hosts", "2", "-o", str(tmp_path / "k.yaml")]) == 0
    assert "6 hosts in 3 sites; median round trip between sites 41.3 ms" in capsys.readouterr().out
    assert run(["topology", "import", str(path), "--format", "csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["topology", "import", str(path), "-o", str(tmp_path / "no" / "k.yaml")]) == 2
