"""The properties of paths that do not change, all measured at once over different hosts in one network for a minute.

Every property has a flow over links made as asked, and one or more over links made wrong on purpose (names with "!"),
which the same judge must reject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opus_controller.model.shapes import AccessLink, BurstLoss, PathShape

from helpers.fidelity import judges
from helpers.fidelity.judges import Judgement
from helpers.fidelity.live import live_network, network_of
from helpers.fidelity.prober import Flow, Observation, Probed, probe

MS = 1_000_000
PLAIN = ("delay 10 ms", "delay 60 ms", "delay 80 ms", "delay 300 ms")
"""The flows that say what the machine adds to a delay."""
SINK = "sink"


@dataclass(frozen=True)
class Link:
    """One flow and the links it crosses, to the common sink unless `back` or `target` say otherwise."""

    shape: PathShape
    packets: int
    gap_ms: float
    size: int = 100
    access: AccessLink = field(default_factory=AccessLink)
    target: AccessLink | None = None
    """The access link of a receiver of its own."""
    unchecked: bool = False


@dataclass(frozen=True)
class Property:
    """`judge(observation, what the machine added to delays)` of `right` must hold, of each in `wrong` must not."""

    judge: Callable[[Observation, Sequence[int]], Judgement]
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Steady:
    probed: Probed
    noise_ns: tuple[int, ...]
    overflow: int
    counted_lost: int
    missing: int

    def judge(self, name: str, flow: str) -> Judgement:
        return PROPERTIES[name].judge(self.probed.flows[flow], self.noise_ns)


def _delay(ms: float) -> Link:
    return Link(PathShape(delay_ns=int(ms * MS)), 600, 100)


def _jitter(distribution: str, jitter_ms: float = 12) -> Link:
    shape = PathShape.model_validate({"delay_ns": 60 * MS, "jitter_ns": int(jitter_ms * MS), "distribution": distribution})
    return Link(shape, 1000, 60)


_LOSS, _DUPLICATE, _REORDER, _CORRUPT = 0.05, 0.2, 0.1, 0.1
_BURST = BurstLoss(p=0.05, r=0.2)
_SOFT_BURST = BurstLoss(p=0.05, r=0.2, loss_bad=0.8, loss_good=0.01)
_ACCESS = AccessLink(delay_ns=15 * MS, loss=0.05)
_FAR_ACCESS = AccessLink(delay_ns=5 * MS, loss=0.05)
_ACCESS_LOSS = 1 - 0.95 * 0.98 * 0.95


def _loss(loss: float) -> Link:
    return Link(PathShape(delay_ns=20 * MS, loss=loss), 2500, 24)


def _burst(burst: BurstLoss | None, loss: float = 0.0) -> Link:
    return Link(PathShape(delay_ns=20 * MS, burst=burst, loss=loss), 4000, 15)


def _order(keep: bool) -> Link:
    return Link(PathShape(delay_ns=90 * MS, jitter_ns=30 * MS, keep_order=keep), 1500, 20)


def _share(share: float, what: str, size: int = 100) -> Link:
    shape = PathShape.model_validate({"delay_ns": 50 * MS, what: share})
    return Link(shape, 1800, 30, size, unchecked=what == "corrupt")


LINKS = {
    "delay 10 ms": _delay(10),
    "delay 60 ms": _delay(60),
    "delay 80 ms": _delay(80),
    "delay 300 ms": _delay(300),
    "!delay 84 ms": _delay(84),
    "!delay 76 ms": _delay(76),
    "uniform": _jitter("uniform"),
    "normal": _jitter("normal"),
    "pareto": _jitter("pareto"),
    "paretonormal": _jitter("paretonormal"),
    "!pareto of equal deviation": _jitter("pareto", 12 / 0.82),
    "!normal 16 ms": _jitter("normal", 16),
    "!uniform 8 ms": _jitter("uniform", 8),
    "kept order": _order(True),
    "!order not kept": _order(False),
    "loss": _loss(_LOSS),
    "!loss 10%": _loss(0.1),
    "!loss in bursts": Link(PathShape(delay_ns=20 * MS, burst=BurstLoss(p=0.0105, r=0.2)), 2500, 24),
    "bursts": _burst(_BURST),
    "soft bursts": _burst(_SOFT_BURST),
    "!independent": _burst(None, 0.2),
    "!bursts, h for 1-h": _burst(BurstLoss(p=0.05, r=0.2, loss_bad=0.2, loss_good=0.01)),
    "!bursts twice as long": _burst(BurstLoss(p=0.025, r=0.1)),
    "duplicates": _share(_DUPLICATE, "duplicate"),
    "!duplicates 30%": _share(0.3, "duplicate"),
    "reordered": _share(_REORDER, "reorder"),
    "!reordered 20%": _share(0.2, "reorder"),
    "corrupted": _share(_CORRUPT, "corrupt", 700),
    "!corrupted 20%": _share(0.2, "corrupt", 700),
    "access": Link(PathShape(delay_ns=30 * MS, loss=0.02), 2500, 24, access=_ACCESS, target=_FAR_ACCESS),
    "!access forgotten": Link(PathShape(delay_ns=30 * MS, loss=0.02), 2500, 24, target=AccessLink()),
}


def _jitter_judge(name: str) -> Callable[[Observation, Sequence[int]], Judgement]:
    return lambda seen, noise: judges.jitter(seen, LINKS[name].shape, noise)


PROPERTIES = {
    "delay 10 ms": Property(lambda o, _: judges.delay(o, 10 * MS), "delay 10 ms", ("!delay 84 ms",)),
    "delay 80 ms": Property(lambda o, _: judges.delay(o, 80 * MS), "delay 80 ms", ("!delay 84 ms", "!delay 76 ms")),
    "delay 300 ms": Property(lambda o, _: judges.delay(o, 300 * MS), "delay 300 ms", ("!delay 84 ms",)),
    "asymmetric, out 20 ms": Property(lambda o, _: judges.delay(o, 20 * MS), "asymmetric out", ("!symmetric out",)),
    "asymmetric, back 60 ms": Property(lambda o, _: judges.delay(o, 60 * MS), "asymmetric back", ("!symmetric back",)),
    "jitter uniform 12 ms": Property(_jitter_judge("uniform"), "uniform", ("!uniform 8 ms", "normal")),
    "jitter normal 12 ms": Property(_jitter_judge("normal"), "normal", ("!normal 16 ms", "!pareto of equal deviation")),
    "jitter pareto 12 ms": Property(_jitter_judge("pareto"), "pareto", ("paretonormal", "normal")),
    "jitter paretonormal 12 ms": Property(_jitter_judge("paretonormal"), "paretonormal", ("pareto", "normal")),
    "keep_order": Property(lambda o, _: judges.in_order(o, 30 * MS), "kept order", ("!order not kept",)),
    "loss 5%": Property(lambda o, _: judges.loss(o, _LOSS), "loss", ("!loss 10%", "!loss in bursts")),
    "bursts p 5% r 20%": Property(
        lambda o, _: judges.burst_loss(o, LINKS["bursts"].shape), "bursts", ("!independent", "!bursts twice as long")
    ),
    "bursts that lose 80% / 1%": Property(
        lambda o, _: judges.burst_loss(o, LINKS["soft bursts"].shape), "soft bursts", ("!bursts, h for 1-h", "!independent")
    ),
    "duplicate 20%": Property(lambda o, _: judges.duplicates(o, _DUPLICATE), "duplicates", ("!duplicates 30%",)),
    "reorder 10%": Property(lambda o, _: judges.reordered(o, _REORDER, 50 * MS), "reordered", ("!reordered 20%",)),
    "corrupt 10%": Property(lambda o, _: judges.corrupted(o, _CORRUPT), "corrupted", ("!corrupted 20%",)),
    "access links' delay 15 + 5 ms": Property(lambda o, _: judges.delay(o, 50 * MS), "access", ("!access forgotten",)),
    "access links' loss 5% + 5%": Property(lambda o, _: judges.loss(o, _ACCESS_LOSS), "access", ("!access forgotten",)),
}


def measure(kind: str, directory: Path) -> Steady:
    """One minute of everything."""
    access = {SINK: AccessLink()}
    paths: dict[tuple[str, str], PathShape] = {}
    flows: list[Flow] = []
    for i, (name, link) in enumerate(LINKS.items()):
        source, target = f"h{i}", SINK
        access[source] = link.access
        if link.target is not None:
            target = f"t{i}"
            access[target] = link.target
        paths[source, target] = link.shape
        flows.append(
            Flow(name, source, target, link.packets, int(link.gap_ms * MS), link.size, i * MS, link.unchecked)
        )  # fmt: skip
    _both_ways("asymmetric", 20, 60, access, paths, flows)
    _both_ways("!symmetric", 40, 40, access, paths, flows)
    with live_network(kind, network_of(access, paths), directory) as live:
        probed = probe(live, flows)
        counters = live.links.counters().values()
    return Steady(
        probed,
        noise_ns=tuple(d - LINKS[name].shape.delay_ns for name in PLAIN for d in probed.flows[name].delays_ns),
        overflow=sum(found.overflow for found in counters),
        counted_lost=sum(found.lost for found in counters),
        missing=sum(
            len(seen.sent_ns) - sum(seen.arrived)
            for name, seen in probed.flows.items()
            if "corrupt" not in name and "duplicate" not in name
        ),
    )


def _both_ways(
    name: str,
    out_ms: int,
    back_ms: int,
    access: dict[str, AccessLink],
    paths: dict[tuple[str, str], PathShape],
    flows: list[Flow],
) -> None:
    here, there = f"{name.strip('!')}-a", f"{name.strip('!')}-b"
    access[here] = access[there] = AccessLink()
    paths[here, there], paths[there, here] = PathShape(delay_ns=out_ms * MS), PathShape(delay_ns=back_ms * MS)
    flows.append(Flow(f"{name} out", here, there, 300, 200 * MS))
    flows.append(Flow(f"{name} back", there, here, 300, 200 * MS))
