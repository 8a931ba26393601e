"""What hands have done to a testbed that stays up, kept beside its state: links know only what is in force.

network.json: how `opus link set` has changed the network, beneath the faults,
[{"level": "site" or "host", "source", "target", "shape"}, ...], in order of age
faults.json: what `opus fault` has in force (`Faults.plain`), and "targets" by name
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opus_controller.engine.ledger import Ledger
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan
from opus_controller.model.shapes import PathShape
from opus_controller.runtimes.hosts.state import RunState

FILE = "network.json"
FAULTS = "faults.json"
EVENTS = "events.ndjson"
Pair = tuple[str, str]


def network_of(state: RunState, plan: Plan) -> Network:
    """The topology with all that hands have laid over it, faults included."""
    base, kept = shaped(state, plan), kept_faults(state)
    return base if kept is None else Ledger.restored(plan, kept["ledger"], base).network


def shaped(state: RunState, plan: Plan) -> Network:
    """The topology as `opus link set` has it."""
    network = Network.of(plan)
    try:
        lines = json.loads((state.directory / FILE).read_text())
    except FileNotFoundError:
        return network
    sites = {(line["source"], line["target"]): _shape(line) for line in lines if line["level"] == "site"}
    hosts = {(line["source"], line["target"]): _shape(line) for line in lines if line["level"] == "host"}
    return replace(network, overrides=sites, host_overrides=hosts)


def kept_faults(state: RunState) -> dict[str, Any] | None:
    """None before the first one."""
    try:
        kept: dict[str, Any] = json.loads((state.directory / FAULTS).read_text())
    except FileNotFoundError:
        return None
    return kept


def keep_faults(state: RunState, kept: Mapping[str, Any]) -> None:
    _put(state, FAULTS, json.dumps(kept))


def save(state: RunState, network: Network) -> None:
    """Keep the overrides of `network`, in which there are no faults."""
    lines = [
        {"level": level, "source": source, "target": target, "shape": shape.model_dump(mode="json")}
        for level, overrides in (("site", network.overrides), ("host", network.host_overrides))
        for (source, target), shape in overrides.items()
    ]
    _put(state, FILE, json.dumps(lines))


def _put(state: RunState, name: str, text: str) -> None:
    draft = state.directory / f"{name}.new"
    draft.write_text(text)
    draft.replace(state.directory / name)


def _shape(line: dict[str, object]) -> PathShape:
    return PathShape.model_validate(line["shape"])
