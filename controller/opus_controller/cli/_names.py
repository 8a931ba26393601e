"""Names for the shell to complete: of the hosts, sites and faults of the testbed that a command line is about.

A completion never fails and never says anything: without a testbed there is nothing to complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from opus_controller.model.errors import OpusError

if TYPE_CHECKING:
    from opus_controller.runtimes.hosts.state import RunState

ANSWERS_S = 1.0
_BEGINNINGS = ("a", "all", "the", "site", "group", "same")
_AFTER = {
    "a": ("replica", "host", "site"),
    "an": ("agent",),
    "the": ("busiest", "oldest", "best", "steward", "agent"),
    "busiest": ("agent", "replica", "host"),
    "best": ("connected",),
    "all": ("replicas", "but"),
    "but": ("one",),
    "one": ("replica",),
    "same": ("as",),
    "replica": ("of",),
    "replicas": ("of",),
    "steward": ("of",),
    "agent": ("of",),
}
"""Words of selectors that follow others."""


def complete_who(ctx: typer.Context, incomplete: str) -> list[str]:
    """The next word of a selector."""
    words = list(ctx.params.get("who") or ())
    before = words[-1].rstrip(",") if words else ""
    run = _run(ctx)
    if before == "as":
        return _fitting(_faults(run), incomplete)
    if run is None:
        return []
    plan = run.plan()
    named = {
        "site": plan.sites,
        "sites": plan.sites,
        "group": tuple(dict.fromkeys(host.group for host in plan.hosts)),
        "of": (*(app.name for app in plan.apps), *run.hosts),
    }
    if before in named:
        return _fitting(named[before], incomplete)
    if before in _AFTER:
        return _fitting(_AFTER[before], incomplete)
    return _fitting((*run.hosts, *(() if words else _BEGINNINGS)), incomplete)


def complete_hosts(ctx: typer.Context, incomplete: str) -> list[str]:
    run = _run(ctx)
    return _fitting(run.hosts, incomplete) if run is not None else []


def complete_sites(ctx: typer.Context, incomplete: str) -> list[str]:
    run = _run(ctx)
    return _fitting(run.plan().sites, incomplete) if run is not None else []


def complete_ends(ctx: typer.Context, incomplete: str) -> list[str]:
    """Hosts and sites."""
    return list(dict.fromkeys([*complete_hosts(ctx, incomplete), *complete_sites(ctx, incomplete)]))


def complete_faults(ctx: typer.Context, incomplete: str) -> list[str]:
    """What is in force."""
    given = ctx.params.get("faults") or ()
    return [name for name in _fitting(_faults(_run(ctx)), incomplete) if name not in given]


def complete_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    from opus_controller.runtimes.hosts import state

    return _fitting(state.runs(), incomplete)


def _run(ctx: typer.Context) -> RunState | None:
    from opus_controller.runtimes.hosts import state

    try:
        return state.find(ctx.params.get("run"))
    except OpusError:
        return None


def _faults(run: RunState | None) -> list[str]:
    from opus_controller.engine.console import ask

    if run is None:
        return []
    try:
        return [one["name"] for one in ask(run.console, {"do": "list"}, ANSWERS_S)["in_force"]]
    except (OpusError, OSError):
        return []


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
