"""Availability traces: what is read, what is refused and how, and the Failure Trace Archive's tables."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from opus_controller.cli._app import run
from opus_controller.model.availability_trace import import_fta, load_trace
from opus_controller.model.errors import ScenarioError

HEAD = "node,start,end\n"
FTA = """\
# event_id\tcomponent_id\tnode_id\tplatform_id\tnode_name\tevent_type\tevent_start_time\tevent_stop_time\tevent_end_reason
0\t1\t7\t0\talpha\t1\t1000000000.0\t1000003600.0\tNULL
1\t1\t7\t0\talpha\t1\t1000003600.0\t1000007200.0\tuser_present
2\t1\t7\t0\talpha\t0\t1000007200.0\t1000009000.0\tNULL
3\t1\t8\t0\tbeta\t0\t1000000000.0\t1000000060.5\tNULL
4\t1\t8\t0\tbeta\t1\t1000000060.5\t1000009000.0\tNULL
"""


def written(directory: Path, content: str, name: str = "t.csv") -> Path:
    path = directory / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_sessions_in_any_order(tmp_path: Path, name: str) -> None:
    trace = load_trace(written(tmp_path, HEAD + "b,10,\na,50.5,60\na,0,20\na,20,30\n\n", name))
    assert trace.sessions == {"a": ((0.0, 30.0), (50.5, 60.0)), "b": ((10.0, math.inf),)}, "those that touch are one"
    assert trace.end == 60.0


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", 1, "the file is empty; allowed: the header node,start,end"),
        ("a,0,10\n", 1, 'the first line is "a,0,10"'),
        (HEAD, 1, "no session"),
        (HEAD + "a,0\n", 2, "2 values; allowed: three"),
        (HEAD + "a,0,10\n,20,30\n", 3, "no node is named"),
        (HEAD + "a,-1,10\n", 2, 'the start is "-1"; allowed: seconds'),
        (HEAD + "a,nan,10\n", 2, 'the start is "nan"'),
        (HEAD + "a,10,10\n", 2, 'the end is "10"; allowed: seconds, more than the start'),
        (HEAD + "a,0,soon\n", 2, 'the end is "soon"'),
        (HEAD + "a,50,60\nb,0,1\na,10,51\n", 2, "overlaps another session of the node"),
        (HEAD + "a,10,\na,50,60\n", 3, "overlaps another session of the node"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, content: str, line: int, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_trace(written(tmp_path, content))
    message = str(caught.value)
    assert f"t.csv:{line}: " in message
    assert says in message
    assert "allowed" in message
    assert "\n" not in message


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no such file"):
        load_trace(tmp_path / "nowhere.csv")
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip at all")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_trace(tmp_path / "t.csv.gz")
    (tmp_path / "l.csv").write_bytes(b"node,start,end\n\xe4,0,1\n")
    with pytest.raises(ScenarioError, match="not UTF-8 text"):
        load_trace(tmp_path / "l.csv")


@pytest.mark.parametrize(
    "head", [FTA, FTA.partition("\n")[2], FTA.replace("# ", "").replace("event_stop_time", "event_end_time")]
)
def test_the_failure_trace_archives_events(tmp_path: Path, head: str) -> None:
    """With its header as a comment, without one, and as a plain first line."""
    csv = import_fta(written(tmp_path, head, "event_trace.tab"))
    assert csv == HEAD + "7,0,7200\n8,60.5,9000\n"
    assert load_trace(written(tmp_path, csv)).end == 9000.0


def test_one_component_of_several_must_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, FTA + "5\t2\t7\t0\talpha\t1\t1000000000.0\t1000000100.0\tNULL\n", "event_trace.tab")
    with pytest.raises(ScenarioError, match="node 7 has several components; choose one with --component: 1, 2"):
        import_fta(path)
    assert import_fta(path, component="2") == HEAD + "7,0,100\n"
    with pytest.raises(ScenarioError, match=r"no time at which a node was available .*; there is 1, 2"):
        import_fta(path, component="3")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0\t1\t7\t0", ":1: 4 columns; allowed: at least 8"),
        ("0\t1\t7\t0\talpha\t2\t0\t1\tNULL", ':1: event_type is "2"; allowed: 1 (available), 0 (not)'),
        ("0\t1\t7\t0\talpha\t1\t5\t1\tNULL", ":1: from 5 to 1; allowed: seconds"),
        ("event_id node_id event_type", ":1: the header lacks component_id, event_start_time, event_stop_time"),
        ("0\t1\t7\t0\talpha\t0\t0\t1\tNULL", "no time at which a node was available"),
    ],
)
def test_tables_of_another_kind_are_refused(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        import_fta(written(tmp_path, line + "\n", "event_trace.tab"))
    assert says in str(caught.value)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = written(tmp_path, FTA, "event_trace.tab"), tmp_path / "t.csv"
    assert run(["churn", "import", str(table), "--out", str(out)]) == 0
    assert "2 nodes, 2 sessions in 9000s; median session" in capsys.readouterr().out
    assert run(["churn", "import", str(table)]) == 0
    assert capsys.readouterr().out == out.read_text()
    assert run(["churn", "show", str(out)]) == 0
    assert "90% up on average" in capsys.readouterr().out
    assert run(["churn", "show", str(table)]) == 2
    assert "allowed: the header node,start,end" in capsys.readouterr().err
    assert run(["churn", "import", str(table), "--out", str(tmp_path / "no" / "where")]) == 2
    assert "cannot write" in capsys.readouterr().err
