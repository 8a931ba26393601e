"""The runtime's own promises: clients, samples, records, live state, nodes that die, and that nothing but the plan decides."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from helpers.sim import Bench, Toy, plan, warm
from opus_controller.model.network import Network
from opus_controller.model.plan import Workload
from opus_controller.runtimes.sim import SimRuntime
from opus_controller.runtimes.sim.trace import Trace, flat
from opus_node.core.events import Boot, Event, MemberChanged, Ready, Receive, ReplicaSetDecided, Request, Send
from opus_node.core.messages import AgentHint, Appoint, LeaseReply, Probe, ReplicaSet
from opus_node.core.types import MILLISECOND, SECOND, NodeConfig
from opus_node.workload import Arrivals, WorkloadSpec

LOAD = Workload(
    client="a",
    app="web",
    seed="1/a/web",
    rate_per_s=5,
    start_ns=2 * SECOND,
    stop_ns=22 * SECOND,
    deadline_ns=SECOND,
    keys=10,
    zipf=1,
)


def asked(bench: Bench) -> list[int]:
    """When the clients of host a asked, over all its incarnations."""
    return [t for toy in bench.toys["a"] for t, event in toy.log if isinstance(event, Request)]


def expected() -> list[int]:
    arrivals = Arrivals(WorkloadSpec(**LOAD.model_dump(exclude={"client"})))
    found = []
    while (arrival := arrivals.next()) is not None:
        found.append(arrival.at_ns)
    return found


def loaded() -> Bench:
    bench = Bench(plan())
    bench.do(bench.sim.start_workload([LOAD]))
    return bench


def test_clients_ask_when_the_workload_says() -> None:
    bench = loaded().until(30 * SECOND)
    assert asked(bench) == expected()
    records = bench.sim.records()
    requests = [r for r in records if r["kind"] == "request"]
    assert [r["issued_at"] for r in requests] == expected()
    assert {r["host"] for r in requests} == {"a"}
    assert [r["request"] for r in requests] == list(range(len(requests)))
    assert [r["t"] for r in records] == sorted(r["t"] for r in records)
    assert bench.sim.records() == [], "told once"


def test_a_dead_client_asks_nothing_and_a_restarted_one_goes_on_with_the_rest() -> None:
    bench = loaded().until(8 * SECOND)
    bench.do(bench.sim.crash(["a"]))
    bench.until(12 * SECOND)
    bench.do(bench.sim.restart(["a"], Network.of(bench.plan)))
    bench.until(30 * SECOND)
    assert asked(bench) == [t for t in expected() if t <= 8 * SECOND or t >= 12 * SECOND]


def test_a_paused_client_asks_late() -> None:
    bench = loaded().until(8 * SECOND)
    bench.do(bench.sim.pause(["a"]))
    bench.until(12 * SECOND)
    bench.do(bench.sim.resume(["a"]))
    bench.until(30 * SECOND)
    assert asked(bench) == [12 * SECOND if 8 * SECOND < t < 12 * SECOND else t for t in expected()]


def test_a_new_workload_replaces_the_old() -> None:
    bench = loaded().until(8 * SECOND)
    bench.do(bench.sim.start_workload([]))
    assert asked(bench.until(30 * SECOND)) == [t for t in expected() if t <= 8 * SECOND]


def test_samples_every_five_seconds_of_those_that_run() -> None:
    bench = Bench(plan(), [warm()]).until(6 * SECOND)
    bench.do(bench.sim.power_off(["b"], bench.apply(down=["b"])))
    bench.until(11 * SECOND)
    samples = [r for r in bench.sim.records() if r["kind"] == "sample"]
    assert [(r["t"] // SECOND, r["host"]) for r in samples] == [(5, "a"), (5, "b"), (10, "a")]
    sent, received = samples[0]["control_bytes_sent"], samples[1]["control_bytes_received"]
    assert sent == received > 0, "what a sent is what b received, the dial included"


def test_live_tells_names_and_states() -> None:
    bench = Bench(plan()).until(SECOND)
    bench.do(bench.sim.crash(["b"]))
    bench.do(bench.sim.pause(["a"]))
    live = asyncio.run(bench.sim.live())
    assert (live["a"].alive, live["a"].paused, live["b"].alive) == (True, True, False)
    health = asyncio.run(bench.sim.health())
    assert (health.t_ns, health.cpu_busy, health.link_overflow) == (SECOND, 0.0, 0)


class Faulty(Toy):
    def step(self, event: Event, now: int) -> Ready:
        if isinstance(event, Receive):
            raise ZeroDivisionError("a fault of the node's own")
        return super().step(event, now)


def test_a_core_that_raises_dies_alone_and_tells_why() -> None:
    sim = SimRuntime(make_core=Faulty)

    async def run() -> None:
        await sim.up(plan())
        world = sim._living
        core = world.hosts["a"].core
        assert isinstance(core, Faulty)
        world.fabric.send(world.hosts["a"], "198.18.0.2", Probe(0), 0)
        await sim.sleep_until(SECOND)
        assert {name: host.alive for name, host in (await sim.live()).items()} == {"a": True, "b": False}

    asyncio.run(run())
    died = sim.died()
    assert list(died) == ["b"]
    assert "ZeroDivisionError: a fault of the node's own" in died["b"]
    assert sim.died() == {}, "told once"


class Restless(Toy):
    def step(self, event: Event, now: int) -> Ready:
        return Ready(wake_at=now)


class Soliloquist(Toy):
    def step(self, event: Event, now: int) -> Ready:
        return Ready(sends=(Send(self.id, Probe(0)),))


@pytest.mark.parametrize("core", [Restless, Soliloquist])
def test_a_core_that_never_lets_time_pass_is_found_out(core: type[Toy]) -> None:
    with pytest.raises(RuntimeError, match=r"the node of . .* time stands still"):
        asyncio.run(SimRuntime(make_core=core).up(plan()))


# The digest


def digest_of(*steps: tuple[int, int, Event, Ready]) -> str:
    trace = Trace()
    for step in steps:
        trace.step(*step)
    return trace.digest()


def test_every_part_of_a_step_counts() -> None:
    hints = (AgentHint("198.18.0.3", 5),)
    ready = Ready(sends=(Send("198.18.0.2", LeaseReply(1, True, hints)),), wake_at=9)
    base: tuple[int, int, Event, Ready] = (5, 1, Receive("198.18.0.2", Probe(1)), ready)
    different: list[tuple[int, int, Event, Ready]] = [
        (6, *base[1:]),
        (5, 2, *base[2:]),
        (5, 1, Receive("198.18.0.9", Probe(1)), base[3]),
        (5, 1, Boot(("198.18.0.2",)), base[3]),
        (*base[:3], Ready(sends=base[3].sends, wake_at=10)),
        (*base[:3], Ready(sends=(Send("198.18.0.9", LeaseReply(1, True, hints)),), wake_at=9)),
        (*base[:3], Ready(sends=(Send("198.18.0.2", LeaseReply(1, False, hints)),), wake_at=9)),
        (*base[:3], Ready(sends=(Send("198.18.0.2", LeaseReply(1, True, (AgentHint("198.18.0.3", 6),))),), wake_at=9)),
        (*base[:3], Ready(sends=base[3].sends, notices=(MemberChanged("198.18.0.3", "dead", 0),), wake_at=9)),
    ]
    digests = {digest_of(step) for step in [base, *different]}
    assert len(digests) == len(different) + 1
    assert digest_of(base) == digest_of(base) != digest_of(base, base)


def test_the_digest_is_of_values_not_of_objects() -> None:
    """Shared or equal, interned or not: the same."""
    name = "198.18.0.3"
    other = "".join(["198.18", ".0.3"])
    assert name is not other
    shared, apart = AgentHint(name, 5), (AgentHint(name, 5), AgentHint(other, 5))
    sends = [Ready(sends=(Send(name, LeaseReply(1, True, hints)),)) for hints in ((shared, shared), apart)]
    assert digest_of((5, 1, Receive(name, Probe(1)), sends[0])) == digest_of((5, 1, Receive(other, Probe(1)), sends[1]))


def test_flat_descends_wherever_a_dataclass_is_held() -> None:
    replicas = ReplicaSet("web", 3, "s", ("m",))
    assert flat(Appoint(replicas)) == ("Appoint", (), [("ReplicaSet", ("web", 3, "s", ("m",), ()))])
    assert flat(LeaseReply(1, True, (AgentHint("n", 2),)))[:2] == ("LeaseReply", (1, True, 0, (), 0, False))
    assert flat(LeaseReply(1, True, (AgentHint("n", 2),)))[2] == [[("n", 2, 0)], [], [], []]
    assert flat(ReplicaSetDecided("web", 1, ("a", "b"), "first")) == ("ReplicaSetDecided", ("web", 1, ("a", "b"), "first"))


RUN = """
import asyncio, sys
from helpers.sim import Toy, plan
from opus_controller.model.plan import Workload
from opus_controller.model.shapes import PathShape
from opus_controller.runtimes.sim import SimRuntime
from opus_node.core.events import Ready, Send
from opus_node.core.messages import Probe
from opus_node.core.types import SECOND

class Chatter(Toy):
    def step(self, event, now):
        peers = {f"198.18.0.{i}" for i in range(1, 9)} - {self.id}
        to = sorted(peers)[self.rng.randrange(7)]
        super().step(event, now)
        return Ready(sends=(Send(to, Probe(now)),) if len(self.log) < 400 else (), wake_at=now + self.rng.randrange(SECOND))

async def main(seed):
    shape = PathShape(delay_ns=30_000_000, jitter_ns=5_000_000, loss=0.05)
    sim = SimRuntime(make_core=Chatter)
    await sim.up(plan(there=shape, names="abcdefgh", seed=seed))
    await sim.sleep_until(20 * SECOND)
    await sim.crash(["c"])
    await sim.sleep_until(60 * SECOND)
    await sim.down()
    print(sim.info.facts["trace_digest"], sim.info.facts["steps"])

asyncio.run(main(int(sys.argv[1])))
"""


def digest_in_a_process(seed: int, hash_seed: str) -> tuple[str, int]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    out = subprocess.run([sys.executable, "-c", RUN, str(seed)], env=env, capture_output=True, text=True, check=True, timeout=120)
    digest, steps = out.stdout.split()
    return digest, int(steps)


def test_same_plan_same_digest_under_any_hash_seed_and_another_for_another_seed() -> None:
    first = digest_in_a_process(1, "0")
    assert first[1] > 1000
    assert digest_in_a_process(1, "4242") == first
    assert digest_in_a_process(2, "0")[0] != first[0]


def test_a_nodes_generator_depends_on_the_plans_seed_and_its_identity() -> None:
    bench = Bench(plan(seed=5)).until(0)
    assert bench.toy("b").rng.random() == Random("5/198.18.0.2").random()


def test_settings_reach_the_core() -> None:
    shapes = plan()
    overlay = shapes.overlay.model_copy(update={"lease_interval": 7 * SECOND, "direct": False})
    config = Bench(shapes.model_copy(update={"overlay": overlay})).toy("a").config
    assert (config.lease_interval, config.direct, config.wave) == (7 * SECOND, False, NodeConfig().wave)
    assert [(app.name, app.replicas) for app in config.apps] == [("web", 1)]
    assert config.timeout_slack == 30 * MILLISECOND
