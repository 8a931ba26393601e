"""A directory of figures that were made by one state of the sources: what is in it is good for as long as that is the same.

    DIR/about.json    what its figures are of

Who keeps figures there says where (`bench.overlay.kept`, `claims.kept`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opus_controller.model.errors import PlatformError, ScenarioError

ABOUT = "about.json"


def claim(directory: Path, about: Mapping[str, Any], like: str) -> None:
    """Makes the directory, or finds it to be of the same `about`; anything else is a ScenarioError, which allows `like`, such as
    "an earlier table like this one"."""
    file, here = directory / ABOUT, plain(about)
    try:
        if file.is_file():
            before = json.loads(file.read_text())
        elif directory.is_dir() and any(directory.iterdir()):
            raise _refused(directory, f"has files, but no {ABOUT}", like)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            write(file, here)
            before = here
    except (OSError, ValueError) as error:
        raise _refused(directory, str(error), like) from None
    if other := [name for name in here if not isinstance(before, dict) or before.get(name) != here[name]]:
        raise _refused(directory, f"is of other {' and '.join(other)}", like)


def _refused(directory: Path, why: str, like: str) -> ScenarioError:
    return ScenarioError(f"--into {directory}: {why}; allowed: a new directory, or that of {like}")


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all: whoever is interrupted leaves no half of it. Raises PlatformError where it cannot be written."""
    draft = file.with_suffix(".new")
    try:
        file.parent.mkdir(exist_ok=True)
        draft.write_text(_text(content))
        draft.replace(file)
    except OSError as error:
        raise PlatformError(f"{file} cannot be written: {error.strerror}") from None


def read(file: Path) -> dict[str, Any] | None:
    """None: there is none, or not a whole one; it is to be made, or made again."""
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """As it would be read again."""
    return dict(json.loads(_text(content)))


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept")
