"""Keeps what was measured (build/fidelity/<kind>.json) and prints both kinds of links side by side.

python -m helpers.fidelity.results          (with PYTHONPATH=tests)
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers.fidelity.judges import Judgement

DIRECTORY = Path(__file__).resolve().parents[3] / "build" / "fidelity"
KINDS = ("netem", "userspace")

measured_now: dict[str, dict[str, Any]] = {}
"""By kind; of this process."""


def begin(kind: str, seconds: float) -> None:
    """A kind has been measured, which took so long."""
    uml = ", User-mode Linux" if os.environ.get("OPUS_IN_UML") else ""
    measured_now.setdefault(kind, {"kernel": platform.release() + uml, "seconds": 0.0, "properties": {}})
    measured_now[kind]["seconds"] += seconds


def keep(kind: str, name: str, judgement: Judgement) -> None:
    """Remember one property and write the kind's file anew."""
    measured_now[kind]["properties"][name] = asdict(judgement)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / f"{kind}.json").write_text(json.dumps(measured_now[kind], indent=1, ensure_ascii=False) + "\n")


def known() -> dict[str, dict[str, Any]]:
    """What was measured last, of each kind there is a file of."""
    return {kind: json.loads(path.read_text()) for kind in KINDS if (path := DIRECTORY / f"{kind}.json").exists()}


def table(found: dict[str, dict[str, Any]] | None = None) -> str:
    """One line a property: asked, allowed, measured with each kind of links (* where the judge said no), packets judged."""
    found = known() if found is None else found
    names = list(dict.fromkeys(name for kind in found.values() for name in kind["properties"]))
    rows = [["property", "asked", "allowed", *found, "packets"]]
    for name in names:
        judged = [kind["properties"].get(name) for kind in found.values()]
        first = next(one for one in judged if one)
        measured = [("" if one["ok"] else "* ") + one["measured"] if one else "-" for one in judged]
        rows.append([name, first["asked"], first["allowed"], *measured, " ".join(str(one["packets"]) for one in judged if one)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{kind}: Linux {data['kernel']}, {data['seconds']:.0f} s of measuring" for kind, data in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table() or "nothing measured yet")
