"""Users' programs beside a node: started, asked, watched, stopped; files fetched from hosts that have them; gateways."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import logging
import os
import socket
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from opus_controller.runtimes.hosts import services as hosts_services
from opus_node.core.events import ClientReply, Consumed, Notice, ProgramChanged, ServiceHealth, Shipped
from opus_node.core.types import SECOND
from opus_node.errors import LocalError
from opus_node.services import program as programs
from opus_node.services import store as stores
from opus_node.services import supervisor as supervisors
from opus_node.services.containers import Containers
from opus_node.services.door import Door
from opus_node.services.exchange import BusyError, ExchangeError, ask, check, is_complete
from opus_node.services.gateway import Gateway
from opus_node.services.program import Program, ProgramLog
from opus_node.services.spec import ServiceSpec, ServiceStats
from opus_node.services.store import Connection, NoRoomError, Store
from opus_node.services.supervisor import Supervisor

pytestmark = pytest.mark.clock
PROGRAM = Path(__file__).parent.parent / "helpers" / "program.py"


def played(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a coroutine as a test, in a loop of its own and in bounded time."""

    def run(*arguments: Any, **named: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return functools.wraps(test)(run)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(fact: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 20
    while True:
        if found := fact():
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def a_spec(**other: Any) -> ServiceSpec:
    port = free_port()
    spec = ServiceSpec(
        app="web",
        command=("python3", str(PROGRAM), "{port}", "http"),
        port=port,
        protocol="http",
        health_path="/health",
        health_every=0.05,
        health_timeout=2.0,
        health_failures=2,
        start=15.0,
        request="/items/{key}",
        gateway=free_port(),
        deadline=5 * SECOND,
    )
    return replace(spec, **other)


def tcp_spec(**other: Any) -> ServiceSpec:
    return a_spec(
        command=("python3", str(PROGRAM), "{port}", "tcp"), protocol="tcp", health_path="", request="hi {key}\n", **other
    )


@dataclass
class Around:
    """What a supervisor speaks with."""

    directory: Path
    spec: ServiceSpec
    dial: Any = None
    stats: ServiceStats = field(default_factory=ServiceStats)
    told: list[Notice] = field(default_factory=list)
    health: list[ServiceHealth] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    consumed: list[int] = field(default_factory=list)
    containers: Containers = field(default_factory=Containers)

    def supervisor(self) -> Supervisor:
        return Supervisor(
            self.spec,
            self.stats,
            "127.0.0.1",
            self.directory / "services",
            Store(self.directory / "store"),
            self.containers,
            self.told.append,
            self.hear,
            lambda: (),
            time.monotonic_ns,
            self.failed.append,
            self.dial or stores.dial_door,
        )

    def hear(self, event: ServiceHealth | Consumed) -> None:
        if isinstance(event, Consumed):
            self.consumed.append(event.core_time)
        else:
            self.health.append(event)

    def changes(self) -> list[str]:
        return [told.change for told in self.told if isinstance(told, ProgramChanged)]


@asynccontextmanager
async def supervised(around: Around) -> AsyncIterator[Supervisor]:
    supervisor = around.supervisor()
    try:
        yield supervisor
    finally:
        await supervisor.stop()
        assert around.failed == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


# The program's life


@played
async def test_it_is_started_found_healthy_asked_and_stopped(tmp_path: Path) -> None:
    around = Around(tmp_path, a_spec())
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.stats.ready, "ready")
        answer = await ask(around.spec, around.spec.asker(17), 5.0)
        assert answer.endswith(b"GET /items/17 HTTP/1.1")
        pid = int((await ask(around.spec, b"GET /pid HTTP/1.1\r\nConnection: close\r\n\r\n", 5.0)).rpartition(b"\n")[2])
        assert alive(pid)
        assert os.getpgid(pid) != os.getpgid(0), "a group of its own"
        assert os.getsid(pid) == os.getsid(0), "in the node's session, by which it is found"
        assert supervisor.port == around.spec.port
    assert not alive(pid)
    assert around.changes() == ["started", "ready", "stopped"]
    assert [one.ready for one in around.health] == [True, False]
    assert supervisor.port is None


@played
async def test_one_that_ends_by_itself_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisors, "PAUSE_FIRST", 0.01)
    around = Around(tmp_path, a_spec())
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.stats.ready, "ready")
        pid = int((await ask(around.spec, b"GET /pid HTTP/1.1\r\nConnection: close\r\n\r\n", 5.0)).rpartition(b"\n")[2])
        os.kill(pid, 9)
        await until(lambda: around.changes().count("ready") == 2, "ready again")
    ended = next(told for told in around.told if isinstance(told, ProgramChanged) and told.change == "ended")
    assert "SIGKILL" in ended.why
    assert [one.ready for one in around.health] == [True, False, True, False]


@played
async def test_what_it_consumes_is_told_and_counts_on_when_it_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "PAUSE_FIRST", 0.01)
    monkeypatch.setattr(programs, "CONSUMED_EVERY", SECOND // 20)
    around = Around(tmp_path, a_spec())
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.stats.ready, "ready")
        started = await until(lambda: around.consumed[-1:], "what it took to start")
        await ask(around.spec, b"GET /burn/300 HTTP/1.1\r\nConnection: close\r\n\r\n", 5.0)
        await until(lambda: around.consumed[-1] >= started[0] + 0.29 * SECOND, "what a request took")
        before = around.consumed[-1]
        pid = int((await ask(around.spec, b"GET /pid HTTP/1.1\r\nConnection: close\r\n\r\n", 5.0)).rpartition(b"\n")[2])
        os.kill(pid, 9)
        await until(lambda: around.changes().count("ready") == 2, "ready again")
        await until(lambda: around.consumed[-1] > before, "more than the first start took")
    assert around.consumed == sorted(around.consumed)
    assert around.stats.core_time == around.consumed[-1] < 3 * SECOND


@played
async def test_one_that_is_not_healthy_is_unready_and_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisors, "PAUSE_FIRST", 0.01)
    around = Around(tmp_path, a_spec())
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.stats.ready, "ready")
        sick = tmp_path / "services" / "web" / "data" / "sick"
        sick.touch()
        await until(lambda: len(around.health) == 2, "unready")
        assert around.health[1].why == "status 503"
        sick.unlink()
        await until(lambda: around.stats.ready, "ready again")
    assert around.changes() == ["started", "ready", "stopped", "started", "ready", "stopped"]


@played
async def test_a_demoted_host_s_program_goes_on_for_the_core_s_grace_then_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "GRACE", SECOND // 5)
    around = Around(tmp_path, a_spec())
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.stats.ready, "ready")
        supervisor.want(False)
        supervisor.want(True)  # taken back: nothing happens
        supervisor.want(False)
        assert around.stats.ready, "requests under way are still answered"
        await until(lambda: "stopped" in around.changes(), "stopped")
        assert around.changes() == ["started", "ready", "stopped"]
        supervisor.want(True)
        await until(lambda: around.stats.ready, "promoted again")


@played
async def test_one_that_cannot_be_started_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisors, "PAUSE_FIRST", 0.01)
    around = Around(tmp_path, a_spec(command=("no-such-program-here",)))
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.changes() == ["failed", "failed", "failed"], "three tries")
    first = around.told[0]
    assert isinstance(first, ProgramChanged)
    assert "no such program on this host" in first.why
    assert around.health == []


@played
async def test_one_that_never_listens_is_given_up_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisors, "PAUSE_FIRST", 60)
    around = Around(tmp_path, a_spec(command=("sleep", "1000"), start=0.2))
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: "stopped" in around.changes(), "stopped")
    stopped = around.told[-1]
    assert isinstance(stopped, ProgramChanged)
    assert stopped.why.startswith("not healthy within 0.2 s: ")


@played
async def test_stopping_ends_all_of_its_group_and_what_ignores_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GRACE", 0.2)
    script = "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000"
    lines: list[str] = []

    class Told(ProgramLog):
        def _line(self, line: bytes) -> None:
            lines.append(line.decode())

    program = await Program.start(("sh", "-c", script), tmp_path, {}, Told("web"))
    child = int(await until(lambda: lines[0] if lines else None, "its first line"))
    assert alive(child)
    await program.stop()
    assert "SIGKILL" in program.ended.result()
    await until(lambda: not alive(child), "its child gone")


@played
async def test_it_is_what_the_kernel_ends_where_memory_runs_out(tmp_path: Path) -> None:
    """With all that it starts: it stands before the node in the kernel's own order, however small it is."""
    (tmp_path / "pid").touch()
    program = await Program.start(("sh", "-c", "sleep 0.5; sleep 1000 & echo $! >pid; wait"), tmp_path, {}, ProgramLog("web"))
    child = await until(lambda: (tmp_path / "pid").read_text().strip(), "what it started")
    assert badness(child) > badness("self") + 500
    program.kill()
    await program.ended


def badness(pid: str) -> int:
    """Of proc(5): in thousandths of the memory there is, twice over."""
    return int(Path(f"/proc/{pid}/oom_score").read_text())


def test_output_is_kept_as_lines_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = ProgramLog("web", most=100)
    log.write(b"one\ntw")
    log.write(b"o\n")
    log.write(b"three")
    log.end()
    assert [record.getMessage() for record in caplog.records] == ["one", "two", "three"]
    log.write(b"x" * 200 + b"\n" + b"never\n")
    log.write(b"never\n")
    assert len(caplog.records) == 5
    assert "not kept" in caplog.records[-1].getMessage()


def test_both_sides_look_for_programs_at_the_same_places() -> None:
    assert programs.PATH == hosts_services.PATH
    assert hosts_services.STORE == "store"


# Asking it


@asynccontextmanager
async def running(spec: ServiceSpec, directory: Path) -> AsyncIterator[None]:
    command = [word.replace("{port}", str(spec.port)) for word in spec.command]
    program = await Program.start(command, directory, {}, ProgramLog("x"))
    deadline = time.monotonic() + 20
    try:
        while True:
            why = await check(spec)
            if not why:
                break
            assert time.monotonic() < deadline, why
            await asyncio.sleep(0.01)
        yield
    finally:
        await program.stop()


@played
async def test_what_is_no_answer_of_http(tmp_path: Path) -> None:
    spec = a_spec()

    def get(path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()

    async with running(spec, tmp_path):
        assert (await ask(spec, get("/status/404"), 5.0)).startswith(b"HTTP/1.1 404 "), "the client's mistake is an answer"
        with pytest.raises(BusyError, match="status 503"):
            await ask(spec, get("/status/503"), 5.0)
        with pytest.raises(ExchangeError, match="status 500") as failed:
            await ask(spec, get("/status/500"), 5.0)
        assert not isinstance(failed.value, BusyError), "a mistake is no want of room"
        with pytest.raises(ExchangeError, match="broke off"):
            await ask(spec, get("/short"), 5.0)
        with pytest.raises(ExchangeError, match="in time"):
            await ask(spec, get("/"), 0.0)
    with pytest.raises(ExchangeError, match="refused"):
        await ask(spec, get("/"), 5.0)
    assert "refused" in await check(spec)


@played
async def test_tcp_is_asked_and_checked_by_connecting(tmp_path: Path) -> None:
    spec = tcp_spec()
    async with running(spec, tmp_path):
        assert await ask(spec, spec.asker(5), 5.0) == b"you said hi 5\n"
        assert await ask(spec, b"", 5.0) == b""
    with pytest.raises(ExchangeError, match="refused"):
        await ask(spec, b"", 5.0)


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", True),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
    ],
)
def test_an_answer_is_as_long_as_it_says(answer: bytes, complete: bool) -> None:
    assert is_complete(answer, head_only=False) is complete


# Files


def a_tar(text: bytes = b"x" * 500_000) -> tuple[str, bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("html/page")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return hashlib.sha256(out.getvalue()).hexdigest(), out.getvalue()


class Hosts:
    """Doors by host name, each at a port of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._doors: list[Door] = []
        self.ports: dict[str, int] = {}
        self.sent: dict[str, int] = {}

    async def add(self, name: str, files: dict[str, bytes], port_of: Callable[[str], int | None] = lambda app: None) -> None:
        store = Store(self._directory / name)
        for digest, data in files.items():
            store.path(digest).parent.mkdir(exist_ok=True)
            store.path(digest).write_bytes(data)
        self.sent[name] = 0

        def sent(digest: str, size: int) -> None:
            self.sent[name] += size

        door = Door(store, port_of, sent)
        self.ports[name] = free_port()
        await door.start("127.0.0.1", self.ports[name])
        self._doors.append(door)

    async def dial(self, host: str) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.ports.get(host, 1))

    async def close(self) -> None:
        for door in self._doors:
            await door.stop()


@played
async def test_files_come_from_a_host_that_has_them_whole_and_counted(tmp_path: Path) -> None:
    digest, data = a_tar()
    hosts = Hosts(tmp_path)
    await hosts.add("empty", {})
    await hosts.add("full", {digest: data})
    around = Around(tmp_path, a_spec(digest=digest, size=len(data), origins=("empty", "dead", "full")), dial=hosts.dial)
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.stats.ready, "ready")
        assert (tmp_path / "services" / "web" / "files" / "html" / "page").stat().st_size == 500_000
        shipped = [told for told in around.told if isinstance(told, Shipped)]
        assert [(one.source, one.bytes) for one in shipped] == [("full", len(data))]
        assert hosts.sent == {"empty": 0, "full": len(data)}
        assert around.stats.received_bytes == len(data)
    again = Around(tmp_path, around.spec, dial=hosts.dial)
    async with supervised(again) as supervisor:
        supervisor.want(True)
        await until(lambda: again.stats.ready, "ready")
        assert not [told for told in again.told if isinstance(told, Shipped)], "the disk keeps them"
    await hosts.close()


@played
async def test_a_full_disk_is_told_at_once_and_nothing_is_fetched_in_vain(tmp_path: Path) -> None:
    digest, data = a_tar()
    hosts = Hosts(tmp_path)
    await hosts.add("full", {digest: data})
    around = Around(tmp_path, a_spec(digest=digest, size=1 << 60, origins=("full",)), dial=hosts.dial)
    async with supervised(around) as supervisor:
        supervisor.want(True)
        await until(lambda: around.health, "word of it")
        assert around.health[0].lost
        assert around.health[0].why.startswith(f"its files need {2 << 60} bytes, and this host's disk has room for ")
        assert around.changes()[0] == "failed"
        assert hosts.sent == {"full": 0}
    await hosts.close()


@played
async def test_a_disk_that_becomes_full_is_no_fault_of_whoever_sends(tmp_path: Path) -> None:
    digest, data = a_tar()
    hosts = Hosts(tmp_path)
    await hosts.add("one", {digest: data})
    await hosts.add("other", {digest: data})
    store = Store(tmp_path / "here")
    (tmp_path / "here").mkdir()
    store.path(digest).with_suffix(".0.part").symlink_to("/dev/full")
    with pytest.raises(NoRoomError, match="its files cannot be kept: No space left on device"):
        await store.fetch(digest, len(data), ["one"], lambda size: None, hosts.dial)
    assert list((tmp_path / "here").iterdir()) == []
    both = [store.fetch(digest, len(data), ["one", "other"], lambda size: None, hosts.dial) for _ in range(2)]
    assert [fetched.bytes for fetched in await asyncio.gather(*both)] == [len(data)] * 2, "two services may want the same"
    assert store.path(digest).read_bytes() == data
    await hosts.close()


@played
async def test_the_next_host_goes_on_where_one_fell_silent(tmp_path: Path) -> None:
    digest, data = a_tar()
    hosts = Hosts(tmp_path)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says it has them, sends half, and leaves."""
        await reader.readline()
        writer.write(b"OK\n")
        await reader.readline()
        writer.write(data[: len(data) // 2])
        writer.close()

    broken = await asyncio.start_server(half, "127.0.0.1", 0)
    hosts.ports["broken"] = broken.sockets[0].getsockname()[1]
    store, came = Store(tmp_path / "here"), list[int]()

    async def dial(host: str) -> Connection:
        if host == "full" and not came:  # farther away: comes to be asked when the nearer one has failed
            raise ConnectionRefusedError
        return await hosts.dial(host)

    await hosts.add("full", {digest: data})
    with pytest.raises(LocalError, match="no host that can be reached"):
        await store.fetch(digest, len(data), ["nowhere"], came.append, dial)
    fetched = await store.fetch(digest, len(data), ["broken", "full"], came.append, dial)
    assert fetched.source == "full"
    assert fetched.bytes == sum(came) == len(data), "nothing twice"
    assert 0 < hosts.sent["full"] < len(data)
    assert store.path(digest).read_bytes() == data
    broken.close()
    await hosts.close()


@played
async def test_other_bytes_than_their_name_are_thrown_away(tmp_path: Path) -> None:
    digest, data = a_tar()
    hosts = Hosts(tmp_path)
    await hosts.add("liar", {digest: bytes(len(data))})
    store = Store(tmp_path / "here")
    with pytest.raises(LocalError, match="no host that can be reached"):
        await store.fetch(digest, len(data), ["liar"], lambda size: None, hosts.dial)
    assert not store.has(digest)
    assert list((tmp_path / "here").iterdir()) == []
    await hosts.add("full", {digest: data})
    fetched = await store.fetch(digest, len(data), ["liar", "full"], lambda size: None, hosts.dial)
    assert store.path(digest).read_bytes() == data
    assert fetched.source == "full"
    await hosts.close()


@played
async def test_a_door_gives_nothing_but_what_it_keeps(tmp_path: Path) -> None:
    digest, data = a_tar(b"small")
    hosts = Hosts(tmp_path)
    await hosts.add("full", {digest: data})
    (tmp_path / "secret.tar").write_bytes(b"secret")
    unknown = b"HAS " + b"0" * 64 + b"\n"
    for line in (b"HAS ../secret\n", b"FILE ../secret 0\n", unknown, b"GET / HTTP/1.1\n", b"TCP web\n", b"\xff\n"):
        reader, writer = await hosts.dial("full")
        writer.write(line)
        writer.write_eof()
        assert (await reader.read()).partition(b"\n")[0] in (b"", b"NO", b"NO it does not run here"), line
        writer.close()
    reader, writer = await hosts.dial("full")
    writer.write(b"x" * 100_000)
    assert await reader.read() == b"", "too long a line"
    await hosts.close()


def _link() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entry


@pytest.mark.parametrize("entry", [tarfile.TarInfo("../escaped"), tarfile.TarInfo("/escaped"), _link()])
def test_a_tar_that_would_leave_its_place_is_refused(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(entry)
    store = Store(tmp_path / "store")
    store.path("a").parent.mkdir()
    store.path("a").write_bytes(out.getvalue())
    with pytest.raises(LocalError, match="cannot be unpacked"):
        store.unpack("a", tmp_path / "files")
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "files").exists()


def test_files_are_unpacked_as_they_were(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, mode in (
            ("a", tarfile.DIRTYPE, 0o755),
            ("a/run.sh", tarfile.REGTYPE, 0o755),
            ("b", tarfile.REGTYPE, 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.size = kind, mode, 0 if kind == tarfile.DIRTYPE else 3
            tar.addfile(entry, io.BytesIO(b"abc"))
    store = Store(tmp_path / "store")
    store.path("a").parent.mkdir()
    store.path("a").write_bytes(out.getvalue())
    store.unpack("a", tmp_path / "files")
    script, plain = tmp_path / "files" / "a" / "run.sh", tmp_path / "files" / "b"
    assert (script.read_bytes(), plain.read_bytes()) == (b"abc", b"abc")
    assert (script.stat().st_mode & 0o777, plain.stat().st_mode & 0o777) == (0o755, 0o644)


# Gateways


@asynccontextmanager
async def gateway(
    spec: ServiceSpec, answer: Callable[[bytes], Awaitable[ClientReply]], dial: Any = None
) -> AsyncIterator[ServiceStats]:
    stats = ServiceStats()
    door = Gateway(spec, stats, answer, dial or stores.dial_door)
    await door.start()
    try:
        yield stats
    finally:
        await door.stop()


async def said(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    try:
        return await reader.read()
    finally:
        writer.close()


def always(outcome: str, content: bytes = b"") -> Callable[[bytes], Awaitable[ClientReply]]:
    async def answer(asked: bytes) -> ClientReply:
        return ClientReply("web", 1, outcome, "198.18.0.1" if outcome == "ok" else "", content)

    return answer


@played
async def test_a_request_goes_on_whole_without_what_was_for_this_hop() -> None:
    asked: list[bytes] = []

    async def answer(content: bytes) -> ClientReply:
        asked.append(content)
        return ClientReply("web", 1, "ok", "198.18.0.1", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    spec = a_spec()
    async with gateway(spec, answer) as stats:
        request = b"POST /a?b=c HTTP/1.1\r\nHost: web\r\nConnection: keep-alive\r\nX-Mine: 1\r\nContent-Length: 5\r\n\r\nhello"
        assert await said(spec.gateway, request) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        again = await said(spec.gateway, b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
        assert again.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a?b=c HTTP/1.1", b"Host: web", b"X-Mine: 1", b"Content-Length: 5", b"Connection: close",
    ]  # fmt: skip
    assert body == b"hello"
    assert stats.gateway == {"ok": 2, "failed": 0}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / SPDY/9\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", b"431"),
    ],
)
@played
async def test_requests_that_cannot_be_taken(request_: bytes, status: bytes) -> None:
    spec = a_spec()
    async with gateway(spec, always("ok")) as stats:
        assert (await said(spec.gateway, request_)).split(b" ")[1] == status
    assert stats.gateway == {"ok": 0, "failed": 0}, "the overlay was not asked"


@pytest.mark.parametrize(("outcome", "status"), [("deadline", b"504"), ("refused", b"503")])
@played
async def test_a_service_that_does_not_answer(outcome: str, status: bytes) -> None:
    spec = a_spec()
    async with gateway(spec, always(outcome)) as stats:
        answer = await said(spec.gateway, b"GET / HTTP/1.1\r\n\r\n")
        assert answer.split(b" ")[1] == status
        assert outcome.encode() in answer
    assert stats.gateway == {"ok": 0, "failed": 1}


@played
async def test_a_tcp_connection_is_relayed_to_the_replica_that_takes_it(tmp_path: Path) -> None:
    spec = tcp_spec()
    hosts = Hosts(tmp_path)
    await hosts.add("idle", {})
    await hosts.add("serving", {}, lambda app: spec.port if app == "web" else None)
    routes = iter(["idle", "serving"])

    async def route(content: bytes) -> ClientReply:
        assert content == b""
        return ClientReply("web", 1, "ok", next(routes))

    async with running(spec, tmp_path), gateway(spec, route, hosts.dial) as stats:
        reader, writer = await asyncio.open_connection("127.0.0.1", spec.gateway)
        for word in (b"one\n", b"two\n"):
            writer.write(word)
            assert await reader.readline() == b"you said " + word
        writer.write_eof()
        assert await reader.read() == b"", "its end is passed on"
        writer.close()
        assert stats.gateway == {"ok": 1, "failed": 0}, "the second replica took it"
    await hosts.close()


@played
async def test_a_tcp_connection_that_nobody_takes_is_closed(tmp_path: Path) -> None:
    spec = tcp_spec()
    hosts = Hosts(tmp_path)
    await hosts.add("idle", {})
    async with gateway(spec, lambda content: always("ok")(content), hosts.dial) as stats:
        assert await said(spec.gateway, b"") == b""
    async with gateway(replace(spec, gateway=free_port()), always("deadline"), hosts.dial) as other:
        pass
    assert stats.gateway == {"ok": 0, "failed": 1}
    assert other.gateway == {"ok": 0, "failed": 0}
    await hosts.close()


@played
async def test_a_gateway_s_port_that_is_taken() -> None:
    spec = a_spec()
    async with gateway(spec, always("ok")):
        with pytest.raises(LocalError, match=f"cannot listen on 127.0.0.1:{spec.gateway}, the gateway of web"):
            await Gateway(spec, ServiceStats(), always("ok")).start()
