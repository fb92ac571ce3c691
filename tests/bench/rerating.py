"""History rated again: a month of usage records in PostgreSQL, by as many processes as there are cores.

`python -m tests.bench.rerating [accounts] [processes]`
"""

import asyncio
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import asyncpg
import msgspec

from balances import keys
from balances.ledger.history import UsageWindow
from balances.ledger.record import CALL_COLUMNS, ENTRY_COLUMNS, USAGE_COLUMNS, ladder_hash
from balances.migrations.migrate import migrate
from balances.packing import fresh_account, pack
from ocs.processes.embedded import EmbeddedPostgres
from ocs.rerating.job import Job, Written
from ocs.rerating.run import CORES, rate_again
from tariffs.catalog import Assignment, Catalog
from tariffs.climb import climb
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.price import StartPosition
from tariffs.rating import rate
from tariffs.whatif.line import MONEY_ONLY
from tests.bench.processes import TICKS

ACCOUNTS = 4_000
SESSIONS = 12  # of each: with all their reports about 80 records
FROM_MS = 1_791_158_400_000  # 2026-10-05
DAYS = 30
MB = 2**20

TARIFF = """
tariff = "bench"
currency = "EUR"

[bands.peak]
days = ["mon-fri"]
hours = ["08:00-20:00"]

[counters.month]
counts = "octets"
period = "month"

[[taxes]]
name = "vat"
percent = 19
included = true

[[rows]]
name = "volume"
when = { service = "data" }
below = { month = "100 MB" }
flat = { price = "0.01", per = "1 MB", increment = "100 KB" }

[[rows]]
name = "more"
when = { service = "data" }
flat = { price = "0.005", per = "1 MB", increment = "100 KB" }

[[rows]]
name = "busy"
when = { service = "voice", time = "peak" }
flat = { price = "0.09", per = "1 min", increment = "60/1" }

[[rows]]
name = "quiet"
when = { service = "voice" }
flat = { price = "0.05", per = "1 min", increment = "60/1" }

[[rows]]
name = "text"
when = { service = "sms" }
flat = { price = "0.07", per = "1 message" }
"""
DEARER = TARIFF.replace("0.01", "0.012").replace("0.005", "0.006").replace('"0.0', '"0.1')


class Fill:
    """Rows as the writer would have written them."""

    def __init__(self) -> None:
        self.rng = Random(1)
        self.catalog = Catalog([load_tariff(TARIFF, source="bench.toml")])
        self.ladders: dict[bytes, bytes] = {}
        self.usages: list[tuple[Any, ...]] = []
        self.entries: list[tuple[Any, ...]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.n = 0

    def account(self, number: int) -> None:
        """A month of one."""
        account = f"a-{number:07d}"
        self.subscriber = f"s-{number:07d}"
        self.named = {"account": account, "epoch": 1, "shard": keys.shard_of(account), "currency": "EUR"}
        self.named |= {
            "subscriber": self.subscriber,
            "flags": 0,
            "suspense": 0,
            "service_id": -1,
            "part": 0,
            "incarnation": 1,
        }
        self.seq, self.balance, self.month = 1, 20_000_000, 0
        self.n += 1
        call = dict.fromkeys(CALL_COLUMNS) | self.named | {"n": self.n, "position": self.n, "session": ""}
        call |= {"kind": "open", "phase": 0, "service": "", "request_key": "", "fingerprint": "", "end_to_end": 0}
        call |= {"at_ms": FROM_MS, "event_ms": FROM_MS, "opens": False}
        call["account_state"] = pack(fresh_account(account, "EUR"))
        self.calls.append(tuple(call[name] for name in CALL_COLUMNS))
        self._entry(None, self.balance, FROM_MS, "top-up", "top-up")
        for at_ms in sorted(FROM_MS + self.rng.randrange(DAYS * 86_400_000) for _ in range(SESSIONS)):
            service = self.rng.choice(("data", "data", "voice", "sms"))
            self.session = f"gw.example.net;{self.n};1"
            self.service, self.inputs = service, self._inputs(service)
            if service == "sms":
                self._event(at_ms)
            else:
                self._session(at_ms, 10 if service == "data" else 3)

    def _inputs(self, service: str) -> Inputs:
        called = f"49171{self.rng.randrange(10**7):07d}" if service != "data" else ""
        return Inputs(
            service, "32251@3gpp.org", called=called, calling="491700000001", visited="262-01", apn="internet",
            rat_type=6, location="8262f2100102f21000000001", time_zone="Europe/Berlin",
            subscriber=self.subscriber, equipment="3520990012345678",
        )  # fmt: skip

    def _rated(self, at_ms: int) -> Any:
        return rate(self.catalog, [Assignment("bench")], "EUR", [(self._group(), None)], self.inputs, at_ms)[0]

    def _group(self) -> int | None:
        return 10 if self.service == "data" else None

    def _session(self, at_ms: int, reports: int) -> None:
        line, rated = StartPosition(), self._rated(at_ms)
        ms, grant = (0, 10 * MB) if self.service == "data" else (1_000, 300)
        self._usage(rated.ladder, rated.packed, at_ms, 1, 0, 0, 0, grant, {})
        for number in range(reports):
            used = self.rng.randrange(1, grant + 1)
            at_ms += used * ms or self.rng.randrange(1, 900) * 1_000
            last = number == reports - 1
            counters = {step.counter: self.month for step in rated.ladder.steps if step.counter}
            cost = climb(
                rated.ladder, line, used, counters, MONEY_ONLY,
                at_ms=at_ms - used * ms, ms_per_unit=ms, grant=False,
            ).cost  # fmt: skip
            self.month += used if self.service == "data" else 0
            given = 0 if last else grant
            self._usage(rated.ladder, rated.packed, at_ms, 3 if last else 2, used, line.total, cost, given, counters)
            rated = self._rated(at_ms)

    def _event(self, at_ms: int) -> None:
        rated = self._rated(at_ms)
        cost = climb(rated.ladder, StartPosition(), 1, {}, MONEY_ONLY, at_ms=at_ms, ms_per_unit=0, grant=False).cost
        self._usage(rated.ladder, rated.packed, at_ms, 4, 1, 1, cost, 1, {})

    def _usage(
        self, ladder: Any, packed: bytes, at_ms: int, phase: int, used: int, total: int, cost: int, granted: int,
        counters: dict[str, int],
    ) -> None:  # fmt: skip
        self.n += 1
        key = ladder_hash(packed)
        self.ladders[key] = packed
        unit = {"data": 1, "voice": 2, "sms": 3}[self.service]
        row = self.named | {
            "n": self.n, "line": 0, "session": self.session, "service": self.service, "request_key": f"{phase}:1",
            "phase": phase, "at_ms": at_ms, "rating_group": self._group() or -1, "unit": unit, "used": used,
            "total": total, "cost": cost, "granted": granted, "result": 0, "tag": ladder.tag, "terms": ladder.terms,
            "inputs": msgspec.json.encode(self.inputs).decode(), "ladder": key,
            "counters": msgspec.json.encode(counters).decode() if counters else None, "limits": None,
        }  # fmt: skip
        self.usages.append(tuple(row[name] for name in USAGE_COLUMNS))
        if cost:
            self.seq, self.balance = self.seq + 1, self.balance - cost
            self._entry(0, -cost, at_ms, "revenue", "usage")

    def _entry(self, line: int | None, amount: int, at_ms: int, counter: str, why: str) -> None:
        entry = dict.fromkeys(ENTRY_COLUMNS) | self.named | {"n": self.n, "seq": self.seq, "bucket": 0, "kind": 0}
        entry |= {"amount": amount, "after": self.balance, "counter_account": counter, "why": why, "at_ms": at_ms}
        entry |= {"request_key": "", "usage_line": line}
        self.entries.append(tuple(entry[name] for name in ENTRY_COLUMNS))


async def fill(dsn: str, accounts: int) -> int:
    """How many usage records there are."""
    await migrate(dsn)
    pg = await asyncpg.connect(dsn)
    made, count = Fill(), 0
    for numbers in _some(range(accounts), 500):
        for number in numbers:
            made.account(number)
        made.usages.sort(key=lambda row: row[USAGE_COLUMNS.index("at_ms")])  # as they come in
        await pg.copy_records_to_table("usage_records", records=made.usages, columns=USAGE_COLUMNS)
        await pg.copy_records_to_table("ledger_entries", records=made.entries, columns=ENTRY_COLUMNS)
        await pg.copy_records_to_table("calls", records=made.calls, columns=CALL_COLUMNS)
        count += len(made.usages)
        for rows in (made.usages, made.entries, made.calls):
            rows.clear()
    await pg.executemany("INSERT INTO ladders (hash, packed) VALUES ($1, $2)", list(made.ladders.items()))
    await pg.execute("VACUUM ANALYZE")
    await pg.close()
    return count


def _some(numbers: range, size: int) -> Iterator[range]:
    for begin in range(0, len(numbers), size):
        yield numbers[begin : begin + size]


class MeasuredRun(NamedTuple):
    records: int
    seconds: float
    python_us: float
    postgres_us: float


async def measure(accounts: int = ACCOUNTS, processes: int = CORES) -> dict[str, float]:
    """Records per second and CPU per record, by draft."""
    home = Path(tempfile.mkdtemp(prefix="ocs-rerate-"))
    postgres = EmbeddedPostgres(home)
    postgres.start()
    try:
        await fill(postgres.dsn, accounts)
        await asyncio.sleep(1)  # until what that has cost is counted
        found: dict[str, float] = {}
        for name, text in (("the same tariff", TARIFF), ("a dearer tariff", DEARER)):
            one = await _measure(postgres, text, processes)
            found[f"what-if, {name}: records/s on {processes} cores"] = round(one.records / one.seconds)
            found[f"what-if, {name}: our CPU per record"] = round(one.python_us, 2)
            found[f"what-if, {name}: PostgreSQL's CPU per record"] = round(one.postgres_us, 2)
        return found
    finally:
        postgres.kill()
        shutil.rmtree(home, ignore_errors=True)


async def _measure(postgres: EmbeddedPostgres, text: str, processes: int) -> MeasuredRun:
    window = UsageWindow(FROM_MS, FROM_MS + (DAYS + 1) * 86_400_000)
    job = Job(postgres.dsn, window, Written(text.encode(), "toml", "draft.toml", {}))
    ours_s, theirs_s, started = _ours_s(), _theirs_s(postgres.pid), time.perf_counter()
    tally = await rate_again(job, lambda records: None, processes)
    seconds = time.perf_counter() - started
    records = tally.records
    assert sum(tally.hows) > records // 2
    await asyncio.sleep(0.5)  # until the server has counted what its backends spent
    return MeasuredRun(
        records,
        seconds,
        (_ours_s() - ours_s) / records * 1e6,
        (_theirs_s(postgres.pid) - theirs_s) / records * 1e6,
    )


def _ours_s() -> float:
    """CPU of this process, and of children that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + time.process_time()


def _theirs_s(pid: int) -> float:
    """CPU of a PostgreSQL, its backends that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def main() -> None:
    for name, value in asyncio.run(measure(*map(int, sys.argv[1:]))).items():
        print(f"{value:>12,} {name}")


if __name__ == "__main__":
    main()
