"""Compiles the core and the simulator into build/compiled, unless they are there as the sources are now.

    python scripts/compile.py

`opus bench scale --compiled` runs them, and compiles first by itself; `PYTHONPATH=build/compiled` is the way for anything else.
"""

from __future__ import annotations

import sys

from opus_controller.bench.compiled.build import built
from opus_controller.model.errors import OpusError


def say(line: str) -> None:
    print(f"compile: {line}", flush=True)


def main() -> int:
    try:
        say(f"they are in {built(say)}")
    except OpusError as error:
        print(f"compile: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
