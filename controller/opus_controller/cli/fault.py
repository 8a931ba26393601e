"""`opus fault`: break a living testbed by hand, as a scenario's timeline would, and make it whole again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.cli._controller import ask_controller
from opus_controller.cli._names import complete_faults, complete_sites, complete_who
from opus_controller.cli._output import JsonOption, print_json, print_table
from opus_controller.cli._runs import RunOption, need_root
from opus_controller.model.errors import ScenarioError
from opus_controller.model.units import format_share, parse_share

if TYPE_CHECKING:
    from opus_controller.engine.runtime import Record

_WHO = "As in a scenario, quotes or not: use1-3, site eu-west-1, 20% of hosts, a replica of web, the busiest agent ..."
Who = Annotated[list[str], typer.Argument(help=_WHO, metavar="WHO", autocompletion=complete_who, show_default=False)]
Site = Annotated[str, typer.Argument(autocompletion=complete_sites, show_default=False)]
For = Annotated[str | None, typer.Option("--for", help="Undone after so long: 10s.", metavar="DURATION")]
Flap = Annotated[
    str | None,
    typer.Option("--flap", help="With --for: again and again, half of each period in force, half not: 2s.", metavar="DURATION"),
]
Named = Annotated[str | None, typer.Option("--name", help="By which to undo it; made of its kind and the time unless given.")]


def register(app: typer.Typer) -> None:
    fault = typer.Typer(
        help="Break a living testbed by hand, and make it whole again.", no_args_is_help=True, rich_markup_mode=None
    )
    app.add_typer(fault, name="fault")
    for command in (kill, leave, restart, pause, resume, cut, shape, strain, churn, flood, heal, clear):
        fault.command()(command)
    fault.command("list")(list_)


def kill(
    who: Who,
    power_off: Annotated[
        bool, typer.Option("--power-off", help="Cut the links first: silence, where else kernels reset connections.")
    ] = False,
    for_: For = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """End hosts' processes."""
    _strike({"power-off" if power_off else "crash": _phrase(who)}, {"for": for_, "name": name}, run, as_json=as_json)


def leave(who: Who, for_: For = None, name: Named = None, run: RunOption = None, as_json: JsonOption = False) -> None:
    """Ask hosts' nodes to go: they tell whoever counts on them, and end by themselves."""
    _strike({"leave": _phrase(who)}, {"for": for_, "name": name}, run, as_json=as_json)


def restart(
    who: Who,
    state: Annotated[
        str | None, typer.Option("--state", help="lost: with nothing on their disks, and no past; same unless given.")
    ] = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start dead hosts anew: by name, or "same as" a kill or a leave."""
    _strike({"restart": _phrase(who)}, {"state": state, "name": name}, run, as_json=as_json)


def pause(
    who: Who, for_: For = None, flap: Flap = None, name: Named = None, run: RunOption = None, as_json: JsonOption = False
) -> None:
    """Stop hosts' processes; they know nothing of it."""
    _strike({"pause": _phrase(who)}, {"for": for_, "flap": flap, "name": name}, run, as_json=as_json)


def resume(who: Who, name: Named = None, run: RunOption = None, as_json: JsonOption = False) -> None:
    """Let paused hosts go on: by name, or "same as" a pause."""
    _strike({"resume": _phrase(who)}, {"name": name}, run, as_json=as_json)


def cut(
    who: Who,
    other: Annotated[
        str | None, typer.Option("--from", help="The other side; everyone else unless given.", autocompletion=complete_who)
    ] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only packets to the other side are lost.")] = False,
    for_: For = None,
    flap: Flap = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let no packet pass between hosts and the others."""
    event: dict[str, Any] = {"partition": _phrase(who)}
    event |= {} if other is None else {"from": other}
    event |= {"both_ways": False} if one_way else {}
    _strike(event, {"for": for_, "flap": flap, "name": name}, run, as_json=as_json)


def shape(
    a: Site,
    b: Site,
    delay: Annotated[str | None, typer.Option("--delay", help="One way: 80ms.")] = None,
    rtt: Annotated[str | None, typer.Option("--rtt", help="Both ways together: 160ms.")] = None,
    jitter: Annotated[str | None, typer.Option("--jitter", help="2ms")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="1%")] = None,
    duplicate: Annotated[str | None, typer.Option("--duplicate", help="1%")] = None,
    reorder: Annotated[str | None, typer.Option("--reorder", help="1%")] = None,
    corrupt: Annotated[str | None, typer.Option("--corrupt", help="1%")] = None,
    put: Annotated[bool, typer.Option("--set", help="In place of what the path has, not on top of it.")] = False,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only from A to B.")] = False,
    for_: For = None,
    flap: Flap = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the path between two sites worse; `heal` takes exactly this back."""
    asked = {"delay": delay, "rtt": rtt, "jitter": jitter, "loss": loss, "duplicate": duplicate, "reorder": reorder}
    asked["corrupt"] = corrupt
    changes = _given(asked)
    if not changes:
        raise ScenarioError(
            "fault shape: nothing to change; allowed: --rtt, --delay, --jitter, --loss, ... (opus fault shape --help)"
        )
    event = {"link": f"{a} {'->' if one_way else '<->'} {b}", "set" if put else "add": changes}
    _strike(event, {"for": for_, "flap": flap, "name": name}, run, as_json=as_json)


def strain(
    who: Who,
    cpu: Annotated[str | None, typer.Option("--cpu", help="The share of its processor that each keeps: 20%.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="What each may use at most: 64MiB.")] = None,
    up: Annotated[str | None, typer.Option("--up", help="Rate of its access link, at most: 1Mbit.")] = None,
    down: Annotated[str | None, typer.Option("--down", help="As --up, towards the host.")] = None,
    disk: Annotated[str | None, typer.Option("--disk", help="What its disk holds at most: 20MiB, or full.")] = None,
    writes: Annotated[str | None, typer.Option("--writes", help="Rate at which its disk takes what is written: 8Mbit.")] = None,
    clock: Annotated[str | None, typer.Option("--clock", help="How far its clock is ahead (3s), or behind (-200ms).")] = None,
    drift: Annotated[str | None, typer.Option("--drift", help="How much too fast its clock runs: 200ppm, or -1%.")] = None,
    for_: For = None,
    flap: Flap = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave hosts less of what they have, or make their clocks wrong; `heal` gives it back."""
    asked = {"cpu": cpu, "memory": memory, "up": up, "down": down, "disk": disk, "writes": writes}
    asked |= {"clock": clock, "drift": drift}
    taken = _given(asked)
    if not taken:
        allowed = ", ".join(f"--{key}" for key in asked)
        raise ScenarioError(f"fault strain: nothing to take; allowed: {allowed} (opus fault strain --help)")
    _strike({"strain": _phrase(who), **taken}, {"for": for_, "flap": flap, "name": name}, run, as_json=as_json)


def flood(
    who: Who,
    rate: Annotated[str, typer.Option("--rate", help="Requests of all that ask, together: 200/s.")],
    for_: Annotated[str, typer.Option("--for", help="For so long: 10s.", metavar="DURATION")],
    app: Annotated[str | None, typer.Option("--app", help="Not needed while there is one application.")] = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a few hosts ask others far more than clients do; they are no clients meanwhile."""
    event = {"flood": _phrase(who), "rate": rate, **_given({"app": app})}
    _strike(event, {"for": for_, "name": name}, run, as_json=as_json)


def churn(
    who: Who,
    sessions: Annotated[str, typer.Option("--sessions", help="Mean time that a host stays: 3m.", metavar="DURATION")],
    downtimes: Annotated[str, typer.Option("--downtimes", help="Mean time that it is away: 1m.", metavar="DURATION")],
    distribution: Annotated[str, typer.Option("--distribution", help="exponential, weibull, lognormal, pareto or constant")] = (
        "exponential"
    ),
    sessions_shape: Annotated[float | None, typer.Option("--shape", help="Of weibull, lognormal or pareto.")] = None,
    power_off: Annotated[bool, typer.Option("--power-off", help="Hosts go in silence.")] = False,
    graceful: Annotated[
        str | None,
        typer.Option("--graceful", help="The share of departures in which the node says so first: 30%.", metavar="SHARE"),
    ] = None,
    for_: For = None,
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let hosts come and go, all but the seeds, until it is cleared."""

    def lasting(mean: str) -> dict[str, Any]:
        return {"distribution": distribution, "mean": mean} | ({} if sessions_shape is None else {"shape": sessions_shape})

    asked: dict[str, Any] = {"hosts": _phrase(who), "sessions": lasting(sessions), "downtimes": lasting(downtimes)}
    asked |= {"departures": _departures("power-off" if power_off else "crash", graceful)}
    asked |= _given({"for": for_, "name": name})
    need_root("breaking hosts and links")
    _show(ask_controller(run, {"do": "churn", "churn": asked})["struck"][0], as_json=as_json)


def heal(
    fault: Annotated[str, typer.Argument(help="A cut, shape or strain that is in force.", autocompletion=complete_faults)],
    name: Named = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a cut, a shape or a strain back."""
    _strike({"heal": fault}, {"name": name}, run, as_json=as_json)


def clear(
    faults: Annotated[
        list[str] | None,
        typer.Argument(help="As `opus fault list` names them; all by hand unless given.", autocompletion=complete_faults),
    ] = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo faults, whatever they are: hosts start or go on, links are as they were."""
    need_root("breaking hosts and links")
    struck = ask_controller(run, {"do": "clear", "names": faults or []})["struck"]
    if as_json:
        print_json(struck)
    elif not struck:
        print("nothing by hand is in force")
    else:
        for record in struck:
            _tell(record)


def list_(run: RunOption = None, as_json: JsonOption = False) -> None:
    """What is in force, the oldest first."""
    need_root("speaking with the testbed")
    found = ask_controller(run, {"do": "list"})["in_force"]
    if as_json:
        print_json(found)
    elif not found:
        print("nothing is in force")
    else:
        print_table(
            ("name", "kind", "target", "by"), [(one["name"], one["kind"], one["target"] or "-", one["by"]) for one in found]
        )


def _departures(silent: str, graceful: str | None) -> str | dict[str, str]:
    """`silent`, but for the share that leaves."""
    if graceful is None:
        return silent
    try:
        share = parse_share(graceful)
    except ValueError as error:
        raise ScenarioError(f"--graceful: {error}") from None
    return {"leave": graceful, silent: format_share(1 - share)}


def _phrase(who: list[str]) -> str:
    return " ".join(who)


def _given(options: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in options.items() if value is not None}


def _strike(event: dict[str, Any], more: dict[str, str | None], run: str | None, *, as_json: bool) -> None:
    need_root("breaking hosts and links")
    event |= _given(more)
    _show(ask_controller(run, {"do": "strike", "event": event})["struck"][0], as_json=as_json)


def _show(record: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        _tell(record)


def _tell(record: Record) -> None:
    from opus_controller.engine.play import news

    skipped = record.get("skipped", [])
    print(f"{record['name']}: {news(record)}" + (f"; no change: {', '.join(skipped)}" if skipped else ""))
