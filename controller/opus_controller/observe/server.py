"""The controller's HTTP endpoint, for Prometheus.

    /                       what there is
    /sd                     HTTP service discovery: every host and the controller, with their labels and scrape intervals
    /metrics                the controller's own metrics
    /hosts/NAME/metrics     a host's, read over its control line; 503 or 504 if it does not answer

Loopback only unless asked otherwise: there is no password. It runs in threads of its own, at most `MOST_AT_ONCE` of them, and
asks the run's event loop for readings: however it is treated, the run goes on.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opus_controller.model.errors import PlatformError
from opus_controller.observe.scraper import CONTROLLER

ADDRESS = "127.0.0.1"
PORT = 9477
MOST_AT_ONCE = 64
ANSWER_S = 5.0
"""For the run's event loop to come up with a reading."""
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_HOST_HEADER = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_HOST_PATH = re.compile(r"/hosts/([A-Za-z0-9.\-_]+)/metrics")


@dataclass(frozen=True)
class Served:
    """A run, as long as it is there to be served."""

    loop: asyncio.AbstractEventLoop
    read: Callable[[str], Coroutine[Any, Any, str]]
    """A target's metrics; PlatformError if there are none."""
    labels: Mapping[str, Mapping[str, str]]
    """Of every target."""
    every_s: float

    def discovery(self, address: str) -> list[dict[str, Any]]:
        """Prometheus' HTTP service discovery, for whoever reaches us at `address`."""
        pace = {"__scrape_interval__": f"{self.every_s:g}s", "__scrape_timeout__": f"{min(self.every_s, ANSWER_S):g}s"}
        return [
            {
                "targets": [address],
                "labels": {
                    **labels,
                    **pace,
                    "__metrics_path__": "/metrics" if name == CONTROLLER else f"/hosts/{name}/metrics",
                },
            }
            for name, labels in self.labels.items()
        ]


class Server:
    """Listens from its making on; answers 503 while there is nothing to serve."""

    def __init__(self, address: str = ADDRESS, port: int = PORT) -> None:
        """Port 0: any free one. PlatformError if it cannot listen."""
        self.served: Served | None = None
        self._address = address
        try:
            self._http = _Http((address, port), self)
        except OSError as error:
            raise PlatformError(
                f"cannot listen on {address}:{port} ({error.strerror}); name another: --observe-address {address}:0"
            ) from error
        self._thread = threading.Thread(target=self._http.serve_forever, name="observe", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where to reach it from this machine."""
        reached = "127.0.0.1" if self._address in ("0.0.0.0", "") else self._address
        return f"{reached}:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def close(self) -> None:
        self.served = None
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, path: str, host_header: str) -> tuple[HTTPStatus, str, str]:
        """(status, content type, body) of a GET; called in a thread of the server."""
        served = self.served
        if path == "/":
            return HTTPStatus.OK, "text/plain; charset=utf-8", self._index(served)
        if path == "/sd":
            known = bool(_HOST_HEADER.fullmatch(host_header))
            targets = served.discovery(host_header if known else self.address) if served is not None else []
            return HTTPStatus.OK, "application/json", json.dumps(targets)
        found = _HOST_PATH.fullmatch(path)
        target = CONTROLLER if path == "/metrics" else found[1] if found else ""
        if not target or (target == CONTROLLER and found):
            return HTTPStatus.NOT_FOUND, "text/plain", f"no such page: {path}\n"
        if served is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", "the run is not up\n"
        if target not in served.labels:
            return HTTPStatus.NOT_FOUND, "text/plain", f"no such host: {target}\n"
        return _read(served, target)

    def _index(self, served: Served | None) -> str:
        if served is None:
            return "opus: the run is not up\n"
        pages = "".join(f"/hosts/{name}/metrics\n" for name in served.labels if name != CONTROLLER)
        return f"opus: run {served.labels[CONTROLLER]['run']}\n/sd\n/metrics\n{pages}"


def _read(served: Served, target: str) -> tuple[HTTPStatus, str, str]:
    reading = served.read(target)
    try:
        future = asyncio.run_coroutine_threadsafe(reading, served.loop)
    except RuntimeError:  # the loop has been closed
        reading.close()
        return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", "the run is over\n"
    try:
        return HTTPStatus.OK, _TEXT, future.result(ANSWER_S)
    except FutureTimeout:
        future.cancel()
        return HTTPStatus.GATEWAY_TIMEOUT, "text/plain", f"{target}: the controller is too busy\n"
    except CancelledError:
        return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", "the run is over\n"
    except PlatformError as error:
        status = HTTPStatus.GATEWAY_TIMEOUT if "no answer" in str(error) else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "text/plain", f"{error}\n"


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    """Prometheus comes for many hosts at once."""

    def __init__(self, address: tuple[str, int], owner: Server) -> None:
        self.owner = owner
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """No more threads than places: who comes when all are taken is turned away, and comes again."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle of an answer is no news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: _Http
    server_version = "opus"

    def do_GET(self) -> None:
        status, kind, body = self.server.owner.answer(self.path.partition("?")[0], self.headers.get("Host", ""))
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Prometheus asks every other second: not worth a line."""
