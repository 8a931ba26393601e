"""The node's image: its tag is a digest of what is to be in it, so that a stale image is never taken for a good one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import docker.errors

from opus_controller.model.errors import PlatformError
from opus_controller.model.sources import Source, digest_of, files_of
from opus_controller.runtimes.docker.engine import Engine

REPOSITORY = "opus-node"
SOURCE_LABEL = "opus.source"
PACKAGES = ("opus_node", "opus_proto")
_REQUIRED = ("grpcio", "protobuf", "prometheus-client")
"""What a node needs beside them."""
BUILD = "make image"


@dataclass(frozen=True)
class Image:
    tag: str
    identity: str
    size: int
    """Bytes, all layers."""


def find_image(engine: Engine) -> Image:
    """The image of these very sources. PlatformError if there is none, with the command that makes it."""
    tag = wanted_tag()
    try:
        found = engine.client.images.get(tag)
    except docker.errors.ImageNotFound:
        others = has_others(engine)
        why = "is of other sources" if others else "is missing"
        raise PlatformError(f"the node's image {why} ({tag} at {engine.url}); make it: {BUILD}") from None
    return Image(tag, str(found.id), int(found.attrs["Size"]))


def has_others(engine: Engine) -> bool:
    """Whether the engine has an image of the node that was made of other sources."""
    return bool(engine.client.images.list(name=REPOSITORY))


def wanted_tag() -> str:
    return f"{REPOSITORY}:{source_digest()[:12]}"


@cache
def source_digest() -> str:
    """Of everything of ours that runs in a container, and of the versions of what it needs."""
    return digest_of(source_files(), "\0".join(requirements()))


def requirements() -> list[str]:
    """What a node needs, in the very versions that this installation runs: both sides of the control socket agree."""
    return [f"{name}=={metadata.version(name)}" for name in _REQUIRED]


def source_files() -> list[Source]:
    """Sorted by name."""
    found = files_of(PACKAGES) + [(path, path.name) for path in [dockerfile()] if path is not None]
    return sorted(found, key=lambda source: source[1])


def dockerfile() -> Path | None:
    """In a checkout; an installed package has none, and cannot make images."""
    path = Path(__file__).resolve().parents[4] / "compose" / "Dockerfile"
    return path if path.is_file() else None
