"""Who is what, where: snapshots of a run for report.html, as plain values that the template draws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from opus_controller.report import spreading, words
from opus_controller.report.layout import Points, fit, push_apart, site_points, sunflower
from opus_controller.report.run import SECOND, Run
from opus_controller.report.world import FaultSeen, Paths, State

WIDTH, HEIGHT, MARGIN = 960.0, 480.0, 64.0
MOST_HOSTS = 320
"""Drawn; of more, every agent, replica and steward, and an even sample of the others."""
MOST_SNAPSHOTS = 8
MOST_LABELS = 40


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Dot:
    """One host in one snapshot."""

    x: float
    y: float
    classes: str
    """Of agent, replica, steward, client, cut, paused, dead."""
    title: str
    """For the pointer that rests on it."""


@dataclass(frozen=True)
class Line:
    """A node's attachment to its agent."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Snapshot:
    label: str
    dots: list[Dot]
    lines: list[Line]


@dataclass(frozen=True)
class Map:
    labels: list[Label]
    snapshots: list[Snapshot]
    geography: bool
    scale: float
    """Of the marks: the fewer hosts, the larger."""
    drawn: int
    hosts: int
    width: float = WIDTH
    height: float = HEIGHT


def draw(run: Run) -> Map:
    """The run at a few telling instants: before the first fault, when things had settled after each, and at the end."""
    spacing = _spacing(run)
    at, site_at, radius, geography = _positions(run, spacing)
    times = _instants(run)
    states = [run.world.state_at(t) for _, t in times]
    shown = _shown(run, states)
    snapshots = [
        _snapshot(run, label, state, run.world.paths.at(t), at, shown) for (label, t), state in zip(times, states, strict=True)
    ]
    labels = _labels(run, site_at, radius)
    return Map(labels, snapshots, geography, _scale(spacing), len(shown), len(run.plan.hosts))


def _labels(run: Run, site_at: Points, radius: Points) -> list[Label]:
    if len(run.plan.sites) > MOST_LABELS:
        return []
    return [
        Label(float(x), float(y + r + 18), site)
        for (x, y), r, site in zip(site_at.tolist(), radius.tolist(), run.plan.sites, strict=True)
    ]


def _scale(spacing: float) -> float:
    return min(1.5, max(0.65, spacing / 10))


@dataclass(frozen=True)
class Tree:
    """How one update went: over which links, and which others there were."""

    app: str
    source: str
    at_s: float
    reached: int
    took_s: float
    """To the last of them."""
    labels: list[Label]
    dots: list[Dot]
    links: list[Line]
    """Of the mesh; the update took none of these."""
    ways: list[Line]
    scale: float
    width: float = WIDTH
    height: float = HEIGHT


def trees(run: Run) -> list[Tree]:
    """Of each application whose replicas tell each other of writes, the way of one of its last updates."""
    found = ((app, spreading.example(app)) for app in run.spread)
    return [_tree(run, app, update) for app, update in found if update is not None]


def _tree(run: Run, app: spreading.AppTold, update: spreading.Told) -> Tree:
    spacing = _spacing(run)
    at, site_at, radius, _ = _positions(run, spacing)
    last = max(update.came[host][0] for host in update.due)
    update = replace(update, came={host: came for host, came in update.came.items() if came[0] <= last})  # not who joined later
    links, state = spreading.links_at(app, update.at), run.world.state_at(last)
    serving = run.world.live(state, state.replicas.get(app.app, ()))
    ways = sorted((by, host) for host, (_, by) in update.came.items() if by >= 0)
    taken = {frozenset(way) for way in ways}
    mesh = sorted({(min(a, b), max(a, b)) for a, own in links.items() for b in own if a in links.get(b, ())})
    return Tree(
        app.app,
        run.plan.hosts[update.source].name,
        update.at / SECOND,
        len(update.came),
        (last - update.at) / SECOND,
        _labels(run, site_at, radius),
        [_in_tree(run, host, update, host in serving, host in state.up, at) for host in range(len(run.plan.hosts))],
        [Line(*at[a].tolist(), *at[b].tolist()) for a, b in mesh if frozenset((a, b)) not in taken and {a, b} <= serving],
        [Line(*at[a].tolist(), *at[b].tolist()) for a, b in ways],
        _scale(spacing),
    )


def _in_tree(run: Run, host: int, update: spreading.Told, serves: bool, alive: bool, at: Points) -> Dot:
    name = run.plan.hosts[host].name
    tells = [name, "" if alive else "down"]
    if host in update.came:
        t, by = update.came[host]
        tells.append(f"after {words.ms((t - update.at) / 1e6)} from {run.plan.hosts[by].name if by >= 0 else 'elsewhere'}")
    is_source = host == update.source
    traits = {"dead": not alive, "replica": alive and (serves or is_source or host in update.came), "steward": is_source}
    if is_source:
        tells.append("published it")
    x, y = at[host].tolist()
    return Dot(x, y, " ".join(name for name, is_so in traits.items() if is_so), " · ".join(t for t in tells if t))


def _spacing(run: Run) -> float:
    """Half the distance of neighbours within a site, so that all hosts together take about a tenth of the paper."""
    return min(17.0, math.sqrt(0.1 * WIDTH * HEIGHT / (math.pi * min(MOST_HOSTS, max(1, len(run.plan.hosts))))))


def _positions(run: Run, spacing: float) -> tuple[Points, Points, Points, bool]:
    """Of hosts and sites, the sites' radii, and whether it is geography."""
    geometry = run.world.geometry
    members = [np.flatnonzero(geometry.site == s) for s in range(len(run.plan.sites))]
    shown_share = min(1.0, MOST_HOSTS / max(1, geometry.size))
    radius = np.array([spacing * math.sqrt(max(0.35, len(m) * shown_share)) for m in members])
    points, geography = site_points(geometry)
    room = 10 if len(members) <= MOST_LABELS else 1
    site_at = push_apart(fit(points, WIDTH, HEIGHT, MARGIN), radius + room, WIDTH, HEIGHT - 18)
    at = np.zeros((geometry.size, 2))
    for s, hosts in enumerate(members):
        at[hosts] = site_at[s] + sunflower(len(hosts), float(radius[s]))
    return at, site_at, radius, geography


def _instants(run: Run) -> list[tuple[str, int]]:
    """(label, ns): just before each fault, that is after the one before it had its time to settle, and the end."""
    faults = run.world.faults
    instants: list[tuple[str, int]] = []
    for i, fault in enumerate(faults):
        if i and fault.t - faults[i - 1].t < SECOND:
            continue
        instants.append((f"{_after(faults[:i])}, {words.when(fault.t / SECOND)}", fault.t - 1))
    instants.append((f"end, {words.when(run.end / SECOND)}", run.end))
    if len(instants) <= MOST_SNAPSHOTS:
        return instants
    keep = np.unique(np.linspace(0, len(instants) - 1, MOST_SNAPSHOTS).round().astype(int))
    return [instants[i] for i in keep]


def _after(faults: list[FaultSeen]) -> str:
    return f"after {len(faults)} ({faults[-1].kind})" if faults else "before the faults"


def _shown(run: Run, states: Iterable[State]) -> list[int]:
    """Which hosts are drawn, the same in every snapshot."""
    n = len(run.plan.hosts)
    if n <= MOST_HOSTS:
        return list(range(n))
    telling: set[int] = set()
    for state in states:
        telling |= state.agents
        for holders in (*state.replicas.values(), *state.stewards.values()):
            telling |= holders
    kept = set(sorted(telling)[:MOST_HOSTS])
    others = [i for i in range(n) if i not in kept]
    room = max(0, MOST_HOSTS - len(kept))
    kept.update(others[round(i)] for i in np.linspace(0, len(others) - 1, min(room, len(others))))
    return sorted(kept)


def _snapshot(run: Run, label: str, state: State, paths: Paths, at: Points, shown: list[int]) -> Snapshot:
    clients = run.world.geometry.hosts(load.client for load in run.plan.workload)
    cut = _cut_off(paths, len(run.plan.hosts))
    nodes = Counter(agent for node, agent in state.agent_of.items() if node != agent and node in state.up)
    dots = [_dot(run, host, state, cut, clients, nodes[host], at) for host in shown]
    dots.sort(key=lambda dot: ("agent" in dot.classes, "replica" in dot.classes))  # what matters lies on top
    drawn = set(shown)
    lines = [
        Line(*at[host].tolist(), *at[agent].tolist())
        for host, agent in sorted(state.agent_of.items())
        if host in drawn and agent in drawn and agent != host and host in state.up and agent in state.up
    ]
    return Snapshot(label, dots, lines)


def _cut_off(paths: Paths, hosts: int) -> frozenset[int]:
    """Hosts on the smaller side of a cut that is in force."""
    off: set[int] = set()
    for _, a, b in paths.cuts:
        smaller = min((a, b), key=len)
        if len(smaller) <= hosts / 2:
            off |= smaller
    return frozenset(off)


def _dot(run: Run, host: int, state: State, cut: frozenset[int], clients: frozenset[int], nodes: int, at: Points) -> Dot:
    serves = sorted(app for app, hosts in state.replicas.items() if host in hosts)
    decides = sorted(app for app, hosts in state.stewards.items() if host in hosts)
    alive = host in state.up
    is_agent = alive and host in state.agents
    traits = {
        "dead": not alive,
        "agent": is_agent,
        "replica": alive and bool(serves),
        "steward": alive and bool(decides),
        "client": host in clients,
        "cut": host in cut,
        "paused": host in state.paused,
    }
    name = run.plan.hosts[host].name
    agent = state.agent_of.get(host, -1)
    tells = [
        name,
        "" if alive else "down",
        f"agent of {words.count(nodes, 'node')}" if is_agent else "",
        f"replica of {', '.join(serves)}" if traits["replica"] else "",
        f"steward of {', '.join(decides)}" if traits["steward"] else "",
        "client" if traits["client"] else "",
        "cut off" if traits["cut"] else "",
        "paused" if traits["paused"] else "",
        f"attached to {run.plan.hosts[agent].name}" if alive and agent >= 0 and agent != host else "",
    ]
    x, y = at[host].tolist()
    return Dot(x, y, " ".join(name for name, is_so in traits.items() if is_so), " · ".join(t for t in tells if t))
