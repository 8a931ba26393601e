"""Claim 9: the service survives massive concurrent failures, at random and of whole regions."""

from __future__ import annotations

from collections.abc import Sequence

from opus_controller.claims import lives, words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Finding, Found, Line, Plot, Table, Task, Verdict
from opus_controller.claims.measure.life import RANDOM, REGION
from opus_controller.claims.measure.overlays import EVERYONE, OURS, Overlay
from opus_controller.claims.setting import Setting

WITHIN_S = 5.0
"""99.9% of the live clients are to be served by then."""
MARGIN_S = 0.5
"""By so much Opus may be later than the best of the others."""
MASSIVE = 0.5
"""Of all hosts: what must be survived for the claim to hold under any condition."""
P999 = "p999"


def tasks(setting: Setting) -> list[Task]:
    return lives.tasks([life for overlay in EVERYONE for life in lives.whole(setting, overlay)])


def _case(share: float, kind: str) -> str:
    return f"{share:g} {kind}"


def served_s(found: Found, setting: Setting, overlay: Overlay, case: str) -> float:
    """The worst of the seeds, of those in which a replica was left."""
    of = lives.whole(setting, overlay)
    every = [lives.value(found, life, "silence", case, "took_s", P999) for life in of]
    left = [took for life, took in zip(of, every, strict=True) if not lives.value(found, life, "silence", case, "bereft")]
    return float(max(left or every))


def judge(found: Found, setting: Setting) -> Finding:
    shares = setting.scale.fractions
    ours = {(share, kind): served_s(found, setting, OURS, _case(share, kind)) for share in shares for kind in (RANDOM, REGION)}
    best = {
        (share, kind): min(served_s(found, setting, other, _case(share, kind)) for other in EVERYONE if other is not OURS)
        for share in shares
        for kind in (RANDOM, REGION)
    }
    good = [share for share in shares if all(_survived(ours, best, share, kind) for kind in (RANDOM, REGION))]
    verdict: Verdict = (
        HOLDS if len(good) == len(shares) else CONDITIONS if MASSIVE in good or (good and max(good) >= MASSIVE) else FAILS
    )
    failing = [f"{share:.0%}" for share in shares if share not in good]
    half = {kind: ours.get((MASSIVE, kind)) for kind in (RANDOM, REGION)}
    because = (
        f"With half of the hosts silent 99.9% of the live clients are served after {words.number(half[RANDOM], 2)} s (at random) "
        f"and "
        f"{words.number(half[REGION], 2)} s (a region); the best of the others: {words.number(best.get((MASSIVE, RANDOM)), 2)} "
        f"and "
        f"{words.number(best.get((MASSIVE, REGION)), 2)} s."
    )
    if failing:
        because += f" Not so when {words.listed(failing)} fall silent."
    return Finding(
        verdict,
        because,
        (_table(found, setting),),
        [_plot(found, setting, kind) for kind in (RANDOM, REGION)],
        (
            "Power-off: links are cut in the same instant, so no kernel refuses anything. Each live host asks once in that "
            "instant, with "
            "a deadline of 15 s; who is not served by then counts with 15 s.",
            "Runs in which all replicas are among the victims are left out of the comparison unless there are no others: there "
            "Opus "
            "appoints new ones, and the others' next holders begin to answer, without any data.",
        ),
    )


def _survived(ours: dict[tuple[float, str], float], best: dict[tuple[float, str], float], share: float, kind: str) -> bool:
    return ours[share, kind] <= WITHIN_S and ours[share, kind] <= best[share, kind] + MARGIN_S


def _table(found: Found, setting: Setting) -> Table:
    head = (
        "silent",
        "overlay",
        "served, median",
        "99.9% of them",
        "within 2 s",
        "not in 15 s",
        "20 s later answered",
        "B/s a host, those 20 s",
        "bereft",
    )
    rows = []
    for share in setting.scale.fractions:
        for kind in (RANDOM, REGION):
            rows += [_row(found, setting, overlay, share, kind) for overlay in EVERYONE]
    return Table(f"On {setting.main.name}, means over seeds (99.9%: the worst)", head, rows)


def _row(found: Found, setting: Setting, overlay: Overlay, share: float, kind: str) -> Sequence[str]:
    of, case = lives.whole(setting, overlay), _case(share, kind)
    issued, ok = (sum(lives.value(found, life, "silence", case, "again", what) for life in of) for what in ("issued", "ok"))
    return (
        f"{share:.0%} {kind}",
        overlay.label,
        f"{words.number(lives.told(found, of, 'silence', case, 'took_s', 'p50').value, 2)} s",
        f"{words.number(served_s(found, setting, overlay, case), 2)} s",
        words.percent(lives.told(found, of, "silence", case, "within_2s").value, 2),
        words.number(lives.told(found, of, "silence", case, "unserved").value, 1),
        words.percent(ok / issued if issued else None, 2),
        words.number(lives.told(found, of, "silence", case, "bytes_per_s").value, 0),
        str(sum(bool(lives.value(found, life, "silence", case, "bereft")) for life in of)),
    )


def _plot(found: Found, setting: Setting, kind: str) -> Plot:
    shares = setting.scale.fractions
    lines = [
        Line(
            one.label, [100 * share for share in shares], [served_s(found, setting, one, _case(share, kind)) for share in shares]
        )
        for one in EVERYONE
    ]
    title = f"Until 99.9% of the live clients are served, hosts silent {'at random' if kind == RANDOM else 'by region'}"
    return Plot(kind, title, "silent, % of the hosts", "s", lines)


CLAIMS = (
    Claim(
        9,
        "massive-failure",
        "Such systems must survive massive concurrent failures; with high probability there is always some node available to "
        "provide the "
        "required functionality should the need arise.",
        "10 to 90% of all hosts fall silent in one instant, at random or nearest to one host; every other host asks in that "
        "instant.",
        f"Holds if at every share and both ways 99.9% of the live clients are served within {WITHIN_S:g} s, and no more than "
        f"{MARGIN_S:g} s "
        f"later than by the best of the others. Under conditions if so for a share of {MASSIVE:.0%} at least. Else not.",
        tasks,
        judge,
    ),
)
