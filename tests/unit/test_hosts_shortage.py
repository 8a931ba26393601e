"""Limits of memory below what is in use: real processes, in cgroups that are files or, where there are such, the kernel's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import HostAbilities
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange
from opus_controller.runtimes.hosts import cgroups, shortage

MIB = 1 << 20
HOLD = """
import sys
kept = bytearray(int(sys.argv[1]))
for i in range(0, len(kept), 4096):
    kept[i] = 1
print("there", flush=True)
sys.stdin.read()
"""


class Held:
    """Processes that hold memory until they are closed."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, mib: int, cgroup: Path | None = None) -> subprocess.Popen[bytes]:
        def enter() -> None:
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        words = [sys.executable, "-c", HOLD, str(mib * MIB)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=enter)
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        return process


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    for process in held.processes:
        process.kill()
        process.communicate()


def test_the_largest_in_the_cgroup_ends_until_the_limit_holds_and_nobody_outside(held: Held, tmp_path: Path) -> None:
    outside, small, large, inner = (held.start(mib) for mib in (120, 1, 40, 80))
    (tmp_path / "below").mkdir()
    (tmp_path / "cgroup.procs").write_text(f"{small.pid}\n{large.pid}\n0\n")
    (tmp_path / "below" / "cgroup.procs").write_text(f"{inner.pid}\n")

    def refuse_while_both_live() -> None:
        if large.poll() is None:
            raise shortage.MemoryInUse("more is in use")

    assert shortage.lower([str(tmp_path)], refuse_while_both_live, "a-1") == [inner.pid, large.pid]
    assert [one.poll() for one in (outside, small)] == [None, None]
    assert (inner.wait(), large.wait()) == (-9, -9)


def test_a_limit_that_holds_at_once_ends_nobody(held: Held, tmp_path: Path) -> None:
    inside = held.start(1)
    (tmp_path / "cgroup.procs").write_text(f"{inside.pid}\n")
    assert shortage.lower([str(tmp_path)], lambda: None, "a-1") == []
    assert inside.poll() is None


def test_where_nobody_is_left_to_end_it_is_said_in_one_line(held: Held, tmp_path: Path) -> None:
    gone = held.start(1)
    gone.kill()
    gone.wait()
    (tmp_path / "cgroup.procs").write_text(f"{gone.pid}\n")

    def refuse() -> None:
        raise shortage.MemoryInUse("more is in use")

    with pytest.raises(PlatformError, match="a-1: more is in use and no process in it can be ended"):
        shortage.lower([str(tmp_path)], refuse, "a-1")


def test_tries_are_bounded(held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortage, "ENDED_AT_MOST", 1)
    first, second = held.start(20), held.start(1)
    (tmp_path / "cgroup.procs").write_text(f"{first.pid}\n{second.pid}\n")

    def refuse() -> None:
        raise shortage.MemoryInUse("more is in use")

    with pytest.raises(PlatformError, match="after 1 of its processes were ended"):
        shortage.lower([str(tmp_path)], refuse, "a-1")
    assert second.poll() is None


@pytest.fixture
def real() -> Iterator[Path]:
    """A cgroup of v1 for memory."""
    base = cgroups.find_mounts(Path("/proc/self/mountinfo").read_text()).memory
    if base is None:
        pytest.skip("memory's control groups are not of version 1 here")
    directory = base / f"opus-test-{uuid4().hex[:8]}"
    try:
        directory.mkdir()
    except OSError:
        pytest.skip("no control groups may be made here")
    yield directory
    with suppress(OSError):
        cgroups.remove([directory])


def test_version_1s_kernel_gets_what_version_2s_does(held: Held, real: Path) -> None:
    abilities = HostAbilities(cpu=1.0, memory=400 * MIB)
    cgroups.limit([str(real)], abilities, NOTHING_TAKEN)
    small, large = held.start(4, real), held.start(150, real)
    outside = held.start(160)
    try:
        cgroups.limit([str(real)], abilities, HostChange(memory=64 * MIB))
        assert cgroups.in_force([str(real)])[1] == [64 * MIB]
        assert large.wait() == -9
        assert [one.poll() for one in (small, outside)] == [None, None]
    finally:
        for process in (small, large):
            process.kill()
            process.wait()
