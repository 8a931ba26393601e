"""Users' programs as the simulator has them: none runs; fetching, starting and answering take modelled times.

    replica --files not here--> fetched: 2 round trips and the files at the slower access link's rate, from the nearest running
    host that keeps them --> started: `model_start` --> ready: an answer after `model_answer` each, of the workload's reply size
    no room on its disk for the files, packed and unpacked --> failed, told to the core as lost, and tried again after a pause
    that doubles; a slow disk takes both at its own rate. Hosts that have the files from the beginning have them unpacked.
    no replica --> still ready for the core's grace, then stopped
    each answer takes `model_answer` of a core, by definition: what is told where replicas are sized by it (`Consumed`); none
    waits for another, so that no program is ever overloaded

The transfer has the links for itself: it slows no other traffic down, and none slows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opus_node.core.events import (
    CONSUMED_EVERY,
    Consumed,
    ProgramChanged,
    RoleChanged,
    Serve,
    Served,
    ServiceHealth,
    Shipped,
)
from opus_node.core.replica import GRACE
from opus_node.core.types import SECOND, Nanos
from opus_node.folds import notice_to_record

from opus_controller.model.plan import Files, Plan, Service
from opus_controller.runtimes.sim.agenda import Handler
from opus_controller.runtimes.sim.host import SimHost

if TYPE_CHECKING:
    from opus_controller.runtimes.sim.world import World

FETCH_ROUND_TRIPS = 2
"""A connection, and a question."""
COPIES = 2
"""Of files on a disk: packed, and unpacked."""
PAUSE_FIRST: Nanos = SECOND // 2
PAUSE_MOST: Nanos = 8 * SECOND
"""As opus_node.services.supervisor has it."""
PROGRESS_EVERY: Nanos = 5 * SECOND
"""Between two words to the core that files are coming (opus_node.services.supervisor)."""
RETRY: Nanos = SECOND
"""Until a host is looked for again when none has the files."""


@dataclass(slots=True)
class _Program:
    """One application's program at one host."""

    incarnation: int = -1
    """Of the host's process that it belongs to."""
    life: int = 0
    """Counts its beginnings and ends: what was begun in an earlier life is void."""
    turn: int = 0
    """Counts the role's changes: a stop that was put off is void when the role has come back."""
    begun: bool = False
    pause: Nanos = PAUSE_FIRST
    """Before it is tried again."""
    started_at: Nanos = -1
    """-1: not started."""
    core_time: Nanos = 0
    """Consumed."""


Begun = tuple[str, int, Nanos]
"""An application, its program's life, and when the program was wanted."""


class Programs:
    """All programs of a world."""

    def __init__(self, plan: Plan, world: World) -> None:
        self._world = world
        self._services: dict[str, Service] = {app.name: app.service for app in plan.apps if app.service is not None}
        self._programs: dict[tuple[str, str], _Program] = {}
        self._measured = {app.name for app in plan.apps if app.most or app.utility is not None}
        """By whose consumption somebody is sized (`AppConfig.measured`); of the others nothing is told."""
        self._sizes = {app.files.digest: app.files.size for app in self._services.values() if app.files is not None}
        """Of files, by digest."""
        for service in self._services.values():
            if service.files is not None:
                for name in plan.seeds:
                    world.hosts[name].stored |= {service.files.digest}

    def _of(self, host: SimHost, app: str) -> _Program:
        """A new process of the host has no program yet."""
        key = (host.plan.name, app)
        program = self._programs.get(key)
        if program is None or program.incarnation != host.incarnation:
            program = self._programs[key] = _Program(host.incarnation)
        return program

    # The role

    def role_changed(self, host: SimHost, notice: RoleChanged, now: Nanos) -> None:
        if notice.role != "replica" or notice.app not in self._services:
            return
        program = self._of(host, notice.app)
        program.turn += 1
        if not notice.active:
            self._world.agenda.put(now + GRACE, host, self._stop, host, (notice.app, program.turn), host.incarnation)
        elif not program.begun:  # or else it is taken back before it was stopped
            program.begun, program.pause = True, PAUSE_FIRST
            program.life += 1
            self._fetch(now, host, (notice.app, program.life, now), host.incarnation)

    def _fetch(self, now: Nanos, host: SimHost, begun: Begun, incarnation: int) -> None:
        if self._held_up(self._fetch, host, begun, incarnation):
            return
        files = self._services[begun[0]].files
        if files is None or files.digest in host.stored:
            self._start(now, host, begun, incarnation)
            return
        if self._room(host) < COPIES * files.size:
            self._full(now, host, begun, incarnation)
            return
        found = self._nearest(host, files)
        if found is None:
            self._world.agenda.put(now + RETRY, host, self._fetch, host, begun, incarnation)
            return
        source, takes = found
        if host.write_bps is not None:
            takes = max(takes, files.size * 8 * SECOND // host.write_bps) + files.size * 8 * SECOND // host.write_bps
        self._world.agenda.put(now + takes, host, self._fetched, host, (*begun, source.id), incarnation)
        if takes > PROGRESS_EVERY:
            self._world.agenda.put(now + PROGRESS_EVERY, host, self._coming, host, (*begun, now + takes), incarnation)

    def _coming(self, now: Nanos, host: SimHost, coming: tuple[str, int, Nanos, Nanos], incarnation: int) -> None:
        if self._held_up(self._coming, host, coming, incarnation) or now >= coming[3]:
            return
        self._world.step(host, ServiceHealth(coming[0], False, "its files are on their way"), now)
        self._world.agenda.put(now + PROGRESS_EVERY, host, self._coming, host, coming, incarnation)

    def _room(self, host: SimHost) -> int:
        """Bytes that its disk takes yet."""
        used = sum(COPIES * size for digest, size in self._sizes.items() if digest in host.stored)
        storage = host.plan.abilities.storage
        return (storage if host.disk is None else min(storage, host.disk)) - used

    def _full(self, now: Nanos, host: SimHost, begun: Begun, incarnation: int) -> None:
        program = self._of(host, begun[0])
        why = "no room on this host's disk for its files"
        self._tell(now, host, ProgramChanged(begun[0], "failed", why))
        self._world.step(host, ServiceHealth(begun[0], False, why, lost=True), now)
        self._world.agenda.put(now + program.pause, host, self._fetch, host, begun, incarnation)
        program.pause = min(2 * program.pause, PAUSE_MOST)

    def _fetched(self, now: Nanos, host: SimHost, begun: tuple[str, int, Nanos, str], incarnation: int) -> None:
        if self._held_up(self._fetched, host, begun, incarnation):
            return
        app, life, since, source = begun
        files = self._services[app].files
        assert files is not None
        if self._room(host) < COPIES * files.size:  # it has become full meanwhile
            self._full(now, host, (app, life, since), incarnation)
            return
        host.stored |= {files.digest}
        self._tell(now, host, Shipped(app, source, files.size, now - since))
        self._start(now, host, (app, life, since), incarnation)

    def _start(self, now: Nanos, host: SimHost, begun: Begun, incarnation: int) -> None:
        self._of(host, begun[0]).started_at = now
        self._tell(now, host, ProgramChanged(begun[0], "started"))
        self._world.agenda.put(now + self._services[begun[0]].model_start_ns, host, self._ready, host, begun, incarnation)

    def _ready(self, now: Nanos, host: SimHost, begun: Begun, incarnation: int) -> None:
        if self._held_up(self._ready, host, begun, incarnation):
            return
        app = begun[0]
        self._tell(now, host, ProgramChanged(app, "ready", took=now - self._of(host, app).started_at))
        self._world.step(host, ServiceHealth(app, True), now)
        if app in self._measured:
            self._meter(now, host, begun, incarnation)

    def _meter(self, now: Nanos, host: SimHost, begun: Begun, incarnation: int) -> None:
        if self._held_up(self._meter, host, begun, incarnation):
            return
        self._world.step(host, Consumed(begun[0], self._of(host, begun[0]).core_time), now)
        self._world.agenda.put(now + CONSUMED_EVERY, host, self._meter, host, begun, incarnation)

    def _stop(self, now: Nanos, host: SimHost, stop: tuple[str, int], incarnation: int) -> None:
        app, turn = stop
        if host.core is None or host.incarnation != incarnation or self._of(host, app).turn != turn:
            return
        if host.paused:
            host.waiting.append((1, self._stop, host, stop, incarnation))
            return
        program = self._of(host, app)
        program.begun = False
        program.life += 1
        if program.started_at >= 0:
            program.started_at = -1
            self._tell(now, host, ProgramChanged(app, "stopped"))
        self._world.step(host, ServiceHealth(app, False, "no replica any more"), now)

    def _held_up(self, handler: Handler, host: SimHost, begun: tuple[Any, ...], incarnation: int) -> bool:
        """Void, or for later since the host is paused."""
        if host.core is None or host.incarnation != incarnation or self._of(host, begun[0]).life != begun[1]:
            return True
        if host.paused:
            host.waiting.append((1, handler, host, begun, incarnation))
        return host.paused

    def _nearest(self, host: SimHost, files: Files) -> tuple[SimHost, Nanos] | None:
        """The running host with the files that is nearest by round trip, and how long they take from it; None: none reachable."""
        best: tuple[Nanos, SimHost] | None = None
        for other in self._world.hosts.values():
            if files.digest not in other.stored or other.core is None or other.paused or other is host:
                continue
            rtt = self._world.fabric.round_trip(host, other)
            if rtt is not None and (best is None or rtt < best[0]):
                best = (rtt, other)
        if best is None:
            return None
        rates = (best[1].up, host.down)
        byte_ns = max((rate.byte_ns for rate in rates if rate is not None), default=0.0)
        return best[1], FETCH_ROUND_TRIPS * best[0] + round(files.size * byte_ns)

    # Requests

    def serve(self, host: SimHost, serve: Serve, now: Nanos) -> None:
        self._world.agenda.put(now + self._services[serve.app].model_answer_ns, host, self._served, host, serve, host.incarnation)

    def _served(self, now: Nanos, host: SimHost, serve: Serve, incarnation: int) -> None:
        if host.core is None or host.incarnation != incarnation:
            return
        if host.paused:
            host.waiting.append((1, self._served, host, serve, incarnation))
            return
        self._of(host, serve.app).core_time += self._services[serve.app].model_answer_ns
        self._world.step(host, Served(serve.ticket, True, serve.reply_bytes), now)

    def _tell(self, now: Nanos, host: SimHost, notice: Shipped | ProgramChanged) -> None:
        self._world.records.append(notice_to_record(now, host.plan.name, notice))
