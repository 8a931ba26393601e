"""A packed run: what is in it, the same bytes for the same run, and archives that are hostile, damaged or of others."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny
from opus_controller.cli._app import run
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.model.plan_check import problem
from opus_controller.model.scenario import load_scenario, shipped
from opus_controller.report import pack
from opus_controller.report.conclude import load

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run and its pack."""
    place = tmp_path_factory.mktemp("ran")
    assert run(["run", str(tiny.write(place)), "--runtime", "sim", "--out", str(place / "run"), "--set", "overlay.wave=3"]) == 0
    assert run(["report", str(place / "run"), "--pack", str(place / "run.opus")]) == 0
    return place


def members(file: Path) -> Members:
    with tarfile.open(file) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_all_that_is_needed_is_in_it(ran: Path) -> None:
    held = members(ran / "run.opus")
    for name in ("plan.json", "run.json", "result.json", "events.ndjson", "samples/hosts.ndjson", "samples/health.ndjson"):
        assert held[f"run/{name}"] == (ran / "run" / name).read_bytes()
    assert held["inputs/tiny.yaml"] == (ran / "tiny.yaml").read_bytes()
    assert held["inputs/net.yaml"] == (ran / "net.yaml").read_bytes()
    assert "run/report.html" not in held, "is made anew from the rest"
    manifest = json.loads(held["pack.json"])
    result = load(ran / "run")
    assert manifest["plan_digest"] == result.plan_digest
    assert manifest["trace_digest"] == result.facts["trace_digest"]
    assert {"kernel", "python", "opus-testbed", "source"} <= set(manifest["versions"])
    assert manifest["files"]["run/plan.json"]["sha256"] == hashlib.sha256(held["run/plan.json"]).hexdigest()


def test_the_same_run_gives_the_same_bytes(ran: Path) -> None:
    inside = ran / "run" / "again.opus"
    for _ in range(2):  # the second time there is a pack in the directory already: it is not packed into itself
        pack.write(ran / "run", load(ran / "run"), inside)
        assert inside.read_bytes() == (ran / "run.opus").read_bytes()
    inside.unlink()


def test_a_run_of_several_is_packed_with_the_inputs_of_all(tmp_path: Path) -> None:
    arguments = ["--runtime", "sim", "--repeat", "2", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert run(["run", str(tiny.write(tmp_path)), *arguments]) == 0
    assert run(["report", str(tmp_path / "out" / "seed-2"), "--pack", str(tmp_path / "two.opus")]) == 0
    assert {"inputs/tiny.yaml", "inputs/net.yaml"} <= set(members(tmp_path / "two.opus"))
    assert run(["report", str(tmp_path / "out"), "--pack", str(tmp_path / "all.opus")]) == 2


def test_only_inputs_and_programs_are_ever_written_from_a_pack(ran: Path, tmp_path: Path) -> None:
    shipped_files = ran / "run" / "services" / "ab12.tar"
    shipped_files.parent.mkdir()
    shipped_files.write_bytes(b"program")
    try:
        pack.write(ran / "run", load(ran / "run"), tmp_path / "with.opus")
    finally:
        shipped_files.unlink()
        shipped_files.parent.rmdir()
    out = tmp_path / "out"
    pack.read(tmp_path / "with.opus").put(out)
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()) == [
        "inputs/net.yaml",
        "inputs/tiny.yaml",
        "services/ab12.tar",
    ]


# --- archives of others ---


def written(
    file: Path,
    content: Members,
    change: Callable[[tarfile.TarFile], None] = lambda tar: None,
    *,
    form: int = tarfile.USTAR_FORMAT,
) -> Path:
    """An archive of these files, after which `change` may add to it."""
    with gzip.open(file, "wb") as packed, tarfile.TarFile(fileobj=packed, mode="w", format=form) as tar:
        for name, text in content.items():
            add(tar, name, text)
        change(tar)
    return file


def add(tar: tarfile.TarFile, name: str, text: bytes = b"x", **header: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    for key, value in header.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(text))


HOSTILE: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "climbing": (lambda tar: add(tar, "run/../../evil"), "no name of a run's file"),
    "absolute": (lambda tar: add(tar, "/etc/cron.d/evil"), "no name of a run's file"),
    "elsewhere": (lambda tar: add(tar, "evil"), "no name of a run's file"),
    "hidden": (lambda tar: add(tar, "run/.bashrc"), "no name of a run's file"),
    "deep": (lambda tar: add(tar, "run/" + "a/" * 40 + "b"), "no name of a run's file"),
    "control character": (lambda tar: add(tar, "run/a\x1b[2Jb"), "no name of a run's file"),
    "symbolic link": (lambda tar: add(tar, "run/evil", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link, "),
    "hard link": (lambda tar: add(tar, "run/evil", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"), "a link, "),
    "device": (lambda tar: add(tar, "run/evil", b"", type=tarfile.CHRTYPE), "a link, "),
    "directory": (lambda tar: add(tar, "run/evil", b"", type=tarfile.DIRTYPE), "a link, "),
    "twice": (lambda tar: add(tar, "run/plan.json"), "is in it twice"),
    "one more": (lambda tar: add(tar, "run/more"), "run/more is not what pack.json says"),
}  # fmt: skip


def refused(file: Path, words: str, capsys: pytest.CaptureFixture[str], out: Path) -> None:
    """By `opus run` and by `opus compare`, in one line, with nothing written anywhere."""
    capsys.readouterr()
    for command in (["run", str(file), "--out", str(out)], ["compare", str(file), str(file)]):
        assert run(command) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert words in line, line
        assert "\x1b" not in line
        assert captured.out == ""
    assert not out.exists()


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_in_one_line(
    case: str, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = HOSTILE[case]
    refused(written(tmp_path / "x.opus", members(ran / "run.opus"), change), words, capsys, tmp_path / "out")


def test_what_would_unpack_to_more_than_a_disk_is_refused_unread(
    ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = tarfile.TarInfo("run/huge")
    header.size = 5 << 30
    bomb = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))
    (tmp_path / "bomb.opus").write_bytes(bomb)
    refused(tmp_path / "bomb.opus", "more than 4 GiB", capsys, tmp_path / "out")


def test_a_document_larger_than_memory_is_refused(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "MOST_DOCUMENT", 100)
    with pytest.raises(ScenarioError, match="json is larger"):
        pack.read(ran / "run.opus")
    monkeypatch.setattr(pack, "MOST_FILES", 3)
    monkeypatch.setattr(pack, "MOST_DOCUMENT", 1 << 20)
    with pytest.raises(ScenarioError, match="or 3 files"):
        pack.read(ran / "run.opus")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_other_kinds_of_headers_are_refused(form: int, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They bring long names, sparse files and sizes beyond counting; nothing of that is ever packed."""
    long = lambda tar: add(tar, "run/" + "a" * 90 + "/" + "b" * 90)  # noqa: E731
    file = written(tmp_path / "x.opus", members(ran / "run.opus"), long, form=form)
    if form == tarfile.PAX_FORMAT:
        with gzip.open(file, "wb") as packed, tarfile.TarFile(fileobj=packed, mode="w", format=form) as tar:
            add(tar, "run/plan.json", b"x", pax_headers={"size": "99999999999999"})
    refused(file, "allowed: a file that opus report RUN --pack made", capsys, tmp_path / "out")


def changed(content: Members, name: str, text: bytes, *, fixed: bool = True) -> Members:
    """One file replaced; `fixed`: with pack.json saying so, as one would who knows how."""
    made = {**content, name: text}
    manifest = json.loads(made["pack.json"])
    if fixed:
        manifest["files"][name] = {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)}
        if name == "run/plan.json" and b'"hosts"' in text:
            manifest["plan_digest"] = hashlib.sha256(text).hexdigest()
    return {**made, "pack.json": json.dumps(manifest).encode()}


@pytest.mark.parametrize(
    ("name", "text", "fixed", "words"),
    [
        ("run/events.ndjson", b"", False, "run/events.ndjson is not what pack.json says; it was changed or damaged"),
        ("run/plan.json", b"{}", True, "not of this version of Opus"),
        ("run/plan.json", b"[" * 100_000, True, "not of this version of Opus"),
        ("run/result.json", b"{}", True, "not of this version of Opus"),
        ("run/run.json", b"[1]", True, "the plan is not the one"),
        ("run/run.json", b"[" * 100_000, True, "not of this version of Opus"),
    ],
)
def test_changed_files_are_noticed(
    name: str, text: bytes, fixed: bool, words: str, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = changed(members(ran / "run.opus"), name, text, fixed=fixed)
    refused(written(tmp_path / "x.opus", content), words, capsys, tmp_path / "out")


def test_damaged_files_are_told_as_such(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (ran / "run.opus").read_bytes()
    for k, broken in enumerate((whole[:700], whole[:20], whole[: len(whole) // 2] + b"\0" * 99 + whole[len(whole) // 2 + 99 :])):
        file = tmp_path / f"{k}.opus"
        file.write_bytes(broken)
        refused(file, "allowed: a file that opus report RUN --pack made", capsys, tmp_path / "out")
    (tmp_path / "none.opus").write_bytes(gzip.compress(b"name: no pack\n"))
    refused(tmp_path / "none.opus", "it ends early", capsys, tmp_path / "out")
    without = {name: text for name, text in members(ran / "run.opus").items() if name != "run/plan.json"}
    refused(written(tmp_path / "less.opus", without), "run/plan.json is not in it", capsys, tmp_path / "out")


def test_a_plan_that_means_nothing_is_refused(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = members(ran / "run.opus")
    document = json.loads(content["run/plan.json"])
    document["seeds"] = ["nobody"]
    plan = Plan.model_validate(document)
    made = changed(content, "run/plan.json", plan.canonical())
    result = json.loads(content["run/result.json"])
    made = changed(made, "run/result.json", json.dumps({**result, "plan_digest": plan.digest}).encode())
    refused(
        written(tmp_path / "x.opus", made), "its plan does not hold together (a seed that is no host)", capsys, tmp_path / "out"
    )


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no hosts": lambda plan: plan.update(hosts=[]),
    "address": lambda plan: plan["hosts"][1].update(address=plan["hosts"][0]["address"]),
    "out of place": lambda plan: plan["hosts"][1].update(index=7),
    "two sites": lambda plan: plan["sites"].__setitem__(1, plan["sites"][0]),
    "paths that are not": lambda plan: plan["paths"]["index"].pop(),
    "paths that": lambda plan: plan["paths"]["index"][0].__setitem__(0, 99),
    "a client": lambda plan: plan["workload"][0].update(client="nobody"),
    "of 'nothing'": lambda plan: plan["workload"][0].update(app="nothing"),
    "a host that there is not": lambda plan: plan["timeline"][0]["target"].update(hosts=["nobody"]),
    "a site that there is not": lambda plan: next(f for f in plan["timeline"] if f["kind"] == "link").update(source="moon"),
    "an event that there is not": lambda plan: next(f for f in plan["timeline"] if f["kind"] == "heal").update(undoes="moon"),
    "no host": lambda plan: plan.update(seeds=["nobody"]),
}


@pytest.mark.parametrize("words", SPOILT)
def test_plans_are_checked_for_what_they_name(words: str) -> None:
    document = compile_plan(load_scenario(shipped("scenarios")["quickstart"])).model_dump(mode="json")
    SPOILT[words](document)
    assert words in problem(Plan.model_validate(document))


@pytest.mark.parametrize("name", shipped("scenarios"))
def test_compiled_plans_hold_together(name: str) -> None:
    assert problem(compile_plan(load_scenario(shipped("scenarios")[name]))) == ""


def test_churn_of_other_hosts_does_not() -> None:
    document = compile_plan(load_scenario(shipped("scenarios")["churn"])).model_dump(mode="json")
    document["churn"]["lives"].pop()
    assert problem(Plan.model_validate(document)) == "churn of other hosts"


def test_names_in_packs_are_plain() -> None:
    for good in ("pack.json", "run/plan.json", "run/logs/use1-1.log", "inputs/0-a.yaml", "run/services/ab12.tar"):
        assert pack._NAME.fullmatch(good)
    for bad in (
        "run",
        "run/",
        "run//a",
        "run/./a",
        "run/..",
        "inputs/..a",
        "run/a\n",
        "pack.json/a",
        "run/a b",
        "run/ä",
        "RUN/a",
    ):
        assert not pack._NAME.fullmatch(bad), bad
