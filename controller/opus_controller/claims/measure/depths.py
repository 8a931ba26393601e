"""The same hosts under hierarchies of other depths (`bench.overlay.deep`)."""

from __future__ import annotations

from opus_controller.bench.overlay import deep
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.settings import Settings
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.life import booted_over_s
from opus_controller.claims.measure.networks import Network

ASKED = 20.0
"""Requests/s of all clients together."""


def look(network: Network, hosts: int, depth: int, replicas: int, seed: int, settle_s: float, count_s: float) -> Figures:
    booted_s = booted_over_s(hosts)
    made = plan(network.topology(hosts), seed=seed, replicas=replicas, boot_over_s=booted_s)
    lab = Lab(made, Settings().but(depth=depth))
    lab.everyone_asks(ASKED, label="depth")
    lab.run_until(booted_s + settle_s)
    return {"depth": depth, **deep.look(lab, count_s, newcomers=False)}
