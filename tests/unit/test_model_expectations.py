"""What is expected, as sentences and mappings."""

from __future__ import annotations

import pytest
from opus_controller.model.expectations import FIGURES, ExpectationForm, parse_expectation
from opus_controller.report.result import Result


def parsed(value: object) -> dict[str, object]:
    form = parse_expectation(value)
    return {k: v for k, v in vars(form).items() if k != "name" and v != ExpectationForm.__dataclass_fields__[k].default}


def test_outside_churn_in_a_mapping() -> None:
    form = parsed({"availability": ">= 99%", "outside": "2s after faults and churn"})
    assert (form["outside"], form["outside_churn"]) == (2_000_000_000, True)
    assert "outside_churn" not in parsed({"availability": ">= 99%", "outside": "2s after faults"})


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("availability >= 99.9%", {"figure": "availability", "op": ">=", "bound": 0.999}),
        ("availability>=0.999", {"figure": "availability", "op": ">=", "bound": 0.999}),
        (
            "availability ≥ 99.9% outside 2s after faults where reachable",
            {"figure": "availability", "op": ">=", "bound": 0.999, "outside": 2_000_000_000, "reachable": True},
        ),
        (
            "availability >= 99.9% outside 2s after faults and churn where reachable",
            {
                "figure": "availability",
                "op": ">=",
                "bound": 0.999,
                "outside": 2_000_000_000,
                "outside_churn": True,
                "reachable": True,
            },
        ),
        (
            "availability >= 95%, of app web at site sa-east-1",
            {"figure": "availability", "op": ">=", "bound": 0.95, "app": "web", "site": "sa-east-1"},
        ),
        ("routing_latency_ms.p50 <= 60", {"figure": "routing_latency_ms.p50", "op": "<=", "bound": 60.0}),
        ("routing_latency_ms.p50 <= 60ms for web", {"figure": "routing_latency_ms.p50", "op": "<=", "bound": 60.0, "app": "web"}),
        ("routing_latency_ms.p50 <= 60 of web", {"figure": "routing_latency_ms.p50", "op": "<=", "bound": 60.0, "app": "web"}),
        ("request_latency_ms.p99 <= 1.5s", {"figure": "request_latency_ms.p99", "op": "<=", "bound": 1500.0}),
        ("hops.max <= 2", {"figure": "hops.max", "op": "<=", "bound": 2.0}),
        ("recovery_s.max <= 2s after loss", {"figure": "recovery_s.max", "op": "<=", "bound": 2.0, "after": "loss"}),
        ("spread.reached >= 99.9% of web", {"figure": "spread.reached", "op": ">=", "bound": 0.999, "app": "web"}),
        ("spread.within_s.p99 <= 3s after loss", {"figure": "spread.within_s.p99", "op": "<=", "bound": 3.0, "after": "loss"}),
        ("requests.failed == 0", {"figure": "requests.failed", "op": "==", "bound": 0.0}),
        ("requests.shed >= 100", {"figure": "requests.shed", "op": ">=", "bound": 100.0}),
        ({"hops.max": "<= 2"}, {"figure": "hops.max", "op": "<=", "bound": 2.0}),
        (
            {"availability": ">= 99.9%", "outside": "2s after faults", "reachable": True, "site": "x"},
            {"figure": "availability", "op": ">=", "bound": 0.999, "outside": 2_000_000_000, "reachable": True, "site": "x"},
        ),
    ],
)
def test_read(text: object, meaning: dict[str, object]) -> None:
    assert parsed(text) == meaning


def test_what_hosts_hold_and_send_is_of_sites_and_times_and_not_of_applications() -> None:
    assert parsed("control_bytes_per_s.max <= 200 at site a outside 5s after faults and churn") == {
        "figure": "control_bytes_per_s.max", "op": "<=", "bound": 200,
        "site": "a", "outside": 5_000_000_000, "outside_churn": True,
    }  # fmt: skip
    with pytest.raises(ValueError, match="which hold and send for all applications together; allowed: site, outside"):
        parse_expectation("state_entries.agent.p50 <= 20 of app web")


def test_a_name_for_reports() -> None:
    assert parse_expectation("hops.max <=  2").name == "hops.max <= 2"
    assert parse_expectation({"hops.max": "<= 2", "name": "two hops at most"}).name == "two hops at most"
    assert parse_expectation({"availability": ">= 99%", "reachable": True}).name == "availability >= 99% where reachable"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "availability",
        "availability > 99%",
        "availability => 99%",
        "availability >= lots",
        "availability >= 101%",
        "availability >= 99% sometimes",
        "requests.shed >= 1 of app web",
        "hops.max <= 2ms",
        "hops.max <= -1",
        "hops.max <= 2 after loss",
        "agents <= 5 where reachable",
        "agents <= 5 at site a",
        "control_bytes_per_s.max <= 200 of app web",
        "state_entries.node.max <= 20 where reachable",
        "recovery_s.max <= 2s outside 2s",
        {"availability": ">= 99%", "hops.max": "<= 2"},
        {"availability": 0.99},
        {"reachable": True},
        {"availability": ">= 99%", "reachable": "yes"},
        {"availability": ">= 99%", "outside": 2},
        None,
    ],
)
def test_refused_in_one_line_that_says_what_is_allowed(value: object) -> None:
    with pytest.raises(ValueError, match="allowed") as caught:
        parse_expectation(value)
    assert "\n" not in str(caught.value)


def test_every_figure_is_one_of_result_json() -> None:
    """A figure that no result has could only ever fail."""
    schema = Result.model_json_schema()

    def at(path: list[str], node: dict[str, object]) -> bool:
        for one in node.get("anyOf", ()):  # type: ignore[attr-defined]
            node = one if "$ref" in one else node  # what may be missing
        if "$ref" in node:
            node = schema["$defs"][str(node["$ref"]).rsplit("/", 1)[1]]
        if not path:
            return True
        properties = node.get("properties", {})
        assert isinstance(properties, dict)
        return path[0] in properties and at(path[1:], properties[path[0]])

    for figure in FIGURES:
        if figure != "availability" and not figure.startswith("recovery_s"):
            assert at(figure.split("."), schema), figure
