"""Every metric is one row here; help text, labels and how processes are summed derive from it.

In a process a metric is a dict of plain ints or an array of buckets, so that counting costs a dict update and no lock.
`Meter.snapshot()` goes to the supervisor again and again, which sums the processes at a scrape (exposition.py). Labels
come from tables of ours (commands, result codes, services), never from a subscriber or a session; should that fail,
what passes `SERIES_MAX` is counted under the label "other".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

import msgspec

SERIES_MAX: Final = 500


class MetricKind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Across(Enum):
    """How the numbers of several processes become one."""

    SUM = "sum"
    MAX = "max"


class Metric(msgspec.Struct, frozen=True):
    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    divisor: int = 1
    """We count whole micro-units and microseconds; Prometheus wants currency units and seconds."""
    across: Across = Across.SUM
    outlives: bool = False
    """What a process that ended had counted still counts."""


def _counter(name: str, text: str, *labels: str, divisor: int = 1) -> Metric:
    return Metric(name, MetricKind.COUNTER, text, labels, divisor, outlives=True)


def _gauge(name: str, text: str, *labels: str, divisor: int = 1, across: Across = Across.SUM) -> Metric:
    return Metric(name, MetricKind.GAUGE, text, labels, divisor, across)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, text, labels, divisor=1_000_000, outlives=True)


# fmt: off
REQUESTS       = _counter("ocs_requests_total", "Requests answered", "protocol", "command", "type", "result")
REQUEST_TIME   = _histogram("ocs_request_duration_seconds", "From receipt to answer", "protocol", "command")
IN_FLIGHT      = _gauge("ocs_requests_in_flight", "Requests without an answer yet", "protocol")
ADMISSION      = _gauge("ocs_admission_limit", "Requests that may be in flight, as the store answers now", "protocol")
BY_TEMPLATE    = _counter("ocs_template_requests_total", "Requests served by a template", "protocol")
SILENT         = _counter("ocs_requests_unanswered_total", "Requests left without an answer", "protocol", "why")
PEERS          = _gauge("ocs_peers_up", "Peers connected and open", "protocol")
CONNECTIONS    = _counter("ocs_connections_total", "Connections by how they began", "protocol", "outcome")
DISCONNECTS    = _counter("ocs_disconnects_total", "Connections by how they ended", "protocol", "why")
DROPPED        = _counter("ocs_messages_dropped_total", "Messages discarded as the protocol says", "protocol", "why")
PEER_UP        = _gauge("ocs_peer_connections", "Open connections of a configured peer; of all others: guest", "peer")
PEER_REQUESTS  = _counter("ocs_peer_requests_total", "Requests answered on the connections of a peer", "peer", "result")
PEER_MARKS     = _counter("ocs_peer_marks_total", "Requests of a peer that something was unusual about", "peer", "mark")
PEER_DROPPED   = _counter("ocs_peer_dropped_total", "Messages of a peer that were discarded", "peer", "why")
RADIUS_LACKING = _counter("ocs_radius_lacking_total", "Access-Requests served although forgeable", "peer", "habit")
RADIUS_LEFT_OUT = _counter("ocs_radius_left_out_total", "What an Accept could not say", "peer", "attribute", "why")
HOME_REQUESTS  = _counter("ocs_radius_home_requests_total", "EAP logins passed on", "server", "result")
HOME_UP        = _gauge("ocs_radius_home_up", "Workers that get answers from a home server", "server")
HOME_OUTSTANDING = _gauge("ocs_radius_home_outstanding", "Requests on their way to a home server", "server")
LINES          = _counter("ocs_lines_total", "Lines of requests by their own result", "protocol", "service", "result")
FINAL_UNITS    = _counter("ocs_final_units_total", "Lines granted their last", "protocol", "service", "action")
VOUCHER_TRIES  = _counter("ocs_voucher_tries_total", "Codes of vouchers that were tried, by what came of it", "result")
SESSION_ASKED  = _counter("ocs_pushes_total", "RAR, ASR, CoA and Disconnect sent", "kind", "peer", "result")
JOBS           = _gauge("ocs_enforcement_jobs", "Sessions the network is being told about", "kind", "state")
JOBS_ENDED     = _counter("ocs_enforcement_jobs_total", "Such jobs by how they ended", "kind", "state")
JOB_TIME       = _histogram("ocs_enforcement_seconds", "From the crossing to what happened then", "cause", "hop")
JOBS_LATE      = _gauge("ocs_enforcement_late_seconds", "Age of what is due", divisor=1_000, across=Across.MAX)
DUE_LATE       = _gauge("ocs_enforcement_due_seconds", "Age of what time changed", divisor=1_000, across=Across.MAX)
RAR_IGNORED    = _counter("ocs_enforcement_ignored_total", "RARs a peer agreed to and did not follow", "peer")
USED_AFTER     = _counter("ocs_enforcement_used_money_total", "Money used in spite of suspension", divisor=1_000_000)
OVER_BOUND     = _counter("ocs_enforcement_over_bound_total", "Sessions that used more so than they held")
SESSIONS       = _gauge("ocs_sessions_open", "Charging sessions open, as the store has them")
HOLDS          = _gauge("ocs_holds", "Session lines that hold something, as the store has them")
HELD           = _gauge("ocs_held_money", "Money held, as the store has it", "currency", divisor=1_000_000)
HELD_BY_PEER   = _gauge("ocs_peer_held_money", "Held by sessions of a peer", "peer", "currency", divisor=1_000_000)
UNHELD         = _counter("ocs_unheld_money_total", "Money of use that nothing was held for", "peer", "mark",
                          "currency", divisor=1_000_000)
OWED           = _gauge("ocs_owed_money", "Free money of accounts that is below zero", "currency", divisor=1_000_000)
DEBITED        = _counter("ocs_debited_money_total", "Money debited", "service", "currency", divisor=1_000_000)
POSTED         = _counter("ocs_posted_money_total", "Money posted", "why", "direction", "currency", divisor=1_000_000)
MARKED         = _counter("ocs_marked_usage_total", "Usage records that something was unusual about", "service", "mark")
SET_ASIDE      = _counter("ocs_suspense_total", "Usage records of use that was not charged", "service", "why")
FEES           = _counter("ocs_fees_total", "Recurring fees: looked at, taken, short of money", "what")
FEES_LATE      = _gauge("ocs_fees_due_seconds", "Age of the oldest that is due", divisor=1_000, across=Across.MAX)
STORE_TIME     = _histogram("ocs_store_call_duration_seconds", "One call to the live store, seen from here", "call")
STORE_LOST     = _counter("ocs_store_calls_lost_total", "Calls to the live store of unknown fate", "call")
SHARDS_SHUT    = _gauge("ocs_store_shards_shut", "Of 256, those that cannot be called, at worst", across=Across.MAX)
LAG_ENTRIES    = _gauge("ocs_ledger_lag_entries", "Records in the live store that PostgreSQL does not have yet")
LAG_SECONDS    = _gauge("ocs_ledger_lag_seconds", "Age of the oldest; 0.5 is usual", divisor=1_000, across=Across.MAX)
STOPPED        = _gauge("ocs_ledger_stopped_shards", "Shards not copied to PostgreSQL until a person has looked")
QUARANTINED    = _gauge("ocs_ledger_quarantined_accounts", "Accounts not copied until a person has looked")
STORE_RISKS    = _gauge("ocs_store_risks", "Settings of the live store that may lose money", "risk", across=Across.MAX)
LOST_ANSWERS   = _counter("ocs_lost_answers_total", "Answers acknowledged that no store knows any more")
STORE_MEMORY   = _gauge("ocs_store_memory_bytes", "Memory of the live store", across=Across.MAX)
STORE_LIMIT    = _gauge("ocs_store_memory_limit_bytes", "Its maxmemory; 0: none", across=Across.MAX)
STREAM_LENGTH  = _gauge("ocs_stream_entries", "Records in the streams, copied or not", across=Across.MAX)
KEPT           = _counter("ocs_keeper_total", "What keepers did, by what (ocs/keeper/counts.py)", "what")
KEEPER_FAILED  = _counter("ocs_keeper_failures_total", "Errors of keepers that nobody foresaw, by work", "work")
SWEEP_LAG      = _gauge("ocs_sweep_lag_seconds", "Age of what is due to end", divisor=1_000, across=Across.MAX)
EVENTS_BEHIND  = _gauge("ocs_events_behind", "Events not done with, by the slowest", "kind", across=Across.MAX)
FOLLOWERS      = _gauge("ocs_event_followers", "Who follows server-sent events")
FOLLOWERS_CUT  = _counter("ocs_event_followers_cut_total", "Followers that did not read what they were sent")
HOOK_ATTEMPTS  = _counter("ocs_webhook_attempts_total", "Attempts to deliver events", "webhook", "result")
HOOK_DEAD      = _counter("ocs_webhook_dead_letters_total", "Deliveries given up until sent again by hand", "webhook")
HOOK_WAITING   = _gauge("ocs_webhook_waiting", "Deliveries that have not arrived", "webhook")
HOOK_AGE       = _gauge("ocs_webhook_oldest_seconds", "Age of the oldest", "webhook", divisor=1_000, across=Across.MAX)
HOOK_PAUSED    = _gauge("ocs_webhooks_paused", "Webhooks that nothing is delivered to", "why", across=Across.MAX)
VIOLATIONS     = _counter("ocs_invariant_violations_total", "Proofs that failed; 0 is the only good value", "what")
SAMPLED        = _counter("ocs_ledger_sampled_total", "Accounts compared between the stores beside traffic")
FINDINGS       = _gauge("ocs_ledger_findings", "Of the last whole proof of the ledger", across=Across.MAX)
VERIFIED_AGE   = _gauge("ocs_ledger_verified_seconds", "Age of that proof", divisor=1_000, across=Across.MAX)
MONTHS_DROPPED = _counter("ocs_ledger_months_dropped_total", "Months that retention dropped", "what")
MONTHS_WAIT    = _gauge("ocs_ledger_retention_waits", "1: a month is to go and cannot", "what", across=Across.MAX)
CPU            = _counter("ocs_cpu_seconds_total", "CPU time, user and system", "role", divisor=1_000_000)
MEMORY         = _gauge("ocs_process_resident_memory_bytes", "Resident memory", "role")
OPEN_FILES     = _gauge("ocs_process_open_fds", "Open file descriptors", "role")
DISK_FREE      = _gauge("ocs_disk_free_bytes", "Left for the data directory", across=Across.MAX)
RESTARTS       = _counter("ocs_process_restarts_total", "Children started again after they ended", "role")
PROCESSES      = _gauge("ocs_processes", "Children", "role", "state")
BUILD          = _gauge("ocs_build_info", "Always 1", "version", "python", across=Across.MAX)
# fmt: on

METRICS: tuple[Metric, ...] = (
    REQUESTS, REQUEST_TIME, IN_FLIGHT, ADMISSION, BY_TEMPLATE, SILENT, PEERS, CONNECTIONS, DISCONNECTS, DROPPED,
    PEER_UP, PEER_REQUESTS, PEER_MARKS, PEER_DROPPED, RADIUS_LACKING, RADIUS_LEFT_OUT, HOME_REQUESTS, HOME_UP,
    HOME_OUTSTANDING,
    LINES, FINAL_UNITS, VOUCHER_TRIES, SESSION_ASKED,
    JOBS, JOBS_ENDED, JOB_TIME, JOBS_LATE, DUE_LATE, RAR_IGNORED, USED_AFTER, OVER_BOUND,
    SESSIONS, HOLDS, HELD, HELD_BY_PEER, UNHELD, OWED, DEBITED, POSTED, MARKED, SET_ASIDE, FEES, FEES_LATE,
    STORE_TIME, STORE_LOST,
    SHARDS_SHUT,
    LAG_ENTRIES, LAG_SECONDS,
    STOPPED, QUARANTINED, STORE_RISKS, LOST_ANSWERS,
    STORE_MEMORY, STORE_LIMIT, STREAM_LENGTH, KEPT, KEEPER_FAILED, SWEEP_LAG, EVENTS_BEHIND, FOLLOWERS,
    FOLLOWERS_CUT, HOOK_ATTEMPTS, HOOK_DEAD, HOOK_WAITING, HOOK_AGE, HOOK_PAUSED, VIOLATIONS,
    SAMPLED, FINDINGS, VERIFIED_AGE, MONTHS_DROPPED, MONTHS_WAIT, CPU, MEMORY, OPEN_FILES,
    DISK_FREE, RESTARTS, PROCESSES, BUILD,
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}


class LabelledCounts(dict[tuple[str, ...], int]):
    """Numbers by label values: `counts["diameter", "CCR", "UPDATE", "2001"] += 1`."""

    def __missing__(self, labels: tuple[str, ...]) -> int:
        return 0


class Histogram:
    """Durations in two buckets per octave, from a microsecond on; an observation costs a list update."""

    __slots__ = ("buckets", "total_us")

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.total_us = 0

    def add(self, us: int) -> None:
        self.total_us += us
        self.buckets[bucket_of(us)] += 1


BUCKETS: Final = 60  # to half an hour; the last takes the rest


def bucket_of(us: int) -> int:
    """Below 2 us is bucket 1; [2, 3) is 2, [3, 4) is 3, [4, 6) is 4, [6, 8) is 5, and so on."""
    if us < 2:
        return 1
    octave = us.bit_length() - 1
    bucket = octave * 2 | us >> octave - 1 & 1
    return bucket if bucket < BUCKETS else BUCKETS - 1


def upper_us(bucket: int) -> int:
    """First duration above a bucket."""
    octave, half = divmod(bucket + 1, 2)
    return (2 + half << octave) // 2


class Series(msgspec.Struct, array_like=True, frozen=True):
    """One line of a snapshot. `values` is one number, or the buckets of a histogram and then the sum."""

    name: str
    labels: tuple[str, ...]
    values: tuple[int, ...]


Snapshot = tuple[Series, ...]


class Meter:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._counts: dict[Metric, LabelledCounts] = {}
        self._histograms: dict[tuple[Metric, tuple[str, ...]], Histogram] = {}
        self._read: dict[tuple[Metric, tuple[str, ...]], Callable[[], int]] = {}

    def counts(self, metric: Metric) -> LabelledCounts:
        """The numbers of a counter or gauge, to be changed in place."""
        assert metric.kind is not MetricKind.HISTOGRAM, metric
        return self._counts.setdefault(metric, LabelledCounts())

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        assert metric.kind is MetricKind.HISTOGRAM, metric
        assert len(labels) == len(metric.labels), (metric, labels)
        return self._histograms.setdefault((metric, labels), Histogram())

    def read(self, metric: Metric, *labels: str, by: Callable[[], int]) -> None:
        """A number that is asked for when a snapshot is taken."""
        assert len(labels) == len(metric.labels), (metric, labels)
        self._read[metric, labels] = by

    def snapshot(self) -> Snapshot:
        found = [
            Series(metric.name, labels, (value,))
            for metric, counts in self._counts.items()
            for labels, value in _bounded(metric, counts)
        ]
        found += [
            Series(metric.name, labels, (*histogram.buckets, histogram.total_us))
            for (metric, labels), histogram in self._histograms.items()
        ]
        found += [Series(metric.name, labels, (by(),)) for (metric, labels), by in self._read.items()]
        return tuple(found)


def _bounded(metric: Metric, counts: LabelledCounts) -> Iterable[tuple[tuple[str, ...], int]]:
    if len(counts) <= SERIES_MAX:
        return counts.items()
    items = list(counts.items())
    rest = sum(value for _, value in items[SERIES_MAX:])
    return [*items[:SERIES_MAX], (("other",) * len(metric.labels), rest)]
