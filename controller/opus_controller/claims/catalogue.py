"""All claims, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from opus_controller.claims import (
    adaptation,
    attacks,
    choosing,
    collapse,
    depths,
    few,
    forwarding,
    growth,
    knowledge,
    lasting,
    monitoring,
    mutable,
    rivals,
    sizes,
    stress,
)
from opus_controller.claims.claim import Claim
from opus_controller.model.errors import ScenarioError

TOPICS = (
    *(growth, rivals, few, mutable, sizes, lasting, collapse, attacks, monitoring),
    *(knowledge, choosing, depths, forwarding, stress, adaptation),
)
"""Modules with CLAIMS."""


def catalogue() -> tuple[Claim, ...]:
    found = [claim for topic in TOPICS for claim in topic.CLAIMS]
    return tuple(sorted(found, key=lambda claim: claim.number))


def chosen(words: Sequence[str]) -> tuple[Claim, ...]:
    """By number or name; all of them without words. ScenarioError for one that is not there."""
    every = catalogue()
    if not words:
        return every
    known = {str(claim.number): claim for claim in every} | {claim.name: claim for claim in every}
    if unknown := [word for word in words if word not in known]:
        allowed = ", ".join(f"{claim.number} {claim.name}" for claim in every)
        raise ScenarioError(f"claims: there is no claim {unknown[0]}; allowed: {allowed}")
    return tuple(claim for claim in every if claim in [known[word] for word in words])
