"""A Prometheus on a data directory, asked over its HTTP API; and the committed dashboards' queries, ready to be asked."""

from __future__ import annotations

import http.client
import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from opus_controller.engine.record import METRICS_SAMPLES
from opus_controller.observe import dashboards
from opus_controller.observe.archive import readings
from opus_controller.observe.prometheus import free_port, get, view_command

from helpers.nodes import wait_for

DASHBOARDS = Path(dashboards.__file__).parent
TITLES = ("overview", "applications", "overlay", "services", "network", "host", "testbed")
STEP_S = 1


@dataclass(frozen=True)
class Api:
    address: str

    def ask(self, path: str, **parameters: Any) -> Any:
        return json.loads(get(self.address, f"/api/v1/{path}?{urlencode(parameters, doseq=True)}"))["data"]

    def now(self, expr: str, at: float) -> list[dict[str, Any]]:
        """An instant vector."""
        data = self.ask("query", query=expr, time=at)
        assert data["resultType"] == "vector", f"{expr}: a {data['resultType']}"
        return list(data["result"])

    def over(self, expr: str, start: float, end: float) -> list[dict[str, Any]]:
        """A matrix."""
        data = self.ask("query_range", query=expr, start=start, end=end, step=STEP_S)
        assert data["resultType"] == "matrix", f"{expr}: a {data['resultType']}"
        return list(data["result"])

    def label_values(self, selector: str, label: str, start: float, end: float) -> list[str]:
        series = self.ask("series", **{"match[]": selector}, start=start, end=end)
        return sorted({one[label] for one in series if label in one})


@contextmanager
def looked_at(data: Path) -> Iterator[Api]:
    """A Prometheus on kept data, by the command that Opus tells people to use."""
    address = f"127.0.0.1:{free_port(0)}"
    command = [*view_command(data).replace("127.0.0.1:9090", address).split(), "--log.level=error"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(address), "Prometheus to be ready", 60)
        yield Api(address)
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return bool(get(address, "/-/ready", timeout_s=2))
    except (OSError, http.client.HTTPException):
        return False


def span(run: Path) -> tuple[float, float]:
    """When the run in this directory began, by what its controller said of it, and when it was last read: Unix times."""
    start, end = math.nan, math.nan
    for reading in readings(run / METRICS_SAMPLES):
        end = reading.at
        if math.isnan(start) and "opus_run_elapsed_seconds" in reading.values:
            start = reading.at - reading.values["opus_run_elapsed_seconds"]
    assert start < end, f"{run}: its controller was never read"
    return start, end


# The committed dashboards


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel, as committed."""

    board: str
    panel: str
    kind: str
    unit: str
    expr: str
    legend: str
    instant: bool

    @property
    def name(self) -> str:
        return f"{self.board} / {self.panel}: {self.expr}"


def load(board: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DASHBOARDS / f"{board}.json").read_text())
    return document


def panels(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All but rows, those inside rows too."""
    for panel in document["panels"]:
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def queries(board: str) -> list[PanelQuery]:
    return [
        PanelQuery(
            board=board,
            panel=panel["title"],
            kind=panel["type"],
            unit=panel.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
            expr=target["expr"],
            legend=target.get("legendFormat", ""),
            instant=bool(target.get("instant")),
        )
        for panel in panels(load(board))
        for target in panel["targets"]
    ]


def marks(board: str) -> list[Mapping[str, Any]]:
    return list(load(board)["annotations"]["list"])


def find(board: str, panel: str, legend: str = "") -> PanelQuery:
    """The one query of a panel, or that whose legend contains `legend`."""
    (found,) = [q for q in queries(board) if q.panel == panel and legend in q.legend]
    return found


@dataclass
class Look:
    """One run in one Prometheus, as Grafana would look at it."""

    api: Api
    run: str
    start: float
    end: float
    """Unix times."""
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill the dashboards' variables in as Grafana would: by their own queries, first value first."""
        self.variables = {"run": self.run}
        for board in TITLES:
            for variable in load(board)["templating"]["list"]:
                if variable["type"] == "query" and variable["name"] not in self.variables:
                    self.variables[variable["name"]] = self.values_of(variable)[0]

    def values_of(self, variable: Mapping[str, Any]) -> list[str]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert found, variable["query"]
        values = self.api.label_values(self.fill(found[1]), found[2], self.start, self.end)
        assert values, f"variable {variable['name']} has no values"
        return values

    def fill(self, expr: str) -> str:
        filled = expr
        for name, value in self.variables.items():
            filled = filled.replace(f"${name}", value)
        assert "$" not in filled, f"{expr}: an unknown variable"
        return filled

    def points(self, query: PanelQuery, span: tuple[float, float], **labels: str) -> list[float]:
        """Finite values of the query's series with these labels, from the span's start to its end."""
        series = self.api.over(self.fill(query.expr), *span)
        chosen = [one for one in series if labels.items() <= one["metric"].items()]
        return [v for one in chosen for v in _finite(one["values"])]

    def fault(self, query: PanelQuery) -> str:
        """What is wrong with the query's answer for its panel; empty if nothing is."""
        if query.instant:
            result = self.api.now(self.fill(query.expr), self.end)
            values = [[float(one["value"][1])] for one in result]
        else:
            result = self.api.over(self.fill(query.expr), self.start, self.end)
            values = [_finite(one["values"]) for one in result]
        told = [v for one in values for v in one if math.isfinite(v)]
        if not told:
            return "no data"
        if not query.instant and max(len(one) for one in values) < 5:
            return "fewer than five points: no line"
        return _wrong_kind(query, told, [one["metric"] for one in result])


def _wrong_kind(query: PanelQuery, told: Sequence[float], metrics: Sequence[Mapping[str, str]]) -> str:
    """Whether values and labels are such as the panel can show."""
    low, high = min(told), max(told)
    if query.kind == "state-timeline" and not set(told) <= {0.0, 1.0}:
        return f"neither 0 nor 1: {low} to {high}"
    if query.kind == "heatmap" and not all("le" in metric for metric in metrics):
        return "no buckets"
    if query.unit == "percentunit" and not -1e-9 <= low <= high <= 1 + 1e-9:
        return f"no share: {low} to {high}"
    if low < 0:
        return f"negative: {low}"
    if query.unit == "s" and high > 3600:
        return f"no span of a run, in seconds: {high}"
    wanted = re.findall(r"{{(\w+)}}", query.legend)
    if wanted and not all(any(name in metric for name in wanted) for metric in metrics):
        return f"a line without any of the labels of its legend, {query.legend}"
    return ""


def _finite(values: Sequence[Sequence[Any]]) -> list[float]:
    return [v for _, text in values if math.isfinite(v := float(text))]
