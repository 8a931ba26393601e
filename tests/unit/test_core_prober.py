"""Round trips by datagrams: asked again while nothing comes, no answer taken for that to another try."""

from __future__ import annotations

from random import Random

from opus_node.core.context import Context
from opus_node.core.messages import Probe, ProbeReply
from opus_node.core.prober import AGAIN, PENDING, TRIES, Prober
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeConfig, NodeId


class Asker:
    """A prober, its clock, and what it was answered."""

    def __init__(self) -> None:
        self.ctx = Context("me", NodeConfig(apps=()), Random(1))
        self.prober = Prober(self.ctx)
        self.found: list[tuple[NodeId, Nanos]] = []

    def heard(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        self.found.append((node, rtt))

    def sent(self) -> list[Probe]:
        out = [send.message for send in self.ctx.sends if isinstance(send.message, Probe)]
        self.ctx.sends.clear()
        return out

    def at(self, now: Nanos) -> list[Probe]:
        """What is sent up to then."""
        out = self.sent()
        while (due := self.ctx.timers.next()) is not None and due <= now:
            self.ctx.now = due
            self.ctx.timers.fire(due)
            out += self.sent()
        self.ctx.now = now
        return out

    def reply(self, probe: Probe, source: NodeId = "peer") -> None:
        self.prober.on_reply(source, ProbeReply(probe.nonce, False, 0, stream=probe.stream))


def test_one_datagram_measures_and_feeds_the_coordinates() -> None:
    asker = Asker()
    asker.prober.ask("peer", asker.heard)
    (probe,) = asker.at(40 * MILLISECOND)
    assert not probe.stream
    asker.reply(probe)
    assert asker.found == [("peer", 40 * MILLISECOND)]
    assert asker.ctx.position.samples == 1
    assert asker.at(10 * SECOND) == [], "it need not be asked again"


def test_a_lost_one_is_asked_again_and_measured_from_then() -> None:
    asker = Asker()
    asker.prober.ask("peer", asker.heard)
    first, second = asker.at(AGAIN + 30 * MILLISECOND)
    asker.reply(first)
    assert asker.found == [], "late: it might be taken for an answer to the second"
    asker.reply(second)
    assert asker.found == [("peer", 30 * MILLISECOND)]
    assert asker.at(60 * SECOND) == []


def test_silence_is_asked_three_times_and_calls_nobody() -> None:
    asker = Asker()
    asker.prober.ask("peer", asker.heard)
    assert len(asker.at(60 * SECOND)) == TRIES
    assert asker.found == []
    assert asker.ctx.timers.next() is None


def test_reaching_goes_through_the_connection_once_and_says_nothing_of_the_path() -> None:
    asker = Asker()
    asker.prober.reach("peer", asker.heard)
    (probe,) = asker.at(90 * MILLISECOND)
    assert probe.stream
    asker.reply(probe)
    assert asker.found == [("peer", 90 * MILLISECOND)]
    assert asker.ctx.position.samples == 0, "it may have paid for a dial"


def test_somebody_elses_answer_is_none() -> None:
    asker = Asker()
    asker.prober.ask("peer", asker.heard)
    (probe,) = asker.at(0)
    asker.reply(probe, "mallory")
    assert asker.found == []
    asker.reply(probe)
    asker.reply(probe)
    assert len(asker.found) == 1, "and a doubled one counts once"


def test_a_flood_of_questions_is_bounded_and_forgets_the_oldest() -> None:
    asker = Asker()
    for i in range(PENDING + 10):
        asker.prober.ask(f"n{i}", asker.heard)
    probes = asker.at(0)
    asker.reply(probes[0], "n0")
    assert asker.found == []
    asker.reply(probes[-1], f"n{PENDING + 9}")
    assert len(asker.found) == 1
    assert len(asker.at(60 * SECOND)) == (TRIES - 1) * (PENDING - 1)
