"""Speaks to a zygote and to nodes' control sockets, plainly and blocking, as a test wants it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from opus_proto.v1 import control_pb2 as pb
from opus_proto.v1 import control_pb2_grpc


def wait_for(fact: Callable[[], Any], what: str, deadline: float = 30.0) -> Any:
    """Poll until `fact` is true; its value. AssertionError, naming `what`, at the deadline."""
    end = time.monotonic() + deadline
    while not (value := fact()):
        assert time.monotonic() < end, f"waited {deadline} s for {what}"
        time.sleep(0.01)
    return value


class ZygoteClient:
    """One connection to a zygote."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self.told: list[dict[str, Any]] = []
        """Exits it was told of unasked."""

    def ask_raw(self, line: bytes) -> dict[str, Any]:
        self._socket.sendall(line + b"\n")
        while True:
            answer: dict[str, Any] = json.loads(self._lines.readline())
            if answer.get("op") != "exited":
                return answer
            self.told.append(answer)

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.ask_raw(json.dumps(request).encode())

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def zygote(directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A zygote that listens on `directory`/zygote.sock and logs to zygote.log there."""
    path = directory / "zygote.sock"
    with (directory / "zygote.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opus_node.zygote", "--socket", str(path), *options], stdout=log, stderr=log
        )
    try:
        wait_for(lambda: path.exists() or process.poll() is not None, "the zygote's socket")
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def control(directory: Path) -> control_pb2_grpc.ControlStub:
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 50))
    return control_pb2_grpc.ControlStub(grpc.insecure_channel(f"unix:{directory / 'c.sock'}", options=options))


def boot(directory: Path, node_id: str, seeds: list[str], *apps: str, origin_ns: int = 0, **settings: Any) -> pb.BootReply:
    """Boot the node with its socket in `directory`, once it listens."""
    request = pb.BootRequest(
        node_id=node_id,
        seed="test",
        origin_ns=origin_ns or time.monotonic_ns(),
        seeds=seeds,
        apps=[pb.App(name=name, replicas=2) for name in apps],
        settings=pb.Settings(**settings),
    )
    reply = control(directory).Boot(request, timeout=30, wait_for_ready=True)
    assert isinstance(reply, pb.BootReply)
    return reply
