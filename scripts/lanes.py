"""Runs the tests lane by lane and closes with a table: tests run, failed, skipped, time.

A lane is a pytest selection that needs the same of the machine. A lane that collects no test fails, and so does,
with CI=true, a lane that cannot run here; on a user's machine such a lane is skipped with its reason.

    python scripts/lanes.py [LANE ...] [-- PYTEST ARGUMENTS]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CI = os.environ.get("CI", "").lower() in {"1", "true"}


def needs_root_and_tun() -> str:
    """Why the netns lane cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root: sudo make test"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is missing: modprobe tun"
    if shutil.which("ip") is None:
        return "iproute2 is missing: apt-get install iproute2"
    return ""


def needs_uml() -> str:
    """Why the netem lane cannot run here; empty if it can."""
    if why := needs_root_and_tun():
        return why
    if shutil.which("linux.uml") is None:
        return "User-mode Linux is missing: apt-get install --no-install-recommends user-mode-linux kmod"
    return ""


def needs_prometheus() -> str:
    """Why the prometheus lane cannot run here; empty if it can."""
    if why := needs_root_and_tun():
        return why
    if missing := [name for name in ("prometheus", "promtool") if shutil.which(name) is None]:
        return f"no {' and '.join(missing)} on PATH: apt-get install --no-install-recommends prometheus"
    return ""


def needs_docker() -> str:
    """Why the docker lane cannot run here; empty if it can. Its tests start an engine of their own."""
    if why := needs_root_and_tun():
        return why
    if missing := [name for name in ("dockerd", "containerd", "mmdebstrap", "prometheus") if shutil.which(name) is None]:
        packages = "docker.io mmdebstrap prometheus"
        return f"no {' and '.join(missing)} on PATH: apt-get install --no-install-recommends {packages}"
    return ""


def needs_qemu() -> str:
    """Why the qemu lane cannot run here; empty if it can. Fetches the guest's kernel if that is all that is missing."""
    asked = subprocess.run(
        [sys.executable, "-m", "helpers.qemu", "--lacks"],
        cwd=ROOT / "tests", capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return asked.stdout.strip() or (asked.stderr.strip() if asked.returncode else "")


@dataclass(frozen=True)
class Lane:
    name: str
    marks: str
    paths: tuple[str, ...] = ("tests",)
    lacks: Callable[[], str] = lambda: ""
    prefix: tuple[str, ...] = ()
    """Put before the pytest command: how to get into the kernel the lane needs."""
    shared: bool = False
    """Whether its tests need nothing but processors, so that as many processes as there are of these may share them."""


LANES = {
    lane.name: lane
    for lane in (
        Lane(
            "pure",
            "not clock and not netns and not netem and not docker and not qemu and not prometheus and not claims and not soak",
            shared=True,
        ),
        Lane("clock", "clock and not soak", ("tests/unit",)),
        Lane("claims", "claims and not soak", ("tests/sim",)),
        Lane("netns", "netns and not soak", lacks=needs_root_and_tun),
        Lane("netem", "netem and not soak", lacks=needs_uml, prefix=("tests/netem/in-uml",)),
        Lane("docker", "docker and not soak", lacks=needs_docker),
        Lane("qemu", "qemu and not soak", ("tests/qemu",), lacks=needs_qemu, prefix=("tests/qemu/in-qemu",)),
        Lane("prometheus", "prometheus and not docker and not soak", lacks=needs_prometheus),
    )
}
SOAK = Lane("soak", "soak", lacks=needs_root_and_tun)


@dataclass
class Outcome:
    lane: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    why: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failed and not self.problems


def count(junit: Path, outcome: Outcome) -> None:
    """Add up what pytest wrote; a missing or broken file is a problem of its own."""
    try:
        suites = list(ET.parse(junit).getroot().iter("testsuite"))
    except (OSError, ET.ParseError) as error:
        outcome.problems.append(f"no result file: {error}")
        return
    for suite in suites:
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        outcome.failed += bad
        outcome.skipped += skipped
        outcome.passed += tests - skipped - bad


def run(lane: Lane, extra: list[str]) -> Outcome:
    outcome = Outcome(lane.name)
    if why := lane.lacks():
        outcome.why = why
        if CI:
            outcome.problems.append(f"cannot run in CI: {why}")
        return outcome
    print(f"\n=== lane {lane.name} ===", flush=True)
    # The result file lies in the tree's own build directory: User-mode Linux shares the tree, not /tmp.
    results = ROOT / "build"
    results.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"lane-{lane.name}-", dir=results) as place:
        junit = Path(place) / "junit.xml"
        command = [
            *lane.prefix,
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            lane.marks,
            f"--junitxml={junit}",
            *(("-p", "xdist", "-n", str(os.cpu_count() or 1), "--dist", "worksteal") if lane.shared else ()),
            *lane.paths,
            *extra,
        ]
        start = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
        outcome.seconds = time.monotonic() - start
        count(junit, outcome)
    if code == 5 or outcome.passed + outcome.failed == 0:
        outcome.problems.append("no test ran")
    elif code not in (0, 1):
        outcome.problems.append(f"pytest ended with {code}")
    elif code == 1 and not outcome.failed:
        outcome.problems.append("pytest failed without a failed test")
    if CI and outcome.skipped:
        outcome.problems.append(f"{outcome.skipped} skipped in CI, where nothing may be")
    return outcome


def table(outcomes: list[Outcome]) -> str:
    lines = [f"{'lane':10} {'passed':>7} {'failed':>7} {'skipped':>8} {'time':>8}  "]
    for o in outcomes:
        remark = "; ".join(o.problems) or (f"skipped: {o.why}" if o.why else "")
        lines.append(f"{o.lane:10} {o.passed:7d} {o.failed:7d} {o.skipped:8d} {o.seconds:7.1f}s  {remark}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    names, extra = (
        (arguments, []) if "--" not in arguments else (arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :])
    )
    known = {**LANES, "soak": SOAK}
    if unknown := [name for name in names if name not in known]:
        print(f"lanes: no lane named {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    outcomes = [run(known[name], extra) for name in names or LANES]
    print("\n" + table(outcomes))
    failed = sum(o.failed for o in outcomes) + sum(bool(o.problems) for o in outcomes)
    print(f"{sum(o.passed for o in outcomes)} passed, {failed} failed, {sum(o.skipped for o in outcomes)} skipped")
    return 0 if all(o.ok for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
