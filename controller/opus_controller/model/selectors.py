"""Who is meant: the small language for clients and for the victims of faults.

    all                               every host
    use1-3   host use1-3              a host by name (hosts a, b, c: several)
    site us-east-1   sites a, b       every host of these sites
    group dsl   groups a, b           every host of these groups
    20% of hosts   20% of site x      a share, drawn when the plan is compiled (rounded to whole hosts, at least one)
    3 hosts   2 of site x   a host of site x      so many, drawn when the plan is compiled
    the busiest 5% of hosts           } by what they serve and route, by age, by mean delay to all others;
    the 3 oldest hosts                } among the live ones when the event is due
    the best connected host           }
    a replica of web                  } found among the live hosts when the event is due
    the busiest replica of web        }
    all replicas of web               }
    all but one replica of web        }
    33% of replicas of web            }
    the steward of web                }
    the agent of use1-3               } to which that host is attached; itself if it is one
    an agent   the busiest agent      }
    a site without replicas of web    } all hosts of a site that has clients of web and no replica
    same as NAME                      the victims of the event of that name
    everyone else                     (second side of a partition only)

    ... except host a, site b         never these

"of web" may be left out while there is one application. A list of selectors means all of theirs together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random

from opus_controller.model.fields import listed, suggestion
from opus_controller.model.plan import Role
from opus_controller.model.topology import Topology
from opus_controller.model.units import parse_share, shown

ROLES: dict[str, Role] = {
    "replica": "replica",
    "agent": "agent",
    "busiest agent": "busiest-agent",
    "busiest replica": "busiest-replica",
    "steward": "steward",
}
ORDERS: dict[str, Role] = {"busiest": "busiest", "oldest": "oldest", "best connected": "best-connected"}
ALLOWED = (
    'a host\'s name, "site NAME", "group NAME", "all", "20% of hosts", "2 of site NAME", "a replica of APP", '
    '"all but one replica of APP", "33% of replicas of APP", "the steward of APP", "an agent", "the busiest agent", '
    '"the agent of HOST", '
    '"the busiest 5% of hosts", "the 3 oldest hosts", "the best connected host", '
    '"a site without replicas of APP" or "same as EVENT"'
)
ALLOWED_STATIC = 'a host\'s name, "site NAME", "group NAME", "all", "20% of hosts" or "2 of site NAME"'


@dataclass(frozen=True)
class Selector:
    """One parsed phrase. Either `role`, or `same_as`, or `rest`, or hosts (all of `pools`, or some of them)."""

    text: str
    pools: tuple[tuple[str, str], ...] = ()
    """("all", ""), ("host", name), ("site", name) or ("group", name)."""
    share: float | None = None
    count: int | None = None
    role: Role = ""
    app: str = ""
    of: str = ""
    """Whose agent."""
    same_as: str = ""
    rest: bool = False
    excluded: tuple[tuple[str, str], ...] = ()


def parse_selector(value: object) -> Selector:
    """Parse one phrase. Raises ValueError in one line; whether names exist is checked by `Chooser`."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{shown(value)} does not say who is meant; allowed: {ALLOWED}")
    text = " ".join(value.replace(":", " ").split())
    head, _, tail = text.partition(" except ")
    excluded = _pools(tail, text) if tail else ()
    if match := re.fullmatch(r"same[ _]as ([\w-]+)", head):
        if tail:
            raise ValueError(f'{shown(text)}: "same as" means exactly those; allowed: no "except"')
        return Selector(text, same_as=match[1])
    if head in ("everyone else", "everyone", "the rest", "rest") and not tail:
        return Selector(text, rest=True)
    if match := re.fullmatch(r"(?:a |one |the )?site without (?:a )?replicas?(?: of ([\w-]+))?", head):
        return Selector(text, role="site-without-replica", app=match[1] or "", excluded=excluded)
    if found := _ordered(head, text, excluded) or _replicas(head, text, excluded):
        return found
    if match := re.fullmatch(r"(?:the )?agent of ([\w.-]+)", head):
        return Selector(text, role="agent-of", of=match[1], excluded=excluded)
    if match := re.fullmatch(r"(?:an? |one |the )?((?:busiest )?(?:replica|agent)|steward)(?: of ([\w-]+))?", head):
        if match[2] and "agent" in match[1]:
            raise ValueError(f"{shown(text)}: agents serve every application; allowed: an agent, the busiest agent")
        return Selector(text, role=ROLES[match[1]], app=match[2] or "", excluded=excluded)
    if match := re.fullmatch(r"([0-9.]+ ?%)(?: of (.+))?", head):
        share = parse_share(match[1])
        if share <= 0:
            raise ValueError(f"{shown(text)} is nobody; allowed: a share above 0%")
        return Selector(text, pools=_pools(match[2] or "all", text), share=share, excluded=excluded)
    if match := re.fullmatch(r"([0-9]{1,6}|an?|one)(?: hosts?(?: of (.+))?| of (.+))", head):
        count = int(match[1]) if match[1].isdigit() else 1
        if count < 1:
            raise ValueError(f"{shown(text)} is nobody; allowed: at least 1")
        return Selector(text, pools=_pools(match[2] or match[3] or "all", text), count=count, excluded=excluded)
    return Selector(text, pools=_pools(head, text), excluded=excluded)


def _ordered(head: str, text: str, excluded: tuple[tuple[str, str], ...]) -> Selector | None:
    """ "the busiest 5% of hosts", "the 3 oldest hosts", "the oldest 3 hosts", "the best connected host"."""
    order = "|".join(ORDERS)
    some = r"(?P<share>[0-9.]+ ?%)|(?P<count>[0-9]{1,6})"
    match = re.fullmatch(rf"(?:the )?(?P<order>{order})(?: (?:{some}))?(?: of)? hosts?", head)
    match = match or re.fullmatch(rf"(?:the )?(?:{some}) (?P<order>{order})(?: of)?(?: hosts?)?", head)
    if match is None:
        return None
    share = parse_share(match["share"]) if match["share"] else None
    count = int(match["count"]) if match["count"] else None if share is not None else 1
    if share == 0 or count == 0:
        raise ValueError(f"{shown(text)} is nobody; allowed: at least 1, or a share above 0%")
    return Selector(text, role=ORDERS[match["order"]], share=share, count=count, excluded=excluded)


def _replicas(head: str, text: str, excluded: tuple[tuple[str, str], ...]) -> Selector | None:
    if match := re.fullmatch(r"([0-9.]+ ?%) of (?:all |the )*replicas(?: of ([\w-]+))?", head):
        if (share := parse_share(match[1])) <= 0:
            raise ValueError(f"{shown(text)} is nobody; allowed: a share above 0%")
        return Selector(text, role="replicas", app=match[2] or "", share=share, excluded=excluded)
    match = re.fullmatch(r"(?:all|every)(?: the)?( but one| except one)? replicas?(?: of ([\w-]+))?", head)
    if match is None:
        return None
    return Selector(text, role="replicas-but-one" if match[1] else "replicas", app=match[2] or "", excluded=excluded)


def _pools(text: str, whole: str) -> tuple[tuple[str, str], ...]:
    """ "site a, site b" or "sites a, b" or "all" as kinds and names."""
    kind = "host"
    pools: list[tuple[str, str]] = []
    for part in re.split(r" ?, ?| and ", text):
        if part in ("all", "hosts", "all hosts", "the hosts"):
            pools.append(("all", ""))
            continue
        match = re.fullmatch(r"(?:(hosts?|sites?|groups?) )?([\w.-]+)", part)
        if match is None or match[2] in ("host", "hosts", "site", "sites", "group", "groups"):
            raise ValueError(f"{shown(whole)} does not say who is meant; allowed: {ALLOWED}")
        kind = match[1].rstrip("s") if match[1] else kind
        pools.append((kind, match[2]))
    return tuple(pools)


class Chooser:
    """Turns selectors into names of hosts of one topology. Raises ValueError in one line where it cannot."""

    def __init__(self, topology: Topology) -> None:
        self._hosts = topology.hosts
        self._sites = [site.name for site in topology.sites]
        self._groups = list(topology.groups)
        self._names = [host.name for host in topology.hosts]

    def members(self, pools: Collection[tuple[str, str]]) -> list[str]:
        """All hosts of the pools, in the topology's order."""
        wanted: set[str] = set()
        for kind, name in pools:
            self._check(kind, name)
            wanted.update(
                host.name
                for host in self._hosts
                if kind == "all"
                or (kind == "host" and host.name == name)
                or (kind == "site" and host.site == name)
                or (kind == "group" and host.group == name)
            )
        return [name for name in self._names if name in wanted]

    def _check(self, kind: str, name: str) -> None:
        known = {"host": self._names, "site": self._sites, "group": self._groups}.get(kind)
        if known is None or name in known:
            return
        hint = suggestion(name, known)
        if kind == "host":
            hint = f'did you mean "site {name}"? ' if name in self._sites else hint
            hint = f'did you mean "group {name}"? ' if name in self._groups else hint
            if not hint:
                raise ValueError(f"{shown(name)} is no host of this topology; allowed: {listed(known, 6)}; or {ALLOWED}")
        raise ValueError(f"there is no {kind} {shown(name)}; {hint}allowed: {listed(known)}")

    def choose(
        self, selectors: Sequence[Selector], rng: Callable[[int], Random], without: Collection[str] = ()
    ) -> tuple[str, ...]:
        """The hosts of all selectors together, in the topology's order. Draws use `rng(k)` for selector k and pass over
        `without` (hosts known to be down); what is named outright is taken even so."""
        chosen: set[str] = set()
        for k, selector in enumerate(selectors):
            excluded = set(self.members(selector.excluded))
            base = [name for name in self.members(selector.pools) if name not in excluded]
            chosen.update(self._some(selector, base, without, rng(k)) if _draws(selector) else base)
        return tuple(name for name in self._names if name in chosen)

    def _some(self, selector: Selector, base: list[str], without: Collection[str], rng: Random) -> list[str]:
        wanted = selector.count or 1
        if selector.share is not None:
            wanted = max(1, math.floor(selector.share * len(base) + 0.5))
        # A key for every host, so that a host that is down changes nothing in the order of the others.
        keys = {name: rng.random() for name in base}
        eligible = sorted((name for name in base if name not in without), key=lambda name: keys[name])
        if len(eligible) < wanted:
            down = len(base) - len(eligible)
            rest = f", {down} of them down by then" if down else ""
            raise ValueError(
                f"{shown(selector.text)} asks for {wanted} of {len(base)} hosts{rest}; allowed: at most {len(eligible)}"
            )
        return eligible[:wanted]


def _draws(selector: Selector) -> bool:
    return selector.share is not None or selector.count is not None
