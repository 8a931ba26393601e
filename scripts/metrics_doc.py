"""Write docs/metrics.md, the table of all metrics, from the tables in the code; `--check` says whether it is current.

python scripts/metrics_doc.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from opus_controller.observe import metrics as controller
from opus_node import metrics as node
from opus_node.exposition import Spec

FILE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

HEAD = """\
# Metrics

Made by `make dashboards` from the tables in the code (`opus_node.metrics`, `opus_controller.observe.metrics`); a test compares
those with what is exposed. How to look at them: [observing a run](observe.md).

Every target also has Prometheus' own `up` and `scrape_duration_seconds`, and the labels that service discovery gives it:

| label | at | |
|---|---|---|
| `run` | all | name of the run's directory; of a testbed that stays up, its eight digits |
| `job` | all | `opus-host` or `opus-controller` |
| `instance` | all | run and host |
| `host`, `site`, `group` | hosts | by their names in the topology |

Times are seconds, sizes bytes, shares between 0 and 1. Labels are bounded by the plan: its applications, sites, hosts, and
its latest 200 faults; at most 16 pairs of hosts are probed.
"""


def document() -> str:
    return HEAD + "".join(
        (
            *_part("Of every host: `/hosts/NAME/metrics`", node.SECTIONS),
            *_part("Of the controller: `/metrics`", controller.SECTIONS),
        )
    )


def _part(title: str, sections: Mapping[str, Mapping[str, Spec]]) -> Iterator[str]:
    yield f"\n## {title}\n"
    for section, metrics in sections.items():
        yield f"\n### {section}\n\n| metric | kind | labels | |\n|---|---|---|---|\n"
        for name, spec in metrics.items():
            labels = ", ".join(f"`{label}`" for label in spec.labels)
            yield f"| `{name}` | {spec.kind} | {labels} | {spec.help} |\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    if not parser.parse_args().check:
        FILE.write_text(document(), encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == document():
        return 0
    print("metrics: docs/metrics.md is not what the code's tables say; run `make dashboards`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
