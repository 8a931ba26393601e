"""What a report looks like to a program, to a browser and on a terminal."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.cli._app import build as build_app
from opus_controller.cli._app import run as opus
from opus_controller.model.plan import Expectation, Place
from opus_controller.report.build import build
from opus_controller.report.conclude import conclude, json_schema_text, to_json
from opus_controller.report.map import draw
from opus_controller.report.result import Result
from opus_controller.report.run import read
from opus_controller.report.table import show
from rich.console import Console
from typer.testing import CliRunner

pytestmark = pytest.mark.clock
ROOT = Path(__file__).parents[2]
DELAYS = {("a", "b"): 10.0, ("a", "c"): 20.0, ("b", "c"): 30.0}
EVIL = "<script>alert(\"$x^2$ & 'you'\")</script>"


def eventful(**more: object) -> FakeRun:
    """60 s, three sites: a power-off at 10 s, a cut of b from 20 to 30 s, a slow path at 40 s, health all along."""
    expectations = [
        Expectation(name="availability >= 99% where reachable", figure="availability", op=">=", bound=0.99, reachable=True),
        Expectation(name="hops.max <= 1", figure="hops.max", op="<=", bound=1),
        Expectation(name="recovery_s.max <= 2s after heal-cut", figure="recovery_s.max", op="<=", bound=2, fault="heal-cut"),
    ]
    arguments = {"expectations": expectations, "apps": {"web": 2}, "clients": ("a-1", "b-1", "c-1"), **more}
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 3, "b": 2, "c": 2}, access_ms=1, **arguments))  # type: ignore[arg-type]
    run.begin()
    for host in ("a-1", "b-1"):
        run.role(0.5, host, "agent")
    for host in ("a-2", "a-3", "c-1", "c-2"):
        run.attach(0.7, host, "a-1")
    run.role(1, "a-1", "steward", "web")
    run.role(1, "a-2", "replica", "web")
    run.role(1, "c-2", "replica", "web")
    run.power_off(10, "c-2", "loss")
    run.role(11, "c-1", "replica", "web")
    run.partition(20, ["b-1", "b-2"], "cut")
    run.heal(30, "cut", "heal-cut")
    run.link(40, "a", "b", 50, "slow")
    for t in range(2, 60):
        run.request(t + 0.5, "a-1", routing_ms=2, replica="a-2", hops=1, via="direct")
        outcome = "deadline" if 20 <= t < 30 else "ok"
        run.request(t + 0.6, "b-1", routing_ms=54 if t >= 40 else 14, replica="a-2", outcome=outcome)
        if t < 10:
            run.request(t + 0.7, "c-1", routing_ms=4, replica="c-2", hops=1, via="direct")
    for t in range(0, 60, 5):
        for each in run.plan.hosts:
            is_agent = each.name == "a-1"
            run.sample(
                t, each.name, entries=12 + 30 * is_agent + t // 10, control=t * (900 if is_agent else 200), is_agent=is_agent
            )
        run.sick(t)
    return run


class Page(HTMLParser):
    """Collects what a browser would do with a page: elements, what they fetch, and whether every one is closed."""

    VOID = frozenset({"meta", "input", "br", "hr", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.fetched: list[str] = []
        self.sections: set[str] = set()
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
                if tag == "section":
                    self.sections.add(value)
            if name in ("src", "href", "xlink:href", "action", "data") and value and not value.startswith("#"):
                self.fetched.append(value)
            if value and "url(" in value and "url(#" not in value:
                self.fetched.append(value)


def page_of(directory: Path) -> Page:
    conclude(directory)
    text = (directory / "report.html").read_text()
    assert len(text) < 2_000_000
    styles = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    page = Page(text)
    assert page.faults == []
    assert page.open == []
    assert page.fetched == []
    assert len(page.ids) == len(set(page.ids)), "two elements of one id: plots would use each other's clip paths"
    assert not page.tags & {"script", "link", "iframe", "object", "img"}
    return page


def test_the_page_of_an_eventful_run_has_every_section_and_needs_nothing_else(tmp_path: Path) -> None:
    page = page_of(eventful().write(tmp_path / "run"))
    assert page.sections == {
        "expectations", "overview", "holders", "faults", "map", "latency", "sites", "roles", "burden", "health", "again",
    }  # fmt: skip
    text = " ".join(page.text)
    assert "power-off" in text
    assert "opus run" in text
    assert eventful().plan.digest in text


@pytest.mark.parametrize("geography", [False, True])
def test_the_map_shows_every_host_and_its_offices_at_each_instant(tmp_path: Path, geography: bool) -> None:
    places = [Place(lat=40, lon=-75), Place(lat=50, lon=8), Place(lat=-33, lon=151)] if geography else []
    page = page_of(eventful(places=places).write(tmp_path / "run"))
    text = "\n".join(page.text)
    assert text.count("a-1 · agent of") == 5, "before each of four faults and at the end"
    assert "c-2 · replica of web" in text
    assert "c-2 · down" in text
    assert "b-2 · cut off" in text
    assert ("on Earth" in text) is geography


def test_a_node_that_became_an_agent_hangs_on_nobody(tmp_path: Path) -> None:
    run = eventful()
    before = draw(read(run.write(tmp_path / "before"))).snapshots[-1]
    run.role(50, "c-1", "agent")
    after = draw(read(run.write(tmp_path / "after"))).snapshots[-1]
    assert len(after.lines) == len(before.lines) - 1
    assert any(dot.title.startswith("c-1 · agent of 0 nodes") for dot in after.dots)


def test_facts_are_written_for_people(tmp_path: Path) -> None:
    facts = {"offloads": True, "start_s": {"wired": 0.707}, "limits": ["cpu", "memory"]}
    text = " ".join(page_of(eventful().write(tmp_path / "run", about={"facts": facts})).text)
    for words in ("yes", "wired 0.707", "cpu, memory"):
        assert words in text
    assert "{'" not in text


def test_names_from_a_scenario_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    run = eventful(name=EVIL, topology=EVIL, apps={EVIL: 2})
    for event in run.events:
        if event.get("app"):
            event["app"] = EVIL
        if event["kind"] == "fault":
            event["target"] = EVIL
    directory = run.write(tmp_path / "run", about={"facts": {"kernel": EVIL}, "versions": {EVIL: EVIL}})
    page = page_of(directory)
    assert EVIL in " ".join(page.text)


def test_two_pages_of_one_run_are_the_same_bytes(tmp_path: Path) -> None:
    directory = eventful().write(tmp_path / "run")
    conclude(directory)
    first = (directory / "report.html").read_bytes(), (directory / "result.json").read_bytes()
    conclude(directory)
    assert first == ((directory / "report.html").read_bytes(), (directory / "result.json").read_bytes())


def test_runs_with_next_to_nothing_in_them_have_a_page(tmp_path: Path) -> None:
    quiet = FakeRun(make_plan(one_way_ms={}, hosts={"a": 1}, apps={}))
    assert "overview" not in page_of(quiet.write(tmp_path / "quiet")).sections
    crashed = eventful()
    crashed.events = [event for event in crashed.events if event["t"] < 25_000_000_000]
    directory = crashed.write(tmp_path / "crashed", ended=False)
    (directory / "run.json").unlink()
    assert "overview" in page_of(directory).sections
    unborn = FakeRun(eventful().plan)
    assert "faults" in page_of(unborn.write(tmp_path / "unborn", ended=False)).sections
    all_lost = FakeRun(eventful().plan)
    all_lost.begin()
    all_lost.request(3, "a-1", outcome="deadline")
    assert "overview" in page_of(all_lost.write(tmp_path / "lost")).sections


def test_a_thousand_hosts_and_a_host_a_site_still_fit_a_page(tmp_path: Path) -> None:
    big = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 400, "b": 300, "c": 300}, clients=("a-1",)))
    big.begin()
    for i, host in enumerate(big.plan.hosts):
        if i % 25 == 0:
            big.role(1, host.name, "agent")
        else:
            big.attach(1, host.name, big.plan.hosts[i - i % 25].name)
    big.power_off(20, "b-1")
    text = " ".join(page_of(big.write(tmp_path / "big")).text)
    assert "Drawn are 320 of 1,000 hosts" in text
    sites = {f"s{i}": 1 for i in range(200)}
    delays = {(f"s{i}", f"s{j}"): float(abs(i - j)) for i in range(200) for j in range(i)}
    page_of(FakeRun(make_plan(one_way_ms=delays, hosts=sites)).write(tmp_path / "matrix"))


def test_result_json_is_what_its_published_schema_says(tmp_path: Path) -> None:
    published = (ROOT / "docs" / "result.schema.json").read_text()
    assert published == json_schema_text(), "docs/result.schema.json is out of date: python -m opus_controller.report.schema"
    for name, run in (("eventful", eventful()), ("quiet", FakeRun(make_plan(one_way_ms={}, hosts={"a": 1}, apps={})))):
        document = json.loads(to_json(build(read(run.write(tmp_path / name)))))
        jsonschema.validate(document, json.loads(published))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, "verdict": "perhaps"}, json.loads(published))


def test_result_json_has_the_keys_of_the_design_in_its_order(tmp_path: Path) -> None:
    result = conclude(eventful().write(tmp_path / "run"))
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    wanted = [
        "verdict", "scenario", "seed", "plan_digest", "runtime", "links", "hosts", "agents", "duration_s", "wall_s", "requests",
        "routing_latency_ms", "request_latency_ms", "hops", "stretch", "regret_ms", "cost_of_self_organization", "state_entries",
        "control_bytes_per_s", "faults", "expectations", "fidelity", "validity",
    ]  # fmt: skip
    assert [key for key in document if key in wanted] == wanted
    assert Result.model_validate(document) == result


def table_of(run: FakeRun, directory: Path, width: int = 100) -> str:
    console = Console(width=width, record=True, file=(directory.parent / "out").open("w"), force_terminal=False)
    show(build(read(run.write(directory))), console, page=Path("runs/x/report.html"))
    text = console.export_text().replace(run.plan.digest[:12], "(its digest)")
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_the_table_for_the_terminal(tmp_path: Path) -> None:
    golden = ROOT / "tests" / "unit" / "report_table.golden.txt"
    assert table_of(eventful(), tmp_path / "run") == golden.read_text()


def test_the_table_fits_eighty_columns_and_loses_nothing(tmp_path: Path) -> None:
    text = table_of(eventful(), tmp_path / "run", width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_of_many_faults_the_worst_are_listed_with_their_numbers(tmp_path: Path) -> None:
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 2}, clients=("a-2",)))
    run.begin()
    run.role(0, "a-1", "replica", "web")
    for t in range(50):
        run.fault(t + 1, "resume", f"fault-{t + 1}", target=f"target-{t + 1}", victims=["a-2"])
        run.request(t + 1.5, "a-2", outcome="deadline" if t in (30, 40) else "ok")
    text = table_of(run, tmp_path / "run")
    assert "target-31" in text
    assert "target-41" in text
    assert "30 that hurt less" in text
    page_of(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert re.search(r'<span class="mark">41</span>.*?target-41', page)
    assert "And 20 that hurt less" in page


def test_sites_are_listed_only_when_one_had_it_worse(tmp_path: Path) -> None:
    assert "clients  requests  available" in table_of(eventful(), tmp_path / "cut")
    calm = eventful()
    for event in calm.events:
        if event["kind"] == "request":
            event["outcome"] = "ok"
    assert "clients  requests  available" not in table_of(calm, tmp_path / "calm")


def test_the_command_writes_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = eventful().write(tmp_path / "run")
    assert (
        opus(["report", str(directory), "--json", "--html", str(tmp_path / "x.html"), "--picture", str(tmp_path / "x.png")]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((directory / "result.json").read_text())
    assert (tmp_path / "x.html").read_text().startswith("<!doctype html>")
    assert not (directory / "report.html").exists()
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert opus(["report", str(directory), "--picture", str(tmp_path / "x.svg")]) == 0
    assert "FAIL" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize("what", ["missing", "empty", "no plan", "bad picture", "unwritable"])
def test_bad_input_is_one_line_and_exit_code_two(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "run"
    words = ["report", str(directory)]
    match what:
        case "empty":
            directory.mkdir()
        case "no plan":
            directory.mkdir()
            (directory / "plan.json").write_text("{}")
        case "bad picture":
            eventful().write(directory)
            words += ["--picture", str(tmp_path / "x.gif")]
        case "unwritable":
            eventful().write(directory)
            words += ["--html", str(tmp_path / "no" / "such" / "place.html")]
    assert opus(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert str(tmp_path) in captured.err


def test_without_any_run_the_command_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(build_app(), ["report"])
    assert "opus run" in str(outcome.exception)


def test_ten_times_the_requests_cost_no_more_than_in_proportion(tmp_path: Path) -> None:
    """CPU time of one process against its own: a step that is quadratic in requests would cost a hundred times as much."""
    few, many = _cpu_of_concluding(tmp_path / "few", 10_000), _cpu_of_concluding(tmp_path / "many", 100_000)
    print(f"concluded 10,000 requests of 500 hosts in {few:.1f} s, 100,000 in {many:.1f} s")
    assert many < 30 * few


def _cpu_of_concluding(directory: Path, requests: int) -> float:
    """Seconds, for a minute of 500 hosts with five faults."""
    names = [f"{site}-{k + 1}" for site, n in (("a", 200), ("b", 200), ("c", 100)) for k in range(n)]
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 200, "b": 200, "c": 100}, clients=names, apps={"web": 5}))
    run.begin()
    for host in ("a-1", "a-2", "b-1", "b-2", "c-1"):
        run.role(1, host, "replica", "web")
    for k in range(5):
        run.power_off(10 * k + 5, f"a-{k + 10}", f"off-{k}")
    for i in range(requests):
        run.request(2 + i * 55 / requests, names[i % 500], routing_ms=5 + i % 40)
    run.write(directory)
    began = time.process_time()
    conclude(directory)
    return time.process_time() - began
