"""Claim 10: the service survives denial of service, by an attacker who chooses hosts by their role."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from opus_controller.claims import words
from opus_controller.claims.claim import (
    CONDITIONS,
    FAILS,
    HOLDS,
    Claim,
    Figures,
    Finding,
    Found,
    Line,
    Plot,
    Table,
    Task,
    Verdict,
)
from opus_controller.claims.measure.attacks import (
    AGENTS,
    ATTACKS,
    BACK_S,
    BOTH,
    EVERY_S,
    LOOK_S,
    PERSISTENT,
    REPLICAS,
    STRIKES,
    attacked,
)
from opus_controller.claims.measure.life import Life
from opus_controller.claims.measure.overlays import EVERYONE, OURS, Overlay
from opus_controller.claims.setting import Setting

WITHIN_S = 5.0
"""99% of the live clients are to be served by then."""
MARGIN_S = 0.5
"""By so much Opus may be later than the best of the others."""
MOST_HOSTS = 160
HOSTS_A_REPLICA = 8
"""At least: three times m are away at once while strike follows strike, and most hosts should not be."""
WHAT = {
    REPLICAS: "all replicas",
    AGENTS: "as many agents",
    BOTH: "all replicas and all agents",
    PERSISTENT: "the replicas, again and again",
}


def _life(setting: Setting, overlay: Overlay, seed: int) -> Life:
    hosts = min(MOST_HOSTS, max(30, setting.scale.hosts // 3))
    m = min(setting.scale.replicas, hosts // HOSTS_A_REPLICA)
    return Life(setting.main, overlay, hosts, m, seed, setting.scale, ("attacks",))


def tasks(setting: Setting) -> list[Task]:
    lives = [_life(setting, overlay, seed) for overlay in EVERYONE for seed in setting.seeds]
    return [Task(life.name, partial(attacked, life), life.hosts / 4) for life in lives]


def _figures(found: Found, setting: Setting, overlay: Overlay, attack: str) -> list[Figures]:
    return [found[_life(setting, overlay, seed).name][attack] for seed in setting.seeds]


def served_s(found: Found, setting: Setting, overlay: Overlay, attack: str) -> float:
    """The worst of the seeds."""
    return max(float(one["served_s"]) for one in _figures(found, setting, overlay, attack))


def _share(every: Sequence[Figures], ok: str, issued: str) -> float | None:
    asked = sum(one[issued] for one in every)
    return sum(one[ok] for one in every) / asked if asked else None


def judge(found: Found, setting: Setting) -> Finding:
    ours = {attack: served_s(found, setting, OURS, attack) for attack in ATTACKS}
    best = {attack: min(served_s(found, setting, one, attack) for one in EVERYONE if one is not OURS) for attack in ATTACKS}
    good = [attack for attack in ATTACKS if ours[attack] <= min(WITHIN_S, best[attack] + MARGIN_S)]
    verdict: Verdict = HOLDS if len(good) == len(ATTACKS) else CONDITIONS if good else FAILS
    told = (f"{WHAT[attack]}: {words.number(ours[attack], 2)} s ({words.number(best[attack], 2)} s)" for attack in ATTACKS)
    because = f"Until 99% of the live clients are served, and in the best of the others: {'; '.join(told)}."
    if verdict == CONDITIONS:
        because += f" So after an attack on {words.listed([WHAT[attack] for attack in good])}."
    return Finding(
        verdict,
        because,
        (_table(found, setting),),
        (_plot(found, setting),),
        (
            f"The attacker silences hosts in one instant, in which each live client asks; who is not served in 15 s counts with "
            f"that. "
            f"Against {WHAT[PERSISTENT]}: {STRIKES} strikes, {EVERY_S:g} s apart, at whoever serves by then (at most m); struck "
            f"hosts "
            f"are back {BACK_S:g} s later, and the time is that after the last strike.",
            "Where all hosts are alike, agents are any hosts that hold no copy: as many as m, or one in 15. In Opus the "
            "hosts that newcomers ask first are agents from the beginning, so all of them fall where all agents do; elsewhere "
            "they fall by chance.",
            "Nobody loses data here, because there are none: in the other overlays whoever is next in the ring answers at once "
            "for those "
            "who have fallen, with nothing to answer from.",
        ),
    )


def _table(found: Found, setting: Setting) -> Table:
    head = (
        "attack on",
        "overlay",
        "silenced",
        "seeds struck",
        "served, median",
        "99% of them",
        "not in 15 s",
        "availability meanwhile",
        "in the last 10 s",
        "B/s a host",
    )
    rows = [_row(found, setting, overlay, attack) for attack in ATTACKS for overlay in EVERYONE]
    return Table(
        f"On {setting.main.name}, means over seeds (99%: the worst), over {LOOK_S:g} s or the minute of strikes", head, rows
    )


def _row(found: Found, setting: Setting, overlay: Overlay, attack: str) -> Sequence[str]:
    every = _figures(found, setting, overlay, attack)

    def mean(what: str, digits: int = 1) -> str:
        return words.number(words.mean(one[what] for one in every).value, digits)

    return (
        WHAT[attack],
        overlay.label,
        mean("victims", 0),
        mean("seeds", 1),
        f"{mean('median_s', 2)} s",
        f"{words.number(served_s(found, setting, overlay, attack), 2)} s",
        mean("unserved"),
        words.percent(_share(every, "ok", "issued")),
        words.percent(_share(every, "end_ok", "end_issued")),
        mean("bytes_per_s", 0),
    )


def _plot(found: Found, setting: Setting) -> Plot:
    at = [float(k + 1) for k in range(len(ATTACKS))]
    lines = [
        Line(overlay.label, at, [served_s(found, setting, overlay, attack) for attack in ATTACKS], points=True)
        for overlay in EVERYONE
    ]
    lines.append(Line(f"{WITHIN_S:g} s", at, [WITHIN_S] * len(at)))
    names = ", ".join(f"{k + 1} {WHAT[attack]}" for k, attack in enumerate(ATTACKS))
    return Plot("served", f"Until 99% of the live clients are served after an attack on {names}", "attack", "s", lines)


CLAIMS = (
    Claim(
        10,
        "denial-of-service",
        "Such systems must survive massive concurrent failures, denial of service attacks, etc.; the benefit of peer-to-peer "
        "architectures comes from massive diversity: with high probability, there is always some node available to provide the "
        "required "
        "functionality should the need arise.",
        f"An attacker who knows every role silences all replicas, as many agents, both with all agents, or for a minute those "
        f"that serve "
        f"every {EVERY_S:g} s. The other overlays lose all holders of the key, and as many others.",
        f"Holds if after each of the four attacks 99% of the live clients are served within {WITHIN_S:g} s, and no more than "
        f"{MARGIN_S:g} s later than by the best of the others. Under conditions if after some of them: those. Else not.",
        tasks,
        judge,
    ),
)
