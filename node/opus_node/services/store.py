"""Files of services by the sha256 of their tar: kept on the host's disk, through restarts, and fetched from hosts that have them.

The nearest is whoever answers first. What it has sent is kept if it falls silent, and the next goes on from there; whole and
other than its name, it is thrown away.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import shutil
import socket
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from opus_node.core.types import NodeId
from opus_node.errors import LocalError

DOOR: Final = 7001
"""Port at which a node passes on files and connections, on its emulated address."""
LINE_MOST: Final = 512
CHUNK: Final = 1 << 16
ASK_S: Final = 5.0
"""For a host to say whether it has the files: a dial and a question, with a lost packet or two."""
SILENT_S: Final = 5.0
"""Without a byte, and another host is asked."""
ASKED_MOST: Final = 8
"""Hosts asked at once."""

T = TypeVar("T")

log = logging.getLogger(__name__)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[NodeId], Awaitable[Connection]]
"""How a host's door is reached."""


@dataclass(frozen=True, slots=True)
class Fetched:
    source: NodeId
    """The last host they came from."""
    bytes: int
    """Broken attempts included."""


class NoRoomError(LocalError):
    """This host's disk is full: to try again helps only when somebody has made room."""


def unwritten(what: str, error: OSError) -> LocalError:
    """`what` has not been written."""
    kind = NoRoomError if error.errno in (errno.ENOSPC, errno.EDQUOT) else LocalError
    return kind(f"{what}: {error.strerror or error}")


class Store:
    def __init__(self, directory: Path) -> None:
        """`directory` is made when first written to."""
        self._directory = directory
        self._parts = count()
        """Two services may want the same files at once."""

    def path(self, digest: str) -> Path:
        return self._directory / f"{digest}.tar"

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def check_room(self, needed: int) -> None:
        """NoRoomError if this host's disk has not so many bytes left: nothing is sent to it in vain."""
        there = next(path for path in (self._directory, *self._directory.parents) if path.is_dir())
        disk = os.statvfs(there)
        left = disk.f_bavail * disk.f_frsize
        if left < needed:
            raise NoRoomError(f"its files need {needed} bytes, and this host's disk has room for {left}")

    def unpack(self, digest: str, into: Path) -> None:
        """Blocks. Whatever was in `into` is replaced. LocalError if it cannot be written."""
        fresh = into.with_name(f"{into.name}.new")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            with tarfile.open(self.path(digest), "r:") as tar:
                for entry in tar:
                    _extract(tar, entry, fresh)
            shutil.rmtree(into, ignore_errors=True)
            fresh.rename(into)
        except tarfile.TarError as error:
            raise LocalError(f"its files cannot be unpacked: {error}") from error
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise unwritten("its files cannot be unpacked", error) from error

    async def fetch(self, digest: str, size: int, hosts: Iterable[NodeId], came: Callable[[int], None], dial: Dial) -> Fetched:
        """Bring the files here. `came` is told of every piece's bytes. LocalError if no host gives them, or none is reached."""
        part = self.path(digest).with_suffix(f".{next(self._parts)}.part")
        left = list(dict.fromkeys(hosts))
        total = offset = 0
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                while True:
                    source, reader, writer = await self._nearest(digest, left, dial)
                    left.remove(source)
                    try:
                        async for piece in _pieces(reader, writer, digest, offset, size):
                            _write(file, piece)
                            offset += len(piece)
                            total += len(piece)
                            came(len(piece))
                    except (OSError, EOFError, TimeoutError) as error:
                        log.warning("%s broke off after %d of %d bytes: %s", source, offset, size, error or type(error).__name__)
                        continue
                    finally:
                        writer.close()
                    file.flush()
                    if await blocking(_digest, part) == digest:
                        break
                    log.warning("what came from %s is not what it should be", source)
                    file.seek(0)
                    file.truncate()
                    offset = 0
            os.replace(part, self.path(digest))
        except OSError as error:
            raise unwritten("its files cannot be kept", error) from error
        finally:
            with suppress(OSError):
                part.unlink()
        return Fetched(source, total)

    async def _nearest(
        self, digest: str, hosts: list[NodeId], dial: Dial
    ) -> tuple[NodeId, asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first that says it has the files; the others are let go."""
        asking = {asyncio.create_task(_has(host, digest, dial)): host for host in hosts[:ASKED_MOST]}
        waiting = set(asking)
        found: asyncio.Task[Connection | None] | None = None
        try:
            while waiting and found is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                found = next((task for task in done if task.result() is not None), None)
        finally:
            for task in asking:
                if task is not found:
                    task.add_done_callback(_let_go)
                    task.cancel()
        if found is None or (connection := found.result()) is None:
            raise LocalError("no host that can be reached has its files")
        return asking[found], *connection


def _write(file: BinaryIO, piece: bytes) -> None:
    """LocalError, so that it is not taken for a fault of whoever sends."""
    try:
        file.write(piece)
    except OSError as error:
        raise unwritten("its files cannot be kept", error) from error


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, into: Path) -> None:
    """One file or directory; tarfile.TarError if it is neither, or would lie elsewhere. (`extractall` has a filter for that from
    Python 3.11.4 on; Debian 12 has an older one.)"""
    path = Path(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise tarfile.ExtractError(f"{entry.name} would leave its place")
    if entry.isdir():
        (into / path).mkdir(parents=True, exist_ok=True)
        return
    data = tar.extractfile(entry) if entry.isreg() else None
    if data is None:
        raise tarfile.ExtractError(f"{entry.name} is neither a file nor a directory")
    (into / path).parent.mkdir(parents=True, exist_ok=True)
    with data, (into / path).open("xb") as file:
        shutil.copyfileobj(data, file, CHUNK)
    (into / path).chmod(0o755 if entry.mode & 0o100 else 0o644)


_disk: Final = ThreadPoolExecutor(1, "disk")
"""Of our own, made at import: asyncio's would import its module when first used, and a node's user may be unable to read it."""


async def blocking(do: Callable[..., T], *arguments: object) -> T:
    """Done in a thread: it reads or writes much."""
    return await asyncio.get_running_loop().run_in_executor(_disk, do, *arguments)


async def dial_door(host: NodeId) -> Connection:
    return await asyncio.open_connection(host, DOOR, limit=1 << 20)


def give_up_on_silence(writer: asyncio.StreamWriter, seconds: float = SILENT_S) -> None:
    """The kernel ends the connection when data stay unacknowledged for so long, or nobody is there any more."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


async def _has(host: NodeId, digest: str, dial: Dial) -> Connection | None:
    """None if it has not, or is not reached in time."""
    writer: asyncio.StreamWriter | None = None
    answered = False
    try:
        async with asyncio.timeout(ASK_S):
            reader, writer = await dial(host)
            writer.write(f"HAS {digest}\n".encode())
            answered = (await reader.readline()).startswith(b"OK")
            return (reader, writer) if answered else None
    except (OSError, TimeoutError, ValueError):
        return None
    finally:
        if writer is not None and not answered:
            writer.close()


def _let_go(task: asyncio.Task[Connection | None]) -> None:
    if not task.cancelled() and task.exception() is None and (connection := task.result()) is not None:
        connection[1].close()


async def _pieces(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, digest: str, offset: int, size: int
) -> AsyncIterator[bytes]:
    """The bytes from `offset` to `size`. EOFError, TimeoutError or OSError if they break off."""
    writer.write(f"FILE {digest} {offset}\n".encode())
    while offset < size:
        async with asyncio.timeout(SILENT_S):
            piece = await reader.read(min(CHUNK, size - offset))
        if not piece:
            raise EOFError("the connection was closed")
        offset += len(piece)
        yield piece


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
