"""What a program consumes, as its host measures it: real processes, what they start, and what was ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opus_node.core.types import SECOND
from opus_node.services.meter import TICK, core_time

pytestmark = pytest.mark.clock
BURN = """\
import os, subprocess, sys, time
def burn(seconds):
    while time.process_time() < seconds:
        pass
"""
CHILD = BURN + "burn(0.3); print('burnt', flush=True); sys.stdin.read()"
PARENT = (
    BURN
    + """
child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
burn(0.3)
print("both", flush=True)
sys.stdin.readline()
child.stdin.close()
child.wait()
print("alone", flush=True)
sys.stdin.read()
"""
)


@contextmanager
def family() -> Iterator[subprocess.Popen[str]]:
    """A process that burns 0.3 s of a core, and so does its child; at its input's first line the child ends."""
    code = PARENT.replace("CHILD", repr(CHILD))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def seconds(pid: int) -> float:
    taken = core_time(pid)
    assert taken is not None
    return taken / SECOND


needs_children = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="this kernel shows no children"
)


@needs_children
def test_a_process_and_its_child_are_measured_together_also_when_the_child_has_ended() -> None:
    with family() as process:
        assert said(process) == "both"
        together = seconds(process.pid)
        assert 0.55 <= together < 1.2, "0.6 s, and two interpreters that start"
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert said(process) == "alone"
        alone = seconds(process.pid)
        assert together - 2 * TICK / SECOND <= alone < together + 0.3
        time.sleep(0.3)
        assert seconds(process.pid) - alone <= 0.05, "who waits consumes nothing"


def test_who_has_ended_is_not_measured() -> None:
    with family() as process:
        process.kill()
        process.wait()
        assert core_time(process.pid) is None
