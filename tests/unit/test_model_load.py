"""Load, choice and size of an application, from the scenario to what each node is told."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from random import Random
from typing import Any

import opus_node.choices
import pytest
from opus_controller.model import scenario_form
from opus_controller.model.compile import compile_plan
from opus_controller.model.history import History
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.runtimes.hosts.control import boot_request
from opus_controller.runtimes.sim.world import config_of
from opus_node.choices import GROUP, choosing
from opus_node.control import boot_spec
from opus_node.core.choice import CHOICES, Option, latency
from opus_node.core.types import MILLISECOND, AppConfig


def compiled(tmp_path: Path, app: str) -> Plan:
    path = tmp_path / "s.yaml"
    path.write_text(f"name: s\ntopology: three-hosts\nduration: 20s\napplications:\n  - {app}\n")
    return compile_plan(load_scenario(path))


def told(plan: Plan) -> AppConfig:
    """By the simulator and by a real runtime, which must agree."""
    host = plan.hosts[0]
    simulated = config_of(plan, host, History()).apps[0]
    booted = boot_spec(boot_request(plan, host, origin_ns=0, incarnation=0, past=History())).config.apps[0]
    assert simulated == booted
    return simulated


def test_both_runtimes_tell_a_node_the_same(tmp_path: Path) -> None:
    app = "{name: web, replicas: 2, service_time: 20ms, queue: 0, choice: latency-load, hedge: 80ms}"
    assert told(compiled(tmp_path, app)) == AppConfig(
        "web", 2, service_time=20 * MILLISECOND, queue=0, choice="latency-load", hedge=80 * MILLISECOND
    )
    assert told(compiled(tmp_path, "{name: web, replicas: 2}")) == AppConfig("web", 2)


def test_auto_has_bounds_and_the_scenarios_target(tmp_path: Path) -> None:
    whole = told(compiled(tmp_path, "{name: web, replicas: auto, service_time: 20ms}"))
    assert (whole.replicas, whole.most, whole.availability) == (3, 3, 0.999)
    given = told(compiled(tmp_path, "{name: web, replicas: auto, min_replicas: 1, max_replicas: 2, service_time: 20ms}"))
    assert (given.replicas, given.most) == (1, 2)
    program = told(compiled(tmp_path, "{name: web, replicas: auto, min_replicas: 1, service: {command: x, port: 8080}}"))
    assert (program.program, program.replicas, program.most, program.service_time) == (True, 1, 3, 0)


def test_scenarios_know_the_choices_of_the_core() -> None:
    assert tuple(CHOICES) == scenario_form.CHOICES
    assert GROUP == scenario_form.CHOICE_GROUP


def farthest(options: Any, rng: Random) -> int:
    return max(range(len(options)), key=lambda i: options[i].rtt)


def test_a_choice_of_ones_own_is_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = EntryPoints(
        [EntryPoint("farthest", f"{__name__}:farthest", GROUP), EntryPoint("broken", "no.such.module:f", GROUP)]
    )

    def entry_points(**wanted: Any) -> EntryPoints:
        return installed.select(**wanted)

    monkeypatch.setattr(opus_node.choices, "entry_points", entry_points)
    monkeypatch.setattr(scenario_form, "entry_points", entry_points)
    monkeypatch.setattr(EntryPoint, "load", lambda self: farthest if self.name == "farthest" else __import__("no.such.module"))
    config = told(compiled(tmp_path, "{name: web, replicas: 2, choice: farthest}"))
    assert config.choose is farthest
    with pytest.raises(ValueError, match="cannot be loaded"):
        choosing("broken")
    with pytest.raises(ValueError, match="not installed here; latency, "):
        choosing("nearest")
    assert latency([Option("a", 2), Option("b", 1)], Random(1)) == 1
