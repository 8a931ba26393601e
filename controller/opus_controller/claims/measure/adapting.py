"""How soon the overlay is again what it will be, after something has changed. Each in seconds, from the change on.

moved      most of the demand comes from another region (`bench.overlay.hotspot`)
grown      four times as much is asked for, of a set whose steward may make it larger
joined     as many hosts again join
fallen     a third of the replicas fall silent
lengthened all delays of one region are three times what they were
"""

from __future__ import annotations

from functools import partial
from random import Random

import numpy as np
from opus_node.core.types import MILLISECOND

from opus_controller.bench.overlay import forks, hotspot, sizing
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.oracles import Floats, delays_ms, local_search, nearest
from opus_controller.bench.overlay.settings import Settings
from opus_controller.bench.overlay.silence import region
from opus_controller.bench.worlds import SECOND
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.networks import Network

MOVED, GROWN, JOINED, FALLEN, LENGTHENED = KINDS = ("moved", "grown", "joined", "fallen", "lengthened")
SETTLE_S = 90.0
AFTER_S = 150.0
"""For which what follows is looked at; what is not over by then counts with it."""
ASKED = 40.0
"""Requests/s of all clients, but where another load is the change itself."""
WINDOW_S, STEP_S = 5.0, 1.0
ANSWERED = 0.99
DEADLINE_S = 1.0

SERVICE = 200 * MILLISECOND
LOAD, TIMES = 10.0, 4.0
"""Requests/s before, and how many times as many then; a member answers five a second."""
LEAST = 3

JOIN_OVER_S = 5.0
REGION = 0.2
"""Of the hosts, in the region whose delays change."""
FACTOR = 3.0


def settled(network: Network, hosts: int, replicas: int, seed: int) -> Figures:
    """What happens to an overlay that has settled, each in a future of its own."""
    lab = Lab(plan(network.topology(hosts), seed=seed, replicas=replicas))
    delay = delays_ms(lab.plan)
    lab.everyone_asks(ASKED, label="settled")
    lab.run_until(SETTLE_S)
    moved = forks.call(partial(hotspot.moving, lab, delay, seed, replicas, AFTER_S))
    return {
        MOVED: {"seconds": moved["back_s"], "at_first": moved["at_first"], "moved": moved["moved"]},
        FALLEN: forks.call(partial(fallen, lab, replicas, seed)),
        LENGTHENED: forks.call(partial(lengthened, lab, delay, replicas, seed)),
    }


def grown(network: Network, hosts: int, seed: int) -> Figures:
    """Until the end of the last window in which less than 99% were answered in time."""
    made = plan(network.topology(hosts), seed=seed, replicas=LEAST)
    auto = {"app.most": len(made.hosts), "app.service_time": SERVICE, "app.choice": sizing.CHOICE}
    lab = Lab(made, Settings().but(**auto))
    lab.everyone_asks(LOAD, deadline_s=DEADLINE_S, label="before")
    lab.run_until(SETTLE_S)
    before, at = len(lab.replicas()), lab.now
    lab.forget()
    lab.everyone_asks(TIMES * LOAD, deadline_s=DEADLINE_S, label="after")
    lab.run_for(AFTER_S)
    seconds = answered_after(lab, at, lab.now - round(DEADLINE_S * SECOND))
    return {GROWN: {"seconds": seconds, "members_before": before, "members": len(lab.replicas())}}


def joined(network: Network, hosts: int, replicas: int, seed: int) -> Figures:
    """Until 99% are answered and latency is within 10% of what it settles at, newcomers' first requests included."""
    made = plan(network.topology(hosts), seed=seed, replicas=replicas)
    others = [host.name for host in made.hosts if host.name not in made.seeds]
    late = Random(f"{seed}/late").sample(others, len(made.hosts) // 2)
    step = round(JOIN_OVER_S * SECOND / len(late))
    boots = {name: round(SETTLE_S * SECOND) + k * step for k, name in enumerate(late)}
    booted = (host.model_copy(update={"boot_at_ns": boots.get(host.name, host.boot_at_ns)}) for host in made.hosts)
    lab = Lab(made.model_copy(update={"hosts": tuple(booted)}))
    lab.everyone_asks(ASKED, label="joined")
    lab.run_until(SETTLE_S)
    before, at = set(lab.replicas()), lab.now
    lab.forget()
    lab.run_for(AFTER_S)
    seconds = max(answered_after(lab, at, lab.now - round(DEADLINE_S * SECOND)), back_after(lab, at))
    return {JOINED: {"seconds": seconds, "came": len(late), "moved": len(set(lab.replicas()) - before)}}


def fallen(lab: Lab, replicas: int, seed: int) -> Figures:
    """Until as many serve again as are to."""
    serving = lab.replicas()
    victims = Random(f"{seed}/fallen").sample(serving, max(1, len(serving) // 3))
    at = lab.now_s
    lab.power_off(victims)
    while len(lab.replicas()) < replicas and lab.now_s < at + AFTER_S:
        lab.run_for(0.25)
    return {"seconds": lab.now_s - at, "fell": len(victims)}


def lengthened(lab: Lab, delay: Floats, replicas: int, seed: int) -> Figures:
    """Until latency is within 10% of what it settles at. Who keeps replicas where they are though others would serve the new
    delays more than 10% better has not adapted, whatever it settles at."""
    lab.workload({})
    lab.everyone_asks(ASKED, label="lengthened")
    inside = region(delay, Random(f"{seed}/lengthened").randrange(len(delay)), max(2, round(REGION * len(delay))))
    before, at = set(lab.replicas()), lab.now
    lab.forget()
    lab.lengthen([lab.plan.hosts[k].site for k in inside], FACTOR)
    lab.run_for(AFTER_S)
    index = {host.name: host.index for host in lab.plan.hosts}
    new, serving = delays_ms(lab.plan, lab.network), lab.replicas()
    here = nearest(new, [index[name] for name in serving]).mean()
    ratio = float(here / local_search(new, replicas).mean)
    adapted = set(serving) != before or ratio <= hotspot.WITHIN
    return {"seconds": back_after(lab, at) if adapted else AFTER_S, "moved": len(set(serving) - before), "placement": ratio}


def back_after(lab: Lab, at: int) -> float:
    """Latency, client by client, against the last minute's."""
    last = lab.now - round(hotspot.LAST_S * SECOND)
    requests = [one for one in lab.requests if one["issued_at"] >= at]
    return hotspot.back_after(requests, hotspot.settles_at(requests, last), at, last)


def answered_after(lab: Lab, at: int, until: int) -> float:
    """Seconds from `at` to the end of the last window in which less than 99% were answered in time."""
    issued = np.array([one["issued_at"] for one in lab.requests if at <= one["issued_at"] < until])
    ok = np.array([one["outcome"] == "ok" for one in lab.requests if at <= one["issued_at"] < until])
    back, start, window = 0.0, at, round(WINDOW_S * SECOND)
    while start + window <= until:
        inside = (issued >= start) & (issued < start + window)
        if inside.any() and ok[inside].mean() < ANSWERED:
            back = (start + window - at) / SECOND
        start += round(STEP_S * SECOND)
    return back
