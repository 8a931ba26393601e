"""What an application is worth, as a scenario says it: piecewise-linear functions of what its users feel.

    utility:
      worth: 10                                   against other applications, when everything is as it wishes
      latency: {quantile: 95%, points: [[80ms, 100%], [200ms, 30%], [1s, 0%]]}
      availability: {points: [[99%, 0%], [99.9%, 100%]]}
      throughput: {points: [[0, 0%], [20/s, 10%], [50/s, 100%]]}
      floor: 2                                    hosts that it is promised whatever others are worth

Between two points a function is the line between them, before the first and after the last it is flat: continuous and bounded.
Better is never worth less: latency falls, the others rise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from opus_controller.model import units
from opus_controller.model.fields import Form, choice, real, whole
from opus_controller.model.units import shown

COMBINED: Final = ("product", "least")
MOST_POINTS: Final = 64
MOST_WORTH: Final = 1_000_000
MOST_FLOOR: Final = 1_000
PARTS: Final = ("latency", "availability", "throughput")

PointOf = tuple[float, float]


def _frequency(value: object) -> float:
    """Nothing a second may stand bare."""
    return 0.0 if value == 0 and not isinstance(value, bool) else units.parse_frequency(value)


def _point(parse: Callable[[object], float], example: str) -> Callable[[object], PointOf]:
    def parse_point(value: object) -> PointOf:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"{shown(value)} is not a point; allowed: a pair of what is felt and its worth, such as {example}")
        return parse(value[0]), units.parse_share(value[1])

    return parse_point


def _course(falling: bool, show: Callable[[Any], str]) -> Callable[[Sequence[PointOf]], tuple[PointOf, ...]]:
    """Checks that x rises from point to point, and that better is never worth less."""

    def check(points: Sequence[PointOf]) -> tuple[PointOf, ...]:
        for (x, y), (then, worth) in pairwise(points):
            if then <= x:
                raise ValueError(f"{show(then)} comes after {show(x)}; allowed: points in ascending order, no two at one place")
            if (worth > y) if falling else (worth < y):
                found = f"{show(then)} would be worth {units.format_share(worth)}, {show(x)} {units.format_share(y)}"
                raise ValueError(f"{found}; allowed: worth that {'falls' if falling else 'rises'} or stays from point to point")
        return tuple(points)

    return check


def _points(parse: Callable[[object], float], x_schema: Any, example: str, falling: bool, show: Callable[[Any], str]) -> Any:
    """The type of a list of points."""
    pair = {
        "type": "array",
        "prefixItems": [x_schema, {"anyOf": [{"type": "string", "pattern": units.SHARE_PATTERN}, {"const": 0}]}],
        "minItems": 2,
        "maxItems": 2,
        "examples": [example],
    }
    point = Annotated[tuple[float, float], BeforeValidator(_point(parse, example)), WithJsonSchema(pair)]
    return Annotated[
        list[point],
        Field(min_length=2, max_length=MOST_POINTS),
        AfterValidator(_course(falling, show)),
    ]


def _x(pattern: str) -> Any:
    return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}]}


LatencyPoints = _points(
    units.parse_duration, _x(units.DURATION_PATTERN), "[200ms, 30%]", True, lambda ns: units.format_duration(int(ns))
)
AvailabilityPoints = _points(units.parse_share, _x(units.SHARE_PATTERN), "[99.9%, 100%]", False, units.format_share)
ThroughputPoints = _points(_frequency, _x(units.FREQUENCY_PATTERN), "[50/s, 100%]", False, units.format_frequency)


def _quantile(value: object) -> float:
    found = units.parse_share(value)
    if not 0 < found < 1:
        raise ValueError(f"{shown(value)} is no quantile; allowed: above 0% and below 100%, such as 95%")
    return found


Quantile = Annotated[
    float, BeforeValidator(_quantile), WithJsonSchema({"type": "string", "pattern": units.SHARE_PATTERN, "examples": ["95%"]})
]


class LatencyForm(Form):
    """Of requests that are answered, from issue to the reply."""

    quantile: Quantile = 0.95
    points: LatencyPoints  # type: ignore[valid-type]


class AvailabilityForm(Form):
    """Share of the requests issued that are answered in time."""

    points: AvailabilityPoints  # type: ignore[valid-type]


class ThroughputForm(Form):
    """Requests answered a second, of all clients together."""

    points: ThroughputPoints  # type: ignore[valid-type]


class UtilityForm(Form):
    """What an application is worth to whoever pays for it, by what its users feel; at least one of latency, availability and
    throughput. The shares that they give are combined, and multiplied by `worth`."""

    worth: real(0, MOST_WORTH) = 1.0  # type: ignore[valid-type]
    """Against other applications: in whatever unit all of them are paid."""
    combine: Annotated[
        Literal["product", "least"], BeforeValidator(choice(*COMBINED)), WithJsonSchema({"enum": list(COMBINED)})
    ] = "product"
    """product: what is fast but mostly away is worth little; least: only the worst of them counts."""
    latency: LatencyForm | None = None
    availability: AvailabilityForm | None = None
    throughput: ThroughputForm | None = None
    floor: Annotated[
        int, BeforeValidator(whole(0, MOST_FLOOR)), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MOST_FLOOR})
    ] = 0
    """Hosts that it is promised, whatever others are worth."""

    @model_validator(mode="after")
    def _of_something(self) -> UtilityForm:
        if all(getattr(self, part) is None for part in PARTS):
            raise ValueError(f"a utility of nothing; allowed: at least one of {', '.join(PARTS)}")
        return self
