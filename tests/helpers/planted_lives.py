"""Figures of lives that nobody lived: what a rule of `opus claims` is to judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opus_controller.claims.claim import Claim, Figures, Task
from opus_controller.claims.measure.life import RANDOM, REGION, Life, spread
from opus_controller.claims.measure.networks import Network, available
from opus_controller.claims.setting import TINY, Setting


def clouds() -> Network:
    return next(one for one in available(None)[0] if one.name == "clouds")


def setting(**changes: Any) -> Setting:
    scale = replace(TINY, **{"sizes": (100, 300, 1000), "fractions": (0.3, 0.5, 0.9), **changes})
    return Setting(scale, [clouds()])


def requests(first_ms: float, repeat_ms: float, hops: float) -> Figures:
    def felt(ms: float) -> Figures:
        return {
            "issued": 100,
            "ok": 100,
            "ms": spread([ms] * 100),
            "answer_ms": spread([2 * ms] * 100),
            "hops": spread([hops] * 100),
        }

    return {"asked": 100, "replicas": 4, "first": felt(first_ms), "repeat": felt(repeat_ms)}


def silence(setting: Setting, served_s: Callable[[float], float], *, bereft: bool = False) -> Figures:
    return {
        f"{share:g} {kind}": {
            "alive": 50,
            "bereft": bereft,
            "unserved": 0,
            "took_s": {**spread([served_s(share)] * 50), "p999": served_s(share)},
            "within_2s": 1.0,
            "bytes_per_s": 100.0,
            "again": requests(10, 10, 1)["first"],
        }
        for share in setting.scale.fractions
        for kind in (RANDOM, REGION)
    }


def life(
    setting: Setting,
    hosts: int,
    *,
    first_ms: float = 20.0,
    repeat_ms: float = 15.0,
    hops: float = 2.0,
    entries: float = 15.0,
    agents: float = 40.0,
    bytes_per_s: float = 100.0,
    join_bytes: float = 5000.0,
    served_s: Callable[[float], float] = lambda share: 1.0,
    bereft: bool = False,
) -> Figures:
    return {
        "tables": {
            "plain": spread([entries] * 9),
            "agents": spread([agents]),
            "replicas": spread([]),
            "all": spread([entries] * 9),
        },
        "rest": {
            "bytes_mean": bytes_per_s,
            "bytes_p99": bytes_per_s,
            "bytes_max": bytes_per_s,
            "steps_per_s": 1.0,
            "hosts": hosts,
        },
        "requests": requests(first_ms, repeat_ms, hops),
        "newcomers": {
            "count": 10,
            "join_bytes": join_bytes,
            "join_messages": 30.0,
            "join_bytes_of_all": 2 * join_bytes,
            "leave_bytes_of_all": join_bytes,
            "seconds": 40.0,
        },
        "silence": silence(setting, served_s, bereft=bereft),
    }


def judged(
    claim: Claim, setting: Setting, figures: Callable[[str, int], Figures], other: Callable[[str], Figures] | None = None
) -> Any:
    """The finding of a claim if `figures(overlay's label, hosts)` were measured of lives, and `other(task)` of other tasks."""
    found = {task.name: _of(task, figures, other) for task in claim.tasks(setting)}
    return claim.judge(found, setting)


def _of(task: Task, figures: Callable[[str, int], Figures], other: Callable[[str], Figures] | None) -> Figures:
    of: Any = task.run
    if of.args and isinstance(of.args[0], Life):
        return figures(of.args[0].overlay.label, of.args[0].hosts)
    assert other is not None, task.name
    return other(task.name)
