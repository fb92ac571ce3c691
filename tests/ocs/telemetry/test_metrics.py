"""Counting in a process, summing over processes, and what Prometheus reads of it."""

from prometheus_client.parser import text_string_to_metric_families

from ocs.telemetry import metrics
from ocs.telemetry.exposition import MetricSums, Scrape
from ocs.telemetry.metrics import BUCKETS, METRICS, Histogram, Meter, MetricKind, bucket_of, upper_us


def read(sums: MetricSums) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    head, _, body = Scrape(sums).answer("GET /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset(pairs.items())


def test_rows_follow_the_naming_of_prometheus() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("ocs_")
        assert (metric.kind is MetricKind.COUNTER) == metric.name.endswith("_total")
        assert metric.help
        assert not {"subscriber", "session", "account", "msisdn", "imsi"} & set(metric.labels)


def test_every_row_is_in_the_table() -> None:
    rows = [value for value in vars(metrics).values() if isinstance(value, metrics.Metric)]
    assert rows == list(METRICS)


def test_every_duration_has_a_bucket_around_it() -> None:
    for us in [*range(5_000), 10**6, 10**7, 10**8]:
        bucket = bucket_of(us)
        assert us < upper_us(bucket)
        assert us < 2 or us >= upper_us(bucket - 1)
    assert bucket_of(10**15) == BUCKETS - 1


def test_processes_are_summed_and_counts_outlive_them() -> None:
    sums, one, other = MetricSums(), Meter(), Meter()
    key = ("diameter", "CCR", "UPDATE", "2001")
    one.counts(metrics.REQUESTS)[key] += 3
    other.counts(metrics.REQUESTS)[key] += 4
    one.counts(metrics.PEERS)["diameter",] = 2
    other.read(metrics.PEERS, "diameter", by=lambda: 5)
    one.counts(metrics.LAG_SECONDS)[()] = 1_500
    other.counts(metrics.LAG_SECONDS)[()] = 700
    sums.update("one", one.snapshot())
    sums.update("other", other.snapshot())
    requests = ("ocs_requests_total", labels(protocol="diameter", command="CCR", type="UPDATE", result="2001"))
    found = read(sums)
    assert found[requests] == 7
    assert found["ocs_peers_up", labels(protocol="diameter")] == 7
    assert found["ocs_ledger_lag_seconds", labels()] == 1.5

    sums.ended("one")
    found = read(sums)
    assert found[requests] == 7
    assert found["ocs_peers_up", labels(protocol="diameter")] == 5
    assert found["ocs_ledger_lag_seconds", labels()] == 0.7


def test_histograms_are_summed_and_cumulative() -> None:
    sums = MetricSums()
    for name in ("one", "other"):
        meter = Meter()
        times = meter.histogram(metrics.REQUEST_TIME, "diameter", "CCR")
        for us in (5, 1_000, 1_025, 3_000_000, 10**9):
            times.add(us)
        sums.update(name, meter.snapshot())
    sums.ended("one")
    found = read(sums)
    by_le = {dict(label)["le"]: value for (name, label), value in found.items() if name.endswith("seconds_bucket")}
    bounds = sorted(by_le, key=float)
    assert [by_le[le] for le in bounds] == sorted(by_le.values())
    assert by_le["0.000128"] == 2
    assert by_le["0.001024"] == 4
    assert by_le["0.001536"] == 6
    assert by_le["+Inf"] == 10
    where = labels(protocol="diameter", command="CCR")
    assert found["ocs_request_duration_seconds_count", where] == 10
    assert found["ocs_request_duration_seconds_sum", where] == 2 * (1_003.00203)


def test_labels_are_bounded() -> None:
    meter = Meter()
    counts = meter.counts(metrics.MARKED)
    for number in range(metrics.SERIES_MAX + 50):
        counts[f"service-{number}", "late"] += 2
    snapshot = [series for series in meter.snapshot() if series.name == "ocs_marked_usage_total"]
    assert len(snapshot) == metrics.SERIES_MAX + 1
    assert snapshot[-1].labels == ("other", "other")
    assert sum(series.values[0] for series in snapshot) == (metrics.SERIES_MAX + 50) * 2


def test_only_metrics_are_served() -> None:
    scrape = Scrape(MetricSums())
    assert scrape.answer("GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert scrape.answer("POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert scrape.answer("").startswith(b"HTTP/1.1 404")
    head = scrape.answer("HEAD /metrics HTTP/1.1\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")
    accept = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
    assert b"openmetrics" in scrape.answer(accept)


def test_an_observation_is_cheap_enough_to_be_on_the_hot_path() -> None:
    histogram = Histogram()
    histogram.add(700)
    assert sum(histogram.buckets) == 1
    assert histogram.total_us == 700
