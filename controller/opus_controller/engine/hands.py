"""What hands do to a running testbed (`opus fault`): the same faults as a plan's, through the same ledger, in the same record.

    {"do": "strike", "event": {"crash": "a replica of web", "for": "10s"}}   an event as in a timeline, less `at`
    {"do": "churn", "churn": {"hosts": "all", "sessions": {...}, "downtimes": {...}, "for": "5m"}}   hosts that come and go
    {"do": "clear", "names": ["crash-83s"]}      undo these; no names: everything that hands have done and is still in force
    {"do": "list"}                               what is in force

The first three answer {"struck": ["fault" records]}, the last {"in_force": [{"name", "kind", "target", "by"}]}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opus_controller.engine import needs
from opus_controller.engine.faults import Faults, Refused
from opus_controller.engine.runtime import Record, Runtime
from opus_controller.engine.turnover import TurnoverPlayer
from opus_controller.model.by_hand import HandCompiler, Known, Wish
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.plan import Fault, Plan
from opus_controller.model.scenario_form import UNDONE_BY
from opus_controller.model.timeline import free
from opus_controller.model.undoing import undoing
from opus_controller.model.units import shown


class Hands:
    """`record` is given what happened; `targets` are those of faults that were in force before (a testbed that stays up)."""

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        faults: Faults,
        record: Callable[[Sequence[Record]], None],
        targets: Mapping[str, str] | None = None,
    ) -> None:
        self._planned = {fault.name: fault.kind for fault in plan.timeline}
        self._runtime = runtime
        self._faults = faults
        self._record = record
        self._compiler = HandCompiler(plan)
        self._apps = plan.apps
        self._asking = asyncio.Lock()
        self._later: dict[str, asyncio.Task[None]] = {}
        """What goes on with faults, by their names."""
        self._turnovers: dict[str, tuple[TurnoverPlayer, asyncio.Task[None]]] = {}
        self._seed = plan.seed
        self.targets: dict[str, str] = dict(targets or {})
        """Of what hands have done, by name: at whom it was aimed."""
        self.done = 0
        """Events so far."""

    async def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """See above. ScenarioError for what makes no sense."""
        match question.get("do"):
            case "strike":
                async with self._asking:
                    return {"struck": [await self._strike(question.get("event", {}))]}
            case "churn":
                async with self._asking:
                    return {"struck": [self._turn_over(question.get("churn", {}))]}
            case "clear":
                async with self._asking:
                    return {"struck": [await self._undo(name) for name in self._to_clear(question.get("names", []))]}
            case "list":
                return {"in_force": self._in_force()}
        raise ScenarioError(f"{shown(question.get('do'))} cannot be asked; allowed: strike, churn, clear, list")

    async def stop(self) -> None:
        """Forget what was to be undone later."""
        tasks = list(dict.fromkeys([*self._later.values(), *(task for _, task in self._turnovers.values())]))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- strike ---

    async def _strike(self, event: Mapping[str, Any]) -> Record:
        if not isinstance(event, dict):
            raise ScenarioError("an event is a mapping, such as {crash: site a}")
        wish = self._compiler.compile(event, self._runtime.now(), self._known())
        needs.check([wish.fault], self._runtime.info, self._apps)
        head = await self._carry_out(wish.fault)
        if not head["victims"] and not head.get("skipped") and wish.fault.kind != "heal":
            if wish.fault.name in self._faults.ledger.in_force:  # a cut that cuts nobody off
                self._faults.ledger.lift(wish.fault.name)
            raise ScenarioError(f"{wish.fault.kind}: nobody is {head['target']} now; see: opus status")
        if wish.fault.name in self._faults.ledger.in_force:
            self.targets[wish.fault.name] = head["target"]
        if wish.later:
            self._go_on_later(wish)
        return head

    async def _carry_out(self, fault: Fault) -> Record:
        try:
            first, *rest = await self._faults.strike(fault)
        except Refused as refusal:
            self._record([{**refusal.record, "by": "hand"}])
            raise
        head = {**first, "by": "hand"}
        self.done += 1
        self._record([head, *rest])
        return head

    async def _carried_out(self, fault: Fault) -> bool:
        """The same with nobody there to be told why not: the record tells."""
        try:
            await self._carry_out(fault)
        except Refused:
            return False
        except PlatformError as error:
            self._record([{**self._faults.refusal(fault, str(error)), "by": "hand"}])
            return False
        return True

    def _known(self) -> Known:
        ledger = self._faults.ledger
        return Known(self._faults.kinds, {*self._planned}, ledger.in_force, self._faults.dead, self._faults.paused)

    # --- churn ---

    def _turn_over(self, asked: Any) -> Record:
        if not isinstance(asked, dict):
            raise ScenarioError("churn is a mapping, such as {hosts: all, sessions: ..., downtimes: ...}")
        now = self._runtime.now()
        wish = self._compiler.turnover(asked, now, self._known())
        self._faults.note(wish.name, "churn", wish.hosts)
        self.targets[wish.name] = wish.text
        player = TurnoverPlayer(wish, self._runtime, self._faults, self._record, f"{self._seed}/hand/{wish.name}")

        async def go_on() -> None:
            await player.go_on(None if wish.for_ns is None else now + wish.for_ns)
            async with self._asking:
                await self._end_turnover(wish.name)

        self._turnovers[wish.name] = player, asyncio.create_task(go_on(), name=f"churn {wish.name}")
        return self._note("churn", wish.name, wish.text, wish.hosts, "", [])

    async def _end_turnover(self, name: str) -> Record:
        """Whoever is away because of it comes back."""
        if name in self._turnovers:
            player, task = self._turnovers.pop(name)
            player.end()
            if task is not asyncio.current_task():
                task.cancel()
        began, hosts = self._runtime.now(), self._faults.meant(name)
        async with self._faults.turns.take(hosts):
            self._faults.ledger.release(hosts, name)
            back = (await self._faults.settle(hosts, revive=True)).ups
        ups = [{"t": began, "host": host, "kind": "host_up", "cause": "churn", "by": "return"} for host in back]
        by = free(f"clear-{name}", {*self._faults.kinds, *self._planned})
        return self._note("return", by, name, back, name, ups)

    def _note(self, fault: str, name: str, target: str, hosts: Sequence[str], undoes: str, ups: Sequence[Record]) -> Record:
        now = self._runtime.now()
        head = {"t": now, "done_t": now, "host": "", "kind": "fault", "name": name, "fault": fault, "target": target}
        head |= {"victims": list(hosts), "undoes": undoes, "by": "hand"}
        self.done += 1
        self._faults.kinds[name] = fault
        self._record([head, *ups])
        return head

    # --- undo ---

    @property
    def _there(self) -> tuple[str, ...]:
        """What is in force, or goes on."""
        return tuple(dict.fromkeys([*self._faults.ledger.in_force, *self._turnovers]))

    def _go_on_later(self, wish: Wish) -> None:
        """Undo it after a while, or let it come and go; clearing whatever is in force of it ends that."""
        names = [fault.name for fault in (wish.fault, *wish.later) if fault.kind not in UNDONE_BY.values()]

        async def go_on() -> None:
            last = names[0]
            for fault in wish.later:
                await self._runtime.sleep_until(fault.at_ns)
                async with self._asking:
                    if fault.name in names:
                        self.targets[fault.name], last = self.targets.get(last, ""), fault.name
                    elif last not in self._faults.ledger.in_force:
                        return
                    if not await self._carried_out(fault):
                        return

        task = asyncio.create_task(go_on(), name=f"after {wish.fault.name}")
        self._later.update(dict.fromkeys(names, task))
        task.add_done_callback(lambda task: [self._later.pop(name, None) for name in names])

    def _to_clear(self, names: Sequence[str]) -> list[str]:
        there = self._there
        for name in names:
            if name not in there:
                allowed = listed(there) if there else "nothing is in force"
                raise ScenarioError(f"{shown(name)} is not in force; {suggestion(name, there)}allowed: {allowed}")
        return list(dict.fromkeys(names)) or [name for name in reversed(there) if name in self.targets]

    async def _undo(self, name: str) -> Record:
        later = self._later.get(name)
        kind = self._faults.kinds[name]
        if kind == "churn":
            return await self._end_turnover(name)
        taken = {*self._faults.kinds, *self._planned}
        head = await self._carry_out(undoing(name, kind, self._runtime.now(), free(f"clear-{name}", taken)))
        if later is not None:
            later.cancel()
        return head

    def _in_force(self) -> Iterable[Mapping[str, str]]:
        return [
            {
                "name": name,
                "kind": self._faults.kinds[name],
                "target": self.targets.get(name, ""),
                "by": "hand" if name in self.targets else "plan",
            }
            for name in self._there
        ]
