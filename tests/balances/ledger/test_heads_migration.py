"""A database of before `037_heads.sql`, after it: accounts come back as they were, chains go on, answers are known."""

from __future__ import annotations

import asyncpg
import msgspec

from balances.ledger.heads import load_chains
from balances.ledger.record import SEQ
from balances.ledger.restore import find_lines, find_once, find_refundable, find_session, restore
from balances.migrations.migrate import migrate, migrations
from balances.packing import fresh_account
from balances.structs.account import Bucket
from balances.structs.charge import Phase
from balances.structs.session import IdempotencyRecord
from tariffs.units import Kind
from tests.balances.ledger.books import NOW_MS, pack, session_of
from tests.balances.rules.account_harness import charge_of, use

STEP = "037_heads.sql"

CALL = (
    "INSERT INTO calls (shard, epoch, n, position, account, session, kind, phase, subscriber, service, request_key,"
    " fingerprint, end_to_end, at_ms, event_ms, account_state, session_state, session_until_ms, opens, once_key,"
    " once_state, once_until_ms, refund_of, refund_state)"
    " VALUES (7, 1, $1, $1, $2, $3, 'charge', 2, $4, 'data', 'k', $5, 0, $6, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
    " $15)"
)
ENTRY = (
    "INSERT INTO ledger_entries (account, seq, shard, epoch, n, bucket, kind, amount, after, currency, counter_account,"
    " why, at_ms, request_key) VALUES ($1, $2, 7, 1, $3, $4, $5, $6, $7, 'EUR', 'revenue', 'use', 0, 'k')"
)


def once(cost: int) -> bytes:
    return pack(IdempotencyRecord(1, "f", 3, True, msgspec.Raw(b"\xa2ok"), units=1 if cost else 0, cost=cost))


async def before_heads(pg: asyncpg.Connection) -> None:
    """alice: a session that is open and was begun twice, one that is forgotten, an event refunded in part, one charged
    twice. bob: nothing but entries, his calls are purged."""
    alice = fresh_account("alice", "EUR")
    alice.buckets.append(Bucket(3, Kind.OCTETS, 40))
    calls: list[tuple[object, ...]] = []

    def call(account: str, session: str = "", **fields: object) -> int:
        row = {
            "subscriber": "sub", "fingerprint": "f", "at_ms": NOW_MS + len(calls), "account_state": pack(alice),
            "session_state": None, "until": None, "opens": False, "once_key": None, "once_state": None,
            "once_until": None, "refund_of": None, "refund_state": None,
        } | fields  # fmt: skip
        calls.append((len(calls), account, session, *row.values()))
        return len(calls) - 1

    call("alice", "s;1", session_state=pack(session_of("s;1")), until=0, opens=True, subscriber="other")
    call("alice", "s;1", session_state=pack(session_of("s;1")), until=0, opens=True)
    alice.buckets[0].amount = 12
    alice.seq = 4
    call("alice", "s;1", session_state=pack(session_of("s;1", held=5)), until=0, subscriber="")
    call("alice", "old;1", session_state=pack(session_of("old;1", forget_ms=NOW_MS)), until=NOW_MS)
    paid = {"once_until": NOW_MS + 60_000}
    first = call("alice", "sms;1", once_key="event sms;1 0", once_state=once(9), **paid)
    call("alice", "sms;1", refund_of="event sms;1 0", refund_state=once(4))
    twice = [call("alice", "sms;2", once_key="event sms;2 0", once_state=once(0), **paid) for _ in range(2)]
    await pg.executemany(CALL, calls)
    entries = [
        ("alice", 1, 0, 0, 0, 20, 20), ("alice", 2, first, 0, 0, -9, 11), ("alice", 3, first, 3, 1, 40, 40),
        ("alice", 4, 2, 0, 0, 1, 12), *(("alice", 5 + i, n, 0, 0, -1, 11 - i) for i, n in enumerate(twice)),
        ("bob", 1, 90, 0, 0, 5, 5), ("bob", 2, 91, 4, 0, 7, 7), ("bob", 3, 92, 4, 0, -7, 0),
    ]  # fmt: skip
    await pg.executemany(ENTRY, entries)


async def test_what_stood_in_the_tables_of_before_is_in_the_heads(pg_dsn_bare: str) -> None:
    steps = migrations()
    number = next(step.number for step in steps if step.name == STEP)
    pg = await asyncpg.connect(pg_dsn_bare)
    pool = await asyncpg.create_pool(pg_dsn_bare, min_size=1, max_size=2)
    try:
        await pg.execute(
            "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
            " at timestamptz NOT NULL DEFAULT now())"
        )
        for step in steps[: number - 1]:
            await pg.execute(step.sql)
            await pg.execute("INSERT INTO migrations VALUES ($1, $2, $3)", step.number, step.name, step.digest)
        await before_heads(pg)
        assert (await migrate(pg_dsn_bare))[0] == STEP
        chains = await load_chains(pg, ["alice", "bob", "nobody"])
        assert chains == {"alice": {SEQ: 6, 0: 10, 3: 40}, "bob": {SEQ: 3, 0: 5}}
        back = await restore(pool, "alice", now_ms=NOW_MS)
        assert back is not None
        assert (back.account.seq, [bucket.amount for bucket in back.account.buckets]) == (4, [12, 40])
        assert [session.id for session in back.sessions] == ["s;1"]
        assert {key for key, _, _ in back.answers} == {"event sms;1 0", "event sms;2 0"}
        assert await restore(pool, "bob", now_ms=NOW_MS) is None, "no call is left to say what he was"
        assert await find_session(pg, "s;1") == ("alice", "sub")
        late = charge_of(Phase.STOP, [use(5)], session="old;1", number=1, end_to_end=7, account="alice")
        assert [line.total for line in await find_lines(pg, late)] == [5]
        assert await find_once(pool, "alice", "event sms;1 0") == once(4)
        assert await find_refundable(pg, "alice", "event sms;1 0") == ("event sms;1 0", once(4))
        assert await find_refundable(pg, "alice", "event sms;2 0") is None
        doubled = await pg.fetch("SELECT key FROM once WHERE doubled")
        assert [row["key"] for row in doubled] == ["event sms;2 0"]
    finally:
        await pool.close()
        await pg.close()
