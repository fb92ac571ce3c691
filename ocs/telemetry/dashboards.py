"""What the dashboards of the NOC show: each panel is one row here; the JSON that Grafana reads derives from it
(grafana.py, `python -m ocs.telemetry.grafana deploy/grafana/dashboards`).

Queries are PromQL over the rows of metrics.py. `$interval` is Grafana's `$__rate_interval`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class PanelKind(Enum):
    LINES = "timeseries"
    NUMBER = "stat"


class Curve(msgspec.Struct, frozen=True):
    """One query. `quiet`: it has a series only once something has gone wrong, or is configured."""

    query: str
    legend: str = ""
    quiet: bool = False


class Panel(msgspec.Struct, frozen=True):
    """`unit` is a unit of Grafana: reqps, s, bytes, short, percentunit, currency:."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    kind: PanelKind = PanelKind.LINES
    note: str = ""
    alarm_above: float | None = None
    """A value above it is shown in red."""


class Section(msgspec.Struct, frozen=True):
    title: str
    panels: tuple[Panel, ...]


class Dashboard(msgspec.Struct, frozen=True):
    name: str
    """Of the file, and Grafana's uid after "ocs-"."""
    title: str
    sections: tuple[Section, ...]


def _lines(title: str, unit: str, *curves: Curve, note: str = "", alarm_above: float | None = None) -> Panel:
    return Panel(title, unit, curves, PanelKind.LINES, note, alarm_above)


def _number(title: str, unit: str, query: str, note: str = "", alarm_above: float | None = None) -> Panel:
    return Panel(title, unit, (Curve(query),), PanelKind.NUMBER, note, alarm_above)


def _quantile(part: float, metric: str, by: str, of: str = "") -> str:
    return f"histogram_quantile({part}, sum by (le, {by}) (rate({metric}_bucket{{{of}}}[$interval])))"


def _rate(metric: str, by: str, of: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{of}}}[$interval]))"


_NETWORK: Final = 'protocol=~"diameter|radius"'

_REQUESTS = _lines(
    "Requests", "reqps", Curve(_rate("ocs_requests_total", "protocol, command"), "{{protocol}} {{command}}")
)
_LATENCY = _lines(
    "Time to answer, network",
    "s",
    Curve(_quantile(0.5, "ocs_request_duration_seconds", "protocol", _NETWORK), "p50 {{protocol}}"),
    Curve(_quantile(0.99, "ocs_request_duration_seconds", "protocol", _NETWORK), "p99 {{protocol}}"),
    note="From receipt to answer. Clients wait 1 to 10 s before they send again.",
)
_LAG = _lines(
    "PostgreSQL behind the live store",
    "s",
    Curve("max(ocs_ledger_lag_seconds)", "oldest record"),
    note="0.3 s is usual. Records that wait are safe in the stream; trimming waits for them.",
    alarm_above=30,
)

DASHBOARDS: Final[tuple[Dashboard, ...]] = (
    Dashboard(
        "overview",
        "OCS: overview",
        (
            Section(
                "Now",
                (
                    _number("Proofs that failed", "short", "sum(ocs_invariant_violations_total)", alarm_above=0.5),
                    _number("Accounts compared a second", "short", "sum(rate(ocs_ledger_sampled_total[$interval]))"),
                    _number(
                        "Processes not ready",
                        "short",
                        'sum(ocs_processes{state!="ready"}) or vector(0)',
                        alarm_above=0.5,
                    ),
                    _number("Peers connected", "short", "sum(ocs_peers_up)"),
                    _number("Sessions open", "short", "sum(ocs_sessions_open)"),
                    _number("Shards stopped", "short", "max(ocs_ledger_stopped_shards)", alarm_above=0.5),
                    _number("Accounts in quarantine", "short", "max(ocs_ledger_quarantined_accounts)", alarm_above=0.5),
                ),
            ),
            Section(
                "Service",
                (
                    _REQUESTS,
                    _LATENCY,
                    _lines(
                        "Answers that are not a success",
                        "reqps",
                        Curve(
                            _rate(
                                "ocs_requests_total",
                                "protocol, result",
                                f'result!~"2001|1001|200|201|Access-Accept|Accounting-Response", {_NETWORK}',
                            ),
                            "{{protocol}} {{result}}",
                            quiet=True,
                        ),
                        note="Diameter: 4012 no credit, 5030 unknown user, 5031 no price, 3004 too busy.",
                    ),
                    _lines(
                        "Money debited",
                        "short",
                        Curve(_rate("ocs_debited_money_total", "service, currency"), "{{service}} {{currency}}/s"),
                        note="Currency units each second.",
                    ),
                ),
            ),
            Section(
                "Behind",
                (
                    _LAG,
                    _lines(
                        "Age of what is due to end", "s", Curve("max(ocs_sweep_lag_seconds)", "due"), alarm_above=60
                    ),
                ),
            ),
        ),
    ),
    Dashboard(
        "peers",
        "OCS: peers and protocols",
        (
            Section(
                "Peers",
                (
                    _lines("Connections by peer", "short", Curve("sum by (peer) (ocs_peer_connections)", "{{peer}}")),
                    _lines("Requests by peer", "reqps", Curve(_rate("ocs_peer_requests_total", "peer"), "{{peer}}")),
                    _lines(
                        "Answers by result",
                        "reqps",
                        Curve(_rate("ocs_peer_requests_total", "peer, result"), "{{peer}} {{result}}"),
                    ),
                    _lines(
                        "Unusual requests",
                        "reqps",
                        Curve(_rate("ocs_peer_marks_total", "peer, mark"), "{{peer}} {{mark}}", quiet=True),
                        note="Repeats, numbers used again, sessions used again, other subscribers.",
                    ),
                    _lines(
                        "Discarded",
                        "reqps",
                        Curve(_rate("ocs_peer_dropped_total", "peer, why"), "{{peer}} {{why}}", quiet=True),
                        Curve(_rate("ocs_messages_dropped_total", "protocol, why"), "{{protocol}} {{why}}", quiet=True),
                    ),
                    _lines(
                        "RADIUS requests that could be forged",
                        "reqps",
                        Curve(_rate("ocs_radius_lacking_total", "peer, habit"), "{{peer}} {{habit}}", quiet=True),
                        note="Served without Message-Authenticator while the client is still in `learn`.",
                    ),
                ),
            ),
            Section(
                "Connections",
                (
                    _lines(
                        "Begun",
                        "short",
                        Curve(_rate("ocs_connections_total", "protocol, outcome"), "{{protocol}} {{outcome}}"),
                    ),
                    _lines(
                        "Ended",
                        "short",
                        Curve(_rate("ocs_disconnects_total", "protocol, why"), "{{protocol}} {{why}}", quiet=True),
                    ),
                    _lines(
                        "Requests left without an answer",
                        "reqps",
                        Curve(
                            _rate("ocs_requests_unanswered_total", "protocol, why"), "{{protocol}} {{why}}", quiet=True
                        ),
                    ),
                ),
            ),
        ),
    ),
    Dashboard(
        "charging",
        "OCS: charging",
        (
            Section(
                "Lines",
                (
                    _lines(
                        "Lines by result",
                        "reqps",
                        Curve(_rate("ocs_lines_total", "service, result"), "{{service}} {{result}}"),
                    ),
                    _lines(
                        "Last grants",
                        "reqps",
                        Curve(_rate("ocs_final_units_total", "service, action"), "{{service}} {{action}}", quiet=True),
                    ),
                    _lines(
                        "Served by template",
                        "percentunit",
                        Curve(
                            "sum(rate(ocs_template_requests_total[$interval])) "
                            '/ sum(rate(ocs_requests_total{protocol="diameter"}[$interval]))',
                            "share",
                        ),
                        note="The short way of the usual UPDATE. A fall costs CPU, nothing else.",
                    ),
                    _lines(
                        "Use with a mark",
                        "reqps",
                        Curve(_rate("ocs_marked_usage_total", "service, mark"), "{{service}} {{mark}}", quiet=True),
                        note="overrun, late, unmatched, renumbered, reused, clock.",
                    ),
                    _lines(
                        "Set aside instead of charged",
                        "reqps",
                        Curve(_rate("ocs_suspense_total", "service, why"), "{{service}} {{why}}", quiet=True),
                        note="`ocs suspense list`: each waits for a person.",
                    ),
                ),
            ),
            Section(
                "Admission",
                (
                    _lines(
                        "In flight and limit",
                        "short",
                        Curve("sum by (protocol) (ocs_requests_in_flight)", "in flight {{protocol}}"),
                        Curve("sum by (protocol) (ocs_admission_limit)", "limit {{protocol}}"),
                    ),
                    _lines(
                        "Refused for load (3004)",
                        "reqps",
                        Curve(_rate("ocs_requests_total", "type", 'result="3004"'), "{{type}}", quiet=True),
                    ),
                    _lines("CPU by role", "short", Curve(_rate("ocs_cpu_seconds_total", "role"), "{{role}} cores")),
                ),
            ),
        ),
    ),
    Dashboard(
        "money",
        "OCS: money",
        (
            Section(
                "Flows",
                (
                    _lines(
                        "Debited",
                        "short",
                        Curve(_rate("ocs_debited_money_total", "service, currency"), "{{service}} {{currency}}/s"),
                    ),
                    _lines(
                        "Posted",
                        "short",
                        Curve(
                            _rate("ocs_posted_money_total", "why, direction, currency"),
                            "{{why}} {{direction}} {{currency}}/s",
                        ),
                    ),
                ),
            ),
            Section(
                "Standing",
                (
                    _lines(
                        "Held",
                        "short",
                        Curve("sum by (currency) (ocs_held_money)", "{{currency}}"),
                        note="Granted and not yet reported.",
                    ),
                    _lines(
                        "Held, by peer",
                        "short",
                        Curve("sum by (peer, currency) (ocs_peer_held_money)", "{{peer}} {{currency}}"),
                        note="By open sessions: what would be lost if a peer forgot them.",
                    ),
                    _lines(
                        "Reported, and nothing held for it",
                        "short",
                        Curve(
                            "sum by (peer, mark, currency) (increase(ocs_unheld_money_total[1h]))",
                            "{{peer}} {{mark}} {{currency}}/h",
                            quiet=True,
                        ),
                        note="unmatched: of sessions that were never granted, as where a peer failed open. late: of"
                        " sessions that had ended. It was charged.",
                    ),
                    _lines(
                        "Owed",
                        "short",
                        Curve("sum by (currency) (ocs_owed_money)", "{{currency}}", quiet=True),
                        note="Free money of accounts that is below zero, looked at once a minute.",
                    ),
                    _lines(
                        "Sessions and lines that hold",
                        "short",
                        Curve("sum(ocs_sessions_open)", "sessions"),
                        Curve("sum(ocs_holds)", "lines"),
                    ),
                    _lines(
                        "Used in spite of suspension",
                        "short",
                        Curve("sum(rate(ocs_enforcement_used_money_total[$interval]))", "money/s"),
                    ),
                    _number("Answers no store knows", "short", "sum(ocs_lost_answers_total)", alarm_above=0.5),
                ),
            ),
        ),
    ),
    Dashboard(
        "stores",
        "OCS: stores and processes",
        (
            Section(
                "Live store",
                (
                    _lines(
                        "One call",
                        "s",
                        Curve(_quantile(0.5, "ocs_store_call_duration_seconds", "call"), "p50 {{call}}"),
                        Curve(_quantile(0.99, "ocs_store_call_duration_seconds", "call"), "p99 {{call}}"),
                    ),
                    _lines(
                        "Calls of unknown fate",
                        "reqps",
                        Curve(_rate("ocs_store_calls_lost_total", "call"), "{{call}}"),
                        note="Sent again under the same key; nothing is charged twice.",
                    ),
                    _lines(
                        "Memory",
                        "bytes",
                        Curve("max(ocs_store_memory_bytes)", "used"),
                        Curve("max(ocs_store_memory_limit_bytes)", "maxmemory"),
                    ),
                    _lines(
                        "Shards shut, of 256",
                        "short",
                        Curve("max by (instance) (ocs_store_shards_shut)", "{{instance}}"),
                        note="Their subscribers get 3004. A failover or a slot that moves shuts some for seconds.",
                        alarm_above=0.5,
                    ),
                    _lines("Records in the streams", "short", Curve("max(ocs_stream_entries)", "records")),
                    _lines(
                        "Settings that may lose money",
                        "short",
                        Curve("max by (risk) (ocs_store_risks)", "{{risk}}", quiet=True),
                    ),
                ),
            ),
            Section(
                "PostgreSQL",
                (
                    _LAG,
                    _lines("Records that PostgreSQL lacks", "short", Curve("sum(ocs_ledger_lag_entries)", "records")),
                    _lines("Work of the keepers", "short", Curve(_rate("ocs_keeper_total", "what"), "{{what}}/s")),
                ),
            ),
            Section(
                "Processes",
                (
                    _lines("CPU", "short", Curve(_rate("ocs_cpu_seconds_total", "role"), "{{role}} cores")),
                    _lines(
                        "Memory of processes",
                        "bytes",
                        Curve("sum by (role) (ocs_process_resident_memory_bytes)", "{{role}}"),
                    ),
                    _lines("Open files", "short", Curve("sum by (role) (ocs_process_open_fds)", "{{role}}")),
                    _lines(
                        "Started again",
                        "short",
                        Curve("sum by (role) (increase(ocs_process_restarts_total[1h]))", "{{role}}", quiet=True),
                    ),
                    _lines("Disk left", "bytes", Curve("min(ocs_disk_free_bytes)", "data directory")),
                ),
            ),
        ),
    ),
    Dashboard(
        "enforcement",
        "OCS: enforcement and events",
        (
            Section(
                "The network obeys",
                (
                    _lines(
                        "Requests to the network",
                        "reqps",
                        Curve(_rate("ocs_pushes_total", "kind, result"), "{{kind}} {{result}}", quiet=True),
                    ),
                    _lines(
                        "Jobs open",
                        "short",
                        Curve("sum by (kind, state) (ocs_enforcement_jobs)", "{{kind}} {{state}}", quiet=True),
                    ),
                    _lines(
                        "Jobs ended",
                        "reqps",
                        Curve(_rate("ocs_enforcement_jobs_total", "kind, state"), "{{kind}} {{state}}", quiet=True),
                    ),
                    _lines(
                        "From the crossing to its effect, p99",
                        "s",
                        Curve(
                            _quantile(0.99, "ocs_enforcement_seconds", "cause, hop"), "{{cause}} {{hop}}", quiet=True
                        ),
                    ),
                    _lines(
                        "Age of what is due",
                        "s",
                        Curve("max(ocs_enforcement_late_seconds)", "jobs"),
                        Curve("max(ocs_enforcement_due_seconds)", "what time changed"),
                        alarm_above=30,
                    ),
                    _lines(
                        "Peers that agree and do not follow",
                        "short",
                        Curve(_rate("ocs_enforcement_ignored_total", "peer"), "{{peer}}", quiet=True),
                    ),
                ),
            ),
            Section(
                "Events",
                (
                    _lines(
                        "Not done with", "short", Curve("max by (kind) (ocs_events_behind)", "{{kind}}", quiet=True)
                    ),
                    _lines(
                        "Webhook attempts",
                        "reqps",
                        Curve(
                            _rate("ocs_webhook_attempts_total", "webhook, result"), "{{webhook}} {{result}}", quiet=True
                        ),
                    ),
                    _lines(
                        "Webhook deliveries that wait",
                        "short",
                        Curve("sum by (webhook) (ocs_webhook_waiting)", "{{webhook}}", quiet=True),
                    ),
                    _lines(
                        "Age of the oldest delivery",
                        "s",
                        Curve("max by (webhook) (ocs_webhook_oldest_seconds)", "{{webhook}}", quiet=True),
                    ),
                    _number("Followers", "short", "sum(ocs_event_followers)"),
                ),
            ),
        ),
    ),
)
