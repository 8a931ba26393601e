"""Colours of the plots: fixed ones for pictures, variables of the style sheet inside report.html.

The series colours are Okabe and Ito's (readable with every common colour blindness), darkened a little on white and
lightened a little on black by the page's style sheet.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Palette:
    ink: str
    """Text and axes."""
    muted: str
    """Ticks, captions, what is not the point."""
    grid: str
    good: str
    bad: str
    a: str
    b: str
    c: str
    d: str
    fault: str
    """Marks of faults."""
    span: str
    """Behind the curves while a cut or a link change is in force."""
    invalid: str
    """Behind the curves where the testbed was too busy."""


LIGHT = Palette(
    ink="#1b1f24", muted="#656d76", grid="#d8dee4", good="#00835f", bad="#c2410c", a="#0067a8", b="#c77700", c="#b0578d",
    d="#00835f", fault="#8a1f11", span="#8a1f11", invalid="#a07a00",
)  # fmt: skip

_KEYS = tuple(f.name for f in fields(Palette))
PAGE = Palette(*(f"#0102{i:02x}" for i in range(len(_KEYS))))
"""Stand-ins that no plot would use by chance; `to_page` turns them into var(--name)."""


def to_page(svg: str) -> str:
    """Replace the stand-ins by the style sheet's variables, so that one picture serves light and dark."""
    for name in _KEYS:
        svg = svg.replace(getattr(PAGE, name), f"var(--{name})")
    return svg
