"""Userspace links: every host's `eth0` is a TUN device whose other end is the run's shaper process.

For machines whose kernel has no sch_netem (containers' virtual machines, many CI machines). This is the controller's side:
it starts the shaper, opens the devices inside the hosts' namespaces and hands them over, and says what is asked for. The
shaper goes on when the controller ends; any process finds it again by the run's directory.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import PathTable
from opus_controller.net import addresses, userspace_desired
from opus_controller.net.links import LinkCounters, TimerLag
from opus_controller.net.namespaces import run_inside
from opus_controller.net.userspace_host import FIGURES
from opus_controller.net.userspace_protocol import SOCKET_NAME, connect

INTERFACE = "eth0"
QUEUE_PACKETS = 10_000
"""txqueuelen: with the default of 500, bulk TCP lost packets nobody had asked to lose."""
LOG_NAME = "shaper.log"

_START_S = 30.0
_ANSWER_S = 60.0
_END_S = 60.0
"""The kernel takes a while to remove a thousand devices."""

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_TUN_F_CSUM = 0x01
_TUN_F_TSO4 = 0x02


class UserspaceLinks:
    """One run's links (`net.links.Links`); the instance that starts the shaper.

    `run_dir`: an existing directory for the shaper's socket and log. `exit_with`: the shaper ends when that process does;
    None: it stays until `close`. `offloads`: TCP may hand over 64 kB at a time and leave checksums open; off, every
    packet crosses by itself. `seed` makes the draws repeatable. PlatformError if it cannot start, or if devices or namespaces
    are refused; may be used from several threads.
    """

    kind = "userspace"

    def __init__(
        self, run_dir: Path, *, exit_with: int | None = None, offloads: bool = True, mtu: int = 1500, seed: str | None = None
    ) -> None:
        options = [f"--mtu={mtu}"] + ["--offloads"] * offloads
        options += [] if exit_with is None else [f"--exit-with={exit_with}"]
        options += [] if seed is None else [f"--seed={seed}"]
        self._process: subprocess.Popen[bytes] | None = _start(run_dir, options)
        self._set_up(run_dir)

    @classmethod
    def open(cls, run_dir: Path) -> UserspaceLinks:
        """The links of a run that another process started. PlatformError if its shaper is gone."""
        links = cls.__new__(cls)
        links._process = None
        links._set_up(run_dir)
        return links

    def _set_up(self, run_dir: Path) -> None:
        self._client = _Client(run_dir)
        hello = self._client.ask({"op": "hello"})
        self._pid: int = hello["facts"]["pid"]
        self._digest: str = hello["base"]
        self._addresses: dict[str, str] = hello["hosts"]
        self._base_of: tuple[tuple[Any, ...], tuple[str, ...], PathTable] | None = None
        self.facts: Mapping[str, Any] = hello["facts"]
        """What the machine granted the shaper (scheduler, descriptors), and how devices are opened, for the record."""

    def attach(self, host: str, netns: Path) -> None:
        """See `Links.attach`. `apply` comes first: it tells the host's address (KeyError for a host it did not name)."""
        address = self._addresses[host]
        try:
            fds = run_inside(netns, lambda: self._open_device(address))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise _refused(host, netns, error) from error
            self.detach(host)  # the same namespace again: its device is the one we have
            try:
                fds = run_inside(netns, lambda: self._open_device(address))
            except OSError as again:
                raise _refused(host, netns, again) from again
        try:
            self._client.ask({"op": "attach", "host": host}, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def detach(self, host: str) -> None:
        self._client.ask({"op": "detach", "host": host})

    def apply(self, network: Network) -> None:
        base_of = network.hosts, network.sites, network.paths
        if self._base_of is None or any(a is not b for a, b in zip(base_of, self._base_of, strict=True)):
            base = userspace_desired.base(network)
            digest = hashlib.sha256(json.dumps(base).encode()).hexdigest()
            if digest != self._digest:
                self._client.ask({"op": "base", "digest": digest, "base": base})
            self._base_of, self._digest = base_of, digest
            self._addresses = {host.name: host.address for host in network.hosts}
        self._client.ask({"op": "over", "over": userspace_desired.over(network)})

    def counters(self) -> dict[str, LinkCounters]:
        hosts: dict[str, list[int]] = self._client.ask({"op": "counters"})["hosts"]
        return {name: LinkCounters(**dict(zip(FIGURES, figures, strict=True))) for name, figures in hosts.items()}

    def strays(self) -> dict[str, int]:
        """Packets dropped that belong to no path: "malformed" (not IPv4) and "unroutable" (no host has the address)."""
        answer = self._client.ask({"op": "counters"})
        return {"malformed": answer["malformed"], "unroutable": answer["unroutable"]}

    def lag(self) -> TimerLag:
        return TimerLag(*self._client.ask({"op": "lag"})["lag"])

    def alive(self) -> bool:
        """Whether the shaper still runs."""
        if self._process is not None:
            return self._process.poll() is None
        return _alive(self._pid)

    def close(self) -> None:
        """End the shaper, and with it every device; returns when they are gone. No error if it has ended before."""
        with suppress(PlatformError):
            self._client.ask({"op": "close"})
        self._client.close()
        _wait_for_end(self._pid, self._process)

    def _open_device(self, address: str) -> list[int]:
        """Inside the namespace: the device, configured and up, and the kernel's counters of it."""
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", INTERFACE.encode(), flags))
            fcntl.ioctl(tun, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4 if self.facts["offloads"] else 0)
            with suppress(OSError):  # spares the shaper router solicitations; where it cannot be written they are dropped
                Path(f"/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6").write_text("1")
            addresses.set_up("lo")
            addresses.set_mtu(INTERFACE, self.facts["mtu"])
            addresses.set_queue_length(INTERFACE, QUEUE_PACKETS)
            addresses.set_address(INTERFACE, address)
            addresses.set_up(INTERFACE)
            addresses.set_default_route(INTERFACE)
            return [tun, os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)]
        except BaseException:
            os.close(tun)
            raise


def kill_shaper(run_dir: Path) -> bool:
    """End a run's shaper however it is (for `opus gc`): asked first, then killed. False if none was running.

    Only a process that holds the run's socket is ever signalled: the pid comes from the socket's other end.
    """
    try:
        client = _Client(run_dir)
    except PlatformError:
        return False
    pid = client.peer_pid()
    try:
        client.ask({"op": "close"}, timeout=5.0)
    except PlatformError:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    client.close()
    _wait_for_end(pid, None)
    return True


class _Client:
    """One connection to the shaper: a request, then its answer."""

    def __init__(self, run_dir: Path) -> None:
        self._lock = threading.Lock()
        self._rest = b""
        try:
            self._sock = connect(run_dir / SOCKET_NAME)
        except OSError as error:
            raise PlatformError(
                f"the links' shaper process of {run_dir} is gone ({error.strerror}); see {LOG_NAME} there"
            ) from error

    def ask(self, request: dict[str, Any], fds: list[int] | None = None, timeout: float = _ANSWER_S) -> dict[str, Any]:
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._sock.settimeout(timeout)
                sent = socket.send_fds(self._sock, [line], fds) if fds else 0
                self._sock.sendall(line[sent:])
                answer: dict[str, Any] = json.loads(self._line())
            except (OSError, EOFError, ValueError) as error:
                self._sock.close()  # an answer that came late would be taken for the next one's
                reason = str(error) or "it has ended"
                raise PlatformError(f"the links' shaper process does not answer ({request['op']}: {reason})") from error
        if "error" in answer:
            raise PlatformError(f"the links' shaper refused {request['op']}: {answer['error']}")
        return answer

    def _line(self) -> bytes:
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            data = self._sock.recv(1 << 16)
            if not data:
                raise EOFError
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def peer_pid(self) -> int:
        credentials = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])

    def close(self) -> None:
        self._sock.close()


def _start(run_dir: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """Start the shaper and wait until it listens."""
    where = str((run_dir / SOCKET_NAME).resolve())
    command = [sys.executable, "-m", "opus_controller.net.userspace_shaper", f"--socket={where}", *options]
    log_path = run_dir / LOG_NAME
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        if _readable(output.fileno(), _START_S) and output.readline():
            return process
    process.kill()
    process.wait()
    lines = log_path.read_text(errors="replace").splitlines()
    reason = lines[-1] if lines else f"nothing heard of it in {_START_S:.0f} s"
    raise PlatformError(f"the links' shaper process did not start: {reason}; its log is {log_path}")


def _refused(host: str, netns: Path, error: OSError) -> PlatformError:
    if error.errno == errno.ENOENT and not os.path.exists("/dev/net/tun"):
        return PlatformError("there is no /dev/net/tun on this machine; load it with: modprobe tun")
    if error.errno in (errno.EPERM, errno.EACCES):
        return PlatformError(f"cannot open a TUN device for {host} ({error}); run as root")
    return PlatformError(f"cannot attach {host} in {netns}: {error}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _readable(fd: int, seconds: float) -> bool:
    """Wait for a descriptor; poll(2), since select(2) ends at descriptor 1,023."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _wait_for_end(pid: int, process: subprocess.Popen[bytes] | None) -> None:
    """Until the process is gone; killed if it does not go."""
    if process is not None:
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not _readable(handle, _END_S):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _readable(handle, _END_S)
    finally:
        os.close(handle)
