"""The instances' plans: a scenario by its name and a seed, with so many replicas in these places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import Scenario, load_scenario
from opus_controller.model.settings import parse_setting

HERE = Path(__file__).parent / "instances"
FAMILIES = ("churn", "cuts")


@dataclass(frozen=True)
class Size:
    """Of one application."""

    replicas: int
    members: tuple[str, ...] = ()
    """Who keeps its data at first; empty: as the overlay chooses."""


@lru_cache(maxsize=1)
def _scenario(family: str, settings: tuple[str, ...]) -> Scenario:
    return load_scenario(HERE / f"{family}.yaml", [parse_setting(text) for text in settings])


def plan_of(family: str, seed: int, *settings: str) -> Plan:
    """`settings` as on the command line: "duration=72s"."""
    return compile_plan(_scenario(family, settings), seed)


def plans_of(family: str, seeds: Sequence[int]) -> list[Plan]:
    return [plan_of(family, seed) for seed in seeds]


def sized(plan: Plan, sizes: Mapping[str, Size], *, static: bool) -> Plan:
    """The same with other numbers of replicas; `sizes` by application."""
    apps = tuple(
        app.model_copy(update={"replicas": sizes[app.name].replicas, "members": sizes[app.name].members, "static": static})
        for app in plan.apps
    )
    return plan.model_copy(update={"apps": apps})
