"""Who is meant by a phrase."""

from __future__ import annotations

from random import Random

import pytest
from opus_controller.model.scenario import shipped
from opus_controller.model.selectors import Chooser, parse_selector
from opus_controller.model.topology import load_topology


@pytest.fixture(scope="module")
def six() -> Chooser:
    return Chooser(load_topology(shipped("topologies")["six-regions"]))


def choose(chooser: Chooser, *phrases: str, seed: str = "x", without: tuple[str, ...] = ()) -> tuple[str, ...]:
    return chooser.choose([parse_selector(phrase) for phrase in phrases], lambda k: Random(f"{seed}/{k}"), without)


def test_hosts_that_are_named(six: Chooser) -> None:
    us_east = tuple(f"use1-{k}" for k in range(1, 6))
    assert choose(six, "use1-3") == ("use1-3",)
    assert choose(six, "hosts use1-3, euw1-1") == ("use1-3", "euw1-1")
    assert choose(six, "site us-east-1") == choose(six, "site:us-east-1") == us_east
    assert choose(six, "sites us-east-1 and sa-east-1")[5:] == tuple(f"sae1-{k}" for k in range(1, 6))
    assert choose(six, "site us-east-1, host euw1-1") == (*us_east, "euw1-1")
    assert choose(six, "site us-east-1 except use1-1, use1-2") == us_east[2:]
    assert len(choose(six, "all")) == len(choose(six, "group servers")) == len(choose(six, "all hosts")) == 30
    assert choose(six, "euw1-1", "use1-1", "euw1-1") == ("use1-1", "euw1-1"), "each once, in the topology's order"


def test_hosts_that_are_drawn(six: Chooser) -> None:
    assert len(choose(six, "20% of hosts")) == len(choose(six, "20%")) == 6
    assert len(choose(six, "3 hosts")) == 3
    assert len(choose(six, "a host")) == 1
    assert {name[:4] for name in choose(six, "2 of site us-east-1")} == {"use1"}
    assert len(choose(six, "1% of site us-east-1")) == 1, "a share is at least one host"
    assert len(choose(six, "100% of site us-east-1")) == 5
    assert choose(six, "20% of hosts") == choose(six, "20% of hosts")
    assert len({choose(six, "20% of hosts", seed=str(k)) for k in range(20)}) > 10
    drawn_everywhere = {name for k in range(200) for name in choose(six, "20% of hosts", seed=str(k))}
    assert len(drawn_everywhere) == 30, "every host can be drawn"
    for k in range(50):
        assert "use1-1" not in choose(six, "50% of hosts except use1-1", seed=str(k))


def test_who_is_down_is_passed_over_and_nobody_else_changes(six: Chooser) -> None:
    for seed in map(str, range(20)):
        before = choose(six, "5 hosts", seed=seed)
        after = choose(six, "5 hosts", seed=seed, without=before[:1])
        assert set(before[1:]) < set(after)
        assert before[0] not in after
    assert choose(six, "host use1-1", without=("use1-1",)) == ("use1-1",), "named outright"


@pytest.mark.parametrize(
    ("phrase", "role", "app"),
    [
        ("a replica of web", "replica", "web"),
        ("replica", "replica", ""),
        ("the busiest replica of web", "busiest-replica", "web"),
        ("the steward of web", "steward", "web"),
        ("an agent", "agent", ""),
        ("the busiest agent", "busiest-agent", ""),
        ("a site without replicas of web", "site-without-replica", "web"),
        ("a site without a replica", "site-without-replica", ""),
    ],
)
def test_roles(phrase: str, role: str, app: str) -> None:
    selector = parse_selector(phrase)
    assert (selector.role, selector.app, selector.text) == (role, app, phrase)
    assert parse_selector(f"{phrase} except use1-1").excluded == (("host", "use1-1"),)


@pytest.mark.parametrize(
    ("phrase", "role", "share", "count"),
    [
        ("the busiest 5% of hosts", "busiest", 0.05, None),
        ("the 5% busiest hosts", "busiest", 0.05, None),
        ("the oldest 3 hosts", "oldest", None, 3),
        ("3 oldest hosts", "oldest", None, 3),
        ("the best connected host", "best-connected", None, 1),
        ("the best connected 20% of hosts", "best-connected", 0.2, None),
        ("all replicas of web", "replicas", None, None),
        ("all but one replica of web", "replicas-but-one", None, None),
        ("33% of replicas of web", "replicas", 0.33, None),
        ("50% of the replicas", "replicas", 0.5, None),
    ],
)
def test_several_by_live_state(phrase: str, role: str, share: float | None, count: int | None) -> None:
    selector = parse_selector(phrase)
    assert (selector.role, selector.share, selector.count) == (role, share, count)


def test_whose_agent() -> None:
    selector = parse_selector("the agent of use1-3")
    assert (selector.role, selector.of) == ("agent-of", "use1-3")


def test_references() -> None:
    assert parse_selector("same as loss-1").same_as == "loss-1"
    assert parse_selector("everyone else").rest


@pytest.mark.parametrize(
    "phrase", ["", "  ", "who?", "site", "20 % of", "-3 hosts", "0 hosts", "101% of hosts", "an agent of web", 7]
)
def test_nonsense_is_refused_in_one_line(phrase: object) -> None:
    with pytest.raises(ValueError, match="allowed: ") as caught:
        parse_selector(phrase)
    assert "\n" not in str(caught.value)


def test_names_that_are_not_there(six: Chooser) -> None:
    for phrase, message in {
        "use1-9": "did you mean use1-",
        "us-east-1": 'did you mean "site us-east-1"?',
        "servers": 'did you mean "group servers"?',
        "site us-eats-1": "did you mean us-east-1?",
        "5 of site mars": 'there is no site "mars"',
        "all except site mars": 'there is no site "mars"',
        "31 hosts": "allowed: at most 30",
    }.items():
        with pytest.raises(ValueError, match="allowed: ") as caught:
            choose(six, phrase)
        assert message.replace("'", "") in str(caught.value).replace("'", "")
