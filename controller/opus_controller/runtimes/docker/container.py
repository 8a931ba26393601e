"""A host's container: what it may do, what it may use, and the little of this machine that it sees.

No network of the engine's, no capability, no way to gain one, nothing to write to but a tmpfs and the directory of its control
socket, an unprivileged user that nobody else is; memory, processor and number of processes bounded by its abilities.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker.types

from opus_controller.model.plan import Host, Service
from opus_controller.model.shapes import HostChange
from opus_controller.runtimes.docker.engine import APP_LABEL, HOST_LABEL, RUN_LABEL, START_LABEL
from opus_controller.runtimes.hosts.nodes import NODE_PORT
from opus_controller.runtimes.hosts.state import HostState

CONTROL_DIR = "/run/opus"
"""Inside."""
MEMORY_LEAST = 64 << 20
"""No limit is set below this: a node with an interpreter of its own takes about 40 MB, and some more when it starts."""
CPU_LEAST = 0.01
"""Cores: the engine takes no less."""
FILES_MOST = 4096
TMPFS_MOST = 64 << 20
"""Counts as the host's memory as far as it is used."""
LOG_MOST = "8m"
"""Of each of two files of a container's log, kept by the engine."""


def options(run: str, host: Host, state: HostState, hosts_file: Path, cores: int) -> dict[str, Any]:
    """Of the host's own container: arguments of the SDK's `containers.create` beside image and name. `cores`: the engine's."""
    return {
        **_confined(host, state, cores),
        "command": ["--control-dir", CONTROL_DIR, "--listen", f"{host.address}:{NODE_PORT}"],
        "labels": {RUN_LABEL: run, HOST_LABEL: host.name},
        "hostname": host.name[:63],
        "network_mode": "none",
        "network_disabled": True,  # else the engine runs all of itself once more at each start, only to learn of the namespace
        "mounts": [docker.types.Mount(CONTROL_DIR, state.control_dir, type="bind"), _hosts(hosts_file)],
    }


def options_beside(
    run: str, app: str, start: str, service: Service, host: Host, state: HostState, hosts_file: Path, cores: int
) -> dict[str, Any]:
    """Of a user's container beside it: confined like it, in its network, with the service's files and data at the same places,
    and nothing else of its own: not the control socket."""
    folder = folder_beside(app)
    named = {"APP": app, "PORT": service.port, "ADDRESS": host.address, "FILES": f"{folder}/files", "DATA": f"{folder}/data"}
    return {
        **_confined(host, state, cores),
        "labels": {RUN_LABEL: run, HOST_LABEL: host.name, APP_LABEL: app, START_LABEL: start},
        "network_mode": f"container:{state.container}",
        "environment": {f"OPUS_{name}": str(value) for name, value in named.items()},
        "mounts": [docker.types.Mount(folder, f"{state.control_dir}/services/{app}", type="bind"), _hosts(hosts_file)],
    }


def folder_beside(app: str) -> str:
    """Where a service's files and data lie, in either container."""
    return f"{CONTROL_DIR}/services/{app}"


def name_beside(host_container: str, app: str) -> str:
    """Of a user's container: that of its host's, and the application's."""
    return f"{host_container}.{app}"


def _confined(host: Host, state: HostState, cores: int) -> dict[str, Any]:
    memory = memory_of(host)
    return {
        "user": f"{state.uid}:{state.uid}",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "init": True,
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,noexec,size={min(TMPFS_MOST, memory)},mode=1777"},
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": nano_cpus_of(host, cores) if host.abilities.cpu < cores else 0,
        "pids_limit": host.abilities.processes,
        "ulimits": [docker.types.Ulimit(name="nofile", soft=FILES_MOST, hard=FILES_MOST)],
        "log_config": docker.types.LogConfig(type="json-file", config={"max-size": LOG_MOST, "max-file": "2"}),
    }


def _hosts(file: Path) -> docker.types.Mount:
    return docker.types.Mount("/etc/hosts", str(file), type="bind", read_only=True)


def strained(host: Host, strain: HostChange) -> Host:
    """The host with what a strain leaves of its abilities."""
    abilities = host.abilities
    left = {"cpu": abilities.cpu * strain.cpu, "memory": min(abilities.memory, strain.memory or abilities.memory)}
    return host.model_copy(update={"abilities": abilities.model_copy(update=left)})


def nano_cpus_of(host: Host, cores: int) -> int:
    """Its limit in 1e-9 cores: what the engine takes at least, and at most all that it has, which is no limit."""
    return int(max(CPU_LEAST, min(host.abilities.cpu, cores)) * 1e9)


def memory_of(host: Host) -> int:
    """Its limit in bytes."""
    return max(MEMORY_LEAST, host.abilities.memory)
