"""Claim 11: watching all hosts costs little in a hierarchy; in a full mesh it costs O(n^2), and stops being possible early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from opus_controller.claims import lives, words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Finding, Found, Line, Plot, Table, Task, Verdict
from opus_controller.claims.measure.overlays import EVERYONE, OURS
from opus_controller.claims.setting import Setting

FLAT = 0.35
"""Bytes a host may grow with n to this power and still count as nearly flat: log n from 100 to 1,000 grows like n^0.18, sqrt n "
"0.5."""
AFFORDABLE = 12_500.0
"""B/s a host: 100 kbit/s, a tenth of what the least of access links carried when the paper was written."""
MESH = "full mesh (RON)"

PROBE_BYTES, PROBES_EACH, PROBE_EVERY_S = 69, 3, 12.0
ROUTE_HEAD, ROUTE_ENTRY, ROUTE_EVERY_S = 60, 20, 14.0
"""RON: a probe of a pair is three packets of 69 B every 12 s; every 14 s each node tells all others what it has measured, 20 B an
entry (Andersen, Balakrishnan, Kaashoek, Morris, "Resilient overlay networks", SOSP 2001, section 5 and table 1)."""


def mesh_bytes(n: int) -> float:
    """Sent and received by each of n hosts of a full mesh a second. For 50 hosts the paper prints 33 kbit/s sent."""
    probes = (n - 1) * PROBES_EACH * PROBE_BYTES / PROBE_EVERY_S
    routes = (n - 1) * (ROUTE_HEAD + ROUTE_ENTRY * (n - 1)) / ROUTE_EVERY_S
    return 2 * (probes + routes)


def tasks(setting: Setting) -> list[Task]:
    return lives.tasks([life for overlay in EVERYONE for life in lives.grown(setting, overlay)])


@dataclass(frozen=True)
class Growth:
    """Bytes a host and second, about factor * n^power."""

    power: float
    factor: float

    @staticmethod
    def of(sizes: Sequence[float], values: Sequence[float]) -> Growth:
        power, offset = np.polyfit(np.log(sizes), np.log(values), 1)
        return Growth(float(power), exp(float(offset)))

    def reaches(self, bound: float) -> float:
        """The n at which it is so much; inf if never."""
        if self.power <= 0:
            return float("inf")
        exponent = log(bound / self.factor) / self.power
        return exp(exponent) if exponent < 60 else float("inf")


def judge(found: Found, setting: Setting) -> Finding:
    sizes, rates = _rates(found, setting)
    growths = {name: Growth.of(sizes[name], values) for name, values in rates.items()}
    ours, largest = growths[OURS.label], rates[OURS.label][-1]
    mesh = rates[MESH][-1]
    flat, cheaper = ours.power <= FLAT, largest < mesh
    verdict: Verdict = HOLDS if flat and cheaper else CONDITIONS if cheaper and ours.power < growths[MESH].power / 2 else FAILS
    stops = {name: growth.reaches(AFFORDABLE) for name, growth in growths.items()}
    because = (
        f"A host's bytes grow with n^{ours.power:.2f} in Opus' hierarchy (at most {FLAT:g}), with n^{growths[MESH].power:.2f} in "
        f"a full mesh, "
        f"which takes {AFFORDABLE / 1000:g} kB/s a host from {_size(stops[MESH])} hosts on; Opus from {_size(stops[OURS.label])}."
    )
    if verdict == CONDITIONS:
        because += " So it is cheap, but not flat: where n is within what was measured."
    rows = [
        (
            name,
            *(f"{n:,.0f}: {words.number(value, 0)}" for n, value in zip(sizes[name], values, strict=True)),
            f"{growths[name].power:.2f}",
            _size(stops[name]),
        )
        for name, values in rates.items()
    ]
    count = max(len(row) for row in rows) - 3
    head = (
        "overlay",
        *(f"n: B/s a host ({k + 1})" for k in range(count)),
        "grows with n to the power",
        f"{AFFORDABLE / 1000:g} kB/s a host at n",
    )
    lines = [Line(name, sizes[name], values) for name, values in rates.items()]
    plot = Plot("bytes", "Control bytes at rest, sent and received", "hosts", "B/s a host", lines, log_x=True, log_y=True)
    return Finding(
        verdict,
        because,
        (Table(f"On {setting.main.name}, at rest", head, rows),),
        (plot,),
        (
            f"{MESH} is reckoned from what its authors say that it sends; everything else is measured.",
            "Distributed hash tables watch neighbours only: nobody learns what hosts can do or who is stable, which is what the "
            "hierarchy is for.",
        ),
    )


def _rates(found: Found, setting: Setting) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    sizes: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    for overlay in EVERYONE:
        for life in lives.grown(setting, overlay):
            sizes.setdefault(overlay.label, []).append(float(lives.value(found, life, "rest", "hosts")))
            rates.setdefault(overlay.label, []).append(float(lives.value(found, life, "rest", "bytes_mean")))
    sizes[MESH] = sizes[OURS.label]
    rates[MESH] = [mesh_bytes(round(n)) for n in sizes[MESH]]
    return sizes, rates


def _size(n: float) -> str:
    return "no n that was looked at" if n > 1e12 else f"{float(f'{n:.2g}'):,.0f}"


CLAIMS = (
    Claim(
        11,
        "monitoring",
        "At first glance, maintaining global state about potentially billions of hosts is intractable; aggressive use of "
        "hierarchy and "
        "aggregation can limit the amount of state that any node must maintain.",
        "Control bytes of a host at rest against n, in Opus, in the distributed hash tables and the one-hop overlay, and in a "
        "full mesh that "
        "probes all pairs.",
        f"Holds if Opus' bytes a host grow with n to a power of at most {FLAT:g}, and are fewer than the full mesh's at the "
        f"largest n. Under "
        "conditions if only fewer, and growing with less than half the power. Else not.",
        tasks,
        judge,
    ),
)
