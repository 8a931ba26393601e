"""JSON Schemas of the files that people write, for editors that complete and check YAML by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from opus_controller.model.plan import Plan
from opus_controller.model.scenario_form import ScenarioForm
from opus_controller.model.topology_form import TopologyForm

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
KINDS: Final[Mapping[str, type[BaseModel]]] = {"topology": TopologyForm, "scenario": ScenarioForm, "plan": Plan}


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of the written form: quantities are strings with units. `kind` is one of KINDS.

    It is weaker than the loader, which also checks what refers to what.
    """
    schema = KINDS[kind].model_json_schema(by_alias=True, mode="validation")
    return {"$schema": DIALECT, **schema, "title": f"Opus {kind}"}
