"""What the keeper measures: the lag also while PostgreSQL is away, what is stopped, and what the store itself holds."""

import contextlib
from typing import Any

import structlog

from balances import keys
from balances.ledger.reader import StreamReader
from balances.ledger.record import START, RecordedCall, RecordId
from balances.ledger.sync import calls_of
from balances.ledger.writer import AWAY
from balances.packing import ACCOUNT_FIELD, fresh_account
from balances.redis.primaries import OnePrimary, plain
from balances.structs.session import SessionState
from ocs.clock import now_ms
from ocs.keeper.totals import Totals
from ocs.keeper.watch import LagWatch
from tests.balances.ledger.books import LedgerStores, close, connect, pack, session_of
from tests.ocs.keeper.test_keeper import Both, keeping, open_session
from tests.servers import Servers

SHARD = keys.shard_of("alice")


async def test_the_lag_grows_while_postgres_is_away(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await both.until(lambda: both.books.redis.exists("keeper:cursors"))
        await both.until(lambda: both.keeper.watch.now.lag_entries == 0)
        servers.postgres.stop()
        for number in range(40):
            await both.books.move("alice", 5, at_ms=now_ms() - 30_000)
            await both.books.move(f"acct-{number}", 5, at_ms=now_ms() - 10_000)
        await both.until(lambda: both.keeper.watch.now.lag_entries == 80)
        assert both.keeper.watch.now.lag_ms >= 30_000
        other = LagWatch(both.books.redis, OnePrimary(both.books.redis), both.books.pool, both.keeper.standing, now_ms)
        with contextlib.suppress(*AWAY):
            await other.measure()
        assert other.now.lag_entries == 80  # of a keeper that starts meanwhile
        servers.postgres.start()
        await both.until(lambda: both.keeper.watch.now.lag_entries == 0 == both.keeper.watch.now.lag_ms, 30)


async def test_the_lag_over_epochs_is_what_the_stream_has(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await both.books.sync.writer.stop(SHARD, "for the test")
        for _ in range(3):
            await both.books.move("alice", 5)
        both.books.epoch += 1
        for _ in range(4):
            await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.watch.now.lag_entries == 7)


async def test_a_stopped_shard_is_told_again_and_again(servers: Servers) -> None:
    books = await _stopped(servers)
    with structlog.testing.capture_logs() as logs:
        async with keeping(servers, alarm_ms=100) as both:
            await books.move("alice", 5)

            def told(event: str) -> list[Any]:
                return [line for line in logs if line["event"] == event and line["about"] == "stopped shards"]

            await both.until(lambda: len(told("keeper.standing_alarm")) >= 3)
            assert f"{SHARD} (for the test)" in told("keeper.standing_alarm")[0]["what"]
            assert both.keeper.watch.now.stopped == {SHARD: "for the test"}
            await both.until(lambda: both.keeper.watch.now.lag_entries == 2)
            assert both.keeper.why == ""  # it is charged on
            await books.pool.execute("UPDATE shards SET stopped = ''")
            await both.until(lambda: len(told("keeper.alarm_over")) == 1)
            await both.until(lambda: both.keeper.watch.now.lag_entries == 0)
            assert both.keeper.watch.now.stopped == {}
            assert await books.balance("alice") == 10
    await close(books)


async def _stopped(servers: Servers) -> LedgerStores:
    async with keeping(servers) as both:
        await both.books.sync.writer.stop(SHARD, "for the test")
        await both.books.move("alice", 5)
        epoch = both.books.epoch
    books = await connect(servers.redis_url, servers.pg_dsn)
    books.epoch = epoch
    return books


async def test_accounts_in_quarantine_are_counted_and_told(servers: Servers) -> None:
    with structlog.testing.capture_logs() as logs:
        async with keeping(servers) as both:
            stream = keys.ledger(SHARD)
            broken = {"r": b"\xc1", "a": pack(fresh_account("alice", "EUR"))}
            await both.books.redis.xadd(stream, broken, id=f"{both.books.epoch}-*")
            await both.until(lambda: both.keeper.watch.now.quarantined == 1)
            await both.until(
                lambda: any(line.get("about") == "quarantine" and "alice" in line["what"] for line in logs)
            )
            assert both.keeper.why == ""


async def test_totals_are_read_from_the_store(servers: Servers) -> None:
    """A baseline at every start, by currency, never below zero: with whoever changed it, and whoever counts now."""
    for _ in range(2):  # the second keeper meets what the first one left
        async with keeping(servers) as both:
            totals = both.keeper.totals
            if not await both.books.redis.exists(keys.account("alice")):
                await open_session(both, "alice", "s;1", now_ms() + 600_000)
                await open_session(both, "bob", "s;2", now_ms() + 600_000)
                await _in_dollars(both, "carol", "s;3")
            await both.until(lambda t=totals: t.complete and t.sessions == 3)  # type: ignore[misc]
            assert totals.holds == 3
            assert totals.held_micro == {"EUR": 100, "USD": 70}
            assert totals.held_by_peer == {("pgw", "EUR"): 100, ("pgw", "USD"): 70}
    async with keeping(servers) as both:
        closed = session_of("s;2", forget_ms=now_ms() + 3_600_000)
        await both.books.move("bob", 5, session=closed)
        await both.until(lambda: both.keeper.totals.complete and both.keeper.totals.sessions == 2)
        assert (both.keeper.totals.holds, both.keeper.totals.held_micro["EUR"]) == (2, 50)
        assert both.keeper.totals.held_by_peer == {("pgw", "EUR"): 50, ("pgw", "USD"): 70}


async def _in_dollars(both: Both, name: str, session: str) -> None:
    await both.books.redis.hset(keys.account(name), ACCOUNT_FIELD, pack(fresh_account(name, "USD")))
    await both.books.move(name, 0, session=session_of(session, held=70), currency="USD")
    await both.due({keys.due_member(name, session): now_ms() + 600_000}, name)


async def test_one_keeper_counts_for_all(servers: Servers) -> None:
    async with keeping(servers) as one, keeping(servers) as other:
        await open_session(one, "alice", "s;1", now_ms() + 600_000)
        await one.until(lambda: one.keeper.totals.complete != other.keeper.totals.complete)


class CountingTotals(Totals):
    """Remembers what it read."""

    def __init__(self, redis: Any, **settings: int) -> None:
        super().__init__(redis, **settings)
        self.read: list[int] = []

    async def _read(self, walk: Any) -> int:
        self.read.append(walk.shard)
        return await super()._read(walk)


async def _all(totals: Totals, heads: Any) -> None:
    while not totals.complete:
        await totals.look(heads)


async def _three_sessions(servers: Servers) -> tuple[dict[int, RecordId], dict[int, list[RecordedCall]]]:
    """Heads and records of a store with three sessions, one of which is closed."""
    async with keeping(servers) as both:
        await open_session(both, "alice", "s;1", now_ms() + 600_000)
        await open_session(both, "alice", "s;2", now_ms() + 600_000)
        await both.books.move("bob", 5, session=session_of("s;3", forget_ms=now_ms() + 3_600_000))
        await both.due({keys.due_member("bob", "s;3"): now_ms() + 3_600_000}, "bob")
        server, heads = await StreamReader(plain(both.books.redis)).heads(range(keys.SHARDS))
        assert server.published_epoch
        look = await StreamReader(plain(both.books.redis)).after(dict.fromkeys(range(keys.SHARDS), START), 100)
        return heads, calls_of(look.entries)


async def test_only_what_has_moved_is_looked_at_again(servers: Servers) -> None:
    heads, _ = await _three_sessions(servers)
    books = await connect(servers.redis_url, servers.pg_dsn)
    totals = CountingTotals(OnePrimary(books.redis))
    await _all(totals, heads)
    assert sorted(totals.read) == sorted({SHARD, keys.shard_of("bob")})
    assert (totals.sessions, totals.holds, totals.held_micro["EUR"]) == (2, 2, 50)
    assert await totals.look(heads) == 0
    heads[SHARD] = RecordId(heads[SHARD].epoch, heads[SHARD].n + 1)
    assert await totals.look(heads) > 0
    assert totals.read[-1] == SHARD
    await close(books)


async def test_what_is_open_is_known_from_records_alone(servers: Servers) -> None:
    """In any number of repeats, and whether or not the store was read before."""
    heads, calls = await _three_sessions(servers)
    books = await connect(servers.redis_url, servers.pg_dsn)
    for walked in (False, True):
        totals = CountingTotals(OnePrimary(books.redis))
        if walked:
            await _all(totals, heads)
        for _ in range(2):
            for shard, found in calls.items():
                for call in found:
                    totals.see(shard, call)
        assert (totals.sessions, totals.holds, totals.held_micro["EUR"]) == (2, 2, 50)
        assert totals.held_by_peer == {("pgw", "EUR"): 100}  # each holds 50; the account was written by hand
    await close(books)


async def test_what_the_store_has_not_is_forgotten_by_the_walk(servers: Servers) -> None:
    heads, _ = await _three_sessions(servers)
    books = await connect(servers.redis_url, servers.pg_dsn)
    totals = CountingTotals(OnePrimary(books.redis))
    await _all(totals, heads)
    await books.redis.zrem(keys.due(SHARD), keys.due_member("alice", "s;1"), keys.due_member("alice", "s;2"))
    heads[SHARD] = RecordId(heads[SHARD].epoch, heads[SHARD].n + 1)
    await totals.look(heads)
    assert (totals.sessions, totals.holds, totals.held_micro["EUR"]) == (0, 0, 0)
    await close(books)


async def test_what_a_record_says_while_the_walk_reads_is_newer(servers: Servers) -> None:
    heads, calls = await _three_sessions(servers)
    books = await connect(servers.redis_url, servers.pg_dsn)

    class Overtaken(CountingTotals):
        """Sees a record that closes a session after the store was asked."""

        def _take(self, walk: Any, account: str, fields: list[Any]) -> None:
            if account == "alice" and not walk.told:
                closed = max(calls[SHARD], key=lambda call: call.id)
                assert closed.session_after is not None
                closed.session_after.state = SessionState.CLOSED
                self.see(SHARD, closed)
            super()._take(walk, account, fields)

    totals = Overtaken(OnePrimary(books.redis))
    await _all(totals, heads)
    assert totals.sessions == 1
    await close(books)


async def test_another_epoch_begins_anew(servers: Servers) -> None:
    heads, calls = await _three_sessions(servers)
    books = await connect(servers.redis_url, servers.pg_dsn)
    totals = CountingTotals(OnePrimary(books.redis))
    await _all(totals, heads)
    call = calls[SHARD][-1]
    totals.see(SHARD, call)
    before = totals.complete
    call.id = RecordId(call.id.epoch + 1, 0)
    totals.see(SHARD, call)
    assert (before, totals.complete) == (True, False)
    await _all(totals, heads)
    assert totals.sessions == 2
    await close(books)


async def test_too_many_are_not_kept(servers: Servers) -> None:
    heads, calls = await _three_sessions(servers)
    books = await connect(servers.redis_url, servers.pg_dsn)
    totals = CountingTotals(OnePrimary(books.redis), open_max=1)
    await totals.look(heads)
    assert (totals.over, totals.complete, totals.sessions) == (True, False, 0)
    totals.see(SHARD, calls[SHARD][-1])
    assert await totals.look(heads) == 0
    await close(books)
