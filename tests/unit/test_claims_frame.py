"""What every claim has in common: tasks done once and kept, one report, words on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.planted_lives import clouds, judged, life, setting
from opus_controller.claims import report
from opus_controller.claims.catalogue import catalogue, chosen
from opus_controller.claims.claim import Line, Plot, Table, Task
from opus_controller.claims.kept import Done, Kept
from opus_controller.claims.report import About, Chapter
from opus_controller.claims.run import run, tasks_of
from opus_controller.claims.setting import TINY, Setting
from opus_controller.model.errors import ScenarioError

SETTING = setting()


def test_every_claim_has_words_a_rule_and_a_number_of_its_own() -> None:
    every = catalogue()
    assert [claim.number for claim in every] == sorted({claim.number for claim in every})
    assert len({claim.name for claim in every}) == len(every)
    for claim in every:
        assert min(len(claim.says), len(claim.measured)) > 40, claim.name
        assert "olds if" in claim.rule, claim.name
        assert "lse not" in claim.rule or "oes not hold" in claim.rule, claim.name


def test_claims_are_chosen_by_number_or_name_in_the_order_of_numbers() -> None:
    assert [claim.number for claim in chosen(["massive-failure", "1"])] == [1, 9]
    with pytest.raises(ScenarioError, match="no claim 99; allowed: 1 constant-hops, "):
        chosen(["99"])


def test_shared_tasks_are_done_once() -> None:
    names = [task.name for task in tasks_of(chosen(["1", "2", "3"]), SETTING)]
    assert len(names) == len(set(names))
    assert set(names) >= {task.name for claim in chosen(["1", "2", "3"]) for task in claim.tasks(SETTING)}


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    kept = Kept.into(tmp_path / "kept", SETTING)
    kept.keep("a", Done({"x": 1.5}, 7.0))

    def never() -> dict[str, float]:
        raise AssertionError("done again")

    found = run([Task("a", never), Task("b", lambda: {"y": (1, 2)})], kept=kept)
    assert found["a"] == Done({"x": 1.5}, 7.0)
    assert found["b"].figures == {"y": [1, 2]}, "as it would be read again"
    assert Kept.into(tmp_path / "kept", SETTING).done("b") == found["b"]


def test_figures_of_another_scale_are_refused(tmp_path: Path) -> None:
    Kept.into(tmp_path, SETTING)
    with pytest.raises(ScenarioError, match="is of other scale; allowed: a new directory"):
        Kept.into(tmp_path, Setting(TINY, [clouds()]))


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ScenarioError, match=r"has files, but no about\.json"):
        Kept.into(tmp_path, SETTING)


def test_the_report_has_verdicts_first_and_a_picture_of_each_plot(tmp_path: Path) -> None:
    (claim,) = chosen(["massive-failure"])
    finding = judged(claim, SETTING, lambda label, hosts: life(SETTING, hosts))
    about = About("opus claims massive-failure", "1.2.3", 90.0, ["cogentco: not there"])
    written = report.save([Chapter(claim, finding)], SETTING, about, tmp_path / "found.md")
    text = (tmp_path / "found.md").read_text()
    assert text.index("holds") < text.index("Rule: ")
    assert "left out: cogentco: not there" in text
    assert "`opus claims massive-failure`" in text
    pictures = [path for path in written if path.suffix == ".svg"]
    assert len(pictures) == len(finding.plots) > 0
    for path in pictures:
        assert f"({path.parent.name}/{path.name})" in text
        assert "<svg" in path.read_text()


def test_a_picture_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    plot = Plot(
        "p",
        "title",
        "x",
        "y",
        [Line("one", [1, 10, 100], [1, 2, 3], [0, 1, 2], [2, 3, 4]), Line("two", [1, 10], [3, 1])],
        log_x=True,
    )
    for name in ("a.svg", "b.svg"):
        report.write(tmp_path / name, "p", report._drawing(plot))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert "a\\|b" in report.table_text(Table("", ("one",), [("a|b",)]))


def test_a_report_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"allowed: a name that ends in \.md"):
        report.save([], SETTING, About("", "", 0, []), tmp_path / "found.html")
