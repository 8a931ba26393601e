"""Carries out one event of a plan's timeline on a runtime, and says what it did to whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from opus_controller.engine.flood import sources, workload
from opus_controller.engine.ledger import CLAIMS, Layer, Ledger, Want, link_change, partition
from opus_controller.engine.runtime import LiveHost, Record, Runtime
from opus_controller.engine.targets import resolve
from opus_controller.engine.turns import Turns
from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Fault, Flood, Heal, HostFault, LinkChange, Partition, Plan, Strain, Target
from opus_controller.model.scenario_form import undone_by


@dataclass(frozen=True)
class Struck:
    """What a fault did, for the record."""

    victims: tuple[str, ...]
    """Hosts hit; of a partition, those of its first side."""
    target: str
    """As the scenario wrote it."""
    undoes: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """Fields for the "fault" record: "a" and "b" of a partition (host names), "path" of a link change (two sites) ..."""
    downs: tuple[str, ...] = ()
    ups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settled:
    """Which hosts became something else (a dead one whose power goes or comes back did not); of those who died and came up."""

    changed: tuple[str, ...]
    downs: tuple[str, ...]
    ups: tuple[str, ...]


class Refused(PlatformError):
    """The machine does not do what a fault asks for; nothing of it is in force. `record` tells of it."""

    def __init__(self, why: str, record: Record) -> None:
        super().__init__(why)
        self.record = record


UNDONE = {undo: tuple(CLAIMS[cause] for cause in undone_by(undo)) for undo in ("restart", "resume")}
"""Which claims an event takes back."""


class Faults:
    """Remembers who was meant by which name; the ledger knows what all of it asks for together.

    `kept`: what `plain` said of a testbed that stays up. `base`: its network without faults.
    """

    def __init__(
        self, plan: Plan, runtime: Runtime, *, kept: Mapping[str, Any] | None = None, base: Network | None = None
    ) -> None:
        self._plan = plan
        self._runtime = runtime
        self._everyone = tuple(host.name for host in plan.hosts)
        self._meant: dict[str, tuple[str, ...]] = {name: tuple(hosts) for name, hosts in kept["meant"].items()} if kept else {}
        """Event to the hosts it was about."""
        self.kinds: dict[str, str] = dict(kept["kinds"]) if kept else {}
        """Every event that has been carried out, by name."""
        self.ledger = Ledger(plan, base) if kept is None else Ledger.restored(plan, kept["ledger"], base)
        self.turns = Turns()
        self._striking = asyncio.Lock()
        self._is = {host: self.ledger.wanted(host) for host in self._everyone}
        """What each host is, as far as known: what was asked for, or crashed if it died by itself."""
        ages = {life.host: life.age_ns for life in plan.churn.lives} if plan.churn else {}
        self._since = {host.name: host.boot_at_ns - ages.get(host.name, 0) for host in plan.hosts}
        """When each host came up, ns; before the origin for those in the middle of their lives."""

    def plain(self) -> dict[str, Any]:
        """What has to be known of all this to go on with it later, in JSON's terms."""
        return {
            "ledger": self.ledger.plain(),
            "meant": {name: list(hosts) for name, hosts in self._meant.items()},
            "kinds": self.kinds,
        }

    def note(self, name: str, kind: str, hosts: tuple[str, ...]) -> None:
        """An event that is carried out elsewhere."""
        self.kinds[name], self._meant[name] = kind, hosts

    def meant(self, name: str) -> tuple[str, ...]:
        """The hosts that this event was about."""
        return self._meant.get(name, ())

    def lost(self, host: str) -> None:
        """This host died by itself; it comes back when a restart, or its return, is asked for."""
        self._is[host] = max(self._is[host], Want.CRASHED)

    def found(self, host: str) -> None:
        """This host, lost before, runs again: somebody else has started it."""
        if self._is[host] is Want.CRASHED:
            self._is[host] = Want.UP

    @property
    def dead(self) -> set[str]:
        """Hosts that do not run, whoever or whatever ended them."""
        return {host for host, state in self._is.items() if state.dead}

    @property
    def paused(self) -> set[str]:
        return {host for host, state in self._is.items() if state is Want.PAUSED}

    async def strike(self, fault: Fault) -> list[Record]:
        """Carry out `fault` now; the records that tell of it, the "fault" one first.

        `t` is the instant before anything changed and `done_t` the one when all was in force. Whatever the runtime
        raises passes through; Refused, and the ledger is as it was, if that is a PlatformError about what was to be laid.
        """
        async with self._striking:
            return await self._strike(fault)

    async def _strike(self, fault: Fault) -> list[Record]:
        meant = await self._resolve_victims(fault)
        async with self.turns.take(meant if isinstance(fault, HostFault) else ()):
            began = self._runtime.now()
            match fault:
                case HostFault():
                    struck = await self._strike_hosts(fault, meant)
                case Partition():
                    struck = await self._strike_partition(fault, meant)
                    meant = struck.victims
                case Strain():
                    struck = await self._strain(fault, meant)
                case Flood():
                    struck = await self._flood(fault, meant)
                case LinkChange():
                    struck = await self._strike_link(fault)
                case Heal():
                    struck = await self._heal(fault)
        if fault.name:
            self._meant[fault.name] = meant
            self.kinds[fault.name] = fault.kind
        return self._records(fault, struck, began)

    def _records(self, fault: Fault, struck: Struck, began: int) -> list[Record]:
        head = {
            "t": began,
            "done_t": self._runtime.now(),
            "host": "",
            "kind": "fault",
            "name": fault.name,
            "fault": fault.kind,
            "target": struck.target,
            "victims": list(struck.victims),
            "undoes": struck.undoes,
            **struck.details,
        }
        downs = [{"t": began, "host": host, "kind": "host_down", "cause": fault.kind} for host in struck.downs]
        ups = [{"t": began, "host": host, "kind": "host_up", "cause": fault.kind} for host in struck.ups]
        return [head, *downs, *ups]

    # --- who ---

    async def _resolve_victims(self, fault: Fault) -> tuple[str, ...]:
        """Of a host fault its hosts, of a partition its first side. Live state is asked for before anything changes."""
        match fault:
            case HostFault(same_as=name) | Partition(same_as=name) | Strain(same_as=name) if name:
                return self._meant.get(name, ())
            case HostFault(target=target) | Partition(a=target) | Strain(target=target) | Flood(target=target):
                return resolve(target, self._plan, await self._live(target), self._since)
        return ()

    async def _live(self, *targets: Target) -> dict[str, LiveHost]:
        """Asking every host takes time, so only when a role has to be known."""
        return await self._runtime.live() if any(target.role for target in targets) else {}

    # --- what ---

    async def _strike_hosts(self, fault: HostFault, hosts: tuple[str, ...]) -> Struck:
        """Hosts for which the fault changes nothing, since another has them so already or still, are told as skipped."""
        undone = UNDONE.get(fault.kind)
        if undone is None:
            self.ledger.claim(hosts, fault.name, CLAIMS[fault.kind])
        elif fault.same_as:
            self.ledger.release(hosts, fault.same_as)
        else:
            self.ledger.release_all(hosts, undone)
        details: dict[str, Any] = {}
        if fault.state == "lost":
            details["state"] = fault.state
            await self._runtime.lose_state([host for host in hosts if self._is[host].dead])
        settled = await self.settle(hosts, revive=fault.kind == "restart")
        if len(settled.changed) < len(hosts):
            details["skipped"] = sorted(set(hosts) - set(settled.changed))
        return Struck(
            settled.changed, fault.target.text, undoes=fault.same_as, details=details, downs=settled.downs, ups=settled.ups
        )

    async def settle(self, hosts: Iterable[str], *, revive: bool) -> Settled:
        """Make of each host what the ledger wants. Only with `revive` are dead ones started: one that has died by itself stays
        so until somebody asks for its return."""
        before = {host: self._is[host] for host in hosts}
        after = {host: self._possible(self.ledger.wanted(host), state, revive) for host, state in before.items()}
        self._is.update(after)
        moves: dict[tuple[bool, Want], list[str]] = {}
        for host, state in before.items():
            if state is not after[host]:
                moves.setdefault((state.dead, after[host]), []).append(host)
        if woken := [host for host, state in before.items() if state is Want.PAUSED and after[host] is Want.LEFT]:
            await self._runtime.resume(woken)  # a process that stands still can tell nobody
        for (dead, new), moved in moves.items():
            await self._move(tuple(moved), dead, new)
        return Settled(
            changed=tuple(host for host in before if _alike(before[host]) is not _alike(after[host])),
            downs=tuple(host for host in before if after[host].dead and not before[host].dead),
            ups=tuple(host for host in before if before[host].dead and not after[host].dead),
        )

    @staticmethod
    def _possible(wanted: Want, state: Want, revive: bool) -> Want:
        return max(wanted, min(state, Want.CRASHED)) if state.dead and not revive else wanted

    async def _move(self, hosts: tuple[str, ...], dead: bool, new: Want) -> None:
        runtime, network = self._runtime, self.ledger.network
        if dead and new.dead:  # a dead host's power goes, or comes back
            await runtime.apply_links(network)
        elif new is Want.OFF:
            await runtime.power_off(hosts, network)
        elif new is Want.CRASHED:
            await runtime.crash(hosts)
        elif new is Want.LEFT:
            await runtime.dismiss(hosts)
        elif new is Want.PAUSED:
            if dead:
                await self._start(hosts, network)
            await runtime.pause(hosts)
        elif dead:
            await self._start(hosts, network)
        else:
            await runtime.resume(hosts)

    async def _start(self, hosts: tuple[str, ...], network: Network) -> None:
        await self._runtime.restart(hosts, network)
        self._since.update(dict.fromkeys(hosts, self._runtime.now()))

    async def _strike_partition(self, fault: Partition, a: tuple[str, ...]) -> Struck:
        b = await self._other_side(fault, a)
        await self._lay(fault, partition(fault.name, a, b, both_ways=fault.both_ways))
        text = f"{fault.a.text} from {fault.b.text or 'everyone else'}"
        details = {"a": list(a), "b": list(b), "both_ways": fault.both_ways}
        return Struck(a if b else (), text, details=details)

    async def _other_side(self, fault: Partition, a: Iterable[str]) -> tuple[str, ...]:
        excluded = {*a, *fault.b.exclude}
        if not fault.b.hosts and not fault.b.role:
            return tuple(host for host in self._everyone if host not in excluded)
        found = resolve(fault.b, self._plan, await self._live(fault.b), self._since)
        return tuple(host for host in found if host not in excluded)

    async def _strike_link(self, fault: LinkChange) -> Struck:
        layer = link_change(fault)
        await self._lay(fault, layer)
        arrow = "<->" if fault.both_ways else "->"
        touched = tuple(host.name for host in self._plan.hosts if host.site in (fault.source, fault.target))
        details = {"path": [fault.source, fault.target], "both_ways": fault.both_ways, "shapes": self._shapes(layer)}
        return Struck(touched, f"{fault.source} {arrow} {fault.target}", details=details)

    async def _strain(self, fault: Strain, hosts: tuple[str, ...]) -> Struck:
        if hosts:
            await self._lay(fault, Layer(fault.name, strained=hosts, strain=fault.change))
        return Struck(hosts, fault.target.text, details={"change": fault.change.model_dump(mode="json", exclude_defaults=True)})

    async def _flood(self, fault: Flood, hosts: tuple[str, ...]) -> Struck:
        asking = fault.sources or sources(self._plan, await self._runtime.live(), hosts) if hosts else ()
        if not asking:
            return Struck((), fault.target.text)
        await self._lay(fault, Layer(fault.name, flood=workload(self._plan, fault, asking, self._runtime.now())))
        details = {"sources": list(asking), "rate_per_s": fault.rate_per_s, "app": fault.app}
        return Struck(hosts, fault.target.text, details=details)

    async def _heal(self, fault: Heal) -> Struck:
        if fault.undoes in self.kinds and fault.undoes not in self.ledger.in_force:  # hands were faster than the plan
            return Struck((), fault.undoes, undoes=fault.undoes)
        before = self.ledger.layers
        layer = self.ledger.lift(fault.undoes)
        try:
            await self._bring_about(layer)
        except PlatformError:
            self.ledger.layers = before  # it may be in force still, and can be lifted again
            raise
        details = {"shapes": self._shapes(layer)} if layer.changes else {}
        return Struck(self._meant.get(fault.undoes, ()), fault.undoes, undoes=fault.undoes, details=details)

    async def _lay(self, fault: Fault, layer: Layer) -> None:
        self.ledger.lay(layer)
        try:
            await self._bring_about(layer)
        except PlatformError as error:
            await self._take_back(fault, layer, error)

    async def _take_back(self, fault: Fault, layer: Layer, error: PlatformError) -> NoReturn:
        """The machine refuses what the layer asks for: it may be in force on some hosts and not on others."""
        self.ledger.lift(layer.name)
        why = f"{fault.kind} {fault.name!r} failed, and nothing of it is in force: {error}"
        try:
            await self._bring_about(layer)
        except PlatformError as left:
            why = f"{fault.kind} {fault.name!r} failed ({error}), and could not be taken back: {left}"
        raise Refused(why, self.refusal(fault, why)) from error

    def refusal(self, fault: Fault, why: str) -> Record:
        """The record that tells of it."""
        head = {"t": self._runtime.now(), "host": "", "kind": "refused", "name": fault.name, "fault": fault.kind}
        return {**head, "why": why}

    async def _bring_about(self, layer: Layer) -> None:
        """What changes with this layer, laid or lifted."""
        strain = layer.strain
        if layer.flood:
            await self._runtime.flood(self.ledger.flood)
            return
        if not layer.strained or strain.up_bps is not None or strain.down_bps is not None:
            await self._runtime.apply_links(self.ledger.network)
        if strain.within:
            await self._runtime.strain(self.ledger.strains)

    def _shapes(self, layer: Layer) -> list[dict[str, Any]]:
        """What the paths that `layer` is about are now, with all that is in force."""
        return [
            {"source": source, "target": target, "shape": self.ledger.shape(source, target).model_dump(mode="json")}
            for source, target in layer.pairs
        ]


def _alike(state: Want) -> Want:
    """Dead hosts are, however they died."""
    return Want.CRASHED if state.dead else state
