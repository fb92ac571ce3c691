"""Tables for people, and the last recorded run to compare with."""

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench import processes
from tests.bench.whole import RATES, Whole, Yard

LAST = Path(__file__).with_name("last.json")

# The full path with the copy to PostgreSQL running, one line a request. The Erlang peer takes 12 times a plain EVALSHA.
AIMS = {
    "redis / plain EVALSHA": "<= 2.2",
    "server / plain EVALSHA": "<= 6",
    "p99 / EVALSHA p99 at 1000/s": "<= 3",
    "C client: bad answers": "0",
}

TITLES = {
    "micro": "alone, us per call (best of several)",
    "rating": "a price found, us per line (aim: <= 15 remembered; the load of a table in ms)",
    "overload": "more outstanding than it can answer (aim: goodput >= 90 % of the best at each, nobody never answered)",
    "radius": "RADIUS, CPU in us per charged Interim (aim: >= 10000/s, no more than a CCR, p99 within 3 x of the echo)",
    "platform": "charging over HTTP, CPU in us per request (aim: <= 1.5 x a CCR)",
    "idle": "a server that nobody asks anything, thousandths of a core (aim: <= 10 in all)",
    "stores": "a cluster: CPU in us per CCR at saturation over 1, 2, 3 primaries; what each durability costs",
    "money": "money moved by hand, CPU in us for each (durability always)",
    "size": "what accounts, sessions and records take up (docs/sizing.md)",
    "backlog": "records that waited copied to PostgreSQL (aim: >= 20000 records/s on two cores; CPU in us per record)",
    "rerating": "history rated again (aim: >= 50000 records/s on two cores; CPU in us)",
}


def row(whole: Whole, yard: Yard) -> dict[str, float | str]:
    """One run in named numbers."""
    found: dict[str, float | str] = {"CCR/s": round(whole.ccr_s), "client us": round(whole.client_us, 1)}
    roles = {role: whole.cpu_us[role] for role in processes.ROLES if role in whole.cpu_us}
    found |= {f"{role} us": round(spent, 1) for role, spent in roles.items()}
    found["server us"] = round(sum(roles.values()), 1)
    found["plain EVALSHA us"] = round(yard.redis_us, 1)
    found["redis / plain EVALSHA"] = round(whole.cpu_us.get("redis", 0.0) / yard.redis_us, 2)
    found["server / plain EVALSHA"] = round(sum(roles.values()) / yard.redis_us, 2)
    for ours, script, echo in zip(whole.latency, yard.evalsha, yard.echo, strict=True):
        rate = f"at {ours.rate}/s"
        found[f"p50 {rate} ms"] = round(ours.p50_ms, 2)
        found[f"p99 {rate} ms"] = round(ours.p99_ms, 2)
        found[f"EVALSHA p99 {rate} ms"] = round(script.p99_ms, 2)
        found[f"echo p50 {rate} ms"] = round(echo.p50_ms, 2)
        found[f"echo p99 {rate} ms"] = round(echo.p99_ms, 2)
        found[f"p99 / EVALSHA p99 {rate}"] = round(ours.p99_ms / script.p99_ms, 1)
        found[f"p99 / echo p99 {rate}"] = round(ours.p99_ms / echo.p99_ms, 1)
        if ours.reached < 0.97 * ours.rate:
            found[f"reached {rate}"] = round(ours.reached)
    if whole.driven and whole.driven_paced:
        found["C client: CCR/s"] = round(whole.driven.ccr_s)
        found["C client: p50 ms"], found["C client: p99 ms"] = whole.driven.p50_ms, whole.driven.p99_ms
        found[f"C client: p50 at {RATES[0]}/s ms"] = whole.driven_paced.p50_ms
        found[f"C client: p99 at {RATES[0]}/s ms"] = whole.driven_paced.p99_ms
        found["C client: bad answers"] = whole.driven.bad + whole.driven_paced.bad
    found["ledger lag s"] = round(whole.lag_s, 1)
    found["audit"] = "holds" if whole.holds else "FAILS"
    return found


def show(console: Console, found: dict[str, Any]) -> None:
    """Each number beside its aim and the last recorded one."""
    last = _last()
    here = processes.machine()
    was = last.get("machine", {})
    same = "" if was == here else f"; last run: {was.get('cores')} cores, {was.get('cpu')}" if was else ""
    console.print(f"{here['cores']} cores, {here['cpu']}{same}", highlight=False)
    if "whole" in found:
        columns = found["whole"]
        table = Table(title="the whole server (CPU in us per CCR, at saturation)")
        table.add_column("")
        for name in columns:
            table.add_column(name.replace(",", " subscribers,"), justify="right")
        table.add_column("aim")
        for key in dict.fromkeys(key for column in columns.values() for key in column):
            before = last.get("whole", {})
            cells = [_cell(column.get(key), before.get(name, {}).get(key)) for name, column in columns.items()]
            table.add_row(key, *cells, AIMS.get(key, ""))
        console.print(table)
    for what, title in TITLES.items():
        if what in found:
            table = Table(title=title)
            table.add_column("")
            table.add_column("", justify="right")
            for key, value in found[what].items():
                table.add_row(key, _cell(value, last.get(what, {}).get(key)))
            console.print(table)


def save(found: dict[str, Any]) -> None:
    """Only what was measured this time is replaced."""
    tree = _last() | {"machine": processes.machine()} | found
    LAST.write_bytes(msgspec.json.format(msgspec.json.encode(tree)) + b"\n")


def _last() -> dict[str, Any]:
    return msgspec.json.decode(LAST.read_bytes(), type=dict[str, Any]) if LAST.exists() else {}


def _cell(now: object, before: object) -> str:
    text = "" if now is None else f"{now:,}" if isinstance(now, int | float) else str(now)
    return text if before is None or before == now else f"{text}  (was {before})"
