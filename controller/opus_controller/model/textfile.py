"""Tables of other people's measurements, as text: plain or compressed by gzip, UTF-8, bounded."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from opus_controller.model.errors import ScenarioError

MAX_BYTES: Final = 256 << 20
MAX_LINE: Final = 1 << 20


def read_text(path: Path) -> str:
    """The whole file; what ends in .gz is decompressed. ScenarioError in one line if that cannot be."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
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
            for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
                if b"\0" in raw or len(raw) == MAX_LINE:
                    raise ScenarioError(f"{path}:{number}: not text; allowed: CSV, or CSV compressed by gzip and named .gz")
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or "not readable"
        raise ScenarioError(f"{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not UTF-8 text; allowed: CSV, or CSV compressed by gzip and named .gz") from None


def csv_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each line of `path` that is not blank, cells without white space about them."""
    rows = csv.reader(lines)
    try:
        for row in rows:
            if row:
                yield rows.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise ScenarioError(f"{path}:{rows.line_num}: not CSV: {error}") from None
