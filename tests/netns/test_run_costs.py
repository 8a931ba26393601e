"""What requests cost a user's program, measured on real hosts, sizes its replica set."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.service_runs import sized_by_its_own_time

pytestmark = pytest.mark.netns


def test_a_program_gets_as_many_replicas_as_its_own_processor_time_needs(tmp_path: Path) -> None:
    program = 'command: [python3, "{files}/program.py", "{port}", http], files: burning'
    sized_by_its_own_time(tmp_path, program, "netns")
