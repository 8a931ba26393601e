"""Generated networks: same seed, same bytes; what they say of themselves; their statistics."""

from __future__ import annotations

import itertools
import math
import shlex
import statistics
from pathlib import Path
from random import Random

import pytest
from opus_controller.cli._app import run
from opus_controller.model.errors import ScenarioError
from opus_controller.model.generators.regions import Regions
from opus_controller.model.generators.resample import Resample, balanced, resampled_rtts
from opus_controller.model.generators.transit_stub import TransitStub
from opus_controller.model.importers.network import Matrix
from opus_controller.model.importers.table import read_network
from opus_controller.model.scenario import shipped
from opus_controller.model.topology import Topology, load_topology

PLANETLAB = Path("../shared/data/planetlab-490-rtt-ms.csv.gz")


def loaded(tmp_path: Path, text: str) -> Topology:
    (tmp_path / "generated.yaml").write_text(text)
    return load_topology(tmp_path / "generated.yaml")


def pairs(rtts: list[list[float]]) -> list[float]:
    return [rtts[i][j] for i in range(len(rtts)) for j in range(i)]


def violations(rtts: list[list[float]], rng: Random, tries: int = 20_000) -> float:
    """The share of triples whose longest side is longer than the others together."""
    broken = 0
    for _ in range(tries):
        a, b, c = rng.sample(range(len(rtts)), 3)
        sides = sorted((rtts[a][b], rtts[b][c], rtts[a][c]))
        broken += sides[2] > sides[0] + sides[1]
    return broken / tries


# All of them


GENERATED = ["transit-stub --hosts 40", "regions --hosts 40", "resample cloud-33 --hosts 40"]


@pytest.mark.parametrize("command", GENERATED)
def test_the_source_names_a_command_that_makes_the_same_bytes(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "first.yaml"
    assert run(["topology", "generate", *command.split(), "--seed", "7", "-o", str(out)]) == 0
    assert "40 hosts in" in capsys.readouterr().out
    first = out.read_text()
    topology = load_topology(out)
    assert "SYNTHETIC" in topology.source
    said = topology.source.split("opus topology generate ")[1].split(" (delays")[0].replace("cloud-33.yaml", "cloud-33")
    assert "--seed 7" in said
    assert run(["topology", "generate", *shlex.split(said)]) == 0
    assert capsys.readouterr().out == first
    assert run(["topology", "generate", *command.split(), "--seed", "8"]) == 0
    assert capsys.readouterr().out != first


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("transit-stub --hosts 200000", "--hosts 200000 is out of place; allowed: 1 to 130048"),
        ("transit-stub --hosts 5000 --transits 8 --stub-nodes 12", "5000 hosts on 1152 stub nodes are 1152 sites"),
        ("transit-stub --hosts 5 --transits 99 --stub-nodes 99", "nodes in all domains; allowed: at most 10000"),
        ("transit-stub --hosts 5 --delays 1ms,2ms", "not 4 delays"),
        ("transit-stub --hosts 5 --delays 1,2,3,4", "--delays: 1 has no unit"),
        ("regions --hosts 10001", "allowed: 1 to 10000"),
        ("regions --hosts 5 --regions 34", "--regions 34 of 33 in cloud-33"),
        ("regions --hosts 5 --sigma 9", "a last mile out of place"),
        ("regions --hosts 5 --core nowhere", "there is no such"),
        ("resample cloud-33 --hosts 5 --sites 6", "--sites 6 of 5 hosts; allowed: 1 to 5"),
        ("resample missing.csv --hosts 5", "missing.csv: there is no such file"),
    ],
)
def test_options_out_of_place(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["topology", "generate", *command.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


# Transit and stub


def test_transit_stub_delays_fall_into_classes(tmp_path: Path) -> None:
    topology = loaded(tmp_path, TransitStub(96, seed=3, transit_nodes=3, stubs=2, stub_nodes=4).text())
    assert (len(topology.sites), len(topology.hosts)) == (96, 96)
    rtts = topology.rtts_ms()
    by: dict[str, list[float]] = {"stub": [], "node": [], "domain": [], "far": []}
    for i, a in enumerate(topology.sites):
        for j in range(i):
            one, other = a.name.split("-"), topology.sites[j].name.split("-")
            same = next((k for k in range(3) if one[k] != other[k]), 3)
            by[("far", "domain", "node", "stub")[same]].append(rtts[i][j])
    medians = {key: statistics.median(values) for key, values in by.items()}
    assert medians["stub"] < medians["node"] < medians["domain"] < medians["far"]
    assert min(by["node"]) >= 2 * 2 * 2.5, "down from one stub and up into another, half of 5 ms at least each"
    assert min(by["far"]) >= 2 * (2 * 2.5 + 20), "and from one domain to another, half of 40 ms at least"


def test_few_hosts_are_on_some_stub_nodes_and_many_share_them(tmp_path: Path) -> None:
    few = loaded(tmp_path, TransitStub(30).text())
    assert (len(few.sites), len(few.hosts)) == (30, 30)
    assert len({site.name.split("-")[0] for site in few.sites}) == 4, "in all domains"
    text = TransitStub(1000, transits=1, transit_nodes=2, stubs=2, stub_nodes=4).text()
    many = loaded(tmp_path, text)
    assert (len(many.sites), len(many.hosts)) == (16, 1000)
    assert text.startswith("# 1000 hosts share 16 sites, 62 or 63 in each")
    each = [sum(host.site == site.name for host in many.hosts) for site in many.sites]
    assert set(each) == {62, 63}


def test_the_least_transit_stub_there_is(tmp_path: Path) -> None:
    topology = loaded(tmp_path, TransitStub(1, transits=1, transit_nodes=1, stubs=1, stub_nodes=1).text())
    assert [host.name for host in topology.hosts] == ["t1-1-s1-1"]


# Regions


def test_regions_have_the_measured_core_and_a_last_mile_each(tmp_path: Path) -> None:
    topology = loaded(tmp_path, Regions(990, seed=2).text())
    core = load_topology(shipped("topologies")["cloud-33"])
    assert [site.name for site in topology.sites] == [site.name for site in core.sites]
    for i, row in enumerate(core.rtts_ms()):
        assert topology.rtts_ms()[i] == pytest.approx(row, abs=2e-6)
    assert {sum(host.site == site.name for host in topology.hosts) for site in topology.sites} == {30}
    miles = sorted(2 * host.access.delay_ns / 1e6 for host in topology.hosts)
    assert statistics.median(miles) == pytest.approx(10, rel=0.1)
    assert miles[99] == pytest.approx(4.6, rel=0.15)
    assert miles[890] == pytest.approx(21.6, rel=0.15)
    assert core.source in topology.source


def test_some_regions_and_fewer_hosts_than_regions(tmp_path: Path) -> None:
    some = loaded(tmp_path, Regions(20, regions=6).text())
    assert (len(some.sites), len(some.hosts)) == (6, 20)
    few = loaded(tmp_path, Regions(3).text())
    assert (len(few.sites), len(few.hosts)) == (3, 3)
    sure = loaded(tmp_path, Regions(5, sigma=0, last_mile_ns=8_000_000).text())
    assert {host.access.delay_ns for host in sure.hosts} == {4_000_000}


# Resampled


def test_resampled_first_copies_are_the_measured_matrix(tmp_path: Path) -> None:
    """All of cloud-33's sites, three and a bit of each: median, spread and violations stay, copies are near."""
    core = load_topology(shipped("topologies")["cloud-33"])
    topology = loaded(tmp_path, Resample("cloud-33", 110, seed=4).text())
    names = [site.name for site in topology.sites]
    first = [names.index(site.name) for site in core.sites]
    rtts, of_core = topology.rtts_ms(), core.rtts_ms()
    assert [[rtts[i][j] for j in first] for i in first] == [pytest.approx(row, abs=2e-6) for row in of_core]
    assert statistics.median(pairs(rtts)) == pytest.approx(statistics.median(pairs(of_core)), rel=0.05)
    assert statistics.quantiles(pairs(rtts)) == pytest.approx(statistics.quantiles(pairs(of_core)), rel=0.1)
    assert violations(rtts, Random(1)) <= violations(of_core, Random(1))
    nearest = {site.name: min(r for j, r in enumerate(of_core[i]) if j != i) for i, site in enumerate(core.sites)}
    for name, near in nearest.items():
        assert rtts[names.index(name)][names.index(f"{name}-2")] <= near + 0.001
    assert "sha256" in topology.source


def test_copies_differ_and_both_directions_change_alike() -> None:
    rtt = [[0.0, 20.0, 90.0], [24.0, 0.0, 80.0], [90.0, 80.0, 0.0]]
    drawn = balanced(3, 9, Random("a"))
    assert drawn == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    result = resampled_rtts(rtt, drawn, Random("b"))
    assert result[0][3] == 20
    assert result[3][0] == 24
    assert len({tuple(row) for row in result}) == 9, "no two copies are alike"
    for k in range(9):
        for m in range(9):
            if drawn[k] != drawn[m]:
                more = result[k][m] - rtt[drawn[k]][drawn[m]]
                assert more == pytest.approx(result[m][k] - rtt[drawn[m]][drawn[k]])
                assert 0 <= more <= 80
            elif k != m:
                assert result[k][m] in (20, 80), "one of the nearest neighbours' round trips"


def test_a_metric_stays_one() -> None:
    """Points in a plane, where some triples are on a line: no copy breaks the triangle inequality."""
    rng = Random("points")
    points = [(0, 0), (10, 0), (20, 0), *((rng.uniform(0, 99), rng.uniform(0, 99)) for _ in range(12))]
    rtt = [[math.dist(a, b) for b in points] for a in points]
    result = resampled_rtts(rtt, balanced(15, 50, rng), rng)
    for a, b, c in itertools.permutations(range(50), 3):
        assert result[a][b] <= result[a][c] + result[c][b] + 1e-9


def test_balanced_resampling_keeps_shares() -> None:
    drawn = balanced(7, 45, Random("a"))
    assert sorted({drawn.count(site) for site in range(7)}) == [6, 7]
    assert len(set(balanced(50, 20, Random("a")))) == 20, "fewer than there are: no site twice"


def test_more_hosts_than_sites_share_them(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("0,20,90\n24,0,80\n90,80,0\n")
    text = Resample(str(tmp_path / "m.csv"), 25, sites=10).text()
    assert text.startswith("# 25 hosts share 10 sites, 2 or 3 in each")
    topology = loaded(tmp_path, text)
    assert (len(topology.sites), len(topology.hosts)) == (10, 25)
    assert str(tmp_path) not in text, "the same file elsewhere makes the same bytes"


def test_a_map_is_resampled_by_its_shortest_ways(tmp_path: Path) -> None:
    nodes = "".join(f'node [ id {k} label "c{k}" Latitude 50 Longitude {k} ]\n' for k in range(4))
    edges = "".join(f"edge [ source {k} target {k + 1} ]\n" for k in range(3))
    (tmp_path / "map.gml").write_text(f"graph [\n{nodes}{edges}]\n")
    topology = loaded(tmp_path, Resample(str(tmp_path / "map.gml"), 8).text())
    rtts = topology.rtts_ms()
    assert len(rtts) == 8
    assert rtts[0][6] == pytest.approx(rtts[0][2] + rtts[2][4] + rtts[4][6], abs=1e-4), "first copies, along the line"


def test_one_site_and_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("3\n")
    topology = loaded(tmp_path, Resample(str(tmp_path / "one.csv"), 4).text())
    assert set(pairs(topology.rtts_ms())) == {3.0}
    (tmp_path / "bad.yaml").write_text("name: x\n")
    with pytest.raises(ScenarioError, match="the key 'groups' is missing"):
        Resample(str(tmp_path / "bad.yaml"), 4).text()


def test_planetlab_made_larger_is_still_planetlab() -> None:
    if not PLANETLAB.exists():
        pytest.skip(f"{PLANETLAB} is not here")
    network = read_network(PLANETLAB)
    assert isinstance(network, Matrix)
    rng = Random("planetlab")
    rtts = resampled_rtts(network.rtt_ms.tolist(), balanced(490, 700, rng), rng)
    assert statistics.median(pairs(rtts)) == pytest.approx(134, rel=0.03), "as shared/data/README.md has it"
    assert violations(rtts, Random(2)) / 3 == pytest.approx(0.056, abs=0.01), "a third: of ordered triples, as there"
