"""A disk for the QEMU guest with an engine's data on it, the node's image among them: importing it there would take a minute.

    python -m helpers.qemu_disk                 (tests/qemu/in-qemu does it before each boot)

The data are those of the docker lane's own engine, copied while it is stopped; the guest's writes do not last.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from helpers.engines import own_engine
from helpers.guest import SHARED

DISK = SHARED / "qemu-engine.ext4"
SIZE = "2G"
"""As the guest sees it; here it takes what is used."""


def make() -> Path:
    """Write the disk anew. AssertionError if the image cannot be made."""
    began = time.monotonic()
    fresh = DISK.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with own_engine() as engine:
        engine.stop()
        options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(engine.data)]
        subprocess.run(["mke2fs", *options, str(fresh), SIZE], check=True)
    fresh.replace(DISK)
    print(f"qemu: disk with the node's image, {DISK.stat().st_blocks * 512 / 1e6:.0f} MB, in {time.monotonic() - began:.0f} s")
    return DISK


if __name__ == "__main__":
    sys.exit(0 if make() else 1)
