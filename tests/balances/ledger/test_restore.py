"""What comes back from PostgreSQL is what Redis had, but for holds; and what is kept for it."""

import msgspec

from balances import facts, keys, ops
from balances.ledger.restore import find_once, find_session, purge, restore
from balances.ledger.sync import Sync
from tests.balances.ledger.books import NOW_MS, Books, session_of, unpack_account

ONCE = ops.Once(1, "f", 3, True, msgspec.Raw(b"\xa2ok"))


async def copied(books: Books) -> None:
    while (await books.sync.step()).written:
        pass


async def test_restore_equals_the_state_but_for_holds(books: Books) -> None:
    await books.open()
    await books.move("alice", 1_000, once=("e 1", ONCE))
    told = session_of("open;1", held=50)
    told.facts = ops.packed(facts.pack([(ops.WHOLE, ops.WHOLE, 2, "20801")]))
    await books.move("alice", -7, session=told)
    await books.move("alice", -7, session=session_of("closed;1", forget_ms=NOW_MS + 10))
    await books.move("alice", 0, session=session_of("forgotten;1", forget_ms=NOW_MS))
    await books.move("alice", -3)
    await copied(books)
    packed = await books.redis.get(keys.account("alice"))
    state = unpack_account(packed)
    state.buckets[0].held = 0
    back = await restore(books.pool, "alice", now_ms=NOW_MS)
    assert back is not None
    assert back.account == state
    sessions = {session.id: session for session in back.sessions}
    assert sessions.keys() == {"open;1", "closed;1"}
    line = sessions["open;1"].lines[0]
    assert (line.total, line.debited, line.granted, line.hold, line.due_ms) == (5, 7, 0, [], 0)
    assert len(sessions["open;1"].answers) == 1
    assert sessions["open;1"].due_ms > NOW_MS
    assert ops.blob(sessions["open;1"].facts) == ops.blob(told.facts)
    assert [(key, until) for key, _, until in back.onces] == [("e 1", NOW_MS + 3_600_000)]
    assert await restore(books.pool, "nobody", now_ms=NOW_MS) is None
    assert await find_session(books.pool, "open;1") == ("alice", "sub")
    assert await find_session(books.pool, "other") is None
    assert await find_once(books.pool, "alice", "e 1") is not None


async def test_the_purge_keeps_what_a_restore_needs(books: Books) -> None:
    await books.open()
    for _ in range(20):
        await books.move("alice", 1, session=session_of("open;1"))
        await books.move("alice", 1, session=session_of("closed;1", forget_ms=NOW_MS + 10))
    await copied(books)
    for _ in range(150):
        await books.move("alice", 0)
    await copied(books)
    before = await restore(books.pool, "alice", now_ms=NOW_MS + 20)
    await books.sync.trim()
    assert await purge(books.pool, before_ms=NOW_MS + 1_000, spare=5) > 30
    assert await restore(books.pool, "alice", now_ms=NOW_MS + 20) == before
    await books.move("alice", 1)
    fresh = Sync(books.redis, books.pool, alarm=books.alarms.append)
    assert (await fresh.step()).written == 1
    assert books.alarms == []
