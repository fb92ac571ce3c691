"""Output of a run: a line while it runs, tables at the end, and the same as a tree for programs."""

from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadtest.audit import AuditVerdict
from loadtest.faults import PlantedFaults
from loadtest.link import WireCounts
from loadtest.obedience import Obedience
from loadtest.pricing import text
from loadtest.runner import LoadStats

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
PLAIN_EVERY = 5  # pages, where the output is a file and a line cannot be rewritten

NAMES = {
    2001: "success",
    3002: "unable to deliver",
    3004: "too busy",
    4010: "end user service denied",
    4011: "credit control not applicable",
    4012: "credit limit reached",
    5002: "unknown session",
    5004: "invalid AVP value",
    5012: "unable to comply",
    5030: "user unknown",
    5031: "rating failed",
}


class LiveReport:
    """The live line. Use as a context; `show` once per page of stats."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._pages = 0

    def __enter__(self) -> "LiveReport":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, what: str) -> None:
        if self._live is not None:
            self._live.update(Text(what))
        elif self._pages % PLAIN_EVERY == 0:
            self._console.print(what, highlight=False)
        self._pages += 1


def page(elapsed_s: float, stats: LoadStats, in_flight: int, open_sessions: int) -> str:
    """One second in one line."""
    codes: dict[int, int] = {}
    for (_, code), count in stats.results.items():
        codes[code] = codes.get(code, 0) + count
    results = "  ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
    return (
        f"{elapsed_s:6.1f} s  {stats.rate:8,.0f}/s  in flight {in_flight:<5} sessions {open_sessions:<6}"
        f" p50 {stats.ms(50):.2f} ms  p99 {stats.ms(99):.2f} ms  {results}"
    )


def show(console: Console, total: LoadStats, counts: WireCounts, faults: PlantedFaults | None, cpu_us: float) -> None:
    """The table of the run."""
    table = Table(title=f"{total.answered:,} requests answered in {total.seconds:.1f} s: {total.rate:,.0f} per second")
    for name in ("request", "result", "count", "share"):
        table.add_column(name, justify="left" if name in ("request", "result") else "right")
    for (phase, code), count in sorted(total.results.items()):
        name = phase.name.removesuffix("_REQUEST").lower()
        table.add_row(name, f"{code} {NAMES.get(code, '')}", f"{count:,}", f"{count / total.answered:.2%}")
    for code, count in sorted(total.line_results.items()):
        table.add_row("a line of it", f"{code} {NAMES.get(code, '')}", f"{count:,}", "")
    console.print(table)
    latency = Table(title="latency from the planned instant, ms")
    for percentile in PERCENTILES:
        latency.add_column("max" if percentile == 100 else f"p{percentile:g}", justify="right")
    latency.add_row(*(f"{total.ms(percentile):.2f}" for percentile in PERCENTILES))
    console.print(latency)
    odd = {
        "sent again": counts.resent,
        "second answers": counts.surplus,
        "connections lost": counts.lost_connections,
        "connections the server ended": counts.ended_connections,
        "answers of another session": counts.misaddressed,
        "unreadable answers": counts.unreadable,
        "RAR": counts.reauths,
        "ASR": counts.aborts,
        "planted duplicates": faults.duplicates if faults else 0,
        "planted cuts": faults.cuts if faults else 0,
        "duplicates answered differently": len(faults.contradictions) if faults else 0,
    }
    console.print(", ".join(f"{name} {count:,}" for name, count in odd.items() if count) or "nothing unusual")
    console.print(f"client CPU {cpu_us:.1f} us per request", highlight=False)


def show_verdict(console: Console, verdict: AuditVerdict) -> None:
    table = Table(title=f"audit of {verdict.accounts:,} accounts")
    for name in ("due (our own arithmetic)", "debited (accounts)", "entered (ledger)", "still held", "ledger lag"):
        table.add_column(name, justify="right")
    sums = (text(amount) for amount in (verdict.due, verdict.debited, verdict.entered, verdict.held))
    table.add_row(*sums, f"{verdict.lag_s:.1f} s")
    console.print(table)
    for fault in verdict.faults:
        console.print(f"  {fault}", style="red", highlight=False)
    if verdict.holds:
        console.print(
            f"HOLDS: every account agrees to the micro-unit ({verdict.entries:,} entries)", style="bold green"
        )
    else:
        what = f"FAILS: {verdict.wrong:,} of {verdict.accounts:,} accounts"
        console.print(f"{what}, {verdict.doubtful:,} of them for want of answers", style="bold red")


def show_obedience(console: Console, obedience: Obedience) -> None:
    """What was told and obeyed; nothing where no account crossed its line and nobody was told."""
    sums = obedience.sums()
    if not sums.accounts and not obedience.personas:
        return
    table = Table(title=f"{sums.accounts:,} accounts crossed their line, {sums.told:,} of them were told (ms)")
    columns = ("obeys", "RAR", "ASR", "told p50", "p99", "max", "obeyed p50", "max", "used after")
    for name in columns:
        table.add_column(name, justify="left" if name == "obeys" else "right")
    for persona, counts in sorted(obedience.personas.items()):
        waits_us = [counts.told_us.get_value_at_percentile(at) for at in (50, 99, 100)]
        waits_us += [counts.obeyed_us.get_value_at_percentile(at) for at in (50, 100)]
        waits = (f"{wait_us / 1_000:.1f}" for wait_us in waits_us)
        table.add_row(persona.replace("_", " "), f"{counts.reports:,}", f"{counts.ends:,}", *waits, text(counts.used))
    console.print(table)
    console.print(
        f"used after the crossing {text(sums.used)}, at most {text(sums.bound)} was granted by then;"
        f" {sums.silent:,} sessions left open and never told",
        highlight=False,
    )
    if sums.beyond:
        console.print(f"FAILS: {sums.beyond:,} accounts used more than they had been granted", style="bold red")


def obedience_tree(obedience: Obedience) -> dict[str, Any]:
    """For `--json`."""
    personas = {
        persona: {
            "rar": counts.reports,
            "asr": counts.ends,
            "used_after": counts.used,
            "told_ms": {f"p{at:g}": counts.told_us.get_value_at_percentile(at) / 1_000 for at in PERCENTILES},
            "obeyed_ms": {f"p{at:g}": counts.obeyed_us.get_value_at_percentile(at) / 1_000 for at in PERCENTILES},
        }
        for persona, counts in obedience.personas.items()
    }
    return {**obedience.sums()._asdict(), "personas": personas}


def tree(total: LoadStats, counts: WireCounts, verdict: AuditVerdict | None, cpu_us: float) -> dict[str, Any]:
    """For `--json`."""
    return {
        "answered": total.answered,
        "seconds": round(total.seconds, 3),
        "rate": round(total.rate, 1),
        "results": {f"{phase.name.lower()} {code}": count for (phase, code), count in sorted(total.results.items())},
        "latency_ms": {f"p{percentile:g}": total.ms(percentile) for percentile in PERCENTILES},
        "counts": vars(counts),
        "client_cpu_us": round(cpu_us, 2),
        "audit": verdict and {**verdict._asdict(), "holds": verdict.holds},
    }
