"""Timelines of overlapping faults on `fake_runtime.small_plan`'s hosts, for property tests of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hypothesis.strategies as st
from opus_controller.model.plan import Fault, Heal, HostFault, LinkChange, Partition, Strain, Target
from opus_controller.model.shapes import HostChange, PathShape, ShapeChange

HOSTS = [f"{site}-{number}" for site in "abc" for number in (1, 2)]
SITES = "abc"
LAID = Partition | LinkChange | Strain
STRONGEST = ["pause", "leave", "crash", "power-off"]
"""The last one counts."""
CHAIN = ("p", "r", "loss_bad", "loss_good")
SHARES = ("duplicate", "reorder", "corrupt")

some_hosts = st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True).map(tuple)
changes = st.one_of(
    st.integers(0, 50).map(lambda d: ShapeChange(put={"delay_ns": d})),
    st.integers(1, 50).map(lambda d: ShapeChange(add_delay_ns=d)),
    st.sampled_from([0.1, 0.7]).map(lambda loss: ShapeChange(add_loss=loss)),
    st.just(ShapeChange(put={"loss": 0.25, "burst": None}, add_jitter_ns=3)),
    st.sampled_from([(0.01, 0.25, 1.0, 0.0), (0.05, 0.5, 0.8, 0.1)]).map(
        lambda chain: ShapeChange(put={"loss": 0.0, "burst": dict(zip(CHAIN, chain, strict=True))})
    ),
    st.builds(ShapeChange, **{f"add_{what}": st.sampled_from([0.0, 0.02, 0.6]) for what in SHARES}),
    st.fixed_dictionaries({what: st.sampled_from([0.0, 0.3]) for what in SHARES}).map(lambda put: ShapeChange(put=put)),
)
rates = st.none() | st.sampled_from([1_000, 5_000, 20_000])
offsets = st.sampled_from([0, 5_000, -7_000])
strains = st.builds(
    HostChange,
    cpu=st.sampled_from([1.0, 0.5, 0.1]),
    memory=st.none() | st.sampled_from([64 << 20, 100 << 20, 200 << 20]),
    up_bps=rates,
    down_bps=rates,
    clock_ns=offsets,
    drift_ppm=offsets,
    disk=st.none() | st.sampled_from([0, 1_000]),
    write_bps=rates,
)


@st.composite
def timelines(draw: st.DrawFn) -> list[Fault]:
    """Up to 30 events; what undoes refers to what is in force (or was: undone twice is undone once)."""
    found: list[Fault] = []
    for k in range(draw(st.integers(1, 30))):
        name, host_faults = f"f{k}", [one for one in found if isinstance(one, HostFault) and one.kind in STRONGEST]
        laid = [one for one in found if isinstance(one, LAID) and one.name not in healed(found)]
        kinds = [
            "host",
            "host",
            "partition",
            "link",
            "strain",
            "restart all",
            *(["undo"] * 2 if host_faults else []),
            *(["heal"] * 2 if laid else []),
        ]
        match draw(st.sampled_from(kinds)):
            case "host":
                kind: Any = draw(st.sampled_from(STRONGEST))
                found.append(HostFault(kind=kind, at_ns=k, name=name, target=Target(text="", hosts=draw(some_hosts))))
            case "undo":
                undone = draw(st.sampled_from(host_faults))
                kind = "resume" if undone.kind == "pause" else "restart"
                found.append(HostFault(kind=kind, at_ns=k, name=name, target=undone.target, same_as=undone.name))
            case "restart all":
                found.append(HostFault(kind="restart", at_ns=k, name=name, target=Target(text="", hosts=draw(some_hosts))))
            case "partition":
                a = Target(text="", hosts=draw(some_hosts))
                found.append(
                    Partition(kind="partition", at_ns=k, name=name, a=a, b=Target(text=""), both_ways=draw(st.booleans()))
                )
            case "link":
                source, target = draw(st.sampled_from(SITES)), draw(st.sampled_from(SITES))
                both = draw(st.booleans())
                change = draw(changes)
                found.append(
                    LinkChange(kind="link", at_ns=k, name=name, source=source, target=target, both_ways=both, change=change)
                )
            case "strain":
                target_ = Target(text="", hosts=draw(some_hosts))
                found.append(Strain(kind="strain", at_ns=k, name=name, target=target_, change=draw(strains)))
            case "heal":
                found.append(Heal(kind="heal", at_ns=k, name=name, undoes=draw(st.sampled_from(laid)).name))
    return found


def _on_one_path(at: int, change: ShapeChange) -> LinkChange:
    return LinkChange(kind="link", at_ns=at, name=f"f{at}", source="a", target="b", both_ways=True, change=change)


EVERYTHING_ON_ONE_PATH: list[Fault] = [
    _on_one_path(0, ShapeChange(put={"loss": 0.0, "burst": dict(zip(CHAIN, (0.05, 0.5, 0.8, 0.1), strict=True))})),
    _on_one_path(1, ShapeChange(add_loss=0.1)),
    _on_one_path(2, ShapeChange(add_duplicate=0.02, add_reorder=0.02, add_corrupt=0.02)),
    HostFault(kind="power-off", at_ns=3, name="f3", target=Target(text="", hosts=("b-1",))),
    _on_one_path(4, ShapeChange(add_duplicate=0.6, add_loss=0.7)),
    Heal(kind="heal", at_ns=5, name="f5", undoes="f0"),
    HostFault(kind="restart", at_ns=6, name="f6", target=Target(text="", hosts=("b-1",)), same_as="f3"),
    Heal(kind="heal", at_ns=7, name="f7", undoes="f2"),
]
"""Bursts, loss beside them, duplicates: for where only few timelines can be drawn."""


def changed(delay_ns: int, changes: Iterable[ShapeChange]) -> dict[str, float | tuple[float, ...] | None]:
    """What a path of this delay is to be after these changes, the oldest first; worked out without the model's own arithmetic."""
    is_: dict[str, Any] = {"delay": delay_ns, "jitter": 0, "loss": 0.0, "burst": None, **dict.fromkeys(SHARES, 0.0)}
    for change in changes:
        for field, value in change.put.items():
            is_[field.removesuffix("_ns")] = tuple(value[name] for name in CHAIN) if isinstance(value, dict) else value
        is_["delay"] += change.add_delay_ns
        is_["jitter"] += change.add_jitter_ns
        for what in SHARES:
            is_[what] = min(1.0, is_[what] + getattr(change, f"add_{what}"))
        if is_["burst"] is None:
            is_["loss"] = min(1.0, is_["loss"] + change.add_loss)
        elif change.add_loss:
            p, r, *passes = is_["burst"]
            is_["burst"] = (p, r, *(1 - (1 - lost) * (1 - change.add_loss) for lost in passes))
    return is_


def told(shape: PathShape) -> dict[str, float | tuple[float, ...] | None]:
    """A path's shape in the same terms."""
    burst = None if shape.burst is None else tuple(getattr(shape.burst, name) for name in CHAIN)
    shares = {what: getattr(shape, what) for what in SHARES}
    return {"delay": shape.delay_ns, "jitter": shape.jitter_ns, "loss": shape.loss, "burst": burst, **shares}


def healed(faults: list[Fault]) -> set[str]:
    return {one.undoes for one in faults if isinstance(one, Heal)}


def undoing(faults: list[Fault]) -> list[Fault]:
    """What undoes all that these leave in force, in the order in which it came."""
    found: list[Fault] = []
    for fault in faults:
        if isinstance(fault, HostFault) and fault.kind in STRONGEST:
            kind: Any = "resume" if fault.kind == "pause" else "restart"
            found.append(HostFault(kind=kind, at_ns=99, name=f"u-{fault.name}", target=fault.target, same_as=fault.name))
        elif isinstance(fault, LAID) and fault.name not in healed(faults):
            found.append(Heal(kind="heal", at_ns=99, undoes=fault.name))
    return found
