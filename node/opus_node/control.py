"""The control service: the controller's line to this node, on the node's own Unix socket (`control.proto`).

The directory is the protection: 0700 and owned by the node's user. After Boot nothing that comes in here tells the node
about membership, delays or roles.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from opus_proto.v1 import control_pb2 as pb
from opus_proto.v1 import control_pb2_grpc

from opus_node.choices import choosing
from opus_node.clock import ClockTold
from opus_node.core.choice import LATENCY
from opus_node.core.placement import POLICIES
from opus_node.core.types import BEST, CONSISTENCIES, SECOND, Abilities, AppConfig, History, NodeConfig
from opus_node.core.utility import Utility
from opus_node.errors import LocalError
from opus_node.process import BootSpec, NodeProcess
from opus_node.services.spec import ServiceSpec
from opus_node.workload import WorkloadSpec

SOCKET: Final = "c.sock"
MAX_PATH: Final = 107
"""Bytes of a Unix socket's path (sun_path)."""
BATCH_BYTES: Final = 1 << 20
GATHER_S: Final = 0.2
"""Between two batches to a watcher: a few hundred nodes that sent every notice by itself would keep a core busy."""


class Control(control_pb2_grpc.ControlServicer):
    """Every refusal is FAILED_PRECONDITION or INVALID_ARGUMENT with one line that says why."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node

    async def Boot(self, request: pb.BootRequest, context: Any) -> pb.BootReply:
        try:
            spec = boot_spec(request)
        except ValueError as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error)
        try:
            await self._node.boot(spec)
        except LocalError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)
        return pb.BootReply(pid=os.getpid())

    async def StartWorkload(self, request: pb.WorkloadRequest, context: Any) -> pb.WorkloadReply:
        try:
            specs = [_workload(each) for each in request.workloads]
        except ValueError as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error)
        try:
            self._node.start_workload(specs)
        except LocalError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)
        return pb.WorkloadReply()

    async def SetClock(self, request: pb.Clock, context: Any) -> pb.ClockReply:
        try:
            return pb.ClockReply(ahead_ns=self._node.set_clock(_clock(request)))
        except LocalError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)

    async def Watch(self, request: pb.WatchRequest, context: Any) -> AsyncIterator[pb.Notices]:
        try:
            notices = self._node.booted.driver.notices
        except LocalError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)
        seen = request.acknowledged
        notices.acknowledge(seen)
        while True:
            await notices.after(seen)
            seen, lines = notices.take(seen, BATCH_BYTES)
            yield pb.Notices(last=seen, ndjson=lines, dropped=notices.dropped)
            if len(lines) < BATCH_BYTES:
                await asyncio.sleep(GATHER_S)

    async def GetStatus(self, request: pb.StatusRequest, context: Any) -> pb.StatusReply:
        return status(self._node)

    async def GetMetrics(self, request: pb.MetricsRequest, context: Any) -> pb.MetricsReply:
        try:
            return pb.MetricsReply(text=self._node.booted.metrics.text())
        except LocalError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)

    async def Containers(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.ContainerWanted]:
        try:
            containers = self._node.booted.services.containers
        except LocalError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)

        async def hear() -> None:
            async for seen in request_iterator:
                core_time = seen.core_time_ns if seen.HasField("core_time_ns") else None
                containers.told(seen.app, seen.start, seen.state, seen.why, core_time)

        hearing = asyncio.create_task(hear())
        try:
            async for app, start in containers.wanted():
                yield pb.ContainerWanted(app=app, start=start)
        finally:
            hearing.cancel()


def boot_spec(request: pb.BootRequest) -> BootSpec:
    """ValueError if it lacks what every node needs."""
    if not request.node_id:
        raise ValueError("boot: node_id is empty")
    if not request.seeds:
        raise ValueError("boot: no seeds; the first node is its own")
    settings = {field.name: value for field, value in request.settings.ListFields()}
    apps = tuple(_app(app) for app in request.apps)
    config = NodeConfig(apps=apps, **settings)
    if request.HasField("abilities"):
        told = request.abilities
        config = replace(config, abilities=Abilities(told.cpu, told.memory, told.storage, told.bandwidth))
    if request.HasField("history"):
        past = request.history
        config = replace(config, history=History(past.age_ns, past.sessions, past.up_ns, past.away_ns))
    seeds = tuple(request.seeds)
    services = tuple(_service(app, seeds) for app in request.apps if app.HasField("service"))
    clock = _clock(request.clock) if request.HasField("clock") else None
    return BootSpec(request.node_id, request.seed, request.origin_ns, request.incarnation, seeds, config, services, clock)


def _clock(told: pb.Clock) -> ClockTold:
    return ClockTold(told.at_ns, told.ahead_ns, told.drift_ppm)


def _app(app: pb.App) -> AppConfig:
    """ValueError if this node does not know its choice, or its policy."""
    return AppConfig(
        app.name,
        app.replicas,
        app.HasField("service"),
        most=app.most,
        availability=app.availability,
        policy=_policy(app.policy or BEST),
        service_time=app.service_time_ns,
        queue=app.queue_ns,
        hedge=app.hedge_ns,
        utility=_utility(app.utility) if app.HasField("utility") else None,
        floor=app.utility.floor,
        memory=app.memory,
        storage=app.storage,
        consistency=_consistency(app.consistency),
        staleness=app.staleness_ns,
        missed=app.missed,
        static=app.static,
        members=tuple(app.members),
        spread=_bound(app),
        shards=app.shards,
        copies=app.copies,
        **choosing(app.choice or LATENCY),
    )


def _utility(told: pb.Utility) -> Utility:
    latency, availability, throughput = (
        tuple((point.x, point.share) for point in points) for points in (told.latency, told.availability, told.throughput)
    )
    return Utility(told.worth, told.least, told.quantile, latency, availability, throughput)


def _policy(name: str) -> str:
    if name not in POLICIES:
        raise ValueError(f"policy {name}: not known; allowed: {', '.join(POLICIES)}")
    return name


def _bound(app: pb.App) -> float:
    if app.spread and not app.spread > 1:
        raise ValueError(f"{app.name}: spread {app.spread:g}; allowed: a bound above 1, or 0 for none")
    return app.spread


def _consistency(name: str) -> str:
    if name not in ("", *CONSISTENCIES):
        raise ValueError(f"consistency {name}: not known; allowed: {', '.join(CONSISTENCIES)}, or none")
    return name


def _service(app: pb.App, seeds: tuple[str, ...]) -> ServiceSpec:
    """ValueError if it cannot be run as told."""
    told = app.service
    if bool(told.command) == bool(told.image) or told.protocol not in ("http", "tcp"):
        raise ValueError(f"{app.name}: a service needs a command or an image, and the protocol http or tcp")
    return ServiceSpec(
        app=app.name,
        command=tuple(told.command),
        port=told.port,
        protocol="http" if told.protocol == "http" else "tcp",
        health_path=told.health_path,
        health_every=told.health_every_ns / SECOND,
        health_timeout=told.health_timeout_ns / SECOND,
        health_failures=told.health_failures,
        start=told.start_ns / SECOND,
        request=told.request,
        gateway=told.gateway,
        deadline=told.deadline_ns,
        digest=told.digest,
        size=told.size,
        origins=seeds,
        image=told.image,
    )


def status(node: NodeProcess) -> pb.StatusReply:
    """What GetStatus answers; lags are those since the last call."""
    if not node.is_booted:
        return pb.StatusReply(booted=False)
    booted = node.booted
    now = booted.driver.core.snapshot()
    stats = booted.transport.stats
    p99, worst = booted.driver.lag.read()
    return pb.StatusReply(
        booted=True,
        node_id=booted.spec.node_id,
        incarnation=booted.spec.incarnation,
        agent=now.agent,
        is_agent=now.is_agent,
        replica_of=now.replica_of,
        steward_of=now.steward_of,
        nodes=now.nodes,
        entries=now.entries,
        state_bytes=now.state_bytes,
        requests_served=now.requests_served,
        requests_routed=now.requests_routed,
        requests_shed=now.requests_shed,
        control_bytes_sent=stats.control_bytes_sent,
        control_bytes_received=stats.control_bytes_received,
        timer_lag_p99_ns=p99,
        timer_lag_max_ns=worst,
        notices_dropped=booted.driver.notices.dropped,
        queue_dropped=stats.dropped + stats.expired,
        clock_ahead_ns=booted.driver.clock_ahead,
        spreads=[pb.Spreading(app=one.app, links=one.links, copies=one.copies, needless=one.needless) for one in now.spreads],
    )


def control_server(control: Control, directory: Path) -> grpc.aio.Server:
    """Bound to the socket in `directory`, which is made if missing; to be started. LocalError if that cannot be."""
    path = directory / SOCKET
    if len(os.fsencode(path)) > MAX_PATH:
        raise LocalError(f"{path}: a Unix socket's path may have {MAX_PATH} bytes; choose a shorter directory")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of an earlier process of this host
    except OSError as error:
        raise LocalError(f"{directory}: {error.strerror}") from error
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.http2.bdp_probe", 0)))
    control_pb2_grpc.add_ControlServicer_to_server(control, server)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise LocalError(f"cannot listen on {path}") from error
    return server


def _workload(told: pb.Workload) -> WorkloadSpec:
    return WorkloadSpec(
        app=told.app,
        seed=told.seed,
        rate_per_s=told.rate_per_s,
        start_ns=told.start_ns,
        stop_ns=told.stop_ns,
        deadline_ns=told.deadline_ns,
        keys=told.keys,
        zipf=told.zipf,
        first_key=told.first_key,
        write_share=told.write_share,
        request_bytes=told.request_bytes,
        reply_bytes=told.reply_bytes,
    )


async def _refuse(context: Any, code: grpc.StatusCode, why: Exception) -> NoReturn:
    await context.abort(code, str(why))
    raise AssertionError("abort does not return")
