"""Questions and answers as the one message that carries them, `messages.Data`, and back.

What a peer of another version, or a faulty one, sends may say nothing: it is None then, as if it had been lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opus_node.core.data.cells import (
    EMPTY,
    Accept,
    Accepted,
    Cell,
    Cells,
    Copied,
    Copy,
    Elsewhere,
    Fetch,
    Get,
    Got,
    Greet,
    Greeted,
    Install,
    Installed,
    News,
    Outbid,
    Part,
    Peer,
    Prepare,
    Promised,
    Pull,
    Put,
    Refused,
    Renew,
    Renewed,
    Retire,
    Said,
    Settled,
    Spread,
    Stored,
    Taken,
)
from opus_node.core.messages import Data, Held
from opus_node.core.types import AppId

INSIDE, SEALED = 1, 2


def packed(app: AppId, said: Said, shard: int = 0) -> Data:
    found = _packed(app, said)
    return replace(found, shard=shard) if shard else found


def _packed(app: AppId, said: Said) -> Data:
    kind = type(said).__name__.lower()
    match said:
        case Get(number, op, key):
            return Data(app, kind, number, op, key)
        case Put(number, op, key, cell):
            return Data(app, kind, number, op, key, cells=_held({key: cell}))
        case Got(number, op, cell):
            return Data(app, kind, number, op, cells=_held({"": cell}))
        case Settled(number, key, tag):
            return Data(app, kind, number, key=key, cells=(Held("", tag, b""),))
        case Renew(number, op, since):
            return Data(app, kind, number, op, count=since)
        case Renewed(number, op, count, cells, last):
            return Data(app, kind, number, op, cells=_held(cells), count=count, more=not last)
        case Stored(number, op) | Refused(number, op):
            return Data(app, kind, number, op)
        case Prepare(number, ballot) | Outbid(number, ballot):
            return Data(app, kind, number, ballots=(ballot,))
        case Promised(number, ballot, accepted, size):
            before = () if accepted is None else (accepted,)
            ballots = (ballot, *(other for other, _ in before))
            return Data(app, kind, number, ballots=ballots, configs=tuple(following for _, following in before), count=size)
        case Accept(number, ballot, following):
            return Data(app, kind, number, ballots=(ballot,), configs=(following,))
        case Accepted(number, ballot, left):
            return Data(app, kind, number, ballots=(ballot,), spans=left)
        case Install(config, givers, quorum):
            return Data(app, kind, configs=(config,), peers=tuple(Peer(node, 0) for node in givers), count=quorum)
        case Copy(number, givers, quorum):
            return Data(app, kind, number, peers=tuple(Peer(node, 0) for node in givers), count=quorum)
        case Fetch(number, count):
            return Data(app, kind, number, count=count)
        case Part(number, giver, since, count, last, inside, sealed, cells):
            op, held = inside * INSIDE + sealed * SEALED, _held(cells)
            return Data(app, kind, number, op, peers=(giver,), cells=held, count=count, spans=(since,), more=not last)
        case Installed(number) | Copied(number):
            return Data(app, kind, number)
        case Retire(config) | Elsewhere(config):
            return Data(app, kind, configs=(config,))
        case Greeted(peer, config):
            return Data(app, kind, peers=(peer,), configs=() if config is None else (config,))
        case Greet():
            return Data(app, kind)
        case Pull(life, since):
            return Data(app, kind, life, count=since)
        case News(life, count, ready, last, cells):
            return Data(app, kind, life, op=int(ready), cells=_held(cells), count=count, more=not last)
        case Spread(op, cells):
            return Data(app, kind, op=op, cells=_held(cells))
        case Taken(op):
            return Data(app, kind, op=op)


def unpacked(data: Data) -> Said | None:
    """None: nothing that this version understands."""
    read = _READERS.get(data.kind)
    try:
        return None if read is None else read(data)
    except IndexError:
        return None  # it lacks what its kind has


def _held(cells: Cells) -> tuple[Held, ...]:
    return tuple(Held(key, cell.tag, cell.value) for key, cell in cells.items() if cell.value is not None)


def _cells(data: Data) -> dict[str, Cell]:
    return {one.key: Cell(one.tag, one.value) for one in data.cells if one.tag.count > 0}


def _promised(data: Data) -> Promised:
    accepted = (data.ballots[1], data.configs[0]) if len(data.ballots) > 1 else None
    return Promised(data.number, data.ballots[0], accepted, data.count)


def _part(data: Data) -> Part:
    inside, sealed = data.op & INSIDE > 0, data.op & SEALED > 0
    return Part(data.number, data.peers[0], data.spans[0], data.count, not data.more, inside, sealed, _cells(data))


_READERS: dict[str, Callable[[Data], Any]] = {
    "get": lambda data: Get(data.number, data.op, data.key),
    "put": lambda data: Put(data.number, data.op, data.key, _cells(data).get(data.key, EMPTY)),
    "got": lambda data: Got(data.number, data.op, _cells(data).get("", EMPTY)),
    "settled": lambda data: Settled(data.number, data.key, data.cells[0].tag),
    "renew": lambda data: Renew(data.number, data.op, data.count),
    "renewed": lambda data: Renewed(data.number, data.op, data.count, _cells(data), not data.more),
    "stored": lambda data: Stored(data.number, data.op),
    "refused": lambda data: Refused(data.number, data.op),
    "greet": lambda data: Greet(),
    "greeted": lambda data: Greeted(data.peers[0], data.configs[0] if data.configs else None),
    "prepare": lambda data: Prepare(data.number, data.ballots[0]),
    "promised": _promised,
    "accept": lambda data: Accept(data.number, data.ballots[0], data.configs[0]),
    "accepted": lambda data: Accepted(data.number, data.ballots[0], data.spans),
    "outbid": lambda data: Outbid(data.number, data.ballots[0]),
    "install": lambda data: Install(data.configs[0], tuple(one.node for one in data.peers), data.count),
    "installed": lambda data: Installed(data.number),
    "fetch": lambda data: Fetch(data.number, data.count),
    "copy": lambda data: Copy(data.number, tuple(one.node for one in data.peers), data.count),
    "copied": lambda data: Copied(data.number),
    "part": _part,
    "retire": lambda data: Retire(data.configs[0]),
    "pull": lambda data: Pull(data.number, data.count),
    "news": lambda data: News(data.number, data.count, data.op != 0, not data.more, _cells(data)),
    "spread": lambda data: Spread(data.op, _cells(data)),
    "taken": lambda data: Taken(data.op),
    "elsewhere": lambda data: Elsewhere(data.configs[0]),
}
