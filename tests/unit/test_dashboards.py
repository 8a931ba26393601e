"""The committed dashboards as documents: current, readable by Grafana's own types, laid out, and asking only for what there is.

That their queries return data is tested with a real Prometheus (tests/prometheus).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from helpers import promdata
from opus_controller.observe import metrics as controller
from opus_controller.observe.dashboards.__main__ import stale
from opus_node import metrics as node

MADE_UP = re.compile(r"\bor\b|\bunless\b|\bvector\s*\(|\babsent\w*\s*\(|\bscalar\s*\(|\btime\s*\(|\blabel_replace\s*\(")
"""Ways to make a query return something where there is nothing."""
FROM_PROMETHEUS = {"up", "scrape_duration_seconds"}


def test_what_is_committed_is_what_the_code_makes() -> None:
    assert stale() == []


@pytest.mark.parametrize("board", promdata.TITLES)
def test_grafanas_own_types_read_it_and_write_it_back(board: str) -> None:
    document = promdata.load(board)
    back = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    for annotation in (*document["annotations"]["list"], *back["annotations"]["list"]):
        for extra in ("titleFormat", "textFormat", "useValueForTime", "step"):  # of the data source, unknown to the type
            annotation.pop(extra, None)
    assert _without_nothing(back) == _without_nothing(document)


def _without_nothing(value: Any) -> Any:
    """The types leave out what is None, and may add it."""
    if isinstance(value, dict):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


def test_there_are_the_seven_each_with_its_own_identity() -> None:
    documents = [promdata.load(board) for board in promdata.TITLES]
    assert [d["title"] for d in documents] == [
        f"Opus: {name}" for name in ("Overview", "Applications", "Overlay", "Services", "Network", "Host", "Testbed health")
    ]
    assert len({d["uid"] for d in documents}) == 7
    assert all(re.fullmatch(r"[a-z-]{1,40}", d["uid"]) for d in documents)


@pytest.mark.parametrize("board", promdata.TITLES)
def test_panels_have_numbers_of_their_own_and_do_not_cover_each_other(board: str) -> None:
    everything = promdata.load(board)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    for a, b in combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (a, b)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    titles = [panel["title"] for panel in promdata.panels(promdata.load(board))]
    assert len(set(titles)) == len(titles)
    assert all(panel.get("description") for panel in promdata.panels(promdata.load(board)))


@pytest.mark.parametrize("board", promdata.TITLES)
def test_every_query_is_about_one_run_and_names_the_chosen_data_source(board: str) -> None:
    for panel in promdata.panels(promdata.load(board)):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)
    for query in promdata.queries(board):
        selectors = re.findall(r"\{([^}]*)\}", query.expr)
        assert selectors
        assert all('run="$run"' in selector or "on (run" in query.expr for selector in selectors), query.name


def _all_expressions() -> Iterator[str]:
    for board in promdata.TITLES:
        yield from (query.expr for query in promdata.queries(board))
        yield from (annotation["expr"] for annotation in promdata.marks(board))


@pytest.mark.parametrize("expr", sorted(set(_all_expressions())))
def test_no_query_makes_data_up(expr: str) -> None:
    assert not MADE_UP.search(re.sub(r'"[^"]*"', '""', expr)), expr


@pytest.mark.parametrize("made_up", ["sum(x) or vector(0)", "x OR on() y", "absent(x)", "absent_over_time(x[1m])", "scalar(x)"])
def test_what_makes_data_up_is_recognized(made_up: str) -> None:
    assert MADE_UP.search(made_up.lower())


def test_every_metric_that_is_asked_for_is_in_the_tables() -> None:
    known = {*node.METRICS, *controller.METRICS, *FROM_PROMETHEUS}
    series = {name + suffix for name in known for suffix in ("", "_bucket", "_sum", "_count")}
    asked = {name for expr in _all_expressions() for name in re.findall(r"\b(\w+)\{", expr)}
    assert asked <= series, asked - series
    assert len(asked) > 50
