"""`opus hosts`: the hosts of a run, where they are and how they are reached."""

from __future__ import annotations

import typer

from opus_controller.cli._output import JsonOption, print_json, print_table
from opus_controller.cli._runs import RunArgument


def register(app: typer.Typer) -> None:
    @app.command()
    def hosts(run: RunArgument = None, as_json: JsonOption = False) -> None:
        """The hosts of a run: site, address, access link, process."""
        from opus_controller.model.units import format_duration, format_rate
        from opus_controller.runtimes.hosts import state

        found = state.find(run)
        rows = []
        for host in found.plan().hosts:
            of = found.hosts[host.name]
            alive = of.node is not None and of.node.alive()
            rows.append(
                {
                    "host": host.name,
                    "site": host.site,
                    "address": host.address,
                    "delay": format_duration(host.access.delay_ns),
                    "up": format_rate(host.access.up.rate_bps) if host.access.up.rate_bps else "unlimited",
                    "down": format_rate(host.access.down.rate_bps) if host.access.down.rate_bps else "unlimited",
                    "pid": of.node.pid if of.node is not None and alive else None,
                    "netns": of.netns,
                }
            )
        if as_json:
            print_json({"run": found.run, "hosts": rows})
        else:
            columns = ("host", "site", "address", "delay", "up", "down", "pid", "netns")
            print_table(columns, [[row[name] or "dead" for name in columns] for row in rows])
