"""From figures to the Prometheus text format: what a node's metrics and the controller's have in common.

Names begin with `opus_`, units are base units (seconds, bytes), counters end in `_total`. Tables of `Spec`s say what there
is; docs/metrics.md is made from them, and tests compare them with what is exposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from opus_node.core.types import SECOND
from opus_node.folds import Histogram

Labels = tuple[str, ...]
L = TypeVar("L", bound=Labels)


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric of a table."""

    kind: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    labels: Labels = ()


PROCESS: Final[dict[str, Spec]] = {
    "process_cpu_seconds_total": Spec("counter", "CPU time, user and system."),
    "process_resident_memory_bytes": Spec("gauge", "Memory that is resident now, pages shared with other nodes included."),
    "process_virtual_memory_bytes": Spec("gauge", "Address space."),
    "process_start_time_seconds": Spec("gauge", "When the process started, Unix time."),
    "process_open_fds": Spec("gauge", "Open file descriptors."),
    "process_max_fds": Spec("gauge", "As many as it may have."),
}
"""What prometheus_client's ProcessCollector tells of any process, by the names that every Prometheus user knows."""


class Families:
    """Makes the families of one table's metrics."""

    def __init__(self, table: Mapping[str, Spec]) -> None:
        self._table = table

    def of(self, name: str, values: Mapping[L, float]) -> Metric:
        """A counter's or gauge's samples: label values, in the table's order, to number."""
        spec = self._table[name]
        kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
        family = kind(name, spec.help, labels=spec.labels)
        for labels, value in values.items():
            family.add_metric(list(labels), value)
        return family

    def one(self, name: str, value: float | None) -> Metric:
        """A metric without labels; None: there is nothing to tell."""
        alone: dict[Labels, float] = {} if value is None else {(): value}
        return self.of(name, alone)

    def histogram(self, name: str, histograms: Mapping[L, Histogram]) -> Metric:
        """Of nanoseconds, exposed in seconds."""
        spec = self._table[name]
        family = HistogramMetricFamily(name, spec.help, labels=spec.labels)
        for labels, histogram in histograms.items():
            buckets = [
                ("+Inf" if bound == float("inf") else repr(bound / SECOND), float(n)) for bound, n in histogram.cumulative()
            ]
            family.add_metric(list(labels), buckets=buckets, sum_value=histogram.total / SECOND)
        return family

    def summary(self, name: str, values: Mapping[L, tuple[int, float]]) -> Metric:
        """(count, sum) without quantiles: means over any window."""
        spec = self._table[name]
        family = SummaryMetricFamily(name, spec.help, labels=spec.labels)
        for labels, (count, total) in values.items():
            family.add_metric(list(labels), count, total)
        return family


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def text(families: Iterable[Metric]) -> str:
    """The Prometheus text format, version 0.0.4."""
    return generate_latest(_Once(families)).decode()
