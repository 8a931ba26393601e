"""What a host holds and sends while nothing special happens, from the samples of its counters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from opus_controller.report import result

Sample = Mapping[str, Any]


def steady(samples: Iterable[Sample], since: int) -> list[Sample]:
    """Samples from `since` (ns) on: the workload's begin; joining is over by then, or the scenario wanted it counted."""
    return [sample for sample in samples if sample["t"] >= since]


class Left:
    """Instants (ns, `times` of faults) after each of which `span_ns` are left out."""

    def __init__(self, times: Iterable[int] = (), span_ns: int = 0) -> None:
        self._times = sorted(times)
        self._span = span_ns

    def out(self, since: int, until: int) -> bool:
        """Whether any of that time is: the latest of them counts, the others' spans end earlier."""
        place = bisect_right(self._times, until) - 1
        return place >= 0 and self._times[place] + self._span > since


NOTHING_LEFT_OUT = Left()


def state_entries(samples: Iterable[Sample]) -> result.StateEntries:
    """State: table entries a host holds, over all samples, nodes and agents apart (by what the host was at that time)."""
    node: list[int] = []
    agent: list[int] = []
    for sample in samples:
        (agent if sample["is_agent"] else node).append(int(sample["entries"]))
    return result.StateEntries(node=_spread(node), agent=_spread(agent))


def control_rates(
    samples: Iterable[Sample], starts: Mapping[str, Sequence[int]], left: Left = NOTHING_LEFT_OUT
) -> dict[str, float]:
    """Control bytes, sent plus received, per second, of each host with two samples or more of one life.

    Counters begin anew with each start of the host (`starts`: ns, ascending, by host): the time across one is left out, since
    nobody counted what was sent between the last sample and the end. So is time of which any is `left` out.
    """
    last: dict[str, tuple[int, int]] = {}
    sums: dict[str, tuple[int, int]] = {}
    for sample in sorted(samples, key=lambda s: int(s["t"])):
        host, t = sample["host"], int(sample["t"])
        count = int(sample["control_bytes_sent"]) + int(sample["control_bytes_received"])
        if host in last:
            t0, count0 = last[host]
            if bisect_right(starts.get(host, ()), t0) == bisect_right(starts.get(host, ()), t) and not (
                count < count0 or left.out(t0, t)
            ):
                spent, grown = sums.get(host, (0, 0))
                sums[host] = (spent + t - t0, grown + count - count0)
        last[host] = (t, count)
    return {host: grown * 1e9 / spent for host, (spent, grown) in sums.items() if spent}


def shed(samples: Iterable[Sample], starts: Mapping[str, Sequence[int]]) -> int:
    """Requests turned away, over all hosts and all their lives, each as its last sample counted."""
    most: dict[tuple[str, int], int] = {}
    for sample in samples:
        life = (sample["host"], bisect_right(starts.get(sample["host"], ()), int(sample["t"])))
        most[life] = max(most.get(life, 0), int(sample.get("requests_shed", 0)))
    return sum(most.values())


def control_bytes_per_s(rates: Mapping[str, float]) -> result.ControlBytes:
    """Mean, 99th percentile and maximum over hosts."""
    if not rates:
        return result.ControlBytes()
    values = np.array(sorted(rates.values()))
    return result.ControlBytes(mean=float(values.mean()), p99=float(np.quantile(values, 0.99)), max=float(values.max()))


def _spread(values: list[int]) -> result.Spread:
    return result.Spread(p50=float(np.median(values)), max=float(max(values))) if values else result.Spread()
