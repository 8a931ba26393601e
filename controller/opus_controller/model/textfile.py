"""Tables of other people's measurements, as text: plain or compressed by gzip, UTF-8, bounded."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

from opus_controller.model.errors import ScenarioError

MAX_BYTES: Final = 256 << 20


def read_text(path: Path) -> str:
    """The whole file; what ends in .gz is decompressed. ScenarioError in one line if that cannot be."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "not readable"
        raise ScenarioError(f"{path}: cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise ScenarioError(f"{path}: is larger than {MAX_BYTES >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not UTF-8 text; allowed: CSV, or CSV compressed by gzip and named .gz") from None
