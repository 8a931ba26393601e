"""Tables of other people's measurements, as text: plain or compressed by gzip, UTF-8, bounded."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
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


def read_lines(path: Path) -> Iterator[str]:
    """The same line by line, for files of any size: what is made of them is for the reader to bound."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if b"\0" in raw:
                    raise ScenarioError(f"{path}:{number}: not text; allowed: CSV, or CSV compressed by gzip and named .gz")
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "not readable"
        raise ScenarioError(f"{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not UTF-8 text; allowed: CSV, or CSV compressed by gzip and named .gz") from None
