"""Between the hosts: channels over paths over access links. Takes messages from cores and brings them to cores, later.

    send -> channel (dial if cold) -> up link -> path -> down link -> hop cost -> core      (or by itself, or both: `datagrams`)

Hosts share no state: whatever one does to another is sent, arrives one way later at least, and is met by the state that it finds
there then (`channel` has the picture). All draws are of the sender's own source.

What is in flight when a link changes or is cut stays in flight, as with the real links. What cannot be delivered is counted
in `drops`; where a connection ends otherwise than in good order, the core is told `Unreachable` (see `opus_node.lines`).

A frame carries one message here; the transport puts what leaves together into one, which saves a few bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opus_node.core.events import Event, Receive, Unreachable
from opus_node.core.messages import REQUEST_TRAFFIC, Message, by_datagram, hastened
from opus_node.core.types import Nanos, NodeId
from opus_node.sizes import (
    ACK_OVERHEAD,
    DIAL_RECEIVED,
    DIAL_SENT,
    GRPC_OVERHEAD,
    TCP_IP_OVERHEAD,
    encoded_size,
    in_frame,
)

from opus_controller.model.network import Network
from opus_controller.runtimes.sim.agenda import Agenda, Handler
from opus_controller.runtimes.sim.channel import Channel, End, State
from opus_controller.runtimes.sim.costs import (
    BACKOFF_FACTOR,
    BACKOFF_FIRST,
    BACKOFF_MAX,
    BACKOFF_SPREAD,
    CALLED_WAIT,
    CONNECT_MOST,
    CONNECT_TIMEOUT,
    DIAL_ROUND_TRIPS,
    IDLE_TIMEOUT,
    INITIAL_WINDOW,
    MAX_LINKS,
    MAX_LINKS_SERVING,
    MSS,
    SILENCE_TIMEOUT,
    SYN_RTO,
    HopCost,
)
from opus_controller.runtimes.sim.datagrams import Datagrams
from opus_controller.runtimes.sim.draws import Draws
from opus_controller.runtimes.sim.host import DIALS, SimHost
from opus_controller.runtimes.sim.path import Path

Step = Callable[[SimHost, Event, Nanos], None]
Abroad = Callable[[Nanos, int, Handler, Any, Any, Any], None]
"""Takes an entry of the agenda that is for a host of another process."""

_UNCOUNTED = frozenset(REQUEST_TRAFFIC)

_REFUSED, _NOTHING = -1, -2
"""Answers to a dial, in place of the incarnation that accepts."""


class Fabric:
    """`step` is called with what arrives for a running, unpaused node."""

    def __init__(
        self, agenda: Agenda, network: Network, hosts: Mapping[NodeId, SimHost], seed: str, hop: HopCost, step: Step
    ) -> None:
        self._agenda = agenda
        self._network = network
        self._version = 0
        self._paths: dict[tuple[int, int], Path] = {}
        """By kinds of hosts."""
        self._hosts = hosts
        self._seed = seed
        self._hop = hop
        self._hop_ns = hop.per_message_ns
        self._step = step
        self.drops: Counter[str] = Counter()
        """Messages that never arrived, by reason."""
        self.dials = 0
        self.datagrams = Datagrams(self, agenda, hop, step)
        self._delivered = 0
        self._arriving, self._beginning = self._arrive, self._begin
        """Bound once, not with each message."""
        self.abroad: Abroad | None = None
        """None: all hosts are here."""

    @property
    def handlers(self) -> Sequence[Handler]:
        """By which hosts meet what others do to them, besides datagrams."""
        return (self._arriving, self._beginning, self._knocked, self._answered, self._reset, self._finish)

    # What the runtime does

    def apply(self, network: Network) -> None:
        """Channels notice when they are next used: by the version."""
        if network.hosts is not self._network.hosts:
            for plan in network.hosts:
                self._hosts[plan.address].set_rates(plan.access)
        self._network = network
        self._version += 1
        self._paths.clear()
        self.datagrams.changed()

    def has_unsent(self, host: SimHost) -> bool:
        """Whether messages of its process wait for connections."""
        return any(channel.queue for channel in (*host.channels.values(), *host.accepted.values()))

    def left(self, host: SimHost, now: Nanos) -> None:
        """Its process ends in good order: what it has dialled is closed, what others have dialled is reset."""
        for channel in list(host.channels.values()):
            self._close(now, channel, "sender left")
        self.crashed(host, now)

    def crashed(self, host: SimHost, now: Nanos) -> None:
        """The dead process's kernel resets its connections: the peers that its resets reach learn one way later."""
        for half in (*host.channels.values(), *host.accepted.values()):
            self._tell(now, half, self._reset)
        self.forget(host)

    def forget(self, host: SimHost) -> None:
        """The host's process is gone, and what waited in its channels with it. The peers' ends know nothing yet."""
        for half in (*host.channels.values(), *host.accepted.values()):
            self._lose(half, "sender died")
            half.state = State.CLOSED
        host.channels.clear()
        host.accepted.clear()
        host.closing = None
        host.reached = ()
        host.calling.clear()

    @property
    def delivered(self) -> int:
        return self._delivered + self.datagrams.delivered

    # From host to host

    def carry(self, t: Nanos, source: SimHost, target: SimHost, handler: Handler, a: Any, b: Any = None, c: Any = None) -> None:
        """What `source` does to `target`, which it meets at `t`."""
        if target.here:
            self._agenda.put(t, source, handler, a, b, c)
        else:
            assert self.abroad is not None
            source.turn += 1
            self.abroad(t, source.turn, handler, a, b, c)

    def draw(self, host: SimHost) -> Callable[[], float]:
        """Random numbers of its own."""
        draws = host.draws
        if draws is None:
            draws = host.draws = Draws(f"{self._seed}/{host.id}")
        return draws.random

    def path(self, source: SimHost, target: SimHost) -> Path:
        """As the network is now. Hosts alike share one, as long as no fault tells them apart."""
        network = self._network
        if network.cuts or network.down or network.host_overrides:
            return Path(network, source.plan, target.plan)
        key = source.kind, target.kind
        path = self._paths.get(key)
        if path is None:
            path = Path(network, source.plan, target.plan)
            if not path.has_state:
                self._paths[key] = path
        return path

    def round_trip(self, source: SimHost, target: SimHost) -> Nanos | None:
        """Without jitter; None: no connection can be made."""
        path = self.path(source, target)
        return path.rtt if path.dialable else None

    # Sending

    def send(self, source: SimHost, to: NodeId, message: Message, now: Nanos) -> None:
        if by_datagram(message) and self._send_alone(source, to, message, now):
            return
        channel = source.channels.get(to)
        if channel is None or channel.state is State.CONNECTING or channel.state is State.WAITING:
            channel = source.accepted.get(to, channel)
        if channel is None or channel.state is not State.OPEN or channel.version != self._version:
            self._send_slowly(source, to, message, now, channel)
        elif now - channel.used_at > IDLE_TIMEOUT:
            self._close(now, channel, "idle")
            self._send_slowly(source, to, message, now, source.channels.get(to))
        else:
            channel.used_at = now
            if channel.path.dialable:
                self._transmit(channel, message, now)
            else:
                self._send_into_cut(channel, message, now)

    def _send_alone(self, source: SimHost, to: NodeId, message: Message, now: Nanos) -> bool:
        target = self._hosts.get(to)
        return target is not None and target is not source and self.datagrams.send(source, target, message, now)

    def _send_slowly(self, source: SimHost, to: NodeId, message: Message, now: Nanos, channel: Channel | None) -> None:
        """All but the usual case."""
        target = self._hosts.get(to)
        if target is None:
            self.drops["no such host"] += 1
            return
        if target is source:
            self._agenda.put(now, source, self._loop_back, source, source.incarnation, message)
            return
        if channel is None:
            channel = self._new_channel(now, source, target)
            called_at = source.calling.pop(to, None)
            if called_at is not None and called_at + CALLED_WAIT > now:
                channel.state = State.WAITING
                self._agenda.put(called_at + CALLED_WAIT, source, self._back_off_over, channel)
            else:
                self._dial(now, channel)
        channel.used_at = now
        self._refresh(channel)
        if channel.state is State.OPEN:
            self.send(source, to, message, now)
            return
        if channel.state is not State.STALLED and hastened(message):
            self.datagrams.send(source, target, message, now)
        if not channel.enqueue(now, message):
            self.drops["queue full"] += 1

    def _new_channel(self, now: Nanos, source: SimHost, target: SimHost) -> Channel:
        channels = source.channels
        while len(channels) >= (MAX_LINKS_SERVING if source.serving else MAX_LINKS):
            self._close(now, min(channels.values(), key=lambda one: (bool(one.queue), one.used_at)), "evicted")
        channel = channels[target.id] = Channel(source, target, self.path(source, target), self._version)
        return channel

    def _refresh(self, channel: Channel) -> None:
        if channel.version != self._version:
            channel.path = self.path(channel.source, channel.target)
            channel.version = self._version

    def _transmit(self, channel: Channel, message: Message, now: Nanos) -> None:
        """Onto an open connection over a path that carries something."""
        source, target, path = channel.source, channel.target, channel.path
        size = in_frame(encoded_size(message)) + GRPC_OVERHEAD
        packets = 1 if size <= MSS else -(-size // MSS)
        wire = size + packets * TCP_IP_OVERHEAD
        if type(message) not in _UNCOUNTED:
            source.control_sent += wire
            source.control_received += ACK_OVERHEAD
            if source.control_by_kind is not None:
                source.control_by_kind[type(message).__name__] += wire + ACK_OVERHEAD
        arrives = now + self._hop_ns
        up = source.up
        if up is not None:
            left = up.enter(now, int(wire * up.byte_ns))
            arrives += path.rto if left is None else left - now  # dropped by the full queue, sent again
        if path.plain and packets <= INITIAL_WINDOW:
            arrives += path.base
        else:
            random = self.draw(source)
            arrives += path.transit(packets, random)
            if path.lossy and (late := path.recovery(packets, channel.round_trips, random)):
                if late >= SILENCE_TIMEOUT:
                    self._stall(channel, message, now, hopeless=True)
                    return
                arrives += late
        if now - channel.measured_at >= path.rtt:
            channel.measured_at = now
            channel.round_trips += 1
        if target.down is not None:
            arrives += int(wire * target.down.byte_ns)
        if arrives < channel.last:
            arrives = channel.last
        channel.last = arrives
        if not channel.told:
            channel.told = True
            self.carry(arrives, source, target, self._beginning, channel, message, (wire, channel.incarnation))
        elif target.here:
            self._agenda.put(arrives, source, self._arriving, channel, message, wire)
        else:
            self.carry(arrives, source, target, self._arriving, channel, message, wire)

    # Arriving

    def _arrive(self, now: Nanos, end: End, message: Message, wire: int) -> None:
        """The last bit is in, if the target's access link was idle for the time that it took."""
        half, target = end.half(), end.target
        if half is None:
            self._arrive_late(now, end, message, wire)
            return
        down = target.down
        if down is not None:
            takes = int(wire * down.byte_ns)
            if down.free > now - takes or now < half.hold:
                self._queue_down(now, end, half, message, wire)
                return
            down.free = now
        half.used_at = now
        self._count(target, message, wire)
        if target.paused or target.processor is not None:
            self._hear(now, end, message, target.incarnation)
            return
        self._delivered += 1
        self._step(target, Receive(end.source.id, message), now)

    def _queue_down(self, now: Nanos, end: End, half: Channel, message: Message, wire: int) -> None:
        """At a busy access link."""
        target = end.target
        down = target.down
        assert down is not None
        takes = int(wire * down.byte_ns)
        left = down.enter(now - takes, takes) if now >= half.hold else None
        if left is not None:
            half.used_at = now
            self._count(target, message, wire)
            self._agenda.put(left, target, self._hear, end, message, target.incarnation)
            return
        if now >= half.hold:  # dropped by the full queue: sent again, and what follows on the stream waits for it
            half.hold = now + half.path.rto
        self._agenda.put(half.hold, target, self._arriving, end, message, wire)

    def _count(self, host: SimHost, message: Message, wire: int) -> None:
        """At its kernel."""
        if type(message) not in _UNCOUNTED:
            host.control_received += wire
            host.control_sent += ACK_OVERHEAD
            if host.control_by_kind is not None:
                host.control_by_kind[type(message).__name__] += wire + ACK_OVERHEAD

    def _hear(self, now: Nanos, end: End, message: Message, incarnation: int) -> None:
        """The kernel has it for its process, which may be slow or stand still."""
        host = end.target
        if host.paused:
            host.waiting.append((0, self._hear, end, message, incarnation))
        elif host.processor is not None:
            self._agenda.put(host.processor.enter(now), host, self._take, end, message, incarnation)
        else:
            self._take(now, end, message, incarnation)

    def _take(self, now: Nanos, end: End, message: Message, incarnation: int) -> None:
        host = end.target
        if host.core is None or host.incarnation != incarnation:
            self.drops["receiver died"] += 1
        elif host.paused:
            host.waiting.append((0, self._take, end, message, incarnation))
        else:
            self._delivered += 1
            self._step(host, Receive(end.source.id, message), now)

    def _arrive_late(self, now: Nanos, end: End, message: Message, wire: int) -> None:
        """On a connection that this end has closed, given up or, a new process, never known."""
        host, closing = end.target, end.target.closing
        if closing is not None and closing.get((end.source.id, end.number, not end.accepted), -1) >= now:
            self._count(host, message, wire)
            self._hear(now, end, message, host.incarnation)
            return
        self.drops["receiver died" if host.core is None else "given up"] += 1
        self._refuse(now, end)

    def _loop_back(self, now: Nanos, host: SimHost, incarnation: int, message: Message) -> None:
        """A node's message to itself never leaves its process."""
        if host.core is None or host.incarnation != incarnation:
            return
        if host.paused:
            host.waiting.append((0, self._loop_back, host, incarnation, message))
            return
        self._step(host, Receive(host.id, message), now)

    # Connecting

    def _dial(self, now: Nanos, channel: Channel) -> None:
        source = channel.source
        self._refresh(channel)
        self.dials += 1
        source.turn += 1
        channel.number = source.turn
        channel.state = State.CONNECTING
        channel.dialed_at = now
        self._knock(now, channel, None, None)

    def _knock(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        """Send the SYN, for the first time or, while the path is cut, again."""
        if channel.state is not State.CONNECTING:
            return
        self._refresh(channel)
        source, target, path = channel.source, channel.target, channel.path
        give_up = channel.dialed_at + (CONNECT_TIMEOUT if target.id in source.reached else CONNECT_MOST)
        awaited = False
        if path.dialable:
            least = takes = DIAL_ROUND_TRIPS * path.rtt
            if path.lossy:
                takes = path.handshake(DIAL_ROUND_TRIPS, SYN_RTO, self.draw(source))
            awaited = now + takes <= give_up
            self.carry(now + takes - least + path.base, source, target, self._knocked, channel, give_up)
        elif now + SYN_RTO < give_up:
            self._agenda.put(now + SYN_RTO, source, self._knock, channel)
        if now == channel.dialed_at and not awaited:
            self._agenda.put(give_up, source, self._unanswered, channel)

    def _unanswered(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        if channel.source.paused:
            channel.source.waiting.append((0, self._unanswered, channel, None, None))
        elif channel.state is State.CONNECTING:
            self._ended(now, channel, False, None)

    def _knocked(self, now: Nanos, end: End, give_up: Nanos, came_at: Nanos | None) -> None:
        """The SYN is there: since `came_at`, if the process that is to answer was paused. Nothing, too, is answered, when the
        dialler's patience ends: that spares each dial a timer of its own."""
        host, dialler = end.target, end.source
        back = self.path(host, dialler)
        first, answers = came_at is None, End(host, dialler, end.number, True)
        if host.core is None and host.powered and not back.cut:
            self.carry(now + back.base, host, dialler, self._answered, answers, _REFUSED)
            return
        if host.core is not None and not back.cut:
            if host.paused:
                host.waiting.append((0, self._knocked, end, give_up, now if came_at is None else came_at))
            else:
                at = max(now, (now if came_at is None else came_at) + (DIAL_ROUND_TRIPS - 1) * back.rtt) + back.base
                if at <= give_up:
                    self.carry(at + self._hop.dial_ns, host, dialler, self._answered, answers, host.incarnation)
                    return
        if first:
            self.carry(max(now + back.base, give_up), host, dialler, self._answered, answers, _NOTHING)

    def _answered(self, now: Nanos, end: End, incarnation: int, _c: None) -> None:
        """By the process of that incarnation."""
        source = end.target
        channel = source.channels.get(end.source.id)
        if channel is None or channel.number != end.number or channel.state is not State.CONNECTING:
            return
        if source.paused:
            source.waiting.append((0, self._answered, end, incarnation, None))
            return
        if incarnation < 0:
            self._ended(now, channel, incarnation == _REFUSED, None)
            return
        self._refresh(channel)
        if channel.target.id not in source.reached:
            source.reached += (channel.target.id,)
        channel.incarnation, channel.backoff = incarnation, BACKOFF_FIRST
        channel.open(now)
        self._count_dial(source, DIAL_SENT, DIAL_RECEIVED)
        self.drops["expired"] += channel.expire(now)
        if channel.queue:
            self._flush(channel, now)
        elif not channel.path.cut:  # nothing to say any more: the headers go alone
            channel.told = True
            channel.last = now + channel.path.base
            self.carry(channel.last, source, channel.target, self._beginning, channel, None, (0, incarnation))

    def _count_dial(self, host: SimHost, sent: int, received: int) -> None:
        host.control_sent += sent
        host.control_received += received
        if host.control_by_kind is not None:
            host.control_by_kind[DIALS] += sent + received

    def _begin(self, now: Nanos, end: End, message: Message | None, with_it: tuple[int, int]) -> None:
        """The headers have come: the other half begins. It takes over what waits at one before it, as `Transport.accepted` does.
        `with_it`: of the message, and who answered the dial."""
        host, peer = end.target, end.source
        wire, incarnation = with_it
        earlier = host.accepted.get(peer.id)
        if host.core is None or host.incarnation != incarnation or (earlier is not None and earlier.number > end.number):
            self.drops["receiver died" if host.core is None else "given up"] += message is not None
            self._refuse(now, end)
            return
        half = Channel(host, peer, self.path(host, peer), self._version, end.number, accepted=True)
        half.open(now)
        if earlier is not None:
            half.take_over(earlier)
            earlier.state = State.CLOSED
        host.accepted[peer.id] = half
        self._count_dial(host, DIAL_RECEIVED, DIAL_SENT)
        self._begun(now, half, None, None)
        if message is not None:
            self._arrive(now, end, message, wire)

    def _begun(self, now: Nanos, half: Channel, _b: None, _c: None) -> None:
        """And the process knows of it."""
        host = half.source
        if host.paused:
            host.waiting.append((0, self._begun, half, None, None))
            return
        if half.state is State.CLOSED:
            return
        dialled = host.channels.get(half.target.id)
        if dialled is not None:
            half.take_over(dialled)
            # It would have answered on a connection that it knew of; but a young one may be this one's twin by chance.
            if dialled.state in (State.OPEN, State.STALLED) and now - dialled.opened_at > CONNECT_TIMEOUT:
                self._tell(now, dialled, self._reset)
                self._drop(dialled)
        self._flush(half, now)

    def _flush(self, channel: Channel, now: Nanos) -> None:
        """Send what waited, in order, as far as the path carries it."""
        for since, message in channel.taken():
            if channel.state is State.STALLED:
                channel.keep(since, message)
            elif channel.path.dialable:
                self._transmit(channel, message, now)
            else:
                self._send_into_cut(channel, message, now)

    def _ended(self, now: Nanos, channel: Channel, refused: bool, _c: None) -> None:
        """A dial has failed or a connection is over. Refused or reset: the core is told, and what waits is lost with it."""
        if channel.state is State.CLOSED or channel.state is State.WAITING:
            return
        source = channel.source
        if source.paused:
            source.waiting.append((0, self._ended, channel, refused, None))
            return
        if channel.accepted:
            self._lose(channel, "refused or reset" if refused else "silence")
            self._drop(channel)
            self._step(source, Unreachable(channel.target.id), now)
            return
        channel.state = State.WAITING
        due = channel.dialed_at + round(channel.backoff * (1.0 - BACKOFF_SPREAD * self.draw(source)()))
        channel.backoff = min(round(BACKOFF_FACTOR * channel.backoff), BACKOFF_MAX)
        self._agenda.put(max(now, due), source, self._back_off_over, channel)
        if refused:
            self._lose(channel, "refused or reset")
        if channel.target.id not in source.accepted:
            self._step(source, Unreachable(channel.target.id), now)

    def _back_off_over(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        source = channel.source
        if channel.state is not State.WAITING:
            return
        if source.paused:
            source.waiting.append((0, self._back_off_over, channel, None, None))
            return
        self.drops["expired"] += channel.expire(now)
        if not channel.queue:
            self._close(now, channel, "")
            return
        if channel.number:
            channel = source.channels[channel.target.id] = channel.again()
        self._dial(now, channel)

    # Breaking

    def _send_into_cut(self, channel: Channel, message: Message, now: Nanos) -> None:
        """Onto an open connection whose path is cut in this direction, or in the other."""
        if channel.path.cut:
            self._stall(channel, message, now)
            return
        if channel.unheard_since is None:  # it arrives, its acknowledgement does not
            channel.unheard_since = now
            self._agenda.put(now + SILENCE_TIMEOUT, channel.source, self._unheard, channel)
        self._transmit(channel, message, now)

    def _unheard(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        if channel.state is not State.OPEN:
            return
        self._refresh(channel)
        if channel.path.deaf:
            self._ended(now, channel, False, None)
        channel.unheard_since = None

    def _stall(self, channel: Channel, message: Message, now: Nanos, *, hopeless: bool = False) -> None:
        """The path swallows this one, and the kernel tries again; `hopeless`: no try will succeed before it gives up."""
        channel.state = State.STALLED
        channel.unheard_since = now
        channel.rto = SILENCE_TIMEOUT if hopeless else channel.path.rto_after(channel.round_trips)
        channel.probed = False
        channel.enqueue(now, message)
        self._agenda.put(now + min(channel.rto, SILENCE_TIMEOUT), channel.source, self._retransmit, channel)

    def _retransmit(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        if channel.state is not State.STALLED:
            return
        self._refresh(channel)
        assert channel.unheard_since is not None
        give_up = channel.unheard_since + SILENCE_TIMEOUT
        if now >= give_up:
            self._lose(channel, "silence")
            self._ended(now, channel, False, None)
        elif channel.path.cut:
            if channel.probed:
                channel.rto *= 2
            channel.probed = True  # the first retransmission is a tail-loss probe, which does not double the time-out
            self._agenda.put(min(now + channel.rto, give_up), channel.source, self._retransmit, channel)
        else:
            channel.state = State.OPEN
            channel.unheard_since = None
            self._flush(channel, now)

    def _refuse(self, now: Nanos, end: End) -> None:
        """The kernel that something has come to resets a connection that it does not have."""
        host, peer = end.target, end.source
        back = self.path(host, peer)
        if host.powered and not back.cut:
            self.carry(now + back.base, host, peer, self._reset, End(host, peer, end.number, not end.accepted))

    def _tell(self, now: Nanos, half: Channel, what: Handler) -> None:
        """The other end, if it has one: a reset or a FIN, after all that was sent before."""
        if half.told and (half.state is State.OPEN or half.state is State.STALLED):
            self._refresh(half)
            if not half.path.cut:
                self.carry(max(now + half.path.base, half.last), half.source, half.target, what, half)

    def _reset(self, now: Nanos, end: End, _b: None, _c: None) -> None:
        half = end.half()
        if half is not None:
            self._ended(now, half, True, None)

    def _finish(self, now: Nanos, end: End, _b: None, _c: None) -> None:
        """The other end has closed the connection in good order."""
        if end.target.paused:
            end.target.waiting.append((0, self._finish, end, None, None))
            return
        half = end.half()
        if half is not None:
            self._lose(half, "closed by the peer")
            self._drop(half)

    def _lose(self, channel: Channel, why: str) -> None:
        lost = channel.taken()
        if lost:
            self.drops[why] += len(lost)

    def _close(self, now: Nanos, channel: Channel, why: str) -> None:
        """In good order; what the other end says before it knows is heard."""
        self._lose(channel, why)
        self._tell(now, channel, self._finish)
        if channel.state is State.OPEN or channel.state is State.STALLED:
            channel.source.closes(channel.target.id, channel.number, channel.accepted, now)
        self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        channel.state = State.CLOSED
        ends = channel.source.accepted if channel.accepted else channel.source.channels
        if ends.get(channel.target.id) is channel:
            del ends[channel.target.id]
