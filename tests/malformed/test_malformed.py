"""Each file here is wrong in one way. A stranger must be told where, what, and what is allowed, in one line.

The first line of a case says what must be told: `# expect: LINE | FRAGMENT | FRAGMENT ...`. A case named topology-* is
read as a topology, scenario-* as a scenario that is compiled.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.scenario import load_scenario
from opus_controller.model.topology import load_topology

CASES = sorted(Path(__file__).parent.glob("*.yaml"))
SOLVABLE = ("allowed", "needed here", "save the file", "only spaces", "not YAML", "No such file")
"""Every message says what to do, or names the one thing that is wrong beyond doubt."""


def expectations(case: Path) -> tuple[int, list[str]]:
    first = case.read_bytes().split(b"\n", 1)[0].decode()
    assert first.startswith("# expect: "), f"{case.name} does not say what it expects"
    line, *fragments = [part.strip() for part in first.removeprefix("# expect: ").split("|")]
    return int(line), fragments


def load(case: Path) -> None:
    if case.name.startswith("topology-"):
        load_topology(case)
    else:
        compile_plan(load_scenario(case))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30
    assert {case.name.split("-")[0] for case in CASES} == {"topology", "scenario"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_one_line_says_where_what_and_what_is_allowed(case: Path) -> None:
    line, fragments = expectations(case)
    with pytest.raises(ScenarioError) as caught:
        load(case)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    guilty = "topology-count-zero.yaml" if case.stem == "scenario-topology-broken" else case.name
    assert f"{guilty}:{line}: " in message, message
    for fragment in fragments:
        assert fragment in message, message
    assert any(word in message for word in SOLVABLE), message
    assert "Traceback" not in message
    assert "pydantic" not in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no such file"):
        load_topology(tmp_path / "nowhere.yaml")
    with pytest.raises(ScenarioError, match="is a directory"):
        load_topology(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_bytes(b"")
    with pytest.raises(ScenarioError, match="the file is empty"):
        load_topology(tmp_path / "empty.yaml")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ScenarioError, match="larger than 16 MiB"):
        load_topology(tmp_path / "huge.yaml")
