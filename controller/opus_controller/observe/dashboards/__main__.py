"""Write the dashboards' JSON; `--check` says (exit 1) whether the committed files are current."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from opus_controller.observe.dashboards import applications, host, network, overlay, overview, services, testbed

HERE = Path(__file__).parent
BOARDS = (overview, applications, overlay, services, network, host, testbed)


def rendered() -> dict[Path, str]:
    """File to content."""
    files = {}
    for module in BOARDS:
        made = module.build().build()
        text = json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        files[HERE / f"{str(made.uid).removeprefix('opus-')}.json"] = text + "\n"
    return files


def stale() -> list[str]:
    """Names of files that are not what the code makes, too many or missing."""
    files = rendered()
    there = {path: path.read_text(encoding="utf-8") for path in HERE.glob("*.json")}
    return sorted(path.name for path in files.keys() | there.keys() if files.get(path) != there.get(path))


def main() -> int:
    parser = argparse.ArgumentParser(prog="dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    if parser.parse_args().check:
        for name in (names := stale()):
            print(f"dashboards: {name} is not what its code makes; run `make dashboards`", file=sys.stderr)
        return 1 if names else 0
    for path, text in rendered().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
