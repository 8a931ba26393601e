"""What a scenario expects of its figures, as a sentence or a mapping.

    availability >= 99.9% outside 2s after faults where reachable
    availability >= 95% of app web at site sa-east-1
    routing_latency_ms.p50 <= 60ms
    hops.max <= 2
    recovery_s.max <= 2s after loss
    availability >= 99.9% outside 2s after faults and churn

    - availability: ">= 99.9%"
      outside: 2s after faults
      reachable: true

Figures have the names of `result.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from opus_controller.model.fields import listed, parse_flag, suggestion
from opus_controller.model.units import parse_duration, parse_share, shown

Unit = Literal["share", "ms", "s", "number"]

_LATENCY = ("mean", "p50", "p90", "p99", "max")
FIGURES: Final[Mapping[str, Unit]] = {
    "availability": "share",
    **{f"routing_latency_ms.{q}": "ms" for q in _LATENCY},
    **{f"request_latency_ms.{q}": "ms" for q in _LATENCY},
    **{f"hops.{q}": "number" for q in ("mean", "p50", "max")},
    "recovery_s.max": "s",
    **{f"regret_ms.{q}": "ms" for q in ("p50", "p95", "p99")},
    "stretch": "number",
    "cost_of_self_organization": "number",
    **{f"requests.{q}": "number" for q in ("issued", "ok", "failed", "shed")},
    "utility.share": "share",
    "utility.follow_s": "s",
    "utility.short_s": "s",
    "consistency.violations": "number",
    "spread.published": "number",
    "spread.reached": "share",
    **{f"spread.within_s.{q}": "s" for q in ("p50", "p99", "max")},
    **{f"spread.all_s.{q}": "s" for q in ("p50", "p99", "max")},
    "spread.copies": "number",
    **{f"spread.links.{q}": "number" for q in ("mean", "max")},
    "shards.lost": "share",
    "shards.moves": "number",
    "shards.hottest_copies": "number",
    "shards.domains_min": "number",
    "agents": "number",
    "replicas": "number",
    **{f"state_entries.{role}.{q}": "number" for role in ("node", "agent") for q in ("p50", "max")},
    **{f"control_bytes_per_s.{q}": "number" for q in ("mean", "p99", "max")},
}
PER_REQUEST: Final = (
    "availability",
    "routing_latency_ms",
    "request_latency_ms",
    "hops",
    "requests",
    "stretch",
    "regret_ms",
    "cost_of_self_organization",
    "recovery_s",
)
"""Figures made of requests, which app, site, reachable and (but for recovery_s) outside can narrow."""
PER_HOST: Final = ("state_entries", "control_bytes_per_s")
"""Figures made of what hosts hold and send, which site and outside can narrow. A host's tables and messages are those of all
applications together."""
UTILITY: Final = ("utility.share", "utility.follow_s", "utility.short_s")
"""Of all applications with a utility, or of one: what was felt / what they are worth; how soon hosts followed a crowd; for how
long less was held than promised."""
VIOLATIONS: Final = "consistency.violations"
"""Keys for which what was promised was not kept: of all applications, or of one."""
SPREAD: Final = "spread"
"""Figures of updates among replicas: of all applications, or of one; those of updates also of what was published between an event
and the next."""
OF_ALL_UPDATES: Final = ("spread.copies", "spread.links")
SHARDS: Final = ("shards.lost", "shards.moves", "shards.hottest_copies", "shards.domains_min")
"""Of all applications with shards, or of one."""
REPLICAS: Final = "replicas"
"""Live ones at the end: of all applications, or of one."""
FEW_PARTS: Final = 5
"""So many of a figure's parts are told where all figures are."""
OPTIONS: Final = ("name", "app", "site", "outside", "reachable", "after")
SHED: Final = "requests.shed"
"""How often requests were turned away: counted by those who did, so it cannot be narrowed."""
BOUND_ALLOWED: Final = '">= 99.9%", "<= 60ms", "== 0" (one of <=, >=, == and a number)'
SENTENCE_ALLOWED: Final = (
    '"FIGURE >= BOUND", then any of "of app NAME", "at site NAME", "outside 2s after faults" (or "after faults and churn"), '
    '"where reachable", "after EVENT"'
)


@dataclass(frozen=True)
class ExpectationForm:
    """A parsed expectation; `app`, `site` and `after` are not yet checked against the scenario."""

    name: str
    figure: str
    op: Literal["<=", ">=", "=="]
    bound: float
    app: str = ""
    site: str = ""
    outside: int | None = None
    outside_churn: bool = False
    reachable: bool = False
    after: str = ""


def parse_expectation(value: object) -> ExpectationForm:
    """Either form. Raises ValueError in one line."""
    if isinstance(value, str):
        return _from_sentence(" ".join(value.split()))
    if isinstance(value, dict):
        return _from_mapping(value)
    raise ValueError(f"{shown(value)} is not an expectation; allowed: {SENTENCE_ALLOWED}, or a mapping")


def _from_sentence(text: str) -> ExpectationForm:
    match = re.match(r"([\w.]+) ?(<=|>=|==|≤|≥|<|>|=)(?!=) ?(-?[\d.]+ ?(?:%|[a-zµ]+(?![a-z]))?)(?=[ ,]|$)", text)
    if match is None:
        raise ValueError(f"{shown(text)} is not an expectation; allowed: {SENTENCE_ALLOWED}")
    figure, rest = match[1], text[match.end() :].replace(",", " ").strip()
    options: dict[str, object] = {}
    # "60 of app web" must not read "of" as a unit, which the pattern above would.
    number = match[3]
    if unit := re.search(r" (of|at|outside|where|after)$", number):
        number, rest = number[: unit.start()], f"{unit[1]} {rest}"
    while rest:
        for key, pattern in (
            ("outside", r"outside (\S+(?: after faults? and churn)?)(?: after faults?)?"),
            ("reachable", r"where reachable"),
            ("app", r"(?:of|for) (?:app )?([\w-]+)"),
            ("site", r"(?:at|in) (?:site )?([\w-]+)"),
            ("after", r"after ([\w-]+)"),
        ):
            if (option := re.match(pattern + r"(?= |$)", rest)) and key not in options:
                options[key] = option[1] if option.groups() else True
                rest = rest[option.end() :].strip()
                break
        else:
            raise ValueError(f"{shown(rest)} is not understood in an expectation; allowed: {SENTENCE_ALLOWED}")
    return _make(text, figure, f"{match[2]} {number}", options)


def _from_mapping(value: dict[str, object]) -> ExpectationForm:
    figures = [key for key in value if key not in OPTIONS]
    if len(figures) != 1:
        unknown = next((key for key in figures if key not in FIGURES), "")
        if unknown and any(key in FIGURES for key in figures):
            raise ValueError(
                f"unknown key {shown(unknown)}; {suggestion(unknown, OPTIONS)}allowed: a figure, {', '.join(OPTIONS)}"
            )
        raise ValueError(f"{len(figures)} figures in one expectation; allowed: one, as in availability: {BOUND_ALLOWED}")
    figure, bound = figures[0], value[figures[0]]
    options = {key: value[key] for key in value if key != figure}
    outside = options.get("outside")
    if isinstance(outside, str):
        options["outside"] = re.sub(r" after faults?$", "", " ".join(outside.split()))
    name = options.pop("name", None)
    shown_options = [f"{key} {v}" for key, v in options.items() if v is not True and v is not False]
    text = (
        str(name)
        if name
        else " ".join([figure, str(bound), *shown_options, *(["where reachable"] * bool(options.get("reachable")))])
    )
    return _make(text, figure, bound, options)


def _make(name: str, figure: str, bound: object, options: dict[str, object]) -> ExpectationForm:
    if figure not in FIGURES:
        parts = [known for known in FIGURES if known.startswith(f"{figure}.")]
        hint = "" if parts else suggestion(figure, list(FIGURES))
        raise ValueError(f"there is no figure {shown(figure)}; {hint}allowed: {listed(parts or _heads(), 40)}")
    match = re.fullmatch(r"\s*(<=|>=|==|≤|≥)\s*(\S.*?)\s*", bound) if isinstance(bound, str) else None
    if match is None:
        raise ValueError(f"{shown(bound)} is not a bound for {figure}; allowed: {BOUND_ALLOWED}")
    ops: dict[str, Literal["<=", ">=", "=="]] = {"<=": "<=", ">=": ">=", "==": "==", "≤": "<=", "≥": ">="}
    about = figure.split(".")[0]
    narrows = about in PER_REQUEST and figure != SHED
    if about in PER_HOST and options.get("app"):
        raise ValueError(f"{figure} is of hosts, which hold and send for all applications together; allowed: site, outside")
    for option in ("app", "site", "outside", "reachable"):
        if (option == "app" and (figure in (*UTILITY, VIOLATIONS, REPLICAS, *SHARDS) or about == SPREAD)) or (
            option in ("site", "outside") and about in PER_HOST
        ):
            continue
        if options.get(option) and (not narrows or (option == "outside" and about == "recovery_s")):
            fitting = (*PER_REQUEST[:-1], *(PER_HOST if option in ("site", "outside") else ()))
            raise ValueError(f"{shown(option)} means nothing for {figure}; allowed for: {', '.join(fitting)}")
    if options.get("after") and (about not in ("recovery_s", SPREAD) or figure.startswith(OF_ALL_UPDATES)):
        raise ValueError(f"'after' names a fault to recover from; allowed for: recovery_s.max, spread.reached, not {figure}")
    outside, churn = _outside(options.get("outside"))
    return ExpectationForm(
        name=name,
        figure=figure,
        op=ops[match[1]],
        bound=_number(figure, match[2]),
        app=_word(options, "app"),
        site=_word(options, "site"),
        outside=outside,
        outside_churn=churn,
        reachable=parse_flag(options.get("reachable", False)),
        after=_word(options, "after"),
    )


def _outside(given: object) -> tuple[int | None, bool]:
    """A span after each fault, and whether departures and returns by churn count as faults: "2s", "2s after faults and churn"."""
    text, churn = re.subn(r" after faults? and churn$", "", given) if isinstance(given, str) else (given, 0)
    return (parse_duration(text) if text is not None else None), churn > 0


def _heads() -> list[str]:
    """All figures in short: availability, hops.(mean|p50|max), spread...; whoever asks for spread is told which there are."""
    heads: dict[str, dict[str, None]] = {}
    for figure in FIGURES:
        head, *parts = figure.split(".")
        heads.setdefault(head, {}).update(dict.fromkeys(parts[:1]))
    return [
        f"{head}..." if len(parts) > FEW_PARTS else f"{head}.({'|'.join(parts)})" if parts else head
        for head, parts in heads.items()
    ]


def _word(options: dict[str, object], key: str) -> str:
    value = options.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key}: {shown(value)} is not a name; allowed: text")
    return value


def _number(figure: str, text: str) -> float:
    """The bound in the figure's own unit: a share may be 0.999 or "99.9%", milliseconds may be 60 or "60ms"."""
    unit = FIGURES[figure]
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text):
        bound = float(text)
        if unit == "share" and bound > 1:
            raise ValueError(f"{shown(text)} is more than all of {figure}; allowed: a percentage such as 99.9%, or at most 1")
        return bound
    if unit == "share":
        return parse_share(text)
    if unit in ("ms", "s"):
        return parse_duration(text) / (1e6 if unit == "ms" else 1e9)
    raise ValueError(f"{shown(text)} is not a bound for {figure}; allowed: a number, 0 or more")
