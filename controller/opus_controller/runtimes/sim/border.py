"""Between the processes of one run: what hosts here do to hosts elsewhere, and the other way round.

    carry -> out, by process ─── once a window, as bytes ──▶ bring -> agenda, at its time and in its host's turn

An entry keeps the turn of the host that put it down, so the agenda there has it where it would have been if all hosts lived in
one process. Of hosts and connections it names the numbers: there are no objects that two processes share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from io import BytesIO
from operator import attrgetter
from pickle import Pickler, loads
from typing import Any, Final

from opus_node.core.types import Nanos

from opus_controller.runtimes.sim.agenda import Agenda, Handler
from opus_controller.runtimes.sim.channel import End
from opus_controller.runtimes.sim.fabric import Fabric
from opus_controller.runtimes.sim.host import Away, SimHost

Item = tuple[Nanos, int, int, int, int, int, bool, Any, Any]
"""(time, turn, handler's number, source's index, target's index, connection's number, whether its target has dialled, b, c)."""

_PROTOCOL: Final = 5


class Border:
    def __init__(self, agenda: Agenda, fabric: Fabric, places: Sequence[SimHost]) -> None:
        """`places`: of all hosts, in the plan's order."""
        self._agenda = agenda
        self._places = {place.plan.index: place for place in places}
        self._handlers = (fabric.datagrams.handler, *fabric.handlers)
        """A datagram's arguments are its hosts; those of all others begin with an `End`."""
        self._numbers = {handler: number for number, handler in enumerate(self._handlers)}
        self._out: dict[int, list[Item]] = {place.part: [] for place in places if isinstance(place, Away)}
        self.sent = 0
        """Entries for other processes."""
        fabric.abroad = self._take

    def _take(self, t: Nanos, turn: int, handler: Handler, a: Any, b: Any, c: Any) -> None:
        number = self._numbers[handler]
        if number:
            target = a.target
            item = (t, turn, number, a.source.plan.index, target.plan.index, a.number, a.accepted, b, c)
        else:
            target = b
            item = (t, turn, number, a.plan.index, target.plan.index, 0, False, None, c)
        self._out[target.part].append(item)

    def out(self, part: int) -> bytes:
        """What has gathered for a process."""
        items = self._out[part]
        self.sent += len(items)
        file = BytesIO()
        pickler = Pickler(file, _PROTOCOL)
        pickler.dispatch_table = _REDUCERS
        pickler.dump(items)
        items.clear()
        return file.getvalue()

    def bring(self, data: bytes) -> None:
        """What has come from one."""
        places, handlers, bring = self._places, self._handlers, self._agenda.bring
        items: list[Item] = loads(data)
        for t, turn, number, source, target, connection, accepted, b, c in items:
            assert t > self._agenda.now, "nothing comes from elsewhere before it is expected"
            if number:
                bring(t, turn, handlers[number], End(places[source], places[target], connection, accepted), b, c)
            else:
                bring(t, turn, handlers[number], places[source], places[target], c)


class _Reducers(dict[type, Callable[[Any], Any]]):
    """How dataclasses are pickled: as calls with their fields, which takes a third of the time of what they bring along."""

    def __missing__(self, cls: type) -> Callable[[Any], Any]:
        if not is_dataclass(cls):
            raise KeyError(cls)
        reducer = self[cls] = calling(cls)
        return reducer


def calling(cls: type) -> Callable[[Any], Any]:
    """Pickles one of a dataclass as a call with its fields."""
    names = [field.name for field in fields(cls)]
    if len(names) > 1:
        get = attrgetter(*names)
        return lambda value: (cls, get(value))
    return lambda value: (cls, tuple(getattr(value, name) for name in names))


_REDUCERS: Final = _Reducers()
