"""Our own sources as they are installed: what is kept on disk is good for as long as they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from opus_controller.model.errors import PlatformError

Source = tuple[Path, str]
"""(path, name in the package)."""


def files_of(packages: Iterable[str]) -> list[Source]:
    """Every module of these packages ("opus_node", "opus_controller.model"), sorted by name; wherever they are installed."""
    found = []
    for package in packages:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise PlatformError(f"the package {package} is not installed; install it: pip install opus-testbed")
        top = Path(spec.submodule_search_locations[0])
        found += [(path, f"{package.replace('.', '/')}/{path.relative_to(top)}") for path in top.rglob("*.py")]
    return sorted(found, key=lambda source: source[1])


def digest_of(files: Iterable[Source], besides: str = "") -> str:
    """SHA-256 in hexadecimal, of names and bytes in order; `besides` is part of it."""
    digest = hashlib.sha256(besides.encode())
    for path, name in files:
        data = path.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
