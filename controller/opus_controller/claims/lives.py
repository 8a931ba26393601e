"""Which lives claims share, and their figures over seeds: so that several claims speak of the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.claims import words
from opus_controller.claims.claim import Found, Task
from opus_controller.claims.measure.life import PARTS, REQUESTS, Life, figures_of
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.measure.overlays import EVERYONE, Overlay
from opus_controller.claims.setting import Setting

GROWN = (REQUESTS, PARTS[1])
"""Futures of lives that are about n."""


def whole(setting: Setting, overlay: Overlay) -> list[Life]:
    """On the main network, with all futures, one a seed."""
    return [_life(setting, setting.main, overlay, setting.scale.hosts, seed, PARTS) for seed in setting.seeds]


def asked(setting: Setting, network: Network, overlay: Overlay) -> list[Life]:
    """On any network, with requests at least."""
    if network == setting.main and overlay in EVERYONE:
        return whole(setting, overlay)
    return [_life(setting, network, overlay, setting.scale.hosts, seed, (REQUESTS,)) for seed in setting.seeds]


def tuned(setting: Setting, overlay: Overlay) -> list[Life]:
    """On the main network under the first seed, with maintenance more and less often than its own."""
    arms = (overlay.tuned(often) for often in setting.scale.arms)
    return [_life(setting, setting.main, arm, setting.scale.hosts, setting.first_seed, (REQUESTS,)) for arm in arms]


def grown(setting: Setting, overlay: Overlay) -> list[Life]:
    """On the main network under the first seed, one a size."""
    return [_life(setting, setting.main, overlay, hosts, setting.first_seed, GROWN) for hosts in setting.scale.sizes]


def _life(setting: Setting, network: Network, overlay: Overlay, hosts: int, seed: int, parts: tuple[str, ...]) -> Life:
    return Life(network, overlay, hosts, setting.scale.replicas, seed, setting.scale, parts)


def tasks(lives: Sequence[Life]) -> list[Task]:
    return [life.task() for life in lives]


def told(found: Found, lives: Sequence[Life], *path: str) -> Estimate:
    """A figure of these lives, its mean over them."""
    return words.mean(figures_of(found[life.name], *path) for life in lives)


def value(found: Found, life: Life, *path: str) -> Any:
    return figures_of(found[life.name], *path)
