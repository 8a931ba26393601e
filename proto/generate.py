#!/usr/bin/env python3
"""Generate the Python stubs of every .proto here, beside it; `--check` says (exit 1) whether the committed ones are current.

The generators are pinned in pyproject's dev group: generated code demands a runtime at least as new as its generator,
and that is where the lower bounds of `protobuf` and `grpcio` in the base install come from.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(into: Path) -> None:
    """Write the stubs of all .proto files under ROOT into the same places under `into`."""
    from grpc_tools import protoc

    plugins = Path(sys.executable).parent  # the plugins of this very environment, whatever PATH says
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--mypy_out=quiet:{into}",
        f"--mypy_grpc_out=quiet:{into}",
        *sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto")),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("proto: protoc failed (see above)")
    for stub in generated(into):  # a .proto without a service needs no service stubs
        if stub.match("*_pb2_grpc.py*") and not declares_service(stub.relative_to(into)):
            stub.unlink()


def declares_service(stub: Path) -> bool:
    proto = ROOT / stub.parent / (stub.name.split("_pb2_grpc.py")[0] + ".proto")
    return any(line.startswith("service ") for line in proto.read_text().splitlines())


def generated(root: Path) -> list[Path]:
    return sorted(path for pattern in GENERATED for path in root.rglob(pattern))


def check() -> int:
    """Compare what would be generated now with what is there; name every difference."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        want = {path.relative_to(fresh) for path in generated(fresh)}
        have = {path.relative_to(ROOT) for path in generated(ROOT)}
        stale = sorted(
            name
            for name in want | have
            if name not in want or name not in have or not filecmp.cmp(fresh / name, ROOT / name, shallow=False)
        )
    for name in stale:
        print(f"proto: {name} is not what its .proto generates; run `make proto`", file=sys.stderr)
    return 1 if stale else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only")
    if parser.parse_args().check:
        return check()
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        for stub in generated(ROOT):
            stub.unlink()
        for stub in generated(Path(scratch)):
            shutil.copyfile(stub, ROOT / stub.relative_to(scratch))
            print(ROOT.name / stub.relative_to(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
