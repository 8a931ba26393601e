"""samples/metrics.ndjson: every reading of every target's metrics, kept as changes, so that it can be looked at later.

    {"target": "euw1-1", "labels": {"run": ..., "host": ..., ...}}       once, before its readings: Prometheus' target labels
    {"at": 1700000000.123, "target": "euw1-1", "took": 0.004,            a reading; `at` is Unix time
     "types": {"opus_requests_total": "counter"},                        of families not seen before
     "new": {"17": "opus_requests_total{app=\\"web\\"}"},                  series not seen before, by number
     "values": {"17": 3}, "gone": [4]}                                   what has changed since the reading before
    {"at": ..., "target": "euw1-1", "failed": "euw1-1 is dead"}          no answer: none of its series is any more

A value that is not repeated still holds. A host's reading costs a few hundred bytes in place of nine thousand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opus_controller.model.errors import ScenarioError


@dataclass
class _Target:
    numbers: dict[str, int] = field(default_factory=dict)
    """Series, as the text format writes it, to its number."""
    types: dict[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    """At the latest reading; empty after a failed one."""


class Archive:
    """Writes the file; a line at a time, flushed, so that what was read before a crash is there."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._targets: dict[str, _Target] = {}

    def target(self, name: str, labels: Mapping[str, str]) -> None:
        """To be called once, before its readings."""
        self._targets[name] = _Target()
        self._write({"target": name, "labels": dict(labels)})

    def reading(self, name: str, at: float, took: float, text: str) -> None:
        """`text` in the Prometheus text format."""
        target = self._targets[name]
        values, types = parse(text)
        line: dict[str, Any] = {"at": round(at, 3), "target": name, "took": round(took, 4)}
        if types.items() - target.types.items():
            line["types"] = dict(types.items() - target.types.items())
        new = [series for series in values if series not in target.numbers]
        if new:
            line["new"] = {str(len(target.numbers) + i): series for i, series in enumerate(new)}
            target.numbers.update({series: len(target.numbers) + i for i, series in enumerate(new)})
        changed = {str(target.numbers[s]): _short(v) for s, v in values.items() if target.values.get(s) != v}
        line["values"] = changed
        if gone := [target.numbers[series] for series in target.values if series not in values]:
            line["gone"] = gone
        target.values, target.types = values, types
        self._write(line)

    def failed(self, name: str, at: float, why: str) -> None:
        self._targets[name].values = {}
        self._write({"at": round(at, 3), "target": name, "failed": why})

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if not self._file.closed:  # a reading that was under way when the run ended
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._file.flush()


@dataclass(frozen=True)
class Reading:
    """One reading of one target, all of it."""

    at: float
    target: str
    labels: Mapping[str, str]
    up: bool
    took: float
    values: Mapping[str, float]
    """Series, as the text format writes it, to value. Read it before taking the next reading: it changes then."""
    types: Mapping[str, str]


def readings(path: Path) -> Iterator[Reading]:
    """In the order in which they were made. ScenarioError if there is no such file."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(
            f"{path} is missing: this run kept no metrics (the simulator has none, nor had runs of older releases)"
        ) from error
    labels: dict[str, dict[str, str]] = {}
    types: dict[str, dict[str, str]] = {}
    series: dict[str, dict[str, str]] = {}
    values: dict[str, dict[str, float]] = {}
    with file:
        for text in file:
            if not text.endswith("\n"):
                return  # cut short by a crash
            line = json.loads(text)
            name = line["target"]
            if "labels" in line:
                labels[name], types[name], series[name], values[name] = line["labels"], {}, {}, {}
                continue
            if "failed" in line:
                values[name].clear()
                yield Reading(line["at"], name, labels[name], False, 0.0, {}, types[name])
                continue
            types[name].update(line.get("types", {}))
            series[name].update(line.get("new", {}))
            for number in line.get("gone", ()):
                values[name].pop(series[name][str(number)], None)
            values[name].update({series[name][number]: float(value) for number, value in line["values"].items()})
            yield Reading(line["at"], name, labels[name], True, line["took"], values[name], types[name])


def parse(text: str) -> tuple[dict[str, float], dict[str, str]]:
    """Series to value, family to type, of text as our own exposition writes it: no timestamps, a value at each line's end."""
    values: dict[str, float] = {}
    types: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            types[name] = kind
        elif line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            values[series] = float(value)
    return values, types


def _short(value: float) -> float | int | str:
    """As few characters as hold it; JSON has no infinities."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
