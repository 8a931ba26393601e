"""A run in one file, to be kept, sent and run again: a gzip'd tar of its directory.

    pack.json            what is in it: digests of every file, plan and trace digest, runtime, versions, kernel
    run/plan.json        the plan, from which it is run again
    run/...              run.json, result.json, events.ndjson, samples/, logs/, services/: the run's directory as it was
    inputs/...           scenario, topology and tables that the plan was compiled from

The same run gives the same bytes. What is read may come from anybody, so reading takes the one form that is written (POSIX ustar
headers, regular files) and nothing else: no links, no devices, no absolute or climbing names, no name twice, bounded in size and
number, every file by its digest. Only few files are ever written from a pack, each below a directory of this run's own.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opus_controller.engine.record import INPUTS, PLAN, RUN
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.model.plan_check import problem
from opus_controller.report.conclude import HTML, RESULT
from opus_controller.report.result import Part, Result
from opus_controller.report.several.repeat import REPEAT
from opus_controller.report.several.sweep import SWEEP

MANIFEST: Final = "pack.json"
MOST_FILES: Final = 20_000
MOST_BYTES: Final = 4 << 30
"""Of all files together, unpacked."""
MOST_DOCUMENT: Final = 256 << 20
"""Of a file that is read into memory."""
NEEDED: Final = (MANIFEST, f"run/{PLAN}", f"run/{RUN}", f"run/{RESULT}")
_NAME: Final = re.compile(r"(pack\.json|(run|inputs)(/[A-Za-z0-9_][A-Za-z0-9_.@+=%-]{0,99}){1,6})")
_BLOCK: Final = 512
_CHUNK: Final = 1 << 20


class Kept(Part):
    sha256: str
    size: int


class Manifest(Part):
    """pack.json."""

    format: Literal[1] = 1
    kind: Literal["pack"] = "pack"
    name: str
    seed: int
    runtime: str
    links: str
    verdict: str
    plan_digest: str
    trace_digest: str | None
    """Of everything that every node did; in sim only. Running it again in sim must give the same."""
    versions: dict[str, str]
    """Of Python, the kernel, Opus and its packages where it ran."""
    files: dict[str, Kept]


@dataclass(frozen=True)
class Pack:
    """A pack that has been read and found whole."""

    path: Path
    manifest: Manifest
    plan: Plan
    about: Mapping[str, Any]
    """Its run.json."""
    result: Result

    def put(self, directory: Path) -> None:
        """Write what a run needs besides its plan into the run's new directory: inputs, and files of services."""
        for entry in _entries(self.path):
            below = entry.name if entry.name.startswith(f"{INPUTS}/") else entry.name.removeprefix("run/")
            if below.startswith((f"{INPUTS}/", "services/")):
                target = directory / below
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    for chunk in entry.chunks():
                        file.write(chunk)


# --- writing ---


def write(directory: Path, result: Result, out: Path) -> Manifest:
    """Pack the run in `directory`, whose result has just been worked out. ScenarioError if a file of it cannot be packed."""
    files = dict(_files(directory, out))
    if strange := [name for name in files if _NAME.fullmatch(name) is None]:
        raise ScenarioError(f"{directory}: {strange[0]!r} is no file of a run; take it away, then pack again")
    kept = {name: _kept(file) for name, file in files.items()}
    manifest = Manifest(
        name=result.scenario,
        seed=result.seed,
        runtime=result.runtime,
        links=result.links,
        verdict=result.verdict,
        plan_digest=result.plan_digest,
        trace_digest=result.facts.get("trace_digest"),
        versions=result.versions,
        files=kept,
    )
    try:
        _write(manifest, files, out)
    except OSError as error:
        raise ScenarioError(f"cannot write {out}: {error.strerror}") from None
    return manifest


def _files(directory: Path, out: Path) -> Iterator[tuple[str, Path]]:
    """(name in the pack, file), sorted; without the page, which is made anew from the rest, and without `out` itself."""
    left_out = {(directory / HTML).resolve(), out.resolve()}
    own = directory / INPUTS
    for file in _below(_inputs(directory)):
        yield f"{INPUTS}/{file.relative_to(_inputs(directory)).as_posix()}", file
    for file in _below(directory):
        if file.resolve() not in left_out and own not in file.parents:
            yield f"run/{file.relative_to(directory).as_posix()}", file


def _below(directory: Path) -> list[Path]:
    return sorted(file for file in directory.rglob("*") if file.is_file() and not file.is_symlink())


def _inputs(directory: Path) -> Path:
    """The run's own, or those of the repetition or sweep that it is part of."""
    above = directory.resolve().parents
    series = [place for place in above[:2] if (place / REPEAT).is_file() or (place / SWEEP).is_file()]
    return next((place / INPUTS for place in (directory, *series) if (place / INPUTS).is_dir()), directory / INPUTS)


def _kept(file: Path) -> Kept:
    with file.open("rb") as source:
        return Kept(sha256=hashlib.file_digest(source, "sha256").hexdigest(), size=file.stat().st_size)


def _write(manifest: Manifest, files: Mapping[str, Path], out: Path) -> None:
    """Beside `out` first, so that it is never half written; times, owners and modes are left out."""
    draft = out.with_name(f"{out.name}.new")
    text = (manifest.model_dump_json(indent=2) + "\n").encode()
    with (
        draft.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        tar.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
        for name, file in files.items():
            with file.open("rb") as source:
                tar.addfile(_header(name, manifest.files[name].size), source)
    draft.replace(out)


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


# --- reading ---


def is_pack(path: Path) -> bool:
    """By gzip's first two bytes, with which no YAML begins."""
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(2) == b"\x1f\x8b"
    except OSError:
        return False


def read(path: Path) -> Pack:
    """Read a pack and check every file of it. ScenarioError in one line for what is no pack, not whole, or hostile."""
    documents: dict[str, bytes] = {}
    found: dict[str, Kept] = {}
    for entry in _entries(path):
        digest, size = hashlib.sha256(), 0
        parts = []
        for chunk in entry.chunks():
            digest.update(chunk)
            size += len(chunk)
            if entry.name in NEEDED:
                if size > MOST_DOCUMENT:
                    raise _refused(path, f"{entry.name} is larger than {MOST_DOCUMENT >> 20} MiB")
                parts.append(chunk)
        if entry.name in NEEDED:
            documents[entry.name] = b"".join(parts)
        found[entry.name] = Kept(sha256=digest.hexdigest(), size=size)
    if missing := [name for name in NEEDED if name not in documents]:
        raise _refused(path, f"{missing[0]} is not in it")
    return _checked(path, documents, found)


def _checked(path: Path, documents: Mapping[str, bytes], found: dict[str, Kept]) -> Pack:
    try:
        manifest = Manifest.model_validate_json(documents[MANIFEST])
        plan = Plan.model_validate_json(documents[f"run/{PLAN}"])
        result = Result.model_validate_json(documents[f"run/{RESULT}"])
        about = json.loads(documents[f"run/{RUN}"])
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"not of this version of Opus ({' '.join(str(error).splitlines()[0:3])[:120]})") from None
    del found[MANIFEST]
    if wrong := [name for name in {**manifest.files, **found} if manifest.files.get(name) != found.get(name)]:
        raise _refused(path, f"{wrong[0]} is not what pack.json says; it was changed or damaged")
    if not isinstance(about, dict) or not plan.digest == manifest.plan_digest == result.plan_digest:
        raise _refused(path, "the plan is not the one that pack.json names")
    if wrong_plan := problem(plan):
        raise _refused(path, f"its plan does not hold together ({wrong_plan})")
    return Pack(path, manifest, plan, about, result)


@dataclass
class _Entry:
    name: str
    left: int
    """Bytes of it that have not been read."""
    stream: _Stream

    def chunks(self) -> Iterator[bytes]:
        while self.left:
            chunk = self.stream.exactly(min(self.left, _CHUNK))
            self.left -= len(chunk)
            yield chunk


class _Stream:
    """The pack, decompressed as it is read; whatever goes wrong is one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = gzip.open(path, "rb")  # noqa: SIM115  (closed by `close`)
        except OSError as error:
            raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None

    def exactly(self, size: int) -> bytes:
        try:
            block = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise _refused(self.path, f"damaged ({getattr(error, 'strerror', None) or error})") from None
        if len(block) != size:
            raise _refused(self.path, "it ends early")
        return block

    def close(self) -> None:
        self._file.close()


def _entries(path: Path) -> Iterator[_Entry]:
    """Each file in turn. Refuses whatever `write` does not write."""
    stream = _Stream(path)
    names: set[str] = set()
    total = 0
    try:
        while (block := stream.exactly(_BLOCK)) != bytes(_BLOCK):
            name, size = _header_of(path, block)
            total += size
            if name in names:
                raise _refused(path, f"{name} is in it twice")
            names.add(name)
            if total > MOST_BYTES or len(names) > MOST_FILES:
                raise _refused(path, f"it would unpack to more than {MOST_BYTES >> 30} GiB or {MOST_FILES} files")
            entry = _Entry(name, size, stream)
            yield entry
            for _ in entry.chunks():  # what nobody wanted
                pass
            stream.exactly(-size % _BLOCK)
    finally:
        stream.close()


def _header_of(path: Path, block: bytes) -> tuple[str, int]:
    """(name, size) of a ustar header (POSIX.1-1988); refuses every other kind of header and file."""
    fields = {key: block[start:end] for key, (start, end) in _FIELDS.items()}
    total = sum(block) - sum(fields["checksum"]) + 8 * ord(" ")
    if fields["magic"] != b"ustar\x0000" or _octal(fields["checksum"]) != total:
        raise _refused(path, "not a pack of opus report --pack")
    parts = [fields[key].split(b"\0", 1)[0].decode("ascii", "replace") for key in ("prefix", "name")]
    name = "/".join(filter(None, parts))
    if fields["type"] not in (b"0", b"\0"):
        raise _refused(path, f"{name!r:.80} is a link, directory or device; allowed: regular files")
    if _NAME.fullmatch(name) is None:
        raise _refused(path, f"{name!r:.80} is no name of a run's file")
    size = _octal(fields["size"])
    if size < 0:
        raise _refused(path, f"{name} has no size")
    return name, size


_FIELDS: Final = {
    "name": (0, 100), "size": (124, 136), "checksum": (148, 156), "type": (156, 157), "magic": (257, 265), "prefix": (345, 500),
}  # fmt: skip


def _octal(field: bytes) -> int:
    """-1 for what is none (base-256 sizes among them: nothing that large is packed)."""
    text = field.strip(b" \0")
    return int(text, 8) if re.fullmatch(rb"[0-7]+", text) else -1


def _refused(path: Path, why: str) -> ScenarioError:
    return ScenarioError(f"{path}: {why}; allowed: a file that opus report RUN --pack made")
