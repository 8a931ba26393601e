"""Selectors as fields of forms: one phrase, or a list of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from opus_controller.model.selectors import Selector, parse_selector


def parse_selectors(value: object) -> tuple[Selector, ...]:
    phrases = value if isinstance(value, list) else [value]
    if not phrases:
        raise ValueError("an empty list means nobody; allowed: at least one selector")
    return tuple(parse_selector(phrase) for phrase in phrases)


Selectors = Annotated[
    tuple[Selector, ...],
    BeforeValidator(parse_selectors),
    WithJsonSchema(
        {
            "description": 'Who: "all", "site NAME", "group NAME", "20% of hosts", "a replica of APP", "same as EVENT", ...',
            "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        }
    ),
]
