"""The container engine of a guest: a machine of its own, so the engine is at the usual place.

Emulated, everything takes ten times as long: containerd gets its own start, since dockerd waits 15 s for one that it starts.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

STARTS_S = 240.0
CONTAINERD = Path("/run/containerd/containerd.sock")
ENGINE = Path("/run/docker.sock")


def docker(*arguments: str, given: bytes | None = None) -> str:
    """`docker` with these arguments; what it printed."""
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, check=False, timeout=STARTS_S)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@contextmanager
def guest_engine(logs: Path) -> Iterator[None]:
    """It answers; it is gone afterwards."""
    flags = ["--bridge=none", "--iptables=false", "--ip-masq=false", "--userland-proxy=false"]
    began = time.monotonic()
    with ExitStack() as stack:
        _started(stack, ["containerd"], logs / "containerd.log", CONTAINERD.is_socket)
        _started(stack, ["dockerd", f"--containerd={CONTAINERD}", *flags], logs / "dockerd.log", _answers)
        print(f"engine up after {time.monotonic() - began:.0f} s: {docker('info', '--format', '{{.ServerVersion}} {{.Driver}}')}")
        yield


def _answers() -> bool:
    return ENGINE.is_socket() and subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _started(stack: ExitStack, command: list[str], log: Path, ready: Callable[[], bool]) -> None:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    stack.callback(process.wait, 60)
    stack.callback(process.terminate)
    deadline = time.monotonic() + STARTS_S
    while not ready():
        assert process.poll() is None, f"{command[0]} ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"{command[0]} does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.1)
