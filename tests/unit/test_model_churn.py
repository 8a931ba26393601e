"""Churn as a plan has it: sessions fit their model, the start is no transient, the number up follows; who, how and when."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from helpers.churned import ENOUGH, SECOND, alive, churned, equilibrium, stays
from opus_controller.model.errors import ScenarioError
from opus_controller.model.history import Histories, History
from opus_controller.model.plan import Heal, HostFault, Life, Partition
from scipy import stats

WEIBULL = "{distribution: weibull, shape: 0.6, median: 3m}"
SESSIONS = stats.weibull_min(0.6, scale=180 / 0.6931471805599453 ** (1 / 0.6))
EXPONENTIAL = "{distribution: exponential, mean: 2m}"


def moves(plan_churn: object, kind: str = "") -> list[tuple[int, str, tuple[str, ...]]]:
    return [(e.at_ns, e.kind, e.hosts) for e in plan_churn.events if kind in ("", e.kind)]  # type: ignore[attr-defined]


# Statistics: issue of equilibrium


@pytest.mark.parametrize(
    ("sessions", "distribution"),
    [
        (WEIBULL, SESSIONS),
        ("{distribution: lognormal, shape: 1.2, median: 3m}", stats.lognorm(1.2, scale=180)),
        ("{distribution: pareto, shape: 3, mean: 5m}", stats.lomax(3, scale=600)),
        ("{distribution: exponential, mean: 5m}", stats.expon(scale=300)),
    ],
    ids=["weibull", "lognormal", "pareto", "exponential"],
)
def test_sessions_and_absences_fit_their_models(tmp_path: Path, sessions: str, distribution: object) -> None:
    """Those that begin in the first half of a run so long that hardly one outlasts it."""
    plan = churned(tmp_path, f"{{sessions: {sessions}, downtimes: {EXPONENTIAL}}}", hosts=80, duration="10h")
    begun = [stay for stay in stays(plan) if 0 <= stay.start < 18_000]
    cut = [stay for stay in begun if stay.end is None]
    assert len(cut) < len(begun) / 500
    for up, model in ((True, distribution), (False, stats.expon(scale=120))):
        lengths = [stay.end - stay.start for stay in begun if stay.end is not None and stay.up is up and stay.start > 0]
        assert len(lengths) > 1500
        assert stats.kstest(lengths, model.cdf).pvalue > ENOUGH  # type: ignore[attr-defined]


def test_an_equilibrium_start_is_no_transient(tmp_path: Path) -> None:
    """2,000 hosts: at the start and at any later time as many are up, and their ages are distributed alike."""
    plan = churned(tmp_path, f"{{sessions: {WEIBULL}, downtimes: {EXPONENTIAL}, spare_seeds: false}}", hosts=2000, duration="30m")
    up = SESSIONS.mean() / (SESSIONS.mean() + 120)
    expected = equilibrium(SESSIONS)
    all_stays = stays(plan)
    for t in (0.0, 20.0, 60.0, 300.0, 900.0, 1790.0):
        ages = [t - stay.start for stay in all_stays if stay.up and stay.covers(t)]
        assert stats.binomtest(len(ages), 2000, up).pvalue > ENOUGH, f"{len(ages)} up at {t} s"
        assert stats.kstest(ages, expected).pvalue > ENOUGH, f"ages at {t} s"
        away = [t - stay.start for stay in all_stays if not stay.up and stay.covers(t)]
        assert stats.kstest(away, stats.expon(scale=120).cdf).pvalue > ENOUGH, f"absences at {t} s"


def test_a_start_with_everyone_newborn_would_be_seen(tmp_path: Path) -> None:
    """The same checks refuse a population that began together."""
    plan = churned(
        tmp_path, f"{{sessions: {WEIBULL}, downtimes: {EXPONENTIAL}, arrivals: 1000000/s}}", hosts=2000, duration="30m"
    )
    ages = [60.0 - stay.start for stay in stays(plan) if stay.up and stay.covers(60.0)]
    assert stats.kstest(ages, equilibrium(SESSIONS)).pvalue < 1e-9
    up = SESSIONS.mean() / (SESSIONS.mean() + 120)
    assert stats.binomtest(alive(plan, 60.0), 1999, up).pvalue < 1e-3


@pytest.mark.parametrize("sessions", [WEIBULL, "{distribution: lognormal, shape: 1.2, median: 3m}"], ids=["weibull", "lognormal"])
def test_the_number_up_follows_the_time_of_day(tmp_path: Path, sessions: str) -> None:
    """A day of 100 minutes, 40% to 80%, most at 30 minutes: right from the start, for more than a day."""
    tide = "{low: 40%, high: 80%, period: 100m, peak: 30m}"
    plan = churned(
        tmp_path, f"{{sessions: {sessions}, diurnal: {tide}, spare_seeds: false}}", hosts=1500, duration="150m", seed=3
    )
    all_stays = stays(plan)
    for minute, share in ((0, 0.538), (5, 0.6), (30, 0.8), (55, 0.6), (80, 0.4), (105, 0.6), (130, 0.8), (149, 0.673)):
        up = sum(stay.up and stay.covers(minute * 60) for stay in all_stays)
        assert stats.binomtest(up, 1500, share).pvalue > ENOUGH, f"{up} of 1500 up after {minute} min, not {share:.0%}"
    lengths = [stay.end - stay.start for stay in all_stays if stay.up and stay.end and 0 < stay.start < 3000]
    model = SESSIONS if "weibull" in sessions else stats.lognorm(1.2, scale=180)
    within = [length for length in lengths if length < 3000]
    assert stats.kstest(within, lambda x: model.cdf(x) / model.cdf(3000)).pvalue > ENOUGH, "sessions keep their distribution"


def test_a_number_that_cannot_fall_so_fast_is_refused(tmp_path: Path) -> None:
    tide = "{low: 20%, high: 80%, period: 5m}"
    with pytest.raises(ScenarioError, match=r"too long for so deep a fall in half a period; allowed: low from 6\d% on") as caught:
        churned(tmp_path, f"{{sessions: {WEIBULL}, diurnal: {tide}}}")
    allowed = str(caught.value).split("low from ")[1].split("%")[0]
    churned(tmp_path, f"{{sessions: {WEIBULL}, diurnal: {{low: {allowed}%, high: 80%, period: 5m}}}}")


def test_alive_is_the_share_up(tmp_path: Path) -> None:
    plan = churned(tmp_path, f"{{sessions: {WEIBULL}, alive: 30%, spare_seeds: false}}", hosts=2000, duration="20m")
    for t in (0.0, 600.0, 1199.0):
        assert stats.binomtest(alive(plan, t), 2000, 0.3).pvalue > ENOUGH


def test_arrivals_are_a_poisson_process_of_newborns(tmp_path: Path) -> None:
    churn = f"{{sessions: {WEIBULL}, arrivals: 2/s, start: 10s, spare_seeds: false}}"
    plan = churned(tmp_path, churn, hosts=1000, duration="20m")
    assert plan.churn is not None
    assert len(plan.absent) == 1000
    assert {life.left_by for life in plan.churn.lives} == {"power-off"}, "whoever has not come yet is silent"
    assert {life.sessions for life in plan.churn.lives} == {0}
    came = sorted(stay.start for stay in stays(plan) if stay.up)
    assert len(came) == 1000, "each once: without downtimes nobody comes back"
    gaps = [b - a for a, b in zip([10.0, *came], came, strict=False)]
    assert stats.kstest(gaps, stats.expon(scale=0.5).cdf).pvalue > ENOUGH
    order = [host for _, _, hosts in moves(plan.churn, "return") for host in hosts]
    assert order != sorted(order), "in an order that is drawn"


# Presets


@pytest.mark.parametrize(("preset", "median_min"), [("bittorrent", 22.5), ("gnutella", 60), ("overnet", 60), ("kazaa", 2.4)])
def test_presets_have_the_published_medians(tmp_path: Path, preset: str, median_min: float) -> None:
    plan = churned(tmp_path, f"{{sessions: {preset}, alive: 50%}}", hosts=400, duration="20h")
    lengths = [stay.end - stay.start for stay in stays(plan) if stay.up and 0 < stay.start < 30_000 and stay.end]
    assert len(lengths) > 500
    short = sum(length < median_min * 60 for length in lengths) / len(lengths)
    assert short == pytest.approx(0.5, abs=0.07)
    assert plan.churn is not None
    assert "weibull 0.59" in plan.churn.text[0]


# Who and how


def test_seeds_stay_unless_asked(tmp_path: Path) -> None:
    churn = f"{{sessions: {WEIBULL}, downtimes: {EXPONENTIAL}"
    spared, not_spared = churned(tmp_path, churn + "}"), churned(tmp_path, churn + ", spare_seeds: false}")
    (seed,) = spared.seeds
    assert spared.churn is not None
    assert not_spared.churn is not None
    assert seed not in {host for _, _, hosts in moves(spared.churn) for host in hosts}
    life = spared.churn.lives[[host.name for host in spared.hosts].index(seed)]
    oldest = max(life.age_ns for life in spared.churn.lives if life.host != seed and life.up)
    assert life == Life(host=seed, age_ns=oldest), "who never leaves is as old as the oldest of the others"
    assert not_spared.churn.lives[[host.name for host in spared.hosts].index(seed)].churns_from_ns == 0
    others = [event for event in not_spared.churn.events if seed not in event.hosts]
    assert others == list(spared.churn.events), "one host more changes nothing for the others"


def test_ways_of_leaving_by_share_and_without_a_word_in_silence(tmp_path: Path) -> None:
    churn = f"sessions: {WEIBULL}, downtimes: {EXPONENTIAL}"
    mixed = churned(tmp_path, f"{{{churn}, departures: {{crash: 25%, power-off: 75%}}}}", hosts=300, duration="1h")
    silent = churned(tmp_path, f"{{{churn}}}", hosts=300, duration="1h")
    crashing = churned(tmp_path, f"{{{churn}, departures: crash}}", hosts=300, duration="1h")
    assert mixed.churn is not None
    ways = Counter(kind for _, kind, hosts in moves(mixed.churn) for _ in hosts)
    assert stats.binomtest(ways["crash"], ways["crash"] + ways["power-off"], 0.25).pvalue > ENOUGH
    assert {life.left_by for life in mixed.churn.lives} == {"", "crash", "power-off"}
    shares = "{crash: 25%, power-off: 45%, leave: 30%}"
    graceful = churned(tmp_path, f"{{{churn}, departures: {shares}}}", hosts=300, duration="1h")
    assert graceful.churn is not None
    left = Counter(kind for _, kind, hosts in moves(graceful.churn) for _ in hosts)
    assert stats.binomtest(left["leave"], left.total() - left["return"], 0.3).pvalue > ENOUGH
    assert left["crash"] == ways["crash"], "those who leave are some of those that went in silence"
    assert stays(graceful) == stays(mixed)
    for plan, kind in ((silent, "power-off"), (crashing, "crash")):
        assert plan.churn is not None
        assert {k for _, k, _ in moves(plan.churn)} == {kind, "return"}
        assert stays(plan) == stays(mixed), "how they leave changes nothing in when"


def test_entries_have_hosts_models_and_times_of_their_own(tmp_path: Path) -> None:
    churn = (
        f"[{{hosts: site a, sessions: 30s, downtimes: 10s, start: 1m, stop: 2m}},"
        f" {{name: b, hosts: 3 of site b, sessions: {WEIBULL}, alive: 50%}}]"
    )
    plan = churned(tmp_path, churn)
    assert plan.churn is not None
    of_a = [(at, hosts) for at, _, hosts in moves(plan.churn) if hosts[0].startswith("a-")]
    assert 60 * SECOND < of_a[0][0] < of_a[-1][0] < 120 * SECOND
    churning = {life.host for life in plan.churn.lives if life.churns_from_ns is not None}
    assert len([host for host in churning if host.startswith("b-")]) == 3 - (plan.seeds[0] in churning)
    ended = [stay for stay in stays(plan) if stay.host.startswith("a-") and stay.end is not None and stay.start > 60]
    assert {round(stay.end - stay.start) for stay in ended if stay.end} <= {30, 10}, "a bare duration is always so long"
    assert len(plan.churn.text) == 2
    assert "from 60s on" in plan.churn.text[0]


def test_until_it_starts_hosts_are_kept_as_they_are_and_told_their_age_then(tmp_path: Path) -> None:
    churn = f"sessions: {WEIBULL}, downtimes: {EXPONENTIAL}"
    now, later = churned(tmp_path, f"{{{churn}}}"), churned(tmp_path, f"{{{churn}, start: 100s, stop: 500s}}")
    assert now.churn is not None
    assert later.churn is not None
    assert min(at for at, _, _ in moves(later.churn)) > 100 * SECOND
    assert [(at + 100 * SECOND, kind, hosts) for at, kind, hosts in moves(now.churn) if at < 400 * SECOND] == moves(later.churn)
    for before, after in zip(now.churn.lives, later.churn.lives, strict=True):
        assert (after.up, after.sessions, after.up_ns) == (before.up, before.sessions, before.up_ns)
        if before.churns_from_ns is not None:
            assert after.age_ns == max(0, before.age_ns - 100 * SECOND)


def test_same_seed_same_bytes_another_seed_other_times(tmp_path: Path) -> None:
    churn = f"{{sessions: {WEIBULL}, downtimes: {EXPONENTIAL}, departures: {{crash: 50%, power-off: 50%}}}}"
    first, again, other = churned(tmp_path, churn), churned(tmp_path, churn), churned(tmp_path, churn, seed=2)
    assert first.canonical() == again.canonical()
    assert first.churn != other.churn
    assert all(at % 1_000_000 == 0 for at, _, _ in moves(first.churn)), (
        "by whole milliseconds: the last bit of a logarithm is spared"
    )


def test_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="more than 200000 departures and returns"):
        churned(tmp_path, "{sessions: 1ms, downtimes: 1ms}", duration="1h")
    with pytest.raises(ScenarioError, match="more than 200000 departures and returns"):
        churned(tmp_path, "{sessions: 1s, downtimes: 1s}", hosts=400, duration="1h")


# Regions


def test_a_region_is_cut_off_as_an_event_of_the_timeline(tmp_path: Path) -> None:
    plan = churned(tmp_path, "{regional: {rate: 60/h, lasts: 20s}}", duration="10m", more="timeline: [{at: 5m, crash: a-1}]\n")
    cuts = [fault for fault in plan.timeline if isinstance(fault, Partition)]
    heals = {fault.undoes: fault.at_ns for fault in plan.timeline if isinstance(fault, Heal)}
    assert len(cuts) > 8
    assert {cut.a.text for cut in cuts} == {"site a", "site b"}
    assert all(len(cut.a.hosts) == 10 for cut in cuts), "seeds are cut off, too"
    for cut in cuts:
        assert heals.get(cut.name, cut.at_ns + 20 * SECOND) == cut.at_ns + 20 * SECOND
    assert [fault.at_ns for fault in plan.timeline] == sorted(fault.at_ns for fault in plan.timeline)
    assert plan.churn is not None
    assert plan.churn.events == ()


def test_a_region_without_power_takes_all_of_it_in_one_instant(tmp_path: Path) -> None:
    """Whoever was up leaves at once; afterwards everyone is as without the outage."""
    own = f"sessions: {WEIBULL}, downtimes: {EXPONENTIAL}, departures: crash"
    regional = "regional: {rate: 30/h, lasts: 40s, fault: power-off}"
    calm, dark = churned(tmp_path, f"{{{own}}}"), churned(tmp_path, f"{{{own}, {regional}}}")
    assert dark.churn is not None
    outages = [(at, hosts) for at, kind, hosts in moves(dark.churn, "power-off")]
    assert len(outages) >= 4
    assert max(len(hosts) for _, hosts in outages) >= 6
    assert all(len({host[0] for host in hosts}) == 1 for _, hosts in outages)
    for at, hosts in outages:
        t, site = at / SECOND, hosts[0][0]
        assert not any(
            stay.up and stay.covers(t + 20) for stay in stays(dark) if stay.host[0] == site and stay.host != dark.seeds[0]
        )
        if t + 40 < 600 and not any(t + 40 <= (other / SECOND) < t + 41 for other, _ in outages):
            assert _up(dark, t + 40, site) == _up(calm, t + 40, site)


def _up(plan: object, t: float, site: str) -> set[str]:
    return {stay.host for stay in stays(plan) if stay.up and stay.covers(t) and stay.host[0] == site}  # type: ignore[arg-type]


# Together with the timeline


def test_victims_are_drawn_among_those_that_are_there(tmp_path: Path) -> None:
    for seed in range(5):
        plan = churned(
            tmp_path,
            f"{{sessions: {WEIBULL}, alive: 60%}}",
            seed=seed,
            more="timeline: [{at: 5m, crash: 4 hosts}]\n",
        )
        (fault,) = plan.timeline
        assert isinstance(fault, HostFault)
        away = {stay.host for stay in stays(plan) if not stay.up and stay.covers(300)}
        assert away
        assert not away & set(fault.target.hosts)


# Traces


def test_a_trace_is_replayed_from_where_and_as_fast_as_asked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("node,start,end\na-1,0,100\na-1,400,\nb-1,50,130\nb-1,160,700\n")
    churn = "{hosts: [a-1, b-1], trace: {file: t.csv, begin: 60s, speed: 2}, spare_seeds: false}"
    plan = churned(tmp_path, churn, duration="200s")
    assert plan.churn is not None
    assert moves(plan.churn) == [
        (20 * SECOND, "power-off", ("a-1",)),
        (35 * SECOND, "power-off", ("b-1",)),
        (50 * SECOND, "return", ("b-1",)),
        (170 * SECOND, "return", ("a-1",)),
    ]
    lives = {life.host: life for life in plan.churn.lives}
    assert (lives["a-1"].up, lives["a-1"].age_ns) == (True, 30 * SECOND)
    assert (lives["b-1"].up, lives["b-1"].age_ns) == (True, 5 * SECOND)
    again = churned(tmp_path, churn.replace("60s", "150s"), duration="200s")
    assert again.churn is not None
    life = next(life for life in again.churn.lives if life.host == "a-1")
    assert (life.up, life.age_ns, life.sessions, life.up_ns) == (False, 25 * SECOND, 1, 50 * SECOND)


def test_measured_nodes_are_drawn_for_hosts_of_other_names(tmp_path: Path) -> None:
    lines = [f"n{k},{k},{k + 0.5}" for k in range(50)]
    (tmp_path / "t.csv").write_text("node,start,end\n" + "\n".join(lines) + "\nz,0,700\n")
    plans = [churned(tmp_path, "{trace: t.csv}", seed=seed) for seed in (1, 1, 2)]
    assert plans[0].churn == plans[1].churn != plans[2].churn
    assert plans[0].churn is not None
    times = [at for at, kind, _ in moves(plans[0].churn, "return")]
    assert len(set(times)) == len(times) >= 17, "each node stands for one host"
    with pytest.raises(ScenarioError, match=r"51 nodes in the trace for 59 hosts; allowed: at most as many hosts"):
        churned(tmp_path, "{trace: t.csv}", hosts=60)
    with pytest.raises(ScenarioError, match=r"the run needs 1200 s of the trace, from 0 s on, and it ends at 700 s"):
        churned(tmp_path, "{trace: {file: t.csv, speed: 2}}")


# What a host knows of itself


def test_a_host_is_told_its_past_and_nothing_else(tmp_path: Path) -> None:
    plan = churned(tmp_path, f"{{sessions: {WEIBULL}, downtimes: {EXPONENTIAL}}}")
    assert plan.churn is not None
    up = next(life for life in plan.churn.lives if life.up and life.churns_from_ns == 0)
    absent = next(life for life in plan.churn.lives if not life.up)
    histories = Histories(plan)
    assert histories.began(up.host, 0) == History(up.age_ns, 10, up.up_ns, up.away_ns)
    returned = histories.began(absent.host, 30 * SECOND)
    assert returned == History(0, 10, absent.up_ns, absent.away_ns + absent.age_ns + 30 * SECOND)
    histories.ended(up.host, 50 * SECOND)
    histories.ended(up.host, 55 * SECOND)  # told twice: by whoever killed it, and by the process' end
    assert histories.began(up.host, 90 * SECOND) == History(0, 11, up.up_ns + up.age_ns + 50 * SECOND, up.away_ns + 40 * SECOND)


def test_without_churn_nobody_has_a_past(tmp_path: Path) -> None:
    plan = churned(tmp_path, "[]")
    assert plan.churn is None
    assert plan.absent == ()
    assert Histories(plan).began(plan.hosts[0].name, 0) == History()


def test_a_host_that_has_lost_its_state_knows_of_no_life_before(tmp_path: Path) -> None:
    plan = churned(tmp_path, "[]")
    name = plan.hosts[0].name
    histories = Histories(plan)
    histories.ended(name, 100 * SECOND)
    histories.lost(name)
    assert histories.began(name, 500 * SECOND) == History()
    histories.ended(name, 600 * SECOND)
    assert histories.began(name, 650 * SECOND) == History(sessions=1, up=100 * SECOND, away=50 * SECOND)
