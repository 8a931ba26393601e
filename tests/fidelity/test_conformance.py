"""Both kinds of links do to packets what was asked: one suite, the same hosts and judges for either.

netem is judged under a kernel that has it (tests/netem/in-uml), userspace on this one. `helpers.fidelity` holds the
measurements (steady, rates, changes) and the judges; here each property is judged on links made as asked, and on links
made wrong, where the judge has to say no.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from helpers.fidelity import changes, rates, results, steady

pytestmark = pytest.mark.timeout(600)  # whoever asks first for a part waits for a minute or two of measuring

KINDS = [
    pytest.param("userspace", marks=pytest.mark.netns),
    pytest.param("netem", marks=pytest.mark.netem),
]
PARTS: dict[str, Any] = {"steady": steady, "rates": rates, "changes": changes}
RIGHT = [(part, name) for part, module in PARTS.items() for name in module.PROPERTIES]
WRONG = [
    (part, name, flow)
    for part, module in PARTS.items()
    for name, asked in module.PROPERTIES.items()
    for flow in asked.wrong
]  # fmt: skip


@cache
def measured(kind: str, part: str) -> Any:
    """A part of the measurements, made once when first asked for."""
    start = time.monotonic()
    measure: Callable[[str, Path], Any] = PARTS[part].measure
    with TemporaryDirectory(prefix="fidelity-") as directory:
        found = measure(kind, Path(directory))
    results.begin(kind, time.monotonic() - start)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("part", "name"), RIGHT, ids=[name for _, name in RIGHT])
def test_as_asked(kind: str, part: str, name: str) -> None:
    """Packets show what was asked for."""
    found = measured(kind, part)
    judgement = found.judge(name, PARTS[part].PROPERTIES[name].right)
    results.keep(kind, name, judgement)
    assert judgement.ok, f"asked {judgement.asked}, measured {judgement.measured}, allowed {judgement.allowed}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("part", "name", "flow"), WRONG, ids=[f"{name}: {flow}" for _, name, flow in WRONG])
def test_planted_wrong_is_rejected(kind: str, part: str, name: str, flow: str) -> None:
    """The judge of a property says no to links that have another value."""
    judgement = measured(kind, part).judge(name, flow)
    assert not judgement.ok, f"{flow} passed for {judgement.asked}: {judgement.measured}, allowed {judgement.allowed}"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_that_was_not_asked(kind: str) -> None:
    """No overflow, and the links' own count of losses is what was missed."""
    found = measured(kind, "steady")
    assert found.overflow == 0
    assert found.counted_lost == found.missing
