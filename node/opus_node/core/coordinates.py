"""Network coordinates: where a node is, so that round trips to nodes it never measured can be guessed.

Vivaldi with heights (Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004): four dimensions, a height for the access link, an error
estimate that weighs whom to believe. Each round trip pulls or pushes the node along the line to its peer. Every peer's round
trips pass a short median filter first (Ledlie, Gardner, Seltzer, NSDI 2007; Serf does the same), since one late answer would
throw the node far.

A place travels as one integer of 56 bits, eight bytes on the wire:

    4 x 11 bits  a coordinate each, in steps of half a millisecond, from -512 ms on
    7 bits       height in ms
    5 bits       error in steps of 1/20

The guess is weak where the network is no space: in real matrices one triple in twenty breaks the triangle inequality. It orders
whom to measure; it does not replace measuring.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from math import hypot, sqrt
from typing import Final

from opus_node.core.types import MILLISECOND, Nanos, NodeId

Place = int
"""A packed coordinate; 0: not known."""

DIMENSIONS = 4
GAIN = 0.25
"""Vivaldi's c_c and c_e: the greatest share of an error that one round trip corrects."""
ERROR_MOST = 1.5
HEIGHT_LEAST: Final = 0.1
"""ms."""
FILTER = 3
"""Round trips of one peer whose median counts."""
FILTERED = 32
"""Peers whose last round trips are kept, with KNOWN_AGENTS ways in; with fewer, fewer: these are who is measured often."""
KNOWN_AGENTS = 14
_RTT_BITS = 40
"""Of a round trip in `Position._recent`: up to 18 minutes."""
_RTT = (1 << _RTT_BITS) - 1
_ROW_BITS = _RTT_BITS * FILTER
_ROW = _ROW_BITS // 8

_STEP: Final = 0.5
_AXIS_BITS: Final = 11
_HEIGHT_BITS: Final = 7
_ERROR_BITS: Final = 5
_FOURTH: Final = _HEIGHT_BITS + _ERROR_BITS
"""Where an axis begins."""
_THIRD: Final = _FOURTH + _AXIS_BITS
_SECOND: Final = _THIRD + _AXIS_BITS
_FIRST: Final = _SECOND + _AXIS_BITS
_AXIS_MOST: Final = (1 << _AXIS_BITS) - 1
_MIDDLE: Final = 1 << (_AXIS_BITS - 1)
_HEIGHT_MOST: Final = (1 << _HEIGHT_BITS) - 1
_ERROR_MOST: Final = (1 << _ERROR_BITS) - 1
_ERROR_STEP: Final = 0.05


class Position:
    """This node's own."""

    __slots__ = ("_at", "_most", "_peers", "_recent", "_where", "error", "height", "samples")

    def __init__(self, known_agents: int = KNOWN_AGENTS) -> None:
        self._most = max(FILTER, FILTERED * known_agents // KNOWN_AGENTS)
        self._where = (0.0,) * DIMENSIONS
        """ms."""
        self.height = HEIGHT_LEAST
        """ms."""
        self.error = ERROR_MOST
        """Relative error that this node expects of guesses from here."""
        self.samples = 0
        self._at: Place = 0
        self._peers: tuple[NodeId, ...] = ()
        """Whose last round trips are kept, the latest to answer last ..."""
        self._recent = b""
        """... and these, in the same order: of each FILTER at most, one beside the other in one integer of _ROW bytes, the latest
        in the lowest bits. Every node has them; a dictionary of integers would be three times as large."""

    @property
    def at(self) -> Place:
        """What to tell others; 0 before the first round trip."""
        if not self._at and self.samples:
            self._at = pack(self._where, self.height, self.error)
        return self._at

    def sample(self, peer: NodeId, rtt: Nanos, at: Place) -> None:
        """A warm round trip (no dial in it) to a peer that says it is `at`."""
        if rtt <= 0:
            return
        measured = self._filtered(peer, rtt) / MILLISECOND
        self._at = 0
        if not at:  # the first of all nodes has nobody to go by
            self.samples += 1
            return
        there, height, error = unpack(at)
        away = [mine - theirs for mine, theirs in zip(self._where, there, strict=True)]
        distance = sqrt(sum((axis * axis for axis in away), 0.0))
        guess = distance + self.height + height
        weight = self.error / (self.error + max(error, _ERROR_STEP))
        self.error += GAIN * weight * (min(abs(guess - measured) / measured, ERROR_MOST) - self.error)
        force = GAIN * weight * (measured - guess)
        if distance < _STEP / 2:  # on the same spot: any direction will do
            away = _direction(peer)
            distance = sqrt(sum((axis * axis for axis in away), 0.0))
        else:
            self.height = max(HEIGHT_LEAST, self.height + force * (self.height + height) / guess)
        self._where = tuple([mine + force * axis / distance for mine, axis in zip(self._where, away, strict=True)])
        self.samples += 1

    def _filtered(self, peer: NodeId, rtt: Nanos) -> Nanos:
        peers, recent, kept = self._peers, self._recent, min(rtt, _RTT)
        if peer in peers:
            place = peers.index(peer)
            peers = peers[:place] + peers[place + 1 :]
            place *= _ROW
            before = int.from_bytes(recent[place : place + _ROW], "big")
            kept |= before << _RTT_BITS & ((1 << _ROW_BITS) - 1)
            recent = recent[:place] + recent[place + _ROW :]
        elif len(peers) == self._most:
            peers, recent = peers[1:], recent[_ROW:]
        self._peers = (*peers, peer)
        self._recent = recent + kept.to_bytes(_ROW, "big")
        known = []
        while kept:
            known.append(kept & _RTT)
            kept >>= _RTT_BITS
        known.sort()
        return known[(len(known) - 1) // 2]


def _direction(peer: NodeId) -> list[float]:
    """One a name, no two alike, never nowhere."""
    return [byte - 127.5 for byte in blake2b(peer.encode(), digest_size=DIMENSIONS).digest()]


def pack(where: Iterable[float], height: float, error: float) -> Place:
    """Rounded, and cut off at what the bits can hold. Never 0."""
    place = 0
    for axis in where:
        place = place << _AXIS_BITS | min(max(round(axis / _STEP) + _MIDDLE, 0), _AXIS_MOST)
    place = place << _HEIGHT_BITS | min(max(round(height), 0), _HEIGHT_MOST)
    return place << _ERROR_BITS | min(max(round(error / _ERROR_STEP), 1), _ERROR_MOST)


def unpack(place: Place) -> tuple[list[float], float, float]:
    """(coordinates in ms, height in ms, error). Any integer is some place: what a peer sends is not trusted to be one of ours."""
    where = [
        ((place >> _FIRST & _AXIS_MOST) - _MIDDLE) * _STEP,
        ((place >> _SECOND & _AXIS_MOST) - _MIDDLE) * _STEP,
        ((place >> _THIRD & _AXIS_MOST) - _MIDDLE) * _STEP,
        ((place >> _FOURTH & _AXIS_MOST) - _MIDDLE) * _STEP,
    ]
    return where, _height(place), max((place & _ERROR_MOST) * _ERROR_STEP, _ERROR_STEP)


@lru_cache(maxsize=1 << 13)
def unpacked(place: Place) -> tuple[tuple[float, ...], float]:
    """(coordinates in ms, height in ms), remembered: for few places, each compared with all others."""
    where, height, _ = unpack(place)
    return tuple(where), height


def between(one: Place, other: Place) -> float:
    """ms of a round trip between two known places, as far as they tell."""
    return _straight(one, other) + _height(one) + _height(other)


def shift(one: Place, other: Place) -> float:
    """ms from one known place to another of the same host."""
    return _straight(one, other) + abs(_height(one) - _height(other))


def _height(place: Place) -> float:
    """ms."""
    return float(place >> _ERROR_BITS & _HEIGHT_MOST) or HEIGHT_LEAST


def _straight(one: Place, other: Place) -> float:
    """ms between the coordinates alone.

    From the bits: of a million hosts no cache remembers the places, and the middle is the same in both.
    """
    return _STEP * hypot(
        (one >> _FIRST & _AXIS_MOST) - (other >> _FIRST & _AXIS_MOST),
        (one >> _SECOND & _AXIS_MOST) - (other >> _SECOND & _AXIS_MOST),
        (one >> _THIRD & _AXIS_MOST) - (other >> _THIRD & _AXIS_MOST),
        (one >> _FOURTH & _AXIS_MOST) - (other >> _FOURTH & _AXIS_MOST),
    )


def expected(one: Place, other: Place) -> Nanos:
    """The round trip between two places as far as they tell; 0 where either is not known."""
    if not one or not other:
        return 0
    return int(between(one, other) * MILLISECOND)


def certain(place: Place) -> bool:
    """Whether whoever is there has measured enough for a guess from there to be worth something (half of it wrong at most)."""
    return bool(place) and (place & _ERROR_MOST) * _ERROR_STEP <= 0.5
