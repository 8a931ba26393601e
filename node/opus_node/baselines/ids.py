"""Identifiers: a node's is the hash of its name, so no message needs to carry one; a key's is the hash of the application's.

60 bits in place of the papers' 128 or 160: they fit an int64 on the wire, are 15 hexadecimal digits, and among a million nodes
two are alike with a probability of 4 in ten million.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Final

from opus_node.core.types import AppId, NodeId

BITS: Final = 60
SPACE: Final = 1 << BITS
DIGIT: Final = 4
"""Bits of a digit: Pastry's b."""
DIGITS: Final = BITS // DIGIT

Identifier = int
"""Of a node or a key, in [0, SPACE)."""


@lru_cache(maxsize=1 << 17)
def of_node(node: NodeId) -> Identifier:
    return _hash(node)


@lru_cache(maxsize=1 << 10)
def of_app(app: AppId) -> Identifier:
    return _hash(f"application {app}")


def _hash(text: str) -> Identifier:
    return int.from_bytes(sha1(text.encode(), usedforsecurity=False).digest()[:8], "big") >> (64 - BITS)


def clockwise(start: Identifier, end: Identifier) -> int:
    """How far `end` lies ahead of `start` on the ring."""
    return (end - start) % SPACE


def around(one: Identifier, other: Identifier) -> int:
    """The shorter way between two on the ring."""
    ahead = (other - one) % SPACE
    return min(ahead, SPACE - ahead)


def shared_digits(one: Identifier, other: Identifier) -> int:
    """Leading digits that two have in common."""
    differ = one ^ other
    return DIGITS if not differ else (BITS - differ.bit_length()) // DIGIT


def digit(identifier: Identifier, place: int) -> int:
    """The digit at `place`, 0 the first."""
    return (identifier >> (BITS - DIGIT * (place + 1))) & ((1 << DIGIT) - 1)
