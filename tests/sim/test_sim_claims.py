"""`opus claims --quick` as a user runs it: every claim is measured, judged and drawn."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opus_controller.claims.catalogue import catalogue
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS
from opus_controller.claims.measure.networks import available


@pytest.mark.claims
@pytest.mark.timeout(1500)
def test_the_quick_report_says_of_every_claim_whether_it_holds(tmp_path: Path) -> None:
    there = {network.name for network in available(None)[0]}
    able = [claim for claim in catalogue() if set(claim.networks) <= there]
    out = tmp_path / "claims.md"
    ran = subprocess.run(
        [sys.executable, "-m", "opus_controller.cli", "claims", "--quick", "--out", str(out), "--json"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = {one["number"]: one for one in json.loads(ran.stdout)}
    assert list(told) == [claim.number for claim in able]
    assert {one["verdict"] for one in told.values()} <= {HOLDS, CONDITIONS, FAILS}
    text = out.read_text()
    for claim in catalogue():
        assert f"## {claim.number} {claim.name}" in text or f"left out: claim {claim.number} {claim.name}" in text
    pictures = re.findall(r"\]\((claims/[^)]+\.svg)\)", text)
    assert len(pictures) >= len(able)
    for picture in pictures:
        assert "<svg" in (tmp_path / picture).read_text()
