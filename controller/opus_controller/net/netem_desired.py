"""`model.network.Network` as the wan namespace takes it: a mark for each source, a tree of classes for each receiver.

Packets are classified by source, once, where they come in: the source's port gives them a mark, and every receiver's HTB
takes the mark for the class. So n hosts need n rules and not n^2, and a cut between a hundred hosts and nine hundred needs
a thousand small changes and not ninety thousand.

    mark    bits 31..20  the cuts that its source is in ("pattern"; 0: none)
            bit  16      always set: the major number of the HTB handle 1:
            bits 15..0   the source's group, which is also the number of its class at every receiver

A group is the hosts of one site with equal access delay and loss; a host with shapes of its own (`host_overrides`) makes
a group by itself. A receiver keeps at most 64 classes: beyond, groups with nearly equal delays share one (`quantise`), and
the error is recorded. Groups that have no class of their own at a receiver are listed there as aliases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import Host
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.net.netem_options import NetemOptions, combine, with_limit

CLASSES = 64
"""Most classes at a receiver."""
CLASS_MASK = 0x000FFFFF
PATTERN_MASK = 0xFFF00000
HANDLE = 0x10000
_PATTERN_SHIFT = 20
_PATTERNS = 1 << 12
_GROUPS = 0xFFFE
_FLOOR_NS = 5_000_000
"""Errors of quantisation are relative to the delay plus this."""


@dataclass(frozen=True, slots=True)
class Group:
    """Sources that nobody tells apart."""

    site: str
    access_delay_ns: int
    access_loss: float
    host: str = ""
    """Set when the group is one host with shapes of its own."""


@dataclass(frozen=True)
class Tree:
    """The classes towards one receiver."""

    classes: Mapping[int, NetemOptions]
    aliases: Mapping[int, int]
    """Group to the class that it shares."""
    error_ns: int = 0
    """Largest deviation of a class's delay from the asked one."""


@dataclass(frozen=True)
class Desired:
    """What is to be in force, by host name."""

    marks: Mapping[str, int]
    trees: Mapping[str, Tree]
    refused: Mapping[str, frozenset[int]]
    """Patterns (as bits of the mark) that a receiver drops."""
    down: frozenset[str]


class Numbers:
    """Numbers of groups and patterns, which stay the same from one change to the next."""

    def __init__(self) -> None:
        self._groups: dict[Group, int] = {}
        self._patterns: dict[frozenset[Cut], int] = {}

    def group(self, group: Group) -> int:
        if group not in self._groups and len(self._groups) >= _GROUPS:
            raise PlatformError(f"netem links tell at most {_GROUPS} groups of hosts apart; use --links userspace")
        return self._groups.setdefault(group, len(self._groups) + 1)

    def patterns(self, wanted: Iterable[frozenset[Cut]]) -> dict[frozenset[Cut], int]:
        """A number for each; none that was in use before goes to another one in the same change."""
        asked = list(dict.fromkeys(wanted))
        taken = set(self._patterns.values())
        free = (number for number in range(1, _PATTERNS) if number not in taken)
        chosen = {pattern: number for pattern, number in self._patterns.items() if pattern in asked}
        for pattern in asked:
            if pattern not in chosen:
                number = next(free, None)
                if number is None:
                    raise PlatformError(f"netem links keep at most {_PATTERNS // 2} overlapping cuts; use --links userspace")
                chosen[pattern] = number
        self._patterns = chosen
        return chosen


@dataclass
class Planner:
    """Works out `Desired`; remembers numbers and the trees of equal receivers."""

    numbers: Numbers = field(default_factory=Numbers)

    def desired(self, network: Network) -> Desired:
        special = {source for source, _ in network.host_overrides}
        group_of = {host.name: _group(host, host.name in special) for host in network.hosts}
        number_of = {group: self.numbers.group(group) for group in dict.fromkeys(group_of.values())}
        cuts_of = _memberships(network.cuts)
        patterns = self.numbers.patterns(cuts_of.values())
        marks = {}
        for host in network.hosts:
            pattern = patterns[cuts_of[host.name]] if host.name in cuts_of else 0
            marks[host.name] = pattern << _PATTERN_SHIFT | HANDLE | number_of[group_of[host.name]]
        refused: dict[str, set[int]] = {}
        for members, number in patterns.items():
            for target in frozenset().union(*(cut.targets for cut in members)):
                refused.setdefault(target, set()).add(number << _PATTERN_SHIFT)
        return Desired(
            marks=marks,
            trees=_trees(network, group_of, number_of),
            refused={name: frozenset(found) for name, found in refused.items()},
            down=network.down,
        )


def _group(host: Host, alone: bool) -> Group:
    return Group(host.site, host.access.delay_ns, host.access.loss, host.name if alone else "")


def _memberships(cuts: tuple[Cut, ...]) -> dict[str, frozenset[Cut]]:
    """Each source to the cuts it is in."""
    found: dict[str, set[Cut]] = {}
    for cut in cuts:
        for source in cut.sources:
            found.setdefault(source, set()).add(cut)
    return {name: frozenset(members) for name, members in found.items()}


def _trees(network: Network, group_of: Mapping[str, Group], number_of: Mapping[Group, int]) -> dict[str, Tree]:
    """A tree for each receiver; receivers that are alike share one object."""
    rates = _rates(network, group_of)
    one_of = {group_of[host.name]: host for host in network.hosts}
    own_shapes: dict[str, dict[str, PathShape]] = {}
    for (source, target), shape in network.host_overrides.items():
        own_shapes.setdefault(target, {})[source] = shape
    paths = _paths(network)
    made: dict[tuple[str, AccessLink, tuple[tuple[str, PathShape], ...]], Tree] = {}
    trees = {}
    for receiver in network.hosts:
        own = own_shapes.get(receiver.name, {})
        key = (receiver.site, receiver.access, tuple(sorted(own.items(), key=lambda item: item[0])))
        if key not in made:
            asked = {}
            for group, number in number_of.items():
                shape = own.get(group.host) or paths[group.site, receiver.site]
                asked[number] = with_limit(combine(one_of[group].access, shape, receiver.access), rates[group])
            made[key] = tree(asked)
        trees[receiver.name] = made[key]
    return trees


def _rates(network: Network, group_of: Mapping[str, Group]) -> dict[Group, int | None]:
    """Bits per second that each group's hosts can send together; None without a limit."""
    rates: dict[Group, int | None] = {}
    for host in network.hosts:
        group, rate = group_of[host.name], host.access.up.rate_bps
        before = rates.get(group, 0)
        rates[group] = None if before is None or rate is None else before + rate
    return rates


def _paths(network: Network) -> dict[tuple[str, str], PathShape]:
    """Every pair of sites to the shape in force."""
    table = {
        (a, b): network.paths.shapes[network.paths.index[i][j]]
        for i, a in enumerate(network.sites)
        for j, b in enumerate(network.sites)
    }
    table.update(network.overrides)
    return table


# --- quantisation ---


def tree(asked: Mapping[int, NetemOptions], most: int = CLASSES) -> Tree:
    """A class for each group, or, if those were more than `most`, shared classes; PlatformError if even that is not enough."""
    if len(asked) <= most:
        return Tree(dict(asked), {})
    classes: dict[int, NetemOptions] = {}
    aliases: dict[int, int] = {}
    error = 0
    for members in quantise(asked, most):
        first, last = asked[members[0]], asked[members[-1]]
        middle = (first.delay_ns + last.delay_ns) // 2
        error = max(error, last.delay_ns - middle)
        limit = max(asked[number].limit for number in members)
        minor = min(members)
        classes[minor] = replace(first, delay_ns=middle, limit=limit)
        aliases.update({number: minor for number in members if number != minor})
    return Tree(classes, aliases, error)


def quantise(asked: Mapping[int, NetemOptions], most: int) -> list[list[int]]:
    """At most `most` lists of groups that differ in little but delay, each in order of delay.

    The smallest relative error that does it, found by bisection: for a given error, taking as many as fit from the
    smallest delay on gives the fewest lists.
    """
    alike: dict[NetemOptions, list[int]] = {}
    for number, options in asked.items():
        alike.setdefault(replace(options, delay_ns=0, limit=0), []).append(number)
    if len(alike) > most:
        raise PlatformError(
            f"a host receives from paths with {len(alike)} different kinds of jitter and loss, netem links keep at most {most} "
            "a receiver; use --links userspace"
        )
    kinds = [sorted(numbers, key=lambda number: (asked[number].delay_ns, number)) for numbers in alike.values()]

    def split(error: float) -> list[list[int]]:
        return [part for kind in kinds for part in _split(kind, asked, error)]

    low, high = 0.0, 1.0
    if len(split(low)) <= most:
        return split(low)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if len(split(middle)) <= most else (middle, high)
    return split(high)


def _split(kind: list[int], asked: Mapping[int, NetemOptions], error: float) -> list[list[int]]:
    parts: list[list[int]] = []
    start = 0
    for number in kind:
        delay = asked[number].delay_ns
        if not parts or (delay - start) / 2 > error * ((delay + start) / 2 + _FLOOR_NS):
            parts.append([])
            start = delay
        parts[-1].append(number)
    return parts
