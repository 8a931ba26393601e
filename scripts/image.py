"""Builds the image of a node for --runtime docker, and says how large it is and how long that took (`make image`).

    python scripts/image.py [--base IMAGE]

Without --base: python:3.11-slim-bookworm, from the engine or a registry; where none answers, a base of Debian's packages.
"""

from __future__ import annotations

import argparse
import sys

from opus_controller.model.errors import OpusError
from opus_controller.runtimes.docker.build import build_image
from opus_controller.runtimes.docker.engine import Engine


def say(line: str) -> None:
    print(f"image: {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the image of a node for --runtime docker.")
    parser.add_argument("--base", default="", help="an image with python3, in place of what can be had")
    options = parser.parse_args()
    try:
        engine = Engine.find()
        say(f"engine {engine.version} at {engine.url}")
        built = build_image(engine, base=options.base, say=say)
    except OpusError as error:
        print(f"image: {error}", file=sys.stderr)
        return error.exit_code
    own = (built.size - built.base_size) / 1e6
    base = f", the base in {built.base_seconds:.1f} s of it" if built.base_seconds >= 1 else ""
    say(f"{built.tag}: {built.size / 1e6:.0f} MB, {own:.0f} MB of them on {built.base}; made in {built.seconds:.1f} s{base}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
