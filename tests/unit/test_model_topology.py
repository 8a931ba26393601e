"""Topologies: what is written becomes these hosts, these delays, these shapes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from opus_controller.model.errors import ScenarioError
from opus_controller.model.graph import distance_km, fibre_delay_ns
from opus_controller.model.importers.table import import_topology
from opus_controller.model.scenario import shipped
from opus_controller.model.settings import parse_setting
from opus_controller.model.shapes import BurstLoss
from opus_controller.model.topology import Topology, load_topology
from opus_controller.model.topology_hosts import address_of
from opus_controller.model.topology_text import slug

MS = 1_000_000
HEAD = "name: t\nsites: [a, b, c]\n"
TAIL = "groups:\n  - {name: g, sites: all}\n"


def load(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "t.yaml"
    path.write_text(text, encoding="utf-8")
    return load_topology(path)


def rtt_ms(topology: Topology, a: str, b: str) -> float:
    return (topology.shape(a, b).delay_ns + topology.shape(b, a).delay_ns) / MS


MATRICES = {
    "pairs": "{a: {b: 20, c: 30}, b: {c: 50}}",
    "pairs the other way": "{c: {b: 50, a: 30}, b: {a: 20}}",
    "full": "[[0, 20, 30], [20, 0, 50], [30, 50, 0]]",
    "triangle with diagonal": "[[0], [20, 0], [30, 50, 0]]",
    "triangle": "[[], [20], [30, 50]]",
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_every_form_of_the_matrix_means_the_same(tmp_path: Path, matrix: str) -> None:
    topology = load(tmp_path, f"{HEAD}rtt_ms: {matrix}\n{TAIL}")
    assert [topology.shape("a", other).delay_ns for other in "abc"] == [250_000, 10 * MS, 15 * MS]
    assert topology.shape("c", "b").delay_ns == topology.shape("b", "c").delay_ns == 25 * MS


def test_a_round_trip_measured_twice_is_the_mean_of_both(tmp_path: Path) -> None:
    topology = load(tmp_path, f"{HEAD}rtt_ms: [[4, 20, 30], [22, 0, 50], [30, 50, 0]]\n{TAIL}")
    assert topology.shape("a", "b").delay_ns == topology.shape("b", "a").delay_ns == round(10.5 * MS)
    assert topology.shape("a", "a").delay_ns == 2 * MS, "the diagonal is the round trip within the site"
    assert topology.shape("b", "b").delay_ns == 250_000, "a zero there means: not measured"


def test_defaults_and_exceptions_overlay_key_by_key(tmp_path: Path) -> None:
    topology = load(
        tmp_path,
        HEAD
        + "rtt_ms: {a: {b: 20, c: 30}, b: {c: 50}}\n"
        + "path: {jitter: 1ms, loss: 1%}\n"
        + "within: {rtt: 2ms}\n"
        + "paths:\n"
        + "  - {from: a, to: all, jitter: 3ms}\n"
        + "  - {from: a, to: b, both_ways: false, delay: 40ms, burst: {p: 1%, r: 50%}}\n"
        + "  - {from: b, to: b, rtt: 8ms}\n"
        + TAIL,
    )
    ab, ba, ac, bc = (topology.shape(*pair) for pair in ("ab", "ba", "ac", "bc"))
    assert (ab.delay_ns, ab.jitter_ns, ab.loss, ab.burst) == (40 * MS, 3 * MS, 0.0, BurstLoss(p=0.01, r=0.5))
    assert (ba.delay_ns, ba.jitter_ns, ba.loss, ba.burst) == (10 * MS, 3 * MS, 0.01, None)
    assert (ac.delay_ns, ac.jitter_ns) == (15 * MS, 3 * MS)
    assert (bc.delay_ns, bc.jitter_ns, bc.loss) == (25 * MS, 1 * MS, 0.01)
    assert (topology.shape("a", "a").delay_ns, topology.shape("a", "a").jitter_ns) == (1 * MS, 0), "`all` means the others"
    assert topology.shape("b", "b").delay_ns == 4 * MS


def test_paths_alone_may_give_all_delays(tmp_path: Path) -> None:
    text = "name: t\nsites: [a, b]\npaths:\n  - {from: a, to: b, both_ways: false, delay: 10ms}\n"
    back = "  - {from: b, to: a, both_ways: false, delay: 70ms}\n"
    assert rtt_ms(load(tmp_path, text + back + TAIL), "a", "b") == 80
    with pytest.raises(ScenarioError, match=r"t\.yaml:3: paths: nothing gives the delay from b to a"):
        load(tmp_path, text + TAIL)


def test_hosts_of_groups(tmp_path: Path) -> None:
    topology = load(
        tmp_path,
        "name: t\nsites: [{name: oslo, short: no}, paris]\nrtt_ms: {oslo: {paris: 30}}\n"
        "groups:\n"
        "  - {name: few, sites: all, count: 2, access: {delay: 1ms, up: 8Mbit, down: 80Mbit, queue: 100ms, loss: 1%}}\n"
        "  - {name: more, site: paris, count: 1, access: {up: 8Mbit, queue: 3000B}, abilities: {cpu: 2, memory: 1GiB, "
        "processes: 64}}\n"
        "  - {name: lone, site: oslo}\n",
    )
    assert [host.name for host in topology.hosts] == ["no-1", "no-2", "no", "paris-1", "paris-2", "paris-3"]
    assert [host.group for host in topology.hosts] == ["few", "few", "lone", "few", "few", "more"]
    assert [host.index for host in topology.hosts] == list(range(6))
    access = topology.hosts[0].access
    assert (access.delay_ns, access.loss) == (MS, 0.01)
    assert (access.up.rate_bps, access.up.queue_bytes) == (8_000_000, 100_000)
    assert (access.down.rate_bps, access.down.queue_bytes) == (80_000_000, 1_000_000)
    assert topology.hosts[0].abilities.bandwidth == 8_000_000, "the lesser of up and down"
    paris3 = topology.hosts[5]
    assert (paris3.access.up.queue_bytes, paris3.access.down.rate_bps, paris3.access.down.queue_bytes) == (3000, None, None)
    assert (paris3.abilities.cpu, paris3.abilities.memory, paris3.abilities.processes) == (2.0, 1 << 30, 64)


def test_a_rate_without_a_queue_gets_a_tenth_of_a_second(tmp_path: Path) -> None:
    text = "name: t\nsites: [a]\ngroups: [{name: g, site: a, access: {up: 80Mbit, down: 1Mbit}}]\n"
    access = load(tmp_path, text).hosts[0].access
    assert access.up.queue_bytes == 1_000_000
    assert access.down.queue_bytes == 64 << 10, "but room for one segmentation-offload packet"


def test_addresses_stay_in_the_benchmark_network_and_never_end_in_0_or_255() -> None:
    assert [address_of(i) for i in (0, 253, 254, 254 * 256, 512 * 254 - 1)] == [
        "198.18.0.1",
        "198.18.0.254",
        "198.18.1.1",
        "198.19.0.1",
        "198.19.255.254",
    ]


def test_a_graph_takes_the_shortest_way_at_two_thirds_of_light(tmp_path: Path) -> None:
    topology = load(
        tmp_path,
        "name: t\nsites:\n"
        "  - {name: berlin, lat: 52.52, lon: 13.405}\n  - {name: paris, lat: 48.8566, lon: 2.3522}\n  - lab\n"
        "graph:\n  nodes: {frankfurt: {lat: 50.11, lon: 8.68}}\n"
        "  edges:\n    - [berlin, frankfurt]\n    - [frankfurt, paris]\n    - {from: berlin, to: paris, delay: 60ms}\n"
        "    - {from: lab, to: paris, delay: 1ms}\n" + TAIL,
    )
    berlin, frankfurt, paris = (52.52, 13.405), (50.11, 8.68), (48.8566, 2.3522)
    assert distance_km(berlin, paris) == pytest.approx(878, abs=2)
    way = fibre_delay_ns(distance_km(berlin, frankfurt)) + fibre_delay_ns(distance_km(frankfurt, paris))
    assert topology.shape("berlin", "paris").delay_ns == way
    assert 4 * MS < way < 5 * MS
    assert topology.shape("paris", "berlin").delay_ns == way
    assert topology.shape("berlin", "lab").delay_ns == way + MS


def test_a_matrix_in_a_file_beside_the_topology(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(",a,b,c\na,1,20,30\nb,20,,50\nc,34,50,0\n")
    by_name = load(tmp_path, f"name: t\nsites: [c, a]\nrtt_matrix: {{file: m.csv}}\n{TAIL}")
    assert rtt_ms(by_name, "a", "c") == 32, "rows found by name, both directions' mean"
    assert rtt_ms(by_name, "a", "a") == 1
    all_of_it = load(tmp_path, f"name: t\nrtt_matrix: {{file: m.csv}}\n{TAIL}")
    assert [site.name for site in all_of_it.sites] == ["a", "b", "c"]
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress(b"0,20,30\n20,0,50\n30,50,0\n"))
    bare = load(tmp_path, f"name: t\nrtt_matrix: {{file: m.csv.gz, take: 2}}\n{TAIL}")
    assert [host.name for host in bare.hosts] == ["h001", "h002"]
    assert rtt_ms(bare, "h001", "h002") == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", r"m\.csv:2: 1 numbers in a matrix of 2 rows; allowed: a square one"),
        ("0,2\n-3,0\n", r'm\.csv:2: number 1 is "-3"; allowed: milliseconds above 0'),
        ("0,x\n3,0\n", r"m\.csv:2: the row of \"3\" where x belongs"),
        ("0,2,3\n2,0,4\n3,nan,0\n", r'm\.csv:3: number 2 is "nan"; allowed'),
        ("", r"m\.csv:1: the file is empty"),
    ],
)
def test_a_bad_matrix_file_is_named_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ScenarioError, match=rf"t\.yaml:2: rtt_matrix\.file: .*{message}"):
        load(tmp_path, f"name: t\nrtt_matrix: {{file: m.csv}}\n{TAIL}")


def test_a_gzip_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(ScenarioError, match=r"t\.yaml:2: rtt_matrix\.file: .*cannot be read"):
        load(tmp_path, f"name: t\nrtt_matrix: {{file: m.csv.gz}}\n{TAIL}")


# What comes with Opus


def test_shipped_topologies() -> None:
    loaded = {name: load_topology(path) for name, path in shipped("topologies").items()}
    sizes = {name: (len(topology.sites), len(topology.hosts)) for name, topology in loaded.items()}
    assert sizes == {
        "cloud-20": (20, 60),
        "cloud-33": (33, 99),
        "lossy-asymmetric": (5, 25),
        "six-regions": (6, 30),
        "three-hosts": (3, 3),
    }
    for name, topology in loaded.items():
        assert topology.name == name
        assert topology.source, f"{name} does not say where its figures come from"
        assert all(site.place for site in topology.sites), f"{name} has sites that no map can show"


def test_the_six_regions_have_their_measured_round_trips() -> None:
    topology = load_topology(shipped("topologies")["six-regions"])
    assert rtt_ms(topology, "us-east-1", "eu-west-1") == pytest.approx((69.62 + 69.74) / 2, abs=0.001)
    assert rtt_ms(topology, "sa-east-1", "ap-southeast-2") == pytest.approx((312.42 + 312.06) / 2, abs=0.001)
    use1 = next(host for host in topology.hosts if host.name == "use1-1")
    assert (use1.site, use1.access.up.rate_bps) == ("us-east-1", 100_000_000)


@pytest.mark.parametrize("name", ["six-regions", "cloud-20"])
def test_the_clouds_agree(name: str) -> None:
    some, all_of_them = (load_topology(shipped("topologies")[one]) for one in (name, "cloud-33"))
    for a in some.sites:
        for b in some.sites:
            assert some.shape(a.name, b.name).delay_ns == all_of_them.shape(a.name, b.name).delay_ns


def test_the_hard_network_is_lossy_and_asymmetric() -> None:
    topology = load_topology(shipped("topologies")["lossy-asymmetric"])
    shapes = topology.paths.shapes
    assert any(shape.burst for shape in shapes)
    assert any(shape.jitter_ns > 0.1 * shape.delay_ns for shape in shapes)
    assert topology.shape("island", "homes").delay_ns > 5 * topology.shape("homes", "island").delay_ns
    assert any(host.access.up.rate_bps != host.access.down.rate_bps for host in topology.hosts)
    faulty = topology.shape("homes", "offices")
    assert min(faulty.duplicate, faulty.reorder, faulty.corrupt) > 0


# Import


def test_import_of_a_matrix(tmp_path: Path) -> None:
    (tmp_path / "clouds.csv").write_text(",São Paulo,no,123\nSão Paulo,1,20,30\nno,22,1,50\n123,30,50,1\n")
    (tmp_path / "t.yaml").write_text(import_topology(tmp_path / "clouds.csv", source='he said "so"', hosts=2))
    topology = load_topology(tmp_path / "t.yaml")
    assert topology.name == "clouds"
    assert topology.source == 'he said "so"'
    assert [site.name for site in topology.sites] == ["sao-paulo", "no", "123"]
    assert len(topology.hosts) == 6
    assert rtt_ms(topology, "sao-paulo", "no") == 21


GRAPHML = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="label" attr.type="string" for="node" id="l"/>
  <key attr.name="Latitude" attr.type="double" for="node" id="lat"/>
  <key attr.name="Longitude" attr.type="double" for="node" id="lon"/>
  <graph edgedefault="undirected">
    <node id="0"><data key="l">New York</data><data key="lat">40.71</data><data key="lon">-74.00</data></node>
    <node id="1"><data key="l">Chicago</data><data key="lat">41.85</data><data key="lon">-87.65</data></node>
    <node id="2"><data key="l">Somewhere</data></node>
    <node id="3"><data key="l">Chicago</data><data key="lat">41.90</data><data key="lon">-87.60</data></node>
    <edge source="0" target="1"/><edge source="1" target="2"/><edge source="3" target="1"/>
  </graph>
</graphml>
"""


def test_import_of_a_map(tmp_path: Path) -> None:
    (tmp_path / "map.graphml").write_text(GRAPHML)
    text = import_topology(tmp_path / "map.graphml")
    assert "left out: Somewhere" in text
    (tmp_path / "t.yaml").write_text(text)
    topology = load_topology(tmp_path / "t.yaml")
    assert [site.name for site in topology.sites] == ["new-york", "chicago", "chicago-2"]
    assert 11 < rtt_ms(topology, "new-york", "chicago") < 12, "1,146 km of fibre there and back"


@pytest.mark.parametrize(("name", "text"), [("x.csv", "1,2\n"), ("x.graphml", "<oops"), ("x.txt", "hello")])
def test_what_cannot_be_imported_is_told_in_one_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError) as caught:
        import_topology(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_out_of_labels() -> None:
    assert [slug(text) for text in ("São Paulo", "all", "  ", "A" * 60)] == ["sao-paulo", "all-1", "x", "a" * 24]


def test_settings_stand_in_for_what_the_file_says() -> None:
    file = shipped("topologies")["six-regions"]
    as_shipped, wider = load_topology(file), load_topology(file, [parse_setting("groups.servers.count=10")])
    assert (len(as_shipped.hosts), len(wider.hosts)) == (30, 60)
    assert (wider.sites, wider.paths) == (as_shipped.sites, as_shipped.paths)
    with pytest.raises(ScenarioError, match=r"six-regions.yaml:\d+: groups has no entry .nobody.; .*groups.nobody.count=1"):
        load_topology(file, [parse_setting("groups.nobody.count=1")])
