"""Any overlapping faults, undone in any order: hosts and links are at every instant what the rest in force asks for.

The model knows nothing of ledgers: it keeps the list of faults in force and works everything out from that list anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from helpers.fake_runtime import FakeRuntime, small_plan
from helpers.timelines import HOSTS, LAID, STRONGEST, changed, healed, timelines, told, undoing
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_controller.engine.faults import Faults, Refused
from opus_controller.engine.ledger import Ledger
from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Fault, HostFault, LinkChange, Partition, Strain
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange

DEADLY = {"leave", "crash", "power-off"}


class Machine(FakeRuntime):
    """Holds what the hosts have been told to be, as a machine would."""

    def __init__(self) -> None:
        super().__init__()
        self.state = dict.fromkeys(HOSTS, "up")
        self.network = Network.of(small_plan())
        self.strains: dict[str, HostChange] = {}
        self.refuses = False
        """What is asked next: half of it is done by then."""

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        if self.refuses:
            self.strains.update({host: strains[host] for host in sorted(strains)[: len(strains) // 2 + 1]})
        self._refuse()
        self.strains = dict(strains)

    async def apply_links(self, network: Network) -> None:
        self.network = network
        self._refuse()

    def _refuse(self) -> None:
        if self.refuses:
            self.refuses = False
            raise PlatformError("a-1 cannot be limited")

    async def crash(self, hosts: Any) -> None:
        self._all(hosts, ("up", "paused"), "dead")

    async def dismiss(self, hosts: Any) -> None:
        self._all(hosts, ("up",), "dead")

    async def power_off(self, hosts: Any, network: Network) -> None:
        self.network = network
        self._all(hosts, ("up", "paused"), "dead")

    async def restart(self, hosts: Any, network: Network) -> None:
        self.network = network
        self._all(hosts, ("dead",), "up")

    async def pause(self, hosts: Any) -> None:
        self._all(hosts, ("up",), "paused")

    async def resume(self, hosts: Any) -> None:
        self._all(hosts, ("paused",), "up")

    def _all(self, hosts: Any, before: tuple[str, ...], after: str) -> None:
        for host in hosts:
            assert self.state[host] in before, f"{host} is {self.state[host]}: the runtime's contract"
            self.state[host] = after


def _in_force(faults: list[Fault]) -> list[tuple[str, str]]:
    """(kind, host) of every claim left, by going through the list once."""
    claims: list[tuple[str, str, str]] = []
    for one in faults:
        if not isinstance(one, HostFault):
            continue
        if one.kind in STRONGEST:
            claims += [(one.name, one.kind, host) for host in one.target.hosts]
        elif one.same_as:
            claims = [claim for claim in claims if claim[0] != one.same_as]
        else:
            claims = [claim for claim in claims if not (claim[2] in one.target.hosts and claim[1] in DEADLY)]
    return [(kind, host) for _, kind, host in claims]


def _check(faults: list[Fault], machine: Machine) -> None:
    claims = _in_force(faults)
    for host in HOSTS:
        kinds = {kind for kind, claimed in claims if claimed == host}
        wanted = "dead" if kinds & DEADLY else "paused" if kinds else "up"
        assert machine.state[host] == wanted, (host, kinds)
        assert (host in machine.network.down) == ("power-off" in kinds), (host, kinds)
    left = [one for one in faults if getattr(one, "name", "") not in healed(faults)]
    _check_strains([one for one in left if isinstance(one, Strain)], machine)
    for source in machine.network.hosts:
        for target in machine.network.hosts:
            changes = []
            cut = bool({source.name, target.name} & machine.network.down)
            for one in left:
                if isinstance(one, LinkChange):
                    there = (source.site, target.site) == (one.source, one.target)
                    back = one.both_ways and (target.site, source.site) == (one.source, one.target)
                    changes += [one.change] if there or back else []
                if isinstance(one, Partition):
                    a = set(one.a.hosts)
                    cut |= source.name in a and target.name not in a
                    cut |= one.both_ways and target.name in a and source.name not in a
            assert told(machine.network.path(source, target)) == changed(10_000_000, changes)
            assert machine.network.is_cut(source.name, target.name) == cut


def _check_strains(left: list[Strain], machine: Machine) -> None:
    for host in machine.network.hosts:
        mine = [one.change for one in left if host.name in one.target.hosts]
        left_to_it = machine.strains.get(host.name, NOTHING_TAKEN)
        cpu = 1.0
        for change in mine:
            cpu *= change.cpu
        assert left_to_it.cpu == cpu
        assert left_to_it.disk == min((change.disk for change in mine if change.disk is not None), default=None)
        assert left_to_it.write_bps == min((change.write_bps for change in mine if change.write_bps), default=None)
        assert left_to_it.clock_ns == sum(change.clock_ns for change in mine)
        assert left_to_it.drift_ppm == sum(change.drift_ppm for change in mine)
        assert left_to_it.memory == min((change.memory for change in mine if change.memory), default=None)
        assert host.access.up.rate_bps == min((change.up_bps for change in mine if change.up_bps), default=None)
        assert host.access.down.rate_bps == min((change.down_bps for change in mine if change.down_bps), default=None)


@given(timelines())
@settings(max_examples=150, deadline=None)
def test_what_is_in_force_is_what_the_rest_asks_for(faults: list[Fault]) -> None:
    async def all_of_it() -> None:
        machine = Machine()
        hands = Faults(small_plan(), machine)
        for k, fault in enumerate(faults):
            await hands.strike(fault)
            _check(faults[: k + 1], machine)
            kept = json.loads(json.dumps(hands.ledger.plain()))
            assert Ledger.restored(small_plan(), kept).network == hands.ledger.network
        for fault in undoing(faults):  # and when everything is undone the topology is left
            await hands.strike(fault)
        assert machine.state == dict.fromkeys(HOSTS, "up")
        assert machine.network == Network.of(small_plan())
        assert {(left.cpu, left.memory) for left in machine.strains.values()} <= {(1.0, None)}

    asyncio.run(all_of_it())


@given(timelines(), st.sets(st.integers(0, 29), min_size=1))
@settings(max_examples=150, deadline=None)
def test_what_the_machine_refuses_is_as_if_it_had_never_been_asked(faults: list[Fault], refused: set[int]) -> None:
    async def all_of_it() -> None:
        machine, done, gone, lines = Machine(), list[Fault](), set[str](), list[str]()
        hands = Faults(small_plan(), machine)
        for k, fault in enumerate(faults):
            if getattr(fault, "undoes", "") in gone:
                continue
            machine.refuses = k in refused and isinstance(fault, LAID)
            try:
                await hands.strike(fault)
                done.append(fault)
            except Refused as refusal:
                gone.add(str(refusal.record["name"]))
                lines.append(str(refusal))
            machine.refuses = False
            assert not gone & {*hands.ledger.in_force, *hands.kinds}
            _check(done, machine)
        assert all(line.endswith("failed, and nothing of it is in force: a-1 cannot be limited") for line in lines)

    asyncio.run(all_of_it())
