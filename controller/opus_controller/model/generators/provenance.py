"""What a generated file says of how it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from opus_controller.model.errors import ScenarioError
from opus_controller.model.topology_form import MAX_HOSTS


def command(kind: str, options: Mapping[str, object], *arguments: str) -> str:
    """The command line that makes the same bytes again; defaults are written out."""
    told = [f"--{name} {value}" for name, value in options.items()]
    return " ".join(("opus topology generate", kind, *arguments, *told))


def digest(path: Path) -> str:
    """The beginning of a file's sha256, which tells whether another file of that name is the same."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None


def sharing(hosts: int, sites: int) -> list[str]:
    """A note where hosts have no site of their own."""
    if hosts <= sites:
        return []
    each, more = divmod(hosts, sites)
    share = f"{each} or {each + 1}" if more else str(each)
    return [
        f"{hosts} hosts share {sites} sites, {share} in each: those of a site have the paths of one, and 0.5 ms between them."
    ]


def check_hosts(hosts: int, most: int = MAX_HOSTS) -> None:
    if not 1 <= hosts <= most:
        raise ScenarioError(f"--hosts {hosts} is out of place; allowed: 1 to {most}")
