"""The simulator's speed: many nodes for ten virtual minutes; and what the trace's digest costs of it."""

from __future__ import annotations

import asyncio
import time

from opus_controller.bench import worlds
from opus_controller.bench.table import Row, row
from opus_controller.model.errors import InvalidRun
from opus_controller.runtimes.sim import SimRuntime

PROMISED_S = 40.0


def run(nodes: int = 1000, minutes: float = 10, rate: float = 100) -> list[Row]:
    """`nodes` nodes for `minutes` virtual minutes at `rate` requests/s over all of them, with the trace digest on."""
    return asyncio.run(_run(nodes, minutes, rate))


async def _run(nodes: int, minutes: float, rate: float) -> list[Row]:
    seconds = minutes * 60
    plan = worlds.six_regions(nodes, duration_s=seconds, replicas=10)
    runtime = SimRuntime()
    began = time.perf_counter()
    await runtime.up(plan)
    await runtime.start_workload(worlds.asked_by(plan, [h.name for h in plan.hosts], rate, start_s=10, stop_s=seconds))
    ok = done = 0
    try:
        for second in range(10, int(seconds) + 1, 10):
            await runtime.sleep_until(second * worlds.SECOND)
            for record in runtime.records():
                if record["kind"] == "request":
                    done += 1
                    ok += record["outcome"] == "ok"
    finally:
        await runtime.down()
    wall = time.perf_counter() - began
    if ok < 0.99 * done or done < 0.9 * rate * (seconds - 10):
        raise InvalidRun(f"the simulated service did not work: {ok} of {done} requests answered; its speed means nothing")
    steps = runtime.info.facts["steps"]
    what = f"sim: {len(plan.hosts)} nodes, {minutes:g} min, {rate:g} req/s"
    bound = PROMISED_S if (nodes, minutes, rate) == (1000, 10, 100) else None
    return [
        row(f"{what}: wall time", wall, "s", bound),
        row(f"{what}: events", steps / wall, "steps/s", digits=0),
        row("sim: what the trace digest adds", await _trace_cost(), "%", digits=0),
    ]


async def _trace_cost(nodes: int = 60, seconds: float = 60, times: int = 5) -> float:
    """Percent of CPU time, of the quickest of some small runs each, in turns."""
    plan = worlds.six_regions(nodes, duration_s=seconds)
    workload = worlds.asked_by(plan, [h.name for h in plan.hosts], nodes, start_s=10, stop_s=seconds)

    async def cpu_s(trace: bool) -> float:
        runtime = SimRuntime(trace=trace)
        began = time.process_time()
        await runtime.up(plan)
        await runtime.start_workload(workload)
        await runtime.sleep_until(int(seconds * worlds.SECOND))
        taken = time.process_time() - began
        await runtime.down()
        return taken

    await cpu_s(True)  # the first pays for what is imported late
    pairs = [(await cpu_s(True), await cpu_s(False)) for _ in range(times)]
    traced, bare = min(one for one, _ in pairs), min(other for _, other in pairs)
    return 100 * (traced / bare - 1)
