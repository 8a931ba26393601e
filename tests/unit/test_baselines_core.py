"""What all baselines share, over a protocol whose ways and holders are written down: retries, relays, refusals, questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

import pytest
from helpers.corenet import APP, Chance, CoreNet
from opus_node.baselines import core_of
from opus_node.baselines.core import BaselineCore
from opus_node.baselines.ids import Identifier
from opus_node.baselines.overlay import Found, Overlay
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.events import Boot, Receive, RequestDone, Unreachable
from opus_node.core.messages import Ask, Reply, RouteAck, RouteRefuse, RouteRequest, Told
from opus_node.core.types import MILLISECOND, ONE_HOP, SECOND, AppConfig, NodeConfig, NodeId

DELAY = 10 * MILLISECOND


class Written(Overlay):
    """Next hops and holders as a test says."""

    def __init__(
        self, ctx: Context, peers: Peers, changed: Callable[[], None], ways: dict[NodeId, list[NodeId]], held: Any
    ) -> None:
        super().__init__(ctx, peers, changed)
        self.next = ways.get(ctx.me, [])
        self.held = held
        self.fell_silent: list[NodeId] = []
        self.has_left = False
        self.found: list[Identifier] = []

    def boot(self, seeds: Sequence[NodeId]) -> None:
        pass

    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        return [node for node in self.next if node not in without][:most]

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        return self.held if self.ctx.me in self.held else ()

    def silent(self, node: NodeId) -> None:
        self.fell_silent.append(node)

    def entries(self) -> int:
        return len(self.next)

    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        return Told(ask.nonce)

    def leave(self) -> None:
        self.has_left = True


class Searching(Written):
    ITERATIVE = True

    def find(self, key: Identifier, count: int, found: Found) -> None:
        self.found.append(key)
        self.ctx.timers.at(self.ctx.now + DELAY, lambda _: found(("h",), 3))


def net(
    ways: dict[NodeId, list[NodeId]], held: tuple[NodeId, ...] = ("h",), kind: type[Written] = Written, **app: Any
) -> CoreNet:
    """Ten milliseconds between any two; `ways` of each node, `held`: who serves."""
    config = NodeConfig(apps=(AppConfig(APP, len(held), **app),), direct=False)

    def make(node: NodeId, config: NodeConfig, rng: Random) -> BaselineCore:
        return BaselineCore(node, config, rng, lambda ctx, peers, changed: kind(ctx, peers, changed, ways, held))

    made = CoreNet(lambda source, to: DELAY, config, make=make)
    made.boot_all(sorted({*ways, *held, *(node for after in ways.values() for node in after)}))
    made.run(SECOND)
    return made


def overlay(made: CoreNet, node: NodeId) -> Written:
    found: Written = made.cores[node]._overlay  # type: ignore[attr-defined]
    return found


def asked(made: CoreNet, node: NodeId = "a", deadline: int = 2 * SECOND, app: str = APP) -> RequestDone:
    number = made.request(node, deadline, app)
    made.run_for(deadline + MILLISECOND)
    assert made.broken == []
    found = [done for done in made.done() if done.request == number]
    assert len(found) == 1
    return found[0]


def served(made: CoreNet, node: NodeId) -> int:
    count: int = made.snapshot(node).requests_served
    return count


def took_ms(done: RequestDone) -> float:
    return (done.done_at - done.issued_at) / MILLISECOND


def test_a_request_is_passed_on_until_a_holder_answers_its_client() -> None:
    made = net({"a": ["b"], "b": ["c"], "c": ["h"]})
    done = asked(made)
    assert (done.outcome, done.replica, done.hops, done.attempts) == ("ok", "h", 3, 1)
    assert took_ms(done) == 40
    assert [made.snapshot(node).requests_routed for node in "abch"] == [0, 1, 1, 0]


def test_a_client_takes_another_way_after_a_silent_one_and_says_who_was_silent() -> None:
    made = net({"a": ["b", "c"], "b": ["h"], "c": ["h"]})
    made.power_off("b")
    done = asked(made)
    assert (done.outcome, done.hops) == ("ok", 2)
    assert done.attempts > 1
    assert took_ms(done) < 600
    assert overlay(made, "a").fell_silent == ["b"]


def test_a_relay_takes_another_way_and_its_client_need_not() -> None:
    made = net({"a": ["b"], "b": ["x", "h"]})
    made.power_off("x")
    done = asked(made)
    assert (done.outcome, done.replica, done.attempts) == ("ok", "h", 1)
    assert overlay(made, "b").fell_silent == ["x"]
    assert overlay(made, "a").fell_silent == []


def test_a_reset_connection_is_not_waited_for() -> None:
    made = net({"a": ["b"], "b": ["x", "h"]})
    made.power_off("x")
    made.request("a")
    made.run_for(15 * MILLISECOND)
    made._push(made.now, "b", Unreachable("x"))
    made.run_for(2 * SECOND)
    assert [done.outcome for done in made.done()] == ["ok"]
    assert took_ms(made.done()[0]) < 50


def test_a_request_that_comes_back_in_a_circle_is_refused_and_goes_another_way() -> None:
    made = net({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": ["h"]})
    overlay(made, "c").next = ["d", "h"]
    overlay(made, "d").next = ["b", "h"]  # b has passed it on before
    done = asked(made)
    assert (done.outcome, done.replica, done.attempts) == ("ok", "h", 1)
    assert made.snapshot("b").requests_routed == 1
    assert took_ms(done) < 100


def test_a_request_without_any_way_is_refused_at_once_and_ends_at_its_deadline() -> None:
    made = net({"a": ["b"], "b": []})
    refusals = count(made, RouteRefuse)
    done = asked(made, deadline=SECOND)
    assert done.outcome == "deadline"
    assert refusals[0] > 0


def test_a_refusal_after_the_acknowledgement_goes_back_along_the_way() -> None:
    """b has acknowledged, and c: then c finds that its only way is dead."""
    made = net({"a": ["b", "d"], "b": ["c"], "c": ["x"], "d": ["h"]})
    made.power_off("x")
    done = asked(made, deadline=5 * SECOND)
    assert (done.outcome, done.replica) == ("ok", "h")
    assert took_ms(done) < 700, "c's patience with x, who was never measured, is 400 ms; a learns of it at once"


@pytest.mark.parametrize("kind", ["doubled", "again"])
def test_what_comes_twice_is_answered_once(kind: str) -> None:
    made = net({"a": ["b"], "b": ["h"]})
    if kind == "doubled":
        made.chance = Chance(duplicate=1.0)
    else:
        lost = iter([True])
        made.loses = lambda source, send: isinstance(send.message, Reply) and next(lost, False)
        asked(made)  # b and h are known, so that who hears nothing asks once more
        before = served(made, "h")
        lost = iter([True])
        assert asked(made).outcome == "ok"
        assert served(made, "h") <= before + 2
        return
    assert asked(made).outcome == "ok"
    assert served(made, "h") == 1
    assert made.snapshot("b").requests_routed == 1


def count(made: CoreNet, kind: type) -> list[int]:
    """How many messages of a kind are sent from now on: one number in a list."""
    found, send = [0], made._send

    def counted(source: NodeId, one: Any) -> None:
        found[0] += isinstance(one.message, kind)
        send(source, one)

    made._send = counted  # type: ignore[method-assign,assignment]
    return found


def test_a_holder_that_leaves_tells_its_protocol_and_answers_what_is_under_way() -> None:
    made = net({"a": ["h"]})
    made.request("a")
    made.leave("h")
    made.run_for(3 * SECOND)
    assert overlay(made, "h").has_left
    assert [done.outcome for done in made.done()] == ["ok"]
    assert 0 < made.left["h"] - SECOND <= 2 * SECOND


def test_an_application_that_a_node_was_not_told_of_is_refused() -> None:
    made = net({"a": ["b"], "b": ["h"]})
    core = made.cores["b"]
    request = RouteRequest("other", "a", 1, 1, 0, False, 1, False, SECOND, 100, 100)
    sent = core.step(Receive("a", request), made.now).sends
    assert [(send.to, type(send.message)) for send in sent] == [("a", RouteRefuse)]
    assert made.snapshot("b").requests_shed == 1
    assert asked(made, app="other").outcome != "ok"
    assert served(made, "h") == 0


def test_who_holds_nothing_refuses_what_was_meant_for_it_alone() -> None:
    made = net({"a": ["b"], "b": ["h"]})
    request = RouteRequest(APP, "a", 1, 1, 0, False, 1, True, SECOND, 100, 100)
    sent = made.cores["b"].step(Receive("a", request), made.now).sends
    assert [type(send.message) for send in sent] == [RouteRefuse]


def test_the_nearest_holder_is_known_before_the_first_request() -> None:
    made = net({"a": ["h"]}, held=("h", "i", "j"))
    for one in "hij":
        assert all(made.cores[one]._peers.known(other) for other in "hij" if other != one)  # type: ignore[attr-defined]


# Clients that look holders up


def test_holders_are_looked_up_once_and_then_gone_to() -> None:
    made = net({"a": [], "h": []}, kind=Searching)
    made.request("a")
    made.request("a")
    made.run_for(2 * SECOND)
    assert [(done.outcome, done.hops, done.via) for done in made.done()] == [("ok", 4, "direct")] * 2
    assert len(overlay(made, "a").found) == 1


# Placed copies


def test_given_members_hold_an_application_in_place_of_the_protocols_own() -> None:
    made = net({"a": ["h"], "b": [], "c": []}, members=("b", "c"))
    done = asked(made)
    assert (done.outcome, done.hops, done.attempts) == ("ok", 1, 1)
    assert done.replica in ("b", "c")
    assert made.replicas() == ["b", "c"]


def test_placed_copies_are_not_looked_up() -> None:
    made = net({"a": [], "b": [], "h": []}, kind=Searching, members=("b",))
    assert asked(made).replica == "b"
    assert overlay(made, "a").found == []


def far(source: NodeId, to: NodeId) -> int:
    return 5 * MILLISECOND if {source, to} == {"a", "b"} else 40 * MILLISECOND


@pytest.mark.parametrize("direct", [False, True])
def test_of_placed_copies_the_nearest_that_lives_answers(direct: bool) -> None:
    app = AppConfig(APP, 3, members=("d", "c", "b"))
    made = CoreNet(far, NodeConfig(apps=(app,), protocol=ONE_HOP, direct=direct), seeds=("a",), make=core_of)
    made.boot_all("abcdef")
    made.run(5 * SECOND)
    first = asked(made)
    assert (first.replica, took_ms(first), made.replicas()) == ("b", 10, ["b", "c", "d"])
    made.power_off("b")
    second, third = asked(made), asked(made)
    assert [one.outcome for one in (second, third)] == ["ok", "ok"]
    assert "b" not in (second.replica, third.replica)
    assert (third.attempts, took_ms(third)) == (1, 80), "b is not tried again"
    made.boot("b")
    made.run_for(40 * SECOND)
    if not direct:
        assert asked(made).replica == "b"
    made.power_off("b", "c")
    made.run_for(60 * SECOND)
    assert asked(made).replica == "d"
    assert made.replicas() == ["d"], "nobody takes a dead member's place"


# Questions


def peers() -> tuple[BaselineCore, Peers]:
    core = BaselineCore("a", NodeConfig(), Random(1), lambda ctx, peers, changed: Written(ctx, peers, changed, {}, ()))
    core.step(Boot(()), 0)
    return core, core._peers


def test_a_question_is_asked_again_and_then_counts_as_silence() -> None:
    made = net({"a": ["b"]})
    made.power_off("b")
    silent: list[NodeId] = []
    asks = count(made, Ask)
    core = made.cores["a"]
    core._peers.ask("b", "", lambda node, told: None, silent.append)  # type: ignore[attr-defined]
    made._step("a", Receive("h", RouteAck("a", 9, 9)))  # any event: what was put down is sent
    made.run_for(10 * SECOND)
    assert (asks[0], silent) == (3, ["b"])


def test_a_slow_question_waits_for_a_connection_and_does_not_count_as_a_round_trip() -> None:
    core, asked_of = peers()
    answers: list[NodeId] = []
    asked_of.ask("b", "all", lambda node, told: answers.append(node), slow=True)
    ready = core.step(Receive("c", Told(99)), 0)
    assert ready.wake_at is not None
    assert ready.wake_at >= 2 * SECOND
    core.step(Receive("b", Told(1)), SECOND)
    assert answers == ["b"]
    assert not asked_of.known("b")
    asked_of.ask("b", "", lambda node, told: None)
    core.step(Receive("b", Told(2)), SECOND + 30 * MILLISECOND)
    assert asked_of.delay("b") == 30 * MILLISECOND


def test_no_overlay_has_another_name() -> None:
    with pytest.raises(ValueError, match="no overlay is called 'ring'"):
        core_of("a", NodeConfig(protocol="ring"), Random(1))


def test_scenarios_name_the_overlays_that_there_are() -> None:
    from opus_controller.model import scenario_form
    from opus_node.core import types

    assert scenario_form.PROTOCOLS == types.PROTOCOLS
