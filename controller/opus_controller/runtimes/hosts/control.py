"""The controller's line to one node: gRPC over the host's own Unix socket, never over the emulated network.

The controller is no oracle: Boot tells a node who it is, what its own host has lived through, the ways in and what the
applications are called; after it nothing here carries membership, a delay or a role. `tap` sees every message towards a node
before it is sent (a test keeps them).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from opus_proto.v1 import control_pb2, control_pb2_grpc

from opus_controller.engine.cancellation import heed
from opus_controller.engine.clocks import RIGHT, Skew
from opus_controller.model.errors import PlatformError
from opus_controller.model.history import History
from opus_controller.model.plan import App, Host, Plan, Service, Utility, Workload
from opus_controller.runtimes.hosts.state import SOCKET

Tap = Callable[[str, Message], None]
"""Called with the host's name and a message that is about to be sent to its node."""

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 64 << 20),
)
READY_S = 180.0
"""For a new process to open its socket and answer: hundreds start at once on two cores, or three on an emulated machine.
One that ends is noticed before."""
CALL_S = 10.0


class NodeControl:
    """One node's control service. Every method raises PlatformError, naming the host, when the node does not answer."""

    def __init__(self, host: str, directory: Path, tap: Tap | None = None) -> None:
        self._host = host
        self._tap = tap
        self._channel = grpc.aio.insecure_channel(f"unix:{directory / SOCKET}", options=_OPTIONS)
        self._stub = control_pb2_grpc.ControlStub(self._channel)

    async def boot(self, request: control_pb2.BootRequest) -> None:
        """Waits for the node's socket, too."""
        await self._call("Boot", self._stub.Boot, request, READY_S)

    async def start_workload(self, loads: Iterable[Workload]) -> None:
        request = control_pb2.WorkloadRequest(workloads=[_workload(load) for load in loads])
        await self._call("StartWorkload", self._stub.StartWorkload, request, CALL_S)

    async def set_clock(self, skew: Skew) -> int:
        """How far it is ahead then, nanoseconds."""
        reply = await self._call("SetClock", self._stub.SetClock, _clock(skew), CALL_S)
        assert isinstance(reply, control_pb2.ClockReply)
        return reply.ahead_ns

    async def status(self, timeout_s: float = CALL_S) -> control_pb2.StatusReply:
        reply = await self._call("GetStatus", self._stub.GetStatus, control_pb2.StatusRequest(), timeout_s)
        assert isinstance(reply, control_pb2.StatusReply)
        return reply

    async def metrics(self) -> str:
        """The node's registry in the Prometheus text format."""
        reply = await self._call("GetMetrics", self._stub.GetMetrics, control_pb2.MetricsRequest(), CALL_S)
        assert isinstance(reply, control_pb2.MetricsReply)
        return reply.text

    async def watch(self, acknowledged: int) -> Any:
        """The open stream of `Notices` from number `acknowledged` on; iterate it, `cancel()` ends it."""
        request = control_pb2.WatchRequest(acknowledged=acknowledged)
        if self._tap is not None:
            self._tap(self._host, request)
        return self._stub.Watch(request)

    def containers(self) -> Any:
        """The open stream of `ContainerWanted`: read it, answer by `tell_container`, `cancel()` ends it."""
        return self._stub.Containers()

    async def tell_container(self, stream: Any, seen: control_pb2.ContainerSeen) -> None:
        if self._tap is not None:
            self._tap(self._host, seen)
        await stream.write(seen)

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, name: str, method: Any, request: Message, timeout_s: float) -> Message:
        if self._tap is not None:
            self._tap(self._host, request)
        try:
            reply: Message = await method(request, timeout=timeout_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            heed()
            reason = "no answer" if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else error.details()
            raise PlatformError(f"{self._host}: its node refused {name} ({reason}); its log says why") from error
        except asyncio.CancelledError:
            heed()
            # Not we were cancelled but the call: its channel was closed, since the node is dead.
            raise PlatformError(f"{self._host}: its node ended during {name}") from None
        heed()
        return reply


class Watch:
    """Follows one node's notices, through broken streams, and hands them on as records."""

    def __init__(
        self, host: str, control: NodeControl, deliver: Callable[[list[dict[str, Any]]], asyncio.Future[None] | None]
    ) -> None:
        """`deliver` takes records; if it returns a future, its buffer is full: reading goes on when that is done."""
        self._host = host
        self._control = control
        self._deliver = deliver
        self._acknowledged = 0
        self.dropped = 0
        """Notices that the node lost in its full buffer, cumulated."""

    async def run(self) -> None:
        """Until cancelled. A broken stream (the node is busy, or dead) is opened again where it broke off."""
        while True:
            stream = await self._control.watch(self._acknowledged)
            try:
                async for notices in stream:
                    await self._take(notices)
            except grpc.aio.AioRpcError:
                pass
            finally:
                stream.cancel()
            await asyncio.sleep(0.2)

    async def _take(self, notices: control_pb2.Notices) -> None:
        records = [json.loads(line) | {"host": self._host} for line in notices.ndjson.splitlines()]
        self._acknowledged = max(self._acknowledged, notices.last)
        self.dropped = max(self.dropped, notices.dropped)
        if (room := self._deliver(records)) is not None:
            await room


def boot_request(
    plan: Plan, host: Host, *, origin_ns: int, incarnation: int, past: History, skew: Skew = RIGHT
) -> control_pb2.BootRequest:
    """Everything a node is ever told about the overlay."""
    addresses = {other.name: other.address for other in plan.hosts}
    settings = {name: value for name, value in plan.overlay.model_dump().items() if value is not None}
    return control_pb2.BootRequest(
        node_id=host.address,
        seed=str(plan.seed),
        origin_ns=origin_ns,
        incarnation=incarnation,
        seeds=[addresses[name] for name in plan.seeds],
        apps=[_app(app, addresses) for app in plan.apps],
        abilities=control_pb2.Abilities(**host.abilities.model_dump(exclude={"processes"})),
        settings=control_pb2.Settings(**settings),
        history=control_pb2.History(age_ns=past.age, sessions=past.sessions, up_ns=past.up, away_ns=past.away),
        clock=None if skew == RIGHT else _clock(skew),
    )


def _clock(skew: Skew) -> control_pb2.Clock:
    return control_pb2.Clock(at_ns=skew.at_ns, ahead_ns=skew.ahead_ns, drift_ppm=skew.drift_ppm)


def _app(app: App, addresses: Mapping[str, str]) -> control_pb2.App:
    return control_pb2.App(
        name=app.name,
        replicas=app.replicas,
        policy=app.policy,
        service=_service(app.service),
        most=app.most,
        availability=app.availability,
        service_time_ns=app.service_time_ns,
        queue_ns=app.queue_ns,
        choice=app.choice,
        hedge_ns=app.hedge_ns,
        utility=None if app.utility is None else _utility(app.utility),
        memory=app.memory,
        storage=app.storage,
        consistency=app.consistency,
        staleness_ns=app.staleness_ns,
        missed=app.missed,
        static=app.static,
        members=[addresses[name] for name in app.members],
        spread=app.spread,
        shards=app.shards,
        copies=app.copies,
    )


def _utility(utility: Utility) -> control_pb2.Utility:
    latency, availability, throughput = (
        [control_pb2.Point(x=x, share=share) for x, share in points]
        for points in (utility.latency_ns, utility.availability, utility.throughput_per_s)
    )
    return control_pb2.Utility(
        worth=utility.worth,
        least=utility.combine == "least",
        quantile=utility.latency_quantile or 0.95,
        latency=latency,
        availability=availability,
        throughput=throughput,
        floor=utility.floor,
    )


def _service(service: Service | None) -> control_pb2.Service | None:
    if service is None:
        return None
    told = service.model_dump(exclude={"files", "model_start_ns", "model_answer_ns"})
    files = service.files
    return control_pb2.Service(**told, digest=files.digest if files else "", size=files.size if files else 0)


def _workload(load: Workload) -> control_pb2.Workload:
    return control_pb2.Workload(**load.model_dump(exclude={"client"}))
