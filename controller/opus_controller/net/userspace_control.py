"""The shaper's side of its control socket: requests in, answers out, without ever holding up packets."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_host import FIGURES, Host
from opus_controller.net.userspace_loop import Loop
from opus_controller.net.userspace_network import NetworkState
from opus_controller.net.userspace_protocol import MAX_FDS

_READ_BYTES = 1 << 16
_MAX_LINE = 64 << 20
_HOSTS_A_SLICE = 8
"""Reading a host's kernel counters takes some 10 us."""


Reply = Callable[[dict[str, Any]], None]


class Refused(Exception):
    """A request that cannot be done, in one line."""


class Device:
    """An attached host's descriptors."""

    def __init__(self, tun: int, statistics: int) -> None:
        self.tun = tun
        self.statistics = statistics

    def kernel_drops(self) -> int:
        """Packets the kernel dropped because the device's queue was full (tx_dropped of eth0 in /proc/net/dev)."""
        try:
            text = os.pread(self.statistics, 4096, 0)
        except OSError:
            return 0
        for line in text.splitlines():
            name, _, figures = line.partition(b":")
            if name.strip() == b"eth0":
                return int(figures.split()[11])
        return 0

    def close(self) -> None:
        os.close(self.tun)
        os.close(self.statistics)


class Control:
    """All there is to the shaper besides its packets."""

    def __init__(self, loop: Loop, engine: Engine, listener: socket.socket, facts: dict[str, Any]) -> None:
        self._loop = loop
        self._engine = engine
        self._listener = listener
        self._facts = facts
        self._network = NetworkState(engine)
        self._digest = ""
        self._devices: dict[str, Device] = {}
        self._dropped_before: dict[str, int] = {}
        """Kernel drops of devices that a host had earlier."""
        loop.add(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # it has gone again
            return
        Connection(self._loop, sock, self)

    def answer(self, request: dict[str, Any], fds: list[int], reply: Reply) -> None:
        """Do what is asked; `reply` is called once, now or later. Refused, KeyError, TypeError, ValueError: it cannot be."""
        match request["op"]:
            case "hello":
                addresses = {name: socket.inet_ntoa(host.address) for name, host in self._network.hosts.items()}
                reply({"facts": self._facts, "base": self._digest, "hosts": addresses})
            case "base":
                for gone in self._network.set_base(request["base"]):
                    self._unplug(gone)
                self._digest = request["digest"]
                reply({})
            case "over":
                self._network.set_over(request["over"])
                reply({})
            case "attach":
                self._attach(request["host"], fds)
                reply({})
            case "detach":
                host = self._network.hosts.get(request["host"])
                if host is not None:
                    self._unplug(host)
                reply({})
            case "counters":
                self._loop.spread(self._count(reply))
            case "lag":
                reply({"lag": self._engine.take_lag()})
            case "close":
                self._loop.running = False
                reply({})
            case other:
                raise Refused(f"no such op: {other}")

    def _attach(self, name: str, fds: list[int]) -> None:
        host = self._network.hosts.get(name)
        if host is None:
            raise Refused(f"no host {name} in the network that was applied")
        if len(fds) != 2:
            raise Refused(f"attach {name}: two descriptors belong to it, not {len(fds)}")
        self._unplug(host)
        device = self._devices[name] = Device(*fds)
        fds.clear()
        os.set_blocking(device.tun, False)
        host.plug(device.tun)

        def readable() -> None:
            try:
                host.readable()
            except OSError:  # the device was deleted inside its namespace
                self._unplug(host)

        self._loop.add(device.tun, readable)

    def _unplug(self, host: Host) -> None:
        device = self._devices.pop(host.name, None)
        if device is None:
            return
        host.plug(-1)
        self._loop.remove(device.tun)
        self._dropped_before[host.name] = self._dropped_before.get(host.name, 0) + device.kernel_drops()
        device.close()

    def _count(self, reply: Reply) -> Iterator[None]:
        """All counters, a few hosts a step."""
        hosts = list(self._network.hosts.values())
        figures: dict[str, list[int]] = {}
        for first in range(0, len(hosts), _HOSTS_A_SLICE):
            for host in hosts[first : first + _HOSTS_A_SLICE]:
                numbers: dict[str, int] = {name: getattr(host, name) for name in FIGURES}
                device = self._devices.get(host.name)
                numbers["overflow"] += self._dropped_before.get(host.name, 0) + (device.kernel_drops() if device else 0)
                figures[host.name] = list(numbers.values())
            yield
        reply({"hosts": figures, "malformed": self._engine.malformed, "unroutable": self._engine.unroutable})


class Connection:
    """One client. Lines in, lines out; descriptors wait for the line they came with."""

    def __init__(self, loop: Loop, sock: socket.socket, control: Control) -> None:
        self._loop = loop
        self._sock = sock
        self._control = control
        self._in = bytearray()
        self._out = bytearray()
        self._fds: list[int] = []
        sock.setblocking(False)
        loop.add(sock.fileno(), self._ready)

    def _ready(self) -> None:
        try:
            self._flush()
            data, fds, _, _ = socket.recv_fds(self._sock, _READ_BYTES, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        self._fds += fds
        self._in += data
        if not data or len(self._in) > _MAX_LINE:
            self._close()
            return
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            self._serve(line)

    def _serve(self, line: bytes) -> None:
        fds, self._fds = self._fds, []
        try:
            self._control.answer(json.loads(line), fds, self._reply)
        except Refused as error:
            self._reply({"error": str(error)})
        except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
            self._reply({"error": f"bad request ({type(error).__name__}: {error})"})
        finally:
            for fd in fds:
                os.close(fd)

    def _reply(self, answer: dict[str, Any]) -> None:
        self._out += json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        try:
            self._flush()
        except OSError:
            return  # the client is gone: the next event of its socket says so

    def _flush(self) -> None:
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except BlockingIOError:
                self._loop.change(self._sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
            del self._out[:sent]
            if not self._out:
                self._loop.change(self._sock.fileno(), select.EPOLLIN)

    def _close(self) -> None:
        self._loop.remove(self._sock.fileno())
        self._sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
