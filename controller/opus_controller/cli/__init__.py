"""The command `opus`. One file a command; each has `register(app)`, which adds it to the typer application.

This module imports nothing outside the standard library, so that an install without the extra `controller` can say so.
"""

from __future__ import annotations

import sys

_EXTRA = ("jinja2", "matplotlib", "networkx", "numpy", "pydantic", "pyroute2", "rich", "typer", "yaml")
"""Top-level modules that the extra `controller` brings (pyproject.toml)."""


def main() -> None:
    """Entry point of `opus`: run the command line and exit with its code."""
    try:
        from opus_controller.cli._app import run

        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"opus: {error.name} is not installed; this command needs: pip install 'opus-testbed[controller]'", file=sys.stderr)
        code = 3
    sys.exit(code)
