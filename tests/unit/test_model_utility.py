"""What applications are worth: from the scenario to the plan, and shown by `opus utility`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opus_controller.cli._app import run
from opus_controller.model.compile import compile_plan, load_plan, save_plan
from opus_controller.model.plan import Plan, Utility
from opus_controller.model.scenario import load_scenario, shipped
from opus_controller.report.utility import parts

QUICKSTART = "b799a514ad0c007371835de223e88c7064e17d73cbee4d3318def96565653182"
HEAD = """\
name: s
topology: three-hosts
duration: 20s
applications:
"""


def compiled(tmp_path: Path, *apps: str) -> Plan:
    path = tmp_path / "s.yaml"
    path.write_text(HEAD + "".join(f"  - {app}\n" for app in apps))
    return compile_plan(load_scenario(path))


def utility(plan: Plan) -> Utility:
    found = plan.apps[0].utility
    assert found is not None
    return found


def test_an_application_without_one_has_the_plan_it_always_had() -> None:
    plan = compile_plan(load_scenario(shipped("scenarios")["quickstart"]))
    assert b"utility" not in plan.canonical()
    assert plan.digest == QUICKSTART


def test_points_become_integers_and_shares(tmp_path: Path) -> None:
    latency = "latency: {quantile: 90%, points: [[80ms, 100%], [1s, 0]]}"
    throughput = "throughput: {points: [[0, 0], [30/min, 25%], [2/s, 25%]]}"
    plan = compiled(tmp_path, f"{{name: web, replicas: 2, utility: {{worth: 7, {latency}, {throughput}, floor: 1}}}}")
    told = utility(plan)
    assert (told.worth, told.combine, told.floor, told.latency_quantile) == (7, "product", 1, 0.9)
    assert told.latency_ns == ((80_000_000, 1.0), (1_000_000_000, 0.0))
    assert told.throughput_per_s == ((0.0, 0.0), (0.5, 0.25), (2.0, 0.25))
    assert told.availability == ()
    save_plan(plan, tmp_path / "plan.json")
    again = load_plan(tmp_path / "plan.json")
    assert again == plan
    assert again.digest == plan.digest


def test_a_flat_function_is_one(tmp_path: Path) -> None:
    plan = compiled(tmp_path, "{name: web, replicas: 1, utility: {availability: {points: [[0, 50%], [100%, 50%]]}}}")
    assert utility(plan).availability == ((0.0, 0.5), (1.0, 0.5))


@pytest.mark.parametrize(
    ("size", "floor"),
    [("replicas: 3", 3), ("policy: everywhere", 3), ("replicas: auto, min_replicas: 1, max_replicas: 2, service_time: 5ms", 2)],
)
def test_a_floor_is_at_most_what_may_serve(tmp_path: Path, size: str, floor: int) -> None:
    text = "{{name: web, {}, utility: {{availability: {{points: [[0, 0], [1%, 100%]]}}, floor: {}}}}}"
    assert utility(compiled(tmp_path, text.format(size, floor))).floor == floor
    path = tmp_path / "s.yaml"
    path.write_text(HEAD + "  - " + text.format(size, floor + 1) + "\n")
    assert run(["plan", str(path)]) == 2


def test_parts_are_told_in_the_scenarios_words() -> None:
    plan = compile_plan(load_scenario(shipped("scenarios")["competing"]))
    latency, availability = parts(utility(plan))
    assert (latency.name, latency.unit, latency.points[0]) == ("latency, p90", "ms", (900.0, 1.0))
    assert latency.told == "900ms 100%, 1.5s 60%, 3s 0%"
    assert availability.points[-1] == (99.0, 1.0)


def test_the_command_tells_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    drawn = tmp_path / "u.svg"
    assert run(["utility", "competing", "--picture", str(drawn)]) == 0
    out = capsys.readouterr().out
    for words in ("latency, p90", "95% 70%", "10/s 90%", "least"):
        assert words in out
    text = drawn.read_text()
    for words in ("shop: worth 10, product of these, promised hosts: 2", "requests answered a second", "availability, %"):
        assert words in text
    again = tmp_path / "again.svg"
    assert run(["utility", "competing", "--picture", str(again)]) == 0
    assert again.read_bytes() == drawn.read_bytes()
    capsys.readouterr()
    assert run(["utility", "competing", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["shop", "wiki", "batch"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["quickstart"], "no application has a utility"),
        (["competing", "--picture", "u.txt"], "ends in .png or .svg"),
        (["competing", "--picture", "nowhere/u.svg"], "cannot write"),
        (["nowhere"], "there is no such file"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["utility", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert len(err.splitlines()) == 1
