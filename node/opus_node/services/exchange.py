"""Asking the program: one connection an exchange, on this host's loopback.

HTTP exchanges end with the connection ("Connection: close"), so that an answer is what came until its end; one that came to less
than its headers promised is none.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from opus_node.errors import PeerError
from opus_node.services.spec import ServiceSpec
from opus_node.sizes import MAX_PAYLOAD

HOST: Final = "127.0.0.1"
HEAD_MOST: Final = 1 << 16
"""Bytes of an HTTP message before its body."""
TCP_ANSWER_MOST: Final = 1 << 16
BUSY: Final = 503


class ExchangeError(PeerError):
    """The program gave no answer, or none that counts; the message says why in a few words."""


class BusyError(ExchangeError):
    """It says itself that it has no room (HTTP 503, RFC 9110 section 15.6.4)."""


async def ask(spec: ServiceSpec, content: bytes, seconds: float) -> bytes:
    """The program's answer to `content`. ExchangeError if there is none within `seconds`, or it is a server's error (5xx),
    BusyError if that is 503."""
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            return await (_ask_http(spec.port, content) if spec.protocol == "http" else _ask_tcp(spec.port, content))
    except TimeoutError:
        raise ExchangeError("no answer in time") from None
    except OSError as error:
        raise ExchangeError(words_of(error)) from error


async def check(spec: ServiceSpec) -> str:
    """Why the program is not healthy; empty if it is."""
    asked = f"GET {spec.health_path} HTTP/1.1\r\nHost: {spec.app}\r\nUser-Agent: opus-health\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(spec.health_timeout):
            if spec.protocol == "tcp":
                await _ask_tcp(spec.port, b"")
                return ""
            status = status_of(await _ask_http(spec.port, asked.encode(), errors=True))
    except TimeoutError:
        return "no answer in time"
    except OSError as error:
        return words_of(error)
    except ExchangeError as error:
        return str(error)
    return "" if 200 <= status < 400 else f"status {status}"


def words_of(error: OSError) -> str:
    """ "Connection refused": asyncio's own words name the address, which is no news."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


async def _ask_http(port: int, content: bytes, *, errors: bool = False) -> bytes:
    """`errors`: take a server's error for an answer, too."""
    answer = await _until_closed(port, content)
    if not errors and (status := status_of(answer)) >= 500:
        raise (BusyError if status == BUSY else ExchangeError)(f"status {status}")
    if not is_complete(answer, head_only=content.startswith(b"HEAD ")):
        raise ExchangeError("an answer that broke off")
    return answer


async def _until_closed(port: int, content: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(content)
        await writer.drain()
        parts: list[bytes] = []
        size = 0
        while data := await reader.read(1 << 16):
            parts.append(data)
            size += len(data)
            if size > MAX_PAYLOAD:
                raise ExchangeError(f"an answer of more than {MAX_PAYLOAD >> 20} MiB")
        return b"".join(parts)
    finally:
        writer.close()


async def _ask_tcp(port: int, content: bytes) -> bytes:
    """The first bytes that come back; without content, that a connection can be made is the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        if not content:
            return b""
        writer.write(content)
        await writer.drain()
        answer = await reader.read(TCP_ANSWER_MOST)
        if not answer:
            raise ExchangeError("it closed the connection without an answer")
        return answer
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    """The status of an HTTP response; ExchangeError if it is none."""
    words = answer.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not (words[1].isdigit() and len(words[1]) == 3):
        raise ExchangeError("no HTTP answer")
    return int(words[1])


def fields_of(head: bytes) -> dict[str, str]:
    """Header fields of an HTTP message, names in lower case, the last of a name; `head` from its first line on."""
    found = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    return found


def is_complete(answer: bytes, *, head_only: bool) -> bool:
    """Whether a response that ended with its connection is as long as its own headers say."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if head_only or status_of(answer) in (204, 304):
        return True
    fields = fields_of(head)
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return body.endswith(b"0\r\n\r\n")
    length = fields.get("content-length", "")
    return not length.isdigit() or len(body) >= int(length)
