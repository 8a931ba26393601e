"""Judging what the fidelity gate measured: times by their tolerance, losses by binomial tails; and which pairs are drawn."""

from __future__ import annotations

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.engine.fidelity import Asked, Gate, Round, judge, sample
from opus_controller.model.network import Network
from opus_controller.model.plan import Host, HostAbilities, Plan
from opus_controller.model.shapes import AccessLink, BurstLoss, Direction, PathShape

MS = 1_000_000


def asked(shape: PathShape, access: AccessLink | None = None) -> Asked:
    plan = small_plan()
    table = plan.paths.model_copy(update={"shapes": (shape,)})
    network = Network(hosts=plan.hosts, sites=plan.sites, paths=table)
    a, b = (host.model_copy(update={"access": access or AccessLink()}) for host in (plan.hosts[0], plan.hosts[2]))
    return Asked.of(network, a, b)


def echoes(there_ms: float, back_ms: float, *, answered: int = 8, sent: int = 8) -> Round:
    return Round(sent, [round(there_ms * MS)] * answered, [round(back_ms * MS)] * answered)


@pytest.mark.parametrize(
    ("there_ms", "back_ms", "says"),
    [
        (5.2, 5.2, ""),
        (4.9, 5.0, ""),
        (6.5, 5.0, ""),
        (7.5, 7.5, "a-1 to b-1 and back: 10 ms asked, 15 ms measured"),
        (2.0, 2.0, "a-1 to b-1 and back: 10 ms asked, 4 ms measured"),
        (8.0, 2.5, "a-1 to b-1, one way: 5 ms asked, 8 ms measured"),
        (2.5, 8.0, "a-1 to b-1, one way: 5 ms asked, 2.5 ms measured"),
        (5.0, 7.4, "b-1 to a-1, one way: 5 ms asked, 7.4 ms measured"),
    ],
)
def test_a_link_of_10_ms(there_ms: float, back_ms: float, says: str) -> None:
    """Each direction is judged: errors that cancel in the round trip are found all the same."""
    checked = judge(asked(PathShape(delay_ns=5 * MS)), [echoes(there_ms, back_ms)])
    assert checked.wrong.startswith(says)
    assert bool(checked.wrong) == bool(says)
    assert checked.rtt_ns == pytest.approx((there_ms + back_ms) * MS)


def test_a_busy_moment_is_forgiven_a_wrong_link_is_not() -> None:
    link = asked(PathShape(delay_ns=5 * MS))
    assert judge(link, [echoes(9, 9), echoes(5.1, 5.1)]).wrong == ""
    assert judge(link, [echoes(9, 9), echoes(7.6, 7.4)]).wrong.endswith("15 ms measured (tolerance 2.5 ms)")


def test_what_jitter_and_slow_access_links_add_is_no_error() -> None:
    jittered = asked(PathShape(delay_ns=50 * MS, jitter_ns=10 * MS))
    assert judge(jittered, [echoes(58, 45)]).wrong == ""
    assert judge(jittered, [echoes(85, 50)]).wrong
    slow = AccessLink(up=Direction(rate_bps=64_000), down=Direction(rate_bps=64_000))
    bottleneck = asked(PathShape(delay_ns=5 * MS), slow)  # 84 bytes at 64 kbit/s twice: 21 ms
    assert judge(bottleneck, [echoes(26, 26)]).wrong == ""
    assert judge(bottleneck, [echoes(5, 5)]).wrong == "", "a token bucket lets the first packets pass at once"
    assert judge(bottleneck, [echoes(36, 26)]).wrong


def test_loss_is_judged_where_so_few_echoes_can_tell() -> None:
    plain, lossy = asked(PathShape(delay_ns=5 * MS)), asked(PathShape(delay_ns=5 * MS, loss=0.3))
    assert judge(plain, [echoes(5, 5, answered=6)]).wrong == ""
    assert "0 of the echoes to be lost, 20 of 40 were" in judge(plain, [echoes(5, 5, answered=4)] * 5).wrong
    assert judge(lossy, [echoes(5, 5, answered=4)] * 5).wrong == "", "1 - 0.7^2 is 51%"
    assert "40 of 40" not in judge(lossy, [echoes(5, 5, answered=3)] * 5).wrong
    assert "0 of 40 were" in judge(lossy, [echoes(5, 5)] * 5).wrong
    bursty = asked(PathShape(delay_ns=5 * MS, burst=BurstLoss(p=0.01, r=0.1)))
    assert judge(bursty, [echoes(5, 5, answered=1)] * 5).wrong == "", "one burst explains it"


def test_loss_that_a_round_can_neither_excuse_nor_condemn_is_doubtful() -> None:
    plain, lossy = asked(PathShape(delay_ns=5 * MS)), asked(PathShape(delay_ns=5 * MS, loss=0.3))
    assert [judge(plain, [echoes(5, 5, answered=n)]).doubtful for n in (8, 7, 6, 4)] == [False, False, True, True]
    assert not judge(plain, [echoes(5, 5, answered=6), *[echoes(5, 5)] * 3]).doubtful
    assert [judge(lossy, [echoes(5, 5, answered=n)]).doubtful for n in (1, 4, 8)] == [True, False, True]


def test_silence_is_wrong() -> None:
    link = asked(PathShape(delay_ns=5 * MS))
    assert "8 of 8 were" in judge(link, [echoes(5, 5, answered=0)]).wrong
    assert judge(link, [Round()]).wrong == "a-1 to b-1 and back: no echo could be sent"


def test_the_gate_s_figures_and_its_line() -> None:
    link = asked(PathShape(delay_ns=5 * MS))
    good, bad = judge(link, [echoes(5, 5)]), judge(link, [echoes(7.5, 7.5)])
    gate = Gate("stop", (good, bad), 0.5)
    figures = gate.figures()
    assert (figures["ok"], [pair["ok"] for pair in figures["pairs"]]) == (False, [True, False])
    assert figures["pairs"][1]["asked_ms"] == 10
    assert figures["pairs"][1]["measured_ms"] == 15
    assert figures["pairs"][1]["there_ms"] == {"asked": 5, "measured": 7.5}
    assert "10 ms asked, 15 ms measured" in gate.summary()
    assert Gate("stop", (good,), 0.5).wrong == []


def many(sites: int, groups: int, count: int) -> Plan:
    plan = small_plan()
    hosts: list[Host] = []
    for s in range(sites):
        for g in range(groups):
            for _ in range(count):
                i = len(hosts)
                hosts.append(
                    Host(
                        name=f"h{i}", index=i, site=f"s{s}", group=f"g{g}", address=f"198.18.{i >> 8}.{i & 255}",
                        access=AccessLink(), abilities=HostAbilities(),
                    )
                )  # fmt: skip
    return plan.model_copy(update={"hosts": tuple(hosts)})


def test_pairs_reach_every_site_and_group_and_stay_bounded() -> None:
    hosts = many(sites=6, groups=2, count=3).hosts
    pairs = sample(hosts, "x")
    assert len(pairs) == 32
    assert pairs == sample(hosts, "x") != sample(hosts, "y")
    ends = [host for pair in pairs for host in pair]
    assert {(host.site, host.group) for host in ends} == {(f"s{s}", f"g{g}") for s in range(6) for g in range(2)}
    assert {frozenset(host.site for host in pair) for pair in pairs} >= {
        frozenset({f"s{a}", f"s{b}"}) for a in range(6) for b in range(a + 1)
    }
    assert all(a is not b for a, b in pairs)
    assert {host.site for a, b in sample(many(40, 1, 1).hosts, "x") for host in (a, b)} == {f"s{i}" for i in range(40)}
    assert len(sample(many(490, 1, 1).hosts, "x")) == 32
    assert sample(hosts[:1], "x") == []
