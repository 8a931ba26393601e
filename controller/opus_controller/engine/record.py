"""A run's directory: what happened, as files that other tools can read, readable at every moment of the run.

    runs/<name>-<YYYYmmdd-HHMMSS>[-n]/
        plan.json               the plan, its canonical bytes
        run.json                runtime, links, versions, wall time, how it ended (replaced as a whole, never half written)
        events.ndjson           one `Record` a line, in the order the player received them (a node's own in order of t)
        samples/hosts.ndjson    {"t", "host", counters ...} (kind "sample" of the runtime's records)
        samples/health.ndjson   `Health`, field by field
        samples/metrics.ndjson  scraped metrics of hosts and controller (observe.archive); not in virtual time
        logs/<host>.log         what the host's process printed
        services/<digest>.tar   files of users' services, as shipped to their hosts
        inputs/                 the scenario, its topology and tables as they were (of several runs, once beside all of them)
    runs/latest                 symbolic link to the youngest

Append-only and flushed a batch at a time: after a crash of the controller everything but the last second is there, and
the last line may be cut short (`RecordReader` leaves it out).

`host` names the host by its name in the plan. Peers *inside* a record (agent, replica, members ...) are node identities,
that is emulated addresses; `RecordReader.name_of` maps them to names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from opus_controller.engine.runtime import Health, Record
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.plan import Plan

PLAN = "plan.json"
RUN = "run.json"
EVENTS = "events.ndjson"
HOST_SAMPLES = "samples/hosts.ndjson"
HEALTH_SAMPLES = "samples/health.ndjson"
METRICS_SAMPLES = "samples/metrics.ndjson"
LOGS = "logs"
SERVICES = "services"
INPUTS = "inputs"
MOST_INPUT = 64 << 20
"""Bytes of a file that is kept with a run."""


def files_of(directory: Path, digest: str) -> Path:
    """Where the record in `directory` keeps a service's files."""
    return directory / SERVICES / f"{digest}.tar"


class RunRecord:
    """Writes one run's directory. One writer; never reads back what it wrote."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        """Take the fresh, empty `directory` (see `create`) for this plan."""
        self.directory = directory
        (directory / "samples").mkdir(exist_ok=True)
        (directory / LOGS).mkdir(exist_ok=True)
        (directory / PLAN).write_bytes(plan.canonical())
        self._events = _append(directory / EVENTS)
        self._samples = _append(directory / HOST_SAMPLES)
        self._health = _append(directory / HEALTH_SAMPLES)
        self._run: dict[str, Any] = {
            "format": 1,
            "name": plan.name,
            "seed": plan.seed,
            "topology": plan.topology,
            "plan_digest": plan.digest,
            "started_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        self.about()

    @classmethod
    def create(cls, base: Path, plan: Plan, *, at: datetime | None = None) -> RunRecord:
        """Make `base`/<name>-<time>[-n] and point `base`/latest to it.

        Two runs that start in the same second get different directories: mkdir decides, not a look before it.
        Raises PlatformError when `base` cannot be written.
        """
        return cls(fresh_directory(base, plan.name, at=at), plan)

    @classmethod
    def at(cls, directory: Path, plan: Plan) -> RunRecord:
        """Take `directory` itself, made if it is missing. ScenarioError if there is something in it already."""
        empty_directory(directory)
        return cls(directory, plan)

    @property
    def scenario_path(self) -> str:
        """As `about` was told; empty if it was not."""
        return str(self._run.get("scenario_path", ""))

    def keep_files(self, digest: str, data: bytes) -> None:
        """A service's files, for the runtime to bring to the hosts that have them first."""
        path = files_of(self.directory, digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def events(self, records: Iterable[Record]) -> None:
        """Append to events.ndjson; records of kind "sample" go to samples/hosts.ndjson instead."""
        events: list[str] = []
        samples: list[str] = []
        for record in records:
            (samples if record["kind"] == "sample" else events).append(_line(record))
        _write(self._events, events)
        _write(self._samples, samples)

    def health(self, health: Health) -> None:
        _write(self._health, [_line(asdict(health))])

    def about(self, **facts: Any) -> None:
        """Add to run.json and put it in place in one step."""
        self._run.update(facts)
        draft = self.directory / (RUN + ".new")
        draft.write_text(json.dumps(self._run, indent=2, default=str) + "\n")
        draft.replace(self.directory / RUN)

    @property
    def logs(self) -> Path:
        """Where a runtime may put <host>.log files."""
        return self.directory / LOGS

    def close(self) -> None:
        for file in (self._events, self._samples, self._health):
            file.close()


class RecordReader:
    """Reads a run's directory, finished, running or broken off.

    Raises ScenarioError if `directory` is not one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self.plan = Plan.model_validate_json((directory / PLAN).read_bytes())
        except (OSError, ValueError) as error:
            raise ScenarioError(f"{directory}: not a run's directory ({PLAN} is missing or not a plan)") from error
        self._names = {host.address: host.name for host in self.plan.hosts}

    def about(self) -> dict[str, Any]:
        """run.json; empty if the run broke off before it was written."""
        try:
            content: dict[str, Any] = json.loads((self.directory / RUN).read_text())
        except (OSError, ValueError):
            return {}
        return content

    def events(self) -> Iterator[dict[str, Any]]:
        return _lines(self.directory / EVENTS)

    def samples(self) -> Iterator[dict[str, Any]]:
        return _lines(self.directory / HOST_SAMPLES)

    def health(self) -> Iterator[Health]:
        return (Health(**line) for line in _lines(self.directory / HEALTH_SAMPLES))

    def name_of(self, node: str) -> str:
        """The host's name for a node identity; the identity itself if the plan has no such host."""
        return self._names.get(node, node)


def fresh_directory(base: Path, name: str, *, at: datetime | None = None) -> Path:
    """Make `base`/<name>-<time>[-n] and point `base`/latest to it. PlatformError when `base` cannot be written."""
    stem = f"{re.sub('[^A-Za-z0-9._-]+', '-', name)}-{at or datetime.now():%Y%m%d-%H%M%S}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        directory = _fresh(base, stem)
        _point_latest(base, directory.name)
    except OSError as error:
        raise PlatformError(f"cannot write a run's directory under {base}: {error.strerror}; name another: --out") from error
    return directory


def empty_directory(directory: Path) -> None:
    """Make `directory` if it is missing. ScenarioError if there is something in it already."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise PlatformError(f"cannot write a run's directory at {directory}: {error.strerror}; name another: --out") from error
    if taken:
        raise ScenarioError(f"{directory} is not empty; a run's record is never overwritten: name another directory with --out")


def keep_inputs(files: Iterable[Path], directory: Path) -> None:
    """Copy the files that a plan was made of into `directory`/inputs: they may be edited later. Huge tables are left out."""
    place = directory / INPUTS
    try:
        place.mkdir()
        for k, file in enumerate(files):
            if file.stat().st_size <= MOST_INPUT:
                name = re.sub("[^A-Za-z0-9._-]+", "-", file.name).lstrip(".-") or "input"
                target = place / name
                shutil.copyfile(file, place / f"{k}-{name}" if target.exists() else target)
    except OSError as error:
        raise PlatformError(f"cannot keep {error.filename} in {place}: {error.strerror}") from error


def _append(path: Path) -> TextIO:
    return path.open("a", encoding="utf-8")


def _fresh(base: Path, stem: str) -> Path:
    attempt = 1
    while True:
        directory = base / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            directory.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return directory


def _point_latest(base: Path, name: str) -> None:
    """By rename, so that `latest` always points somewhere, even with two runs starting side by side."""
    draft = base / f".latest-{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(name)
    draft.replace(base / "latest")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def _write(file: TextIO, lines: list[str]) -> None:
    if lines:
        file.write("".join(lines))
        file.flush()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of an ndjson file; a last one cut short by a crash is left out."""
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
