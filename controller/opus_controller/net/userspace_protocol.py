"""How the shaper process is spoken to: lines of JSON over a Unix stream socket in the run's directory.

A request is one object in one line, answered in order by one object in one line. A request's "op" says what it is:

    {"op": "hello"}                      -> {"facts": {...}, "base": digest of the base it has, "hosts": {name: address}}
    {"op": "base", "digest", "base"}     -> {}     the topology (userspace_network); hosts that are gone from it are detached
    {"op": "over", "over"}               -> {}     what is laid over it; in force when the answer is sent
    {"op": "attach", "host"} + 2 fds     -> {}     the host's TUN device; /proc/net/dev opened inside its namespace
    {"op": "detach", "host"}             -> {}     closes them: the device is gone when the answer is sent
    {"op": "counters"}                   -> {"hosts": {name: [numbers in the order of userspace_host.FIGURES]},
                                            "malformed", "unroutable"}
    {"op": "lag"}                        -> {"lag": [packets, p50 ns, p99 ns, max ns]} since the last such request
    {"op": "close"}                      -> {}     the process ends

What it cannot do it answers with {"error": one line}. Descriptors travel by SCM_RIGHTS with the line they belong to: the
controller enters the namespace and opens the device, so the shaper never leaves its own and never waits for a kernel lock.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

SOCKET_NAME = "shaper.sock"
MAX_FDS = 8


def bind(path: Path) -> socket.socket:
    """Listen at a path of any length (sun_path holds 107 bytes), replacing a stale socket."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
    path.chmod(0o600)
    listener.listen(16)
    return listener


def connect(path: Path) -> socket.socket:
    """OSError if nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{path.name}")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock
