"""What hands have changed at a testbed's links (`opus link set`), kept beside its state: links know only what is in force.

network.json: [{"level": "site" or "host", "source", "target", "shape"}, ...], in order of age
"""

from __future__ import annotations

import json
from dataclasses import replace

from opus_controller.model.network import Network
from opus_controller.model.plan import Plan
from opus_controller.model.shapes import PathShape
from opus_controller.runtimes.hosts.state import RunState

FILE = "network.json"
Pair = tuple[str, str]


def network_of(state: RunState, plan: Plan) -> Network:
    """The topology with all that hands have laid over it."""
    network = Network.of(plan)
    try:
        lines = json.loads((state.directory / FILE).read_text())
    except FileNotFoundError:
        return network
    sites = {(line["source"], line["target"]): _shape(line) for line in lines if line["level"] == "site"}
    hosts = {(line["source"], line["target"]): _shape(line) for line in lines if line["level"] == "host"}
    return replace(network, overrides=sites, host_overrides=hosts)


def save(state: RunState, network: Network) -> None:
    """Keep the overrides of `network`."""
    lines = [
        {"level": level, "source": source, "target": target, "shape": shape.model_dump(mode="json")}
        for level, overrides in (("site", network.overrides), ("host", network.host_overrides))
        for (source, target), shape in overrides.items()
    ]
    draft = state.directory / f"{FILE}.new"
    draft.write_text(json.dumps(lines))
    draft.replace(state.directory / FILE)


def _shape(line: dict[str, object]) -> PathShape:
    return PathShape.model_validate(line["shape"])
