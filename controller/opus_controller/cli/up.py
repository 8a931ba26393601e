"""`opus up`: a network that stays, for hands and other tools."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._choose import Chosen, LinksName, LinksOption, RuntimeName, choose_real
from opus_controller.cli._observe import ObserveAddressOption, ObserveOption, asked_for
from opus_controller.cli._output import JsonOption, print_json
from opus_controller.cli._runs import need_root
from opus_controller.model.errors import PlatformError

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan
    from opus_controller.runtimes.hosts.runtime import HostsRuntime


def register(app: typer.Typer) -> None:
    @app.command()
    def up(
        network: Annotated[
            str, typer.Argument(help="A topology or a scenario: a file, or the name of one that comes with Opus.")
        ],
        runtime: Annotated[
            RuntimeName, typer.Option("--runtime", help="auto: docker where its engine and image are, otherwise netns.")
        ] = RuntimeName.auto,
        links: LinksOption = LinksName.auto,
        seed: Annotated[int | None, typer.Option("--seed", min=0)] = None,
        observe: ObserveOption = False,
        observe_address: ObserveAddressOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Bring a network up and leave it running: hosts, shaped links, and the overlay on them; no clients, no faults.

        Of a scenario, its topology and applications are taken; of a topology, the overlay keeps no application.
        """
        need_root("bringing up hosts")
        looked_at = asked_for(observe, observe_address) is not None
        plan = plan_of(network, seed)
        chosen = choose_real(runtime, links)
        print(f"{len(plan.hosts)} hosts in {len(plan.sites)} sites", *chosen.announcement, sep="\n", file=sys.stderr)
        up = asyncio.run(_bring_up(plan, chosen))
        if looked_at:
            _observe(up.run, observe_address)
        if as_json:
            info = up.info
            hosts = [host.name for host in plan.hosts]
            print_json({"run": up.run, "runtime": info.runtime, "links": info.links, "hosts": hosts})
        else:
            _tell(up, plan)


def _observe(run: str, address: str | None) -> None:
    """The testbed is up and stays up, whatever becomes of this."""
    from opus_controller.cli.observe import start_in_background
    from opus_controller.runtimes.hosts import state

    try:
        start_in_background(state.load(run), address)
    except PlatformError as error:
        raise PlatformError(f"{error}; the testbed is up all the same: opus observe {run} tries again") from error


def plan_of(given: str, seed: int | None) -> Plan:
    """Compile what was named: a scenario's topology and applications without what happens on them, or a topology alone."""
    from opus_controller.model.compile import compile_plan, plan_of_topology
    from opus_controller.model.scenario import find, load_scenario, shipped
    from opus_controller.model.topology import load_topology

    path = Path(given)
    if (path.exists() and _is_scenario(path)) or (not path.exists() and given in shipped("scenarios")):
        plan = compile_plan(load_scenario(find("scenarios", given)), seed)
        return plan.model_copy(update={"workload": (), "timeline": (), "expectations": (), "fidelity": "annotate"})
    plan = plan_of_topology(load_topology(find("topologies", given)), seed=1 if seed is None else seed, duration_ns=0)
    return plan.model_copy(update={"fidelity": "annotate"})


def _is_scenario(path: Path) -> bool:
    """A scenario names its topology; a topology does not. Whatever is wrong with the file, its own reader says."""
    from opus_controller.model.document import load_document

    return load_document(path).has(("topology",))


async def _bring_up(plan: Plan, chosen: Chosen) -> HostsRuntime:
    """All or nothing: an error or Ctrl-C on the way takes down what was there."""
    from opus_controller.runtimes.hosts.runtime import HostsRuntime

    runtime = chosen.make(None, "up")
    assert isinstance(runtime, HostsRuntime)
    try:
        await runtime.up(plan)
    except BaseException:
        await runtime.down()
        raise
    await runtime.leave()
    return runtime


def _tell(runtime: HostsRuntime, plan: Plan) -> None:
    if gate := runtime.gate:
        print(*gate.wrong, sep="\n", end="\n" if gate.wrong else "", file=sys.stderr)
    one, other = plan.hosts[0].name, plan.hosts[-1].name
    print(f"run {runtime.run} is up")
    print(f"  opus exec {one} -- ping -c 3 {other}")
    print(f"  opus link set {one} {other} --delay 80ms")
    print("  opus status")
    print(f"  opus down {runtime.run}")
