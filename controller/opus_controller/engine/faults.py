"""Carries out one event of a plan's timeline on a runtime, and says what it did to whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opus_controller.engine.desired import DesiredNetwork, Layer, link_change, partition
from opus_controller.engine.runtime import LiveHost, Record, Runtime
from opus_controller.engine.targets import resolve
from opus_controller.engine.turns import Turns
from opus_controller.model.plan import Fault, Heal, HostFault, LinkChange, Partition, Plan, Target


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


class Faults:
    """The timeline's hands. Remembers who was hit by which name, and what lies over the links."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self._plan = plan
        self._runtime = runtime
        self._everyone = tuple(host.name for host in plan.hosts)
        self._victims: dict[str, tuple[str, ...]] = {}
        self.desired = DesiredNetwork(plan)
        self.turns = Turns()
        self.dead: set[str] = set(plan.absent)
        """Hosts that do not run: killed by this timeline, gone by churn, or reported as `lost`."""
        self.held: set[str] = set()
        """Those that this timeline killed and has not restarted: churn does not bring them back."""
        self.away: set[str] = set(plan.absent)
        """Those that churn has taken away: this timeline does not bring them back."""

    def lost(self, host: str) -> None:
        """This host died by itself."""
        self.dead.add(host)

    async def strike(self, fault: Fault) -> list[Record]:
        """Carry out `fault` now; the records that tell of it, the "fault" one first.

        `t` is the instant before anything changed and `done_t` the one when all was in force. Whatever the runtime
        raises passes through.
        """
        victims = await self._resolve_victims(fault)
        async with self.turns.take(victims if isinstance(fault, HostFault) else ()):
            began = self._runtime.now()
            match fault:
                case HostFault():
                    struck = await self._strike_hosts(fault, victims)
                case Partition():
                    struck = await self._strike_partition(fault, victims)
                case LinkChange():
                    struck = await self._strike_link(fault)
                case Heal():
                    struck = await self._heal(fault)
        if fault.name:
            self._victims[fault.name] = struck.victims
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
            case HostFault(same_as=name) if name:
                return self._victims.get(name, ())
            case HostFault(target=target) | Partition(a=target):
                return resolve(target, self._plan, await self._live(target))
        return ()

    async def _live(self, *targets: Target) -> dict[str, LiveHost]:
        """Asking every host takes time, so only when a role has to be known."""
        return await self._runtime.live() if any(target.role for target in targets) else {}

    # --- what ---

    async def _strike_hosts(self, fault: HostFault, hosts: tuple[str, ...]) -> Struck:
        """Hosts for which the fault would change nothing (kill the dead, restart the living) are left out."""
        if fault.kind == "restart":
            self.held -= set(hosts)
            hit = tuple(host for host in hosts if host in self.dead - self.away)
        else:
            hit = tuple(host for host in hosts if host not in self.dead)
        details = {"skipped": sorted(set(hosts) - set(hit))} if len(hit) < len(hosts) else {}
        downs: tuple[str, ...] = ()
        ups: tuple[str, ...] = ()
        if hit:
            match fault.kind:
                case "crash":
                    await self._runtime.crash(hit)
                    downs = hit
                case "power-off":
                    self.desired.power_off(hit)
                    await self._runtime.power_off(hit, self.desired.network)
                    downs = hit
                case "restart":
                    self.desired.power_on(hit)
                    await self._runtime.restart(hit, self.desired.network)
                    ups = hit
                case "pause":
                    await self._runtime.pause(hit)
                case "resume":
                    await self._runtime.resume(hit)
        self.held |= set(downs)
        self.dead |= set(downs)
        self.dead -= set(ups)
        return Struck(hit, fault.target.text, undoes=fault.same_as, details=details, downs=downs, ups=ups)

    async def _strike_partition(self, fault: Partition, a: tuple[str, ...]) -> Struck:
        b = await self._other_side(fault, a)
        if a and b:
            await self._lay(partition(fault.name, a, b, both_ways=fault.both_ways))
        else:  # nothing to cut, but there must be something to heal
            self.desired.lay(Layer(fault.name))
        text = f"{fault.a.text} from {fault.b.text or 'everyone else'}"
        details = {"a": list(a), "b": list(b), "both_ways": fault.both_ways}
        return Struck(a if b else (), text, details=details)

    async def _other_side(self, fault: Partition, a: Iterable[str]) -> tuple[str, ...]:
        excluded = {*a, *fault.b.exclude}
        if not fault.b.hosts and not fault.b.role:
            return tuple(host for host in self._everyone if host not in excluded)
        found = resolve(fault.b, self._plan, await self._live(fault.b))
        return tuple(host for host in found if host not in excluded)

    async def _strike_link(self, fault: LinkChange) -> Struck:
        await self._lay(link_change(fault))
        arrow = "<->" if fault.both_ways else "->"
        touched = tuple(host.name for host in self._plan.hosts if host.site in (fault.source, fault.target))
        details = {
            "path": [fault.source, fault.target],
            "both_ways": fault.both_ways,
            "shape": fault.shape.model_dump(mode="json"),
            "reverse_shape": (fault.reverse_shape or fault.shape).model_dump(mode="json"),
        }
        return Struck(touched, f"{fault.source} {arrow} {fault.target}", details=details)

    async def _heal(self, fault: Heal) -> Struck:
        self.desired.lift(fault.undoes)
        await self._runtime.apply_links(self.desired.network)
        return Struck(self._victims.get(fault.undoes, ()), fault.undoes, undoes=fault.undoes)

    async def _lay(self, layer: Layer) -> None:
        self.desired.lay(layer)
        await self._runtime.apply_links(self.desired.network)
