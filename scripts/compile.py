"""`make fast`: builds the core's arithmetic with mypyc into build/fast, for `OPUS_FAST=1` and `opus bench scale --fast`.

Needs a C compiler and the development tools (`make dev`). Sources stay as they are, and everything runs without a build.
"""

from __future__ import annotations

import json
import os
import shutil
import sys

from opus_controller.fast import ABOUT, MODULES, PLACE, ROOT, about


def main() -> int:
    if shutil.which(os.environ.get("CC", "gcc")) is None:
        print("compile: no C compiler; apt-get install gcc, or name one by CC", file=sys.stderr)
        return 3
    try:
        from mypyc.build import mypycify
        from setuptools import setup
    except ModuleNotFoundError as error:
        print(f"compile: {error.name} is not installed; make dev", file=sys.stderr)
        return 3
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    os.environ["MYPY_CACHE_DIR"] = str(PLACE / "cache")
    os.chdir(ROOT / "node")  # modules are named by their paths from here
    files = [f"opus_node/core/{name}.py" for name in MODULES]
    built = mypycify(["--config-file=", "--explicit-package-bases", *files], opt_level="2", target_dir=str(PLACE / "c"))
    places = ["--build-lib", str(PLACE / "lib"), "--build-temp", str(PLACE / "temp")]
    setup(name="opus-fast", packages=[], ext_modules=built, script_args=["-q", "build_ext", *places])
    (PLACE / ABOUT).write_text(json.dumps(about()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
