"""The types of which the forms of topologies and scenarios are made: what people write in, what the program uses out.

A form is a pydantic model of a YAML mapping. Its fields parse units while validating, so a form in hand holds integers;
its JSON Schema tells the written form. Unknown keys are refused, and so is a key without a value, unless it names a list
or a mapping whose entries have all been commented out.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from opus_controller.model import units
from opus_controller.model.units import shown

NAME_PATTERN: Final = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
NAME_LENGTH: Final = 24
NAME_ALLOWED: Final = f'lower-case letters, digits and "-" between them, at most {NAME_LENGTH}'
RESERVED: Final = (
    "agent",
    "agents",
    "all",
    "and",
    "busiest",
    "everyone",
    "except",
    "group",
    "groups",
    "host",
    "hosts",
    "replica",
    "replicas",
    "rest",
    "same",
    "site",
    "sites",
    "steward",
)
"""Words of the selectors' language (opus_controller.model.selectors); a name may not be one."""

_MAPPINGS_AND_LISTS = (list, dict, tuple)


class Form(BaseModel):
    """A YAML mapping as people write it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_empty_values(cls, data: Any) -> Any:
        """`timeline:` with nothing under it is an empty one; `delay:` with nothing after it is a slip."""
        if not isinstance(data, dict) or None not in data.values():
            return data
        fields = {info.alias or name: info for name, info in cls.model_fields.items()}
        for key, value in data.items():
            if value is None and key in fields and not _is_container(fields[key].annotation):
                raise PydanticCustomError("no_value", "has no value; allowed: a value, or no key at all", {"key": key})
        return {key: value for key, value in data.items() if value is not None}


def _is_container(annotation: Any) -> bool:
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(
        get_origin(option) in _MAPPINGS_AND_LISTS or (isinstance(option, type) and issubclass(option, BaseModel))
        for option in options
    )


def suggestion(word: str, known: Sequence[str]) -> str:
    """ "did you mean 'jitter'? " if a known word is near, else nothing."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}? " if near else ""


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for an error message, the first dozen of them."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def parse_name(value: object) -> str:
    """A name of a site, group, host, application or event."""
    if isinstance(value, int | float | bool) or value is None:
        raise ValueError(f'{shown(value)} is not text; allowed: {NAME_ALLOWED} (in quotes: "{shown(value)}")')
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a name; allowed: {NAME_ALLOWED}")
    if not re.fullmatch(NAME_PATTERN, value) or len(value) > NAME_LENGTH:
        raise ValueError(f"{shown(value)} is not a name; allowed: {NAME_ALLOWED}")
    if value in RESERVED:
        raise ValueError(f"{shown(value)} has a meaning of its own in selectors; allowed: any other name")
    return value


def parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text; allowed: text (in quotes if it looks like something else)")
    return value.strip()


def parse_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false; allowed: true, false")
    return value


def whole(least: int, most: int) -> Callable[[object], int]:
    """A parser of whole numbers in [least, most]."""

    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{shown(value)} is out of place; allowed: a whole number from {least} to {most}")
        return value

    return parse


def number(least: float, most: float) -> Callable[[object], float]:
    """A parser of numbers in [least, most]."""

    def parse(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{shown(value)} is out of place; allowed: a number from {least:g} to {most:g}")
        return float(value)

    return parse


def real(least: float, most: float) -> Any:
    """The type of a field that holds such a number."""
    schema = {"type": "number", "minimum": least, "maximum": most}
    return Annotated[float, BeforeValidator(number(least, most)), WithJsonSchema(schema)]


def positive(parse: Callable[[object], int], allowed: str) -> Callable[[object], int]:
    """The same parser, refusing 0."""

    def parse_positive(value: object) -> int:
        result = parse(value)
        if result <= 0:
            raise ValueError(f"{shown(value)} is not above 0; allowed: {allowed}")
        return result

    return parse_positive


def choice(*options: str) -> Callable[[object], str]:
    """A parser of one of a few words."""

    def parse(value: object) -> str:
        if value not in options:
            hint = suggestion(value, options) if isinstance(value, str) else ""
            raise ValueError(f"{shown(value)} is not known; {hint}allowed: {', '.join(options)}")
        return str(value)

    return parse


def one_or_more(value: object) -> object:
    """A list where one thing may stand for a list of one."""
    return value if isinstance(value, list) else [value]


def _zero_or(pattern: str, allowed: str, *examples: str) -> WithJsonSchema:
    text = {"type": "string", "pattern": pattern, "examples": list(examples)}
    return WithJsonSchema({"description": allowed, "anyOf": [text, {"const": 0}]})


def _only(pattern: str, allowed: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": allowed, "examples": list(examples)})


_NAME_SCHEMA = WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": NAME_LENGTH, "description": NAME_ALLOWED})
_DURATION_SCHEMA = _zero_or(units.DURATION_PATTERN, units.DURATION_ALLOWED, "30ms", "1.5s", "250us")

Name = Annotated[str, BeforeValidator(parse_name), _NAME_SCHEMA]
Text = Annotated[str, BeforeValidator(parse_text), WithJsonSchema({"type": "string"})]
Flag = Annotated[bool, BeforeValidator(parse_flag), WithJsonSchema({"type": "boolean"})]
Duration = Annotated[int, BeforeValidator(units.parse_duration), _DURATION_SCHEMA]
Span = Annotated[
    int,
    BeforeValidator(positive(units.parse_duration, units.DURATION_ALLOWED)),
    _only(units.DURATION_PATTERN, f"{units.DURATION_ALLOWED}, more than 0", "30s", "2m"),
]
"""A duration of more than nothing."""
Rate = Annotated[int, BeforeValidator(units.parse_rate), _only(units.RATE_PATTERN, units.RATE_ALLOWED, "5Mbit", "1Gbit")]
Size = Annotated[
    int, BeforeValidator(units.parse_size), _zero_or(units.SIZE_PATTERN, units.SIZE_ALLOWED, "256KiB", "64kB", "1500B")
]
Capacity = Annotated[
    int,
    BeforeValidator(positive(units.parse_size, units.SIZE_ALLOWED)),
    _only(units.SIZE_PATTERN, f"{units.SIZE_ALLOWED}, more than 0", "512MiB"),
]
"""A size of more than nothing."""


def parse_room(value: object) -> int:
    """Bytes, or "full": none."""
    return 0 if value == "full" else units.parse_size(value)


Room = Annotated[
    int,
    BeforeValidator(parse_room),
    WithJsonSchema({"type": "string", "pattern": rf"^full$|{units.SIZE_PATTERN}", "examples": ["full", "20MiB"]}),
]
"""What a disk may hold."""
Offset = Annotated[int, BeforeValidator(units.parse_offset), _only(units.OFFSET_PATTERN, units.OFFSET_ALLOWED, "3s", "-200ms")]
"""A duration with a sign."""
Drift = Annotated[int, BeforeValidator(units.parse_drift), _only(units.DRIFT_PATTERN, units.DRIFT_ALLOWED, "200ppm", "-1%")]
Share = Annotated[float, BeforeValidator(units.parse_share), _zero_or(units.SHARE_PATTERN, units.SHARE_ALLOWED, "1%", "0.1%")]
Frequency = Annotated[
    float, BeforeValidator(units.parse_frequency), _only(units.FREQUENCY_PATTERN, units.FREQUENCY_ALLOWED, "0.5/s", "30/min")
]
