"""The fidelity gate over live links of either kind, with some paths changed behind the back of whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from opus_controller.engine.fidelity import Gate, sample
from opus_controller.model.network import Network
from opus_controller.model.shapes import HostChange, PathShape
from opus_controller.net.choose import open_links
from opus_controller.net.namespaces import host_namespace
from opus_controller.runtimes.hosts import gate

from helpers.fidelity.live import live_network


def gate_over(
    kind: str,
    network: Network,
    planted: Mapping[tuple[str, str], PathShape],
    directory: Path,
    strains: Mapping[str, HostChange] | None = None,
) -> Gate:
    """Links are told `network`; then a second handle on them, as another process has it, puts `planted` and `strains` in force.

    The gate is told of `network` alone."""
    with live_network(kind, network, directory) as live:
        if planted or strains:
            taken = strains or {}
            hosts = tuple(
                host.model_copy(update={"access": taken[host.name].on(host.access)}) if host.name in taken else host
                for host in network.hosts
            )
            open_links(kind, live.run, directory).apply(replace(network, overrides=planted, hosts=hosts))
        pairs = sample(network.hosts, "gate")
        return asyncio.run(gate.measure(pairs, network, lambda host: host_namespace(live.run, host)))
