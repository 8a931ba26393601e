"""The JSON Schemas that editors check by: what loads passes them, and slips do not."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from opus_controller.model.compile import compile_plan
from opus_controller.model.document import load_document
from opus_controller.model.scenario import load_scenario, shipped
from opus_controller.model.schema import json_schema

FILES = [
    (kind, path) for kind, folder in (("topology", "topologies"), ("scenario", "scenarios")) for path in shipped(folder).values()
]
MALFORMED = Path(__file__).parent.parent / "malformed"


@pytest.mark.parametrize("kind", ["topology", "scenario", "plan"])
def test_they_are_schemas(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: value.stem if isinstance(value, Path) else value)
def test_shipped_files_pass(kind: str, path: Path) -> None:
    jsonschema.validate(load_document(path).plain(), json_schema(kind))


def test_a_plan_passes() -> None:
    plan = compile_plan(load_scenario(shipped("scenarios")["quickstart"]))
    jsonschema.validate(plan.model_dump(mode="json"), json_schema("plan"))


@pytest.mark.parametrize(
    "case",
    [
        "topology-unknown-key",
        "topology-unknown-nested-key",
        "topology-groups-missing",
        "topology-site-name",
        "topology-delay-without-unit",
        "topology-loss-bare",
        "topology-jitter-parsecs",
        "topology-distribution",
        "topology-flag-yes",
        "topology-count-zero",
        "topology-rtt-with-unit",
        "topology-queue-nonsense",
        "scenario-no-topology",
        "scenario-duration-bare",
        "scenario-rate-bare",
        "scenario-event-empty",
        "scenario-event-two-actions",
        "scenario-event-underscore",
        "scenario-overlay-unknown",
        "scenario-seed-negative",
        "scenario-churn-unknown-key",
        "scenario-churn-distribution",
        "scenario-churn-preset",
        "scenario-churn-bare-number",
        "scenario-churn-departures",
        "scenario-churn-regional-fault",
        "scenario-service-port",
        "scenario-service-port-of-node",
        "scenario-service-no-port",
        "scenario-service-protocol",
        "scenario-service-command-number",
        "scenario-service-unknown-key",
        "scenario-utility-one-point",
        "scenario-utility-bare-latency",
        "scenario-utility-triple",
        "scenario-utility-combine",
        "scenario-utility-unknown-key",
        "scenario-utility-worth",
    ],
)
def test_slips_are_seen_by_an_editor(case: str) -> None:
    document = load_document(MALFORMED / f"{case}.yaml")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document.plain(), json_schema(case.split("-")[0]))


def test_every_key_is_explained_or_obvious() -> None:
    """Editors show descriptions while one types."""
    schema = json_schema("scenario")
    assert "Since the origin" in schema["$defs"]["WorkloadForm"]["properties"]["start"]["description"]
    assert "silence" in schema["$defs"]["EventForm"]["properties"]["power-off"]["description"]
