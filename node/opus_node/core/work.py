"""A host's emulated processor: what answering a request costs where an application says so (`AppConfig.service_time`).

    admit --the line is short enough--> waits its turn, is worked on, `done`          capacity = cores / service_time, per second
          --it is not, or the answer would come too late--> turned away at once, and counted

All applications of a host stand in one line, in the order of arrival; a host with twice the cores works twice as fast. Nothing
is computed meanwhile: the emulation costs no real processor, so it is the same in every runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opus_node.core.context import NOBODY, Context
from opus_node.core.load import PER_CENT, Meter
from opus_node.core.messages import Load, RouteRequest
from opus_node.core.types import NOTHING, AppConfig, AppId, Nanos

LINE = 4096
"""Requests in the line at most, whatever their sizes."""
MILLICORES = 1000

Done = Callable[[RouteRequest, Nanos], None]
"""(request, when it arrived): it has been worked on."""


def emulated(app: AppConfig) -> bool:
    """Whether the node itself answers, and takes its time."""
    return app.service_time > 0 and not app.program


class Work:
    __slots__ = ("_apps", "_ctx", "_done", "_free_at", "_meter", "answered", "shed", "spent", "turned_away", "waiting")

    def __init__(self, ctx: Context, done: Done) -> None:
        self._ctx = ctx
        self._done = done
        apps = {app.name: app for app in ctx.config.apps if emulated(app)}
        self._apps: dict[AppId, AppConfig] = apps or NOTHING
        self._free_at: Nanos = 0
        self.waiting = 0
        """Requests in the line."""
        self._meter = Meter(0) if self._apps else None
        self.shed = 0
        """Turned away since boot."""
        self.turned_away = self._count()
        self.answered = self._count()
        """Since boot ..."""
        self.spent = self._count()
        """... and the nanoseconds of a core that it took."""

    def _count(self) -> dict[AppId, int]:
        return dict.fromkeys(self._apps, 0) or NOTHING

    def has(self, app: AppId) -> bool:
        return app in self._apps

    def cost(self, app: AppId) -> Nanos:
        """Of one request, on this host."""
        return max(1, int(self._apps[app].service_time / self._ctx.config.abilities.cpu))

    def admit(self, message: RouteRequest) -> bool:
        """Whether it stands in the line now; False: turned away."""
        ctx, cost = self._ctx, self.cost(message.app)
        if self._meter is not None:
            self._meter.add(cost, ctx.now)
        start = max(ctx.now, self._free_at)
        wait = start - ctx.now
        too_long = wait > self._apps[message.app].queue or self.waiting >= LINE
        if too_long or (wait + cost > message.left and wait):
            self.shed += 1
            self.turned_away[message.app] += 1
            return False
        self._free_at = start + cost
        self.waiting += 1
        ctx.timers.at(self._free_at, self._worked, (message, ctx.now))
        return True

    def _worked(self, what: tuple[RouteRequest, Nanos]) -> None:
        app = what[0].app
        self.waiting -= 1
        self.answered[app] += 1
        self.spent[app] += round(self.cost(app) * self._ctx.config.abilities.cpu)
        self._done(*what)

    def provides(self, app: AppId) -> int:
        """Thousandths of a core, with which requests for `app` are worked on; 0 where they take no time."""
        return round(MILLICORES * self._ctx.config.abilities.cpu) if app in self._apps else 0

    def load(self) -> tuple[Load, ...]:
        """To be told with whatever goes out; empty on a host whose work is not emulated."""
        if self._meter is None:
            return ()
        now = self._ctx.now
        used = self._meter.used(now)
        spare = int(MILLICORES * self._ctx.config.abilities.cpu * max(0.0, 1.0 - used))
        wait = max(0, self._free_at - now)
        return (Load(round(PER_CENT * used), self._meter.toll + wait, spare),)


def _undone(message: RouteRequest, arrived_at: Nanos) -> None:
    """Nothing is asked."""


NO_WORK: Final = Work(NOBODY, _undone)
