"""What commands share that let people look on: the options, the endpoint, and a Prometheus where there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan
    from opus_controller.observe.observer import RunObserver
    from opus_controller.observe.server import Server

RUNS = Path("runs")

ObserveOption = Annotated[
    bool,
    typer.Option("--observe", help="Serve metrics, and start a Prometheus if one is on PATH; for Grafana see compose/."),
]
ObserveAddressOption = Annotated[
    str | None,
    typer.Option("--observe-address", help="Where to serve metrics, ADDRESS:PORT (127.0.0.1:9477); implies --observe."),
]


@dataclass(frozen=True)
class Address:
    """Where to listen; no port: the default one, or any other if that is taken."""

    address: str = "127.0.0.1"
    port: int | None = None


def asked_for(observe: bool, address: str | None) -> Address | None:
    """What the two options mean together; ScenarioError for an address that is none."""
    if address is None:
        return Address() if observe else None
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ScenarioError(f"--observe-address {address}: ADDRESS:PORT is wanted, like 127.0.0.1:9477 (port 0: any free one)")
    return Address(host or "127.0.0.1", int(port))


@contextmanager
def observing(plan: Plan, run: str, archive: Path | None, at: Address | None, data: Path) -> Iterator[RunObserver]:
    """An observer of the run called `run` that keeps what it reads in `archive`; with `at`, one that serves it.

    A Prometheus keeps its data in a directory of `data`. PlatformError if it, or the endpoint, cannot be started.
    """
    from opus_controller.observe.observer import RunObserver, serve_at
    from opus_controller.observe.server import PORT

    if at is None:
        yield RunObserver(plan, run, archive=archive)
        return
    server = serve_at(at.address, at.port, PORT)
    try:
        with _prometheus(server, data):
            yield RunObserver(plan, run, archive=archive, server=server)
    finally:
        server.close()


@contextmanager
def _prometheus(server: Server, data: Path) -> Iterator[None]:
    from opus_controller.observe import prometheus

    discovery = f"{server.url}/sd"
    _say(f"observe: metrics at {server.url}")
    compose = f"127.0.0.1:{prometheus.PORT}"
    if prometheus.reads(compose, f":{server.address.rpartition(':')[2]}/sd"):
        _say(f"observe: the Prometheus at http://{compose} reads them; Grafana: http://127.0.0.1:3000")
        yield
        return
    if not prometheus.available():
        for line in prometheus.compose_hint(server.address):
            _say(f"observe: {line}")
        yield
        return
    started = prometheus.start(data, discovery)
    _say(f"observe: Prometheus at {started.url}, data in {started.directory / 'data'}")
    try:
        yield
    finally:
        started.stop()
        _say(f"observe: to look at the data again: {started.again()}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
