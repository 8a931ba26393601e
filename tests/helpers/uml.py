"""Runs a command under a kernel that has netem: User-mode Linux over this machine's own files, without its network.

    python -m helpers.uml [--limit SECONDS] -- COMMAND...          (or tests/netem/in-uml COMMAND...)

The guest sees the host's root file system read-only, with empty tmpfs where programs write (/tmp, /run, ...); only the
checkout's build/ directory is shared for writing. Nothing needs a terminal, a network or kvm; it boots in two seconds.
The exit code is the command's; 124 when the time was up, 125 when the guest ended without one, 3 when it cannot run here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
INIT = Path(__file__).with_name("uml_init.py")
SHARED = ROOT / "build"
"""The one directory that guest and host share for writing."""

MODULES_DIRECTORY = Path("/usr/lib/uml/modules")
MODULES = (
    "veth", "ifb", "tun", "sch_netem", "sch_htb", "sch_tbf", "sch_ingress", "cls_fw", "cls_u32", "cls_matchall",
    "act_gact", "act_mirred", "act_skbedit", "nft_compat", "ipv6",
)  # fmt: skip
"""Loaded when the kernel has them; what needs one that is missing says so itself."""

PASSED = ("CI", "COLUMNS", "LANG")
"""Variables of the environment that the guest's command sees too."""

LIMIT_S = 900.0
MEMORY = 2 << 30
TIME_UP, NO_RESULT, CANNOT = 124, 125, 3
MEND = "apt-get install --no-install-recommends user-mode-linux"


def lacks() -> str:
    """Why it cannot run here; empty if it can."""
    if shutil.which("linux.uml") is None or not MODULES_DIRECTORY.is_dir():
        return f"User-mode Linux is missing: {MEND}"
    if os.geteuid() != 0:
        return "User-mode Linux reads the host's files as this user, and tests in it want to be root: run as root"
    return ""


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
    modules: list[str] = field(default_factory=lambda: list(MODULES))
    modules_directory: str = str(MODULES_DIRECTORY)


def run(command: list[str], limit_s: float = LIMIT_S, output: IO[bytes] | None = None) -> int:
    """Run `command` in a fresh guest, its output streamed to `output` (default: this process's); the exit code."""
    sink = output or sys.stdout.buffer
    SHARED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="uml-", dir=SHARED) as place:
        result = Path(place, "exit-code")
        job = Path(place, "job.json")
        job.write_text(json.dumps(asdict(_job(command, result))))
        timed_out = _boot(job, Path(place), limit_s, sink)
        if timed_out:
            sink.write(f"\numl: not finished after {limit_s:.0f} s, ended\n".encode())
        sink.flush()
        if result.exists():
            return int(result.read_text())
    return TIME_UP if timed_out else NO_RESULT


def _job(command: list[str], result: Path) -> Job:
    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    environment |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OPUS_IN_UML": "1",
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


def _boot(job: Path, place: Path, limit_s: float, sink: IO[bytes]) -> bool:
    """Start the kernel and pass on what its console says until it ends; whether the time was up."""
    kernel = [
        "linux.uml", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"mem={MEMORY >> 20}M", "quiet", "loglevel=3",
        "con0=null,fd:1", "con=null", f"uml_dir={place}", "umid=guest",
        f"init={sys.executable}", "--", "-I", str(INIT), str(job),
    ]  # fmt: skip
    guest = subprocess.Popen(
        kernel,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": _memory_directory(place)},
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


def _memory_directory(place: Path) -> str:
    """Where the guest's memory lies: a tmpfs with room, or else the disk (containers give /dev/shm 64 MB)."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        free = 0
    return "/dev/shm" if free > MEMORY else str(place)


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


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m helpers.uml", description="Run a command in User-mode Linux.")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="end it after this long")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command given")
    if why := lacks():
        print(f"uml: {why}", file=sys.stderr)
        return CANNOT
    return run(command, options.limit)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
