"""YAML as people write it: lines are remembered, surprises of YAML 1.1 are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from opus_controller.model.document import Document, Problems, load_document
from opus_controller.model.errors import ScenarioError


def read(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return load_document(path)


def test_norway_and_other_surprises_are_text(tmp_path: Path) -> None:
    document = read(tmp_path, "sites: [no, on, yes, off, y]\ntime: 12:30\nday: 2024-01-02\noctal: 010\nversion: '1'\n")
    assert document.plain() == {
        "sites": ["no", "on", "yes", "off", "y"],
        "time": "12:30",
        "day": "2024-01-02",
        "octal": 10,
        "version": "1",
    }


def test_scalars_of_the_core_schema(tmp_path: Path) -> None:
    assert read(tmp_path, "a: [1, -2, 1.5, .5, 1e3, true, False, null, ~, 0x10, text]").plain() == {
        "a": [1, -2, 1.5, 0.5, 1000.0, True, False, None, None, 16, "text"]
    }


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    document = read(tmp_path, "base: &base {up: 1Mbit, down: 2Mbit}\nhome:\n  <<: *base\n  up: 3Mbit\n")
    assert document.plain()["home"] == {"up": "3Mbit", "down": "2Mbit"}


def test_lines_of_values_keys_and_missing_ones(tmp_path: Path) -> None:
    document = read(tmp_path, "name: x\ngroups:\n  - name: a\n    access:\n      up: 1\n  - name: b\nrows:\n  - [1,\n     2]\n")
    assert document.line(("name",)) == 1
    assert document.line(("groups", 0, "access", "up")) == 5
    assert document.line(("groups", 0, "access")) == 4
    assert document.line(("groups", 1)) == 6
    assert document.line(("groups", 1, "access")) == 6
    assert document.line(("rows", 0, 1)) == 9
    assert document.line(("nothing", "at", "all")) == 1


def test_the_first_problem_by_line_and_how_many_more(tmp_path: Path) -> None:
    problems = Problems(read(tmp_path, "a: 1\nb: 2\nc: 3\n"))
    problems.add(("c",), "is third")
    problems.add(("b",), "is\nsecond")
    problems.add(("b",), "is second")
    with pytest.raises(ScenarioError, match=r"x\.yaml:2: b: is second \(and 1 more\)$"):
        problems.raise_if_any()


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffa: 1\n").plain() == {"a": 1}


def test_the_parser_in_python_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML was built without libyaml."""
    import yaml

    text = "a: [1, {b: 'c'}]\nd: &x {e: no}\nf:\n  <<: *x\n"
    with_c = read(tmp_path, text).plain()
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert read(tmp_path, text).plain() == with_c
    with pytest.raises(ScenarioError, match=r"x\.yaml:2: a tab"):
        read(tmp_path, "a:\n\tb: 1\n")
    with pytest.raises(ScenarioError, match=r"x\.yaml:\d: not YAML"):
        read(tmp_path, "a: [1, 2\nb: 3\n")
