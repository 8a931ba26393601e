"""`opus status`: what is running here, and who is what in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from opus_controller.cli._output import JsonOption, print_json, print_table
from opus_controller.cli._runs import RunArgument, with_runtime
from opus_controller.model.errors import OpusError

if TYPE_CHECKING:
    from opus_controller.engine.runtime import LiveHost
    from opus_controller.runtimes.hosts.state import RunState


def register(app: typer.Typer) -> None:
    @app.command()
    def status(run: RunArgument = None, as_json: JsonOption = False) -> None:
        """Runs on this machine; with RUN, or if only one is alive, also its hosts and their roles."""
        from opus_controller.runtimes.hosts import state

        states = state.everything()
        living = [one for one in states if one.alive()]
        chosen = state.find(run) if run is not None else living[0] if len(living) == 1 else None
        hosts = _live(chosen) if chosen is not None and chosen.alive() else []
        if as_json:
            document: dict[str, Any] = {"runs": [_summary(one) for one in states]}
            if chosen is not None:
                document |= {"run": chosen.run, "hosts": [vars(host) for host in hosts]}
            print_json(document)
            return
        _show_runs(states)
        if hosts:
            print()
            _show_hosts(hosts)


def _live(run: RunState) -> list[LiveHost]:
    try:
        return list(with_runtime(run, lambda runtime: runtime.live()).values())
    except OpusError as error:  # it may be coming up, or going down: the list of runs is still true
        print(f"{run.run}: {error}")
        return []


def _summary(run: RunState) -> dict[str, Any]:
    return {
        "run": run.run,
        "name": run.name,
        "mode": run.mode,
        "runtime": run.runtime,
        "links": run.links,
        "hosts": len(run.hosts),
        "alive": run.alive(),
        "owner": run.owner.pid,
        "record": run.record,
    }


def _show_runs(states: list[RunState]) -> None:
    if not states:
        print("nothing is running; start with: opus run SCENARIO, or: opus up TOPOLOGY")
        return
    rows = [
        (one.run, one.name, one.mode, len(one.hosts), one.runtime, one.links or "-", "alive" if one.alive() else "dead: opus gc")
        for one in states
    ]
    print_table(("run", "name", "mode", "hosts", "runtime", "links", "state"), rows)


def _show_hosts(hosts: list[LiveHost]) -> None:
    rows = [
        (host.name, _state(host), _roles(host), host.agent or "-", host.nodes or "", host.served, host.routed, host.entries)
        for host in hosts
    ]
    print_table(("host", "state", "roles", "agent", "nodes", "served", "routed", "entries"), rows)


def _state(host: LiveHost) -> str:
    return "dead" if not host.alive else "paused" if host.paused else "alive"


def _roles(host: LiveHost) -> str:
    roles = [
        *(["agent"] if host.is_agent else []),
        *(f"replica {app}" for app in host.replica_of),
        *(f"steward {app}" for app in host.steward_of),
    ]
    return ", ".join(roles) or "-"
