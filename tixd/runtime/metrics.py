"""Tables of metrics, and the text that Prometheus reads.

Rules: names begin with tixd_ (or gracc_, as gracc-collector's do) and end with a base unit or
_total; a label's values are known here, and none is a user, installation or address; a counter
stands at 0 before anything happened; what has no value yet is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from tixd.runtime import tasks

#: Type of the text, as HTTP names it.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Numbers by the names of counts, or of metrics; for a metric also a number for each label value.
Values = Mapping[str, float | Mapping[str, float] | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of a table; a counter's name is without _total.

    counts: the counts that are its values, and the label value of each; without any, its values
    stand under its own name.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    label: str = ""
    counts: Mapping[str, str] = field(default_factory=dict)

    def samples(self, values: Values) -> Mapping[str, float]:
        """Return its values by label value, by "" where it has no label."""
        if self.counts:
            return {label: _number(values.get(name)) for name, label in self.counts.items()}
        found = values.get(self.name)
        if found is None:
            return {}
        return found if isinstance(found, Mapping) else {"": found}


def _number(value: float | Mapping[str, float] | None) -> float:
    return value if isinstance(value, float | int) else 0.0


def counted(name: str, words: str) -> Metric:
    """Return a counter tixd_NAME without labels, of the count NAME."""
    return Metric(f"tixd_{name}", "counter", words, counts={name: ""})


#: The rows that every role has.
COMMON = (
    Metric("tixd_ready", "gauge", "1 if the role is ready, as /readyz says."),
    Metric("tixd_unexpected_errors", "counter", "Unexpected errors; each is in the log."),
)


def exposition(table: Iterable[Metric], values: Values, version: str, role: str) -> bytes:
    """Return the text of these metrics, the version, and this process; takes about 1 ms."""
    counted_here = {**values, "tixd_unexpected_errors": tasks.failures()}
    families = _Families((*table, *COMMON), counted_here, {"version": version, "role": role})
    return generate_latest(families) + generate_latest(ProcessCollector(registry=None))


class _Families(Collector):
    def __init__(self, table: Iterable[Metric], values: Values, build: Mapping[str, str]) -> None:
        self._table = table
        self._values = values
        self._build = build

    def collect(self) -> Iterator[MetricFamily]:
        """Yield each row that has values, then version and role."""
        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for row in self._table:
            labels = [row.label] if row.label else []
            family = kinds[row.kind](row.name, row.help, labels=labels)
            samples = row.samples(self._values)
            for value, number in samples.items():
                family.add_metric([value] if labels else [], number)
            if samples:
                yield family
        build = GaugeMetricFamily("tixd_build_info", "Version.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1)
        yield build
