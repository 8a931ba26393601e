"""What netem links would ask of a kernel, without one: marks, trees, cuts, quantisation, netlink bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fidelity.live import network_of
from hypothesis import given
from hypothesis import strategies as st
from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Cut, Network
from opus_controller.model.shapes import AccessLink, BurstLoss, Direction, PathShape
from opus_controller.net import netem_desired, netem_port, netem_rates, tc_qdisc
from opus_controller.net.netem_desired import CLASS_MASK, HANDLE, PATTERN_MASK, Planner
from opus_controller.net.netem_options import (
    LARGEST_LIMIT,
    SMALLEST_LIMIT,
    NetemOptions,
    combine,
    encode,
    refused,
    share,
    with_limit,
)
from opus_controller.net.netem_port import Port
from opus_controller.net.tc_netlink import Netlink, Request
from opus_controller.net.userspace_jitter import table

MS = 1_000_000
NONE = AccessLink()


# --- shapes to options ---


def test_access_links_are_folded_in() -> None:
    """Delays add up; three independent chances of loss make one."""
    near, far = AccessLink(delay_ns=15 * MS, loss=0.1), AccessLink(delay_ns=5 * MS, loss=0.2)
    options = combine(near, PathShape(delay_ns=30 * MS, loss=0.5), far)
    assert options.delay_ns == 50 * MS
    assert options.loss == pytest.approx(1 - 0.9 * 0.5 * 0.8)


def test_access_loss_is_added_to_both_states_of_a_burst() -> None:
    options = combine(AccessLink(loss=0.1), PathShape(burst=BurstLoss(p=0.05, r=0.2, loss_bad=0.8, loss_good=0.01)), NONE)
    assert options.loss == 0
    assert options.burst is not None
    assert list(options.burst) == pytest.approx([0.05, 0.2, 1 - 0.9 * 0.2, 1 - 0.9 * 0.99])


def test_gilbert_elliott_h_is_what_gets_through_in_the_bad_state() -> None:
    """The kernel's h is 1 - loss in the bad state; its k1 is the loss in the good state itself."""
    encoded = encode(NetemOptions(burst=(0.1, 0.2, 0.9, 0.01)), 0)
    assert struct.pack("=4I", share(0.1), share(0.2), share(1 - 0.9), share(0.01)) in encoded
    assert struct.pack("=4I", share(0.1), share(0.2), share(0.9), share(0.01)) not in encoded


def test_limit_grows_with_rate_and_delay() -> None:
    """100 Mbit/s of 64-byte packets for 200 ms: 39,000 packets under way, and the default would be 1,000."""
    path = NetemOptions(delay_ns=200 * MS)
    assert with_limit(path, 100_000_000).limit >= 100_000_000 * 0.2 / (64 * 8)
    assert with_limit(path, 1_000).limit == SMALLEST_LIMIT
    assert with_limit(path, None).limit == LARGEST_LIMIT
    assert with_limit(replace(path, jitter_ns=100 * MS), 100_000_000).limit > with_limit(path, 100_000_000).limit


def test_what_the_kernel_did_not_accept_is_named() -> None:
    asked = NetemOptions(delay_ns=50 * MS, loss=0.1)
    assert refused(asked, encode(asked, 7)) == []
    [line] = refused(asked, encode(replace(asked, loss=0.2), 7))
    assert line.startswith("loss asked")


def test_jitter_beyond_the_kernels_range_is_refused_in_words() -> None:
    with pytest.raises(PlatformError, match=r"2147 ms.*--links userspace"):
        combine(NONE, PathShape(jitter_ns=3_000 * MS), NONE)


@pytest.mark.parametrize("name", ["normal", "pareto", "paretonormal"])
def test_tables_are_those_of_iproute2(name: str) -> None:
    """To the last but one unit of 8,192, where iproute2's own are installed."""
    files = [path for place in ("/usr/lib", "/usr/share") for path in Path(place).glob(f"**/tc/{name}.dist")]
    if not files:
        pytest.skip("iproute2's distribution tables are not installed")
    lines = files[0].read_text().splitlines()
    theirs = [int(word) for line in lines if not line.startswith("#") for word in line.split()]
    assert len(theirs) == len(table(name))
    assert max(abs(a - b) for a, b in zip(theirs, table(name), strict=True)) <= 1


# --- marks and trees ---


def network(count: int, sites: int) -> Network:
    """`count` hosts, dealt out to sites, with delays that differ between all pairs of sites."""
    names = [f"h{i}" for i in range(count)]
    made = network_of(dict.fromkeys(names, NONE), {})
    shapes = tuple(PathShape(delay_ns=(i + 1) * MS) for i in range(sites * sites))
    return replace(
        made,
        hosts=tuple(host.model_copy(update={"site": f"s{host.index % sites}"}) for host in made.hosts),
        sites=tuple(f"s{i}" for i in range(sites)),
        paths=made.paths.model_copy(
            update={"shapes": shapes, "index": tuple(tuple(i * sites + j for j in range(sites)) for i in range(sites))}
        ),
    )


def test_hosts_of_a_site_share_a_class() -> None:
    desired = Planner().desired(network(100, 4))
    assert len(set(desired.marks.values())) == 4
    assert {len(tree.classes) for tree in desired.trees.values()} == {4}
    assert len({id(tree) for tree in desired.trees.values()}) == 4


def test_a_class_has_the_delay_of_its_source() -> None:
    wanted = network(8, 4)
    desired = Planner().desired(wanted)
    for source in wanted.hosts:
        for target in wanted.hosts:
            minor = desired.marks[source.name] & CLASS_MASK & ~HANDLE
            assert desired.trees[target.name].classes[minor].delay_ns == wanted.one_way_ns(source, target)


def test_numbers_stay_the_same_through_changes() -> None:
    """A path that nobody touched is not touched: equal marks and equal options, or packets would change class."""
    planner, wanted = Planner(), network(8, 4)
    first = planner.desired(wanted)
    second = planner.desired(replace(wanted, host_overrides={("h1", "h2"): PathShape(delay_ns=99 * MS)}))
    assert {name for name in first.marks if first.marks[name] != second.marks[name]} == {"h1"}
    third = planner.desired(wanted)
    assert third.marks == first.marks
    assert third.trees == first.trees


def test_a_partition_costs_as_many_changes_as_it_names_hosts() -> None:
    """100 hosts from 900 others: about 2,000 requests both ways, not 180,000."""
    planner, wanted = Planner(), network(1000, 10)
    ports = {host.name: Port(host, None) for host in wanted.hosts}
    before = planner.desired(wanted)
    for name, port in ports.items():
        port.mark = before.marks[name]
    few, many = frozenset(f"h{i}" for i in range(100)), frozenset(f"h{i}" for i in range(100, 1000))
    after = planner.desired(replace(wanted, cuts=(Cut(few, many), Cut(many, few))))
    requests = 0
    for name, port in ports.items():
        requests += len(list(netem_port.refuse(port, after.refused[name])))
        requests += len(list(netem_port.set_mark(port, after.marks[name])))
    assert requests == 2000


@given(data=st.data())
def test_cuts_drop_exactly_what_is_cut(data: st.DataObject) -> None:
    """Whatever cuts lie over each other, a receiver refuses a source's mark if and only if the pair is cut."""
    names = [f"h{i}" for i in range(6)]
    groups = st.frozensets(st.sampled_from(names), max_size=4)
    wanted = network(6, 2)
    planner = Planner()
    for _ in range(3):
        cuts = tuple(Cut(data.draw(groups), data.draw(groups)) for _ in range(data.draw(st.integers(0, 4))))
        state = replace(wanted, cuts=cuts)
        desired = planner.desired(state)
        for source in names:
            for target in names:
                pattern = desired.marks[source] & PATTERN_MASK
                assert (pattern in desired.refused.get(target, frozenset())) == state.is_cut(source, target)


def test_a_pattern_number_is_not_given_on_in_the_same_change() -> None:
    """Or, for the moment between a receiver's change and a source's, the wrong source would be cut."""
    planner, wanted = Planner(), network(4, 2)
    one = Cut(frozenset({"h0"}), frozenset({"h1"}))
    other = Cut(frozenset({"h2"}), frozenset({"h3"}))
    first = planner.desired(replace(wanted, cuts=(one,))).marks["h0"] & PATTERN_MASK
    second = planner.desired(replace(wanted, cuts=(other,))).marks["h2"] & PATTERN_MASK
    assert first
    assert second
    assert first != second


# --- quantisation ---


def options(*delays_ms: float) -> dict[int, NetemOptions]:
    return {i: NetemOptions(delay_ns=int(ms * MS)) for i, ms in enumerate(delays_ms, 1)}


def test_few_groups_are_not_quantised() -> None:
    found = netem_desired.tree(options(*range(64)))
    assert len(found.classes) == 64
    assert not found.aliases
    assert found.error_ns == 0


def test_equal_delays_share_without_error() -> None:
    found = netem_desired.tree(options(*(i % 10 for i in range(500))))
    assert len(found.classes) == 10
    assert len(found.aliases) == 490
    assert found.error_ns == 0


@given(st.lists(st.floats(0, 400), min_size=65, max_size=300, unique=True))
def test_quantisation_keeps_its_word(delays: list[float]) -> None:
    """At most 64 classes, every group in one, none further from its class than the error that is recorded."""
    asked = options(*delays)
    found = netem_desired.tree(asked)
    assert len(found.classes) <= 64
    for group, wanted in asked.items():
        served = found.classes[found.aliases.get(group, group)]
        assert abs(served.delay_ns - wanted.delay_ns) <= found.error_ns + 1


def test_quantisation_of_a_planetlab_sized_matrix_is_relative() -> None:
    """490 delays up to 400 ms: short ones lose fractions of a millisecond, and none more than 4%."""
    found = netem_desired.tree(asked := options(*(400 * (i / 490) ** 2 for i in range(490))))
    for group, wanted in asked.items():
        served = found.classes[found.aliases.get(group, group)]
        assert abs(served.delay_ns - wanted.delay_ns) <= 0.04 * (wanted.delay_ns + 5 * MS)


def test_kinds_of_loss_are_never_mixed() -> None:
    """Quantisation moves delays, nothing else; too many kinds is an error in words."""
    asked = {i: NetemOptions(delay_ns=i * MS, loss=0.1 * (i % 3)) for i in range(1, 200)}
    found = netem_desired.tree(asked)
    for group, wanted in asked.items():
        assert found.classes[found.aliases.get(group, group)].loss == wanted.loss
    with pytest.raises(PlatformError, match=r"65 different kinds.*--links userspace"):
        netem_desired.tree({i: NetemOptions(loss=i / 1000) for i in range(1, 66)})


# --- queues ---


class OneKernel(Netlink):
    """Takes requests and sends back what it has made of them."""

    def __init__(self, makes: Callable[[bytes], bytes] = lambda body: body) -> None:
        self.makes = makes
        self.asked: list[Request] = []

    def do(self, requests: Iterable[Request]) -> list[bytes]:
        made = list(requests)
        self.asked += made
        return [self.makes(request.body) for request in made]


def _rates_of(kernel: OneKernel) -> list[tuple[int, int]]:
    found = [tc_qdisc.read_qdisc(request.body) for request in kernel.asked]
    kernel.asked.clear()
    return [tc_qdisc.read_tbf(one.options) for one in found if one.kind == "tbf"]


def test_a_rate_and_its_queue_are_changed_in_place_and_end_without_a_limit() -> None:
    kernel = OneKernel()
    slow = AccessLink(up=Direction(rate_bps=1_000_000), down=Direction(rate_bps=10_000_000, queue_bytes=77_000))
    port = Port(network_of({"a": slow}, {}).hosts[0], kernel)
    netem_rates.set_rates([port], kernel)
    assert _rates_of(kernel) == [(1_000_000, 15_000), (10_000_000, 77_000)]
    netem_rates.set_rates([port], kernel)
    assert kernel.asked == [], "it is so already"
    port.host = network_of({"a": AccessLink(up=slow.up)}, {}).hosts[0]
    netem_rates.set_rates([port], kernel)
    assert [rate for rate, _ in _rates_of(kernel)] == [netem_rates.ANY_BPS], "what waits is not thrown away with its bucket"


def test_another_rate_than_the_one_asked_for_is_refused() -> None:
    kernel = OneKernel(lambda body: body.replace(struct.pack("=Q", 1_250_000), struct.pack("=Q", 1_250_001)))
    host = network_of({"a": AccessLink(down=Direction(rate_bps=10_000_000))}, {}).hosts[0]
    with pytest.raises(PlatformError, match="a's down rate"):
        netem_rates.set_rates([Port(host, None)], kernel)
