"""Which runtime a command uses, and why: the choice is always printed and recorded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opus_controller.engine.runtime import Runtime
from opus_controller.model.errors import PlatformError


class RuntimeName(StrEnum):
    auto = "auto"
    sim = "sim"
    netns = "netns"
    docker = "docker"


class LinksName(StrEnum):
    auto = "auto"
    netem = "netem"
    userspace = "userspace"


LinksOption = Annotated[LinksName, typer.Option("--links", help="How paths are emulated: by the kernel or by a process of ours.")]


@dataclass(frozen=True)
class Chosen:
    """A runtime ready to be made for a run whose record is at the given directory."""

    make: Callable[[Path], Runtime]
    announcement: tuple[str, ...]
    """Lines for a person: what was chosen and why, and how to get the other."""
    observable: bool = True
    """Whether its hosts live in real time, and can be asked for their metrics."""


def choose_runtime(asked: RuntimeName, links: LinksName, *, scenario: str) -> Chosen:
    """PlatformError if this machine cannot do what is asked; `auto` always finds something."""
    match asked:
        case RuntimeName.docker:
            raise PlatformError("the docker runtime is not there yet; for real processes on this machine use: --runtime netns")
        case RuntimeName.sim:
            return _sim("asked for")
        case RuntimeName.netns:
            return _netns(links, "asked for")
    try:
        return _netns(links, "real hosts on this machine")
    except PlatformError as reason:
        chosen = _sim(str(reason))
        command = f"{'' if os.geteuid() == 0 else 'sudo '}opus run {scenario} --runtime netns"
        return replace(chosen, announcement=(*chosen.announcement, f"for real hosts: {command}"))


def _sim(why: str) -> Chosen:
    from opus_controller.runtimes.sim.runtime import SimRuntime

    return Chosen(lambda record: SimRuntime(), (f"runtime: sim, virtual time ({why})",), observable=False)


def _netns(links: LinksName, why: str) -> Chosen:
    """The links are chosen at once: without any, there are no real hosts here."""
    if os.geteuid() != 0:
        raise PlatformError("real hosts need root for their network namespaces; run with sudo, or use --runtime sim")
    from opus_controller.net.choose import choose
    from opus_controller.runtimes.netns import NetnsRuntime

    choice = choose(links.value)
    lines = (f"runtime: netns, a process and a network namespace a host ({why})", f"links: {choice.kind} ({choice.why})")
    return Chosen(lambda record: NetnsRuntime(choice, record=record), lines)
