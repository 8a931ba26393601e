"""A user's own program as a scenario names it: how it is started, asked, and found healthy (docs/services.md)."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from opus_controller.model.fields import Duration, Form, Span, Text, choice, whole
from opus_controller.model.units import SECOND, shown

PLACEHOLDERS: Final = ("port", "address", "files", "data")
"""What `{...}` in a command may name."""
RESERVED_PORTS: Final = (7000, 7001)
"""The node's own, on the emulated address: messages, and files and connections on their way."""
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_]+)\}")
MOST_REQUEST: Final = 4096
_MS: Final = SECOND // 1000


def _port(value: object) -> int:
    port = whole(1024, 65535)(value)
    if port in RESERVED_PORTS:
        raise ValueError(f"{port} is the node's own; allowed: any other from 1024 to 65535")
    return port


_PORT_SCHEMA: Final = {"type": "integer", "minimum": 1024, "maximum": 65535, "not": {"enum": list(RESERVED_PORTS)}}
Port = Annotated[int, BeforeValidator(_port), WithJsonSchema(_PORT_SCHEMA)]


def parse_command(value: object) -> tuple[str, ...]:
    """A list of words, or one line that a shell would split into them (no shell runs)."""
    allowed = "a list of words, such as [nginx, -p, '{files}'], or one line"
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{shown(value)} does not split into words ({error}); allowed: {allowed}") from None
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value) or not value[0]:
        raise ValueError(f"{shown(value)} is not a command; allowed: {allowed}")
    unknown = [name for word in value for name in _PLACEHOLDER.findall(word) if name not in PLACEHOLDERS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"{{{unknown[0]}}} is no placeholder; allowed: {known}")
    if any("\0" in word for word in value):
        raise ValueError(f"a word with a zero byte; allowed: {allowed}")
    return tuple(value)


def _raw(value: object) -> str:
    """Text as it stands: a line's end may matter to a protocol."""
    if not isinstance(value, str) or not value or len(value.encode()) > MOST_REQUEST:
        raise ValueError(f"{shown(value)} is not a request; allowed: text of 1 to {MOST_REQUEST} bytes")
    return value


def _health(value: object) -> object:
    """A path may stand for a check of it."""
    return {"path": value} if isinstance(value, str) else value


_WORDS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}
Command = Annotated[
    tuple[str, ...], BeforeValidator(parse_command), WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _WORDS]})
]


class HealthForm(Form):
    """When the program counts as healthy: it answers `path` with 200 to 399 (http), or takes a connection (tcp)."""

    path: Text = "/"
    every: Span = SECOND
    timeout: Span = SECOND
    failures: Annotated[
        int, BeforeValidator(whole(1, 100)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 100})
    ] = 3
    """As many in a row, and the program is unready and started anew."""
    start: Span = 10 * SECOND
    """A started program that is not healthy by then is started anew."""


class ServiceForm(Form):
    """A program that serves the application where the overlay makes a replica."""

    command: Command | None = None
    """What a host runs, in the foreground. `{port}`, `{address}` (the host's), `{files}` and `{data}` (directories of its own)
    are filled in."""
    image: Text | None = None
    """A container image in place of a command; for --runtime docker."""
    port: Port
    """On which it listens, on 127.0.0.1 or everywhere; only the node beside it speaks with it."""
    protocol: Annotated[
        Literal["http", "tcp"], BeforeValidator(choice("http", "tcp")), WithJsonSchema({"enum": ["http", "tcp"]})
    ] = "http"
    health: Annotated[
        HealthForm, BeforeValidator(_health, json_schema_input_type=HealthForm | str)
    ] = HealthForm()  # fmt: skip
    files: Text | None = None
    """A directory, relative to the scenario. It is shipped to each new replica over the emulated network."""
    request: Annotated[str, BeforeValidator(_raw), WithJsonSchema({"type": "string", "minLength": 1})] | None = None
    """What a request of the workload asks; `{key}` is its key. http: a path ("/" unless given). tcp: what is sent; the first
    bytes that come back are the answer."""
    gateway: Port | None = None
    """Port on 127.0.0.1 of every host where a user's own client finds the service; from 7080 on unless given."""
    deadline: Span = 10 * SECOND
    """Of what comes in at a gateway."""
    model_start: Duration = 300 * _MS
    model_answer: Duration = 2 * _MS
    """In the simulator, which runs no program: how long it takes to start, and to answer."""

    @model_validator(mode="after")
    def _one_way_to_run(self) -> ServiceForm:
        if (self.command is None) == (self.image is None):
            raise ValueError("must say what to run, once; allowed: command or image")
        if self.protocol == "http":
            for what, path in (("health", self.health.path), ("request", self.request or "/")):
                if not path.startswith("/") or any(c.isspace() or not c.isprintable() for c in path):
                    raise ValueError(f"{what} {shown(path)} is not a path; allowed with http: such as /health")
        elif "path" in self.health.model_fields_set:
            raise ValueError("health has a path, but protocol is tcp; allowed: health without one (a connection is the check)")
        return self

    @property
    def asked(self) -> str:
        """What a request of the workload asks; empty if the scenario does not say (tcp)."""
        return self.request or ("/" if self.protocol == "http" else "")
