"""`--set` and `--vary`: values in place of a scenario's own, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.model.settings import combined, parse_setting, parse_variation

STEADY = find("scenarios", "steady")


def plan(*settings: str, of: Path = STEADY) -> Plan:
    return compile_plan(load_scenario(of, [parse_setting(text) for text in settings]))


def test_entries_of_lists_by_name_and_by_position() -> None:
    plans = [plan(f"{key}=5") for key in ("applications.web.replicas", "applications.0.replicas", "applications[0].replicas")]
    assert {each.apps[0].replicas for each in plans} == {5}
    assert len({each.digest for each in plans}) == 1


def test_a_key_that_the_file_does_not_have() -> None:
    assert plan("overlay.wave=7").overlay.wave == 7
    assert plan("overlay={wave: 7}").digest == plan("overlay.wave=7").digest


def test_what_is_set_to_what_it_was_changes_nothing() -> None:
    assert plan("applications.web.replicas=3", "workload.0.total_rate=22/s").digest == plan().digest
    assert plan("workload.0.total_rate=44/s").digest != plan().digest


def test_an_alias_is_changed_in_one_place_only(tmp_path: Path) -> None:
    text = STEADY.read_text().replace("  - {clients: all", "  - &a {clients: all") + "\n"
    text = text.replace("\nexpectations:", "  - {<<: *a, total_rate: 5/s}\n\nexpectations:")
    (tmp_path / "two.yaml").write_text(text)
    made = plan("workload.1.deadline=1s", of=tmp_path / "two.yaml")
    assert [load.deadline_ns for load in made.workload[:: len(made.hosts)]] == [2_000_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        ("a.b=1,2", [1, 2], ["1", "2"]),
        ("a=10/s,20/s", ["10/s", "20/s"], ["10/s", "20/s"]),
        ('a="sites x, y",all', ["sites x, y", "all"], ['"sites x, y"', "all"]),
        ("a=[x, y],z", [["x", "y"], "z"], ["['x', 'y']", "z"]),
        ("a=true,'true'", [True, "true"], ["true", '"true"']),
        ("a=no,'5'", ["no", "5"], ["no", '"5"']),
        ("a=hops.max <= 2", ["hops.max <= 2"], ["hops.max <= 2"]),
    ],
)
def test_values_are_yaml_and_can_be_read_again(text: str, values: list[object], written: list[str]) -> None:
    variation = parse_variation(text)
    assert [setting.value for setting in variation.settings] == values
    assert [setting.text for setting in variation.settings] == written
    for setting in variation.settings:
        assert parse_setting(str(setting)) == setting


def test_all_combinations_the_last_key_fastest() -> None:
    made = combined([parse_variation("a=1,2"), parse_variation("b=x,y")])
    assert [" ".join(map(str, each)) for each in made] == ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wave", "KEY=VALUE is wanted"),
        ("=3", "KEY=VALUE is wanted"),
        ("a..b=3", "KEY=VALUE is wanted"),
        ("a=", "a value is missing"),
        ("a=1,2", "2 values; allowed: one"),
        ("a=[", "not YAML"),
        ("a=1\n2", "KEY=VALUE is wanted"),
        ("a=!!python/object:os x", "means nothing here"),
        ("a=*b", "names no anchor"),
        ("seed=3", "seeds are --seed and --repeat"),
        ("name.x=3", 'steady.yaml:2: name is "steady" there, which has no keys'),
        (
            "applications.wob.replicas=3",
            "steady.yaml:9: applications has no entry \"wob\"; did you mean 'web'? allowed: 0 to 0, web",
        ),
        ("applications.1.replicas=3", "allowed: 0 to 0, web"),
        ("applications.web.replicas=0", "steady.yaml:9: applications[0].replicas: 0 is out of place"),
        ("applications.web.replicas=99", "99 replicas on 30 hosts"),
        ("overlay.wavee=3", "unknown key; did you mean 'wave'?"),
        ("topology=nowhere", 'there is no file "nowhere"'),
        ("settle=5", "5 has no unit"),
    ],
)
def test_mistakes_are_told_in_one_line_with_file_line_and_key(text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan(text)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    if "steady.yaml:" in message:
        assert message.endswith(f"(with {text})"), "the file alone is not to blame"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a=1,1"], "a=1 is given twice"),
        (["a=1", "a=2"], "--vary a: is given twice"),
        ([f"a={','.join(map(str, range(101)))}", f"b={','.join(map(str, range(11)))}"], "1111 combinations"),
    ],
)
def test_variations_that_cannot_be_combined(given: list[str], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        combined([parse_variation(text) for text in given])
