"""One run of the simulator in which three of six regions are powered off for good at the same instant: how many of the keys that
were written are in nobody's memory at the end, and how many should be, by the table that was in force."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from opus_node.core.messages import ReplicaSet
from opus_node.core.shards import shard_of, table_of
from opus_node.core.types import SECOND

from opus_controller.engine.play import play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.shards import held_at_end
from opus_controller.runtimes.sim import SimRuntime

AT_S = 45
SCENARIO = """
name: survival
topology: six-regions
duration: 75s
settle: 15s
applications: [{{name: index, replicas: 12, shards: 48, copies: {copies}, consistency: eventual}}]
seeds: [use1-1, euw1-1, apne1-1]
workload:
  - {{clients: all, total_rate: 40/s, keys: 500, zipf: 0, write_share: 100%, stop: {stop}s}}
  - {{name: late, clients: site us-east-1, total_rate: 2/s, keys: 500, zipf: 0, start: {stop}s}}
timeline:
  - {{at: {at}s, name: gone, power-off: [{sites}]}}
"""
THREES = tuple(combinations(("us-west-2", "sa-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2"), 3))
"""Regions, by seed in turn; never the one whose clients ask afterwards."""


def played(seed: int, copies: int) -> dict[str, float]:
    """Shares of the keys written: lost in the run, and what the table said."""
    sites = THREES[seed % len(THREES)]
    with tempfile.TemporaryDirectory(prefix="opus-survival-") as scratch:
        scenario = Path(scratch) / "survival.yaml"
        scenario.write_text(
            SCENARIO.format(copies=copies, at=AT_S, stop=AT_S - 5, sites=", ".join(f"site {one}" for one in sites))
        )
        plan = compile_plan(load_scenario(scenario), seed)
        record = RunRecord.at(Path(scratch) / "run", plan)
        outcome = asyncio.run(play(plan, SimRuntime(trace=False), record))
        record.close()
        if outcome.ended != "done":
            raise RuntimeError(f"survival, seed {seed}: {outcome.error}")
        return _compared(plan, list(RecordReader(Path(scratch) / "run").events()), set(sites))


def _compared(plan: Plan, events: list[Mapping[str, Any]], sites: set[str]) -> dict[str, float]:
    written = {int(e["key"]) for e in events if e["kind"] == "register" and e["write"] and e["outcome"] == "ok"}
    anywhere = set[int]().union(*held_at_end("index", events).values())
    told = [e for e in events if e["t"] < AT_S * SECOND]
    decided = max((e for e in told if e["kind"] == "shards"), key=lambda e: int(e["epoch"]))
    members = next(e["members"] for e in told if e["kind"] == "replica_set" and e["epoch"] == decided["epoch"])
    table = table_of(ReplicaSet("index", decided["epoch"], "", tuple(members), tuple(decided["holders"])), 48)
    gone = {host.address for host in plan.hosts if host.site in sites}
    predicted = {key for key in written if all(node in gone for node in table[shard_of(key, 48)])}
    lost = written - anywhere
    return {
        "lost": len(lost) / len(written),
        "predicted": len(predicted) / len(written),
        "apart": len(lost ^ predicted) / len(written),
        "keys": float(len(written)),
    }
