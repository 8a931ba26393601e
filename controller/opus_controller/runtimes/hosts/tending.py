"""A testbed that stays up, in hand: its controller, which hears `opus fault` until the testbed is gone.

What hands have done is kept beside the testbed's state (faults.json), so that another controller could go on with it, and told
in events.ndjson there, line by line as in a run's record.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from opus_controller.engine.console import Console
from opus_controller.engine.faults import Faults
from opus_controller.engine.hands import Hands
from opus_controller.engine.runtime import Record
from opus_controller.model.plan import Plan
from opus_controller.runtimes.hosts import hands as made
from opus_controller.runtimes.hosts.runtime import HostsRuntime

LOOK_EVERY_S = 0.5
READY = "hearing hands"

log = logging.getLogger(__name__)


class Tender:
    """Of an opened run whose runtime has been made able to start its hosts."""

    def __init__(self, runtime: HostsRuntime) -> None:
        self._runtime = runtime
        self._plan: Plan = runtime.state.plan()
        kept = made.kept_faults(runtime.state)
        base = made.shaped(runtime.state, self._plan)
        self._faults = Faults(self._plan, runtime, kept=kept, base=base)
        self._hands = Hands(self._plan, runtime, self._faults, self._record, kept["targets"] if kept else None)
        for host in self._plan.hosts:
            if not runtime.nodes.is_alive(host.name):
                self._faults.lost(host.name)

    async def tend(self) -> None:
        """Until the testbed is gone, or this is cancelled."""
        console = Console(self._runtime.console, self._answer)
        await self._runtime.strain(self._faults.ledger.strains)  # of an earlier controller: from here on they are this one's
        await self._runtime.flood(self._faults.ledger.flood)
        await console.open()
        log.info(READY)
        try:
            while self._runtime.state.directory.exists():
                self._learn()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await console.close()
            await self._hands.stop()

    async def _answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """As `engine.hands`, and {"do": "links"}: `opus link set` has changed what is beneath the faults."""
        self._learn()
        self._faults.ledger.rebase(made.shaped(self._runtime.state, self._plan))
        if question.get("do") == "links":
            await self._runtime.apply_links(self._faults.ledger.network)
            return {}
        return await self._hands.answer(question)

    def _learn(self) -> None:
        """Of deaths and returns. Notices are for nobody."""
        for host, words in self._runtime.died().items():
            log.warning("%s died by itself: %s", host, words)
            self._faults.lost(host)
            self._write([self._event(host, "host_down", cause="died", log=words)])
        for host in self._runtime.returned():
            log.warning("%s runs again", host)
            self._faults.found(host)
            self._write([self._event(host, "host_up", cause="returned")])
        self._runtime.records()

    def _event(self, host: str, kind: str, **fields: str) -> Record:
        return {"t": self._runtime.now(), "host": host, "kind": kind, **fields}

    def _record(self, records: Iterable[Record]) -> None:
        made.keep_faults(self._runtime.state, {**self._faults.plain(), "targets": self._hands.targets})
        self._write(records)

    def _write(self, records: Iterable[Record]) -> None:
        with (self._runtime.state.directory / made.EVENTS).open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
