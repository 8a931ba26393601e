"""Which runtime a command uses, and why: the choice is always printed and recorded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from opus_controller.model.errors import PlatformError, ScenarioError

if TYPE_CHECKING:
    from opus_controller.engine.runtime import Runtime
    from opus_controller.runtimes.docker.engine import Engine


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


Mode = Literal["run", "up"]


@dataclass(frozen=True)
class Chosen:
    """A runtime ready to be made."""

    make: Callable[[Path | None, Mode], Runtime]
    """Of the directory for its record, if there is one, and what becomes of it when this process ends."""
    announcement: tuple[str, ...]
    """Lines for a person: what was chosen and why, and how to get the other."""
    observable: bool = True
    """Whether its hosts live in real time, and can be asked for their metrics."""


def choose_runtime(asked: RuntimeName, links: LinksName, *, scenario: str, hop_cost: str | None = None) -> Chosen:
    """PlatformError if this machine cannot do what is asked; `auto` always finds something.

    `hop_cost`: a duration in place of the simulator's own constant; ScenarioError for other runtimes, which have a real one.
    """
    if asked is RuntimeName.sim:
        return _sim("asked for", hop_cost)
    if hop_cost is not None:
        raise ScenarioError("--hop-cost: is the simulator's, real hosts have their own; allowed: with --runtime sim")
    if asked is not RuntimeName.auto:
        return choose_real(asked, links)
    try:
        return choose_real(asked, links)
    except PlatformError as reason:
        chosen = _sim(str(reason))
        command = f"{'' if os.geteuid() == 0 else 'sudo '}{_program()} run {scenario} --runtime netns"
        return replace(chosen, announcement=(*chosen.announcement, f"for real hosts: {command}"))


def _program() -> str:
    """As it was started: sudo's PATH does not have that of a virtual environment."""
    return sys.argv[0] if Path(sys.argv[0]).name == "opus" else "opus"


def choose_real(asked: RuntimeName, links: LinksName) -> Chosen:
    """A runtime with real hosts: docker if asked for, or, by `auto`, where an engine answers and the node's image is there or
    can be built from what is there; otherwise netns. PlatformError if this machine has neither."""
    match asked:
        case RuntimeName.sim:
            raise ScenarioError("the simulator's hosts live in virtual time: they cannot stay up; allowed: auto, netns, docker")
        case RuntimeName.docker:
            return _docker(links, "asked for")
        case RuntimeName.netns:
            return _netns(links, "asked for")
    _need_root()
    try:
        return _docker(links, "an engine answers and the node's image is there", build=True)
    except PlatformError as reason:
        return _netns(links, f"not docker: {reason}")


def _sim(why: str, hop_cost: str | None = None) -> Chosen:
    from opus_controller.runtimes.sim.costs import HopCost
    from opus_controller.runtimes.sim.runtime import SimRuntime

    hop = HopCost() if hop_cost is None else HopCost(_duration(hop_cost), f"--hop-cost {hop_cost}")
    return Chosen(lambda record, mode: SimRuntime(hop_cost=hop), (f"runtime: sim, virtual time ({why})",), observable=False)


def _duration(text: str) -> int:
    from opus_controller.model.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise ScenarioError(f"--hop-cost: {error}") from None


def _netns(links: LinksName, why: str) -> Chosen:
    """The links are chosen at once: without any, there are no real hosts here."""
    _need_root()
    from opus_controller.net.choose import choose
    from opus_controller.runtimes.netns import NetnsRuntime

    choice = choose(links.value)
    lines = (f"runtime: netns, a process and a network namespace a host ({why})", f"links: {choice.kind} ({choice.why})")
    return Chosen(lambda record, mode: NetnsRuntime(choice, mode=mode, record=record), lines)


def _docker(links: LinksName, why: str, *, build: bool = False) -> Chosen:
    """`build`: make the node's image if all that it needs is there; that takes a few seconds."""
    _need_root()
    from opus_controller.runtimes.docker.engine import engine_url, why_unusable

    url = engine_url()
    if reason := why_unusable(url):  # before the SDK is imported: `auto` asks on every machine
        raise PlatformError(reason)
    from opus_controller.net.choose import choose
    from opus_controller.runtimes.docker import DockerRuntime
    from opus_controller.runtimes.docker.engine import Engine
    from opus_controller.runtimes.docker.image import find_image

    engine = Engine.find(url)
    try:
        if build:
            _build_image(engine)
        image = find_image(engine)
    finally:
        engine.close()
    choice = choose(links.value)
    lines = (
        f"runtime: docker, a container a host ({why}); engine {engine.version} at {url}, image {image.tag}",
        f"links: {choice.kind} ({choice.why})",
    )
    return Chosen(lambda record, mode: DockerRuntime(choice, mode=mode, record=record, engine=url, say=_say), lines)


def _build_image(engine: Engine) -> None:
    from opus_controller.runtimes.docker.build import build_image, can_build_at_once
    from opus_controller.runtimes.docker.image import find_image

    try:
        find_image(engine)
    except PlatformError:
        if can_build_at_once(engine):
            build_image(engine, say=lambda line: _say(f"image: {line}"))


def _need_root() -> None:
    if os.geteuid() != 0:
        raise PlatformError("real hosts need root for their network namespaces; run with sudo, or use --runtime sim")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
