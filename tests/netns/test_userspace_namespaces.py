"""Namespaces of a run: made, entered, found and removed by exact name, whatever is named almost like them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from opus_controller.net import addresses, namespaces

pytestmark = pytest.mark.netns


@pytest.fixture
def run() -> Iterator[str]:
    name = namespaces.new_run()
    yield name
    for namespace in namespaces.of_run(name):
        namespaces.delete(namespace)


def test_made_entered_and_removed(run: str) -> None:
    names = [namespaces.host_namespace(run, f"h{i}") for i in range(3)] + [namespaces.wan_namespace(run)]
    here = namespaces.identity(Path("/proc/thread-self/ns/net"))
    namespaces.create(names)
    assert namespaces.of_run(run) == sorted(names)
    assert run in namespaces.runs()
    inside = [namespaces.run_inside(namespaces.path_of(n), lambda: _identity_here()) for n in names]
    assert inside == [namespaces.identity(namespaces.path_of(n)) for n in names]
    assert len({here, *inside}) == 5, "every one is a namespace of its own"
    assert _identity_here() == here, "the caller never moved"
    assert [namespaces.delete(n) for n in names] == [True] * 4
    assert namespaces.of_run(run) == []
    assert namespaces.delete(names[0]) is False


def test_ip_netns_sees_them(run: str) -> None:
    name = namespaces.host_namespace(run, "h")
    namespaces.create([name])
    namespaces.run_inside(namespaces.path_of(name), lambda: addresses.set_up("lo"))
    shown = subprocess.run(["ip", "-n", name, "-o", "addr"], capture_output=True, text=True, check=True).stdout
    assert "127.0.0.1/8" in shown
    assert "UP" in subprocess.run(["ip", "-n", name, "link"], capture_output=True, text=True, check=True).stdout


def test_a_taken_name_undoes_the_others(run: str) -> None:
    names = [namespaces.host_namespace(run, host) for host in ("a", "b", "c")]
    namespaces.create([names[1]])
    kept = namespaces.identity(namespaces.path_of(names[1]))
    with pytest.raises(FileExistsError):
        namespaces.create(names)
    assert namespaces.of_run(run) == [names[1]]
    assert namespaces.identity(namespaces.path_of(names[1])) == kept


def test_a_name_almost_like_the_runs_is_not_the_runs(run: str) -> None:
    almost = f"opus-{run}x-h"
    namespaces.create([namespaces.host_namespace(run, "h"), almost])
    try:
        assert namespaces.of_run(run) == [namespaces.host_namespace(run, "h")]
        for name in namespaces.of_run(run):
            namespaces.delete(name)
        assert namespaces.path_of(almost).exists()
    finally:
        namespaces.delete(almost)


def test_processes_inside_are_found(run: str) -> None:
    names = [namespaces.host_namespace(run, host) for host in ("a", "b")]
    namespaces.create(names)
    child = subprocess.Popen(["ip", "netns", "exec", names[0], "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        child.stdin.write(b"x\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"x\n"  # now it is inside
        found = namespaces.processes_in([*names, f"opus-{run}-gone"])
        child.stdin.close()
    assert found == {names[0]: [child.pid], names[1]: [], f"opus-{run}-gone": []}


def test_an_error_inside_reaches_the_caller(run: str) -> None:
    name = namespaces.host_namespace(run, "h")
    namespaces.create([name])
    with pytest.raises(OSError, match="eth7: read flags"):
        namespaces.run_inside(namespaces.path_of(name), lambda: addresses.set_up("eth7"))
    with pytest.raises(FileNotFoundError):
        namespaces.run_inside(namespaces.path_of(f"opus-{run}-none"), lambda: None)


def test_a_socket_made_inside_stays_inside(run: str) -> None:
    name = namespaces.host_namespace(run, "h")
    namespaces.create([name])
    namespaces.run_inside(namespaces.path_of(name), lambda: addresses.set_up("lo"))
    sock = namespaces.run_inside(namespaces.path_of(name), _listener)
    with sock, pytest.raises(ConnectionRefusedError):
        socket.create_connection(sock.getsockname(), timeout=5)


def _listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def _identity_here() -> tuple[int, int]:
    status = os.stat("/proc/thread-self/ns/net")
    return status.st_dev, status.st_ino
