"""What a run leaves at a known place so that a fresh process can find, show and remove it.

    /run/opus/<run>/                 0711: nodes must reach their own directory, not list the others
        run.json                     `RunState`
        plan.json                    the plan
        network.json                 what hands have changed at the links (`opus link set`), `HandMade`
        faults.json events.ndjson    a testbed that stays: faults by hand (`opus fault`) that are in force, and all so far
        console.sock                 where the controller of the run hears hands
        lock                         held while the links or hosts are being changed
        observer-<pid>               a process that looks on (`opus observe`): its start time; it goes when the run goes
        hosts                        /etc/hosts for `opus exec`
        zygote.sock zygote.log       netns: the zygote; the links' own files lie beside
        keeper.log                   docker: the keeper of a testbed that stays up
        logs/                        <host>.log of `opus up` (those of `opus run` are in the run's directory)
        <host>/c.sock                the control socket; the directory 0700, owned by the host's node

A run is named by 8 hexadecimal digits. `run.json` is complete from the moment at which the directory can be seen: it is
written in a directory beside and renamed into place.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts.processes import Process

STATE_DIR = Path("/run/opus")
SOCKET = "c.sock"
CONSOLE = "console.sock"
SOCKET_PATH_MOST = 107
"""Bytes that a Unix socket's path may have (sun_path); gRPC refuses longer ones."""

UID_FIRST = 0x7000_0000
"""1,879,048,192 and up: no distribution gives these to users, subordinate ids, systemd services or its containers."""
UIDS_A_RUN = 1 << 16
_OBSERVER = "observer-"


@dataclass
class HostState:
    """One host of a run."""

    netns: str
    """Name under /run/netns."""
    uid: int
    control_dir: str
    log: str
    cgroups: list[str] = field(default_factory=list)
    node: Process | None = None
    container: str = ""
    """Its container's identity, if it is one."""
    incarnation: int = 0


@dataclass
class RunState:
    """run.json: everything of one run that outlives the process which started it."""

    run: str
    name: str
    """The plan's."""
    mode: Literal["run", "up"]
    """run: lives as long as its owner. up: lives until `opus down`."""
    owner: Process
    """The process that started it."""
    runtime: Literal["netns", "docker"] = "netns"
    engine: str = ""
    """Where the container engine listens (a URL), if hosts are containers."""
    links: str = ""
    """netem or userspace; empty before they exist."""
    zygote: Process | None = None
    keeper: Process | None = None
    """Of containers that stay up: the process that wires those again which are started anew."""
    record: str = ""
    """The run's directory (runs/...), if it has one."""
    hosts: dict[str, HostState] = field(default_factory=dict)
    cgroups: list[str] = field(default_factory=list)
    """The run's own directories in the cgroup file systems; hosts' are inside."""
    origin_ns: int = 0
    """CLOCK_MONOTONIC of the run's origin; 0 before the first boot."""

    @property
    def directory(self) -> Path:
        return STATE_DIR / self.run

    @property
    def console(self) -> Path:
        return self.directory / CONSOLE

    def alive(self) -> bool:
        """Whether somebody still wants it: its owner in mode run; in mode up its zygote or keeper, or its owner while it is
        being made."""
        if self.owner.alive():
            return True
        return self.mode == "up" and any(one is not None and one.alive() for one in (self.zygote, self.keeper))

    def save(self) -> None:
        """Put run.json in place in one step. FileNotFoundError if the run was removed meanwhile."""
        draft = self.directory / f"run.json.{os.getpid()}"
        draft.write_text(json.dumps(_plain(self)))
        draft.replace(self.directory / "run.json")

    def plan(self) -> Plan:
        return Plan.model_validate_json((self.directory / "plan.json").read_bytes())


def uid_of(run: str, index: int) -> int:
    """The unprivileged user that is a host's node: no two hosts of a run share one, two runs hardly ever do."""
    return UID_FIRST + (int(run, 16) % 4096) * UIDS_A_RUN + index


def make(
    plan: Plan,
    *,
    mode: Literal["run", "up"],
    record: Path | None,
    runtime: Literal["netns", "docker"] = "netns",
    run: str | None = None,
) -> RunState:
    """Make a run's state directory with all of its hosts' names in it, nothing of which exists yet.

    PlatformError if /run/opus cannot be written; ScenarioError if a host's name is too long for its socket's path.
    """
    run = run or namespaces.new_run()
    state = RunState(run, plan.name, mode, Process.own(), runtime, record=str(record.resolve()) if record else "")
    for host in plan.hosts:
        state.hosts[host.name] = _host_state(state, host.name, host.index)
    draft = STATE_DIR / f".new-{run}"
    try:
        draft.mkdir(parents=True)
        STATE_DIR.chmod(0o755)
        (draft / "run.json").write_text(json.dumps(_plain(state)))
        (draft / "plan.json").write_bytes(plan.canonical())
        (draft / "hosts").write_text(hosts_file(plan))
        (draft / "logs").mkdir()
        draft.chmod(0o711)
        draft.rename(state.directory)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise PlatformError(f"cannot write {STATE_DIR} ({error.strerror}); run as root, or use --runtime sim") from error
    return state


def _host_state(state: RunState, host: str, index: int) -> HostState:
    control = state.directory / host
    if len(os.fsencode(control / SOCKET)) > SOCKET_PATH_MOST:
        raise ScenarioError(f"host {host}: its name is too long for a socket's path ({control / SOCKET}); shorten the group's")
    logs = Path(state.record) / "logs" if state.record else state.directory / "logs"
    return HostState(
        namespaces.host_namespace(state.run, host), uid_of(state.run, index), str(control), str(logs / f"{host}.log")
    )


def hosts_file(plan: Plan) -> str:
    """/etc/hosts inside a host: every host by name."""
    return "127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in plan.hosts)


def load(run: str) -> RunState:
    """One run's state. ScenarioError if there is no such run."""
    try:
        return _state(json.loads((STATE_DIR / run / "run.json").read_text()))
    except FileNotFoundError:
        known = ", ".join(runs()) or "none"
        raise ScenarioError(f"no run {run!r} on this machine; there is: {known}") from None


def runs() -> list[str]:
    """Every run with a state directory, the youngest last. Ignores what is not named like a run."""
    try:
        entries = [entry for entry in os.scandir(STATE_DIR) if namespaces.parse(f"opus-{entry.name}.wan")]
    except FileNotFoundError:
        return []
    return [entry.name for entry in sorted(entries, key=lambda entry: (entry.stat().st_ctime_ns, entry.name))]


def everything() -> list[RunState]:
    """Every run's state, the youngest last; one that is being removed at this moment is left out."""
    found = []
    for run in runs():
        with suppress(ScenarioError):
            found.append(load(run))
    return found


def find(run: str | None) -> RunState:
    """The run that a person means: by its name or the beginning of it; the only living one if none is named.

    ScenarioError says what there is to choose from.
    """
    if run is not None:
        matching = [name for name in runs() if name.startswith(run)]
        return load(matching[0] if len(matching) == 1 else run)
    living = [state for state in everything() if state.alive()]
    if len(living) == 1:
        return living[0]
    if not living:
        raise ScenarioError("nothing is running; start a testbed with: opus up TOPOLOGY")
    raise ScenarioError("several runs are alive, name one: " + ", ".join(f"{state.run} ({state.name})" for state in living))


@contextmanager
def looking_on(state: RunState) -> Iterator[None]:
    """This process looks on: whoever takes the run down ends it, too. FileNotFoundError if the run is gone."""
    own = Process.own()
    note = state.directory / f"{_OBSERVER}{own.pid}"
    note.write_text(str(own.started))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def observers(directory: Path) -> list[Process]:
    """Who looks on at the run with this directory."""
    found = []
    for note in directory.glob(f"{_OBSERVER}*"):
        with suppress(OSError, ValueError):
            found.append(Process(int(note.name.removeprefix(_OBSERVER)), int(note.read_text())))
    return found


@contextmanager
def locked(state: RunState) -> Iterator[None]:
    """Only one process at a time changes a run's links or hosts."""
    with (state.directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _plain(state: RunState) -> dict[str, Any]:
    document = dict(vars(state))
    document["hosts"] = {name: {**vars(host), "node": _process(host.node)} for name, host in state.hosts.items()}
    document["owner"] = _process(state.owner)
    document["zygote"] = _process(state.zygote)
    document["keeper"] = _process(state.keeper)
    return document


def _process(process: Process | None) -> list[int] | None:
    return [process.pid, process.started] if process is not None else None


def _state(document: dict[str, Any]) -> RunState:
    hosts = {
        name: HostState(**{**host, "node": Process(*host["node"]) if host["node"] else None})
        for name, host in document["hosts"].items()
    }
    processes = {name: Process(*document[name]) if document[name] else None for name in ("owner", "zygote", "keeper")}
    return RunState(**{**document, "hosts": hosts, **processes})
