"""Most of the demand comes from one region, then from another: how soon latency is what it will be.

Latency is compared client by client, each with its own mean over the last minute: the mix of clients in a window of a few
seconds would otherwise drown what is looked for. An overlay that keeps its replicas where they are, though others would
serve the new demand more than 10% better, settles at once at what it is; it counts as never back. The lab's replicas hold no
state, so none of the time is a transfer's; how many members are new tells how many there would be.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import numpy as np

from opus_controller.bench.overlay.lab import Lab, Record
from opus_controller.bench.overlay.oracles import Floats, local_search, nearest
from opus_controller.bench.overlay.silence import region
from opus_controller.bench.worlds import SECOND

Figures = dict[str, Any]

HOT_SHARE = 0.15
"""Of all hosts in a hot region."""
HOT_RATE, COLD_RATE = 40.0, 8.0
"""Requests/s of all clients in the region; of all others."""
BEFORE_S = 60.0
LAST_S = 60.0
WINDOW_S = 5.0
STEP_S = 1.0
WITHIN = 1.10


def moving(lab: Lab, delay: Floats, seed: int, m: int, after_s: float) -> Figures:
    first, second = _regions(delay, Random(f"{seed}/hot-spot"))
    _ask_from(lab, first, "first")
    lab.run_for(BEFORE_S)
    lab.forget()
    _ask_from(lab, second, "second")
    moved_at, before = lab.now, set(lab.replicas())
    lab.run_for(after_s)
    requests = [one for one in lab.requests if one["issued_at"] >= moved_at]
    settled = settles_at(requests, lab.now - LAST_S * SECOND)
    index = {host.name: host.index for host in lab.plan.hosts}
    weight = np.full(len(index), COLD_RATE / (len(index) - len(second)))
    weight[second] = HOT_RATE / len(second)
    serving = lab.replicas()
    here = nearest(delay, [index[name] for name in serving]) @ weight
    ideal = nearest(delay, local_search(delay, m, weight=weight).chosen) @ weight
    followed = set(serving) != before or here <= WITHIN * ideal
    return {
        "back_s": back_after(requests, settled, moved_at, lab.now - round(LAST_S * SECOND)) if followed else after_s,
        "followed": int(followed),
        "moved": len(set(serving) - before),
        "at_first": _ratio(requests, settled, moved_at, moved_at + round(WINDOW_S * SECOND)),
        "placement": float(here / ideal),
    }


def _regions(delay: Floats, rng: Random) -> tuple[list[int], list[int]]:
    """Two that share no host: the second's centre is among the farther half from the first's."""
    n = len(delay)
    count = round(HOT_SHARE * n)
    centre = rng.randrange(n)
    far = np.argsort(delay[centre], kind="stable")[n // 2 :].tolist()
    first = region(delay, centre, count)
    second = [i for i in np.argsort(delay[rng.choice(far)], kind="stable").tolist() if i not in set(first)][:count]
    return first, second


def _ask_from(lab: Lab, hot: list[int], label: str) -> None:
    names = [host.name for host in lab.plan.hosts]
    rates = {name: COLD_RATE / (len(names) - len(hot)) for name in names}
    lab.workload(rates | {names[i]: HOT_RATE / len(hot) for i in hot}, label=label)


def settles_at(requests: list[Record], since: float) -> dict[str, float]:
    """Each client's mean routing latency at the end."""
    took: dict[str, list[int]] = defaultdict(list)
    for one in requests:
        if one["outcome"] == "ok" and one["issued_at"] >= since:
            took[one["host"]].append(one["arrived_at"] - one["issued_at"])
    return {name: float(np.mean(each)) for name, each in took.items()}


def _ratio(requests: list[Record], settled: dict[str, float], start: int, stop: int) -> float:
    """Routing latencies of a window by what the same clients' requests take once all is settled; 1 if there are none."""
    over = under = 0.0
    for one in requests:
        if start <= one["issued_at"] < stop and one["outcome"] == "ok" and one["host"] in settled:
            over += one["arrived_at"] - one["issued_at"]
            under += settled[one["host"]]
    return over / under if under else 1.0


def back_after(requests: list[Record], settled: dict[str, float], moved_at: int, until: int) -> float:
    """Seconds from the move to the end of the last window in which latency was more than 10% above what it settles at."""
    back = 0.0
    start = moved_at
    while start < until:
        stop = start + round(WINDOW_S * SECOND)
        if _ratio(requests, settled, start, stop) > WITHIN:
            back = (stop - moved_at) / SECOND
        start += round(STEP_S * SECOND)
    return back
