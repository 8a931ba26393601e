"""One life of one overlay: it grows up, is looked at, and then has several futures, each in a process of its own.

    boot ─ settle ─ rest ─┬─ requests: every host that has not asked yet asks, and asks again
                          ├─ newcomers: some go away and come back as strangers
                          └─ silence F, random or regional: a share F of the hosts falls silent, and every other one asks at once

What is the same for all overlays: the hosts, the network, the seed, m, when they boot and ask, and how clients behave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np

from opus_controller.bench.overlay import forks, silence
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab, Record
from opus_controller.bench.overlay.oracles import Floats, delays_ms, local_search
from opus_controller.bench.overlay.steady import control_bytes
from opus_controller.bench.worlds import SECOND
from opus_controller.claims.claim import Figures, Task
from opus_controller.claims.measure.choices import choices
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.measure.overlays import Overlay
from opus_controller.claims.setting import Scale
from opus_controller.model.plan import Plan

MS = 1e6
OTHERS_RATE = 10.0
"""Requests/s of every second host together, from the beginning on: a service that nobody has ever asked knows of no demand. First
requests are those of the other half."""
ASKED_OVER_S = 5.0
"""First requests of all hosts are spread over so long: they are not a flash crowd."""
WARM_S = 15.0
"""From a host's first request to its second, and to the third, which counts as a repeat."""
DEADLINE_S = 5.0
NEWCOMERS = 10
AWAY_S = 40.0
JOINED_S = 40.0
BUSY_S = 20.0
"""After a silence: control bytes are counted for so long, and everybody asks again at its end."""
STARTS = 4
"""Of the search for where replicas would best be."""
BOOTS_PER_S = 100.0
MOST_AT_ONCE = 500
RANDOM, REGION = "random", "region"

REQUESTS, NEW, SILENCE = "requests", "newcomers", "silence"
PARTS = (REQUESTS, NEW, SILENCE)


@dataclass(frozen=True)
class Life:
    network: Network
    overlay: Overlay
    hosts: int
    replicas: int
    seed: int
    scale: Scale
    parts: tuple[str, ...] = (REQUESTS,)
    """Which futures it has."""
    settle_s: float = 0.0
    """0: as the scale has it."""

    @property
    def name(self) -> str:
        settled = f" {self.settle_s:g}s" if self.settle_s else ""
        words = (
            self.network.name,
            self.hosts,
            self.overlay.label,
            f"m={self.replicas}{settled}",
            "+".join(self.parts),
            self.seed,
        )
        return "life " + " ".join(map(str, words))

    def task(self) -> Task:
        cost = self.hosts * len(self.parts) * (1.0 + self.hosts / 1000)
        return Task(self.name, partial(live, self), cost)


def live(life: Life) -> Figures:
    """All figures of it. Latencies in ms, one way from issue to arrival at the replica that answers."""
    lab = born(life)
    others = [host.name for host in lab.plan.hosts][::2]
    lab.workload({name: OTHERS_RATE / len(others) for name in others}, label="others")
    booted_s = booted_over_s(life.hosts)
    lab.run_until(booted_s + (life.settle_s or life.scale.settle_s))
    found: Figures = {"tables": tables(lab), "rest": rest(lab, life.scale.rest_s)}
    lab.forget()
    if REQUESTS in life.parts:
        found["requests"] = forks.call(partial(requests, lab, life.seed))
    if NEW in life.parts:
        found["newcomers"] = forks.call(partial(newcomers, lab, found["rest"]["bytes_mean"]))
    if SILENCE in life.parts:
        delay = delays_ms(lab.plan)
        found["silence"] = {
            f"{share:g} {kind}": forks.call(partial(silent, lab, victims(lab.plan, delay, share, kind, life.seed)))
            for share in life.scale.fractions
            for kind in (RANDOM, REGION)
        }
    return found


def booted_over_s(hosts: int) -> float:
    """All at once, unless they are too many for any service to see that."""
    return hosts / BOOTS_PER_S if hosts > MOST_AT_ONCE else 0.0


def born(life: Life) -> Lab:
    """The lab of its hosts, nothing of which has happened yet."""
    topology = life.network.topology(life.hosts)
    made = readdressed(plan(topology, seed=life.seed, replicas=life.replicas, boot_over_s=booted_over_s(life.hosts)))
    settings = life.overlay.of()
    if life.overlay.placed:
        settings = settings.but(**{"app.members": best_places(made, life.replicas)})
    return Lab(made, settings)


def readdressed(made: Plan) -> Plan:
    """The same hosts under addresses dealt anew by the seed: which hosts hold a key by its hash is then another draw, too."""
    addresses = [host.address for host in made.hosts]
    Random(f"{made.seed}/addresses").shuffle(addresses)
    hosts = (host.model_copy(update={"address": one}) for host, one in zip(made.hosts, addresses, strict=True))
    return made.model_copy(update={"hosts": tuple(hosts)})


def best_places(made: Plan, count: int) -> tuple[str, ...]:
    """Addresses of the hosts that a k-median search over all delays would choose."""
    chosen = local_search(delays_ms(made), count, starts=STARTS).chosen
    return tuple(made.hosts[k].address for k in chosen)


# Looking


def tables(lab: Lab) -> Figures:
    """Table entries of plain nodes, agents and replicas; roles are disjoint, agents first."""
    shown = lab.snapshots()
    agents = [one.entries for one in shown.values() if one.is_agent]
    serving = [one.entries for one in shown.values() if one.replica_of and not one.is_agent]
    plain = [one.entries for one in shown.values() if not one.replica_of and not one.is_agent]
    return {
        "plain": spread(plain),
        "agents": spread(agents),
        "replicas": spread(serving),
        "all": spread([*plain, *agents, *serving]),
    }


def spread(values: Sequence[float]) -> Figures:
    if not values:
        return {"count": 0, "mean": None, "p50": None, "p95": None, "p99": None, "max": None}
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99))
    return {
        "count": len(values),
        "mean": float(np.mean(values)),
        "p50": float(p50),
        "p95": float(p95),
        "p99": float(p99),
        "max": float(max(values)),
    }


def rest(lab: Lab, seconds: float) -> Figures:
    """Control bytes a second and node, sent and received, while only the others ask; and steps of the whole overlay."""
    before, steps = lab.samples(), lab.tally.steps
    lab.run_for(seconds)
    after = lab.samples()
    rates = [(control_bytes(one) - control_bytes(before[name])) / seconds for name, one in after.items() if name in before]
    told = spread(rates)
    return {
        "bytes_mean": told["mean"],
        "bytes_p99": told["p99"],
        "bytes_max": told["max"],
        "steps_per_s": (lab.tally.steps - steps) / seconds,
        "hosts": len(after),
    }


# Futures


def requests(lab: Lab, seed: int) -> Figures:
    """Every host that has not asked yet does so three times; the first has no cache to help, the third has."""
    fresh = {host.name for host in lab.plan.hosts[1::2]}
    names = [host.plan.name for host in lab.alive() if host.plan.name in fresh]
    rng = Random(f"{seed}/asked")
    began = lab.now
    for name in names:
        at = began + round(rng.random() * ASKED_OVER_S * SECOND)
        for k in range(3):
            lab.ask([name], at + round(k * WARM_S * SECOND), deadline_s=DEADLINE_S)
    lab.run_for(ASKED_OVER_S + 2 * WARM_S + DEADLINE_S + 1)
    by_host: dict[str, list[Record]] = {}
    for one in sorted(lab.requests, key=lambda one: one["issued_at"]):
        if one["host"] in fresh:
            by_host.setdefault(one["host"], []).append(one)
    first = [asked[0] for asked in by_host.values()]
    repeat = [asked[2] for asked in by_host.values() if len(asked) > 2]
    return {
        "asked": len(names),
        "replicas": len(lab.replicas()),
        "first": felt(first) | {"choices": choices(lab, first)},
        "repeat": felt(repeat) | {"choices": choices(lab, repeat)},
    }


def felt(asked: Sequence[Record]) -> Figures:
    """Of requests: how many were answered, latencies in ms, hops."""
    ok = [one for one in asked if one["outcome"] == "ok"]
    hops = Counter(one["hops"] for one in ok)
    return {
        "issued": len(asked),
        "ok": len(ok),
        "ms": spread([(one["arrived_at"] - one["issued_at"]) / MS for one in ok]),
        "answer_ms": spread([(one["done_at"] - one["issued_at"]) / MS for one in ok]),
        "hops": spread([one["hops"] for one in ok]),
        "by_hops": {str(count): hops[count] for count in sorted(hops)},
    }


def newcomers(lab: Lab, rest_bytes: float) -> Figures:
    """Some go away, and come back as strangers: what each sends and receives until it has joined, and what going costs."""
    names = [host.plan.name for host in lab.alive()]
    others = [name for name in names if name not in lab.plan.seeds and name not in lab.replicas() and name not in lab.agents()]
    others = others or [name for name in names if name not in lab.plan.seeds]
    leaving = Random(f"{lab.plan.seed}/newcomers").sample(others, min(NEWCOMERS, len(others) // 2))
    stay = len(names) - len(leaving)
    before = lab.control_bytes()
    lab.power_off(leaving)
    lab.run_for(AWAY_S)
    left = lab.control_bytes() - before - rest_bytes * stay * AWAY_S
    lab.restart(leaving)
    lab.tally.sent.clear()
    began = lab.control_bytes()
    lab.run_for(JOINED_S)
    index = {host.name: host.index for host in lab.plan.hosts}
    theirs = {index[name] for name in leaving}
    samples = lab.samples()
    joined = [control_bytes(samples[name]) for name in leaving if name in samples]
    sent = sum(count for (host, _), count in lab.tally.sent.items() if host in theirs)
    everyone = lab.control_bytes() - began - rest_bytes * stay * JOINED_S
    return {
        "count": len(leaving),
        "join_bytes": float(np.mean(joined)),
        "join_messages": sent / len(leaving),
        "join_bytes_of_all": everyone / len(leaving),
        "leave_bytes_of_all": left / len(leaving),
        "seconds": JOINED_S,
    }


def victims(made: Plan, delay: Floats, share: float, kind: str, seed: int) -> list[str]:
    """A share of all hosts: any, or those nearest to one; seeds may be among them."""
    names = [host.name for host in made.hosts]
    count = min(len(names) - 1, round(share * len(names)))
    rng = Random(f"{seed}/victims/{share}/{kind}")
    if kind == RANDOM:
        return rng.sample(names, count)
    return [names[k] for k in silence.region(delay, rng.randrange(len(names)), count)]


def silent(lab: Lab, gone: Sequence[str]) -> Figures:
    """`gone` fall silent; each live host asks in that instant, and again BUSY_S later."""
    alive = [host.plan.name for host in lab.alive() if host.plan.name not in set(gone)]
    bereft = set(lab.replicas()) <= set(gone)
    lab.workload({})
    lab.forget()
    at = lab.now
    lab.power_off(gone)
    lab.ask(alive, at, deadline_s=silence.PATIENCE_S)
    bytes_before = lab.control_bytes()
    lab.run_for(BUSY_S)
    spent = (lab.control_bytes() - bytes_before) / BUSY_S / len(alive)
    first = {one["host"]: one for one in lab.requests if one["issued_at"] == at}
    lab.forget()
    lab.ask(alive, lab.now, deadline_s=DEADLINE_S)
    lab.run_for(DEADLINE_S + 0.5)
    again = list(lab.requests)
    took = [
        (one["done_at"] - one["issued_at"]) / SECOND if one["outcome"] == "ok" else silence.PATIENCE_S
        for one in (first.get(name, {"outcome": "none"}) for name in alive)
    ]
    return {
        "alive": len(alive),
        "bereft": bereft,
        "unserved": sum(1 for one in took if one >= silence.PATIENCE_S),
        "took_s": spread(took) | {"p999": float(np.quantile(took, 0.999, method="higher"))},
        "within_2s": sum(1 for one in took if one <= 2.0) / len(alive),
        "bytes_per_s": spent,
        "again": felt(again),
    }


def figures_of(found: Any, *path: str) -> Any:
    """A nested figure; None where some part is missing."""
    for step in path:
        if not isinstance(found, dict) or found.get(step) is None:
            return None
        found = found[step]
    return found
