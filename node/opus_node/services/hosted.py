"""All services of one node: their programs, their door, their gateways, wired to the node's driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from opus_node.core.events import ClientReply, Event, Notice, Request, RoleChanged, Serve, Served, Snapshot
from opus_node.core.types import SECOND, AppId, Nanos, NodeId
from opus_node.services.containers import Containers
from opus_node.services.door import Door
from opus_node.services.exchange import BusyError, ExchangeError, ask
from opus_node.services.gateway import Gateway
from opus_node.services.spec import ServiceSpec, ServiceStats
from opus_node.services.store import Store
from opus_node.services.supervisor import Supervisor


class Host(Protocol):
    """What services need of the node's driver."""

    node_id: NodeId

    def now(self) -> Nanos: ...
    def feed(self, event: Event) -> None: ...
    def tell(self, notice: Notice) -> None: ...
    def issue(self, request: Callable[[int], Request]) -> int: ...
    def snapshot(self) -> Snapshot: ...


class Services:
    """Nothing is started, nothing listens, where there is no service."""

    def __init__(self, specs: Iterable[ServiceSpec], directory: Path, host: Host, fail: Callable[[BaseException], None]) -> None:
        """`directory`: the node's own, on its host's disk. `fail` hears of what should never happen."""
        self.specs = {spec.app: spec for spec in specs}
        self.stats = {app: ServiceStats() for app in self.specs}
        self.containers = Containers()
        self._host = host
        store = Store(directory / "store")
        self._supervisors = {
            app: Supervisor(
                spec,
                self.stats[app],
                host.node_id,
                directory / "services",
                store,
                self.containers,
                host.tell,
                host.feed,
                self._fellows(app),
                host.now,
                fail,
            )
            for app, spec in self.specs.items()
        }
        self._door = Door(store, self._port_of, self._sent)
        self._gateways = [Gateway(spec, self.stats[app], self._asker(spec)) for app, spec in self.specs.items()]
        self._waiting: dict[int, asyncio.Future[ClientReply]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """LocalError if a port cannot be had."""
        if self.specs:
            await self._door.start(self._host.node_id)
            for gateway in self._gateways:
                await gateway.start()

    async def stop(self) -> None:
        for gateway in self._gateways:
            await gateway.stop()
        await self._door.stop()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*(supervisor.stop() for supervisor in self._supervisors.values()))

    def kill(self) -> None:
        """The node is broken."""
        for supervisor in self._supervisors.values():
            supervisor.kill()

    # What the core says

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, RoleChanged) and notice.role == "replica" and notice.app in self._supervisors:
            self._supervisors[notice.app].want(notice.active)

    def serve(self, serve: Serve) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(serve))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def reply(self, reply: ClientReply) -> None:
        waiting = self._waiting.pop(reply.request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    async def _serve(self, serve: Serve) -> None:
        stats, began = self.stats[serve.app], self._host.now()
        try:
            content = await ask(self.specs[serve.app], serve.content, (serve.deadline - began) / SECOND)
        except ExchangeError as error:
            stats.requests["failed"] += 1
            self._host.feed(Served(serve.ticket, False, why=str(error), busy=isinstance(error, BusyError)))
            return
        stats.requests["ok"] += 1
        stats.latency.observe(self._host.now() - began)
        self._host.feed(Served(serve.ticket, True, 0, content))

    # What gateways, doors and supervisors ask

    def _asker(self, spec: ServiceSpec) -> Callable[[bytes], asyncio.Future[ClientReply]]:
        def ask_overlay(content: bytes) -> asyncio.Future[ClientReply]:
            """A request of a local client, from now on; its answer is a matter of the deadline at the latest."""
            future: asyncio.Future[ClientReply] = asyncio.get_running_loop().create_future()
            deadline = self._host.now() + spec.deadline

            def request(number: int) -> Request:
                self._waiting[number] = future
                return Request(spec.app, number, 0, False, len(content), 0, deadline, content)

            self._host.issue(request)
            return future

        return ask_overlay

    def _fellows(self, app: AppId) -> Callable[[], tuple[NodeId, ...]]:
        return lambda: dict(self._host.snapshot().fellows).get(app, ())

    def _port_of(self, app: AppId) -> int | None:
        supervisor = self._supervisors.get(app)
        return None if supervisor is None else supervisor.port

    def _sent(self, digest: str, size: int) -> None:
        for app, spec in self.specs.items():
            if spec.digest == digest:
                self.stats[app].sent_bytes += size
