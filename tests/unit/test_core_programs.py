"""Applications that users' programs answer: the core lays requests before them, refuses while they are not ready, goes elsewhere
when they fail, and replaces a replica whose program never becomes ready."""

from __future__ import annotations

from helpers.corenet import APP, CoreNet, ask, plain, six_regions
from opus_node.core.events import ReplicaSetDecided, Served, ServiceChanged, ServiceHealth
from opus_node.core.messages import RouteRefuse
from opus_node.core.programs import ASKED, PATIENCE
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

CONFIG = NodeConfig(apps=(AppConfig(APP, 3, program=True),))
START = 300 * MILLISECOND


def programs(start: int | None = START) -> CoreNet:
    """Thirty hosts in six regions, a program at each replica, ready `start` after its role began; roles have settled."""
    net = six_regions(config=CONFIG)
    net.starts = lambda node: start
    net.run(40 * SECOND)
    return net


def test_the_program_answers_and_its_bytes_come_back() -> None:
    net = programs()
    node = plain(net, "jp")
    first = ask(net, node)
    assert (first.outcome, first.hops, first.via, first.attempts) == ("ok", 2, "agent", 1)
    assert net.served[-1][0] == first.replica
    assert net.replied[-1][0] == node
    assert (net.replied[-1][1].content, net.replied[-1][1].replica) == (b"yes", first.replica)
    second = ask(net, node)
    assert (second.outcome, second.hops, second.via) == ("ok", 1, "direct")
    assert second.done_at - second.arrived_at == 5 * MILLISECOND + net.delay(second.replica, node), "the program's own time"
    assert net.broken == []


def test_at_a_replica_its_own_program_answers_without_a_message() -> None:
    net = programs()
    node = net.replicas()[0]
    done = ask(net, node)
    assert (done.outcome, done.hops, done.via, done.replica) == ("ok", 0, "self", node)
    assert done.done_at - done.issued_at == 5 * MILLISECOND


def test_a_replica_whose_program_is_not_ready_refuses_and_another_answers() -> None:
    net = programs()
    node = plain(net, "jp")
    used = ask(net, node).replica
    net._step(used, ServiceHealth(APP, False, "it ended"))
    net.log = []
    net.log_filter = lambda send: isinstance(send.message, RouteRefuse)
    done = ask(net, node)
    assert done.outcome == "ok"
    assert done.replica != used
    assert done.done_at - done.issued_at < SECOND, "a refusal is not waited out"
    assert any("service not ready" in line for line in net.log)
    assert ask(net, used).replica != used, "its own clients go elsewhere, too"
    net._step(used, ServiceHealth(APP, True))
    assert ask(net, used).via == "self"


def test_who_was_refused_goes_back_to_the_near_replica_once_its_program_is_ready() -> None:
    net = programs()
    node = plain(net, "jp")
    used = ask(net, node).replica
    assert (ask(net, node).replica, ask(net, node).via) == (used, "direct")
    net._step(used, ServiceHealth(APP, False, "it ended"))
    assert ask(net, node).replica != used
    net._step(used, ServiceHealth(APP, True))
    net.run_for(SECOND)
    done = ask(net, node)
    assert (done.replica, done.via, done.attempts) == (used, "direct", 1)
    changes = [told.notice for told in net.told if told.node == used and isinstance(told.notice, ServiceChanged)]
    assert [(one.ready, one.why) for one in changes[-2:]] == [(False, "it ended"), (True, "")]


def test_a_program_that_fails_a_request_costs_another_try_not_the_request() -> None:
    net = programs()
    node = plain(net, "jp")
    bad = ask(net, node).replica
    net.answers = lambda node, serve: Served(serve.ticket, node != bad, 0, b"yes", "" if node != bad else "status 503")
    for client in (node, bad, *net.agents()):
        done = ask(net, client)
        assert (done.outcome, done.replica == bad) == ("ok", False), client


def test_a_program_that_answers_nothing_is_given_up_in_time() -> None:
    net = programs()
    node = plain(net, "jp")
    for _ in range(3):
        stuck = ask(net, node).replica
    net.answers = lambda node, serve: None if node == stuck else Served(serve.ticket, True, 0, b"yes")
    done = ask(net, node)
    assert done.outcome == "ok"
    assert done.replica != stuck


def test_nobody_is_ready_then_requests_fail_at_their_deadline() -> None:
    net = programs(None)
    assert len(net.replicas()) == 3
    done = ask(net, plain(net))
    assert (done.outcome, done.replica) == ("deadline", "")
    assert net.served == []


def test_a_replica_whose_program_is_never_ready_is_replaced() -> None:
    net = programs()
    lame = next(node for node in net.replicas() if node not in net.stewards())
    net.starts = lambda node: None if node == lame else START
    net._step(lame, ServiceHealth(APP, False, "it ended"))
    net.run_for(PATIENCE - 5 * SECOND)
    assert lame in net.replicas(), "it may still come"
    net.run_for(20 * SECOND)
    assert lame not in net.replicas()
    assert len(net.replicas()) == 3


def test_a_replica_that_has_no_room_for_its_program_is_replaced_at_once() -> None:
    net = programs()
    full = next(node for node in net.replicas() if node not in net.stewards())
    net.starts = lambda node: None if node == full else START
    net._step(full, ServiceHealth(APP, False, "no room", lost=True))
    net.run_for(6 * SECOND)
    assert full not in net.replicas()
    assert len(net.replicas()) == 3


def test_a_steward_that_is_a_lame_replica_replaces_itself() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 11, program=True),)), per_site=2)
    net.starts = lambda node: START
    net.run(20 * SECOND)
    steward = net.stewards()[0]
    assert steward in net.replicas(), "eleven of twelve"
    net._step(steward, ServiceHealth(APP, False, "it ended"))
    net.run_for(PATIENCE + 20 * SECOND)
    assert steward not in net.replicas()
    assert len(net.replicas()) == 11


def test_progress_buys_time() -> None:
    """Files that are long under way are no reason to give a replica up."""
    net = programs()
    slow = next(node for node in net.replicas() if node not in net.stewards())
    for _ in range(8):
        net._step(slow, ServiceHealth(APP, False, "its files are on their way"))
        net.run_for(10 * SECOND)
    assert slow in net.replicas()


def test_a_program_with_too_much_before_it_refuses() -> None:
    net = programs()
    node = net.replicas()[0]
    programs_of = net.cores[node]._replica.programs
    net.answers = lambda node, serve: None
    for _ in range(ASKED + 1):
        net.request(node, 2 * SECOND)
    assert programs_of.busy == 0, "the client's own bound comes first"
    assert len(net.served) <= ASKED
    net.run_for(3 * SECOND)
    net.answers = lambda node, serve: Served(serve.ticket, True, 0, b"yes")
    assert ask(net, node).outcome == "ok", "what was never answered is forgotten after its deadline"


def test_nobody_is_moved_nearer_to_demand_while_a_newcomers_program_is_not_ready() -> None:
    """It may never be, as on a host whose disk is full; those who are ready would be given away one after the other."""
    net = programs()
    ready = set(net.replicas())
    net.starts = lambda node: START if node in ready else None
    began = net.now
    for k in range(60):
        for site in ("br", "in") if k < 30 else ("jp", "usw"):
            for _ in range(4):
                net.request(plain(net, site), 2 * SECOND)
        net.run_for(SECOND)
    decided = [one.notice for one in net.told if isinstance(one.notice, ReplicaSetDecided) and one.at > began]
    assert any(one.cause.startswith("nearer to demand") for one in decided)
    assert all(sum(node in ready for node in one.members) >= 2 for one in decided), decided
    assert {one.outcome for one in net.outcomes(began)} == {"ok"}
