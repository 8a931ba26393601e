"""What else bears on the machine, read from a made-up /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from opus_controller.runtimes.hosts.strain import PROCESSES_EVERY, StrainMeter


def process(proc: Path, pid: int, name: str, parent: int, ticks: int) -> None:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True, exist_ok=True)
    (directory / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 0\n")


def cores(proc: Path, *, idle: int, steal: int = 0, user: int = 0) -> None:
    (proc / "stat").write_text(f"cpu {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 0\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net/stat").mkdir(parents=True)
    (tmp_path / "net/stat/arp_cache").write_text("entries allocs\n00000200 0\n00000200 0\n")
    (tmp_path / "sys/net/ipv4/neigh/default").mkdir(parents=True)
    (tmp_path / "sys/net/ipv4/neigh/default/gc_thresh3").write_text("1024\n")
    (tmp_path / "sys/fs/inotify").mkdir(parents=True)
    (tmp_path / "sys/fs/inotify/max_user_instances").write_text("4\n")
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  250 kB\n")
    process(tmp_path, 10, "opus", 1, 100)
    process(tmp_path, 11, "node (a) b", 10, 100)
    process(tmp_path, 12, "program", 11, 100)
    process(tmp_path, 90, "compiler", 1, 100)
    process(tmp_path, 91, "other", 1, 100)
    cores(tmp_path, idle=1000)
    for fd in "12":
        os.symlink("anon_inode:inotify", tmp_path / "90" / "fd" / fd)
    os.symlink("/dev/null", tmp_path / "90" / "fd" / "3")
    return tmp_path


def test_what_others_have_of_the_cores_and_who_it_is(proc: Path) -> None:
    meter = StrainMeter(proc)
    assert meter.read({10}).cpu_others == 0.0, "nothing to compare with yet"
    for pid, name, parent, ticks in ((10, "opus", 1, 150), (11, "node (a) b", 10, 150), (12, "program", 11, 150)):
        process(proc, pid, name, parent, ticks)
    process(proc, 90, "compiler", 1, 250)
    process(proc, 91, "other", 1, 110)
    cores(proc, idle=1_100, steal=40, user=260)
    readings = [meter.read({10}) for _ in range(PROCESSES_EVERY)]
    assert readings[-2].cpu_others == 0.0, "processes are looked at now and then only"
    assert readings[-1].cpu_others == pytest.approx((150 + 10 + 40) / 400)
    assert readings[-1].other == "compiler"


def test_shares_of_memory_and_of_shared_tables(proc: Path) -> None:
    strain = StrainMeter(proc).read({10})
    assert strain.memory_used == pytest.approx(0.75)
    assert strain.neighbour_table == pytest.approx(0.5)
    assert strain.inotify == pytest.approx(0.5)


def test_what_cannot_be_read_is_nothing(proc: Path) -> None:
    for path in ("net/stat/arp_cache", "sys/fs/inotify/max_user_instances", "meminfo"):
        (proc / path).unlink()
    strain = StrainMeter(proc).read({10})
    assert (strain.memory_used, strain.neighbour_table, strain.inotify) == (0.0, 0.0, 0.0)


def test_this_machine_s_own_proc_is_read() -> None:
    strain = StrainMeter().read({os.getpid()})
    assert 0 < strain.memory_used < 1
    assert strain.inotify >= 0
