"""Puts a run's samples into a Prometheus' data, at the times when they were taken: a run of long ago, or of another machine.

samples/metrics.ndjson -> OpenMetrics text -> `promtool tsdb create-blocks-from openmetrics` -> blocks in the data directory.
A Prometheus that runs on that directory takes them up by itself, within about a minute. Doing it twice does no harm: samples
of the same series and time are the same sample.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opus_controller.engine.record import METRICS_SAMPLES
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.observe.archive import readings
from opus_controller.observe.prometheus import MEND

_SUFFIXES = ("_bucket", "_sum", "_count")
_LE = re.compile(r'\ble="[^"]*",')
_SELF = {"up": "gauge", "scrape_duration_seconds": "gauge"}
"""What Prometheus itself adds to every scrape."""


@dataclass(frozen=True)
class Filled:
    """What was put where."""

    series: int
    samples: int
    start: float
    """Unix time of the first sample."""
    end: float


@dataclass
class _Series:
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


def backfill(run: Path, data: Path) -> Filled:
    """Put the samples of the run in directory `run` into the Prometheus data directory `data`, made if it is missing.

    ScenarioError if the run kept none; PlatformError if promtool is missing or will not have them.
    """
    if shutil.which("promtool") is None:
        raise PlatformError(f"promtool is missing: {MEND}")
    if not _looks_like_data(data):
        raise ScenarioError(f"{data} is no Prometheus data directory (what --storage.tsdb.path names), nor empty, nor new")
    collected = _collect(run / METRICS_SAMPLES)
    series = [one for family in collected.families.values() for one in family.values()]
    if not series:
        raise ScenarioError(f"{run / METRICS_SAMPLES}: no metrics were read in this run")
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".om", dir=data.parent, encoding="utf-8") as file:
            file.writelines(_lines(collected))
            file.flush()
            _create_blocks(Path(file.name), data)
    except OSError as error:
        raise PlatformError(f"cannot write {error.filename or data}: {error.strerror}") from error
    starts, ends = [one.times[0] for one in series], [one.times[-1] for one in series]
    return Filled(len(series), sum(len(one.times) for one in series), min(starts), max(ends))


def openmetrics(path: Path) -> Iterator[str]:
    """The lines of samples/metrics.ndjson as OpenMetrics text with timestamps, whole families together."""
    return _lines(_collect(path))


@dataclass
class _Collected:
    types: dict[str, str] = field(default_factory=lambda: dict(_SELF))
    """Family to its type."""
    families: dict[str, dict[str, _Series]] = field(default_factory=dict)
    """Family to series (name and all labels) to samples in order of time."""


def _collect(path: Path) -> _Collected:
    collected = _Collected()
    for reading in readings(path):
        suffix = _labels(reading.labels)
        collected.types.update(reading.types)
        own = {"up": float(reading.up), **({"scrape_duration_seconds": reading.took} if reading.up else {})}
        for written, value in (*own.items(), *reading.values.items()):
            name, _, labels = written.partition("{")
            family = collected.families.setdefault(_family(name, collected.types), {})
            inner = labels[:-1] + "," if labels else ""
            one = family.setdefault(f"{name}{{{inner}{suffix}}}", _Series())
            if not one.times or reading.at > one.times[-1]:  # two readings within the same millisecond are one
                one.times.append(reading.at)
                one.values.append(value)
    return collected


def _lines(collected: _Collected) -> Iterator[str]:
    for family, series in sorted(collected.families.items()):
        kind = collected.types.get(family, "unknown")
        yield f"# TYPE {family.removesuffix('_total') if kind == 'counter' else family} {kind}\n"
        for group in _groups(series).values():
            points = [
                (at, number, name, value)
                for number, name in enumerate(group)
                for at, value in zip(series[name].times, series[name].values, strict=True)
            ]
            for at, _, name, value in sorted(points):
                yield f"{name} {value!r} {at:.3f}\n"
    yield "# EOF\n"


def _groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Series that are one metric by OpenMetrics' rules, which has its points in order of time: a histogram's buckets, say."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_LE.sub("", name.partition("{")[2]), []).append(name)
    return groups


def _family(name: str, types: Mapping[str, str]) -> str:
    """Of a histogram's or summary's samples the metric they belong to."""
    for suffix in _SUFFIXES:
        base = name.removesuffix(suffix)
        if base != name and types.get(base) in ("histogram", "summary"):
            return base
    return name


def _labels(labels: Mapping[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())


def _create_blocks(text: Path, data: Path) -> None:
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise PlatformError(f"promtool would not have the samples: {said[-1] if said else f'exit code {done.returncode}'}")


def _looks_like_data(path: Path) -> bool:
    """Whether blocks may be put there: a Prometheus data directory, an empty one, or none yet."""
    if not path.exists():
        return True
    known = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}|wal|chunks_head|lock|queries\.active")
    return path.is_dir() and all(known.fullmatch(entry.name) for entry in path.iterdir())
