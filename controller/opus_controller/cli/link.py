"""`opus link`: look at a living testbed's paths and change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.cli._names import complete_ends
from opus_controller.cli._output import JsonOption, print_json, print_table
from opus_controller.cli._runs import RunOption, need_root, with_runtime
from opus_controller.model.errors import OpusError, ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.network import Network
    from opus_controller.model.plan import Host, Plan
    from opus_controller.model.shapes import PathShape
    from opus_controller.net.links import LinkCounters
    from opus_controller.runtimes.hosts.runtime import HostsRuntime
    from opus_controller.runtimes.hosts.state import RunState

APPLIED_S = 60.0
Text = str | None
End = Annotated[str, typer.Argument(help="A host, or a site (all of its hosts).", autocompletion=complete_ends)]
OneWay = Annotated[bool, typer.Option("--one-way", help="Only from A to B.")]


def register(app: typer.Typer) -> None:
    link = typer.Typer(help="Look at a living testbed's paths and change them.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(link, name="link")
    link.command("show")(show)
    link.command("set")(set_)
    link.command("reset")(reset)


def show(
    a: Annotated[str | None, typer.Argument(help="A host or a site.", autocompletion=complete_ends)] = None,
    b: Annotated[str | None, typer.Argument(help="A host or a site.", autocompletion=complete_ends)] = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """The shape of the paths between A and B, both ways; without them every path between sites, and the hosts' counters."""
    from opus_controller.runtimes.hosts import state
    from opus_controller.runtimes.hosts.hands import network_of

    found = state.find(run)
    plan = found.plan()
    network = network_of(found, plan)
    if a is not None and b is not None:
        pairs = [_ends(plan, a, b), _ends(plan, b, a)]
        _show_paths([(one, other, _shape_between(network, plan, one, other)) for one, other in pairs], as_json=as_json)
        return
    if a is not None:
        raise ScenarioError("link show takes two ends, or none")
    need_root("reading the links' counters")
    paths = [(one, other, _shape_between(network, plan, one, other)) for one in plan.sites for other in plan.sites]
    counters = with_runtime(found, _counters)
    if as_json:
        print_json({"paths": _plain(paths), "counters": {host: vars(of) for host, of in counters.items()}})
    else:
        _show_paths(paths, as_json=False)
        print()
        _show_counters(counters)


def set_(
    a: End,
    b: End,
    delay: Annotated[Text, typer.Option("--delay", help="One way, between the access links: 80ms.")] = None,
    rtt: Annotated[Text, typer.Option("--rtt", help="Both ways together, half for each direction: 160ms.")] = None,
    jitter: Annotated[Text, typer.Option("--jitter", help="2ms")] = None,
    distribution: Annotated[Text, typer.Option("--distribution", help="uniform, normal, pareto or paretonormal")] = None,
    loss: Annotated[Text, typer.Option("--loss", help="Independent: 1%.")] = None,
    duplicate: Annotated[Text, typer.Option("--duplicate", help="1%")] = None,
    reorder: Annotated[Text, typer.Option("--reorder", help="1%")] = None,
    corrupt: Annotated[Text, typer.Option("--corrupt", help="1%")] = None,
    one_way: OneWay = False,
    run: RunOption = None,
) -> None:
    """Change the path between two hosts or sites of a living testbed; what is not said stays. Packets in flight arrive."""
    from opus_controller.model.units import parse_duration, parse_share

    changes = {
        "delay_ns": _parsed("--delay", parse_duration, delay) if rtt is None else _parsed("--rtt", parse_duration, rtt) // 2,
        "jitter_ns": _parsed("--jitter", parse_duration, jitter),
        "distribution": distribution,
        "loss": _parsed("--loss", parse_share, loss),
        "duplicate": _parsed("--duplicate", parse_share, duplicate),
        "reorder": _parsed("--reorder", parse_share, reorder),
        "corrupt": _parsed("--corrupt", parse_share, corrupt),
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if "loss" in changes:
        changes["burst"] = None
    if not changes:
        raise ScenarioError("link set: nothing to change; allowed: --delay, --rtt, --jitter, --loss, ... (opus link set --help)")
    _change(run, a, b, lambda shape: _changed(shape, changes), one_way=one_way)


def reset(a: End, b: End, one_way: OneWay = False, run: RunOption = None) -> None:
    """Give the path between two hosts or sites the topology's shape again."""
    _change(run, a, b, None, one_way=one_way)


def _change(run: str | None, a: str, b: str, change: Callable[[PathShape], PathShape] | None, *, one_way: bool) -> None:
    """Lay the changed shape over the path from `a` to `b` (and back), bring it about, keep it, and show it."""
    need_root("changing links")
    from opus_controller.runtimes.hosts import hands, state

    found = state.find(run)
    if found.mode == "run":
        raise ScenarioError(
            f"run {found.run} is being played: its scenario decides its links; a testbed of `opus up` can be changed"
        )
    plan = found.plan()
    pairs = [_ends(plan, a, b)] if one_way else [_ends(plan, a, b), _ends(plan, b, a)]
    with state.locked(found):
        network = before = hands.shaped(found, plan)
        for one, other in pairs:
            network = _laid(network, plan, one, other, change)
        hands.save(found, network)
        try:
            network = hands.network_of(found, plan)
            _bring_about(found, network)
        except (OpusError, ValueError) as error:
            hands.save(found, before)
            raise error if isinstance(error, OpusError) else ScenarioError(f"link set: {error}") from None
    _show_paths([(one, other, _shape_between(network, plan, one, other)) for one, other in pairs], as_json=False)


def _bring_about(run: RunState, network: Network) -> None:
    """By the testbed's controller if it has one: it knows what faults are to come and go."""
    from opus_controller.engine.console import ask

    try:
        ask(run.console, {"do": "links"}, APPLIED_S)
    except ConnectionError:
        with_runtime(run, lambda runtime: runtime.apply_links(network))


def _laid(network: Network, plan: Plan, one: str, other: str, change: Callable[[PathShape], PathShape] | None) -> Network:
    """`network` with the path between two sites, or two hosts, changed; None: as the topology has it."""
    by_host = one in {host.name for host in plan.hosts}
    overrides = dict(network.host_overrides if by_host else network.overrides)
    if change is None:
        overrides.pop((one, other), None)
    else:
        overrides[one, other] = change(_shape_between(network, plan, one, other))
    return replace(network, host_overrides=overrides) if by_host else replace(network, overrides=overrides)


def _changed(shape: PathShape, changes: dict[str, Any]) -> PathShape:
    from pydantic import ValidationError

    from opus_controller.model.shapes import PathShape

    try:
        return PathShape.model_validate({**shape.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        raise ScenarioError(f"link set: {first['loc'][0]}: {first['msg']}") from None


def _parsed(option: str, parse: Callable[[object], Any], text: Text) -> Any:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise ScenarioError(f"{option}: {error}") from None


def _ends(plan: Plan, a: str, b: str) -> tuple[str, str]:
    """Two hosts or two sites; a name that is both (a site's only host) goes with its partner. ScenarioError otherwise."""
    hosts = {host.name for host in plan.hosts}
    for kind in (hosts, set(plan.sites)):
        if a in kind and b in kind:
            return a, b
    unknown = [end for end in (a, b) if end not in hosts and end not in plan.sites]
    if unknown:
        raise ScenarioError(f"there is no host or site {unknown[0]!r}; sites: {', '.join(plan.sites)}; hosts: opus hosts")
    raise ScenarioError(f"{a} and {b}: name two hosts or two sites")


def _shape_between(network: Network, plan: Plan, a: str, b: str) -> PathShape:
    by_name = {host.name: host for host in plan.hosts}
    if a in by_name and b in by_name:
        return network.path(by_name[a], by_name[b])
    return network.path(_some_host(plan, a), _some_host(plan, b))


def _some_host(plan: Plan, site: str) -> Host:
    """Stands for its site. Its own overrides towards single hosts would show; a name no host has keeps them out."""
    host = next((host for host in plan.hosts if host.site == site), plan.hosts[0])
    return host.model_copy(update={"name": "", "site": site})


async def _counters(runtime: HostsRuntime) -> dict[str, LinkCounters]:
    return runtime.links.counters()


def _plain(paths: list[tuple[str, str, PathShape]]) -> list[dict[str, Any]]:
    return [{"from": a, "to": b, **shape.model_dump(mode="json")} for a, b, shape in paths]


def _show_paths(paths: list[tuple[str, str, PathShape]], *, as_json: bool) -> None:
    from opus_controller.model.units import format_duration, format_share

    if as_json:
        print_json({"paths": _plain(paths)})
        return
    rows = []
    for a, b, shape in paths:
        jitter = f"{format_duration(shape.jitter_ns)} {shape.distribution}" if shape.jitter_ns else "-"
        shares = [
            format_share(share) if share else "-" for share in (shape.loss_mean, shape.duplicate, shape.reorder, shape.corrupt)
        ]
        rows.append((a, b, format_duration(shape.delay_ns), jitter, *shares))
    print_table(("from", "to", "delay", "jitter", "loss", "duplicate", "reorder", "corrupt"), rows)


def _show_counters(counters: dict[str, LinkCounters]) -> None:
    columns = ("sent", "received", "lost", "cut", "queue_dropped", "overflow")
    rows = [(host, *(getattr(of, name) for name in columns)) for host, of in counters.items()]
    print_table(("host", *columns), rows)
