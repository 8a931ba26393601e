"""A container engine of the tests' own: its own socket, data and containerd, started and ended by pid; never the user's.

Its data lie in the tree's build directory and stay, so that the node's image need not be made anew each time.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import docker.errors
from opus_controller.runtimes.docker.image import wanted_tag

ROOT = Path(__file__).resolve().parents[2]
STARTS_S = 60.0
_PR_SET_PDEATHSIG = 1
ENDS_S = 60.0


class OwnEngine:
    """`dockerd` with everything in two directories."""

    def __init__(self, data: Path, place: Path) -> None:
        self.url = f"unix://{place / 'docker.sock'}"
        self.data = data
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        command = [
            *("dockerd", f"--data-root={self.data}", f"--exec-root={self._place / 'exec'}", f"--host={self.url}"),
            *(f"--pidfile={self._place / 'pid'}", "--bridge=none", "--iptables=false", "--ip-masq=false"),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=_not_outlived
            )  # fmt: skip
        deadline = time.monotonic() + STARTS_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(docker.errors.DockerException):
                self.client().ping()
                return
            time.sleep(0.1)
        raise AssertionError(f"dockerd does not answer: {self.log.read_text()[-2000:]}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(ENDS_S)
            self._process = None

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        return self._place / "dockerd.log"

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.url, timeout=30)


def _not_outlived() -> None:
    """Where the tests are killed nobody else would end the engine."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """An engine that runs and has the node's image."""
    home = ROOT / "build" / "dockerd"
    home.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="opus-dockerd-", dir="/tmp"))  # short: sockets' paths are
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = OwnEngine(home / "data", place)
        engine.start()
        try:
            if not has_image(engine):
                make_image(engine)
            yield engine
        finally:
            engine.stop()
            shutil.rmtree(place, ignore_errors=True)


def has_image(engine: OwnEngine) -> bool:
    """Whether it has the image of these very sources."""
    client = engine.client()
    try:
        return bool(client.images.list(name=wanted_tag()))
    finally:
        client.close()


def make_image(engine: OwnEngine) -> str:
    """`make image`; what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "image.py")],
        capture_output=True, text=True, check=False, env=environment(engine), stdin=subprocess.DEVNULL, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(engine: OwnEngine) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": engine.url}


NGINX_IMAGE = "opus-test-nginx"
"""Stock nginx of Debian's packages, started with the service's files and data."""


def nginx_image(engine: OwnEngine) -> str:
    """Made once for the engine's data."""
    client = engine.client()
    try:
        if not client.images.list(name=NGINX_IMAGE):
            with tempfile.TemporaryDirectory(prefix="opus-nginx-") as directory:
                archive = Path(directory) / "nginx.tar"
                subprocess.run(
                    ["mmdebstrap", "--quiet", "--variant=essential", "--include=nginx-light", "bookworm", str(archive)],
                    check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=300,
                )  # fmt: skip
                command = 'CMD ["sh", "-c", "exec nginx -p $OPUS_DATA -c $OPUS_FILES/nginx.conf -e stderr"]'
                client.api.import_image_from_file(str(archive), repository=NGINX_IMAGE, tag="latest", changes=[command])
        return NGINX_IMAGE
    finally:
        client.close()


WEB_IMAGE = "opus-test-web"
WEB = "echo serving; exec python3 -m http.server $OPUS_PORT --bind 127.0.0.1 --directory /etc"


def web_image(engine: OwnEngine) -> str:
    """A server that needs no files, made of what the node's image has."""
    return _made(engine, WEB_IMAGE, ["sh", "-c", WEB])


def burning_image(engine: OwnEngine) -> str:
    """`program.py` by http at port 9000, in such an image."""
    return _made(
        engine, "opus-test-burning", ["python3", "-c", (Path(__file__).parent / "program.py").read_text(), "9000", "http"]
    )


def _made(engine: OwnEngine, name: str, command: list[str]) -> str:
    client = engine.client()
    recipe = f"FROM {wanted_tag()}\nENTRYPOINT []\nCMD {json.dumps(command)}\n"
    try:
        client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=name, rm=True, network_mode="none")
        return name
    finally:
        client.close()
