"""Follows the container engine's events about one run, through restarts of the engine.

A level, not edges: every piece of news says only which host to look at, and after a broken connection that is all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from opus_controller.model.errors import PlatformError
from opus_controller.runtimes.docker.engine import HOST_LABEL, Engine

AGAIN_S = 0.5
"""Between two attempts to reach an engine that is gone."""
ACTIONS = frozenset({"start", "die", "oom", "pause", "unpause", "destroy"})

log = logging.getLogger(__name__)


class EngineWatch:
    """`look(host)` is called, in the watch's own thread, for every event about that host; `gone()` when the engine is lost, and
    `back()` when it answers again."""

    def __init__(
        self, engine: Engine, run: str, look: Callable[[str], None], gone: Callable[[], None], back: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._run = run
        self._look = look
        self._gone = gone
        self._back = back
        self._stopping = threading.Event()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._follow, name="engine events", daemon=True)

    def start(self) -> None:
        """Returns when events are being followed. PlatformError if the engine does not answer."""
        self._stream = self._engine.events(self._run)
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing will be called any more."""
        self._stopping.set()
        self._close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(10.0)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._read()
            if not self._stopping.is_set():
                log.warning("%s: the container engine is gone; waiting for it", self._run)
                self._gone()
                if self._reach():
                    log.warning("%s: the container engine is back", self._run)
                    self._back()

    def _read(self) -> None:
        """Until the stream ends, whatever ends it."""
        try:
            for event in self._stream:
                host = event.get("Actor", {}).get("Attributes", {}).get(HOST_LABEL)
                if host and event.get("Action") in ACTIONS:
                    self._look(host)
        except Exception as error:  # noqa: BLE001  (the SDK lets its transport's and its parser's own through)
            log.info("%s: the stream of events broke: %s", self._run, error)

    def _reach(self) -> bool:
        """Until the engine answers (True), or the watch is to stop."""
        while not self._stopping.wait(AGAIN_S):
            try:
                self._stream = self._engine.events(self._run)
            except PlatformError:
                continue
            return True
        return False

    def _close(self) -> None:
        try:
            if self._stream is not None:
                self._stream.close()
        except Exception as error:  # noqa: BLE001  (it is going anyway)
            log.debug("closing the stream of events: %s", error)
