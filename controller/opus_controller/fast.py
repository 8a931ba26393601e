"""The core's arithmetic as machine code, for the simulator, where somebody has built it (`make fast`) and asks for it.

    OPUS_FAST=1, or bench scale --fast --> use() --> these modules come from build/fast, all others as ever

Only what a steward decides by and agents compare nodes by is built: lists of floats, half of the time of a run of a few thousand
nodes. Everything else is dataclasses, dictionaries and calls, which gain little (docs/adr/0062). Steps are the same, bit by bit.
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

import opus_node.core

from opus_controller.model.errors import PlatformError

ASKED = "OPUS_FAST"
"""The environment's variable; what a run starts inherits it."""
MODULES = ("cluster", "coordinates", "kmedian", "landscape", "siblings")
"""Of `opus_node.core`."""
ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "fast"
ABOUT = "about.json"
"""In PLACE: the digest of each module's source as it was built, and for which Python."""


def about() -> dict[str, str]:
    """What a build has to be of."""
    sources = Path(opus_node.core.__path__[-1])
    return {"python": sys.version, **{name: sha256((sources / f"{name}.py").read_bytes()).hexdigest() for name in MODULES}}


def asked() -> bool:
    return os.environ.get(ASKED) == "1"


def use() -> None:
    """From now on the built modules are imported. Raises PlatformError where there is no build, or it is of other sources."""
    library = PLACE / "lib"
    if str(library) in sys.path:
        return
    try:
        built = json.loads((PLACE / ABOUT).read_text())
    except (OSError, ValueError):
        raise PlatformError(f"nothing is built in {PLACE}; build it: make fast") from None
    if built != about():
        raise PlatformError(f"what is built in {PLACE} is of other sources or another Python; build it anew: make fast")
    if early := [name for name in MODULES if f"opus_node.core.{name}" in sys.modules]:
        raise RuntimeError(f"imported before what is built could be: {', '.join(early)}")
    sys.path.append(str(library))  # the modules share a library of their own
    opus_node.core.__path__.insert(0, str(library / "opus_node" / "core"))


def use_if_asked() -> None:
    if asked():
        use()
