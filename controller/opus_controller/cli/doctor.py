"""`opus doctor`: what this machine can do, and what mends the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from opus_controller.cli._output import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from opus_controller.bench.capacity import Capacity


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(as_json: JsonOption = False) -> None:
        """Check what this machine can do, and how many hosts and packets a second it can carry; each shortcoming with the command
        that mends it. Exit code 3: no real hosts here."""
        from opus_controller.bench.capacity import capacity
        from opus_controller.cli._checks import examine, real_hosts

        findings = examine()
        able = real_hosts(findings)
        carries = capacity()
        if as_json:
            print_json({"real_hosts": able, "checks": [vars(finding) for finding in findings], "capacity": carries.figures()})
        else:
            print_table(("check", "verdict", "found", "needed for"), [(f.name, f.verdict, f.found, f.need) for f in findings])
            mends = [(f.name, f.mend) for f in findings if f.mend]
            if mends:
                print()
                print_table(("to mend", "run"), mends)
            print()
            _tell(carries)
            print()
            print(
                "real hosts: opus run SCENARIO --runtime netns" if able else "no real hosts here: opus run SCENARIO --runtime sim"
            )
        raise typer.Exit(0 if able else 3)


def _tell(carries: Capacity) -> None:
    """What the machine has, what things cost and from where that is known, and what follows."""
    machine, costs, alone = carries.machine, carries.costs, carries.alone
    hosts, limit = carries.hosts()
    asked = carries.hosts_asked(0.5)
    print(f"carries about {hosts} hosts at rest as it is now ({limit} end first), {asked} with half a request/s each;")
    print(f"with nothing else on it {alone.hosts()[0]} and {alone.hosts_asked(0.5)}.")
    print(
        f"userspace links: {carries.packets_a_second:,} packets/s as it is now, {alone.packets_a_second:,} alone. Reckoned from:"
    )
    found = f"{machine.free_cores:.1f} of {machine.cores} cores free, {machine.turns:,.0f} turns/s of a plain event loop on one"
    rows = [
        ("cores", found, "measured just now"),
        ("memory", f"{machine.memory_mb:,.0f} MiB available", "measured just now"),
        ("a host at rest", f"{costs.rest_ms_per_s.value:.3g} ms/s of CPU", costs.rest_ms_per_s.source),
        ("a request", f"{costs.request_ms.value:.3g} ms of CPU", costs.request_ms.source),
        ("a host's memory", f"{costs.host_mb.value:.3g} MB", costs.host_mb.source),
        ("userspace links", f"{costs.packets_a_second.value:,.0f} packets/s a core", costs.packets_a_second.source),
    ]
    print_table(("of", "figure", "from"), rows)
