"""The container engine: found, judged fit for our purpose, and spoken with in the few words that a run needs.

Hosts' networks are wired by this machine's kernel into namespaces of this machine's processes, so only an engine whose
containers are processes of this machine will do: one behind a Unix socket, with root, without a virtual machine or user
namespaces of its own in between. The last is seen when the first container runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions

from opus_controller.model.errors import PlatformError
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts.shortage import MemoryInUse

RUN_LABEL = "opus.run"
HOST_LABEL = "opus.host"
APP_LABEL = "opus.app"
"""Of a user's container beside its host's own."""
START_LABEL = "opus.start"
"""Of such a one: the host's incarnation, and which start of the service in it."""
DEFAULT_URL = "unix:///var/run/docker.sock"
ANSWER_S = 60
PROBE_S = 15
"""To find out whether an engine answers at all."""
CONNECTIONS = 16
"""Kept at most: hosts are started several at a time."""
_IN_USE = "unable to set memory limit to"
"""What runc says where the kernel answers EBUSY."""

_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


def engine_url() -> str:
    """Where the engine is looked for: DOCKER_HOST as for the docker command, or its usual place."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_URL


def why_unusable(url: str) -> str:
    """Why no engine can be at `url`, as far as that is seen without asking it; empty if there may be one."""
    if not url.startswith("unix://"):
        return f"the container engine {url} is not on this machine; hosts are wired by this machine's kernel: unset DOCKER_HOST"
    if not Path(url.removeprefix("unix://")).exists():
        return f"no container engine at {url}; start one: systemctl start docker (apt-get install docker.io)"
    return ""


@dataclass(frozen=True)
class Seen:
    """A container, as the engine sees it."""

    identity: str
    name: str
    running: bool
    paused: bool
    pid: int
    """Of its first process; 0: none."""
    exit_status: int
    """Negative for a signal, as os.waitstatus_to_exitcode has it."""
    out_of_memory: bool
    """Something in it has been killed because its memory was used up."""
    error: str
    """Why it could not be started."""


class Engine:
    """One engine. Every method blocks and raises PlatformError, saying what the engine said, unless told otherwise."""

    def __init__(self, url: str, client: docker.DockerClient, facts: dict[str, Any]) -> None:
        self.url = url
        self.client = client
        self.version: str = facts.get("ServerVersion", "")
        self.cores: int = facts.get("NCPU", os.cpu_count() or 1)
        self.storage: str = facts.get("Driver", "")
        self.unable = [name for name, fact in (("cpu", "CpuCfsQuota"), ("memory", "MemoryLimit")) if facts.get(fact) is False]
        """What it cannot limit on this machine."""

    @classmethod
    def find(cls, url: str = "") -> Engine:
        """The engine at `url`, or where the environment says. PlatformError tells what is missing and what mends it."""
        url = url or engine_url()
        if why := why_unusable(url):
            raise PlatformError(why)
        try:
            client = docker.DockerClient(base_url=url, timeout=PROBE_S, max_pool_size=CONNECTIONS)
            facts = client.info()
            client.api.timeout = ANSWER_S
        except _ERRORS as error:
            if "Permission denied" in str(error):
                raise PlatformError(f"the container engine at {url} may not be spoken with; run as root") from error
            raise PlatformError(f"no container engine answers at {url}; start one: systemctl start docker") from error
        options = facts.get("SecurityOptions") or []
        if unfit := [kind for kind in ("rootless", "userns") if any(f"name={kind}" in option for option in options)]:
            raise PlatformError(
                f"the container engine at {url} runs with {unfit[0]}: hosts' networks cannot be wired into its containers; "
                "use an engine of root's without user namespaces, or --runtime netns"
            )
        return cls(url, client, facts)

    # --- containers ---

    def create(self, image: str, name: str, options: dict[str, Any]) -> str:
        """Make a container; its identity."""
        with _spoken(f"create container {name}"):
            return str(self.client.containers.create(image, name=name, **options).id)

    def start(self, identity: str) -> None:
        with _spoken(f"start container {identity[:12]}"):
            self.client.api.start(identity)

    def see(self, identity: str) -> Seen | None:
        """None if there is no such container."""
        try:
            with _spoken(f"inspect container {identity[:12]}"):
                return _seen(self.client.api.inspect_container(identity))
        except PlatformError as error:
            if isinstance(error.__cause__, docker.errors.NotFound):
                return None
            raise

    def stop(self, identity: str, grace_s: int) -> None:
        """Its stop signal, and SIGKILL after a while; no error if it has ended or is gone."""
        try:
            with _spoken(f"stop container {identity[:12]}"):
                self.client.api.stop(identity, timeout=grace_s)
        except PlatformError as error:
            if not isinstance(error.__cause__, docker.errors.NotFound):
                raise

    def of_run(self, run: str) -> dict[str, Seen]:
        """The run's hosts' containers, running or not: those that carry both its labels and exactly its names."""
        return {host: seen for of, host, app, seen in self._labelled(run) if of == run and not app}

    def beside(self, run: str) -> dict[tuple[str, str], Seen]:
        """Users' containers beside the run's hosts, by host and application, known like them."""
        return {(host, app): seen for of, host, app, seen in self._labelled(run) if of == run and app}

    def runs(self) -> dict[str, list[str]]:
        """Every run with containers: run to names."""
        found: dict[str, list[str]] = {}
        for run, _, _, seen in self._labelled(None):
            found.setdefault(run, []).append(seen.name)
        return found

    def label(self, identity: str, name: str) -> str:
        """A container's label; empty if it has none."""
        with _spoken(f"inspect container {identity[:12]}"):
            return str((self.client.api.inspect_container(identity)["Config"]["Labels"] or {}).get(name, ""))

    # --- images ---

    def has_image(self, name: str) -> bool:
        try:
            with _spoken(f"inspect image {name}"):
                self.client.images.get(name)
        except PlatformError as error:
            if isinstance(error.__cause__, docker.errors.ImageNotFound):
                return False
            raise
        return True

    def lacking(self, image: str, programs: Iterable[str]) -> list[str]:
        """Those of the programs that are not in an image which has a shell."""
        words = list(programs)
        script = 'for each in "$@"; do command -v "$each" >/dev/null || echo "$each"; done'
        with _spoken(f"look into image {image}"):
            said: bytes = self.client.containers.run(
                image, ["-c", script, "sh", *words], entrypoint="sh", remove=True, network_mode="none", read_only=True
            )
        return [word for word in words if word in said.decode().splitlines()]

    def pause(self, identity: str, *, paused: bool) -> None:
        """No error if it is so already, or the container has ended."""
        try:
            (self.client.api.pause if paused else self.client.api.unpause)(identity)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409, 500):
                raise PlatformError(f"the container engine could not pause or resume {identity[:12]}: {_words(error)}") from error

    def limit(self, identity: str, nano_cpus: int, memory: int) -> None:
        """Leave a container so much, also over its restarts (`docker update`); no error if it is gone. MemoryInUse where the
        kernel refuses, since more is in use (control groups v1)."""
        api = self.client.api  # whose own method cannot change what was given as nano_cpus
        limits = {"NanoCpus": nano_cpus, "Memory": memory, "MemorySwap": memory}
        with _spoken(f"limit container {identity[:12]}"):
            answer = api.post(f"{api.base_url}/containers/{identity}/update", json=limits, timeout=ANSWER_S)
            if answer.status_code not in (200, 404):
                message = str(answer.json().get("message"))
                if _IN_USE in message:
                    raise MemoryInUse("more is in use")
                raise docker.errors.APIError("refused", response=answer, explanation=message)

    def remove(self, identity: str) -> None:
        """Kill and remove; no error if it is gone."""
        try:
            with _spoken(f"remove container {identity[:12]}"):
                self.client.api.remove_container(identity, force=True, v=True)
        except PlatformError as error:
            if not isinstance(error.__cause__, docker.errors.NotFound) and "already in progress" not in str(error):
                raise

    def logs(self, identity: str, *, tail: int | None = None) -> bytes:
        """What its processes printed, or the last lines of it; nothing if it is gone."""
        try:
            with _spoken(f"read the log of {identity[:12]}"):
                return bytes(self.client.api.logs(identity, tail="all" if tail is None else tail))
        except PlatformError:
            return b""

    def follow(self, identity: str) -> Iterator[bytes]:
        """What its processes printed and will print, until the container ends."""
        with _spoken(f"read the log of {identity[:12]}"):
            yield from self.client.api.logs(identity, stream=True, follow=True)

    def events(self, run: str) -> Any:
        """The open stream of events of a run's containers: iterate it, `close()` ends it."""
        with _spoken("watch its events"):
            filters = {"type": "container", "label": f"{RUN_LABEL}={run}"}
            return self.client.api.events(decode=True, filters=filters)

    def close(self) -> None:
        self.client.close()

    def _labelled(self, run: str | None) -> Iterable[tuple[str, str, str, Seen]]:
        """(run, host, application or none, container), of containers whose labels and name say the same."""
        label = RUN_LABEL if run is None else f"{RUN_LABEL}={run}"
        with _spoken("list its containers"):
            summaries = self.client.api.containers(all=True, filters={"label": label})
        for summary in summaries:
            labels = summary.get("Labels") or {}
            name = next((name.removeprefix("/") for name in summary.get("Names") or ()), "")
            parsed = namespaces.parse(name)
            of, host, app = (labels.get(label, "") for label in (RUN_LABEL, HOST_LABEL, APP_LABEL))
            named = f"{host}.{app}" if app else host
            if parsed is not None and host and (of, named) == (parsed.run, parsed.host):
                state = summary["State"]
                running, paused = state in ("running", "paused"), state == "paused"
                yield of, host, app, Seen(summary["Id"], name, running, paused, 0, 0, False, "")


def _seen(document: dict[str, Any]) -> Seen:
    state = document["State"]
    code = int(state.get("ExitCode", 0))
    return Seen(
        identity=document["Id"],
        name=document["Name"].removeprefix("/"),
        running=bool(state["Running"]) and int(state["Pid"]) > 0,
        paused=bool(state["Paused"]),
        pid=int(state["Pid"]),
        exit_status=128 - code if 128 < code < 193 else code,  # a shell's way of telling signals, and docker-init's
        out_of_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
    )


@contextmanager
def _spoken(what: str) -> Iterator[None]:
    """Whatever goes wrong in speaking with the engine becomes one line."""
    try:
        yield
    except _ERRORS as error:
        raise PlatformError(f"the container engine could not {what}: {_words(error)}") from error


def _words(error: BaseException) -> str:
    explanation = getattr(error, "explanation", None) or str(error) or type(error).__name__
    if isinstance(error, (requests.exceptions.ConnectionError, requests.exceptions.Timeout)):
        return "it does not answer any more"
    return " ".join(str(explanation).split())
