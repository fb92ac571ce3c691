"""Openings (durability.md rules 5, 11, 12) against real servers that go back, apart and away."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from balances import keys
from balances.ledger.opening import OpeningRefused, ShardOpening, misfit, open_now, open_without_postgres
from balances.ledger.publication import publish, void
from balances.ledger.reader import StreamReader
from balances.ledger.restore import restore
from balances.ledger.sync import Gap, NotOpen, Sync
from balances.ledger.writer import CursorMoved, read_cursors
from balances.packing import ACCOUNT_FIELD
from balances.redis.primaries import ALL, plain
from balances.structs.blob import FORMAT
from balances.structs.session import IdempotencyRecord
from tests.balances.ledger.books import NOW_MS, LedgerStores, close, connect, pack, session_of
from tests.servers import Servers

ACCOUNTS = [f"acct-{i}" for i in range(12)]
ONCE = IdempotencyRecord(1, "f", 3, True, msgspec.Raw(b"\xa2ok"))


async def copied(books: LedgerStores) -> None:
    while (await books.sync.step()).written:
        pass


async def put_back(books: LedgerStores, dump: dict[bytes, bytes]) -> None:
    """An older state of the whole server, under a new history, as a restart from an older AOF gives."""
    await books.redis.flushall()
    for key, value in dump.items():
        await books.redis.restore(key, 0, value)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")


async def dumped(books: LedgerStores) -> dict[bytes, bytes]:
    return {key: await books.redis.dump(key) async for key in books.redis.scan_iter()}


async def test_an_opening_has_the_shards_counted(books: LedgerStores) -> None:
    """PostgreSQL plans the cursors' move by how many rows it knows of."""
    await books.open()
    rows = await books.pool.fetchval("SELECT reltuples FROM pg_class WHERE relname = 'shards'")
    assert rows == keys.SHARDS


async def test_the_first_opening(books: LedgerStores) -> None:
    assert await misfit(books.pool) == ""
    opened = await books.open(now_s=1_000)
    assert (opened.epoch, opened.copied, opened.forgotten) == (1_001, 0, frozenset())
    server = await StreamReader(plain(books.redis)).server()
    assert server.published_epoch == 1_001
    assert open_now(await read_cursors(books.pool), server) == ALL
    again = await books.open(now_s=5_000)
    assert again.epoch == 1_001  # open already


async def test_a_store_of_another_format_is_not_touched(books: LedgerStores) -> None:
    await books.pool.execute("UPDATE store SET format = 1")
    try:
        assert (await misfit(books.pool)).startswith(
            f"this store is stored in format 1; this version reads formats {FORMAT}"
        )
    finally:
        await books.pool.execute("UPDATE store SET format = $1", FORMAT)


async def test_a_restart_gives_a_new_history_and_epoch(servers: Servers) -> None:
    books = await connect(servers.redis_url, servers.pg_dsn)
    first = await books.open()
    await books.move("alice", 5)
    await books.redis.aclose()
    servers.valkey.restart()
    with pytest.raises(NotOpen):
        await books.sync.step()
    second = await books.open()
    assert second.replid != first.replid
    assert (second.epoch, second.copied, second.forgotten) == (1_002, 1, frozenset())
    await books.move("alice", 6)
    await copied(books)
    assert await books.balance("alice") == 11
    await close(books)


async def test_records_nobody_copied_are_copied_by_the_opening(books: LedgerStores) -> None:
    await books.open()
    for name in ACCOUNTS:
        await books.move(name, 5)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    opened = await books.open()
    assert opened.copied == len(ACCOUNTS)
    assert {await books.balance(name) for name in ACCOUNTS} == {5}


async def test_an_older_state_put_back(books: LedgerStores) -> None:
    """head < cursor: what only PostgreSQL has is forgotten in Redis, and nothing is executed again."""
    await books.open()
    for name in ACCOUNTS:
        await books.move(name, 5)
    await copied(books)
    old = await dumped(books)
    for name in ACCOUNTS[:3]:
        await books.move(name, 7)
    await copied(books)
    await put_back(books, old)
    opened = await books.open()
    assert opened.forgotten == frozenset(ACCOUNTS[:3])
    assert (opened.orphaned, opened.recovered) == (0, 0)
    for name in ACCOUNTS[:3]:
        assert await books.account(name) is None
        back = await restore(books.pool, name, now_ms=NOW_MS)
        assert back is not None
        await books.redis.hset(keys.account(name), ACCOUNT_FIELD, pack(back.account))
    for name in ACCOUNTS:
        await books.move(name, 1)
    await copied(books)
    assert [await books.balance(name) for name in ACCOUNTS] == [13] * 3 + [6] * 9
    assert books.alarms == []


async def test_older_states_again_before_anything_was_written(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await copied(books)
    old = await dumped(books)
    await books.move("alice", 7)
    await copied(books)
    for _ in range(2):
        await put_back(books, old)
        assert (await books.open()).forgotten == frozenset({"alice"})


async def test_what_only_redis_has_is_listed_and_taken_back(books: LedgerStores) -> None:
    """An old master comes back with a branch of its own, while PostgreSQL followed the new one."""
    await books.open()
    for name in ("alice", "bob"):
        await books.move(name, 5)
    await copied(books)
    fork = await dumped(books)
    await books.move("alice", 100, once=("e 1", ONCE))
    branch = await dumped(books)
    await put_back(books, fork)
    await books.open()
    await books.move("bob", 2)
    if keys.shard_of("alice") == keys.shard_of("bob"):
        pytest.skip("the names were to be in different shards")
    await books.move("alice", 1)
    await copied(books)
    await put_back(books, branch)
    opened = await books.open()
    assert opened.orphaned == 1
    assert opened.forgotten == frozenset({"alice", "bob"})
    row = await books.pool.fetchrow("SELECT * FROM orphaned")
    assert row["account"] == "alice"
    assert await books.redis.exists(keys.once("alice", "e 1")) == 0
    await put_back(books, branch)
    assert (await books.open()).orphaned == 1
    assert await books.count("orphaned") == 1  # listed once
    assert await books.balance("alice") == 6


async def test_an_empty_redis_is_opened_and_restored_from_postgres(books: LedgerStores) -> None:
    await books.open()
    for name in ACCOUNTS:
        await books.move(name, 5)
    await copied(books)
    await books.redis.flushall()
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    opened = await books.open()
    assert (opened.forgotten, opened.orphaned) == (frozenset(), 0)
    back = await restore(books.pool, "acct-1", now_ms=NOW_MS)
    assert back is not None
    assert (back.account.seq, back.account.buckets[0].amount) == (1, 5)


async def test_a_stream_lost_with_its_accounts_left(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await copied(books)
    await books.redis.delete(keys.ledger(keys.shard_of("alice")))
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    assert (await books.open()).forgotten == frozenset({"alice"})
    assert await books.account("alice") is None


async def test_a_head_that_moves_during_the_opening_starts_it_again(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.open()
    await books.move("alice", 5)
    await copied(books)
    old = await dumped(books)
    await books.move("alice", 7)
    await copied(books)
    await put_back(books, old)
    span = StreamReader.span

    async def and_somebody_writes(self: StreamReader, *arguments: Any) -> Any:
        found = await span(self, *arguments)
        await books.move("alice", 1)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(StreamReader, "span", and_somebody_writes)
        with pytest.raises(CursorMoved):
            await books.open()
    assert await books.account("alice") is not None
    assert not open_now(await read_cursors(books.pool), await StreamReader(plain(books.redis)).server())


async def test_an_older_opening_cannot_publish_or_commit(books: LedgerStores, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = ShardOpening._publish

    async def overtaken(self: ShardOpening, epoch: int, replid: str, shards: Sequence[int]) -> None:
        await books.pool.execute("UPDATE shards SET epoch = epoch + 1")
        await publish(self, epoch, replid, shards)

    with monkeypatch.context() as patch:
        patch.setattr(ShardOpening, "_publish", overtaken)
        with pytest.raises(CursorMoved):
            await books.open()
    assert (await StreamReader(plain(books.redis)).server()).latest_epoch == 0


async def test_only_a_newer_epoch_replaces_the_published_one(books: LedgerStores) -> None:
    whole = plain(books.redis)
    assert await publish(whole, [3], "abc", 9)
    assert await publish(whole, [4, 5], "abc", 7)
    assert not await publish(whole, [4, 5], "def", 7)
    assert not await publish(whole, ALL, "def", 8)
    names = [keys.PUBLISHED, *map(keys.published, (3, 4, 255))]
    assert await books.redis.mget(names) == [b"def 8", b"abc 9", b"def 8", b"def 8"]


async def test_a_full_store_is_published(books: LedgerStores) -> None:
    """What ends use and releases holds goes on in a full store, so a full one can be opened."""
    limit = (await books.redis.config_get("maxmemory"))["maxmemory"]  # other tests find the store as it was
    await books.redis.config_set("maxmemory", 1)
    try:
        assert await publish(plain(books.redis), ALL, "abc", 7)
    finally:
        await books.redis.config_set("maxmemory", limit)


async def test_a_voided_store_has_no_open_shard(books: LedgerStores) -> None:
    await publish(plain(books.redis), ALL, "abc", 7)
    await void(plain(books.redis))
    assert await books.redis.keys("*published*") == []


async def test_an_older_failover_epoch_is_refused(books: LedgerStores) -> None:
    newer = plain(books.redis)._replace(config_epoch=3)
    await ShardOpening(newer, books.pool, books.sync.writer, alarm=books.alarms.append).run(1_000)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    with pytest.raises(OpeningRefused):
        await books.open()


async def test_two_openers_at_once(books: LedgerStores) -> None:
    await books.open()
    for name in ACCOUNTS:
        await books.move(name, 5)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    openers = [
        ShardOpening(
            plain(books.redis),
            books.pool,
            Sync(plain(books.redis), books.pool, alarm=books.alarms.append).writer,
            alarm=print,
        )
        for _ in range(3)
    ]
    opened = await asyncio.gather(*(opener.run(1_000) for opener in openers))
    assert len({one.epoch for one in opened}) == 1  # the lock: the others found it open
    assert sum(one.copied for one in opened) == len(ACCOUNTS)


async def test_postgres_away_while_shards_are_open(servers: Servers) -> None:
    books = await connect(servers.redis_url, servers.pg_dsn)
    await books.open()
    await books.move("alice", 5)
    servers.postgres.stop()
    for _ in range(3):
        await books.move("alice", 1)  # the charging path needs Redis alone
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await books.sync.step()
    assert (await StreamReader(plain(books.redis)).server()).published_epoch == books.epoch
    servers.postgres.start()
    written = 0
    for _ in range(50):
        try:
            written += (await books.sync.step()).written
            break
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.1)
    assert written == 4
    assert await books.balance("alice") == 8
    await close(books)


async def test_open_without_postgres_is_proved_later(books: LedgerStores) -> None:
    """Redis restarts while PostgreSQL is away, on complete data: nothing is lost."""
    await books.open()
    await books.move("alice", 5)
    await copied(books)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    books.epoch = await open_without_postgres(plain(books.redis), 2_000)
    await books.move("alice", 6)
    opened = await books.open(now_s=2_000)
    assert (opened.copied, opened.orphaned, opened.recovered) == (1, 0, 0)
    assert await books.balance("alice") == 11


async def test_open_without_postgres_on_a_redis_that_had_gone_back(books: LedgerStores) -> None:
    """What was granted on the strength of old balances is taken back, listed, alarmed."""
    await books.open()
    await books.move("alice", 5)
    await copied(books)
    old = await dumped(books)
    await books.move("alice", 7)
    await copied(books)
    await put_back(books, old)
    books.epoch = await open_without_postgres(plain(books.redis), 2_000)
    await books.move("alice", 100)
    opened = await books.open(now_s=2_000)
    assert (opened.recovered, opened.orphaned, opened.forgotten) == (1, 1, frozenset({"alice"}))
    assert await books.balance("alice") == 12
    assert await books.account("alice") is None
    assert len(books.alarms) == 2


async def test_postgres_restored_from_a_backup_that_the_stream_still_fills(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await copied(books)
    backup = await tables(books)
    await books.move("alice", 6)
    await copied(books)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    await books.open()
    await books.move("alice", 7)
    await copied(books)
    await tables(books, backup)
    opened = await books.open()
    assert (opened.copied, opened.recovered) == (2, 0)
    assert await books.balance("alice") == 18


async def test_postgres_restored_from_a_backup_older_than_the_last_trim(books: LedgerStores) -> None:
    await books.open()
    names = ["alice", "bob", "carol"]
    await books.move("alice", 5, session=session_of("s;1"))
    await copied(books)
    backup = await tables(books)
    for _ in range(2):
        await books.move("alice", 10)
    await copied(books)
    await books.redis.xtrim(keys.ledger(keys.shard_of("alice")), maxlen=1, approximate=False)
    await books.move("alice", 100)
    await tables(books, backup)
    with pytest.raises(Gap):
        await books.sync.step()
    opened = await books.open(anew=True)
    assert opened.recovered == 1
    assert "taken from Redis" in books.alarms[0]
    entries = await books.pool.fetch("SELECT * FROM ledger_entries WHERE account = 'alice' ORDER BY seq")
    assert [(row["seq"], row["amount"], row["after"], row["why"]) for row in entries] == [
        (1, 5, 5, "use"),
        (2, 10, 15, "recovered"),
        (3, 10, 25, "use"),
        (4, 100, 125, "use"),
    ]
    back = await restore(books.pool, "alice", now_ms=NOW_MS)
    assert back is not None
    assert back.account.buckets[0].amount == 125
    assert [session.id for session in back.sessions] == ["s;1"]
    for name in names:
        await books.move(name, 1)
    await copied(books)
    assert await books.balance("alice") == 126


async def tables(books: LedgerStores, old: dict[str, list[Any]] | None = None) -> dict[str, list[Any]]:
    """All rows of the ledger; put back when given."""
    names = ("shards", "calls", "usage_records", "ledger_entries", "account_heads", "session_heads", "once")
    if old is not None:
        for name in names:
            await books.pool.execute(f"TRUNCATE {name}")
            await books.pool.copy_records_to_table(name, records=old[name])
    return {name: [tuple(row) for row in await books.pool.fetch(f"SELECT * FROM {name}")] for name in names}


async def test_another_number_of_shards_is_refused(books: LedgerStores) -> None:
    await books.pool.execute("UPDATE store SET shards = 128")
    assert "128 shards" in await misfit(books.pool)
