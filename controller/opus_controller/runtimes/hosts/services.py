"""Users' services on real hosts: what this machine must have for them, and their files at the hosts that have them first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from opus_controller.engine.record import files_of
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Plan
from opus_controller.runtimes.hosts.state import RunState

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a node looks for a program (opus_node.services.program)."""
STORE: Final = "store"
"""A host's directory of files by digest, in its control directory."""


def programs(plan: Plan) -> list[tuple[str, str]]:
    """(application, program that its command names); none of those that lie among a service's own files."""
    words = [(app.name, app.service.command[0]) for app in plan.apps if app.service is not None and app.service.command]
    return [(app, word) for app, word in words if "{" not in word]


def images(plan: Plan) -> list[tuple[str, str]]:
    """(application, image of its service)."""
    return [(app.name, app.service.image) for app in plan.apps if app.service is not None and app.service.image]


def check_without_containers(plan: Plan) -> None:
    """PlatformError if a service is an image, or its program is missing on this machine, which its hosts share."""
    for app, image in images(plan):
        raise PlatformError(
            f"{app}: a service from an image ({image}) needs hosts that are containers: --runtime docker; or use a command, "
            "or --runtime sim, which runs no program"
        )
    for app, word in programs(plan):
        if shutil.which(word, path=PATH) is None:
            raise PlatformError(
                f"{app}: its program {word} is not on this machine; install it (nginx: apt-get install "
                "--no-install-recommends nginx-light), or use --runtime sim, which runs no program"
            )


def place_files(plan: Plan, state: RunState, record: Path | None) -> None:
    """Into the stores of the seeds, the hosts that have a service's files from the beginning. Blocks.

    PlatformError if the record does not have them.
    """
    for app in plan.apps:
        files = app.service.files if app.service is not None else None
        if files is None:
            continue
        source = files_of(record, files.digest) if record is not None else None
        if source is None or not source.is_file():
            raise PlatformError(f"{app.name}: its files are not in the run's directory; start it with: opus run SCENARIO")
        for name in plan.seeds:
            host = state.hosts[name]
            store = Path(host.control_dir) / STORE
            store.mkdir(mode=0o700, exist_ok=True)
            target = store / source.name
            shutil.copyfile(source, target)
            for path in (store, target):
                os.chown(path, host.uid, host.uid)
