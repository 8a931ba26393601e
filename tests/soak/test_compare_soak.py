"""Twenty tries: a planted 10% is found, and no difference between two equal settings, in at least 19 of them each."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import planted

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def test_twenty_tries(tmp_path: Path) -> None:
    told, wrong, said = planted.tries(tmp_path, count=20, seeds=6)
    print(f"a 10% slower network found in {told} of 20 tries; two equal ones told apart in {wrong} of 20 {said}")
    assert told >= 19
    assert wrong <= 1
