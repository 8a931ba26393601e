"""Work in forked processes: what a simulated world has become so far is shared with every branch of its future.

A child runs a function and sends what it returns, pickled, through a pipe; nothing else of it survives. At most so many
run at once; where one fails, or the parent is interrupted, all are ended and none is left behind.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import selectors
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from opus_controller.model.errors import OpusError

T = TypeVar("T")
_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16


@dataclass
class _Child:
    index: int
    pid: int
    pipe: int
    received: bytearray


def each(tasks: Iterable[Callable[[], T]], workers: int) -> Iterator[tuple[int, T]]:
    """(number of the task, what it returned), in order of completion. An OpusError of a task is raised here as it was."""
    waiting = enumerate(tasks)
    running: dict[int, _Child] = {}
    selector = selectors.DefaultSelector()

    def start_some() -> None:
        while len(running) < workers and (nxt := next(waiting, None)) is not None:
            child = _start(*nxt)
            running[child.pipe] = child
            selector.register(child.pipe, selectors.EVENT_READ)

    try:
        start_some()
        while running:
            for key, _ in selector.select():
                child = running[key.fd]
                data = os.read(child.pipe, _CHUNK)
                child.received += data
                if data:
                    continue
                selector.unregister(child.pipe)
                del running[child.pipe]
                yield child.index, _outcome(child)
            start_some()
    finally:
        for child in running.values():
            os.kill(child.pid, signal.SIGKILL)
            os.close(child.pipe)
            os.waitpid(child.pid, 0)
        selector.close()


def call(task: Callable[[], T]) -> T:
    """One task in a process of its own."""
    return next(iter(each([task], 1)))[1]


def _start(index: int, task: Callable[[], Any]) -> _Child:
    ours, theirs = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # or the child's collector would touch, and so copy, every page
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _live_no_longer_than(parent)
        _run(theirs, task)
    os.close(theirs)
    return _Child(index, pid, ours, bytearray())


def _live_no_longer_than(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _run(pipe: int, task: Callable[[], Any]) -> NoReturn:
    """Never returns into the parent's code."""
    code = 1
    try:
        try:
            answer: tuple[bool, Any] = (True, task())
        except OpusError as error:
            answer = (False, error)
        except Exception:  # noqa: BLE001  (told to the parent)
            answer = (False, traceback.format_exc())
        with os.fdopen(pipe, "wb") as file:
            pickle.dump(answer, file)
        code = 0
    finally:
        os._exit(code)


def _outcome(child: _Child) -> Any:
    os.close(child.pipe)
    _, status = os.waitpid(child.pid, 0)
    if not child.received:
        raise RuntimeError(f"a process of this bench ended without an answer (status {status}); out of memory?")
    fine, answer = pickle.loads(bytes(child.received))
    if fine:
        return answer
    raise answer if isinstance(answer, OpusError) else RuntimeError(f"in a process of this bench:\n{answer}")
