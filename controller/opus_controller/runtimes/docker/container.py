"""A host's container: what it may do, what it may use, and the little of this machine that it sees.

No network of the engine's, no capability, no way to gain one, nothing to write to but a tmpfs and the directory of its control
socket, an unprivileged user that nobody else is; memory, processor and number of processes bounded by its abilities.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker.types

from opus_controller.model.plan import Host
from opus_controller.runtimes.docker.engine import HOST_LABEL, RUN_LABEL
from opus_controller.runtimes.hosts.nodes import NODE_PORT
from opus_controller.runtimes.hosts.state import HostState

CONTROL_DIR = "/run/opus"
"""Inside."""
MEMORY_LEAST = 64 << 20
"""No limit is set below this: a node with an interpreter of its own takes about 40 MB, and some more when it starts."""
FILES_MOST = 4096
TMPFS_MOST = 64 << 20
"""Counts as the host's memory as far as it is used."""
LOG_MOST = "8m"
"""Of each of two files of a container's log, kept by the engine."""


def options(run: str, host: Host, state: HostState, hosts_file: Path, cores: int) -> dict[str, Any]:
    """Arguments of the SDK's `containers.create` beside image and name. `cores`: the engine's."""
    memory = memory_of(host)
    return {
        "command": ["--control-dir", CONTROL_DIR, "--listen", f"{host.address}:{NODE_PORT}"],
        "labels": {RUN_LABEL: run, HOST_LABEL: host.name},
        "hostname": host.name[:63],
        "user": f"{state.uid}:{state.uid}",
        "network_mode": "none",
        "network_disabled": True,  # else the engine runs all of itself once more at each start, only to learn of the namespace
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "init": True,
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,noexec,size={min(TMPFS_MOST, memory)},mode=1777"},
        "mounts": [
            docker.types.Mount(CONTROL_DIR, state.control_dir, type="bind"),
            docker.types.Mount("/etc/hosts", str(hosts_file), type="bind", read_only=True),
        ],
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(host.abilities.cpu * 1e9) if host.abilities.cpu < cores else 0,
        "pids_limit": host.abilities.processes,
        "ulimits": [docker.types.Ulimit(name="nofile", soft=FILES_MOST, hard=FILES_MOST)],
        "log_config": docker.types.LogConfig(type="json-file", config={"max-size": LOG_MOST, "max-file": "2"}),
    }


def memory_of(host: Host) -> int:
    """Its limit in bytes."""
    return max(MEMORY_LEAST, host.abilities.memory)
