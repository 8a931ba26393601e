"""Which links a run uses, and why: netem where the kernel has it, otherwise the userspace shaper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opus_controller.model.errors import PlatformError
from opus_controller.net.links import Links
from opus_controller.net.netem import NetemLinks
from opus_controller.net.netem_probe import netem_available
from opus_controller.net.userspace import UserspaceLinks


@dataclass(frozen=True)
class Choice:
    kind: str
    """netem or userspace."""
    why: str
    """Printed and recorded with every run."""


def choose(asked: str) -> Choice:
    """`asked`: auto, netem or userspace. PlatformError if this machine cannot do what is asked."""
    if asked == "userspace":
        return Choice("userspace", "asked for")
    works, why = netem_available()
    if works:
        return Choice("netem", "asked for" if asked == "netem" else why)
    if asked == "netem":
        raise PlatformError(why)
    return Choice("userspace", why.partition(" (")[0].partition("; ")[0])


def make_links(choice: Choice, run: str, directory: Path, *, exit_with: int | None) -> Links:
    """A new run's links; `directory` is the run's state directory."""
    if choice.kind == "netem":
        return NetemLinks(run, seed=int(run, 16))
    return UserspaceLinks(directory, exit_with=exit_with, seed=run)


def open_links(kind: str, run: str, directory: Path) -> Links:
    """The links of a run that another process started."""
    if kind == "netem":
        return NetemLinks.open(run, seed=int(run, 16))
    return UserspaceLinks.open(directory)
