"""Where to draw sites and hosts: by geography if the topology knows it, else so that near in delay is near on paper."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from opus_controller.report.world import Geometry

Points = npt.NDArray[np.float64]

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def classical_mds(distance: Points) -> Points:
    """n points in the plane whose distances come as near to `distance` (n x n, symmetric) as a linear map can bring them.

    Torgerson, "Multidimensional scaling: I. Theory and method", Psychometrika 17, 1952: the two leading eigenvectors of
    the doubly centred squared distances. The signs are fixed (first non-zero coordinate positive), so it is deterministic.
    """
    n = len(distance)
    if n < 2:
        return np.zeros((n, 2))
    squared = distance**2
    centred = -0.5 * (squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean())
    values, vectors = np.linalg.eigh(centred)
    points: Points = np.zeros((n, 2))
    for axis in range(min(2, n)):
        vector = vectors[:, -1 - axis] * math.sqrt(max(values[-1 - axis], 0.0))
        leading = vector[np.flatnonzero(np.abs(vector) > 1e-9)[:1]]
        points[:, axis] = -vector if len(leading) and leading[0] < 0 else vector
    return points


def site_points(geometry: Geometry) -> tuple[Points, bool]:
    """One point a site, in no particular unit, y downwards; and whether they are geography."""
    places = geometry.plan.places
    if places and len(places) == len(geometry.plan.sites) and all(place is not None for place in places):
        return np.array([(place.lon, -place.lat) for place in places if place is not None], dtype=np.float64), True
    delay = geometry.site_delay.astype(np.float64)
    symmetric = (delay + delay.T) / 2
    np.fill_diagonal(symmetric, 0.0)
    return classical_mds(symmetric), False


def fit(points: Points, width: float, height: float, margin: float) -> Points:
    """Scale and move into the box, both axes alike, centred; a single point goes to the middle."""
    if not len(points):
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([width - 2 * margin, height - 2 * margin])
    extent = high - low
    scale = min((r / e for r, e in zip(room, extent, strict=True) if e > 1e-9), default=1.0)
    placed: Points = (points - (low + high) / 2) * scale + np.array([width / 2, height / 2])
    return placed


def push_apart(points: Points, radius: Points, width: float, height: float, rounds: int = 120) -> Points:
    """Move circles of these radii apart until none overlap, or rounds are used up, and keep them in the box. Deterministic."""
    at = points.copy()
    n = len(at)
    # Points in one place need some direction to go to.
    at += 0.01 * np.column_stack([np.cos(np.arange(n) * GOLDEN_ANGLE), np.sin(np.arange(n) * GOLDEN_ANGLE)])
    need = radius[:, None] + radius[None, :]
    for _ in range(rounds):
        offset = at[:, None, :] - at[None, :, :]
        apart = np.sqrt((offset**2).sum(axis=2))
        overlap = np.maximum(need - apart, 0.0)
        np.fill_diagonal(overlap, 0.0)
        if overlap.max(initial=0.0) < 0.5:
            break
        direction = offset / np.maximum(apart, 1e-9)[:, :, None]
        at += (direction * overlap[:, :, None] * 0.5).sum(axis=1) * 0.6
        at[:, 0] = np.clip(at[:, 0], radius, np.maximum(width - radius, radius))
        at[:, 1] = np.clip(at[:, 1], radius, np.maximum(height - radius, radius))
    return at


def sunflower(n: int, radius: float) -> Points:
    """n points evenly over a disc around the origin (Vogel 1979); one point is its centre."""
    if n == 1:
        return np.zeros((1, 2))
    k = np.arange(n)
    r = radius * np.sqrt((k + 0.5) / n)
    return np.column_stack([r * np.cos(k * GOLDEN_ANGLE), r * np.sin(k * GOLDEN_ANGLE)])
