"""A real Prometheus scrapes a real run; then every query of every dashboard is asked, and has to have an answer.

The run is looked at twice: in the data that the run's own Prometheus kept, and in data made later from the run's samples. The
queries are those of the committed JSON. The same for another runtime: add it to RUNTIMES.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import promdata
from helpers.netns_runs import OPUS, events, opus, until
from helpers.promdata import Look, PanelQuery
from opus_controller.observe.prometheus import get

pytestmark = pytest.mark.prometheus

RUNTIMES = ("netns", pytest.param("docker", marks=pytest.mark.docker))
"""The docker lane runs the second: it has an engine."""
ROOT = Path(__file__).resolve().parents[2]

TOPOLOGY = """\
name: four
description: Eight hosts in four sites
source: made up
sites: [{name: a}, {name: b}, {name: c}, {name: d}]
rtt_ms:
  a: {b: 20, c: 40, d: 60}
  b: {c: 30, d: 50}
  c: {d: 25}
groups:
  - name: servers
    sites: all
    count: 2
    access: {delay: 0.5ms, up: 20Mbit, down: 20Mbit, queue: 100ms}
"""
SCENARIO = """\
name: observed
description: A power-off, a site cut off and healed, a link changed and healed, a pause, a strain, a flood, a crash
topology: four.yaml
settle: 8s
duration: 126s
seed: 1
seeds: [a-1]
applications:
  - {name: web, replicas: 2, spread: 1.75}
  - name: shop
    replicas: auto
    min_replicas: 2
    max_replicas: 3
    service_time: 20ms
    queue: 500ms
    choice: latency-load
    utility: {worth: 5, latency: {points: [[300ms, 100%], [1s, 0%]]}, floor: 2}
  - name: page
    replicas: 2
    service:
      {command: [python3, -m, http.server, "8080", --bind, 127.0.0.1, --directory, "{files}"], port: 8080, files: page}
workload:
  - {clients: all, app: web, total_rate: 30/s, deadline: 2s, write_share: 30%, request_size: 100B}
  - {clients: all, app: page, total_rate: 6/s, deadline: 2s}
  - {clients: all, app: shop, total_rate: 6/s, deadline: 2s}
timeline:  # the first when replicas have found their places: what a new one tells is no line yet
  - {at: 40s, name: loss, power-off: a replica of web}
  - {at: 52s, name: cut, partition: a site without replicas of web, for: 8s}
  - {at: 68s, name: slow, link: a <-> c, add: {rtt: 100ms, loss: 20%}, for: 10s}
  - {at: 82s, name: nap, pause: a replica of web, for: 6s}
  - {at: 91s, name: lame, strain: a replica of web, cpu: 50%, for: 6s}
  - {at: 100s, name: rush, flood: a replica of web, rate: 20/s, for: 6s}
  - {at: 110s, name: death, crash: a replica of page}
expectations: []
"""
LAG_S = 10.0
"""By when a fault shows: the window of rates, and a scrape."""
SCRAPE_S = 2.0


@dataclass
class Observed:
    """A run that is over."""

    directory: Path
    data: Path
    said: str
    """Standard error."""
    live: dict[str, Any]
    """What its Prometheus said of its targets while it went on."""

    @property
    def faults(self) -> dict[str, dict[str, Any]]:
        """By name: the record, with "at", its Unix time, beside."""
        origin = self.start
        return {e["name"]: {**e, "at": origin + e["t"] / 1e9} for e in events(self.directory, "fault")}

    @property
    def readings(self) -> list[dict[str, Any]]:
        lines = (self.directory / "samples/metrics.ndjson").read_text().splitlines()
        return [line for line in map(json.loads, lines) if "at" in line]

    @property
    def start(self) -> float:
        return promdata.span(self.directory)[0]

    @property
    def end(self) -> float:
        return promdata.span(self.directory)[1]


@pytest.fixture(scope="module", params=RUNTIMES)
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    if request.param == "docker":
        request.getfixturevalue("lane_engine")
    place = tmp_path_factory.mktemp("observed")
    (place / "four.yaml").write_text(TOPOLOGY)
    (place / "page").mkdir()
    (place / "page" / "index.html").write_text("a page\n" * 1000)
    (place / "observed.yaml").write_text(SCENARIO)
    out = place / "observed-run"
    log = place / "said"
    command = [*OPUS, "run", str(place / "observed.yaml"), "--runtime", request.param, "--out", str(out)]
    with log.open("w") as file:
        process = subprocess.Popen([*command, "--observe-address", "127.0.0.1:0"], stdout=file, stderr=file)
    try:
        address = until("Prometheus", lambda: re.findall(r"Prometheus at http://(\S+),", log.read_text()))[0]
        until("the power-off", lambda: any(e["name"] == "loss" for e in events(out, "fault")), 120)
        live = until("the dead host's failed scrape", lambda: _with_a_failure(address), 30)
        process.wait(180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (0, 4), log.read_text()  # 4: this machine is shared, and validity is another test's affair
    return Observed(out, out / "prometheus" / "data", log.read_text(), live)


def _with_a_failure(address: str) -> dict[str, Any] | None:
    targets: dict[str, Any] = json.loads(get(address, "/api/v1/targets"))["data"]
    return targets if any(target["health"] == "down" for target in targets["activeTargets"]) else None


@pytest.fixture(scope="module")
def kept(observed: Observed) -> Iterator[Look]:
    """The data that the run's own Prometheus left."""
    with promdata.looked_at(observed.data) as api:
        yield Look(api, observed.directory.name, observed.start, observed.end)


@pytest.fixture(scope="module")
def replayed(observed: Observed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Look]:
    """Data made from the run's samples, as for a run of another machine."""
    data = tmp_path_factory.mktemp("replayed") / "data"
    done = opus("report", observed.directory, "--prometheus", data)
    assert done.returncode == 0, done.stderr
    assert str(data) in done.stderr
    with promdata.looked_at(data) as api:
        yield Look(api, observed.directory.name, observed.start, observed.end)


def lacking(look: Look, board: str) -> list[str]:
    """Panels without data, or with data of the wrong kind, and why."""
    found = [(query, look.fault(query)) for query in promdata.queries(board)]
    return [f"{query.name}\n    {why}" for query, why in found if why]


@pytest.mark.parametrize("board", promdata.TITLES)
def test_every_query_of_every_panel_returns_data_of_its_kind(kept: Look, board: str) -> None:
    assert promdata.queries(board)
    problems = lacking(kept, board)
    assert not problems, "panels that show nothing, or nonsense:\n" + "\n".join(problems)


@pytest.mark.parametrize("board", promdata.TITLES)
def test_so_they_do_on_data_made_from_the_runs_samples(replayed: Look, board: str) -> None:
    problems = lacking(replayed, board)
    assert not problems, "panels that show nothing, or nonsense:\n" + "\n".join(problems)


def test_a_panel_that_shows_nothing_or_nonsense_would_be_listed(kept: Look) -> None:
    def asked(expr: str, **more: Any) -> str:
        made = {"kind": "timeseries", "unit": "short", "legend": "", "instant": False, **more}
        return kept.fault(PanelQuery("made up", "made up", expr=expr, **made))

    assert asked('opus_hosts{run="$run"}') == ""
    assert asked('opus_hosts{run="another"}') == "no data"
    assert asked('opus_no_such_metric{run="$run"}') == "no data"
    assert asked('rate(opus_hosts{run="$run"}[$window]) / 0') == "no data"  # neither numbers nor infinities are
    assert "share" in asked('sum(opus_hosts{run="$run"})', unit="percentunit")
    assert "0 nor 1" in asked('sum(opus_hosts{run="$run"})', kind="state-timeline")
    assert "buckets" in asked('opus_hosts{run="$run"}', kind="heatmap")
    assert "labels of its legend" in asked('sum(opus_hosts{run="$run"})', legend="{{site}}")


def test_every_host_can_be_looked_at_in_depth(kept: Look, observed: Observed) -> None:
    """The dead one too: what it said while it lived is there."""
    (variable,) = [v for v in promdata.load("host")["templating"]["list"] if v["name"] == "host"]
    hosts = kept.values_of(variable)
    assert len(hosts) == 8
    (victim,) = observed.faults["loss"]["victims"]
    # A scrape earlier: one that its death met half-way would have marked all that it said as gone.
    before = Look(kept.api, kept.run, kept.start, observed.faults["loss"]["at"] - SCRAPE_S)
    before.variables["host"] = victim
    assert not lacking(before, "host")


def test_annotations_stand_at_the_very_instants(kept: Look, observed: Observed) -> None:
    (faults,) = [a for a in promdata.marks("overview") if a["name"] == "Faults"]
    assert faults["useValueForTime"] == "on"
    told = {one["metric"]["name"]: float(one["value"][1]) for one in kept.api.now(kept.fill(faults["expr"]), kept.end)}
    assert told.keys() == observed.faults.keys()
    for name, record in observed.faults.items():
        assert told[name] / 1e3 == pytest.approx(record["at"], abs=0.2)
    (roles,) = [a for a in promdata.marks("overlay") if a["name"] == "Roles"]
    changed = [float(v) / 1e3 for one in kept.api.over(kept.fill(roles["expr"]), kept.start, kept.end) for _, v in one["values"]]
    assert changed
    assert all(kept.start - 1 <= at <= kept.end for at in changed)
    assert any(at > observed.faults["loss"]["at"] for at in changed), "nobody took the dead replica's place"


def test_a_host_without_power_fails_its_own_scrape_and_no_other(kept: Look, observed: Observed) -> None:
    fault = observed.faults["loss"]
    (victim,) = fault["victims"]
    down = [t for t in observed.live["activeTargets"] if t["health"] == "down"]
    assert [(t["labels"]["host"], "503" in t["lastError"]) for t in down] == [(victim, True)]
    assert {t["labels"]["job"] for t in observed.live["activeTargets"]} == {"opus-host", "opus-controller"}
    before, after = (kept.start, fault["at"] - 1), (fault["at"], fault["at"] + LAG_S)
    shown = promdata.find("overview", "Hosts not up")
    assert max(kept.points(shown, before, state="down")) == 0
    assert max(kept.points(shown, after, state="down")) == 1
    answers = promdata.find("overview", "Hosts that answer")
    assert max(kept.points(answers, (fault["at"] + LAG_S, kept.end - 5), host=victim)) == 0
    in_force = promdata.find("overview", "Faults in force")
    assert kept.points(in_force, before, name="loss") == []
    assert max(kept.points(in_force, after, name="loss")) == 1


def test_a_partition_shows_where_it_is(kept: Look, observed: Observed) -> None:
    fault, heal = observed.faults["cut"], observed.faults["heal-cut"]
    site = fault["victims"][0].rpartition("-")[0]
    before, during = (fault["at"] - LAG_S, fault["at"]), (fault["at"], heal["at"] + 3)
    healed = (heal["at"] + LAG_S + 3, heal["at"] + LAG_S + 6)
    availability = promdata.find("overview", "Availability")
    failed = promdata.find("overview", "Failed requests by site")
    dropped = promdata.find("network", "Packets dropped")
    cut = promdata.find("network", "Paths cut")
    assert min(kept.points(availability, during)) < 0.95 < min(kept.points(availability, healed))
    assert max(kept.points(failed, before, site=site)) == 0 < max(kept.points(failed, during, site=site))
    assert max(kept.points(dropped, before, cause="testbed")) == 0
    assert max(kept.points(dropped, during, cause="cut")) > 1 + max(kept.points(dropped, healed, cause="cut"))
    paths = kept.api.over(kept.fill(cut.expr), *during)
    assert all(max(map(float, (v for _, v in one["values"]))) >= 1 for one in paths if site in one["metric"].values())
    assert max(kept.points(promdata.find("overview", "Faults in force"), healed, name="cut")) == 0


def test_a_changed_link_shows_what_is_asked_and_what_is_measured(kept: Look, observed: Observed) -> None:
    fault, heal = observed.faults["slow"], observed.faults["heal-slow"]
    before, during = (fault["at"] - LAG_S, fault["at"] - 1), (fault["at"], heal["at"])

    def rise(query: PanelQuery, a: str, b: str) -> float:
        pair = {"source_site": a, "target_site": b}
        return max(kept.points(query, during, **pair)) - min(kept.points(query, before, **pair))

    asked, measured = (promdata.find("network", f"Round trip {what}") for what in ("asked", "measured"))
    assert rise(asked, "a", "c") == pytest.approx(0.1, abs=1e-6)
    assert rise(measured, "a", "c") > 0.06
    assert rise(asked, "b", "d") == pytest.approx(0, abs=1e-6)
    lost = promdata.find("network", "Loss of round trips", "asked")
    assert rise(lost, "a", "c") == pytest.approx(1 - 0.8**2, abs=1e-6)
    dropped = promdata.find("network", "Packets dropped")
    assert max(kept.points(dropped, before, cause="loss")) == 0 < max(kept.points(dropped, during, cause="loss"))


@pytest.mark.parametrize("name", ["cut", "slow", "nap", "lame", "rush"])
def test_a_fault_is_in_force_from_when_it_occurs_until_it_is_over(kept: Look, observed: Observed, name: str) -> None:
    began = observed.faults[name]["at"]
    (over,) = [one["at"] for other, one in observed.faults.items() if other in (f"heal-{name}", f"resume-{name}")]
    in_force = promdata.find("overview", "Faults in force")
    assert kept.points(in_force, (kept.start, began - 1), name=name) == []
    assert max(kept.points(in_force, (began, over), name=name)) == 1
    assert set(kept.points(in_force, (over + 2 * SCRAPE_S, kept.end), name=name)) == {0}


def test_a_lost_replica_of_a_service_shows_and_so_does_what_takes_its_place(kept: Look, observed: Observed) -> None:
    fault = observed.faults["death"]
    (victim,) = fault["victims"]
    before, settled = (fault["at"] - 2, fault["at"]), (fault["at"] + LAG_S, kept.end - 2)
    ready = promdata.find("services", "Programs ready", "ready")
    # How many were ready need not dip in any reading: another may be ready before the next scrape.
    assert min(kept.points(ready, before)) >= 2, "one that was demoted goes on for a while"
    assert kept.points(ready, settled)[-1] >= 2
    hosts = promdata.find("services", "Hosts whose program is ready")
    assert max(kept.points(hosts, before, host=victim)) == 1
    assert max(kept.points(hosts, settled, host=victim), default=0) == 0
    started = promdata.find("services", "Programs started and ended")
    assert max(kept.points(started, (kept.start, kept.end), change="started")) > 0
    result = json.loads((observed.directory / "result.json").read_text())
    (told,) = result["services"]
    received = kept.api.over(kept.fill(promdata.find("services", "Files by host").expr), kept.start, kept.end)
    assert {float(one["values"][-1][1]) for one in received} == {told["files_bytes"]}, "whole, and only what was shipped"


def test_what_is_shown_is_what_the_report_says(kept: Look, observed: Observed) -> None:
    result = json.loads((observed.directory / "result.json").read_text())
    shown = kept.api.now(kept.fill(promdata.find("overview", "Availability so far").expr), kept.end)
    apps = {app["app"]: app["figures"] for app in result["by_app"]}
    told = {app: figures["requests"]["availability"] for app, figures in apps.items()}
    assert {one["metric"]["app"]: float(one["value"][1]) for one in shown} == pytest.approx(told, abs=0.01)
    shown = kept.api.now(kept.fill(promdata.find("overlay", "Stretch so far").expr), kept.end)
    told = {app: figures["stretch"] for app, figures in apps.items()}
    assert {one["metric"]["app"]: float(one["value"][1]) for one in shown} == pytest.approx(told, rel=0.1)


def test_what_an_application_is_worth_shows_and_who_holds_which_hosts(kept: Look, observed: Observed) -> None:
    whole = (kept.start, kept.end)
    assert set(kept.points(promdata.find("applications", "Worth at most"), whole)) == {5.0}
    result = json.loads((observed.directory / "result.json").read_text())
    (told,) = result["utility"]["apps"]
    felt = kept.points(promdata.find("applications", "Utility"), whole, app="shop")
    assert sum(felt) / len(felt) == pytest.approx(told["mean"], abs=0.5)
    # One step of a steward has one time, and may decide twice: it takes over, and a member is lost.
    decided = sorted((e for e in events(observed.directory, "replica_set") if e["app"] == "shop"), key=lambda e: e["t"])
    hosts = promdata.find("applications", "Hosts", "decided")
    assert kept.points(hosts, whole, app="shop")[-1] == len(decided[-1]["members"])
    held = kept.api.over(kept.fill(promdata.find("applications", "Who holds which hosts").expr), *whole)
    assert {one["metric"]["app"] for one in held} == {"web", "page", "shop"}
    counted = kept.api.now(kept.fill(promdata.find("applications", "Decisions so far").expr), kept.end)
    shown = {one["metric"]["why"]: int(one["value"][1]) for one in counted if one["metric"]["app"] == "shop"}
    assert sum(shown.values()) == len(decided)
    assert shown["first"] == 1


def test_the_runs_prometheus_is_gone_and_how_to_look_again_is_said(observed: Observed) -> None:
    (address,) = re.findall(r"Prometheus at http://(\S+),", observed.said)
    with pytest.raises(ConnectionRefusedError):
        get(address, "/-/ready", timeout_s=1)
    assert f"--storage.tsdb.path={observed.data}" in observed.said


def test_the_overview_can_be_drawn_and_never_with_a_panel_empty(observed: Observed, tmp_path: Path) -> None:
    """The README's picture; from a copy, as a Prometheus looks at the data already."""
    shutil.copytree(observed.data, tmp_path / "data")
    (tmp_path / "nothing").mkdir()
    command = [sys.executable, str(ROOT / "scripts" / "overview_picture.py"), str(observed.directory), "--data"]
    drawn, refused = (
        subprocess.run(
            [*command, str(tmp_path / data), str(tmp_path / f"{data}.png")], capture_output=True, text=True, check=False
        )
        for data in ("data", "nothing")
    )
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "data.png").read_bytes().startswith(b"\x89PNG")
    assert refused.returncode == 1
    assert "variable window has no values" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "nothing.png").exists()


def test_names_and_units_are_as_prometheus_wants_them(observed: Observed) -> None:
    """promtool's linter, on what was really exposed."""
    types: dict[str, str] = {}
    series: set[str] = set()
    for line in observed.readings:
        types.update(line.get("types", {}))
        series.update(line.get("new", {}).values())
    text = "".join(
        f"# HELP {name} x\n# TYPE {name} {kind}\n"
        + "".join(f"{one} 1\n" for one in sorted(series) if _family(one, types) == name)
        for name, kind in sorted(types.items())
    )
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def _family(series: str, types: dict[str, str]) -> str:
    name = series.partition("{")[0]
    return next((base for s in ("_bucket", "_sum", "_count") if (base := name.removesuffix(s)) != name and base in types), name)
