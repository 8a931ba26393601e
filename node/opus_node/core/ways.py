"""The ways in that a node remembers: agents, how far each is, and how far it says the replicas are from there.

The best way is the one that costs least (`siblings.cost`): its round trip, and a share of the agent's delay to the replicas,
weighed by this node's demand; the nearest agent is not always on the way. A full table has room for the best few, which
newcomers compete for, and for others wherever they are: those that are near may all fall silent together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from opus_node.core.context import Context
from opus_node.core.coordinates import Place, certain, expected
from opus_node.core.messages import AgentHint, AppDelay, Lease
from opus_node.core.rtt import Rtt
from opus_node.core.siblings import TOWARDS_REPLICAS
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

SHARED_FOR: Nanos = SECOND
"""How long the shares of demand count before they are looked at again."""
HOPE = 0.5
"""Of a guess, and of the triangle inequality's bound: real networks break it for one triple in twenty."""
DELAYS = 64
"""Applications whose replicas' delays are kept of one way in."""
CROWD: Nanos = 2 * MILLISECOND
"""How much farther one goes for an agent with room."""
COMPETING = 8
"""The best ways in, the agent among them; one of them gives way to a newcomer."""
OLD: Nanos = 20 * SECOND
"""A measurement so old is made again if it seems worth it, or an agent says so ..."""
OLD_FIRST: Nanos = OLD // 2
OLD_DOUBLED = 6
"""... and each time only after twice as long, from the first on, as often as this; anew when the replicas are farther from the
agent than before."""
NOT_ASKED: Nanos = -OLD
NOT_SHARED: Nanos = -SHARED_FOR
WORSE_LEAST: Nanos = 2 * MILLISECOND
WORSE_SHARE = 0.1
"""An agent whose delay to the replicas has grown by more is perhaps no longer the best."""


def delay_of(delays: tuple[AppDelay, ...], app: AppId) -> Nanos | None:
    """To the replicas of an application, as somebody told; None: nothing was said of it."""
    for one in delays:
        if one.app == app:
            return one.rtt
    return None


class Way(Rtt):
    """One way in: an agent and how far it is."""

    __slots__ = (
        "agent",
        "asked_at",
        "at",
        "bound",
        "crowded",
        "dated",
        "delays",
        "doubled",
        "full_until",
        "heard_at",
        "lease",
        "lease_sent_at",
        "lease_seq",
        "seed",
        "silent",
        "told",
        "wanted",
    )

    def __init__(self, agent: NodeId, seed: bool = False) -> None:
        super().__init__()
        self.agent = agent
        self.seed = seed
        self.at: Place = 0
        """Where it is, as far as it, or somebody else, has told."""
        self.delays: tuple[AppDelay, ...] = ()
        """From there to the replicas, as it tells (the message's own tuple, which all that were told it share) ..."""
        self.dated = False
        """... or told before replicas moved: what may be better by now is no reason not to measure."""
        self.wanted = True
        """Whether it is to be measured when there is time, if it may be better than the agent."""
        self.asked_at: Nanos = NOT_ASKED
        self.doubled = 0
        """How often so far."""
        self.bound: Nanos = 0
        """No nearer than this, as far as a third one's measurements tell; 0 if they tell nothing, or it was measured."""
        self.crowded = False
        """Whether it had more nodes than it should, when last probed."""
        self.heard_at: Nanos = -1
        self.silent = 0
        self.full_until: Nanos = 0
        self.lease_seq = 0
        self.lease_sent_at: Nanos = 0
        self.lease: Lease | None = None
        """What it knows of this node once it has the last lease ..."""
        self.told: Lease | None = None
        """... and what it knows for certain: None, nothing."""

    @property
    def again(self) -> Nanos:
        """After how long since it was last asked it is worth asking anew."""
        return OLD_FIRST << self.doubled

    def asked(self, now: Nanos) -> None:
        self.wanted, self.asked_at = False, now
        if self.doubled < OLD_DOUBLED:
            self.doubled += 1

    def changed(self) -> None:
        """What was measured of it may be wrong by now."""
        self.wanted, self.doubled, self.dated = True, 1, True


class Demanding(Protocol):
    """Who goes these ways (`attach.Below`)."""

    def shares(self) -> dict[AppId, float]:
        """Of its demand, by which applications are weighed."""


class Ways:
    """At most `known_agents` ways in besides the agent. None goes for being silent, only for being worse than another."""

    __slots__ = ("_below", "_ctx", "_shared", "_shared_at", "by_agent")

    def __init__(self, ctx: Context, below: Demanding) -> None:
        self._ctx = ctx
        self._below = below
        self._shared: dict[AppId, float] = {}
        self._shared_at: Nanos = NOT_SHARED
        self.by_agent: dict[NodeId, Way] = {}

    def __iter__(self) -> Iterator[Way]:
        return iter(self.by_agent.values())

    def __len__(self) -> int:
        return len(self.by_agent)

    def get(self, agent: NodeId) -> Way | None:
        return self.by_agent.get(agent)

    # The table

    def add(self, agent: NodeId, kept: tuple[NodeId, ...] = ()) -> None:
        """Remembers a way in; in a full table it takes the place of a silent one, or of the worst of those that compete."""
        if agent == self._ctx.me or agent in self.by_agent or not agent:
            return
        if len(self.by_agent) > self._ctx.config.known_agents:
            mortal = [way for way in self if not way.seed and way.agent not in kept]
            if not mortal:
                return
            mortal.sort(key=lambda way: (way.silent, self.hoped(way), way.agent))
            silent = mortal[-1] if mortal[-1].silent else None
            del self.by_agent[(silent or mortal[min(COMPETING, len(mortal)) - 1]).agent]
        self.by_agent[agent] = Way(agent)

    def hinted(self, hint: AgentHint, teller: Way | None, chosen: bool) -> bool:
        """Somebody tells of a way in; `chosen`: an agent picked it for this node. Whether that is news, to be looked at soon."""
        way = self.by_agent.get(hint.agent)
        if way is None:
            return False
        if not way.samples:
            way.at = hint.at or way.at
            if teller is not None and hint.rtt and teller.samples:
                way.bound = abs(hint.rtt - teller.srtt)
        if chosen and self._ctx.now - way.asked_at >= self._ctx.budget.stretched(way.again):
            way.wanted = way.dated = True
        return way.wanted and not way.samples

    def told(self, way: Way, delays: tuple[AppDelay, ...]) -> bool:
        """How far the agent is from the replicas; whether that has become notably worse."""
        before = self._beyond(way) if way.delays else 0
        way.delays = delays if len(delays) <= DELAYS else delays[:DELAYS]
        way.dated = False
        return bool(before) and self._beyond(way) > before + max(WORSE_LEAST, int(WORSE_SHARE * before))

    # Comparing

    def cost(self, way: Way) -> Nanos:
        """Round trip to the agent, and a share of the agent's to the replicas that this node uses."""
        return way.delay() + self._beyond(way)

    def _beyond(self, way: Way) -> Nanos:
        """The agent's share of the cost; where it has not told, as of the worst of those that have."""
        if self._ctx.now - self._shared_at >= SHARED_FOR:
            self._shared, self._shared_at = self._below.shares(), self._ctx.now
        delay = 0.0
        for app, share in self._shared.items():
            told = delay_of(way.delays, app)
            if told is None:
                told = max((delay_of(other.delays, app) or 0 for other in self), default=0)
            delay += share * told
        return int(TOWARDS_REPLICAS * delay)

    def choose(self, some: Iterable[Way]) -> Way:
        """Where to go when one has to go: of those that cost about the same, rather to one with room."""
        return min(some, key=lambda way: (self.cost(way) + (CROWD if way.crowded else 0), self._ctx.rng.random()))

    def hoped(self, way: Way) -> Nanos:
        """The cost at best, as far as is known without measuring (again)."""
        if way.samples:
            guess = way.srtt if self._ctx.now - way.heard_at < OLD else int(HOPE * way.srtt)
        else:
            here = self._ctx.position.at
            known = certain(here) and certain(way.at)
            guess = int(HOPE * max(way.bound, expected(here, way.at) if known else 0))
        return guess + (self._beyond(way) if way.delays and not way.dated else 0)

    def best(self, other_than: NodeId) -> Way | None:
        """Of those measured that answer and have room."""
        now = self._ctx.now
        found: Way | None = None
        least: tuple[Nanos, NodeId] = (0, "")
        for way in self.by_agent.values():
            if way.agent == other_than or not way.samples or way.silent or way.full_until > now:
                continue
            if found is not None and way.srtt > least[0]:
                continue  # its round trip alone costs more
            cost = (self.cost(way), way.agent)
            if found is None or cost < least:
                found, least = way, cost
        return found

    def spare(self, way: Way) -> Nanos:
        """What this node would lose if this agent were no more; 0: unknown."""
        second = self.best(way.agent)
        if second is None or not way.samples:
            return 0
        return max(1, self.cost(second) - self.cost(way))

    def nearest(self, count: int, besides: tuple[NodeId, ...], varied: bool = False) -> list[NodeId]:
        """The best ways in; `varied` leaves half of the places to chance, as near ones die together."""
        others = [way for way in self if way.agent not in besides]
        others.sort(key=lambda way: (way.silent, self.cost(way), way.agent))
        if not varied or len(others) <= count:
            return [way.agent for way in others[:count]]
        best = others[: (count + 1) // 2]
        rest = self._ctx.rng.sample(others[len(best) :], count - len(best))
        return [way.agent for way in best + rest]

    def hints(self, limit: int) -> tuple[AgentHint, ...]:
        """For somebody who asks this plain node."""
        ways = sorted(self, key=lambda way: (way.silent, -way.heard_at))[:limit]
        return tuple(AgentHint(way.agent, way.srtt, way.at) for way in ways)
