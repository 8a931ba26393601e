"""What an event is aimed at: selectors to a plan's target, a path's text and its changes to a link change."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from random import Random

from opus_controller.model.fields import listed, suggestion
from opus_controller.model.plan import LinkChange, Target
from opus_controller.model.scenario_form import EventForm
from opus_controller.model.selectors import ALLOWED_STATIC, Chooser, Selector
from opus_controller.model.shapes import HostChange, ShapeChange
from opus_controller.model.topology import Topology
from opus_controller.model.topology_form import ShapeForm
from opus_controller.model.topology_paths import given
from opus_controller.model.units import shown

WITHOUT_APP = ("agent", "agent-of", "busiest-agent", "busiest", "oldest", "best-connected")
"""Roles that are about no single application."""


class Aim:
    """Of one topology and its applications. Raises ValueError in one line for what does not make sense."""

    def __init__(self, topology: Topology, apps: Sequence[str]) -> None:
        self._chooser = Chooser(topology)
        self._apps = apps

    def target(self, selectors: Sequence[Selector], draws: Callable[[str], Random], without: Collection[str] = ()) -> Target:
        """`draws(part)`: a stream of randomness for each part of the event; `without`: hosts that no draw falls on."""
        text = ", ".join(selector.text for selector in selectors)
        roles = [selector for selector in selectors if selector.role]
        if any(selector.rest for selector in selectors):
            raise ValueError(f"{shown(text)}: everyone else than whom? allowed: as `from` of a partition")
        if any(selector.same_as for selector in selectors):
            raise ValueError(f'{shown(text)}: "same as" is for host faults; allowed: {ALLOWED_STATIC}')
        if not roles:
            hosts = self._chooser.choose(selectors, lambda k: draws(f"/{k}"), without=without)
            if not hosts:
                raise ValueError(f"{shown(text)} means no host of this topology; allowed: at least one")
            return Target(text=text, hosts=hosts)
        if len(selectors) > 1:
            raise ValueError(f"{shown(text)}: a role stands alone; allowed: one role, or a list without roles")
        selector = roles[0]
        return Target(
            text=text,
            role=selector.role,
            app=self._app(selector),
            count=selector.count,
            share=selector.share,
            of=self._chooser.members((("host", selector.of),))[0] if selector.of else "",
            pick=draws("").random(),
            exclude=tuple(self._chooser.members(selector.excluded)),
        )

    def app(self, name: str | None, target: Target) -> str:
        """Which application an event is about: as it says, as its target does, or the only one."""
        return self._app(Selector(text=target.text, role="replica", app=name or target.app))

    def _app(self, selector: Selector) -> str:
        if selector.role in WITHOUT_APP:
            return ""
        if selector.app:
            if selector.app not in self._apps:
                hint = suggestion(selector.app, self._apps)
                raise ValueError(f"there is no application {shown(selector.app)}; {hint}allowed: {listed(self._apps)}")
            return selector.app
        if not self._apps:
            raise ValueError(f"{shown(selector.text)}: there is no application here; allowed: {ALLOWED_STATIC}")
        if len(self._apps) > 1:
            raise ValueError(f'{shown(selector.text)}: of which application? allowed: "... of APP" with {listed(self._apps)}')
        return self._apps[0]


def host_change(event: EventForm) -> HostChange:
    """What a strain takes."""
    return HostChange(
        cpu=1.0 if event.cpu is None else event.cpu,
        memory=event.memory,
        up_bps=event.up,
        down_bps=event.down,
        clock_ns=event.clock or 0,
        drift_ppm=event.drift or 0,
        disk=event.disk,
        write_bps=event.writes,
    )


def path_change(event: EventForm, sites: Sequence[str], *, name: str, at_ns: int) -> LinkChange:
    """What a link event does. ValueError if its path is none, or its change makes no sense."""
    match = re.fullmatch(r"\s*([\w.-]+?)\s*(<->|->|<-|↔|→)\s*([\w.-]+)\s*", event.link or "")
    if match is None:
        raise ValueError(f'{shown(event.link)} is not a path; allowed: "SITE <-> SITE", or "SITE -> SITE" for one direction')
    source, arrow, target = match.groups()
    if arrow == "<-":
        source, target = target, source
    for site in (source, target):
        if site not in sites:
            raise ValueError(f"there is no site {shown(site)}; {suggestion(site, sites)}allowed: {listed(sites)}")
    both_ways = arrow in ("<->", "↔") or source == target
    if not both_ways and any(form is not None and form.rtt is not None for form in (event.set_, event.add)):
        raise ValueError("rtt is a round trip, the path is one way; allowed: delay, or <->")
    return LinkChange(
        kind="link", at_ns=at_ns, name=name, source=source, target=target, both_ways=both_ways, change=_change(event)
    )


def _change(event: EventForm) -> ShapeChange:
    """What `set` puts in place and `add` puts on top; distribution, burst and order can only be set."""
    add = event.add or ShapeForm()
    for field in ("distribution", "burst", "keep_order"):
        if getattr(add, field) is not None:
            raise ValueError(f"{field} cannot be added to another; allowed: set: {{{field}: ...}}")
    return ShapeChange(
        put=given(event.set_) if event.set_ is not None else {},
        add_delay_ns=(add.delay or 0) + (add.rtt or 0) // 2,
        add_jitter_ns=add.jitter or 0,
        **{f"add_{field}": getattr(add, field) or 0.0 for field in ("loss", "duplicate", "reorder", "corrupt")},
    )
