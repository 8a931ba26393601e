"""The figures of DESIGN section 7 over a selection of requests, one small function a definition."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from opus_node.folds import LatencyStats

from opus_controller.report import result
from opus_controller.report.requests import OUTCOMES, Oracle, Requests
from opus_controller.report.world import NO_PATH, Bools, Ints

MS = 1e6


@dataclass(frozen=True)
class Judged:
    """Requests with what the oracle and the ideal placement say of each: same n everywhere."""

    requests: Requests
    oracle: Oracle
    ideal: Ints
    charged: Ints
    """When the request counts, ns since the origin: at its issue, or at the fault that struck it on its way."""
    since_fault: Ints
    """ns from the last fault at or before `charged`; a very long time if there was none."""

    def where(self, mask: Bools) -> Judged:
        return Judged(
            self.requests.where(mask),
            Oracle(self.oracle.best[mask], self.oracle.is_replica[mask]),
            self.ideal[mask],
            self.charged[mask],
            self.since_fault[mask],
        )


def counts(requests: Requests) -> result.Requests:
    """Availability: requests answered ok within their deadline / requests issued by live clients.

    The client's own count. A client that died with requests open left no record of them, so only live clients count.
    """
    issued, ok = requests.size, int(requests.ok.sum())
    return result.Requests(issued=issued, ok=ok, failed=issued - ok, availability=ok / issued if issued else None)


def reachable_counts(judged: Judged) -> result.Requests:
    """Availability among requests whose client, when it issued them, had an open path both ways to a live replica."""
    return counts(judged.requests.where(judged.oracle.reachable))


def outcomes(requests: Requests) -> dict[str, int]:
    """Requests by how they ended; only outcomes that occurred."""
    tally = Counter(requests.outcome.tolist())
    return {name: tally[i] for i, name in enumerate(OUTCOMES) if tally[i]}


def routing_latency_ms(requests: Requests) -> result.Latency:
    """From issue at the client to arrival at the replica that answers, of ok requests."""
    return _latency(requests.routing_ns[requests.ok])


def request_latency_ms(requests: Requests) -> result.Latency:
    """From issue at the client to the reply there, of ok requests."""
    return _latency(requests.request_ns[requests.ok])


def hops(requests: Requests) -> result.Hops:
    """Overlay hops of the winning attempt to the replica: 0 (the client is one), 1 (direct) or 2 (by an agent)."""
    taken = requests.hops[requests.ok]
    if not len(taken):
        return result.Hops()
    return result.Hops(mean=float(taken.mean()), p50=float(np.median(taken)), max=int(taken.max()))


def comparable(judged: Judged) -> Bools:
    """The requests that stretch and regret are about: ok, of a client that was no replica and could reach a live one."""
    return judged.requests.ok & ~judged.oracle.is_replica & judged.oracle.reachable


def stretch(judged: Judged) -> float | None:
    """Sum of routing latencies / sum of one-way delays to the best live replica at the time of issue.

    A ratio of sums: most hosts of real matrices have a neighbour under 1 ms, and a mean of ratios would explode.
    """
    mask = comparable(judged)
    return _ratio(judged.requests.routing_ns[mask], judged.oracle.best[mask])


def regret_ns(judged: Judged) -> Ints:
    """Routing latency less the one-way delay to the best live replica; the same requests as stretch's."""
    mask = comparable(judged)
    return judged.requests.routing_ns[mask] - judged.oracle.best[mask]


def regret_ms(judged: Judged) -> result.Regret:
    regret = regret_ns(judged)
    if not len(regret):
        return result.Regret()
    p50, p95, p99 = (float(v) / MS for v in np.quantile(regret, (0.50, 0.95, 0.99)))
    return result.Regret(p50=p50, p95=p95, p99=p99)


def cost_of_self_organization(judged: Judged) -> float | None:
    """Sum of routing latencies / sum of one-way delays to a full-knowledge k-median placement of the same m replicas.

    Over all ok requests, those of clients that were replicas themselves too: the ideal may serve itself as well. (`ideal`)
    """
    mask = judged.requests.ok & (judged.ideal < NO_PATH)
    return _ratio(judged.requests.routing_ns[mask], judged.ideal[mask])


def of(judged: Judged) -> result.Figures:
    """All figures of a selection of requests."""
    return result.Figures(
        requests=counts(judged.requests),
        routing_latency_ms=routing_latency_ms(judged.requests),
        request_latency_ms=request_latency_ms(judged.requests),
        hops=hops(judged.requests),
        stretch=stretch(judged),
        regret_ms=regret_ms(judged),
        cost_of_self_organization=cost_of_self_organization(judged),
    )


def _latency(values: Ints) -> result.Latency:
    return result.Latency(**LatencyStats.of(values.tolist()).ms())


def _ratio(over: Ints, under: Ints) -> float | None:
    """None where there is nothing to divide by: no requests, or every one at its replica's own host."""
    divisor = int(under.sum())
    return float(over.sum()) / divisor if divisor else None
