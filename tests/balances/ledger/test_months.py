"""The big tables by month: whatever is made, missing, dropped, tried twice or under way, each record is there once."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import asyncpg
import pytest

from balances import keys
from balances.ledger import months
from balances.ledger.months import BIG, Month, drop_calls, make_ahead, partitions, unplaced
from balances.ledger.restore import purge
from balances.ledger.sync import Sync
from balances.ledger.verify import verify
from balances.ledger.writer import CursorMoved
from balances.migrations.migrate import migrate, migrations
from balances.redis.primaries import plain
from tests.balances.ledger import books as stores
from tests.balances.ledger.books import LedgerStores

ACCOUNTS = [f"acct-{i}" for i in range(12)]
DAY_MS = 86_400_000
FIRST = "053_before_months.sql"
COPIED = ("080_prices_of_buckets.sql", "085_exact_use.sql")
"""Later steps whose columns our copy writes, which takes the place of one of then."""


class Walk:
    """Calls at instants that go on through months, and what PostgreSQL has to have of them."""

    def __init__(self, books: LedgerStores, dice: Random, at_ms: int) -> None:
        self.books, self.dice, self.at_ms = books, dice, at_ms
        self.balance: Counter[str] = Counter()
        self.entries: list[tuple[str, int, int, int, int]] = []
        """(account, seq, amount, balance after it, at_ms)."""
        self.seq: Counter[str] = Counter()

    async def calls(self, count: int, step_ms: int = 0) -> None:
        for _ in range(count):
            self.at_ms += self.dice.randrange(step_ms) if step_ms else 1
            account, amount = self.dice.choice(ACCOUNTS), self.dice.randint(-500, 900) or 1
            await self.books.move(account, amount, at_ms=self.at_ms)
            self.balance[account] += amount
            self.seq[account] += 1
            self.entries.append((account, self.seq[account], amount, self.balance[account], self.at_ms))

    async def copy(self) -> None:
        while (await self.books.sync.step()).written:
            pass

    async def check(self, calls_from_ms: int = 0) -> None:
        """Everything is there once, and the proof agrees. calls_from_ms: what came before may be purged."""
        pg = self.books.pool
        found = [tuple(row) for row in await pg.fetch("SELECT account, seq, amount, after, at_ms FROM ledger_entries")]
        assert sorted(found) == sorted(self.entries)
        used = Counter(map(tuple, await pg.fetch("SELECT account, at_ms FROM usage_records")))
        assert used == Counter((account, at_ms) for account, *_, at_ms in self.entries)
        copied = Counter(map(tuple, await pg.fetch("SELECT account, at_ms FROM calls WHERE account <> ''")))
        assert max(copied.values(), default=1) == 1 or copied == used
        assert all(copied[one] == used[one] for one in used if one[1] >= calls_from_ms)
        report = await verify(self.books.redis, pg)
        assert report.findings == []
        assert self.books.alarms == []


async def older(dsn: str) -> Any:
    """A database as the build before left it."""
    pg = await asyncpg.connect(dsn)
    await pg.execute(
        "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
        " at timestamptz NOT NULL DEFAULT now(), needs integer)"
    )
    for step in migrations():
        if step.name >= FIRST and step.name not in COPIED:
            continue
        await pg.execute(step.sql)
        await pg.execute(
            "INSERT INTO migrations (number, name, digest, needs) VALUES ($1, $2, $3, 1)",
            step.number,
            step.name,
            step.digest,
        )
    return pg


async def test_tables_become_months_beside_traffic(
    redis_url: str, pg_dsn_bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy goes on while the steps are applied; what was there stays where it was."""

    async def knows_of_no_closed_months(*_: Any) -> None:
        """As the build before, whose place our copy takes here."""

    monkeypatch.setattr("balances.ledger.put.follow_closed", knows_of_no_closed_months)
    pg = await older(pg_dsn_bare)
    books = await stores.connect(redis_url, pg_dsn_bare)
    try:
        await books.open()
        now_ms = int(await pg.fetchval("SELECT extract(epoch FROM now()) * 1000"))
        walk = Walk(books, Random(53), now_ms - 40 * DAY_MS)
        await walk.calls(60, DAY_MS)
        await walk.copy()
        where = await pg.fetch("SELECT account, seq, ctid FROM ledger_entries")
        relation = await pg.fetchval("SELECT pg_relation_filenode('ledger_entries')")
        walk.at_ms = now_ms
        done = asyncio.Event()

        async def traffic() -> None:
            while not done.is_set():
                await walk.calls(5)
                await walk.copy()

        busy = asyncio.ensure_future(traffic())
        applied = await migrate(pg_dsn_bare)
        assert FIRST in applied
        done.set()
        await busy
        await walk.calls(5)
        await walk.copy()
        assert relation == await pg.fetchval("SELECT pg_relation_filenode('ledger_entries_before')")
        assert set(where) <= set(await pg.fetch("SELECT account, seq, ctid FROM ledger_entries_before"))
        for table in BIG:
            assert await pg.fetchval(f"SELECT count(*) FROM {table}_other") == 0
        await walk.check()
        assert len(await make_ahead(books.pool, now_ms)) == len(BIG) * (months.AHEAD + 1)
        first_ms = await pg.fetchval("SELECT months_from_ms FROM store")
        assert Month.at(now_ms).next.next.from_ms == first_ms
        for at_ms in (first_ms - 1, first_ms, Month.at(first_ms).next.from_ms):
            walk.at_ms = at_ms - 1
            await walk.calls(1)
        await walk.copy()
        month = Month.at(first_ms)
        held = {
            name: await pg.fetchval(f"SELECT count(*) FROM {name} WHERE at_ms >= $1", first_ms - 1)
            for name in ("ledger_entries_before", month.of("ledger_entries"), month.next.of("ledger_entries"))
        }
        assert list(held.values()) == [1, 1, 1], held
        await walk.check()
    finally:
        await stores.close(books)
        await pg.close()


@pytest.mark.parametrize("seed", range(3))
async def test_a_walk_through_months(books: LedgerStores, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions come when they come, or not at all; two keepers make them at once; copies are tried twice and fail in
    the middle; old calls go."""
    monkeypatch.setattr(months, "LOCK_MS", 100)  # two keepers and a copy wait for each other at each month
    dice = Random(seed)
    await books.open()
    first_ms = await books.pool.fetchval("SELECT months_from_ms FROM store")
    walk = Walk(books, dice, first_ms + dice.randrange(20 * DAY_MS))
    purged_ms = 0
    for _ in range(25):
        await walk.calls(dice.randint(1, 25), dice.choice([DAY_MS // 4, 2 * DAY_MS]))
        match dice.randrange(5):
            case 0:
                await asyncio.gather(*(make_ahead(books.pool, walk.at_ms) for _ in range(2)), walk.copy())
            case 1:
                await again(books)
            case 2:
                await broken(books, dice)
            case 3:
                await walk.copy()
                await books.sync.trim()
                purged_ms = max(purged_ms, walk.at_ms - 30 * DAY_MS)
                await purge(books.pool, before_ms=purged_ms, spare=2)
            case _:
                await walk.copy()
    await walk.copy()
    await walk.check(calls_from_ms=purged_ms)
    assert walk.at_ms - first_ms > 60 * DAY_MS
    assert len(await partitions(books.pool, "ledger_entries")) >= months.AHEAD  # whoever waits too long makes none


async def again(books: LedgerStores) -> None:
    """Another keeper, which knows older cursors, copies the same records at the same time."""
    other = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    await asyncio.gather(books.sync.step(), other.step(), return_exceptions=True)
    for sync in (books.sync, other):
        try:
            await sync.step()
        except CursorMoved:
            sync.forget()


async def broken(books: LedgerStores, dice: Random) -> None:
    """PostgreSQL ends the connection somewhere in the middle of a step."""
    step = asyncio.ensure_future(books.sync.step())
    await asyncio.sleep(dice.random() / 50)
    await books.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    await asyncio.gather(step, return_exceptions=True)
    await books.pool.expire_connections()  # one that was idle may not know yet that it was ended


@pytest.mark.parametrize("made", [True, False], ids=["in its month", "in no month"])
async def test_a_record_that_is_there_stops_its_shard(books: LedgerStores, made: bool) -> None:
    """As in one table: a cursor that was put back copies nothing twice."""
    await books.open()
    at_ms = await books.pool.fetchval("SELECT months_from_ms FROM store") + 45 * DAY_MS
    if made:
        await make_ahead(books.pool, at_ms)
    await books.move("alice", 5, at_ms=at_ms)
    assert (await books.sync.step()).written == 1
    assert (await unplaced(books.pool) == []) is made
    await books.pool.execute("UPDATE shards SET cursor_epoch = 0, cursor_n = -1")
    books.sync.forget()
    assert (await books.sync.step()).written == 0
    assert await books.pool.fetchval("SELECT shard FROM shards WHERE stopped <> ''") == keys.shard_of("alice")
    assert await books.count("ledger_entries") == 1
    assert await books.count("quarantined") == 0


async def test_a_number_that_is_there_in_another_month_stops_its_shard(books: LedgerStores) -> None:
    """No record was ever written twice under one number; if one is, whatever it says, a person looks."""
    await books.open()
    at_ms = await books.pool.fetchval("SELECT months_from_ms FROM store") + DAY_MS
    await make_ahead(books.pool, at_ms)
    await books.move("alice", 0, at_ms=at_ms)
    await books.sync.step()
    await books.pool.execute("UPDATE calls SET at_ms = $1", Month.at(at_ms).next.from_ms)
    await books.pool.execute("UPDATE shards SET cursor_epoch = 0, cursor_n = -1")
    books.sync.forget()
    assert (await books.sync.step()).written == 0
    assert await books.pool.fetchval("SELECT shard FROM shards WHERE stopped <> ''") == keys.shard_of("alice")
    assert await books.count("calls") == 1


async def test_an_entry_of_another_month_is_no_second_one_under_its_number(books: LedgerStores) -> None:
    """No key stands over all months; the head of the account refuses what does not come next."""
    await books.open()
    at_ms = await books.pool.fetchval("SELECT months_from_ms FROM store") + DAY_MS
    await make_ahead(books.pool, at_ms)
    await books.move("alice", 5, at_ms=at_ms)
    account = await books.account("alice")
    assert account is not None
    await books.sync.step()
    account.seq, account.buckets[0].amount = 0, 0  # the live store gives the number again
    await books.redis.hset(keys.account("alice"), " ", stores.pack(account))
    await books.move("alice", 5, at_ms=at_ms + 40 * DAY_MS)
    fresh = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    await fresh.step()
    assert await books.pool.fetchval("SELECT count(*) FROM ledger_entries WHERE account = 'alice' AND seq = 1") == 1
    assert await books.count("quarantined") == 1


async def test_a_month_that_began_without_a_partition_gets_none(books: LedgerStores) -> None:
    await books.open()
    at_ms = await books.pool.fetchval("SELECT months_from_ms FROM store") + 40 * DAY_MS
    await books.move("alice", 5, at_ms=at_ms)
    await books.sync.step()
    made = await make_ahead(books.pool, at_ms)
    month = Month.at(at_ms)
    assert [month.of(table) in made for table in BIG] == [False] * 3
    assert [month.next.of(table) in made for table in BIG] == [True] * 3
    assert await unplaced(books.pool) == list(BIG)
    await books.move("alice", 6, at_ms=at_ms + 1)
    await books.move("alice", 7, at_ms=month.next.from_ms)
    await books.sync.step()
    assert await books.pool.fetchval("SELECT count(*) FROM ledger_entries_other") == 2
    assert await books.pool.fetchval(f"SELECT count(*) FROM {month.next.of('ledger_entries')}") == 1
    assert await books.balance("alice") == 18
    assert await make_ahead(books.pool, at_ms) == []


async def test_calls_of_a_month_go_when_no_stream_has_them(books: LedgerStores) -> None:
    await books.open()
    at_ms = await books.pool.fetchval("SELECT months_from_ms FROM store") + DAY_MS
    await make_ahead(books.pool, at_ms)
    month = Month.at(at_ms)
    for _ in range(5):
        await books.move("alice", 1, at_ms=at_ms)
    await books.move("bob", 1, at_ms=at_ms)
    await books.sync.step()
    later_ms = month.next.from_ms
    shards = [keys.shard_of(name) for name in ("alice", "bob")]
    after = [(shard, books.epoch, 100) for shard in shards]
    assert await drop_calls(books.pool, later_ms - 1, after) == [], "the month is not over"
    assert await drop_calls(books.pool, later_ms, after[:1]) == [], "bob's stream may have his"
    assert await drop_calls(books.pool, later_ms, [(shards[0], books.epoch, 4), after[1]]) == []
    assert await drop_calls(books.pool, later_ms, after) == [month.of("calls")]
    assert await books.count("calls") == 0
    assert await books.count("ledger_entries") == 6
