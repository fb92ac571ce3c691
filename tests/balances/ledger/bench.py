"""CPU per record of the copy, by process: `python -m tests.balances.ledger.bench [accounts] [records]`.

A record is a CCR update with one usage and one entry; its session has two lines and four stored answers.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from balances import keys
from balances.migrations.migrate import migrate
from balances.packing import fresh_account
from balances.structs.account import Counter
from balances.structs.blob import raw_of
from balances.structs.record import Entry, Record, Usage
from balances.structs.session import Answer, Line
from ocs.processes.collector import YOUNG_OF_BATCH, Collector
from ocs.processes.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.balances.ledger.books import NOW_MS, LedgerStores, close, connect, pack, session_of


def cpu_s(pid: int) -> float:
    """Of a process, and of a server's children; the servers are our own children."""
    ticks, family = 0, [pid]
    while family:
        one = family.pop()
        ticks += sum(int(word) for word in Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13])
        if pid != os.getpid():
            family += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


async def fill(books: LedgerStores, accounts: int, records: int) -> None:
    inputs = pack({"tariff": "data", "zone": "home", "apn": "internet", "rat": 6, "sgsn": "192.0.2.1", "plmn": "26201"})
    outcome = raw_of(b"o" * 60)
    ladder = raw_of(b"l" * 120)
    states = {}
    for i in range(accounts):
        name = f"account-{i:07}"
        account = fresh_account(name, "EUR")
        account.buckets[0].amount = 10**12
        account.counters.append(Counter("month:2026-11", 5, 0, NOW_MS))
        session = session_of(f"pgw1.example.net;1700000000;{i};1", held=10_000, opened_ms=NOW_MS - 1)
        session.lines.append(Line(20, -1, 1, ladder=ladder))
        session.lines[0].ladder = ladder
        session.answers = [raw_of(pack(Answer(f"2:{n}", "f" * 16, n, True, outcome))) for n in range(4)]
        states[name] = (account, session)
    names = list(states)
    pipe = books.redis.pipeline(transaction=False)
    for i in range(records):
        name = names[i * 7919 % accounts]
        account, session = states[name]
        session.answers = [*session.answers[1:], raw_of(pack(Answer(f"2:{i}", "f" * 16, i, True, outcome)))]
        account.seq += 1
        first = account.seq == 1
        amount = account.buckets[0].amount if first else -10_000
        account.buckets[0].amount += 0 if first else amount
        after = account.buckets[0].amount
        record = Record(
            1, "charge", name, "EUR", "subscriber-1", session.id, "data", 2, NOW_MS + i, NOW_MS + i, f"2:{i}",
            "f" * 16, i, [Entry(account.seq, 0, 0, amount, after, "revenue", "use", 0)],
            [Usage(10, -1, 1, 1_048_576, 0, 10 * i, 10_000, 1_048_576, 0, 0, "data@2026-01", NOW_MS + i)],
        )  # fmt: skip
        entry = {"r": pack(record), "a": pack(account), "s": pack(session), "c": inputs}
        pipe.xadd(keys.ledger(keys.shard_of(name)), entry, id=f"{books.epoch}-*")
        if i % 1000 == 999:
            await pipe.execute()
    await pipe.execute()


async def run(valkey: EmbeddedValkey, postgres: EmbeddedPostgres, accounts: int, records: int) -> None:
    await migrate(postgres.dsn)
    books = await connect(valkey.url, postgres.dsn)
    await books.open()
    await fill(books, accounts, records)
    Collector(lambda: 0, time.monotonic, YOUNG_OF_BATCH).start()  # as the keeper, whose work this is
    pids = {"client": os.getpid(), "postgres": postgres.pid, "valkey": valkey.pid}
    before, start = {name: cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
    written = steps = 0
    while step := (await books.sync.step()).written:
        written, steps = written + step, steps + 1
    wall = time.perf_counter() - start
    spent = {name: (cpu_s(pid) - before[name]) / written * 1e6 for name, pid in pids.items()}
    assert books.alarms == [], books.alarms[0]
    wal = await books.pool.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
    print(f"{written} records of {accounts} accounts in {steps} steps ({written / steps:.0f} each), {wall:.2f} s:")
    print(f"  {written / wall:,.0f} records/s; CPU us per record: ", end="")
    print(", ".join(f"{name} {us:.1f}" for name, us in spent.items()), f"; together {sum(spent.values()):.1f}")
    size = await books.pool.fetchrow(
        "SELECT sum(pg_total_relation_size(relid)) FILTER (WHERE root = 'calls') c,"
        " sum(pg_total_relation_size(relid)) FILTER (WHERE root = 'usage_records') u,"
        " sum(pg_total_relation_size(relid)) FILTER (WHERE root = 'ledger_entries') e"
        " FROM unnest('{calls,usage_records,ledger_entries}'::text[]) root, pg_partition_tree(root::regclass)"
    )
    per = {name: round(value / written) for name, value in zip(("calls", "usage", "entries"), size, strict=True)}
    print(f"  bytes per record: {per}, WAL so far {wal / written:.0f} per record")
    await close(books)


def main() -> None:
    accounts, records = (int(word) for word in (*sys.argv[1:], "5000", "40000")[:2])
    with tempfile.TemporaryDirectory(prefix="ocs-bench-") as path:
        valkey, postgres = EmbeddedValkey(Path(path), durability="everysec"), EmbeddedPostgres(Path(path))
        valkey.start()
        postgres.start()
        try:
            uvloop.run(run(valkey, postgres, accounts, records))
        finally:
            postgres.kill()
            valkey.kill()


if __name__ == "__main__":
    main()
