"""The experiments of `opus bench overlay`, each once, on a small matrix; and the lab that they are done in."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isfinite
from pathlib import Path
from random import Random

import pytest
from helpers.plane import matrix_file
from opus_controller.bench.overlay import data, hotspot, judge, placing, silence, steady, table
from opus_controller.bench.overlay.churn import Comings
from opus_controller.bench.overlay.experiments import TINY
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.oracles import delays_ms
from opus_controller.bench.overlay.rows import Line
from opus_controller.bench.overlay.settings import Settings
from opus_controller.bench.worlds import SECOND
from opus_controller.cli._app import run
from opus_controller.model.errors import InvalidRun, ScenarioError
from opus_node.core.events import Event, Ready
from opus_node.core.node import NodeCore

HOSTS, REPLICAS = 30, 3

pytestmark = pytest.mark.timeout(900)  # all rows take a minute of a processor, which others may want too


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matrix_file(tmp_path_factory.mktemp("matrix"), HOSTS)


@pytest.fixture
def lab(path: Path) -> Lab:
    """Settled, with clients that ask 10 times a second together."""
    made = Lab(data.plan(data.Matrix(path).topology(), seed=1, replicas=REPLICAS))
    made.everyone_asks(10)
    made.run_until(80)  # by then replicas are where they stay
    made.forget()
    return made


# The lab


def test_each_live_client_asks_once_at_that_moment(lab: Lab) -> None:
    lab.workload({})
    lab.run_for(5)
    lab.forget()
    names = [host.name for host in lab.plan.hosts]
    lab.power_off(names[:2])
    lab.ask(names, lab.now, deadline_s=3)
    at = lab.now
    lab.run_for(4)
    assert sorted(one["host"] for one in lab.requests) == sorted(names[2:])
    assert {one["issued_at"] for one in lab.requests} == {at}


def test_requests_go_the_way_they_are_told_from_then_on(lab: Lab) -> None:
    ways = {}
    for direct in (False, True):
        lab.reconfigure(direct=direct)
        lab.run_for(20)
        lab.forget()
        apart = {*lab.agents(), *lab.replicas()}
        lab.run_for(20)
        apart |= {*lab.agents(), *lab.replicas()}
        plain = [one for one in lab.requests if one["host"] not in apart]
        ways[direct] = {one["via"] for one in plain}
    assert ways == {False: {"agent"}, True: {"direct"}}


def test_who_fell_silent_is_gone_and_comes_back_as_a_stranger(lab: Lab) -> None:
    victim = next(host.plan.name for host in lab.alive() if host.plan.name not in {*lab.agents(), *lab.replicas()})
    bytes_before = lab.control_bytes()
    lab.power_off([victim])
    assert victim not in lab.snapshots()
    assert lab.control_bytes() == bytes_before
    lab.restart([victim])
    lab.run_for(10)
    assert lab.snapshots()[victim].agent
    assert lab.world.hosts[victim].incarnation == 1


def test_lossy_paths_make_messages_late_and_time_outs_needless(lab: Lab) -> None:
    lab.lose_packets(0.05)
    lab.run_for(30)
    assert any(one["attempts"] > 1 for one in lab.requests)


def test_a_core_that_raises_makes_the_run_invalid(path: Path) -> None:
    class Broken(NodeCore):
        def step(self, event: Event, now: int) -> Ready:
            if now > 2 * SECOND:
                raise KeyError("unheard of")
            return super().step(event, now)

    lab = Lab(data.plan(data.Matrix(path).topology(), seed=1, replicas=1), make_core=Broken)
    with pytest.raises(InvalidRun, match="KeyError"):
        lab.run_until(20)


def test_figures_of_routing_are_those_of_requests_looked_at_one_by_one(lab: Lab) -> None:
    lab.run_until(170)
    serving_before: list[str] = []
    for _ in range(10):  # until no replica moves meanwhile: they do so ever more seldom
        serving_before = sorted(lab.replicas())
        lab.forget()
        lab.run_for(30)
        if sorted(lab.replicas()) == serving_before:
            break
    assert sorted(lab.replicas()) == serving_before
    delay = delays_ms(lab.plan)
    index = {host.name: host.index for host in lab.plan.hosts}
    serving, ideal = [index[name] for name in lab.replicas()], (1, 2, 3)
    took, best, ideals, took_by_all = 0.0, 0.0, 0.0, 0.0
    for one in lab.requests:
        client = index[one["host"]]
        paths = (one["arrived_at"] - one["issued_at"]) / 1e6 - lab.hop.per_message_ns / 1e6 * one["hops"]
        took_by_all += paths
        ideals += min(delay[client, i] for i in ideal)
        if client not in serving:
            took += paths
            best += min(delay[client, i] for i in serving)
    found = judge.routing(lab, delay, ideal)
    assert found.ok == found.requests == len(lab.requests) > 100
    assert found.stretch == pytest.approx(took / best, rel=1e-6)
    assert found.cost == pytest.approx(took_by_all / ideals, rel=1e-6)
    assert found.stretch_with_hops > found.stretch


# Experiments


def test_placement_is_held_against_the_ideal_one(lab: Lab, path: Path) -> None:
    knowledge = placing.Knowledge(data.Matrix(path).topology())
    found = placing.placement(lab, knowledge, REPLICAS)
    index = {host.name: host.index for host in lab.plan.hosts}
    mean = knowledge.delay[:, [index[name] for name in lab.replicas()]].min(axis=1).mean()
    assert found["placement"] == pytest.approx(mean / knowledge.ideal(REPLICAS).mean)
    assert found["placement"] >= 1
    assert found["replicas"] == REPLICAS
    assert found["probes_per_node"] > 1


def test_a_silent_replica_costs_its_own_clients_a_time_out_and_nobody_else(lab: Lab) -> None:
    found = silence.silent_replica(lab, 1, REPLICAS, direct=True)
    assert found["first_requests"] > HOSTS / 2  # every replica was struck once, and nearly every host uses one
    assert 20 < found["extra_p50_ms"] < 2000
    assert len(lab.replicas()) == REPLICAS  # all that happened in futures of this one


def test_half_kills_are_as_many_at_random_as_of_a_region(lab: Lab) -> None:
    found = silence.half_kill(lab, delays_ms(lab.plan), 1, 4)
    kills = found["random"] + found["region"]
    assert len(kills) + found["bereft_random"] + found["bereft_region"] == 4
    assert all(len(kill) == HOSTS // 2 for kill in kills)
    assert len(lab.alive()) == HOSTS


def test_who_comes_and_goes_follows_from_the_seed_alone(path: Path) -> None:
    def live() -> tuple[int, int, list[str]]:
        lab = Lab(data.plan(data.Matrix(path).topology(), seed=1, replicas=REPLICAS))
        lab.run_until(10)
        coming = Comings(lab, Random(5), 20.0)
        coming.live(30)
        assert set(lab.plan.seeds) <= set(lab.snapshots())  # they stay
        return coming.ends, lab.control_bytes(), [host.plan.name for host in lab.alive()]

    first = live()
    assert first == live()
    assert first[0] > 10
    assert len(first[2]) < HOSTS


def test_control_bytes_are_those_of_the_window_and_hardly_depend_on_requests(lab: Lab) -> None:
    lab.everyone_asks(60)
    found = steady.control(lab)
    assert 0 < found["idle_node_mean"] < 1.5 * found["node_mean"]
    assert found["node_mean"] <= found["node_p99"]
    assert found["join_bytes"] > 100
    assert {"Lease", "LeaseReply"} <= set(found["node_kinds"])
    assert {"Ping", "Ack"} <= set(found["agent_kinds"])
    assert sum(found["agent_kinds"].values()) == pytest.approx(found["agent_mean"])


def _node_bytes_at_rest(lab: Lab) -> float:
    """B/s of nodes in the first two minutes in which no role moves: whoever moves costs more than a tight budget (ADR 21)."""
    for _ in range(10):
        before = sorted(lab.agents()), sorted(lab.replicas())
        rate: float = steady.rates(lab, 120)["node_mean"]
        if (sorted(lab.agents()), sorted(lab.replicas())) == before:
            return rate
    raise AssertionError("roles never rest")


def test_a_budget_of_control_bytes_is_kept_and_a_tighter_one_costs_less(path: Path) -> None:
    spent = []
    for budget in (60, 100):
        lab = Lab(
            data.plan(data.Matrix(path).topology(), seed=1, replicas=REPLICAS), Settings.parse([f"control_budget={budget}"])
        )
        lab.everyone_asks(10)
        lab.run_until(300)
        spent.append(_node_bytes_at_rest(lab))
        assert spent[-1] <= budget
    assert spent[0] < 0.9 * spent[1]


def test_demand_that_moves_is_followed_or_counts_as_never_back(lab: Lab) -> None:
    found = hotspot.moving(lab, delays_ms(lab.plan), 1, REPLICAS, 70.0)
    assert 0 <= found["back_s"] <= 70
    assert found["followed"] or found["back_s"] == 70
    assert 0 <= found["moved"] <= REPLICAS
    assert found["placement"] >= 1


# The table


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matrix_file(tmp_path_factory.mktemp("matrix"), 60)


@pytest.fixture(scope="module")
def into(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the figures of `lines` are kept."""
    return tmp_path_factory.mktemp("table") / "kept"


@pytest.fixture(scope="module")
def lines(larger: Path, into: Path) -> dict[str, Line]:
    """Every row that can be measured, tiny."""
    found, _ = table.measure(table.Order(seeds=1, data=larger, scale=TINY, into=into))
    return {line.row.what: line for line in found}


def test_every_row_is_measured_or_says_what_is_missing(lines: dict[str, Line]) -> None:
    assert len(lines) > 40
    for line in lines.values():
        assert line.row.missing or isfinite(line.estimate.value), line
        assert line.verdict != "missing" or line.note == line.row.missing != ""


def test_figures_that_must_hold_for_any_overlay(lines: dict[str, Line]) -> None:
    for what, line in lines.items():
        if what.startswith("placement") and "m = 10" in what:
            assert line.estimate.value >= 1
        if what.startswith(("availability", "half of all")):
            assert 0.5 < line.estimate.value <= 1
        if what.startswith("control bytes, nodes"):
            assert 10 < line.estimate.value < 100_000


def test_a_table_goes_on_where_it_was(larger: Path, into: Path, lines: dict[str, Line]) -> None:
    def again() -> tuple[dict[str, tuple[str, str]], list[str]]:
        news: list[str] = []
        found, _ = table.measure(table.Order(seeds=1, data=larger, scale=TINY, into=into), news.append)
        return {line.row.what: (line.measured, line.note) for line in found}, news

    first = {what: (line.measured, line.note) for what, line in lines.items()}
    assert again() == (first, [])
    (into / "hot-spot" / "1.json").unlink()
    found, news = again()
    assert found == first
    assert [one.partition(":")[0] for one in news] == ["m=10, seed 1"]


def test_a_table_is_of_one_overlay(larger: Path, into: Path, lines: dict[str, Line], tmp_path: Path) -> None:
    def refused(order: table.Order) -> str:
        with pytest.raises(ScenarioError) as error:
            table.measure(order)
        return str(error.value)

    of = table.Order(rows=["regret"], seeds=1, data=larger, scale=TINY, into=into)
    assert "is of other settings;" in refused(replace(of, settings=Settings.parse(["nodes_per_agent=9"])))
    assert "is of other scale;" in refused(replace(of, scale=replace(TINY, kills=3)))
    assert "is of other matrix and scale;" in refused(
        replace(of, data=matrix_file(tmp_path, 60, seed=2), scale=replace(TINY, kills=3))
    )
    about = into / "about.json"
    before = about.read_text()
    about.write_text(json.dumps(json.loads(before) | {"sources": "0" * 64}))
    assert "is of other sources;" in refused(of)
    about.write_text(before)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes.txt").write_text("mine")
    assert "has files, but no about.json" in refused(replace(of, into=tmp_path / "else"))


def test_the_command_prints_one_json_document(larger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "overlay", "--rows", "regret", "--data", str(larger), "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == 2
    assert [row["row"] for row in told["rows"]] == ["regret"] * 2
    assert told["rows"][0]["value"] >= 0
    assert told["rows"][0]["low"] <= told["rows"][0]["value"] <= told["rows"][0]["high"]


def test_a_matrix_of_too_few_hosts_is_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "overlay", "--rows", "placement", "--data", str(path)]) == 2
    assert "30 hosts for 50 replicas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--rows", "placment"], 2, "did you mean 'placement'"),
        (["--rows", "placment", "--rows", "regret"], 2, "did you mean 'placement'"),
        (["--set", "nodes_per_agent=lots"], 2, "nodes_per_agent=lots"),
        (["--data", "/nowhere"], 2, "/nowhere"),
        ([], 3, "skipped"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(data.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["bench", "overlay", *arguments]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
