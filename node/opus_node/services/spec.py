"""A user's service as a node is told of it at boot, and what it counts of it. Times in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from opus_node.core.types import AppId, Nanos, NodeId
from opus_node.folds import Histogram

KEY = "{key}"
"""In a request: the key that a client of the workload asks for."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    app: AppId
    command: tuple[str, ...]
    """With placeholders {port}, {address}, {files}, {data}. Empty: an image."""
    port: int
    protocol: Literal["http", "tcp"]
    health_path: str
    health_every: float
    health_timeout: float
    health_failures: int
    start: float
    """A started program that is not healthy by then is started anew."""
    request: str
    """Of the workload's clients; `KEY` stands for the key."""
    gateway: int
    deadline: Nanos
    """Of requests that come in at the gateway, from then."""
    digest: str = ""
    """sha256 of its files, a tar; empty: it has none."""
    size: int = 0
    """Bytes of that tar."""
    origins: tuple[NodeId, ...] = ()
    """Hosts that had the files from the beginning."""
    image: str = ""
    """In place of a command: its containers are started beside the node."""

    @property
    def asker(self) -> Callable[[int], bytes]:
        """What a client of the workload sends for a key."""
        if self.protocol == "tcp":
            return lambda key: self.request.replace(KEY, str(key)).encode()
        return lambda key: (
            f"GET {self.request.replace(KEY, str(key))} HTTP/1.1\r\nHost: {self.app}\r\nUser-Agent: opus\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode()


@dataclass(slots=True)
class ServiceStats:
    """Cumulated since the node's start, but for `ready`."""

    ready: bool = False
    changes: Counter[str] = field(default_factory=lambda: Counter({"started": 0, "ended": 0, "stopped": 0, "failed": 0}))
    requests: Counter[str] = field(default_factory=lambda: Counter({"ok": 0, "failed": 0}))
    """Laid before the program, by outcome."""
    latency: Histogram = field(default_factory=Histogram)
    """Of its answers."""
    received_bytes: int = 0
    sent_bytes: int = 0
    """Of its files."""
    fetch_s: float = 0.0
    fetched: int = 0
    core_time: Nanos | None = None
    """Consumed by the program, all its starts together; None: not measured."""
    gateway: Counter[str] = field(default_factory=lambda: Counter({"ok": 0, "failed": 0}))
    """What came in at the gateway, requests (http) or connections (tcp), by outcome."""
