"""`opus` in a fork of this process: its whole command line, its exit codes, without importing everything anew.

For an emulated machine, where that takes a quarter of a minute each time. Nothing here may have used gRPC before.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SHARED = (
    "opus_controller.runtimes.docker.runtime",
    "opus_controller.model.scenario",
    "opus_controller.net.netem",
    "pydantic.dataclasses",
)
"""Imported once for all commands, with every command's own module."""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Running:
    """One command; ends it when it is left, if it has not ended."""

    def __init__(self, *arguments: str | Path) -> None:
        _prepare()
        self._place = tempfile.TemporaryDirectory(prefix="opus-forked-")
        self._files = [Path(self._place.name, name) for name in ("stdout", "stderr")]
        self._process = multiprocessing.get_context("fork").Process(
            target=_command, args=(list(map(str, arguments)), self._files)
        )
        self._process.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._place.cleanup()

    def stdout(self) -> str:
        """What it has printed so far."""
        return self._files[0].read_text() if self._files[0].exists() else ""

    def until(self, fact: Callable[[str], bool], what: str, deadline_s: float) -> str:
        """Its output as soon as `fact` holds of it."""
        end = time.monotonic() + deadline_s
        while not fact(text := self.stdout()):
            assert self._process.is_alive(), f"it has ended before: {what}\n{text}{self._files[1].read_text()}"
            assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}\n{text}"
            time.sleep(0.05)
        return text

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGINT)

    def wait(self, timeout_s: float) -> Done:
        self._process.join(timeout_s)
        code = self._process.exitcode
        assert code is not None, f"not within {timeout_s:.0f} s\n{self.stdout()}{self._files[1].read_text()}"
        return Done(code, *(file.read_text() for file in self._files))


@cache
def _prepare() -> None:
    """Once: import, and keep what is there out of the forks' garbage collections, which would copy all of it."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # before it is imported
    for name in SHARED:
        importlib.import_module(name)
    importlib.import_module("opus_controller.cli._app").build()
    gc.collect()
    gc.freeze()


def opus(*arguments: str | Path, timeout_s: float = 240) -> Done:
    """Run one command to its end."""
    began = time.monotonic()
    with Running(*arguments) as running:
        done = running.wait(timeout_s)
    print(f"opus {arguments[0]}: {time.monotonic() - began:.0f} s")
    return done


def _command(arguments: list[str], files: list[Path]) -> None:
    """In the fork."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    from opus_controller.cli import main

    sys.argv = ["opus", *arguments]
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    _prepare()
