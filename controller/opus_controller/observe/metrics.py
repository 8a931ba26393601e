"""What the controller tells Prometheus of a run: what no single host knows.

`SECTIONS` is the table of all of it; a test compares it with what is exposed. Labels are bounded by the plan: its
applications, sites and hosts, the latest faults, and the few pairs of hosts whose round trips are probed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from opus_node.exposition import PROCESS, Families, Spec, text
from prometheus_client import ProcessCollector
from prometheus_client.core import Metric

from opus_controller.engine.observer import Observed, PathSeen
from opus_controller.engine.validity import LIMITS
from opus_controller.observe.applications import AppsFold
from opus_controller.observe.fold import LASTING, RunFold

SECOND = 1_000_000_000
_PATH = ("source", "target", "source_site", "target_site")

SECTIONS: Final[dict[str, dict[str, Spec]]] = {
    "The run": {
        "opus_run_info": Spec(
            "gauge",
            "Always 1. `window` is the shortest span over which rates of this run make sense: four scrapes.",
            ("scenario", "topology", "runtime", "links", "seed", "window"),
        ),
        "opus_run_elapsed_seconds": Spec("gauge", "Since the run's origin."),
        "opus_run_duration_seconds": Spec("gauge", "As planned; 0 for a testbed that stays up."),
        "opus_fault_timestamp_seconds": Spec(
            "gauge", "When an event of the timeline happened, Unix time; the latest 200 events.", ("name", "fault", "target")
        ),
        "opus_fault_active": Spec("gauge", "1 while what the fault did is still so.", ("name", "fault", "target")),
        "opus_faults_total": Spec("counter", "Events of the timeline that have happened.", ("fault",)),
    },
    "Hosts and roles": {
        "opus_hosts": Spec("gauge", "Hosts, by state (up, paused, down).", ("site", "state")),
        "opus_hosts_died_total": Spec("counter", "Hosts that ended by themselves, which nobody had asked for."),
        "opus_agents": Spec("gauge", "Agents that live."),
        "opus_replicas": Spec("gauge", "Replicas that live.", ("app",)),
        "opus_replicas_wanted": Spec("gauge", "As many as the scenario asks for.", ("app",)),
    },
    "Requests, from the run's record": {
        "opus_run_requests_total": Spec(
            "counter", "Requests whose outcome was received, by the client's site.", ("app", "site", "outcome")
        ),
        "opus_availability_ratio": Spec("gauge", "Answered in time / issued, since the run's begin.", ("app",)),
        "opus_unreachable_requests_total": Spec(
            "counter", "Issued by clients that had no path to a live replica, by the plan's matrix.", ("app",)
        ),
        "opus_stretch_routing_seconds_total": Spec(
            "counter", "Routing latencies of answered requests of clients that are no replicas.", ("app",)
        ),
        "opus_stretch_best_seconds_total": Spec(
            "counter", "For the same requests, one-way delays to the best live replica; stretch is the first / this.", ("app",)
        ),
    },
    "Applications: what they are worth, and by what hosts are theirs": {
        "opus_app_worth": Spec("gauge", "When all is as it wishes; absent of applications without a utility.", ("app",)),
        "opus_app_utility": Spec(
            "gauge", "Worth to its clients, by the requests that ended in the last 10 s; absent where none did.", ("app",)
        ),
        "opus_app_utility_expected": Spec("gauge", "Worth as its steward expected when it last divided hosts.", ("app",)),
        "opus_app_hosts_promised": Spec("gauge", "Its floor; absent of applications without a utility.", ("app",)),
        "opus_app_hosts_decided": Spec("gauge", "Of the replica set that was decided last.", ("app",)),
        "opus_app_asked_per_second": Spec("gauge", "Requests a second that the last decision went by.", ("app",)),
        "opus_app_request_core_seconds": Spec("gauge", "What a request costs, as it went by; absent if of no account.", ("app",)),
        "opus_app_overload_ratio": Spec(
            "gauge", "E, the use of hosts at which it was taken to overload; absent if of no account.", ("app",)
        ),
        "opus_app_decisions_total": Spec("counter", "Replica sets decided, by why.", ("app", "why")),
        "opus_app_hosts_moved_total": Spec("counter", "Hosts that it gained and lost by decisions.", ("app", "direction")),
    },
    "Paths, probed while the run goes on": {
        "opus_rtt_asked_seconds": Spec("gauge", "Round trip that the links are told to give now.", _PATH),
        "opus_rtt_seconds": Spec("summary", "Round trips measured by echoes between the two hosts' kernels.", _PATH),
        "opus_path_loss_asked_ratio": Spec("gauge", "Share of round trips that the shapes are told to lose now.", _PATH),
        "opus_path_cut": Spec("gauge", "1 while no packet is to pass.", _PATH),
        "opus_probes_lost_total": Spec("counter", "Echoes without an answer; none are sent while the path is cut.", _PATH),
        "opus_gate_rtt_asked_seconds": Spec("gauge", "Round trip asked for when the fidelity gate measured it.", _PATH),
        "opus_gate_rtt_seconds": Spec("gauge", "Round trip that the fidelity gate measured before the hosts booted.", _PATH),
        "opus_gate_within_tolerance": Spec("gauge", "1 if the fidelity gate found the pair as asked for.", _PATH),
    },
    "Emulated links, by host": {
        "opus_eth0_packets_total": Spec("counter", "Packets of the host's eth0.", ("host", "site", "direction")),
        "opus_eth0_bytes_total": Spec("counter", "Their bytes, from the IP header on.", ("host", "site", "direction")),
        "opus_eth0_dropped_packets_total": Spec(
            "counter",
            "Dropped as asked for (loss, cut, queue), or by the testbed itself (testbed: counts against validity).",
            ("host", "site", "cause"),
        ),
        "opus_eth0_altered_packets_total": Spec(
            "counter", "Duplicated, corrupted or reordered, as asked for.", ("host", "site", "how")
        ),
        "opus_eth0_queue_bytes": Spec("gauge", "Waiting in the access link's two queues.", ("host", "site")),
    },
    "The testbed itself": {
        "opus_testbed_valid": Spec("gauge", "1 while the run's figures mean something."),
        "opus_testbed_breached": Spec("gauge", "1 if the run has passed this limit of validity.", ("limit",)),
        "opus_testbed_cpu_busy_ratio": Spec("gauge", "Share of all cores that was busy in the last second."),
        "opus_testbed_cpu_others_ratio": Spec("gauge", "Share of all cores that programs which are not the testbed's had."),
        "opus_testbed_memory_used_ratio": Spec("gauge", "Share of the machine's memory that is in use."),
        "opus_testbed_link_lag_seconds": Spec("gauge", "How late the links delivered in the last second, 99th percentile."),
        "opus_testbed_node_lag_seconds": Spec("gauge", "How late nodes' timers fired, 99th percentile of the worst host."),
        "opus_testbed_link_overflow_packets_total": Spec("counter", "Packets that the links dropped though nobody asked for it."),
        "opus_testbed_notices_dropped_total": Spec("counter", "Notices lost in full buffers."),
        "opus_testbed_rtt_error_seconds": Spec("histogram", "Round trips measured less asked, absolute."),
        "opus_testbed_scrapes_total": Spec("counter", "Readings of hosts' metrics, by outcome (ok, failed).", ("outcome",)),
        **PROCESS,
    },
}  # fmt: skip
METRICS: Final[dict[str, Spec]] = {name: spec for section in SECTIONS.values() for name, spec in section.items()}
_make = Families(METRICS)
_process = ProcessCollector(registry=None)


@dataclass
class About:
    """What is known of a run from its beginning."""

    runtime: str
    links: str
    origin_unix_s: float
    """The wall clock at the run's origin."""
    every_s: float
    """Between two readings of a host's metrics."""

    @property
    def window(self) -> str:
        """In Prometheus' notation."""
        return f"{round(4 * self.every_s)}s"


def exposition(about: About, fold: RunFold, observed: Observed, now_ns: int, scrapes: dict[str, int]) -> str:
    """The controller's metrics in Prometheus' text format."""
    fold.add_rtt_errors(observed.rtt_errors_ns)
    return text(_families(about, fold, observed, now_ns, scrapes))


def _families(about: About, fold: RunFold, observed: Observed, now_ns: int, scrapes: dict[str, int]) -> Iterator[Metric]:
    yield from _run(about, fold, now_ns)
    yield from _hosts(fold)
    yield from _requests(fold)
    yield from _applications(fold.applications, now_ns)
    yield from _paths(fold, observed)
    yield from _gate(fold, observed)
    yield from _links(fold, observed)
    yield from _testbed(fold)
    yield _make.of("opus_testbed_scrapes_total", {(outcome,): n for outcome, n in scrapes.items()})
    yield from _process.collect()


def _run(about: About, fold: RunFold, now_ns: int) -> Iterator[Metric]:
    plan = fold.plan
    info = (plan.name, plan.topology, about.runtime, about.links, str(plan.seed), about.window)
    yield _make.of("opus_run_info", {info: 1})
    yield _make.one("opus_run_elapsed_seconds", now_ns / SECOND)
    yield _make.one("opus_run_duration_seconds", plan.duration_ns / SECOND)
    faults = {(fault.name, fault.kind, fault.target): fault for fault in fold.faults}
    when = {labels: about.origin_unix_s + fault.t_ns / SECOND for labels, fault in faults.items()}
    yield _make.of("opus_fault_timestamp_seconds", when)
    active = {labels: float(fold.in_force(fault)) for labels, fault in faults.items() if fault.kind in LASTING}
    yield _make.of("opus_fault_active", active)
    yield _make.of("opus_faults_total", {(kind,): n for kind, n in fold.fault_counts.items()})


def _hosts(fold: RunFold) -> Iterator[Metric]:
    yield _make.of("opus_hosts", fold.host_states())
    yield _make.one("opus_hosts_died_total", fold.deaths)
    yield _make.one("opus_agents", fold.agents())
    yield _make.of("opus_replicas", {(app,): n for app, n in fold.replicas().items()})
    yield _make.of("opus_replicas_wanted", {(app.name,): app.replicas for app in fold.plan.apps})


def _requests(fold: RunFold) -> Iterator[Metric]:
    yield _make.of("opus_run_requests_total", fold.requests)
    yield _make.of("opus_availability_ratio", _availability(fold))
    yield _make.of("opus_unreachable_requests_total", {(app,): n for app, n in fold.unreachable.items()})
    yield _make.of("opus_stretch_routing_seconds_total", {(app,): ns / SECOND for app, ns in fold.routing_ns.items()})
    yield _make.of("opus_stretch_best_seconds_total", {(app,): ns / SECOND for app, ns in fold.best_ns.items()})


def _applications(of: AppsFold, now_ns: int) -> Iterator[Metric]:
    valued = {(app.name,): app.utility for app in of.apps if app.utility is not None}
    yield _make.of("opus_app_worth", {app: utility.worth for app, utility in valued.items()})
    yield _make.of("opus_app_utility", {(app,): worth for app, worth in of.felt(now_ns).items()})
    yield _make.of("opus_app_utility_expected", {(app,): worth for app, worth in of.expected.items()})
    yield _make.of("opus_app_hosts_promised", {app: utility.floor for app, utility in valued.items()})
    yield _make.of("opus_app_hosts_decided", {(app,): len(members) for app, members in of.members.items()})
    yield _make.of("opus_app_asked_per_second", {(app,): rate for app, rate in of.asked.items()})
    yield _make.of("opus_app_request_core_seconds", {(app,): cost for app, cost in of.cost.items()})
    yield _make.of("opus_app_overload_ratio", {(app,): e for app, e in of.e.items()})
    yield _make.of("opus_app_decisions_total", of.decisions)
    yield _make.of("opus_app_hosts_moved_total", of.moved)


def _availability(fold: RunFold) -> dict[tuple[str], float]:
    """Of applications that have been asked for anything."""
    ok: dict[str, int] = {}
    issued: dict[str, int] = {}
    for (app, _, outcome), n in fold.requests.items():
        issued[app] = issued.get(app, 0) + n
        ok[app] = ok.get(app, 0) + (n if outcome == "ok" else 0)
    return {(app,): ok[app] / n for app, n in issued.items() if n}


def _paths(fold: RunFold, observed: Observed) -> Iterator[Metric]:
    site_of = {host.name: host.site for host in fold.plan.hosts}

    def labels(path: PathSeen) -> tuple[str, str, str, str]:
        return path.source, path.target, site_of[path.source], site_of[path.target]

    by_path = {labels(path): path for path in observed.paths}
    yield _make.of("opus_rtt_asked_seconds", {key: path.asked_ns / SECOND for key, path in by_path.items()})
    yield _make.summary("opus_rtt_seconds", {key: (path.answered, path.rtt_ns / SECOND) for key, path in by_path.items()})
    yield _make.of("opus_path_loss_asked_ratio", {key: path.asked_loss for key, path in by_path.items()})
    yield _make.of("opus_path_cut", {key: float(path.cut) for key, path in by_path.items()})
    yield _make.of("opus_probes_lost_total", {key: path.lost for key, path in by_path.items()})


def _gate(fold: RunFold, observed: Observed) -> Iterator[Metric]:
    site_of = {host.name: host.site for host in fold.plan.hosts}
    pairs = observed.gate.pairs if observed.gate is not None else ()
    ends = [(pair.asked.source.name, pair.asked.target.name) for pair in pairs]
    keyed = [((a, b, site_of[a], site_of[b]), pair) for (a, b), pair in zip(ends, pairs, strict=True)]
    yield _make.of("opus_gate_rtt_asked_seconds", {key: pair.asked.rtt.delay_ns / SECOND for key, pair in keyed})
    answered = {key: pair.rtt_ns / SECOND for key, pair in keyed if pair.rtt_ns is not None}
    yield _make.of("opus_gate_rtt_seconds", answered)
    yield _make.of("opus_gate_within_tolerance", {key: float(not pair.wrong) for key, pair in keyed})


def _links(fold: RunFold, observed: Observed) -> Iterator[Metric]:
    site_of = {host.name: host.site for host in fold.plan.hosts}
    counters = {name: of for name, of in observed.links.items() if name in site_of}

    def each(**fields: str) -> dict[tuple[str, str, str], float]:
        """Label value to the counter's field."""
        return {
            (name, site_of[name], label): getattr(of, field) for name, of in counters.items() for label, field in fields.items()
        }

    yield _make.of("opus_eth0_packets_total", each(sent="sent", received="received"))
    yield _make.of("opus_eth0_bytes_total", each(sent="sent_bytes", received="received_bytes"))
    yield _make.of("opus_eth0_dropped_packets_total", each(loss="lost", cut="cut", queue="queue_dropped", testbed="overflow"))
    yield _make.of("opus_eth0_altered_packets_total", each(duplicated="duplicated", corrupted="corrupted", reordered="reordered"))
    yield _make.of("opus_eth0_queue_bytes", {(name, site_of[name]): of.queued_bytes for name, of in counters.items()})


def _testbed(fold: RunFold) -> Iterator[Metric]:
    breached = {breach.what for breach in fold.breaches()}
    yield _make.one("opus_testbed_valid", float(not breached))
    yield _make.of("opus_testbed_breached", {(limit.name,): float(limit.name in breached) for limit in LIMITS})
    health = fold.health
    figures = {
        "opus_testbed_cpu_busy_ratio": health.cpu_busy if health else None,
        "opus_testbed_cpu_others_ratio": health.cpu_others if health else None,
        "opus_testbed_memory_used_ratio": health.memory_used if health else None,
        "opus_testbed_link_lag_seconds": health.link_lag_p99_ns / SECOND if health else None,
        "opus_testbed_node_lag_seconds": health.node_lag_p99_ns / SECOND if health else None,
        "opus_testbed_link_overflow_packets_total": health.link_overflow if health else None,
        "opus_testbed_notices_dropped_total": health.notices_dropped if health else None,
    }
    for name, value in figures.items():
        yield _make.one(name, value)
    yield _make.histogram("opus_testbed_rtt_error_seconds", {(): fold.rtt_errors})
