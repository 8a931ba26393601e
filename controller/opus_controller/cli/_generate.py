"""`opus topology generate transit-stub|regions|resample`: networks by models."""

from __future__ import annotations

from typing import Annotated

import typer

from opus_controller.cli._output import need_writable
from opus_controller.cli._topology_file import FormatOption, NameOption, OneWayOption, OutOption, UnitOption, write_topology
from opus_controller.model.errors import ScenarioError

HostsOption = Annotated[int, typer.Option("--hosts", min=1, help="In all.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed and options, same file.")]


def register(commands: typer.Typer) -> None:
    generate = typer.Typer(help="Make a network by a model.", no_args_is_help=True, rich_markup_mode=None)
    generate.command("transit-stub")(transit_stub)
    generate.command()(regions)
    generate.command()(resample)
    commands.add_typer(generate, name="generate")


def transit_stub(
    hosts: HostsOption,
    seed: SeedOption = 1,
    out: OutOption = None,
    name: NameOption = "",
    transits: Annotated[int, typer.Option("--transits", min=1, help="Transit domains.")] = 4,
    transit_nodes: Annotated[int, typer.Option("--transit-nodes", min=1, help="In each.")] = 4,
    stubs: Annotated[int, typer.Option("--stubs", min=1, help="Stub domains on each transit node.")] = 3,
    stub_nodes: Annotated[int, typer.Option("--stub-nodes", min=1, help="In each stub domain.")] = 8,
    delays: Annotated[
        str, typer.Option("--delays", help="One way: between transit domains, within one, to a stub, within a stub.")
    ] = "40ms,20ms,5ms,2ms",
) -> None:
    """Transit domains, and stub domains with the hosts (as GT-ITM)."""
    from opus_controller.model.generators.transit_stub import TransitStub

    each = tuple(_duration("--delays", word) for word in delays.split(","))
    network = TransitStub(hosts, seed, transits, transit_nodes, stubs, stub_nodes, each)
    need_writable(out)
    write_topology(network.text(name), out)


def regions(
    hosts: HostsOption,
    seed: SeedOption = 1,
    out: OutOption = None,
    name: NameOption = "",
    core: Annotated[str, typer.Option("--core", help="The topology whose sites are the regions.")] = "cloud-33",
    regions: Annotated[int, typer.Option("--regions", min=0, help="So many of them, drawn; 0: all.")] = 0,
    last_mile: Annotated[str, typer.Option("--last-mile", help="Median of its round trip.")] = "10ms",
    sigma: Annotated[float, typer.Option("--sigma", help="Deviation of its logarithm.")] = 0.6,
) -> None:
    """Measured round trips between regions, and a log-normal last mile for each host."""
    from opus_controller.model.generators.regions import Regions

    network = Regions(hosts, seed, core, regions, _duration("--last-mile", last_mile), sigma)
    need_writable(out)
    write_topology(network.text(name), out)


def resample(
    matrix: Annotated[str, typer.Argument(help="A file that can be imported, or a topology.", metavar="MATRIX")],
    hosts: HostsOption,
    seed: SeedOption = 1,
    out: OutOption = None,
    name: NameOption = "",
    sites: Annotated[int, typer.Option("--sites", min=0, help="0: one for each host, at most 1,024.")] = 0,
    format_name: FormatOption = "",
    unit: UnitOption = "",
    one_way: OneWayOption = False,
) -> None:
    """A measured matrix made larger: sites drawn with replacement, copies of a site told apart."""
    from opus_controller.model.generators.resample import Resample

    network = Resample(matrix, hosts, seed, sites, format_name, unit, one_way)
    need_writable(out)
    write_topology(network.text(name), out)


def _duration(option: str, word: str) -> int:
    from opus_controller.model.units import parse_duration

    try:
        return parse_duration(word.strip())
    except ValueError as error:
        raise ScenarioError(f"{option}: {error}") from None
