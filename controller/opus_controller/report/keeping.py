"""Who keeps an application's registers, as the record tells: the configuration in force, and which of its members are left.

A member is one only in the life in which it became one. A configuration is in force from when a majority of it has told that it
keeps the data, until a later one is: for that long a client needs a path to a majority of it, and no path to a replica helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Keeping:
    """Of one application; host indices."""

    holds: dict[int, int] = field(default_factory=dict)
    """Host to the number of the configuration it is a member of, in its present life."""
    members: dict[int, frozenset[int]] = field(default_factory=dict)
    """Of each configuration, by number."""
    number: int = -1
    """Of the one in force; -1: none was yet."""

    def told(self, host: int, record: Mapping[str, Any], hosts: Iterable[int]) -> None:
        """A record of kind "data" (`opus_node.core.events.DataKept`); `hosts` are its members."""
        if not record["member"]:
            self.holds.pop(host, None)
            return
        number = int(record["number"])
        self.holds[host] = number
        self.members[number] = frozenset(hosts)
        if number > self.number and len(self.left(number)) >= self.needed(number):
            self.number = number

    def forget(self, host: int) -> None:
        """It has died, and what it kept with it."""
        self.holds.pop(host, None)

    def left(self, number: int) -> frozenset[int]:
        """Members of a configuration that have entered it, or a later one, and have lived on since."""
        return frozenset(host for host in self.members.get(number, ()) if self.holds.get(host, -1) >= number)

    def needed(self, number: int) -> int:
        """A majority of a configuration."""
        return len(self.members.get(number, ())) // 2 + 1
