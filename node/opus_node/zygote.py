"""Forks nodes: imports everything once, then makes a node process for each host in a few milliseconds, sharing memory.

    python -m opus_node.zygote --socket PATH [--exit-with PID]

A process of its own, with one thread, which never uses gRPC itself (a fork beside live gRPC threads hangs). It outlives its
clients unless told to end with a process (`--exit-with`: that process' death is noticed whatever caused it); its nodes never
outlive it.

Protocol: JSON lines over a Unix stream socket; any number of clients, each request answered in order by one line,
{"ok": true, ...} or {"ok": false, "error": "one line"}:

    {"op": "spawn", "host": NAME, "control_dir": DIR, ...}   -> {"ok": true, "pid": PID}
        optional: "netns": path of a network namespace to enter     "uid", "gid": whom to become, without any capability
                  "listen": "ADDRESS:PORT"                          "log": file for stdout and stderr (appended)
                  "cgroups": directories to join                    "nofile": limit of open files
        Answered when the child has done all of that and goes on as `opus_node.main` would; an error says what failed.
    {"op": "kill", "host": NAME, "signal": 9}                -> {"ok": true}; no risk of hitting a reused pid
    {"op": "list"}                                           -> {"ok": true, "hosts": {NAME: PID, ...}}
    {"op": "exited"}                                         -> {"ok": true, "exited": [{"host", "pid", "status"}, ...]}
        Those that ended since the last such request by anyone; status as os.waitstatus_to_exitcode gives it.
    {"op": "quit"}                                           -> {"ok": true} when all nodes are dead; then the zygote ends

Besides, every client is told at once of each node that ends, between answers: {"op": "exited", "host", "pid", "status"}.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from opus_node import main as node_main  # first: it tells gRPC to leave forks alone, before gRPC is imported
from opus_node import sandbox
from opus_node.errors import LocalError
from opus_node.transport import PORT
from opus_node.warmup import warm_up

MAX_LINE: Final = 1 << 16
"""Bytes of a request."""
MAX_UNSENT: Final = 1 << 20
"""Bytes that a client may leave unread before it is cut off."""
EXITED_KEPT: Final = 10_000
"""Ended nodes that nobody has asked about; beyond it the oldest are forgotten."""

log = logging.getLogger("opus_node.zygote")


@dataclass(frozen=True, slots=True)
class Spawn:
    """One node to make."""

    host: str
    control_dir: Path
    netns: str | None = None
    uid: int | None = None
    gid: int | None = None
    listen: str = f"0.0.0.0:{PORT}"
    log: str | None = None
    cgroups: tuple[str, ...] = ()
    nofile: int | None = None

    @staticmethod
    def parse(request: dict[str, Any]) -> Spawn:
        """LocalError that names what is missing or unknown."""
        told = {key: value for key, value in request.items() if key != "op" and value is not None}
        unknown = sorted(told.keys() - Spawn.__dataclass_fields__.keys())
        if unknown:
            raise LocalError(f"spawn: unknown {', '.join(unknown)}; known are {', '.join(Spawn.__dataclass_fields__)}")
        missing = sorted({"host", "control_dir"} - told.keys())
        if missing:
            raise LocalError(f"spawn: {' and '.join(missing)} missing")
        told["control_dir"] = Path(told["control_dir"])
        told["cgroups"] = tuple(told.get("cgroups", ()))
        return Spawn(**told)


@dataclass(slots=True, eq=False)
class Client:
    """A connection, with what came of a request and what of the answers could not be written yet."""

    connection: socket.socket
    incoming: bytes = b""
    outgoing: bytes = b""


@dataclass(slots=True)
class Children:
    """The nodes that run, and those that ended and nobody has asked about."""

    pids: dict[str, int] = field(default_factory=dict)
    exited: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EXITED_KEPT))

    def spawn(self, spawn: Spawn, in_child: Callable[[], None]) -> int:
        """Fork; the child calls `in_child` first. LocalError if it could not be set up as asked."""
        if spawn.host in self.pids:
            raise LocalError(f"{spawn.host} runs already, as process {self.pids[spawn.host]}")
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            in_child()
            _become_node(spawn, writing)
        os.close(writing)
        with open(reading, "rb") as pipe:
            error = pipe.read().decode(errors="replace")  # until the child has closed it, one way or the other
        if error:
            os.waitpid(pid, 0)
            raise LocalError(f"{spawn.host}: {error}")
        self.pids[spawn.host] = pid
        return pid

    def reap(self) -> list[dict[str, Any]]:
        """Those that ended since the last call."""
        ended = []
        hosts = {pid: host for host, pid in self.pids.items()}
        while self.pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            host = hosts[pid]
            del self.pids[host]
            ended.append({"host": host, "pid": pid, "status": os.waitstatus_to_exitcode(status)})
        self.exited.extend(ended)
        return ended

    def kill(self, host: str, number: int) -> None:
        if host not in self.pids:
            raise LocalError(f"{host} does not run")
        os.kill(self.pids[host], number)  # not reaped yet, so the pid is still its own

    def kill_all(self) -> None:
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids.values():
            os.waitpid(pid, 0)
        self.pids.clear()


class Zygote:
    """The socket, the clients and the children, in one loop."""

    def __init__(self, path: Path, exit_with: int | None) -> None:
        self._path = path
        self._children = Children()
        self._clients: set[Client] = set()
        self._running = True
        self._selector = selectors.DefaultSelector()
        self._wakeup, wakeup_write = socket.socketpair()
        for end in (self._wakeup, wakeup_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup_write.fileno(), warn_on_full_buffer=False)
        self._wakeup_write = wakeup_write
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._signalled)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_end)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only so that the wakeup descriptor is written
        self._listener = _listen(path)  # who finds the socket may end this at once, and the socket has to go then
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        if exit_with is not None:
            self._end_with(exit_with)

    def run(self) -> None:
        """Until told to quit, or the process it should end with is gone."""
        try:
            while self._running:
                for key, events in self._selector.select():
                    key.data(key.fileobj, events)
        finally:
            self._children.kill_all()
            self._path.unlink(missing_ok=True)

    def _end_with(self, pid: int) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            log.info("process %d is gone already", pid)
            self._running = False
            return
        self._selector.register(descriptor, selectors.EVENT_READ, self._companion_gone)

    def _companion_gone(self, descriptor: Any, events: int) -> None:
        log.info("the process it should end with is gone")
        self._running = False

    def _told_to_end(self, number: int, frame: Any) -> None:
        self._running = False

    def _signalled(self, wakeup: Any, events: int) -> None:
        self._wakeup.recv(4096)
        for ended in self._children.reap():
            log.info("%(host)s (process %(pid)d) ended with status %(status)d", ended)
            for client in list(self._clients):
                self._tell(client, {"op": "exited", **ended})

    def _accept(self, listener: Any, events: int) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        client = Client(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, lambda _, events: self._serve(client, events))

    def _serve(self, client: Client, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(client)
            if events & selectors.EVENT_READ:
                self._read(client)
        except OSError:
            self._drop(client)

    def _read(self, client: Client) -> None:
        data = client.connection.recv(MAX_LINE)
        *lines, client.incoming = (client.incoming + data).split(b"\n")
        for line in lines:
            self._tell(client, self._answer(line))
        if not data or len(client.incoming) > MAX_LINE:
            self._drop(client)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True, **self._obey(json.loads(line))}
        except LocalError as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            return {"ok": False, "error": f"bad request: {type(error).__name__}: {error}"}

    def _obey(self, request: dict[str, Any]) -> dict[str, Any]:
        children = self._children
        match request.get("op"):
            case "spawn":
                return {"pid": children.spawn(Spawn.parse(request), self._leave_to_child)}
            case "kill":
                children.kill(request["host"], int(request.get("signal", signal.SIGKILL)))
                return {}
            case "list":
                return {"hosts": children.pids}
            case "exited":
                ended = list(children.exited)
                children.exited.clear()
                return {"exited": ended}
            case "quit":
                children.kill_all()
                self._running = False
                return {}
            case other:
                raise LocalError(f"unknown op {other!r}; known are spawn, kill, list, exited, quit")

    def _leave_to_child(self) -> None:
        """What a child must not inherit; its descriptors are closed later, all of them."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)

    def _tell(self, client: Client, message: dict[str, Any]) -> None:
        client.outgoing += json.dumps(message).encode() + b"\n"
        try:
            self._flush(client)
        except OSError:
            self._drop(client)

    def _flush(self, client: Client) -> None:
        if client not in self._clients:
            return
        try:
            sent = client.connection.send(client.outgoing)
        except BlockingIOError:
            sent = 0
        client.outgoing = client.outgoing[sent:]
        if len(client.outgoing) > MAX_UNSENT:
            self._drop(client)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
        key = self._selector.get_key(client.connection)
        if key.events != wanted:
            self._selector.modify(client.connection, wanted, key.data)

    def _drop(self, client: Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._selector.unregister(client.connection)
            client.connection.close()


def _listen(path: Path) -> socket.socket:
    """A socket file that is there accepts connections. LocalError if another zygote is there, or the path will not do."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unheard = path.with_name(f"{path.name}~")
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise LocalError(f"{path}: another zygote listens there")
        unheard.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(str(unheard))
        finally:
            os.umask(before)
        listener.listen(64)
        unheard.replace(path)
    except OSError as error:
        raise LocalError(f"cannot listen on {path}: {error}") from error
    return listener


def _become_node(spawn: Spawn, report: int) -> NoReturn:
    """In the child: set everything up, close `report` (after writing an error to it), be a node, end."""
    status = 1
    try:
        try:
            options = node_main.Options(spawn.control_dir, *node_main.parse_address(spawn.listen))
            sandbox.redirect(spawn.log, keep=report)
            if spawn.cgroups:
                sandbox.join_cgroups(spawn.cgroups)
            if spawn.netns is not None:
                sandbox.enter_netns(spawn.netns)
            if spawn.nofile is not None:
                sandbox.limit_files(spawn.nofile)
            if spawn.uid is not None:
                sandbox.drop_privileges(spawn.uid, spawn.gid if spawn.gid is not None else spawn.uid)
            sandbox.die_with_parent()
            sandbox.name_process(spawn.host)
        except (OSError, ValueError) as error:
            os.write(report, (str(error) or type(error).__name__).encode())
            os._exit(1)
        os.close(report)
        status = node_main.run(options)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # whatever happens, this process must not go on as a second zygote
        os._exit(status)


def main() -> int:
    parser = argparse.ArgumentParser(prog="opus_node.zygote", description="Forks nodes on request (see the module's docstring).")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--exit-with", type=int, metavar="PID", help="end, with all nodes, when this process is gone")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s zygote: %(message)s", stream=sys.stderr)
    sandbox.spare_memory()
    log.info("warm after %d messages", warm_up())
    try:
        zygote = Zygote(options.socket, options.exit_with)
    except LocalError as error:
        print(f"opus_node.zygote: {error}", file=sys.stderr)
        return 2
    gc.collect()
    gc.freeze()  # a collection in a node would touch, and so copy, the pages of everything that is here already
    zygote.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
