"""Settings of the overlay under test: what differs from the core's defaults, by the core's own names.

    nodes_per_agent=22     a field of NodeConfig
    app.policy=oldest      a field of AppConfig, for every application

Nothing here knows which fields there are: a setting that the core gains can be given at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_type_hints

from opus_node.core.types import AppConfig, NodeConfig

from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.units import parse_duration

PREFIX = "app."
_KEPT = frozenset({"apps", "abilities", "name", "replicas", "choose"})
"""Given by the experiment itself."""


@dataclass(frozen=True)
class Settings:
    node: Mapping[str, Any] = field(default_factory=dict)
    app: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(texts: Iterable[str]) -> Settings:
        """Of "name=value" each; durations as in scenarios. Raises ScenarioError for names or values that do not fit."""
        found = Settings()
        for text in texts:
            name, _, value = text.partition("=")
            found = found.but(**{name: _value(name, value)})
        return found

    def but(self, **changes: Any) -> Settings:
        """These, with some changed; "app.x" of an application."""
        node, app = dict(self.node), dict(self.app)
        for name, value in changes.items():
            _kind(name)
            if name.startswith(PREFIX):
                app[name.removeprefix(PREFIX)] = value
            else:
                node[name] = value
        return Settings(node, app)

    def of(self, config: NodeConfig) -> NodeConfig:
        """`config` under these settings."""
        return replace(config, apps=tuple(replace(app, **self.app) for app in config.apps), **self.node)

    def told(self) -> dict[str, Any]:
        """For reports."""
        return {**self.node, **{PREFIX + name: value for name, value in self.app.items()}}


def known(name: str) -> bool:
    """Whether the core has this setting; what it lacks cannot be measured yet."""
    return name in _names()


def _names() -> list[str]:
    node = [f.name for f in fields(NodeConfig) if f.name not in _KEPT]
    return node + [PREFIX + f.name for f in fields(AppConfig) if f.name not in _KEPT]


def _kind(name: str) -> Any:
    names = _names()
    if name not in names:
        raise ScenarioError(f"--set {name}: no such setting; {suggestion(name, names)}allowed: {listed(names)}")
    of = AppConfig if name.startswith(PREFIX) else NodeConfig
    return get_type_hints(of)[name.removeprefix(PREFIX)]


def _value(name: str, text: str) -> Any:
    kind = _kind(name)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text]
        if kind is int:
            return int(text) if text.lstrip("-").isdigit() else parse_duration(text)
        return kind(text)
    except (ValueError, KeyError, TypeError):
        raise ScenarioError(f"--set {name}={text}: does not fit; allowed: {getattr(kind, '__name__', kind)}") from None
