"""What a run's record would have said of hosts, worked out from looking at them now and then: for testbeds that nobody plays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from opus_controller.engine.runtime import LiveHost, Record

Roles = frozenset[tuple[str, str]]
"""(agent, replica or steward; application)."""


class Glances:
    """Tells one look at the hosts from the next."""

    def __init__(self) -> None:
        self._before: dict[str, LiveHost] = {}

    def records(self, t_ns: int, hosts: Mapping[str, LiveHost]) -> list[Record]:
        """Records of kind host_up, host_down and role, of what has changed since the look before."""
        found = [record for name, host in hosts.items() for record in self._changes(t_ns, name, host)]
        self._before = dict(hosts)
        return found

    def _changes(self, t_ns: int, name: str, host: LiveHost) -> Iterator[Record]:
        before = self._before.get(name)
        if host.alive != (before is None or before.alive):
            kind = "host_up" if host.alive else "host_down"
            yield {"t": t_ns, "host": name, "kind": kind, "cause": "seen"}
        had = _roles(before) if before is not None and before.alive else frozenset()
        has = _roles(host) if host.alive else frozenset()
        for role, app in sorted(has - had):
            yield _role(t_ns, name, role, app, active=True)
        if host.alive:
            for role, app in sorted(had - has):
                yield _role(t_ns, name, role, app, active=False)


def _roles(host: LiveHost) -> Roles:
    return frozenset(
        {
            *([("agent", "")] if host.is_agent else []),
            *(("replica", app) for app in host.replica_of),
            *(("steward", app) for app in host.steward_of),
        }
    )


def _role(t_ns: int, host: str, role: str, app: str, *, active: bool) -> Record:
    return {"t": t_ns, "host": host, "kind": "role", "role": role, "app": app, "active": active, "epoch": 0}


class Struck:
    """Faults by hand, from the file in which the testbed's controller tells of them."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._read = 0

    def new(self) -> list[Record]:
        """Records of kind "fault" since the last call; a line that is being written comes with the next."""
        try:
            with self._events.open("rb") as file:
                file.seek(self._read)
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        self._read += sum(len(line) + 1 for line in lines)
        return [record for line in lines if (record := json.loads(line))["kind"] == "fault"]
