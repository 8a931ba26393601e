"""What a scenario may ask of Opus only: in other overlays keys' hashes say who serves, and nobody is an agent or a steward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.scenario_form import AUTO, NONE, OPUS, AppForm, ScenarioForm

_OF_APPLICATIONS: Final[tuple[tuple[str, Callable[[AppForm], bool]], ...]] = (
    ("service", lambda app: app.service is not None),
    ("service_time", lambda app: bool(app.service_time)),
    ("utility", lambda app: app.utility is not None),
    ("consistency", lambda app: app.consistency != NONE),
    ("spread", lambda app: app.spread is not None),
    ("memory", lambda app: bool(app.memory)),
    ("storage", lambda app: bool(app.storage)),
    ("replicas", lambda app: app.replicas == AUTO),
    ("policy", lambda app: app.policy != "best"),
)
_ROLES: Final = ("agent", "agent-of", "busiest-agent", "steward")
_HIT: Final = ("crash", "power_off", "leave", "restart", "pause", "resume", "partition", "from_", "strain", "flood")


def check_overlay(problems: Problems, form: ScenarioForm) -> None:
    protocol = form.overlay.protocol or OPUS
    if protocol == OPUS:
        return
    for k, app in enumerate(form.applications):
        for key, asked in _OF_APPLICATIONS:
            if asked(app):
                what = f"{key}: {AUTO}" if key == "replicas" else f"{key}: {app.policy}" if key == "policy" else key
                problems.add(("applications", k, key), f"{protocol} does not know {what}; allowed: with overlay.protocol: {OPUS}")
    for k, event in enumerate(form.timeline):
        for key in _HIT:
            for selector in getattr(event, key) or ():
                if selector.role in _ROLES:
                    where: KeyPath = ("timeline", k, key.rstrip("_").replace("_", "-"))
                    message = f"{protocol} has neither agents nor stewards; allowed: other hosts, or overlay.protocol: {OPUS}"
                    problems.add(where, message)
