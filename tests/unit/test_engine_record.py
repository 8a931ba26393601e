"""A run's directory: names, what survives a crash."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.model.errors import PlatformError, ScenarioError

AT = datetime(2026, 1, 2, 3, 4, 5)


def test_two_runs_in_one_second_get_two_directories_and_latest_is_the_younger(tmp_path: Path) -> None:
    first = RunRecord.create(tmp_path, small_plan(), at=AT)
    second = RunRecord.create(tmp_path, small_plan(), at=AT)
    assert first.directory.name == "small-20260102-030405"
    assert second.directory.name == "small-20260102-030405-2"
    assert (tmp_path / "latest").resolve() == second.directory.resolve()


def test_everything_written_is_readable_before_the_writer_closes(tmp_path: Path) -> None:
    record = RunRecord.create(tmp_path, small_plan())
    record.events([{"t": 1, "host": "a-1", "kind": "attached"}, {"t": 2, "host": "a-1", "kind": "sample", "entries": 3}])
    reader = RecordReader(record.directory)
    assert [event["kind"] for event in reader.events()] == ["attached"]
    assert [sample["entries"] for sample in reader.samples()] == [3]
    assert reader.about()["plan_digest"] == small_plan().digest


def test_a_last_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    record = RunRecord.create(tmp_path, small_plan())
    record.events([{"t": 1, "host": "a-1", "kind": "attached"}])
    with (record.directory / "events.ndjson").open("a") as file:
        file.write('{"t": 2, "host": "a-')
    assert [event["t"] for event in RecordReader(record.directory).events()] == [1]


def test_nodes_are_named(tmp_path: Path) -> None:
    reader = RecordReader(RunRecord.create(tmp_path, small_plan()).directory)
    assert reader.name_of("198.18.0.4") == "b-2"
    assert reader.name_of("198.18.9.9") == "198.18.9.9"


def test_a_name_cannot_leave_the_runs_directory(tmp_path: Path) -> None:
    plan = small_plan().model_copy(update={"name": "../../etc/x"})
    assert RunRecord.create(tmp_path / "runs", plan, at=AT).directory.parent == tmp_path / "runs"


def test_errors_name_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="--out"):
        RunRecord.create(tmp_path / "file" / "runs", small_plan())
    with pytest.raises(ScenarioError, match="not a run's directory"):
        RecordReader(tmp_path)
