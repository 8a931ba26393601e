"""A command under a guest kernel, as the host sees it: what User-mode Linux (`helpers.uml`) and QEMU (`helpers.qemu`) share.

The guest sees the host's root file system read-only, with empty tmpfs where programs write (/tmp, /run, ...); only the
checkout's build/ directory is shared for writing. The exit code is the command's; 124 when the time was up, 125 when the
guest ended without one, 3 when it cannot run here. No process of a guest's outlives `run`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SHARED = ROOT / "build"
"""The one directory that guest and host share for writing."""

PASSED = ("CI", "COLUMNS", "LANG")
"""Variables of the environment that the guest's command sees too."""

TIME_UP, NO_RESULT, CANNOT = 124, 125, 3


@dataclass(frozen=True)
class Job:
    """What the guest's first process does; goes to it as a JSON file."""

    command: list[str]
    directory: str
    environment: dict[str, str]
    shared: str
    """Mounted for writing."""
    visible: list[str]
    """Directories that must be seen although they may lie under a tmpfs (a checkout in /tmp)."""
    result: str
    """File that gets the exit code."""


@dataclass(frozen=True)
class Machine:
    """How to start the guest's kernel."""

    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Kind:
    """One kind of guest."""

    name: str
    title: str
    lacks: Callable[[], str]
    """Why it cannot run here; empty if it can."""
    machine: Callable[[Path, Path], Machine]
    """For the job's file, and a directory that is removed afterwards."""
    limit_s: float

    def run(self, command: list[str], limit_s: float | None = None, output: IO[bytes] | None = None) -> int:
        """Run `command` in a fresh guest, its output streamed to `output` (default: this process's); the exit code."""
        sink = output or sys.stdout.buffer
        limit_s = limit_s or self.limit_s
        SHARED.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{self.name}-", dir=SHARED) as place:
            result = Path(place, "exit-code")
            job = Path(place, "job.json")
            job.write_text(json.dumps(asdict(_job(command, result, self.name))))
            timed_out = _boot(self.machine(job, Path(place)), limit_s, sink)
            if timed_out:
                sink.write(f"\n{self.name}: not finished after {limit_s:.0f} s, ended\n".encode())
            sink.flush()
            if result.exists():
                return int(result.read_text())
        return TIME_UP if timed_out else NO_RESULT

    def main(self, arguments: list[str]) -> int:
        """The command line: [--limit SECONDS] -- COMMAND..."""
        parser = argparse.ArgumentParser(prog=f"python -m helpers.{self.name}", description=f"Run a command in {self.title}.")
        parser.add_argument("--limit", type=float, default=self.limit_s, metavar="SECONDS", help="end it after this long")
        parser.add_argument("--lacks", action="store_true", help="run nothing; print why it cannot run here, or nothing")
        parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
        options = parser.parse_args(arguments)
        command = options.command[1:] if options.command[:1] == ["--"] else options.command
        if not command and not options.lacks:
            parser.error("no command given")
        why = self.lacks()
        if options.lacks:
            print(why)
            return 0
        if why:
            print(f"{self.name}: {why}", file=sys.stderr)
            return CANNOT
        return self.run(command, options.limit)


def _job(command: list[str], result: Path, name: str) -> Job:
    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    environment |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        f"OPUS_IN_{name.upper()}": "1",
        "PY_COLORS": "0",
        "TERM": "dumb",
        "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} -p no:cacheprovider",  # the checkout is read-only
    }
    return Job(
        command=command,
        directory=str(Path.cwd()),
        environment=environment,
        shared=str(SHARED),
        visible=sorted({str(ROOT), sys.prefix, sys.base_prefix, str(Path.cwd())}),
        result=str(result),
    )


def _boot(machine: Machine, limit_s: float, sink: IO[bytes]) -> bool:
    """Start the kernel and pass on what its console says until it ends; whether the time was up."""
    guest = subprocess.Popen(
        machine.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=machine.environment,
        start_new_session=True,  # so that exactly its own processes can be ended, by their group
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(guest)

    timer = threading.Timer(limit_s, end)
    timer.start()
    handlers = {number: signal.signal(number, lambda *_: _interrupted(guest)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert guest.stdout is not None
        with guest.stdout as console:
            while data := os.read(console.fileno(), 1 << 16):
                sink.write(data.replace(b"\r\n", b"\n"))
                sink.flush()
        guest.wait()
    finally:
        timer.cancel()
        _end(guest)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return late.is_set()


def _interrupted(guest: subprocess.Popen[bytes]) -> None:
    _end(guest)
    raise SystemExit(130)


def _end(guest: subprocess.Popen[bytes]) -> None:
    """Kill every process of the guest's session that is left; none but those are in its group."""
    try:
        os.killpg(guest.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    guest.wait()
