"""Whatever is lost, doubled and reordered, and whichever third dies: the live end with every update, in order, each once."""

from __future__ import annotations

from functools import partial

from helpers.spreading import plane
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from opus_node.core.linking import DEGREE
from opus_node.core.messages import Update
from opus_node.core.spread import Deliver
from opus_node.core.types import MILLISECOND, SECOND, NodeId

MEMBERS = 9
HEALED = 60 * SECOND
"""Hellos come every two seconds, to a neighbour and to somebody by chance."""


class Members(RuleBasedStateMachine):
    """Nine members behind a bad network. Who dies stays dead; at most a third does."""

    @initialize(
        seed=st.integers(0, 10**6),
        loss=st.sampled_from([0.0, 0.1, 0.3]),
        duplicate=st.sampled_from([0.0, 0.2]),
        jitter=st.sampled_from([0, 20 * MILLISECOND, 200 * MILLISECOND]),
    )
    def start(self, seed: int, loss: float, duplicate: float, jitter: int) -> None:
        world = self.world = plane(MEMBERS, seed)
        world.loss, world.duplicate, world.jitter = loss, duplicate, jitter
        self.versions: dict[NodeId, int] = {}
        self.order: dict[tuple[NodeId, NodeId], int] = {}
        for name, member in world.members.items():
            told = member.spread._deliver  # what the world is told, checked on the way
            member.spread._deliver = partial(self.check, name, told)

    def check(self, me: NodeId, told: Deliver, update: Update, missed: int, by: NodeId) -> None:
        told(update, missed, by)
        source, version = update.source, update.version
        assert version == self.order.get((me, source), 0) + missed + 1, "in order, each once"
        assert not missed, "nothing was published that is kept no longer"
        self.order[me, source] = version

    @rule(which=st.integers(0, MEMBERS - 1), content=st.binary(max_size=20))
    def publish(self, which: int, content: bytes) -> None:
        live = self.world.live()
        source = live[which % len(live)]
        self.versions[source] = self.world.publish(source, content)

    @rule(span=st.sampled_from([5 * MILLISECOND, 300 * MILLISECOND, 5 * SECOND]))
    def wait(self, span: int) -> None:
        self.world.run(span)

    @precondition(lambda self: len(self.world.dead) < MEMBERS // 3)
    @rule(which=st.integers(0, MEMBERS - 1))
    def kill(self, which: int) -> None:
        live = self.world.live()
        self.world.kill([live[which % len(live)]])

    @precondition(lambda self: self.world.dead)
    @rule()
    def come_back(self) -> None:
        self.world.revive()

    @invariant()
    def degree_is_bounded(self) -> None:
        for name in self.world.live():
            assert len(self.world.members[name].spread.neighbours) <= DEGREE

    def teardown(self) -> None:
        """The network behaves from now on: what any live member has, all live ones get."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.loss, world.jitter = 0.0, 0
        world.run(HEALED)
        live = world.live()
        for source in world.members:
            come = {self.order.get((name, source), 0) for name in live}
            assert len(come) == 1, f"of {source} some have {come}"
            if source in live:
                assert come == {self.versions.get(source, 0)}


TestMembers = Members.TestCase
TestMembers.settings = settings(max_examples=15, stateful_step_count=12)
