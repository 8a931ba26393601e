"""`opus schema`: JSON Schemas of the files that people write, for their editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from opus_controller.model.errors import ScenarioError


def register(app: typer.Typer) -> None:
    @app.command()
    def schema(
        kind: Annotated[str, typer.Argument(help="topology, scenario or plan.", metavar="topology|scenario|plan")],
    ) -> None:
        """Print the JSON Schema of a topology or scenario file, for editors that complete and check YAML.

        Write it to a file and name that in the first line of yours: # yaml-language-server: $schema=scenario.schema.json
        """
        from opus_controller.model.schema import KINDS, json_schema

        if kind not in KINDS:
            raise ScenarioError(f'schema of what? "{kind}" is not known; allowed: {", ".join(KINDS)}')
        typer.echo(json.dumps(json_schema(kind), indent=2, ensure_ascii=False))
