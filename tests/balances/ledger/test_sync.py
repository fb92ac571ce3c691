"""The copy from the streams to PostgreSQL: each record exactly once, whatever happens in between."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from balances import keys
from balances.ledger.quarantine import resume
from balances.ledger.record import RecordId, fit, follows, inputs_json
from balances.ledger.sync import ENTRIES_MAX, Gap, NotOpen, Sync
from balances.ledger.writer import CursorMoved, RecordRun, read_cursors
from balances.redis.primaries import OnePrimary, plain
from balances.structs.account import CounterAmount
from tests.balances.ledger.books import LedgerStores, session_of

ACCOUNTS = [f"acct-{i}" for i in range(20)]


async def test_records_become_rows(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 20_000_000)
    await books.move("alice", -7, session=session_of("s;1", held=50))
    step = await books.sync.step()
    assert (step.written, step.full) == (2, False)
    assert await books.balance("alice") == 19_999_993
    usage = await books.pool.fetchrow("SELECT * FROM usage_records WHERE n = 1")
    assert (usage["account"], usage["session"], usage["tag"]) == ("alice", "s;1", "data@1")
    assert usage["inputs"] == '{"zone": "home\ufffd", "tariff": "data"}'
    call = await books.pool.fetchrow("SELECT * FROM calls WHERE n = 1")
    assert call["once_key"] is None
    assert await books.pool.fetchval("SELECT sum(amount) FROM ledger_legs") == 0
    assert (await books.sync.step()).written == 0


async def test_a_long_stream_is_copied_in_steps(books: LedgerStores) -> None:
    await books.open()
    for amount in range(1, 2 * ENTRIES_MAX):
        await books.move("alice", amount)
    shards = {keys.shard_of("alice")}
    step = await books.sync.step(shards=shards)
    assert (step.written, step.more) == (ENTRIES_MAX, shards)
    step = await books.sync.step(shards=step.more)
    assert (step.written, step.more) == (ENTRIES_MAX - 1, set())
    assert await books.balance("alice") == sum(range(1, 2 * ENTRIES_MAX))


async def test_nothing_is_read_before_the_opening(books: LedgerStores) -> None:
    with pytest.raises(NotOpen):
        await books.sync.step()


async def test_an_unpublished_epoch_stops_the_copy(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await books.pool.execute("UPDATE shards SET epoch = epoch + 1")
    with pytest.raises(NotOpen):
        await books.sync.step()


async def test_a_crash_between_copy_and_commit_leaves_nothing(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.open()
    for name in ACCOUNTS:
        await books.move(name, 5)
    original = asyncpg.Connection.copy_records_to_table

    async def crash(self: Any, table: str, **arguments: Any) -> None:
        await original(self, table, **arguments)
        if table == "ledger_entries":
            self.terminate()
            raise ConnectionError("killed after COPY")

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "copy_records_to_table", crash)
        with pytest.raises((ConnectionError, asyncpg.InterfaceError)):
            await books.sync.step()
    assert await books.count("calls") == 0
    assert (await books.sync.step()).written == len(ACCOUNTS)
    assert await books.count("ledger_entries") == len(ACCOUNTS)


async def test_two_workers_at_once_copy_once(books: LedgerStores) -> None:
    await books.open()
    workers = [Sync(plain(books.redis), books.pool, alarm=books.alarms.append) for _ in range(3)]
    stop = False

    async def copy(worker: Sync) -> int:
        written = 0
        while True:
            done = stop
            try:
                written += (step := await worker.step()).written
                if done and not step.written:
                    return written
            except CursorMoved:
                pass

    tasks = [asyncio.create_task(copy(worker)) for worker in workers]
    for turn in range(30):
        for name in ACCOUNTS:
            await books.move(name, turn + 1)
    stop = True
    assert sum(await asyncio.gather(*tasks)) == 30 * len(ACCOUNTS)
    assert await books.count("calls") == await books.count("ledger_entries") == 30 * len(ACCOUNTS)
    assert {await books.balance(name) for name in ACCOUNTS} == {30 * 31 // 2}
    assert books.alarms == []


async def test_a_writer_that_is_late_writes_nothing(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    cursors = await read_cursors(books.pool)
    step = await books.sync.step()
    shard = keys.shard_of("alice")
    late = RecordRun(shard, cursors.at[shard], step.calls[shard][-1].id, step.calls[shard])
    with pytest.raises(CursorMoved):
        await books.sync.writer.write(cursors.epochs, [late])
    with pytest.raises(CursorMoved):  # in time, but under an epoch that is over
        await books.sync.writer.write({shard: cursors.epoch - 1}, [late._replace(old=late.new)])
    assert await books.count("calls") == 1


async def test_ladders_are_written_again_to_a_database_that_is_an_older_one(books: LedgerStores) -> None:
    """A database that was put back shows itself by a cursor that is not where it was."""
    await books.open()
    writer = books.sync.writer
    writer._ladders.add(b"in the database of before")
    cursors = await read_cursors(books.pool)
    await books.move("alice", 5)
    shard, step = keys.shard_of("alice"), await books.sync.step()
    late = RecordRun(shard, cursors.at[shard], step.calls[shard][-1].id, step.calls[shard])
    assert writer._ladders
    with pytest.raises(CursorMoved):
        await writer.write(cursors.epochs, [late])
    assert writer._ladders == set()


async def test_a_duplicate_key_stops_its_shard_and_no_other(books: LedgerStores) -> None:
    await books.open()
    for name in ACCOUNTS:
        await books.move(name, 5)
    await books.sync.step()
    bad = keys.shard_of("acct-3")
    await books.pool.execute("UPDATE shards SET cursor_n = -1, cursor_epoch = 0 WHERE shard = $1", bad)
    for name in ACCOUNTS:
        await books.move(name, 6)
    fresh = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    await fresh.step()
    assert [alarm for alarm in books.alarms if f"shard {bad} " in alarm] == books.alarms != []
    assert (await read_cursors(books.pool)).stopped.keys() == {bad}
    others = [name for name in ACCOUNTS if keys.shard_of(name) != bad]
    assert {await books.balance(name) for name in others} == {11}
    assert await books.balance("acct-3") == 5
    assert (await fresh.step()).written == 0  # stays stopped, quietly
    await books.pool.execute(
        "UPDATE shards SET cursor_epoch = $2, cursor_n = (SELECT max(n) FROM calls WHERE shard = $1) WHERE shard = $1",
        bad,
        books.epoch,
    )
    await resume(books.pool, OnePrimary(books.redis), bad, actor="me")
    await fresh.step()
    assert await books.balance("acct-3") == 11


async def test_rows_already_there_under_a_right_looking_cursor_stop_the_shard(books: LedgerStores) -> None:
    """The second line: even if seq and balance fit, and in whichever month the row stands."""
    await books.open()
    await books.move("alice", 5)
    await books.pool.execute(
        "INSERT INTO calls (shard, epoch, n, position, account, session, kind, phase, subscriber, service, request_key,"
        " fingerprint, end_to_end, at_ms, event_ms)"
        " SELECT shard, $1, 0, 0, '', '', '', 0, '', '', '', '', 0, 0, 0 FROM shards",
        books.epoch,
    )
    assert (await books.sync.step()).written == 0
    assert f"{books.epoch}-0 is in PostgreSQL already" in books.alarms[0]
    assert await books.count("ledger_entries") == 0


async def test_balances_are_checked_by_a_writer_that_knows_nothing_yet(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await books.sync.step()
    await books.move("alice", 6)
    await books.redis.xtrim(keys.ledger(keys.shard_of("alice")), maxlen=1, approximate=False)
    fresh = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    assert (await fresh.step()).written == 1
    await books.pool.execute("UPDATE account_heads SET afters = '{\"0\": 12}'")
    await books.move("alice", 7)
    await Sync(plain(books.redis), books.pool, alarm=books.alarms.append).step()
    assert "12 + 7 is not 18" in books.alarms[0]
    assert await books.count("ledger_entries") == 2


async def test_a_trimmed_gap_is_seen(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await books.sync.step()
    for _ in range(3):
        await books.move("alice", 5)
    await books.redis.xtrim(keys.ledger(keys.shard_of("alice")), maxlen=1, approximate=False)
    with pytest.raises(Gap):
        await books.sync.step()


async def test_what_names_no_account_stops_the_shard(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    shard = keys.shard_of("alice")
    await books.redis.xadd(keys.ledger(shard), {"x": "y"}, id=f"{books.epoch}-*")
    assert (await books.sync.step()).written == 1  # up to there
    assert (await books.sync.step()).written == 0
    assert shard in (await read_cursors(books.pool)).stopped


async def test_trimming_leaves_the_cursor_and_what_is_not_copied(books: LedgerStores) -> None:
    await books.open()
    for _ in range(300):
        await books.move("alice", 1)
    while (await books.sync.step()).written:
        pass
    for _ in range(5):
        await books.move("alice", 1)
    assert await books.sync.trim() > 0
    length = await books.redis.xlen(keys.ledger(keys.shard_of("alice")))
    assert 106 <= length < 250
    assert (await books.sync.step()).written == 5
    assert books.alarms == []


async def test_strange_text_does_not_stop_a_shard(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5, session=session_of("a\0b"), reason="x\0y")
    await books.move("alice", 5, session=session_of("s" * 5_000))
    assert (await books.sync.step()).written == 2
    assert await books.count("calls") == 2
    assert books.alarms == []


async def test_what_looks_like_nul_in_json_stops_no_account(books: LedgerStores) -> None:
    """jsonb takes no NUL; six characters that only look like the escape of one are a text like any other."""
    texts = ["\\u0000", "\\\\u0000", "\0", "\\\0", "\0\0", "a\\u0000\0\\"]
    await books.open()
    for text in texts:
        await books.move("alice", 5, inputs={"apn": text}, counters=[CounterAmount(f"by-apn:2026-07:{text}", 7)])
    assert (await books.sync.step()).written == len(texts)
    assert books.alarms == []
    assert await books.count("quarantined") == 0
    rows = await books.pool.fetch("SELECT inputs ->> 'apn' AS apn, counters::text FROM usage_records ORDER BY n")
    assert [row["apn"] for row in rows] == [text.replace("\0", "\ufffd") for text in texts]
    assert [json.loads(row["counters"]) for row in rows] == [
        {f"by-apn:2026-07:{text}".replace("\0", "\ufffd"): 7} for text in texts
    ]


def test_order_of_ids() -> None:
    assert follows(RecordId(5, 3), RecordId(5, 4), 5)
    assert not follows(RecordId(5, 3), RecordId(5, 5), 5)
    assert follows(RecordId(5, 3), RecordId(9, 0), 9)
    assert not follows(RecordId(5, 3), RecordId(9, 0), 8)
    assert not follows(RecordId(5, 3), RecordId(9, 1), 9)


def test_texts() -> None:
    assert fit("plain") == "plain"
    assert fit("a\0") == "a\ufffd"
    assert len(fit("x" * 10_000)) == 465
    assert fit("x" * 401) != fit("x" * 402)
    assert inputs_json(b"\xc1") == '{"packed":"wQ=="}'


async def test_cursors_in_memory_are_read_again_before_a_gap_is_believed(books: LedgerStores) -> None:
    """Another copier was here meanwhile, and the stream was trimmed behind it: nothing is missing."""
    await books.open()
    await books.move("alice", 5)
    await books.sync.step()
    for _ in range(3):
        await books.move("alice", 5)
    other = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    assert (await other.step()).written == 3
    await books.move("alice", 5)
    await books.redis.xtrim(keys.ledger(keys.shard_of("alice")), maxlen=1, approximate=False)
    assert (await books.sync.step()).written == 1
    assert await books.balance("alice") == 25
    assert books.alarms == []


async def test_a_step_looks_at_the_shards_it_is_given(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 5)
    await books.move("bob", 5)
    assert keys.shard_of("alice") != keys.shard_of("bob")
    step = await books.sync.step(shards=[keys.shard_of("bob")])
    assert (step.written, set(step.calls)) == (1, {keys.shard_of("bob")})
    assert (await books.sync.step()).written == 1
