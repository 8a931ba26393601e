"""Choices of replicas that come with other people's packages: entry points of the group `opus.choices`.

    [project.entry-points."opus.choices"]        applications: [{name: web, choice: cheapest, ...}]
    cheapest = "my_package:cheapest"

The function is a `core.choice.Choice`. It must be installed where nodes run: in the controller's environment for `sim` and
`netns`, in the image for `docker`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from opus_node.core.choice import CHOICES, Choice

GROUP = "opus.choices"


def choosing(name: str) -> dict[str, Any]:
    """The fields of `AppConfig` that a choice of this name sets.

    Raises ValueError if nobody knows it, or if it cannot be loaded.
    """
    return {"choice": name} if name in CHOICES else {"choice": name, "choose": _load(name)}


def _load(name: str) -> Choice:
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise ValueError(
            f"the choice {name!r} is not installed here; {', '.join(CHOICES)} are, others are entry points of {GROUP}"
        )
    try:
        made: Choice = next(iter(found)).load()
    except Exception as error:
        raise ValueError(f"the choice {name!r} cannot be loaded: {error!r}") from error
    if not callable(made):
        raise ValueError(f"the choice {name!r} is {made!r}, not a function")
    return made
