"""Figures kept on disk: what comes back, and what is said where nothing can be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from opus_controller.bench import kept
from opus_controller.model.errors import PlatformError


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    kept.write(tmp_path / "row" / "7.json", {"ms": 1.5})
    assert kept.read(tmp_path / "row" / "7.json") == {"ms": 1.5}
    assert [file.name for file in (tmp_path / "row").iterdir()] == ["7.json"]


@pytest.mark.parametrize("text", [None, "", '{"ms": 1.', "[1.5]"])
def test_what_is_not_there_or_not_whole_is_to_be_made(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "7.json").write_text(text)
    assert kept.read(tmp_path / "7.json") is None


def test_where_nothing_can_be_written_it_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(PlatformError, match=r"taken/7.json cannot be written: .*") as raised:
        kept.write(tmp_path / "taken" / "7.json", {})
    assert "\n" not in str(raised.value)
