"""Hosts that fall silent: half of all at once, a replica, and none at all on paths that lose packets now and then.

Silence is power-off: the links are cut in the same instant, so no kernel refuses anything (DESIGN section 7, Crash).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np

from opus_controller.bench.overlay import forks
from opus_controller.bench.overlay.lab import Lab, Record
from opus_controller.bench.overlay.oracles import Floats
from opus_controller.bench.worlds import SECOND

Figures = dict[str, Any]

PATIENCE_S = 15.0
"""Deadline of the requests asked at the moment of a fault: longer than any bound the table knows."""
LOOK_EVERY_S = 0.5


# Half of all hosts


def half_kill(lab: Lab, delay: Floats, seed: int, kills: int) -> Figures:
    """As many kills of a random half as of a region; each from the same state, each time with other victims."""
    found: Figures = {"random": [], "region": [], "bereft_random": 0, "bereft_region": 0}
    for kind, victims in _halves(lab, delay, seed, kills):
        alive = [host.plan.name for host in lab.alive() if host.plan.name not in set(victims)]
        if set(lab.replicas()) <= set(victims):
            found[f"bereft_{kind}"] += 1  # nobody is left who could answer until a new replica is appointed
            continue
        took = forks.call(partial(_after_power_off, lab, victims, alive))
        found[kind].append([one.get("took_s") for one in took.values()])
    return found


def _halves(lab: Lab, delay: Floats, seed: int, kills: int) -> list[tuple[str, list[str]]]:
    names = [host.name for host in lab.plan.hosts]
    half = len(names) // 2
    found = []
    for k in range(kills):
        rng = Random(f"{seed}/half-kill/{k}")
        if k % 2:
            found.append(("region", [names[i] for i in region(delay, rng.randrange(len(names)), half)]))
        else:
            found.append(("random", rng.sample(names, half)))
    return found


def region(delay: Floats, centre: int, count: int) -> list[int]:
    """The `count` hosts nearest to one, itself included."""
    found: list[int] = np.argsort(delay[centre], kind="stable")[:count].tolist()
    return found


def _after_power_off(lab: Lab, victims: Sequence[str], alive: Sequence[str]) -> dict[str, Record]:
    """What became of one request of each of `alive`, issued at the instant at which `victims` fell silent."""
    lab.workload({})
    lab.forget()
    asked_at = lab.now
    if victims:
        lab.power_off(victims)
    lab.ask(alive, asked_at, deadline_s=PATIENCE_S)
    answered: dict[str, Record] = {}
    while len(answered) < len(alive) and lab.now <= asked_at + (PATIENCE_S + 1) * SECOND:
        lab.run_for(LOOK_EVERY_S)
        answered |= {one["host"]: one for one in lab.requests if one["issued_at"] == asked_at}
        lab.forget()
    return {name: _told(answered[name]) if name in answered else {} for name in alive}


def _told(request: Record) -> Record:
    if request["outcome"] != "ok":
        return {}
    return {"took_s": (request["done_at"] - request["issued_at"]) / SECOND, "replica": request["replica"]}


# A replica


def silent_replica(lab: Lab, seed: int, crashes: int, *, direct: bool) -> Figures:
    """How much longer a request takes that would have gone to a replica which falls silent in that instant.

    Every client asks once, in two futures of one state: nothing happens; a replica falls silent. All that would have gone to
    it are under way before anybody can notice, so each is the first.
    """
    lab.reconfigure(direct=direct)
    everyone = [host.plan.name for host in lab.alive()]
    usual = forks.call(partial(_after_power_off, lab, (), everyone))
    serving = lab.replicas()
    extra: list[float] = []
    for victim in Random(f"{seed}/silent-replica").sample(serving, min(crashes, len(serving))):
        node = lab.world.hosts[victim].id
        concerned = [name for name in everyone if name != victim and usual[name].get("replica") == node]
        took = forks.call(partial(_after_power_off, lab, (victim,), concerned))
        extra += [(took[name].get("took_s", PATIENCE_S) - usual[name]["took_s"]) * 1000 for name in concerned]
    p50, p99 = np.quantile(extra, (0.5, 0.99)) if extra else (float("nan"),) * 2
    return {"extra_p50_ms": float(p50), "extra_p99_ms": float(p99), "first_requests": len(extra)}


# Nobody


LOSS = 0.001
USED_TO_LOSS_S = 30.0
LOSSY_S = 60.0
LOSSY_RATE = 100.0


def needless_timeouts(lab: Lab) -> Figures:
    """Requests that were sent once more although nobody was silent, on paths that lose 0.1% of packets; by agents, messages.

    A request that was refused first has another reason: replicas move here as ever. Who is asked again, by a datagram, is not
    given up yet: how often that happens is counted apart.
    """
    lab.lose_packets(LOSS)
    lab.everyone_asks(LOSSY_RATE, label="lossy")
    lab.run_for(USED_TO_LOSS_S)
    lab.forget()
    before, asked_again = lab.tally.forwarded - lab.tally.to_forward, lab.tally.again
    lab.run_for(LOSSY_S)
    requests = lab.requests
    index = {host.name: host.index for host in lab.plan.hosts}
    again = [one for one in requests if one["attempts"] > 1]
    by_clients = sum((index[one["host"]], one["request"]) not in lab.tally.refused for one in again)
    by_agents = max(0, lab.tally.forwarded - lab.tally.to_forward - before)
    refused = len(again) - by_clients
    return {
        "timeouts": by_clients + by_agents,
        "by_agents": by_agents,
        "refused": refused,
        "requests": len(requests),
        "asked_again": lab.tally.again - asked_again,
    }
