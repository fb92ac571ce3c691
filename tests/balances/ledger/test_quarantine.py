"""A record that cannot be copied stops its account and nobody else, is never skipped, and waits for a person."""

from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest

from balances import keys
from balances.ledger.quarantine import NotSettled, QuarantineOutcome, confirm, held, kept, replay, resume
from balances.ledger.record import Undecodable, decode
from balances.ledger.restore import Quarantined, find_once, restore
from balances.ledger.sync import Gap, Sync
from balances.ledger.verify import verify
from balances.ledger.writer import read_cursors
from balances.redis.primaries import OnePrimary, plain
from balances.structs.account import Account
from balances.structs.record import Record
from balances.structs.session import IdempotencyRecord
from tests.balances.ledger.books import NOW_MS, LedgerStores, pack, session_of

BROKEN = "alice"
SHARD = keys.shard_of(BROKEN)
NEIGHBOUR = next(name for name in (f"n{i}" for i in range(10_000)) if keys.shard_of(name) == SHARD)

BY = {"actor": "me", "reason": "looked at it"}


async def plant(books: LedgerStores, how: Callable[[Record, Account], None] | bytes, name: str = BROKEN) -> str:
    """One call of 7 that is as it should be in the store and broken in the stream."""
    await books.move(name, -7)
    stream = keys.ledger(keys.shard_of(name))
    at, fields = (await books.redis.xrevrange(stream, count=1))[0]
    if isinstance(how, bytes):
        fields[b"r"] = how
    else:
        record = msgspec.msgpack.decode(fields[b"r"], type=Record)
        account = msgspec.msgpack.decode(fields[b"a"], type=Account)
        how(record, account)
        fields[b"r"], fields[b"a"] = pack(record), pack(account)
    async with books.redis.pipeline(transaction=True) as pipe:  # the last one only: what is before it is copied
        pipe.delete(stream)
        pipe.xadd(stream, fields, id=at)
        await pipe.execute()
    return str(at.decode())


def seq_leaps(record: Record, _account: Account) -> None:
    record.entries[0].seq += 1


def after_is_wrong(record: Record, _account: Account) -> None:
    record.entries[0].after += 1


def beyond_exact(record: Record, account: Account) -> None:
    record.entries[0].amount = -(2**53) - 7
    record.entries[0].after = account.buckets[0].amount = 993 - 2**53


def beyond_the_column(record: Record, _account: Account) -> None:
    record.usages[0].unit = 40_000


def terms_are_no_terms(record: Record, _account: Account) -> None:
    record.usages[0].terms = "tax=much"


PLANTS: dict[str, Callable[[Record, Account], None] | bytes] = {
    "cannot be read": b"\xc1",
    "cut short": pack(Record(1, "charge", BROKEN, "EUR"))[:9],
    "a number where text belongs": pack([1, "charge", BROKEN, 7]),
    "a fraction": pack([1, "charge", BROKEN, "EUR", "", "", "", 1, 1.5]),
    "seq leaps": seq_leaps,
    "after is wrong": after_is_wrong,
    "beyond 2^53": beyond_exact,
    "PostgreSQL refuses it": beyond_the_column,
    "no rows can be made": terms_are_no_terms,
}


async def opened(books: LedgerStores) -> None:
    await books.open()
    await books.move(BROKEN, 1_000)
    await books.move(NEIGHBOUR, 500)
    await books.sync.step()


@pytest.mark.parametrize("what", PLANTS)
async def test_it_stops_its_account_and_no_other(books: LedgerStores, what: str) -> None:
    await opened(books)
    at = await plant(books, PLANTS[what])
    await books.move(NEIGHBOUR, -1)
    await books.move(BROKEN, -2)
    await books.move(NEIGHBOUR, -1)
    assert (await books.sync.step()).written == 4
    cursors = await read_cursors(books.pool)
    assert cursors.stopped == {}
    assert str(cursors.at[SHARD]) == (await books.redis.xrevrange(keys.ledger(SHARD), count=1))[0][0].decode()
    assert (await books.balance(NEIGHBOUR), await books.balance(BROKEN)) == (498, 1_000)
    (one,) = await held(books.pool)
    assert (one.account, one.shard, one.records, one.first) == (BROKEN, SHARD, 2, at)
    first, second = await kept(books.pool, BROKEN)
    assert (first.id, bool(first.why), second.why) == (at, True, "")
    assert len(books.alarms) == 1
    assert f"account {BROKEN} is quarantined" in books.alarms[0]
    # Later ones follow, whoever copies them.
    await books.move(BROKEN, -3)
    await books.move(NEIGHBOUR, -1)
    assert (await Sync(plain(books.redis), books.pool, alarm=books.alarms.append).step()).written == 2
    assert (await held(books.pool))[0].records == 3
    assert await books.balance(NEIGHBOUR) == 497
    assert len(books.alarms) == 1


async def test_what_is_raw_is_all_that_stood_in_the_stream(books: LedgerStores) -> None:
    await opened(books)
    await plant(books, b"\xc1")
    fields = (await books.redis.xrevrange(keys.ledger(SHARD), count=1))[0][1]
    await books.sync.step()
    entry = msgspec.msgpack.decode(await books.pool.fetchval("SELECT entry FROM quarantined"))
    assert dict(zip(entry[::2], entry[1::2], strict=True)) == fields


async def test_it_is_not_restored_and_nothing_of_it_is_said_to_be_unknown(books: LedgerStores) -> None:
    await opened(books)
    await plant(books, seq_leaps)
    await books.sync.step()
    with pytest.raises(Quarantined):
        await restore(books.pool, BROKEN, now_ms=NOW_MS)
    with pytest.raises(Quarantined):
        await find_once(books.pool, BROKEN, "e 1")
    assert await restore(books.pool, NEIGHBOUR, now_ms=NOW_MS) is not None
    assert await find_once(books.pool, NEIGHBOUR, "e 1") is None


async def test_an_account_that_is_broken_from_its_first_record_on(books: LedgerStores) -> None:
    await books.open()
    await plant(books, seq_leaps)
    await books.sync.step()
    with pytest.raises(Quarantined):
        await restore(books.pool, BROKEN, now_ms=NOW_MS)


async def test_verify_names_it_once_and_goes_on(books: LedgerStores) -> None:
    await opened(books)
    await plant(books, seq_leaps)
    await books.move(NEIGHBOUR, -1)
    await books.sync.step()
    report = await verify(books.redis, books.pool, patience_s=0)
    assert [(found.what, found.account) for found in report.findings] == [("quarantined", BROKEN)]
    await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY)
    assert (await verify(books.redis, books.pool, patience_s=0)).findings == []


async def test_replayed_when_the_cause_is_mended(books: LedgerStores) -> None:
    """The cause: a head that said something else than the ledger."""
    await opened(books)
    damage = "UPDATE account_heads SET afters = jsonb_build_object(0, $2::bigint) WHERE account = $1"
    await books.pool.execute(damage, BROKEN, 1_001)
    await books.move(BROKEN, -7, session=session_of("s;1", held=50))
    await books.move(BROKEN, -3)
    fresh = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    await fresh.step()
    with pytest.raises(NotSettled, match=r"1001 \+ -7 is not 993"):
        await replay(books.pool, BROKEN, **BY)
    assert (await held(books.pool))[0].records == 2  # all or none
    await books.pool.execute(damage, BROKEN, 1_000)
    assert await replay(books.pool, BROKEN, **BY) == QuarantineOutcome(2, 0, dropped=False)
    assert await held(books.pool) == []
    assert await books.balance(BROKEN) == 990
    with pytest.raises(NotSettled, match="not in quarantine"):
        await replay(books.pool, BROKEN, **BY)
    await books.move(BROKEN, -1)
    await fresh.step()
    assert await books.balance(BROKEN) == 989
    assert (await verify(books.redis, books.pool, patience_s=0)).findings == []
    found = await restore(books.pool, BROKEN, now_ms=NOW_MS)
    assert found is not None
    assert ([session.id for session in found.sessions], found.account.buckets[0].amount) == (["s;1"], 989)
    assert await books.pool.fetchrow("SELECT settled_as, settled_by, reason FROM quarantined LIMIT 1") == (
        "replayed",
        "me",
        "looked at it",
    )


@pytest.mark.parametrize("what", [what for what in PLANTS if what != "beyond 2^53"])
async def test_confirmed_the_difference_is_on_record(books: LedgerStores, what: str) -> None:
    await opened(books)
    await plant(books, PLANTS[what])
    await books.move(BROKEN, -2, session=session_of("s;1"))
    await books.sync.step()
    with pytest.raises(NotSettled, match=r"cannot be replayed|PostgreSQL refuses"):
        await replay(books.pool, BROKEN, **BY)
    assert await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY) == QuarantineOutcome(1, 1, dropped=False)
    rows = await books.pool.fetch(
        "SELECT seq, amount, after, why, counter_account, actor FROM ledger_entries WHERE account = $1 ORDER BY seq",
        BROKEN,
    )
    assert [tuple(row)[:4] for row in rows] == [
        (1, 1_000, 1_000, "use"),
        (2, -7, 993, "recovered"),
        (3, -2, 991, "use"),
    ]
    assert (rows[1]["counter_account"], rows[1]["actor"]) == ("suspense", "me")
    await books.move(BROKEN, -1)
    await books.sync.step()
    assert await books.balance(BROKEN) == 990
    assert (await verify(books.redis, books.pool, patience_s=0)).findings == []
    found = await restore(books.pool, BROKEN, now_ms=NOW_MS)
    assert found is not None
    assert ([session.id for session in found.sessions], found.account.buckets[0].amount) == (["s;1"], 990)


async def test_confirmed_where_the_state_itself_is_past_belief(books: LedgerStores) -> None:
    """The live store has gone where nobody can follow: the account comes back as PostgreSQL had it."""
    await opened(books)
    await plant(books, beyond_exact)
    await books.sync.step()
    assert await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY) == QuarantineOutcome(0, 1, dropped=True)
    assert await books.account(BROKEN) is None
    assert await books.account(NEIGHBOUR) is not None
    found = await restore(books.pool, BROKEN, now_ms=NOW_MS)
    assert found is not None
    assert (found.account.seq, found.account.buckets[0].amount) == (1, 1_000)


async def test_nothing_is_dropped_while_records_wait_to_be_copied(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("balances.ledger.quarantine.TRIES", 2)
    await opened(books)
    await plant(books, beyond_exact)
    await books.sync.step()
    await books.move(NEIGHBOUR, -1)
    with pytest.raises(NotSettled, match="not copied yet"):
        await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY)
    assert await books.account(BROKEN) is not None
    assert (await held(books.pool))[0].records == 1
    await books.sync.step()
    assert (await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY)).dropped


async def test_an_event_in_quarantine_is_not_charged_again_once_confirmed(books: LedgerStores) -> None:
    await opened(books)
    once = IdempotencyRecord(1, "f", 7, True, msgspec.Raw(pack("answer")))
    await plant(books, after_is_wrong)
    await books.move(BROKEN, -2, once=("e 1", once))
    await books.sync.step()
    await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY)
    assert await find_once(books.pool, BROKEN, "e 1") is not None


async def test_a_store_that_lost_it_does_not_bring_the_older_one_back(books: LedgerStores) -> None:
    await opened(books)
    await plant(books, seq_leaps)
    await books.sync.step()
    await books.redis.flushall()
    await books.open(now_s=2_000)
    with pytest.raises(Quarantined):
        await restore(books.pool, BROKEN, now_ms=NOW_MS)
    assert await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY) == QuarantineOutcome(0, 1, dropped=False)
    found = await restore(books.pool, BROKEN, now_ms=NOW_MS)
    assert found is not None
    assert (found.account.seq, found.account.buckets[0].amount) == (2, 993)


async def test_a_record_that_is_only_in_quarantine_is_known_at_an_opening(books: LedgerStores) -> None:
    """Redis keeps the broken record and goes back behind a later one: only what follows is forgotten."""
    await opened(books)
    await plant(books, seq_leaps)
    await books.sync.step()
    kept_back = await books.redis.xrange(keys.ledger(SHARD))
    await books.move(NEIGHBOUR, -1)
    await books.sync.step()
    async with books.redis.pipeline(transaction=True) as pipe:
        pipe.delete(keys.ledger(SHARD))
        for at, fields in kept_back:
            pipe.xadd(keys.ledger(SHARD), fields, id=at)
        await pipe.execute()
    opening = await books.open(now_s=3_000, anew=True)
    assert (opening.forgotten, opening.orphaned) == (frozenset({NEIGHBOUR}), 0)


async def test_a_duplicate_still_stops_the_shard(books: LedgerStores) -> None:
    await opened(books)
    await plant(books, seq_leaps)
    before = (await read_cursors(books.pool)).at[SHARD]
    await books.sync.step()
    await books.pool.execute(
        "UPDATE shards SET cursor_epoch = $2, cursor_n = $3 WHERE shard = $1", SHARD, before.epoch, before.n
    )
    assert (await Sync(plain(books.redis), books.pool, alarm=books.alarms.append).step()).written == 0
    assert (await read_cursors(books.pool)).stopped.keys() == {SHARD}
    assert (await held(books.pool))[0].records == 1


async def test_a_gap_is_still_a_gap(books: LedgerStores) -> None:
    await opened(books)
    await plant(books, seq_leaps)
    await books.move(BROKEN, -1)
    await books.redis.xtrim(keys.ledger(SHARD), maxlen=1, approximate=False)
    with pytest.raises(Gap):
        await books.sync.step()


async def test_a_crash_before_the_commit_quarantines_nothing(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(books)
    await plant(books, seq_leaps)
    original = asyncpg.Connection.copy_records_to_table

    async def crash(self: Any, table: str, **arguments: Any) -> None:
        await original(self, table, **arguments)
        if table == "quarantined":
            self.terminate()
            raise ConnectionError("killed after COPY")

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "copy_records_to_table", crash)
        with pytest.raises((ConnectionError, asyncpg.InterfaceError)):
            await books.sync.step()
    assert (await books.count("quarantined"), books.alarms) == (0, [])
    assert (await books.sync.step()).written == 1
    assert await books.count("quarantined") == 1


# --- a record that names nobody stops its shard, until a person says whose it is


async def nameless(books: LedgerStores) -> None:
    await books.move(NEIGHBOUR, -1)
    await books.redis.xadd(keys.ledger(SHARD), {"x": "y"}, id=f"{books.epoch}-*")
    await books.move(NEIGHBOUR, -1)
    await books.sync.step()  # up to it ...
    await books.sync.step()


async def test_a_person_says_whose_a_record_is(books: LedgerStores) -> None:
    await opened(books)
    await nameless(books)
    assert await books.balance(NEIGHBOUR) == 499
    assert (await read_cursors(books.pool)).stopped.keys() == {SHARD}
    with pytest.raises(NotSettled, match="is of shard"):
        await resume(books.pool, OnePrimary(books.redis), SHARD, account="of-another-shard", actor="me")
    await resume(books.pool, OnePrimary(books.redis), SHARD, actor="me")
    await books.sync.step()
    assert (await read_cursors(books.pool)).stopped.keys() == {SHARD}  # looking does not mend it
    await resume(books.pool, OnePrimary(books.redis), SHARD, account=BROKEN, reason="in the log", actor="me")
    await books.sync.step()
    assert (await read_cursors(books.pool)).stopped == {}
    assert await books.balance(NEIGHBOUR) == 498
    (one,) = await held(books.pool)
    assert (one.account, one.records) == (BROKEN, 1)
    assert "me says whose it is: in the log" in one.why
    with pytest.raises(NotSettled, match="cannot be replayed"):
        await replay(books.pool, BROKEN, **BY)
    assert (await confirm(books.pool, OnePrimary(books.redis), BROKEN, **BY)).dropped
    with pytest.raises(NotSettled, match="not stopped"):
        await resume(books.pool, OnePrimary(books.redis), SHARD, actor="me")


async def test_a_record_that_names_somebody_is_not_given_to_another(books: LedgerStores) -> None:
    await opened(books)
    await books.move(NEIGHBOUR, -1)
    await books.sync.writer.stop(SHARD, "for the test")
    with pytest.raises(NotSettled, match=f"is of account {NEIGHBOUR}"):
        await resume(books.pool, OnePrimary(books.redis), SHARD, account=BROKEN, actor="me")


async def test_a_stopped_shard_that_went_back_is_stepped_back_too(books: LedgerStores) -> None:
    """It is charged on: what only PostgreSQL knows must not be overwritten by what Redis remembers."""
    await opened(books)
    await books.sync.writer.stop(SHARD, "for the test")
    await books.redis.delete(keys.ledger(SHARD))
    opening = await books.open(now_s=2_000, anew=True)
    assert {BROKEN, NEIGHBOUR} <= opening.forgotten


def test_whose_a_broken_record_is() -> None:
    named = pack(Record(1, "charge", "alice", "EUR"))
    call = decode([b"5-0", [b"r", named[:12], b"a", pack([1, "bob", 3])]])
    assert (call.record.account, call.record.kind, bool(call.broken)) == ("bob", "broken", True)
    assert decode([b"5-0", [b"r", pack([1, 2, "carol"])]]).record.account == "carol"
    for fields in ([b"x", b"y"], [b"r", b"\xc1"], [b"r", pack([1]), b"a", b""], [b"r", pack([1, 2, ""])], [b"r"]):
        with pytest.raises(Undecodable):
            decode([b"5-0", fields])
