"""The server of this data directory: whether it runs, what it says of its processes, and its alarming numbers."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from ocs.clock import now_ms
from ocs.config.tree import Config
from ocs.config.values import Listen
from ocs.doctor.finding import DoctorFinding, Examined, Severity, error, warning
from ocs.processes.data_lock import is_served

WAIT_S: Final = 5.0
EXPIRES_S: Final = 30 * 86_400
Samples = Mapping[str, float]
"""Metric -> the largest of its series."""


class Number(NamedTuple):
    """A metric that is wrong from some value on."""

    metric: str
    is_wrong: Callable[[float], bool]
    severity: Severity
    means: str
    do: str
    runbook: str


NUMBERS: Final = (
    Number(
        "ocs_ledger_stopped_shards", lambda n: n > 0, Severity.ERROR, "shards are not copied until a person has looked",
        "ocs ledger status", "OcsShardStopped",
    ),
    Number(
        "ocs_ledger_quarantined_accounts", lambda n: n > 0, Severity.ERROR, "their records are not copied",
        "ocs ledger quarantine list", "OcsAccountsInQuarantine",
    ),
    Number(
        "ocs_invariant_violations_total", lambda n: n > 0, Severity.ERROR, "a proof failed since the start",
        "ocs ledger verify, and keep its output", "OcsProofFailed",
    ),
    Number(
        "ocs_ledger_findings", lambda n: n > 0, Severity.ERROR, "the last whole proof of the ledger found something",
        "ocs ledger verify, and keep its output", "OcsProofFailed",
    ),
    Number(
        "ocs_lost_answers_total", lambda n: n > 0, Severity.ERROR, "the live store lost what it had acknowledged",
        "ocs ledger lost", "OcsAnswersLost",
    ),
    Number(
        "ocs_ledger_lag_seconds", lambda n: n > 30, Severity.WARNING, "PostgreSQL is behind by so many seconds",
        "mend PostgreSQL; the keeper catches up by itself", "OcsLedgerBehind",
    ),
    Number(
        "ocs_sweep_lag_seconds", lambda n: n > 60, Severity.WARNING, "holds and sessions end late by so many seconds",
        "give the keeper and the store CPU", "OcsExpiryLate",
    ),
    Number(
        "ocs_enforcement_late_seconds", lambda n: n > 60, Severity.WARNING, "the network is told late of suspensions",
        "ocs job list", "OcsEnforcementLate",
    ),
    Number(
        "ocs_webhooks_paused", lambda n: n > 0, Severity.WARNING, "events wait for receivers that do not take them",
        "ocs webhook list", "OcsWebhookPaused",
    ),
    Number(
        "ocs_process_restarts_total", lambda n: n > 2, Severity.WARNING, "processes ended and were started again",
        "look for child.ended in the log", "OcsProcessRestarts",
    ),
)  # fmt: skip


def examine_server(config: Config) -> Examined:
    facts: list[str] = []
    return Examined("server", [*_looked_at(config, facts), *_certificates(config)], facts)


def _looked_at(config: Config, facts: list[str]) -> Iterator[DoctorFinding]:
    if not is_served(config.data):
        yield error(
            f"no server runs on the data directory {config.data}",
            "nothing is served by this host",
            "systemctl start ocs, or `ocs run`; `ocs check` says whether it can start",
            "OcsDown",
        )
        return
    facts.append("it runs")
    try:
        checks = json.loads(_got(config.http.listen, "/readyz", config.http.tls_cert))["checks"]
    except (OSError, ValueError, KeyError, http.client.HTTPException) as why:
        if config.http.listen:
            yield warning(
                f"the API at {config.http.listen} does not answer: {str(why) or type(why).__name__}",
                "an API process is down or busy; charging does not need it",
                "look at the log",
                "OcsProcessNotReady",
            )
    else:
        for name, state in sorted(checks.items()):
            if state != "ok":
                yield error(
                    f"{name}: {state}",
                    "it does not serve, or not all of it",
                    "mend what it names",
                    "OcsProcessNotReady",
                )
        facts.append(
            f"{sum(state == 'ok' for state in checks.values())} of {len(checks)} stores and processes are well"
        )
    if not config.metrics.listen:
        return
    try:
        found = samples(_got(config.metrics.listen, "/metrics").decode())
    except (OSError, ValueError, http.client.HTTPException) as why:
        yield warning(
            f"/metrics at {config.metrics.listen} does not answer: {str(why) or type(why).__name__}",
            "the supervisor is busy, or hangs", "look at the log", "OcsDown",
        )  # fmt: skip
        return
    yield from judged(found)


def judged(found: Samples) -> Iterator[DoctorFinding]:
    """What is wrong with these numbers."""
    for one in NUMBERS:
        value = found.get(one.metric, 0.0)
        if one.is_wrong(value):
            yield DoctorFinding(one.severity, f"{one.metric} is {value:g}", one.means, one.do, one.runbook)


def samples(text: str) -> dict[str, float]:
    """Of a metrics page."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            metric = name.partition("{")[0]
            found[metric] = max(found.get(metric, float("-inf")), float(value))
    return found


def _got(listen: Listen, path: str, certificate: str = "") -> bytes:
    """Raises OSError and HTTPException. A server of this machine, so its certificate is known by its file."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)
    if certificate:
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, listen.port, timeout=WAIT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, listen.port, timeout=WAIT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _certificates(config: Config) -> Iterator[DoctorFinding]:
    """Those that end soon."""
    files = {
        "http.tls_cert": config.http.tls_cert,
        "diameter.tls_cert": config.diameter.tls_cert,
        "radius.tls_cert": config.radius.tls_cert,
    }
    for key, file in files.items():
        if not file:
            continue
        try:
            left_s = seconds_left(Path(file))
        except (OSError, ValueError, ssl.SSLError) as why:
            yield error(f"{key} {file}: {why}", "nobody can connect over TLS", "mend the file")
            continue
        if left_s < EXPIRES_S:
            when = f"ends in {left_s / 86_400:.0f} days" if left_s > 0 else "has ended"
            yield (warning if left_s > 0 else error)(
                f"{key} {file} {when}", "peers refuse a certificate that has ended", "renew it; the file is read again"
            )


def seconds_left(file: Path) -> float:
    """Until the first certificate in a PEM file ends."""
    decoded = ssl._ssl._test_decode_cert(str(file))  # type: ignore[attr-defined]  # the library reads no file otherwise
    ends = datetime.strptime(decoded["notAfter"], "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    return ends.timestamp() - now_ms() / 1_000
