"""Between the hosts: channels over paths over access links. Takes messages from cores and brings them to cores, later.

    send -> channel (dial if cold) -> up link -> path -> down link -> hop cost -> core      (or by itself, or both: `datagrams`)

What is in flight when a link changes or is cut stays in flight, as with the real links. What cannot be delivered is counted
in `drops`; where a connection ends otherwise than in good order, the core is told `Unreachable` (see `opus_node.lines`).

A frame carries one message here; the transport puts what leaves together into one, which saves a few bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

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
from opus_controller.runtimes.sim.agenda import Agenda
from opus_controller.runtimes.sim.channel import Channel, State
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
from opus_controller.runtimes.sim.host import DIALS, SimHost
from opus_controller.runtimes.sim.path import Path

Step = Callable[[SimHost, Event, Nanos], None]

_UNCOUNTED = frozenset(REQUEST_TRAFFIC)


class Fabric:
    """`step` is called with what arrives for a running, unpaused node."""

    def __init__(
        self, agenda: Agenda, network: Network, hosts: Mapping[NodeId, SimHost], random: Random, hop: HopCost, step: Step
    ) -> None:
        self._agenda = agenda
        self._network = network
        self._version = 0
        self._paths: dict[tuple[int, int], Path] = {}
        """By kinds of hosts."""
        self._hosts = hosts
        self._random = random
        self._hop = hop
        self._hop_ns = hop.per_message_ns
        self._step = step
        self.drops: Counter[str] = Counter()
        """Messages that never arrived, by reason."""
        self.dials = 0
        self.datagrams = Datagrams(agenda, random, hop, self._path, step, self.drops)
        self._delivered = 0
        self._arriving = self._arrive
        """Bound once, not with each message."""

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
            self._close(channel, "sender left")
        self.crashed(host, now)

    def crashed(self, host: SimHost, now: Nanos) -> None:
        """The dead process's kernel resets its connections: the peers that its resets reach learn one way later."""
        for end in (*host.channels.values(), *host.accepted.values()):
            twin = end.twin
            if twin is not None and not twin.orphan and twin.state in (State.OPEN, State.STALLED):
                self._send_reset(now, twin)
        self.forget(host)

    def forget(self, host: SimHost) -> None:
        """The host's process is gone, and what waited in its channels with it. The peers' ends know nothing yet."""
        for channel in (*host.channels.values(), *host.accepted.values()):
            self._lose(channel, "sender died")
            channel.state = State.CLOSED
            if channel.twin is not None:
                channel.twin.orphan = True
        host.channels.clear()
        host.accepted.clear()
        host.reached = ()
        host.calling.clear()

    @property
    def delivered(self) -> int:
        return self._delivered + self.datagrams.delivered

    # Sending

    def send(self, source: SimHost, to: NodeId, message: Message, now: Nanos) -> None:
        if by_datagram(message) and self._send_alone(source, to, message, now):
            return
        channel = source.channels.get(to)
        if channel is None or channel.state is State.CONNECTING or channel.state is State.WAITING:
            channel = source.accepted.get(to, channel)
        if channel is None or channel.state is not State.OPEN or channel.version != self._version:
            self._send_slowly(source, to, message, now, channel)
        elif now - channel.used_at > IDLE_TIMEOUT and now - channel.quiet_since() > IDLE_TIMEOUT:
            self._close(channel, "idle")
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
            self._agenda.at(now, self._loop_back, source, source.incarnation, message)
            return
        if channel is None:
            channel = self._new_channel(source, target)
            called_at = source.calling.pop(to, None)
            if called_at is not None and called_at + CALLED_WAIT > now:
                channel.state = State.WAITING
                self._agenda.at(called_at + CALLED_WAIT, self._back_off_over, channel)
            else:
                self._agenda.at(now, self._dial, channel)  # after all that boot at this instant have done so
        channel.used_at = now
        self._refresh(channel)
        if channel.state is State.OPEN:
            self.send(source, to, message, now)
            return
        if channel.state is not State.STALLED and hastened(message):
            self.datagrams.send(source, target, message, now)
        if not channel.enqueue(now, message):
            self.drops["queue full"] += 1

    def _new_channel(self, source: SimHost, target: SimHost) -> Channel:
        channels = source.channels
        while len(channels) >= (MAX_LINKS_SERVING if source.serving else MAX_LINKS):
            self._close(min(channels.values(), key=lambda one: (bool(one.queue), one.quiet_since())), "evicted")
        channel = Channel(source, target, self._path(source, target), self._version)
        channels[target.id] = channel
        return channel

    def _refresh(self, channel: Channel) -> None:
        if channel.version != self._version:
            channel.path = self._path(channel.source, channel.target)
            channel.version = self._version

    def round_trip(self, source: SimHost, target: SimHost) -> Nanos | None:
        """Without jitter; None: no connection can be made."""
        path = self._path(source, target)
        return path.rtt if path.dialable else None

    def _path(self, source: SimHost, target: SimHost) -> Path:
        """Hosts alike share one, as long as no fault tells them apart."""
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

    def _transmit(self, channel: Channel, message: Message, now: Nanos) -> None:
        """Onto an open connection over a path that carries something."""
        source, target, path = channel.source, channel.target, channel.path
        size = in_frame(encoded_size(message)) + GRPC_OVERHEAD
        packets = 1 if size <= MSS else -(-size // MSS)
        wire = size + packets * TCP_IP_OVERHEAD
        if type(message) not in _UNCOUNTED:
            source.control_sent += wire
            source.control_received += ACK_OVERHEAD
            target.control_sent += ACK_OVERHEAD
            target.control_received += wire
            for by_kind in (source.control_by_kind, target.control_by_kind):
                if by_kind is not None:
                    by_kind[type(message).__name__] += wire + ACK_OVERHEAD
        arrives = now + self._hop_ns
        up = source.up
        if up is not None:
            left = up.enter(now, int(wire * up.byte_ns))
            arrives += path.rto if left is None else left - now  # dropped by the full queue, sent again
        if path.plain and packets <= INITIAL_WINDOW:
            arrives += path.base
        else:
            arrives += path.transit(packets, self._random.random)
            if path.lossy and (late := path.recovery(packets, channel.round_trips, self._random.random)):
                if late >= SILENCE_TIMEOUT:
                    self._stall(channel, message, now, hopeless=True)
                    return
                arrives += late
        if now - channel.measured_at >= path.rtt:
            channel.measured_at = now
            channel.round_trips += 1
        downloads = 0
        if target.down is not None:
            downloads = int(wire * target.down.byte_ns)
            arrives += downloads
        if arrives < channel.last:
            arrives = channel.last
        channel.last = arrives
        self._agenda.at(arrives, self._arriving, channel, message, downloads)

    # Arriving

    def _arrive(self, now: Nanos, channel: Channel, message: Message, downloads: Nanos) -> None:
        """The last bit is in, if the target's access link was idle for the `downloads` it took."""
        target = channel.target
        down = target.down
        if down is not None:
            if down.free > now - downloads or now < channel.hold:
                self._queue_down(now, channel, message, downloads)
                return
            down.free = now
        if target.core is None or target.paused or channel.orphan or target.incarnation != channel.incarnation:
            self._arrive_at_nobody(now, channel, message, None)
            return
        if target.processor is not None:
            self._agenda.at(target.processor.enter(now), self._deliver, channel, message, True)
            return
        self._delivered += 1
        self._step(target, Receive(channel.source.id, message), now)

    def _queue_down(self, now: Nanos, channel: Channel, message: Message, downloads: Nanos) -> None:
        """At a busy access link."""
        down = channel.target.down
        assert down is not None
        if now < channel.hold:
            self._agenda.at(channel.hold, self._arrive, channel, message, downloads)
            return
        left = down.enter(now - downloads, downloads)
        if left is not None:
            self._agenda.at(left, self._deliver, channel, message)
        else:  # dropped by the full queue: sent again, and what follows on the stream waits for it
            channel.hold = now + channel.path.rto
            self._agenda.at(channel.hold, self._arrive, channel, message, downloads)

    def _deliver(self, now: Nanos, channel: Channel, message: Message, handled: bool | None) -> None:
        """`handled`: a slow processor has come to it."""
        target = channel.target
        if target.core is None or target.paused or channel.orphan or target.incarnation != channel.incarnation:
            self._arrive_at_nobody(now, channel, message, None)
            return
        if target.processor is not None and not handled:
            self._agenda.at(target.processor.enter(now), self._deliver, channel, message, True)
            return
        self._delivered += 1
        self._step(target, Receive(channel.source.id, message), now)

    def _arrive_at_nobody(self, now: Nanos, channel: Channel, message: Message, _c: None) -> None:
        """The process is dead, another one, gave the connection up, or is paused; its kernel resets, or keeps the message."""
        target = channel.target
        if target.core is not None and target.paused and not channel.orphan and target.incarnation == channel.incarnation:
            target.waiting.append((0, self._deliver, channel, message, None))
            return
        self.drops["receiver died" if target.incarnation != channel.incarnation or target.core is None else "given up"] += 1
        if target.powered:
            self._send_reset(now, channel)

    def _loop_back(self, now: Nanos, host: SimHost, incarnation: int, message: Message) -> None:
        """A node's message to itself never leaves its process."""
        if host.core is None or host.incarnation != incarnation:
            return
        if host.paused:
            host.waiting.append((0, self._loop_back, host, incarnation, message))
            return
        self._step(host, Receive(host.id, message), now)

    # Connecting

    def _dial(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        if channel.state is State.CLOSED:
            return
        if channel.source.paused:
            channel.source.waiting.append((0, self._dial, channel, None, None))
            return
        self._refresh(channel)
        self.dials += 1
        channel.state = State.CONNECTING
        channel.dialed_at = now
        self._knock(now, channel, now, None)

    def _knock(self, now: Nanos, channel: Channel, dialed_at: Nanos, _c: None) -> None:
        """Send the SYN, for the first time or again; a paused process answers when it runs on."""
        if channel.state is not State.CONNECTING or channel.dialed_at != dialed_at:
            return
        self._refresh(channel)
        path, target = channel.path, channel.target
        give_up = dialed_at + (CONNECT_TIMEOUT if target.id in channel.source.reached else CONNECT_MOST)
        if path.dialable and target.core is None and target.powered:
            self._agenda.at(now + path.rtt, self._ended, channel, True)
            return
        if path.dialable and target.core is not None and target.paused:
            target.waiting.append((0, self._knock, channel, dialed_at, None))
        elif path.dialable and target.core is not None:
            takes = path.handshake(DIAL_ROUND_TRIPS, SYN_RTO, self._random.random)
            if now + takes <= give_up:
                self._agenda.at(now + takes + self._hop.dial_ns, self._connected, channel, target.incarnation)
                return
        elif now + SYN_RTO < give_up:
            self._agenda.at(now + SYN_RTO, self._knock, channel, dialed_at)
        if now == dialed_at:
            self._agenda.at(give_up, self._unanswered, channel, dialed_at)

    def _unanswered(self, now: Nanos, channel: Channel, dialed_at: Nanos, _c: None) -> None:
        if channel.state is State.CONNECTING and channel.dialed_at == dialed_at:
            self._ended(now, channel, False, None)

    def _connected(self, now: Nanos, channel: Channel, incarnation: int, _c: None) -> None:
        if channel.state is not State.CONNECTING:
            return
        if channel.source.paused:
            channel.source.waiting.append((0, self._connected, channel, incarnation, None))
            return
        if channel.target.core is None or channel.target.incarnation != incarnation:
            self._ended(now, channel, channel.target.powered, None)
            return
        self._refresh(channel)
        channel.number += 1
        if channel.target.id not in channel.source.reached:
            channel.source.reached += (channel.target.id,)
        channel.backoff = BACKOFF_FIRST
        self._open(now, channel, incarnation)
        twin = self._accept(now, channel)
        for end, sent, received in (
            (channel.source, DIAL_SENT, DIAL_RECEIVED),
            (channel.target, DIAL_RECEIVED, DIAL_SENT),
        ):
            end.control_sent += sent
            end.control_received += received
            if end.control_by_kind is not None:
                end.control_by_kind[DIALS] += sent + received
        self.drops["expired"] += channel.expire(now)
        self._flush(channel, now)
        self._flush(twin, now)

    def _open(self, now: Nanos, channel: Channel, incarnation: int) -> None:
        channel.state = State.OPEN
        channel.incarnation = incarnation
        channel.opened_at = channel.used_at = now
        channel.unheard_since = None
        channel.orphan = False
        channel.resetting = False
        channel.round_trips = 0
        channel.measured_at = now - channel.path.rtt

    def _accept(self, now: Nanos, channel: Channel) -> Channel:
        """The other end of a new connection. It takes over what waits at any end before it, as `Transport.accepted` does."""
        host, peer = channel.target, channel.source
        twin = Channel(host, peer, self._path(host, peer), self._version, accepted=True)
        twin.number = 1
        twin.twin, channel.twin = channel, twin
        self._open(now, twin, peer.incarnation)
        earlier, dialled = host.accepted.get(peer.id), host.channels.get(peer.id)
        host.accepted[peer.id] = twin
        for end in (earlier, dialled):
            if end is not None:
                for since, message in end.taken():
                    twin.keep(since, message)
        if earlier is not None:
            earlier.state = State.CLOSED
        # It would have answered on a connection that it knew of; but a young one may be this one's twin by chance.
        if dialled is not None and dialled.state in (State.OPEN, State.STALLED) and now - dialled.opened_at > CONNECT_TIMEOUT:
            self._close(dialled, "")
        return twin

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
        if channel.state is State.CLOSED:
            return
        source = channel.source
        if source.paused:
            source.waiting.append((0, self._ended, channel, refused, None))
            return
        twin, channel.twin = channel.twin, None
        if twin is not None:
            twin.orphan = True
        if channel.accepted:
            self._close(channel, "refused or reset" if refused else "silence")
            self._step(source, Unreachable(channel.target.id), now)
            return
        channel.state = State.WAITING
        due = channel.dialed_at + round(channel.backoff * (1.0 - BACKOFF_SPREAD * self._random.random()))
        channel.backoff = min(round(BACKOFF_FACTOR * channel.backoff), BACKOFF_MAX)
        self._agenda.at(max(now, due), self._back_off_over, channel)
        if refused:
            self._lose(channel, "refused or reset")
        if channel.target.id not in source.accepted:
            self._step(source, Unreachable(channel.target.id), now)

    def _back_off_over(self, now: Nanos, channel: Channel, _b: None, _c: None) -> None:
        if channel.state is not State.WAITING:
            return
        self.drops["expired"] += channel.expire(now)
        if channel.queue:
            self._dial(now, channel, None, None)
        else:
            self._close(channel, "")

    # Breaking

    def _send_into_cut(self, channel: Channel, message: Message, now: Nanos) -> None:
        """Onto an open connection whose path is cut in this direction, or in the other."""
        if channel.path.cut:
            self._stall(channel, message, now)
            return
        if channel.unheard_since is None:  # it arrives, its acknowledgement does not
            channel.unheard_since = now
            self._agenda.at(now + SILENCE_TIMEOUT, self._unheard, channel, channel.number)
        self._transmit(channel, message, now)

    def _unheard(self, now: Nanos, channel: Channel, number: int, _c: None) -> None:
        if channel.state is not State.OPEN or channel.number != number:
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
        self._agenda.at(now + min(channel.rto, SILENCE_TIMEOUT), self._retransmit, channel, channel.number)

    def _retransmit(self, now: Nanos, channel: Channel, number: int, _c: None) -> None:
        if channel.state is not State.STALLED or channel.number != number:
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
            self._agenda.at(min(now + channel.rto, give_up), self._retransmit, channel, number)
        else:
            channel.state = State.OPEN
            channel.unheard_since = None
            self._flush(channel, now)

    def _send_reset(self, now: Nanos, channel: Channel) -> None:
        """From the target's kernel to the source."""
        self._refresh(channel)
        if not channel.path.deaf and not channel.resetting:
            channel.resetting = True
            self._agenda.at(now + channel.path.rtt - channel.path.base, self._reset, channel, channel.number)

    def _reset(self, now: Nanos, channel: Channel, number: int, _c: None) -> None:
        if channel.state in (State.OPEN, State.STALLED) and channel.number == number:
            self._ended(now, channel, True, None)

    def _lose(self, channel: Channel, why: str) -> None:
        lost = channel.taken()
        if lost:
            self.drops[why] += len(lost)

    def _close(self, channel: Channel, why: str) -> None:
        """In good order: both ends know."""
        twin, channel.twin = channel.twin, None
        if twin is not None and twin.state is not State.CLOSED:
            twin.twin = None
            self._close(twin, why)
        self._lose(channel, why)
        channel.state = State.CLOSED
        ends = channel.source.accepted if channel.accepted else channel.source.channels
        if ends.get(channel.target.id) is channel:
            del ends[channel.target.id]
