"""Which application holds which host when, drawn: hosts as rows, by site, time along, a colour an application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from opus_controller.report import plots
from opus_controller.report.palette import Palette
from opus_controller.report.run import SECOND, Run

MOST_ROWS = 60
"""Hosts drawn: those that served longest."""
HATCHES = ("", "////", "....")
"""Beyond four applications colours come again, hatched."""


class Bar(NamedTuple):
    """One host serves one application from `start` to `end`, ns."""

    host: int
    app: int
    start: int
    end: int


def bars(run: Run) -> list[Bar]:
    """From the roles that hosts took up and laid down, and their deaths; by application, host and time."""
    found = []
    for a, app in enumerate(run.plan.apps):
        track, open_since = run.world.serving[app.name], dict[int, int]()
        for t, (_, serving) in zip(track.times, track.values, strict=True):
            found += [Bar(host, a, open_since.pop(host), t) for host in sorted(open_since) if host not in serving]
            open_since.update((host, t) for host in sorted(serving) if host not in open_since)
        found += [Bar(host, a, since, max(run.end, since)) for host, since in open_since.items()]
    return sorted(found)


def rows(run: Run, held: Sequence[Bar]) -> list[int]:
    """The hosts to draw, by site in the plan's order and by number there."""
    longest: dict[int, int] = {}
    for bar in held:
        longest[bar.host] = longest.get(bar.host, 0) + bar.end - bar.start
    chosen = sorted(longest, key=lambda host: (-longest[host], host))[:MOST_ROWS]
    return sorted(chosen, key=lambda host: (run.world.geometry.site[host], host))


def figure(run: Run, colours: Palette) -> Figure:
    """Who holds which hosts when?"""
    held = bars(run)
    hosts = rows(run, held)
    apps = [app.name for app in run.plan.apps]
    made = Figure(figsize=(plots.WIDTH, max(2.0, 1.1 + 0.2 * len(hosts))))
    axes = made.subplots()
    _draw(axes, held, hosts, colours)
    _name(axes, run, hosts, colours)
    plots.mark(axes, run, colours, numbers=True)
    plots.mark_crowds(axes, run, colours, told=False)
    axes.set_xlim(0, max(run.end / SECOND, 1))
    axes.set_xlabel("seconds since the start")
    looks = [_look(a, colours) for a in range(len(apps))]
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=colours.ink if hatch else "none", linewidth=0, label=name)
        for name, (colour, hatch) in zip(apps, looks, strict=True)
    ]
    above = (1.0, 1 + 0.25 / max(1.1, 0.2 * len(hosts) + 0.2))
    axes.legend(handles=handles, loc="lower right", ncols=6, bbox_to_anchor=above, borderaxespad=0.0, handlelength=1.2)
    axes.set_title("who serves which application", pad=22)
    return made


def _look(app: int, colours: Palette) -> tuple[str, str]:
    series = (colours.a, colours.b, colours.c, colours.d)
    return series[app % len(series)], HATCHES[app // len(series) % len(HATCHES)]


def _draw(axes: Axes, held: Sequence[Bar], hosts: Sequence[int], colours: Palette) -> None:
    """Of applications that share a host at a time each has its part of the row's height."""
    row = {host: i for i, host in enumerate(hosts)}
    for host in hosts:
        mine = [bar for bar in held if bar.host == host]
        lanes = _lanes(mine)
        height = 0.8 / (1 + max(lanes, default=0))
        for bar, lane in zip(mine, lanes, strict=True):
            colour, hatch = _look(bar.app, colours)
            axes.broken_barh(
                [(bar.start / SECOND, (bar.end - bar.start) / SECOND)],
                (row[host] - 0.4 + lane * height, height),
                facecolors=colour, hatch=hatch, edgecolor=colours.ink if hatch else "none", linewidth=0, alpha=0.85,
            )  # fmt: skip


def _lanes(mine: Sequence[Bar]) -> list[int]:
    """Of bars of one host, where in its row each goes: the first that is free by then."""
    free: list[int] = []
    lanes = [0] * len(mine)
    for i in sorted(range(len(mine)), key=lambda i: (mine[i].start, mine[i].app)):
        lane = next((lane for lane, since in enumerate(free) if since <= mine[i].start), len(free))
        free[lane : lane + 1] = [mine[i].end]
        lanes[i] = lane
    return lanes


def _name(axes: Axes, run: Run, hosts: Sequence[int], colours: Palette) -> None:
    axes.set_yticks(range(len(hosts)), [run.plan.hosts[host].name for host in hosts], fontsize=8.0)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(hosts) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    site = run.world.geometry.site
    for i in range(1, len(hosts)):
        if site[hosts[i]] != site[hosts[i - 1]]:
            axes.axhline(i - 0.5, color=colours.grid, linewidth=0.8)
