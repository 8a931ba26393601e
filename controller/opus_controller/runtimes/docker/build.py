"""Makes the node's image: wheels gathered on this machine, a base from the engine, a registry or Debian's packages, one build.

Nothing is fetched inside the build, so it works wherever pip works for this user, whatever network the engine has.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker.errors

from opus_controller.model.errors import PlatformError
from opus_controller.runtimes.docker.engine import Engine
from opus_controller.runtimes.docker.image import dockerfile, requirements, wanted_tag

REGISTRY_BASE = "python:3.11-slim-bookworm"
DEBIAN_BASE = "opus-base:bookworm"
DEBIAN_SUITE = "bookworm"
_NOT_NEEDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/bash-completion/*")
_ASK_PYTHON = "import platform, sys; print(sys.version_info[0], sys.version_info[1], platform.machine())"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    tag: str
    base: str
    size: int
    """Bytes, all layers."""
    base_size: int
    seconds: float
    """Of which finding or making the base took `base_seconds`."""
    base_seconds: float


def build_image(engine: Engine, *, base: str = "", say: Say) -> Built:
    """Build the image of these sources, on `base` or whatever can be had. PlatformError says what is missing."""
    recipe = dockerfile()
    if recipe is None:
        raise PlatformError("the node's image is built in a checkout of Opus; there: make image")
    began = time.monotonic()
    base = _have_base(engine, base, say)
    base_seconds = time.monotonic() - began
    context = recipe.parent.parent / "build" / "image"
    _gather(context, recipe, _python_of(engine, base), say)
    say(f"building {wanted_tag()} on {base}")
    _build(engine, context, base)
    _try(engine)
    size, base_size = (int(engine.client.images.get(name).attrs["Size"]) for name in (wanted_tag(), base))
    return Built(wanted_tag(), base, size, base_size, time.monotonic() - began, base_seconds)


def can_build_at_once(engine: Engine) -> bool:
    """Whether building would need no more than what is here: a base, and wheels gathered before."""
    recipe = dockerfile()
    if recipe is None or not any(_has(engine, base) for base in (DEBIAN_BASE, REGISTRY_BASE)):
        return False
    return (recipe.parent.parent / "build" / "image" / "gathered.json").exists()


# --- the base ---


def _have_base(engine: Engine, asked: str, say: Say) -> str:
    if asked:
        if not _has(engine, asked):
            _pull(engine, asked)
        return asked
    for base in (REGISTRY_BASE, DEBIAN_BASE):
        if _has(engine, base):
            return base
    try:
        say(f"pulling {REGISTRY_BASE}")
        _pull(engine, REGISTRY_BASE)
        return REGISTRY_BASE
    except PlatformError as error:
        say(f"{error}; making a base of Debian's packages instead")
    _make_debian_base(engine)
    return DEBIAN_BASE


def _has(engine: Engine, name: str) -> bool:
    try:
        engine.client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def _pull(engine: Engine, name: str) -> None:
    try:
        engine.client.images.pull(name)
    except docker.errors.DockerException as error:
        words = " ".join(str(getattr(error, "explanation", None) or error).split())
        raise PlatformError(f"no registry gives {name} ({words})") from error


def _make_debian_base(engine: Engine) -> None:
    """Python, and the C++ library that gRPC's wheel expects; no apt: about 145 MB."""
    if shutil.which("mmdebstrap") is None:
        raise PlatformError("a base image can be made without a registry by mmdebstrap: apt-get install mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="opus-base-") as directory:
        archive = Path(directory) / "base.tar"
        leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in _NOT_NEEDED]
        _command(
            "mmdebstrap", "--quiet", "--variant=essential", "--include=python3,libstdc++6", *leave_out, DEBIAN_SUITE, str(archive)
        )  # fmt: skip
        repository, tag = DEBIAN_BASE.split(":")
        engine.client.api.import_image_from_file(str(archive), repository=repository, tag=tag)


def _python_of(engine: Engine, base: str) -> tuple[str, str]:
    """(version such as "3.11", machine such as "x86_64") of the base's python3."""
    try:
        said = engine.client.containers.run(base, ["python3", "-c", _ASK_PYTHON], remove=True, network_mode="none")
    except docker.errors.DockerException as error:
        raise PlatformError(f"{base} has no python3 that runs ({' '.join(str(error).split())})") from error
    major, minor, machine = said.decode().split()
    return f"{major}.{minor}", machine


# --- what goes in ---


def _gather(context: Path, recipe: Path, python: tuple[str, str], say: Say) -> None:
    """The build's context: the Dockerfile, wheels of the dependencies for the base's Python, pip's, and ours."""
    context.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recipe, context / "Dockerfile")
    wanted = {"python": python, "requirements": requirements()}
    stamp = context / "gathered.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != json.loads(json.dumps(wanted)):
        say(f"gathering wheels for Python {python[0]} on {python[1]}")
        stamp.unlink(missing_ok=True)
        _download(context / "wheels", requirements(), python)
        _download(context / "pip", ["pip"], python)
        stamp.write_text(json.dumps(wanted))
    _own_wheel(context / "opus", recipe.parent.parent)


def _download(directory: Path, wanted: list[str], python: tuple[str, str]) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    version, machine = python
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 28, 34)] + [f"--platform=manylinux2014_{machine}"]
    _command(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", f"--python-version={version}", "--implementation=cp", *platforms),
        *(f"--dest={directory}", *wanted),
    )


def _own_wheel(directory: Path, root: Path) -> None:
    """Ours, made anew only when something in it has changed: the same bytes keep the engine's layers."""
    made_of = hashlib.sha256()
    for top in ("node", "proto", "controller"):
        for path in sorted((root / top).rglob("*.py")):
            made_of.update(f"{path}\0".encode() + path.read_bytes())
    stamp = directory / ".made-of"
    if stamp.exists() and stamp.read_text() == made_of.hexdigest():
        return
    shutil.rmtree(directory, ignore_errors=True)
    _command(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *(f"--wheel-dir={directory}", str(root)),
    )
    stamp.write_text(made_of.hexdigest())


# --- the build ---


def _build(engine: Engine, context: Path, base: str) -> None:
    try:
        stream = engine.client.api.build(
            path=str(context), tag=wanted_tag(), buildargs={"BASE": base}, rm=True, network_mode="none", decode=True
        )
        last = ""
        for message in stream:
            line = str(message.get("stream", "")).strip()
            if "error" in message:
                raise PlatformError(f"the image could not be built: {message['error'].strip()} ({last})")
            last = line or last
    except (docker.errors.DockerException, OSError) as error:
        raise PlatformError(f"the image could not be built: {' '.join(str(error).split())}") from error


def _try(engine: Engine) -> None:
    """A base may lack what the wheels expect of it: found here, not by a hundred hosts."""
    try:
        engine.client.containers.run(wanted_tag(), ["--help"], remove=True, network_mode="none", read_only=True)
    except docker.errors.DockerException as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        engine.client.images.remove(wanted_tag(), force=True)
        last = said.decode(errors="replace").strip().splitlines()[-1]
        raise PlatformError(f"the node does not start in the image that was built: {last}") from error


def _command(*words: str) -> None:
    """Run it; PlatformError with the last it said if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line] or ["it says nothing"]
        raise PlatformError(f"{Path(words[0]).name} {' '.join(words[1:4])} ... failed: {lines[-1]}")
