"""The overlay itself in the simulator: same plan, same digest in any process; its channels are the transport's."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.runtimes.sim import HopCost, SimRuntime, costs
from opus_controller.runtimes.sim.costs import StartCost
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.transport import TransportSettings

ROOT = Path(__file__).parents[2]
STEADY = ROOT / "scenarios" / "steady.yaml"

RUN = """
import sys, asyncio
from pathlib import Path
from opus_controller.engine.play import play
from opus_controller.engine.record import RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.runtimes.sim import SimRuntime
sim = SimRuntime()
plan = compile_plan(load_scenario(Path(sys.argv[1])), int(sys.argv[2]))
outcome = asyncio.run(play(plan, sim, RunRecord.create(Path(sys.argv[3]), plan)))
print(outcome.ended, plan.digest, sim.info.facts["trace_digest"], sim.info.facts["steps"])
"""


def played(seed: int, hash_seed: str, out: Path) -> list[str]:
    """How a whole run of the quickstart, faults included, ended in a process of its own: words, digests, steps."""
    command = [sys.executable, "-c", RUN, str(ROOT / "scenarios" / "quickstart.yaml"), str(seed), str(out)]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=240).stdout.split()


def test_same_scenario_and_seed_same_digests_in_any_process(tmp_path: Path) -> None:
    first = played(1, "0", tmp_path)
    assert first[0] == "done"
    assert int(first[3]) > 5_000
    assert played(1, "77", tmp_path) == first
    other = played(2, "0", tmp_path)
    assert other[0] == "done"
    assert other[1] != first[1]
    assert other[2] != first[2]


def test_the_overlay_serves_in_the_simulator() -> None:
    plan = compile_plan(load_scenario(STEADY))
    sim = SimRuntime(hop_cost=HopCost())

    async def all_of_it() -> None:
        await sim.up(plan)
        await sim.start_workload(plan.workload)
        await sim.sleep_until(plan.duration_ns)

    asyncio.run(all_of_it())
    requests = [r for r in sim.records() if r["kind"] == "request"]
    assert len(requests) > 300
    assert sum(r["outcome"] == "ok" for r in requests) >= 0.99 * len(requests)
    assert max(r["hops"] for r in requests) <= 2
    assert all(r["issued_at"] <= r["arrived_at"] <= r["done_at"] for r in requests if r["outcome"] == "ok")


def test_the_first_set_is_of_those_who_have_come_by_then() -> None:
    """Hosts come one by one, 15 ms apart: what agents told in their first half second, before most had, is not what counts."""
    plan = compile_plan(load_scenario(ROOT / "scenarios" / "half-kill.yaml"))
    sim = SimRuntime(start_cost=StartCost(15 * MILLISECOND, "of this test"))

    async def start() -> None:
        await sim.up(plan)
        await sim.sleep_until(3 * SECOND)

    asyncio.run(start())
    first = next(r for r in sim.records() if r["kind"] == "replica_set")
    seeds = {host.address for host in plan.hosts if host.name in plan.seeds}
    assert len(first["members"]) == 6
    assert not seeds & set(first["members"]), "agents serve only where nobody else can"
    assert first["t"] < 2 * SECOND


def test_channels_have_the_transports_numbers() -> None:
    real = TransportSettings()
    assert (real.max_links, real.max_links_serving) == (costs.MAX_LINKS, costs.MAX_LINKS_SERVING)
    assert real.queue_messages == costs.QUEUE_MESSAGES
    seconds = {
        costs.EXPIRY: real.expiry,
        costs.CONNECT_TIMEOUT: real.connect_timeout,
        costs.SILENCE_TIMEOUT: real.silence_timeout,
        costs.CALLED_WAIT: real.called_wait,
        costs.BACKOFF_FIRST: real.backoff_first,
        costs.IDLE_TIMEOUT: real.idle_timeout,
    }
    assert {t / SECOND for t in seconds} == set(seconds.values())
    assert [t / SECOND for t in seconds] == list(seconds.values())
    assert real.backoff_factor == costs.BACKOFF_FACTOR
    assert real.backoff_max == costs.BACKOFF_MAX / SECOND
