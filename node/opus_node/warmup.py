"""Runs the node's own code for a moment, in memory, before the zygote forks.

CPython 3.11 rewrites bytecode in place as it finds out which kinds of objects it handles (PEP 659), and so unshares every
page of code that a node runs, unless that has happened before the fork. Nothing here touches gRPC or the network.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from opus_proto.v1 import control_pb2

from opus_node import codec, sizes
from opus_node.control import boot_spec
from opus_node.core.events import Boot, Event, Receive, Request, Wake
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId
from opus_node.driver import Core
from opus_node.folds import NodeFold, notice_to_record
from opus_node.outqueue import OutQueue, Queued
from opus_node.process import overlay_core

NODES = 6
UNTIL: Nanos = 20 * SECOND
PATH: Nanos = 20 * MILLISECOND


def warm_up() -> int:
    """A few nodes join and answer requests in virtual time; how many messages they sent."""
    asyncio.run(_turn_the_loop())
    return _Rehearsal().run()


async def _turn_the_loop() -> None:
    for _ in range(32):
        await asyncio.wait_for(asyncio.sleep(0), 1)


class _Rehearsal:
    """A network with one delay, all messages through the codec and a queue as in the transport."""

    def __init__(self) -> None:
        self._agenda: list[tuple[Nanos, int, NodeId, Event]] = []
        self._order = count()
        self._messages = 0
        self._fold = NodeFold()
        names = [f"198.18.255.{i + 1}" for i in range(NODES)]
        self._cores: dict[NodeId, Core] = {}
        for name in names:
            told = control_pb2.BootRequest(
                node_id=name, seed="warm", seeds=names[:2], apps=[control_pb2.App(name="app", replicas=2)]
            )
            spec = boot_spec(control_pb2.BootRequest.FromString(told.SerializeToString()))
            self._cores[name] = overlay_core(spec)
            self._at(0, name, Boot(spec.seeds))
        for number in range(100):
            at = 5 * SECOND + number * 100 * MILLISECOND
            self._at(at, names[number % NODES], Request("app", number, number % 7, False, 100, 1000, at + SECOND))

    def run(self) -> int:
        while self._agenda:
            now, _, name, event = heapq.heappop(self._agenda)
            if now > UNTIL:
                break
            ready = self._cores[name].step(event, now)
            for send in ready.sends:
                for message, _ in codec.decode_frame(self._carry(codec.encode(send.message))):
                    sizes.encoded_size(message)
                    self._at(now + PATH, send.to, Receive(name, message))
            for notice in ready.notices:
                notice_to_record(now, name, notice)
                self._fold.add(notice)
            if ready.wake_at is not None:
                self._at(max(ready.wake_at, now + MILLISECOND), name, Wake())
        for core in self._cores.values():
            core.snapshot()
        return self._messages

    def _carry(self, envelope: bytes) -> bytes:
        self._messages += 1
        queue = OutQueue(10, 1 << 20)
        queue.put(Queued(envelope, 1.0, True, True), 0.0)
        return codec.frame([item.envelope for item in queue.take(0.0, 10, 1 << 16)])

    def _at(self, t: Nanos, name: NodeId, event: Event) -> None:
        heapq.heappush(self._agenda, (t, next(self._order), name, event))
