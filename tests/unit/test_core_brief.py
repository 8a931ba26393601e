"""Brief leases: an agent that heard them knows, within what is notable, what it would know from full ones."""

from __future__ import annotations

from helpers.corenet import CoreNet, sites
from hypothesis import given
from hypothesis import strategies as st
from opus_node.core.brief import NOTABLE, NOTABLE_RATE, NOTABLE_RTT, merged, shortened
from opus_node.core.coordinates import pack
from opus_node.core.events import Receive
from opus_node.core.held import Held
from opus_node.core.messages import Demand, Lease, LeaseReply
from opus_node.core.node import NodeCore
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.sizes import encoded_size


def lease(rtt: int = 20, rate: float = 1.0, x: float = 5.0, spare: int = 7, seq: int = 3) -> Lease:
    at = pack([x, 0.0, 0.0, 0.0], 1.0, 0.2)
    demand = (Demand("web", rate, 12 * MILLISECOND),)
    return Lease(seq, 2, 90 * SECOND, rtt * MILLISECOND, 2.0, 1 << 30, 1 << 34, 10**8, demand, at, spare * MILLISECOND)


lives = st.lists(
    st.tuples(st.integers(1, 300), st.floats(0, 50), st.floats(-200, 200), st.integers(0, 100), st.booleans()), max_size=12
)


@given(lives)
def test_an_agent_knows_about_as_much_from_brief_ones(life: list[tuple[int, float, float, int, bool]]) -> None:
    first = lease()
    held, told = Held("n", 0), first
    held.take(first, 0)
    for rtt, rate, x, spare, arrives in life:
        full = lease(rtt, rate, x, spare)
        brief = shortened(full, told)
        if not arrives:  # lost, and so is its answer
            continue
        held.take(brief, 0)
        told = merged(full, brief, told)
        assert abs(held.rtt - full.rtt) <= max(NOTABLE_RTT, NOTABLE * held.rtt)
        assert abs(held.rate("web") - rate) <= max(NOTABLE_RATE, NOTABLE * held.rate("web"))
        assert (held.cpu, held.memory, held.incarnation) == (2.0, 1 << 30, 2)


def test_nothing_new_is_said_in_a_few_bytes() -> None:
    full = lease()
    assert encoded_size(shortened(full, full)) < 12 < 70 < encoded_size(full)


def test_who_is_not_known_is_asked_for_everything_and_known_then() -> None:
    net = CoreNet(sites({("a", "b"): 30.0}), seeds=("a-1",))
    net.boot_all(["a-1", "a-2", "a-3", "b-1", "b-2"])
    net.run(20 * SECOND)
    node = next(node for node in net.live() if node not in net.agents())
    agent = net.snapshot(node).agent
    core = net.cores[agent]
    assert isinstance(core, NodeCore)
    assert core._role is not None
    before = core._role.leases.table.pop(node)  # soft state, lost
    net.run_for(12 * SECOND)
    after = core._role.leases.table[node]
    assert (after.cpu, after.memory, after.bandwidth) == (before.cpu, before.memory, before.bandwidth)
    assert net.snapshot(node).agent == agent


def test_a_stranger_s_brief_lease_makes_no_entry() -> None:
    net = CoreNet(sites({}), seeds=("a-1",))
    net.boot_all(["a-1"])
    net.run(2 * SECOND)
    core = net.cores["a-1"]
    assert isinstance(core, NodeCore)
    ready = core.step(Receive("a-9", shortened(lease(), lease())), net.now)
    answers = [send.message for send in ready.sends if isinstance(send.message, LeaseReply)]
    assert [(one.accepted, one.again) for one in answers] == [(True, True)]
    assert core._role is not None
    assert "a-9" not in core._role.leases.table
