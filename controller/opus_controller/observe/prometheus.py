"""A Prometheus of our own: started as a child for a run, its data kept.

    <runs>/prometheus/
        prometheus.yml      made anew for each start
        data/               all runs that were observed, until somebody deletes it
        prometheus.log
        lock                held while a Prometheus runs (Debian's does not lock its data by itself)
    <runs>/prometheus-2/    of a run that was observed while another one was

It ends with whoever started it, even if that is killed; what was scraped stays.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opus_controller.model.errors import PlatformError
from opus_controller.observe.server import PORT as OBSERVED_PORT

PORT = 9090
READY_S = 60.0
END_S = 30.0
RETENTION = "100y"
"""Prometheus' own default deletes what is older than two weeks."""
MEND = "apt-get install prometheus"

CONFIG = """\
# Made by opus; a new one is written at each start.
global:
  scrape_interval: 5s
  scrape_timeout: 5s
scrape_configs:
  - job_name: opus
    http_sd_configs:
      - url: {discovery}
        refresh_interval: 1s
"""


@dataclass
class Prometheus:
    """A running one."""

    address: str
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def stop(self) -> None:
        """SIGTERM, so that it writes everything out; SIGKILL if that takes too long."""
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def again(self) -> str:
        """The command that shows the data later."""
        return view_command(self.directory / "data")


def available() -> bool:
    return shutil.which("prometheus") is not None


def start(runs: Path, discovery: str) -> Prometheus:
    """One that finds its targets at the URL `discovery` and keeps data under `runs`. PlatformError if it does not start."""
    try:
        directory, lock = _free_directory(runs)
        (directory / "prometheus.yml").write_text(CONFIG.format(discovery=discovery))
    except OSError as error:
        raise PlatformError(f"cannot keep Prometheus' data in {error.filename}: {error.strerror}") from error
    address = f"127.0.0.1:{free_port(PORT)}"
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    if shutil.which("setpriv"):  # it must not outlive us if we are killed
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    log = directory / "prometheus.log"
    with log.open("ab") as file, lock:  # it holds the lock from here on
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, pass_fds=[lock.fileno()]
        )
    started = Prometheus(address, directory, process)
    try:
        _wait_ready(started, log)
    except BaseException:
        started.stop()
        raise
    return started


def reads(address: str, discovery: str) -> bool:
    """Whether a Prometheus at `address` is there that finds targets at `discovery` (the compose file's)."""
    with suppress(OSError, http.client.HTTPException, ValueError, KeyError):
        return discovery in str(json.loads(get(address, "/api/v1/status/config", timeout_s=1))["data"]["yaml"])
    return False


def get(address: str, path: str, *, timeout_s: float = 10.0) -> bytes:
    """GET of one page, whatever proxies the environment names. OSError or HTTPException if it does not answer 200."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"{address}{path}: {answer.status} {body[:300].decode(errors='replace').strip()}")
    return body


def view_command(data: Path) -> str:
    """How to look at data that was kept."""
    return (
        f"prometheus --config.file=/dev/null --storage.tsdb.path={data} --storage.tsdb.retention.time={RETENTION}"
        " --web.listen-address=127.0.0.1:9090"
    )


def compose_hint(address: str) -> list[str]:
    """What to tell somebody without a Prometheus."""
    lines = [f"no prometheus on PATH: {MEND}, or: docker compose -f compose/compose.yaml up -d (Grafana: http://127.0.0.1:3000)"]
    if not address.endswith(f":{OBSERVED_PORT}"):
        lines.append(f"the compose file looks for runs at port {OBSERVED_PORT}, which is taken: this one is not seen by it")
    return lines


def _free_directory(runs: Path) -> tuple[Path, IO[bytes]]:
    """Where no living Prometheus keeps its data, made if need be, and the lock on it."""
    for number in range(1, 100):
        directory = (runs / ("prometheus" if number == 1 else f"prometheus-{number}")).resolve()
        (directory / "data").mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if not _looked_at(directory / "data"):
            return directory, lock
        lock.close()
    raise PlatformError(f"{runs}: a hundred Prometheus servers keep their data there; end some")


def _looked_at(data: Path) -> bool:
    """Whether somebody has started a Prometheus there by hand (`view_command`)."""
    wanted = f"--storage.tsdb.path={data}".encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if wanted in process.read_bytes().split(b"\0"):
                return True
    return False


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else any."""
    for port in (wanted, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PlatformError("no free port on 127.0.0.1 for Prometheus")


def _wait_ready(started: Prometheus, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if started.process.poll() is not None:
            break
        with suppress(OSError, http.client.HTTPException):
            get(started.address, "/-/ready", timeout_s=2)
            return
        time.sleep(0.05)
    lines = log.read_text(errors="replace").strip().splitlines()
    raise PlatformError(f"prometheus does not start: {lines[-1] if lines else 'it says nothing'} ({log})")
