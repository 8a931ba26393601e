"""The typer application and the one place where errors become a line and an exit code (DESIGN section 8)."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Sequence

import typer

import opus_controller.cli
from opus_controller.model.errors import OpusError

BAD_INPUT = 2
INTERNAL = 70
INTERRUPTED = 130

_ORDER = (
    *(
        "run",
        "sweep",
        "compare",
        "report",
        "explain",
        "up",
        "status",
        "hosts",
        "exec",
        "logs",
        "link",
        "fault",
        "observe",
        "down",
        "gc",
        "doctor",
    ),
    *("topology", "churn", "plan", "utility", "availability", "schema", "bench"),
)
"""As `opus --help` lists them: by what people do first."""


def build() -> typer.Typer:
    """The application with every command of this package: each module whose name has no underscore in front."""
    app = typer.Typer(
        name="opus",
        help="Emulate a wide-area network, run a self-organizing overlay on it, break it, and measure what clients feel.",
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root() -> None:
        """Keeps `opus` a group of commands however many there are."""

    names = [module.name for module in pkgutil.iter_modules(opus_controller.cli.__path__) if not module.name.startswith("_")]
    for name in sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        importlib.import_module(f"opus_controller.cli.{name}").register(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Every error ends in one line on standard error, never in a traceback.

    ModuleNotFoundError passes through: `opus_controller.cli.main` knows which of them mean a missing extra.
    """
    command = typer.main.get_command(build())
    try:
        code = command.main(args=list(arguments) or ["--help"], prog_name="opus", standalone_mode=False)
    except OpusError as error:
        return _say(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPTED)
    except ModuleNotFoundError:
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: nothing left to flush into an error
        return 0
    except Exception as error:  # noqa: BLE001  (the top: everything becomes a line and an exit code)
        return _usage(error) if hasattr(error, "format_message") else _internal(error)
    return int(code or 0)


def _say(message: str, code: int) -> int:
    print(f"opus: {message}", file=sys.stderr)
    return code


def _usage(error: Exception) -> int:
    """A wrong command line. typer carries click's exceptions in a place that has moved between versions: known by shape."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "opus"
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    return _say(f"{message}; see: {where} --help" if message else f"see: {where} --help", BAD_INPUT)


def _internal(error: Exception) -> int:
    """An error of Opus itself: the traceback goes to a file, for whoever reports it."""
    with tempfile.NamedTemporaryFile("w", prefix="opus-error-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    reason = " ".join(str(error).split())
    return _say(f"internal error ({type(error).__name__}: {reason}); please report {file.name}", INTERNAL)
