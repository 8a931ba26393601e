"""Attacks on hosts that are chosen by their role. The attacker knows everything, and may silence so many hosts (power-off).

replicas     all that serve
agents       as many agents, the steward first; where all hosts are alike, as many others
both         all that serve and all agents; where all hosts are alike, as many others as there would be agents
persistent   every 10 s for a minute those that serve by then; who was struck comes back half a minute later
"""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

import numpy as np

from opus_controller.bench.overlay import forks, silence
from opus_controller.bench.overlay.lab import Lab, Record
from opus_controller.bench.worlds import SECOND
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.life import Life, booted_over_s, born

REPLICAS, AGENTS, BOTH, PERSISTENT = ATTACKS = ("replicas", "agents", "both", "persistent")
RATE_EACH = 0.2
"""Requests/s of each client, beside the one in the instant of an attack."""
DEADLINE_S = 2.0
WARM_S = 20.0
"""Of these requests, before anything happens."""
LOOK_S = 30.0
"""From a single attack on."""
END_S = 10.0
"""Its last seconds, which tell whether the service is back."""
EVERY_S, STRIKES, BACK_S = 10.0, 6, 30.0
NODES_AN_AGENT = 15
"""Hosts by agents in Opus on these networks, about (its cap is 22): so many others an attacker silences of an overlay without
agents."""


def attacked(life: Life) -> Figures:
    """Each attack in a future of its own; the same life as other claims', without its own futures."""
    lab = born(life)
    lab.run_until(booted_over_s(life.hosts) + life.scale.settle_s)
    lab.everyone_asks(RATE_EACH * life.hosts, deadline_s=DEADLINE_S, label="attacked")
    lab.run_for(WARM_S)
    lab.forget()
    once = {attack: forks.call(partial(_once, lab, targets(lab, attack, life))) for attack in (REPLICAS, AGENTS, BOTH)}
    return {**once, PERSISTENT: forks.call(partial(_again_and_again, lab, life))}


def targets(lab: Lab, attack: str, life: Life) -> list[str]:
    rng = Random(f"{life.seed}/attack/{attack}")
    serving, agents = serving_now(lab, life.replicas, rng), _agents(lab)
    others = [host.plan.name for host in lab.alive() if host.plan.name not in serving]
    rng.shuffle(others)
    if attack == REPLICAS:
        return serving
    if attack == AGENTS:
        return (agents or others)[: life.replicas]
    return list(dict.fromkeys([*serving, *(agents or others[: round(life.hosts / NODES_AN_AGENT)])]))


def serving_now(lab: Lab, most: int, rng: Random) -> list[str]:
    """Not more than the budget: some of those that take themselves for replicas, if there are more."""
    serving = lab.replicas()
    return serving if len(serving) <= most else rng.sample(serving, most)


def _agents(lab: Lab) -> list[str]:
    """Stewards first, then those with most nodes."""
    shown: dict[str, Any] = {name: one for name, one in lab.snapshots().items() if one.is_agent}
    return sorted(shown, key=lambda name: (not shown[name].steward_of, -shown[name].nodes, name))


def _once(lab: Lab, victims: list[str]) -> Figures:
    at, bytes_before = lab.now, lab.control_bytes()
    asked = _strike(lab, victims)
    lab.run_for(LOOK_S)
    return {**_told(lab, at, at, asked, bytes_before), "victims": len(victims), "seeds": _seeds(lab, victims)}


def _again_and_again(lab: Lab, life: Life) -> Figures:
    rng = Random(f"{life.seed}/attack/persistent")
    began, bytes_before = lab.now, lab.control_bytes()
    struck: list[str] = []
    away: list[tuple[float, str]] = []
    for k in range(STRIKES):
        _let_pass(lab, began / SECOND + k * EVERY_S, away)
        victims = serving_now(lab, life.replicas, rng)
        last, asked = lab.now, _strike(lab, victims)
        struck += victims
        for name in victims:
            heappush(away, (lab.now_s + BACK_S, name))
    _let_pass(lab, began / SECOND + STRIKES * EVERY_S, away)
    return {**_told(lab, began, last, asked, bytes_before), "victims": len(struck), "seeds": _seeds(lab, struck)}


def _seeds(lab: Lab, victims: list[str]) -> int:
    """How many of those whom newcomers ask first were among them."""
    return sum(name in victims for name in lab.plan.seeds)


def _let_pass(lab: Lab, until_s: float, away: list[tuple[float, str]]) -> None:
    """Those whose time has come are back meanwhile."""
    while away and away[0][0] <= until_s:
        at, name = heappop(away)
        lab.run_until(at)
        lab.restart([name])
    lab.run_until(until_s)


def _strike(lab: Lab, victims: list[str]) -> list[str]:
    """Silences them, and has every live client ask in that instant: those who ask."""
    gone = set(victims)
    lab.power_off(victims)
    alive = [host.plan.name for host in lab.alive() if host.plan.name not in gone]
    lab.ask(alive, lab.now, deadline_s=silence.PATIENCE_S)
    return alive


def _told(lab: Lab, began: int, struck_at: int, asked: list[str], bytes_before: int) -> Figures:
    """`asked`: who asked at `struck_at`. Availability is of all other requests from `began` to now, of clients that live."""
    until, live = lab.now, len(lab.alive())
    spent = lab.control_bytes() - bytes_before
    lab.workload({})
    lab.run_for(silence.PATIENCE_S + 0.5)
    of_host: dict[str, Record] = {one["host"]: one for one in lab.requests if one["issued_at"] == struck_at}
    took = [_seconds(of_host.get(name)) for name in asked]
    others = [one for one in lab.requests if began < one["issued_at"] < until and one["issued_at"] != struck_at]
    end = [one for one in others if one["issued_at"] >= until - END_S * SECOND]
    return {
        "alive": len(asked),
        "served_s": float(np.quantile(took, 0.99, method="higher")),
        "median_s": float(np.median(took)),
        "unserved": sum(one >= silence.PATIENCE_S for one in took),
        "issued": len(others),
        "ok": sum(one["outcome"] == "ok" for one in others),
        "end_issued": len(end),
        "end_ok": sum(one["outcome"] == "ok" for one in end),
        "bytes_per_s": spent / ((until - began) / SECOND) / live,
    }


def _seconds(one: Record | None) -> float:
    """Who died meanwhile, or was not answered, has waited as long as there is patience."""
    if one is None or one["outcome"] != "ok":
        return silence.PATIENCE_S
    return float((one["done_at"] - one["issued_at"]) / SECOND)
