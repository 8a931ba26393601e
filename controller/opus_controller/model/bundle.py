"""A service's files as one thing with a name of its own: a tar whose bytes follow from the files' names, contents and
executable bits alone, so that its sha256 is the same on every machine. Hosts keep it and pass it on by that name."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 64 << 20
MOST_FILES: Final = 10_000


@dataclass(frozen=True)
class Bundle:
    digest: str
    """sha256 of `data`."""
    data: bytes
    files: int

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)


def pack(directory: Path) -> Bundle:
    """Everything below `directory`. ValueError, saying what is allowed, for what cannot be packed."""
    paths = _below(directory)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            entry = tarfile.TarInfo(path.relative_to(directory).as_posix())  # owner and time stay at their defaults, 0
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            data = _read(path)
            entry.size, entry.mode = len(data), 0o755 if path.stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(data))
            if out.tell() > MOST_BYTES:
                raise ValueError(f"{directory} has more than {MOST_BYTES >> 20} MiB; allowed: at most that")
    data = out.getvalue()
    return Bundle(hashlib.sha256(data).hexdigest(), data, sum(not path.is_dir() for path in paths))


def _below(directory: Path) -> list[Path]:
    """Directories and files in one order on every machine."""
    if not directory.is_dir():
        raise ValueError(f"there is no directory {directory}; allowed: one with the service's files, relative to the scenario")
    paths = sorted(directory.rglob("*"), key=lambda path: path.relative_to(directory).as_posix())
    if len(paths) > MOST_FILES:
        raise ValueError(f"{directory} has {len(paths)} files; allowed: at most {MOST_FILES:,}")
    for path in paths:
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path} is neither a file nor a directory; allowed: files and directories, no links")
    if not any(path.is_file() for path in paths):
        raise ValueError(f"{directory} holds no file; allowed: at least one, or no key 'files'")
    return paths


def _read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES >> 20} MiB; allowed: at most that for all files together")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); allowed: readable files") from error
