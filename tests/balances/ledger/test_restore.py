"""What comes back from PostgreSQL is what Redis had, but for holds; and what is kept for it."""

import msgspec

from balances import facts, keys
from balances.ledger.restore import find_lines, find_once, find_refundable, find_request, find_session, purge, restore
from balances.ledger.sync import Sync
from balances.packing import ACCOUNT_FIELD
from balances.redis.primaries import plain
from balances.structs.blob import blob_of, raw_of
from balances.structs.charge import Flag, Phase
from balances.structs.record import Usage
from balances.structs.session import WHOLE, Answer, CounterReading, IdempotencyRecord
from tests.balances.ledger.books import NOW_MS, LedgerStores, session_of, unpack_account
from tests.balances.rules.account_harness import charge_of, use

ONCE = IdempotencyRecord(1, "f", 3, True, msgspec.Raw(b"\xa2ok"))


async def copied(books: LedgerStores) -> None:
    while (await books.sync.step()).written:
        pass


async def test_restore_equals_the_state_but_for_holds(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", 1_000, once=("e 1", ONCE))
    told = session_of("open;1", held=50)
    told.facts = raw_of(facts.pack([(WHOLE, WHOLE, 2, "20801")]))
    told.lines[0].readings = [CounterReading(1, 5_000, NOW_MS)]
    await books.move("alice", -7, session=told)
    await books.move("alice", -7, session=session_of("closed;1", forget_ms=NOW_MS + 10))
    await books.move("alice", 0, session=session_of("forgotten;1", forget_ms=NOW_MS))
    await books.move("alice", -3)
    await copied(books)
    packed = await books.redis.hget(keys.account("alice"), ACCOUNT_FIELD)
    state = unpack_account(packed)
    state.buckets[0].held = 0
    back = await restore(books.pool, "alice", now_ms=NOW_MS)
    assert back is not None
    assert back.account == state
    sessions = {session.id: session for session in back.sessions}
    assert sessions.keys() == {"open;1", "closed;1"}
    line = sessions["open;1"].lines[0]
    assert (line.total, line.debited, line.granted, line.hold, line.due_ms) == (5, 7, 0, [], 0)
    assert line.readings == told.lines[0].readings
    assert len(sessions["open;1"].answers) == 1
    assert sessions["open;1"].due_ms > NOW_MS
    assert blob_of(sessions["open;1"].facts) == blob_of(told.facts)
    assert [(key, until) for key, _, until in back.answers] == [("e 1", NOW_MS + 3_600_000)]
    assert await restore(books.pool, "nobody", now_ms=NOW_MS) is None
    assert await find_session(books.pool, "open;1") == ("alice", "sub")
    assert await find_session(books.pool, "other") is None
    assert await find_once(books.pool, "alice", "e 1") is not None


async def test_the_purge_keeps_what_a_restore_needs(books: LedgerStores) -> None:
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
    fresh = Sync(plain(books.redis), books.pool, alarm=books.alarms.append)
    assert (await fresh.step()).written == 1
    assert books.alarms == []


async def test_the_purge_takes_events_that_have_a_session_id_each(books: LedgerStores) -> None:
    """Each SMS has a Session-Id of its own, so none of them is followed by another call of its session; they are kept
    no longer than others (`Kept 30 days`), and neither are refused repeats, which leave no answer."""
    await books.open()
    for number in range(120):
        once = (f"event sms;{number} 0", ONCE) if number % 2 else None
        await books.move("alice", -1, once=once, session_name=f"sms;{number}", phase=Phase.EVENT)
    await books.move("alice", 0)
    await copied(books)
    for _ in range(150):
        await books.move("alice", 0)
    await copied(books)
    await books.sync.trim()
    assert await purge(books.pool, before_ms=NOW_MS + 3_600_001, spare=5) > 0
    left = await books.pool.fetch("SELECT session, n FROM calls WHERE session <> '' ORDER BY n")
    assert left == []


def answered(key: str, fingerprint: str, end_to_end: int, outcome: bytes) -> msgspec.Raw:
    answer = Answer(key, fingerprint, end_to_end, True, raw_of(outcome), NOW_MS)
    return raw_of(msgspec.msgpack.encode(answer))


async def test_an_account_comes_back_with_the_incarnations_of_its_sessions(books: LedgerStores) -> None:
    """And what PostgreSQL keeps of each says which it was of."""
    await books.open()
    one = session_of("gw;1")
    await books.move("alice", -7, session=one, incarnation=1)
    two = msgspec.structs.replace(one, incarnation=2, initial=answered("1:0", "f", 9, b"i"), reported=True)
    two.former = [answered("1:0", "f", 3, b"a"), answered("3:1", "f", 4, b"b")]
    await books.move("alice", -3, session=two, incarnation=2)
    await copied(books)
    back = await restore(books.pool, "alice", now_ms=NOW_MS)
    assert back is not None
    [session] = back.sessions
    assert (session.incarnation, session.reported) == (2, True)
    assert [blob_of(raw) for raw in (session.initial, *session.former)] == [
        blob_of(raw) for raw in (two.initial, *two.former)
    ]
    for table in ("calls", "usage_records"):
        rows = await books.pool.fetch(f"SELECT incarnation FROM {table} ORDER BY n")
        assert [row["incarnation"] for row in rows] == [1, 2]


async def test_what_an_initial_found_held_is_of_the_incarnation_before(books: LedgerStores) -> None:
    await books.open()
    of = [Usage(10, -1, 1, 0, 0, 5, 0, 0, 0, flags, "", NOW_MS) for flags in (Flag.ABANDONED, Flag.REUSED)]
    await books.move("alice", 0, session=session_of("gw;1"), incarnation=2, usages=of)
    await copied(books)
    rows = await books.pool.fetch("SELECT incarnation FROM usage_records ORDER BY line")
    assert [row["incarnation"] for row in rows] == [1, 2]


async def test_a_request_that_redis_forgot_is_known_by_its_key(books: LedgerStores) -> None:
    await books.open()
    session = session_of("gw;1", forget_ms=NOW_MS)
    session.answers = [answered("3:1", "f", 7, b"first")]
    await books.move("alice", -7, session=session, key="3:1", fingerprint="f", end_to_end=7)
    await copied(books)
    asked = charge_of(Phase.STOP, [use(5)], session="gw;1", number=1, end_to_end=7, account="alice")
    for changes, found in (
        ({"fingerprint": "f"}, b"first"),
        ({"fingerprint": "f", "end_to_end": 8}, b"first"),
        ({"fingerprint": "g"}, b"first"),  # the same End-to-End-Id: it contradicts what was charged
        ({"fingerprint": "g", "end_to_end": 8, "resend": True}, b"first"),
        ({"fingerprint": "g", "end_to_end": 8}, None),
        ({"key": "3:2"}, None),
        ({"session": "gw;2"}, None),
        ({"account": "bob"}, None),
    ):
        assert await find_request(books.pool, msgspec.structs.replace(asked, **changes)) == found


async def test_how_far_counters_were_counted_is_known_of_a_session_that_redis_forgot(books: LedgerStores) -> None:
    """charging.md 8: the newest that was recorded."""
    await books.open()
    for shown in (600, 700):
        session = session_of("nas;1", forget_ms=NOW_MS)
        session.lines[0].readings = [CounterReading(1, shown, NOW_MS)]
        await books.move("alice", -7, session=session)
    await copied(books)
    asked = charge_of(Phase.STOP, [use(5)], session="nas;1", number=1, end_to_end=7, account="alice")
    [line] = await find_lines(books.pool, asked)
    assert line.readings == [CounterReading(1, 700, NOW_MS)]
    assert await find_lines(books.pool, msgspec.structs.replace(asked, session="nas;2")) == []


async def test_a_refund_by_session_is_of_the_newest_event_with_something_left(books: LedgerStores) -> None:
    """A client that uses numbers again has several events under one Session-Id and number."""
    await books.open()
    first, second = keys.event_key("sms;1", 0, 11), keys.event_key("sms;1", 0, 12)
    for key in (first, second):
        once = IdempotencyRecord(1, "f", 3, True, msgspec.Raw(b"\xa2ok"), units=1, cost=70_000)
        await books.move("alice", -70_000, once=(key, once), session_name="sms;1")
    others = [keys.event_key("sms;1", 1), keys.event_key("sms;10", 0), keys.event_key("sms;2", 0)]
    for key in others:
        await books.move("alice", -1, once=(key, IdempotencyRecord(1, "f", 3, True, msgspec.Raw(b"\xa2ok"), cost=1)))
    await copied(books)
    found = await find_refundable(books.pool, "alice", keys.event_key("sms;1", 0))
    assert found is not None
    assert found[0] == second
    await books.pool.execute(
        "UPDATE once SET state = $1 WHERE key = $2",
        msgspec.msgpack.encode(IdempotencyRecord(1, "f", 3, True, msgspec.Raw(b"\xa2ok"))),
        second,
    )
    found = await find_refundable(books.pool, "alice", keys.event_key("sms;1", 0))
    assert found is not None
    assert found[0] == first
    assert await find_refundable(books.pool, "alice", keys.event_key("sms;3", 0)) is None
