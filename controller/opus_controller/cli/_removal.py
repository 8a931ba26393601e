"""Taking runs off the machine, whatever their hosts are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opus_controller.runtimes.hosts.clean import Removed
    from opus_controller.runtimes.hosts.state import RunState


def take_down(run: RunState) -> Removed:
    """End a run that somebody may still own, and remove everything of it."""
    from opus_controller.runtimes.hosts import clean

    clean.ask_owner(run)
    return remove(run)


def remove(run: RunState) -> Removed:
    """Remove everything of a run that nobody owns any more."""
    from opus_controller.runtimes.hosts import clean

    if run.runtime == "docker":
        from opus_controller.runtimes.docker import clean as containers

        return containers.remove(run.run, run.engine)
    return clean.remove(run.run)


def remove_stray_containers() -> list[str]:
    """Containers whose run is gone, even from /run/opus; their names."""
    from opus_controller.runtimes.docker import clean as containers
    from opus_controller.runtimes.hosts import state

    return containers.remove_stray(living=[one.run for one in state.everything() if one.alive()])
