"""The supervisor's side of metrics: snapshots of all children in, Prometheus text out.

A child's last snapshot outlives it where the metric says so (counters, histograms, sums of changes); its gauges end
with it. Children that ended are folded into one sum, so that a thousand restarts cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from ocs.telemetry.metrics import BUCKETS, BY_NAME, METRICS, Across, Metric, MetricKind, Series, Snapshot, upper_us

LE_FIRST, LE_LAST = 13, 47
"""Buckets shown: from 128 us to 16 s. What lies outside is in the first and in +Inf."""

Key = tuple[str, tuple[str, ...]]


class MetricSums(Collector):
    """The last snapshot of each child, by a name of ours for its incarnation."""

    def __init__(self) -> None:
        self._live: dict[object, Snapshot] = {}
        self._ended: dict[Key, tuple[int, ...]] = {}

    def update(self, child: object, snapshot: Snapshot) -> None:
        self._live[child] = snapshot

    def ended(self, child: object) -> None:
        for series in self._live.pop(child, ()):
            metric = BY_NAME.get(series.name)
            if metric is not None and metric.outlives:
                key = (series.name, series.labels)
                self._ended[key] = _added(self._ended.get(key), series.values)

    def left(self) -> tuple[Series, ...]:
        """What outlives its process, of those that have ended."""
        return tuple(Series(name, labels, values) for (name, labels), values in self._ended.items())

    def totals(self) -> dict[Key, tuple[int, ...]]:
        sums = dict(self._ended)
        for snapshot in self._live.values():
            for series in snapshot:
                key = (series.name, series.labels)
                if _across(series) is Across.MAX:
                    sums[key] = max(sums.get(key, series.values), series.values)
                else:
                    sums[key] = _added(sums.get(key), series.values)
        return sums

    def collect(self) -> Iterator[Family]:
        by_metric: dict[str, list[tuple[tuple[str, ...], tuple[int, ...]]]] = {metric.name: [] for metric in METRICS}
        for (name, labels), values in sorted(self.totals().items()):
            if name in by_metric and _has_news(BY_NAME[name], values):
                by_metric[name].append((labels, values))
        for metric in METRICS:
            if metric.kind is MetricKind.COUNTER and not metric.labels and not by_metric[metric.name]:
                by_metric[metric.name].append(((), (0,)))  # an alert on its increase needs the zero before
        for metric in METRICS:
            yield _family(metric, by_metric[metric.name])

    def describe(self) -> Iterator[Family]:
        """Names without numbers, asked once by the registry."""
        for metric in METRICS:
            yield _family(metric, ())


def _across(series: Series) -> Across:
    metric = BY_NAME.get(series.name)
    return metric.across if metric is not None else Across.SUM


def _has_news(metric: Metric, values: tuple[int, ...]) -> bool:
    """A histogram of what never happened would be 36 lines of zeros for each operation of the API."""
    return metric.kind is not MetricKind.HISTOGRAM or any(values)


def _added(one: tuple[int, ...] | None, other: tuple[int, ...]) -> tuple[int, ...]:
    return other if one is None else tuple(a + b for a, b in zip(one, other, strict=True))


def _family(metric: Metric, rows: Iterable[tuple[tuple[str, ...], tuple[int, ...]]]) -> Family:
    match metric.kind:
        case MetricKind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, (value,) in rows:
                counter.add_metric(labels, _scaled(value, metric))
            return counter
        case MetricKind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, (value,) in rows:
                gauge.add_metric(labels, _scaled(value, metric))
            return gauge
        case MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, (*buckets, total) in rows:
                histogram.add_metric(labels, _cumulated(buckets, metric.divisor), total / metric.divisor)
            return histogram


def _scaled(value: int, metric: Metric) -> float:
    return value if metric.divisor == 1 else value / metric.divisor


def _cumulated(buckets: list[int], divisor: int) -> list[tuple[str, float]]:
    """`le` bounds are upper bounds of buckets, so the numbers are exact, not interpolated."""
    so_far, shown = 0, list[tuple[str, float]]()
    for bucket in range(BUCKETS):
        so_far += buckets[bucket]
        if LE_FIRST <= bucket <= LE_LAST:
            shown.append((repr(upper_us(bucket) / divisor), so_far))
    return [*shown, ("+Inf", so_far)]


SCRAPES_MAX: Final = 32
"""Connections at once."""


async def as_it_is() -> None:
    """Where nobody brings the numbers up to date."""


class Scrape:
    """`GET /metrics`, and what `health` answers, on an asyncio server.

    health:   status and text for a path, None for one that it does not know
    refresh:  has the numbers brought up to date, before each answer
    before:   the same of what is at hand
    """

    def __init__(
        self,
        sums: MetricSums,
        *,
        before: Callable[[], None] = lambda: None,
        refresh: Callable[[], Awaitable[None]] = as_it_is,
        health: Callable[[str], tuple[int, str] | None] = lambda _path: None,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(sums)
        self._before, self._refresh, self._health = before, refresh, health
        self._writers: dict[asyncio.StreamWriter, None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= SCRAPES_MAX:  # the longest silent one is closed for the next
            next(iter(self._writers)).transport.abort()
        self._writers[writer] = None
        try:
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if head.split(" ", 2)[1:2] == ["/metrics"]:
                    await self._refresh()
                writer.write(self.answer(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._writers.pop(writer, None)
            writer.close()

    def answer(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        method, path, *_ = [*request.split(" "), "", ""]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path = path.partition("?")[0]
        health = self._health(path) if method in ("GET", "HEAD") else None
        if health is not None:
            status, text = health
            reason = "200 OK" if status == 200 else "503 Service Unavailable"
            body = f"{text}\n".encode() if method == "GET" else b""
            return _response(reason, "text/plain; charset=utf-8", body)
        if method not in ("GET", "HEAD") or path != "/metrics":
            return _response("404 Not Found", "text/plain; charset=utf-8", b"see /metrics\n")
        self._before()
        encode, kind = choose_encoder(headers.get("accept", ""))
        body = encode(self._registry)
        return _response("200 OK", kind, body if method == "GET" else b"")


def _response(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1") + body
