"""Output of a BRAS run: a line while it runs, tables at the end, and the same as a tree for programs."""

from typing import Any

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table

from loadtest.audit import AuditVerdict
from loadtest.bras.run import BrasRun, BrasStats
from loadtest.report import PERCENTILES


def page(elapsed_s: float, stats: BrasStats, run: BrasRun) -> str:
    """One second in one line."""
    told = run.dynamic
    return (
        f"{elapsed_s:6.1f} s  {stats.rate:8,.0f}/s  in flight {run.network.in_flight:<5}"
        f" sessions {len(run.open_sessions):<6} auth p99 {_ms(stats.auth_us, 99):.2f} ms"
        f"  acct p99 {_ms(stats.acct_us, 99):.2f} ms  CoA {told.coas}  Disconnect {told.disconnects}"
    )


def show_packets(console: Console, total: BrasStats) -> None:
    """What was answered, and how fast."""
    table = Table(title=f"{total.answered:,} packets answered in {total.seconds:.1f} s: {total.rate:,.0f}/s")
    table.add_column("packet")
    table.add_column("count", justify="right")
    for name, count in sorted(total.results.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    latency = Table(title="latency from the planned instant, repeats included, ms")
    latency.add_column("")
    for percentile in PERCENTILES:
        latency.add_column("max" if percentile == 100 else f"p{percentile:g}", justify="right")
    for name, histogram in (("authentication", total.auth_us), ("accounting", total.acct_us)):
        latency.add_row(name, *(f"{_ms(histogram, percentile):.2f}" for percentile in PERCENTILES))
    console.print(latency)


def show(console: Console, total: BrasStats, run: BrasRun, cpu_us: float) -> None:
    show_packets(console, total)
    told = run.dynamic
    if told.coas or told.disconnects or told.unproven:
        answers = ", ".join(f"{name} {count:,}" for name, count in sorted(told.answers.items()))
        console.print(f"CoA {told.coas:,}, Disconnect {told.disconnects:,}: {answers}", highlight=False)
    odd = {name.replace("_", " "): count for name, count in vars(run.network.counts).items() if name != "sent"}
    odd |= {"reboots": run.reboots, "CoA or Disconnect again": told.repeats, "of them unproven": told.unproven}
    console.print(", ".join(f"{name} {count:,}" for name, count in odd.items() if count) or "nothing unusual")
    console.print(f"highest counter {run.peak_octets:,} octets; client CPU {cpu_us:.1f} us per packet", highlight=False)
    for wrong in run.wrong_logins[:10]:
        console.print(f"  {wrong}", style="red", highlight=False)


def tree(total: BrasStats, run: BrasRun, verdict: AuditVerdict | None, cpu_us: float) -> dict[str, Any]:
    """For `--json`."""
    told = run.dynamic
    return {
        "answered": total.answered,
        "seconds": round(total.seconds, 3),
        "rate": round(total.rate, 1),
        "results": dict(sorted(total.results.items())),
        "latency_ms": {
            name: {f"p{percentile:g}": _ms(histogram, percentile) for percentile in PERCENTILES}
            for name, histogram in (("auth", total.auth_us), ("acct", total.acct_us))
        },
        "dynamic": {
            "coas": told.coas,
            "disconnects": told.disconnects,
            "repeats": told.repeats,
            "unproven": told.unproven,
            "answers": dict(sorted(told.answers.items())),
        },
        "counts": vars(run.network.counts),
        "reboots": run.reboots,
        "peak_octets": run.peak_octets,
        "wrong_logins": len(run.wrong_logins),
        "client_cpu_us": round(cpu_us, 2),
        "audit": verdict and {**verdict._asdict(), "holds": verdict.holds},
    }


def _ms(histogram: HdrHistogram, percentile: float) -> float:
    return float(histogram.get_value_at_percentile(percentile)) / 1_000
