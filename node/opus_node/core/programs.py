"""Applications that a user's program answers, as the replica beside it sees them: is it ready, and what was it asked.

    RouteRequest --ask--> Serve (to the program)          Served --answered--> Reply, or RouteRefuse, straight to the client

The agent that forwarded the request has its acknowledgement at once and has forgotten it, so a program's failure is told to
the client, which tries elsewhere. A request may so reach two programs: at least once is what a client is promised.
"""

from __future__ import annotations

from typing import Final

from opus_node.core.context import NOBODY, Context
from opus_node.core.events import CONSUMED_EVERY, Consumed, Serve, Served, ServiceChanged, ServiceHealth
from opus_node.core.load import PER_CENT
from opus_node.core.messages import Load, RouteRequest
from opus_node.core.types import NONE_OF_THEM, NOTHING, SECOND, AppId, Nanos

ASKED = 1024
"""Requests that programs of one host have before them at most; more are refused ("busy") and counted."""
PATIENCE: Nanos = 30 * SECOND
"""A replica whose program was unready for so long, and told of no progress, is silent towards its steward, which replaces it."""
AT_WORK = 0.02
"""Of a host's cores: a program that uses less hangs, or waits for something else. What it leaves unanswered is no overload."""


class Account:
    """What a program has consumed, and done with it, since boot."""

    __slots__ = ("answered", "at", "counted", "spent", "turned_away", "used")

    def __init__(self) -> None:
        self.answered = 0
        self.turned_away = 0
        """Refused, by itself (`Served.busy`) or for it, or not answered in time, while it was at work."""
        self.at: Nanos = -1
        """When it was last measured; -1: never since it became ready. Then it had ..."""
        self.spent: Nanos = 0
        """... consumed so much ..."""
        self.counted = 0
        """... and answered so many."""
        self.used = 0.0
        """Of the host's cores, between the last two measurements."""

    def begin(self) -> None:
        """It takes requests from now on: what it took to become ready, up to the next measurement, is no request's."""
        self.at, self.used = -1, 0.0


class Asked:
    """A request before the program."""

    __slots__ = ("arrived_at", "message")

    def __init__(self, message: RouteRequest, arrived_at: Nanos) -> None:
        self.message = message
        self.arrived_at = arrived_at


class Programs:
    __slots__ = ("_accounts", "_asked", "_ctx", "_last", "_names", "_ready", "_since", "busy")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._names = frozenset(app.name for app in ctx.config.apps if app.program) or NONE_OF_THEM
        self._accounts: dict[AppId, Account] = {app: Account() for app in sorted(self._names)} or NOTHING
        self._ready: dict[AppId, bool] = {} if self._names else NOTHING
        self._since: dict[AppId, Nanos] = {} if self._names else NOTHING
        """Since when an unready one has told of no progress."""
        self._asked: dict[int, Asked] = {} if self._names else NOTHING
        self._last = 0
        self.busy = 0

    def has(self, app: AppId) -> bool:
        """Whether a program is to answer for `app`."""
        return app in self._names

    def ready(self, app: AppId) -> bool:
        """Whether requests for `app` can be taken: by the program, or by the node itself."""
        return app not in self._names or self._ready.get(app, False)

    def wanted(self, app: AppId) -> None:
        """The role begins; the program's time to become ready with it."""
        if not self.ready(app):
            self._since[app] = self._ctx.now

    def hopeless(self, app: AppId) -> bool:
        """Whether somebody else should serve `app`: it has been unready for too long."""
        return not self.ready(app) and self._ctx.now - self._since.get(app, self._ctx.now) >= PATIENCE

    @property
    def waiting(self) -> int:
        """Requests before the programs."""
        return len(self._asked)

    def on_health(self, event: ServiceHealth) -> None:
        if event.app not in self._names:
            return
        was = self._ready.get(event.app, False)
        self._ready[event.app] = event.ready
        self._since[event.app] = self._ctx.now - (PATIENCE if event.lost else 0)
        if event.ready and not was:
            self._accounts[event.app].begin()
        if event.ready != was:
            self._ctx.notices.append(ServiceChanged(event.app, event.ready, event.why))

    def ask(self, message: RouteRequest) -> bool:
        """Lay a request before the program; False if there are too many before it."""
        if len(self._asked) >= ASKED:
            self._forget_overdue()
        if len(self._asked) >= ASKED:
            self.busy += 1
            self._turned_away(message.app)
            return False
        ctx = self._ctx
        self._last += 1
        self._asked[self._last] = Asked(message, ctx.now)
        ctx.serves += (
            Serve(
                self._last,
                message.app,
                message.key,
                message.write,
                len(message.content) or message.payload,
                message.reply_bytes,
                ctx.now + message.left,
                message.content,
            ),
        )
        return True

    def answered(self, event: Served) -> Asked | None:
        """What was asked under its ticket; None if it was answered or forgotten."""
        asked = self._asked.pop(event.ticket, None)
        if asked is not None:
            app = asked.message.app
            late = self._ctx.now - asked.arrived_at >= asked.message.left
            if event.ok:
                self._accounts[app].answered += 1
            if late or event.busy:
                self._turned_away(app)
        return asked

    def _turned_away(self, app: AppId) -> None:
        account = self._accounts[app]
        if account.used >= AT_WORK:
            account.turned_away += 1

    # What it consumes

    def on_consumed(self, event: Consumed) -> None:
        account = self._accounts.get(event.app)
        if account is None:
            return
        now, cores = self._ctx.now, self._ctx.config.abilities.cpu
        if account.at >= 0 and now - account.at < CONSUMED_EVERY // 2:
            return  # several at once, after a pause
        if 0 <= account.at < now:
            account.used = max(0.0, (event.core_time - account.spent) / (now - account.at) / cores)
        account.at, account.spent, account.counted = now, event.core_time, account.answered

    def account(self, app: AppId) -> Account:
        return self._accounts[app]

    def load(self, app: AppId) -> tuple[Load, ...]:
        """For its steward; empty before it was measured."""
        account = self._accounts[app]
        return (Load(round(PER_CENT * account.used), 0, 0),) if account.at >= 0 else ()

    def _forget_overdue(self) -> None:
        """The runtime answers each by its deadline; this holds even if it does not."""
        now = self._ctx.now
        for ticket in [ticket for ticket, asked in self._asked.items() if asked.arrived_at + asked.message.left <= now]:
            del self._asked[ticket]


NO_PROGRAMS: Final = Programs(NOBODY)
