"""Whatever scenario is written: the same plan twice, a plan that hangs together, or one line that says why not."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opus_controller.model.compile import compile_plan
from opus_controller.model.document import load_document
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Churn, Heal, HostFault, LinkChange, Partition, Plan
from opus_controller.model.scenario import load_scenario

SITES = ["us-east-1", "us-west-2", "sa-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2"]
WHO = st.one_of(
    st.sampled_from(["all", "group servers", "20% of hosts", "50%", "3 hosts", "a host", "use1-1", "nobody", "same as x"]),
    st.sampled_from(SITES).map(lambda site: f"site {site}"),
    st.tuples(st.integers(1, 6), st.sampled_from(SITES)).map(lambda pair: f"{pair[0]} of site {pair[1]}"),
    st.sampled_from(["a replica of web", "an agent", "the steward", "a site without replicas of web"]),
)
AT = st.integers(0, 65_000).map(lambda ms: f"{ms}ms")
EVENTS = st.one_of(
    st.builds(
        lambda at, kind, who, more: {"at": at, kind: who, **more},
        AT,
        st.sampled_from(["crash", "power-off", "pause", "restart", "resume", "partition"]),
        WHO,
        st.sampled_from([{}, {"name": "x"}, {"for": "3s"}]),
    ),
    st.builds(
        lambda at, a, b, rtt: {"at": at, "link": f"{a} <-> {b}", "add": {"rtt": f"{rtt}ms"}},
        AT,
        st.sampled_from(SITES),
        st.sampled_from(SITES),
        st.integers(1, 500),
    ),
    st.builds(lambda at: {"at": at, "heal": "x"}, AT),
)
GOOD_LENGTHS = st.one_of(
    st.sampled_from(["30s", "100ms", "5m"]),
    st.builds(
        lambda name_and_shape, key, seconds: {"distribution": name_and_shape[0], key: f"{seconds}s", **name_and_shape[1]},
        st.sampled_from(
            [("exponential", {}), ("weibull", {"shape": 0.6}), ("lognormal", {"shape": 2}), ("pareto", {"shape": 2})]
        ),
        st.sampled_from(["median", "mean", "scale"]),
        st.integers(1, 600),
    ),
)
LENGTHS = st.one_of(
    GOOD_LENGTHS,
    st.sampled_from(["kazaa", "nonsense", {"distribution": "weibull", "median": "1m"}, {"distribution": "exponential"}]),
)


def churn_of(who: Any, lengths: Any, at: Any) -> Any:
    returns = st.one_of(
        lengths.map(lambda lasts: {"downtimes": lasts}),
        st.integers(1, 99).map(lambda share: {"alive": f"{share}%"}),
        st.integers(1, 98).map(lambda low: {"diurnal": {"low": f"{low}%", "high": "99%", "period": "10m"}}),
        st.just({"arrivals": "30/min"}),
    )
    regional = st.builds(
        lambda fault, lasts: {"rate": "120/h", "lasts": lasts, "fault": fault},
        st.sampled_from(["partition", "power-off"]),
        lengths,
    )
    ways = st.sampled_from(["crash", "power-off", {"crash": "50%", "power-off": "50%"}])
    optional = {"spare_seeds": st.booleans(), "start": at, "departures": ways, "regional": regional}
    return st.builds(
        lambda hosts, sessions, coming_back, more: {"hosts": hosts, "sessions": sessions, **coming_back, **more},
        who,
        lengths,
        returns,
        st.fixed_dictionaries({}, optional=optional),
    )


OF_SITES = st.sampled_from(SITES).map(lambda site: f"site {site}")
CHURN = churn_of(WHO, LENGTHS, AT)
GOOD_CHURN = churn_of(st.one_of(OF_SITES, st.just("all")), GOOD_LENGTHS, st.integers(0, 40).map(lambda s: f"{s}s"))
SCENARIOS = st.fixed_dictionaries(
    {
        "name": st.just("s"),
        "topology": st.just("six-regions"),
        "duration": st.just("60s"),
        "applications": st.just([{"name": "web", "replicas": 3}]),
        "seeds": st.one_of(st.integers(1, 35), WHO),
        "workload": st.lists(
            st.builds(lambda who, rate: {"clients": who, "rate": f"{rate}/s"}, WHO, st.integers(1, 9)), max_size=3
        ),
        "timeline": st.lists(EVENTS, max_size=6),
        "churn": st.lists(CHURN, max_size=2),
    }
)


def compiled(scenario: dict[str, Any], seed: int) -> Plan | str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.yaml"
        path.write_text(json.dumps(scenario))  # JSON is YAML
        try:
            return compile_plan(load_scenario(path), seed)
        except ScenarioError as error:
            return str(error).replace(folder, "")


@settings(max_examples=150)
@given(SCENARIOS, st.integers(0, 2**63 - 1))
def test_a_plan_that_hangs_together_twice_or_one_line(scenario: dict[str, Any], seed: int) -> None:
    plan, again = compiled(scenario, seed), compiled(scenario, seed)
    if isinstance(plan, str):
        assert plan == again
        assert plan.startswith("/s.yaml:1: ")
        assert len(plan.splitlines()) == 1
        return
    assert isinstance(again, Plan)
    assert plan.canonical() == again.canonical()
    assert Plan.model_validate_json(plan.canonical()).digest == plan.digest
    _check(plan)


def _check(plan: Plan) -> None:
    """What every runtime may rely on."""
    hosts = {host.name for host in plan.hosts}
    names = [fault.name for fault in plan.timeline]
    assert len(set(names)) == len(names)
    assert all(names)
    assert [fault.at_ns for fault in plan.timeline] == sorted(fault.at_ns for fault in plan.timeline)
    assert set(plan.seeds) <= hosts
    assert plan.seeds
    assert {load.client for load in plan.workload} <= hosts
    assert len({load.seed for load in plan.workload}) == len(plan.workload)
    for k, fault in enumerate(plan.timeline):
        assert 0 <= fault.at_ns <= plan.duration_ns
        match fault:
            case HostFault(same_as=earlier) if earlier:
                assert earlier in names[:k]
            case HostFault(target=target):
                assert target.hosts or target.role
                assert set(target.hosts) <= hosts
            case Partition(a=a, b=b):
                assert a.hosts or a.role
                assert not set(a.hosts) & set(b.hosts)
            case LinkChange(source=source, target=target_site):
                assert {source, target_site} <= set(plan.sites)
            case Heal(undoes=undone):
                assert undone in names[:k]

    if plan.churn is not None:
        _check_churn(plan, plan.churn)


def _check_churn(plan: Plan, churn: Churn) -> None:
    """Every host has one life; events are in order of time; each host leaves and returns in turn, while it is to churn."""
    assert [life.host for life in churn.lives] == [host.name for host in plan.hosts]
    assert [move.at_ns for move in churn.events] == sorted(move.at_ns for move in churn.events)
    lives = {life.host: life for life in churn.lives}
    assert all(bool(life.left_by) is not life.up for life in churn.lives)
    assert set(plan.absent) == {host for host, life in lives.items() if not life.up}
    up = {host: life.up for host, life in lives.items()}
    last: dict[str, int] = {}
    for move in churn.events:
        assert move.hosts
        assert move.at_ns < plan.duration_ns
        for host in move.hosts:
            begins = lives[host].churns_from_ns
            assert begins is not None
            assert last.get(host, begins) < move.at_ns, "no two changes of a host at once"
            assert up[host] is (move.kind != "return")
            up[host], last[host] = not up[host], move.at_ns


@settings(max_examples=100)
@given(GOOD_CHURN, st.integers(0, 2**63 - 1))
def test_churn_hangs_together(churn: dict[str, Any], seed: int) -> None:
    scenario = {"name": "s", "topology": "six-regions", "duration": "70s", "settle": "0s", "churn": churn}
    plan = compiled({**scenario, "applications": [{"name": "web", "replicas": 3}]}, seed)
    if isinstance(plan, str):
        assert "diurnal" in churn, plan
        assert "too long for so deep a fall" in plan
    else:
        _check(plan)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_file_is_read_or_refused_in_one_line(content: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        try:
            assert isinstance(load_document(path).plain(), dict)
        except ScenarioError as error:
            message = str(error)
            assert len(message.splitlines()) == 1
            assert str(path) in message
