"""What the keeper measures: the lag also while PostgreSQL is away, what is stopped, and what the store itself holds."""

import contextlib
from typing import Any

import structlog

from balances import keys
from balances.ledger.writer import AWAY
from balances.packing import ACCOUNT_FIELD, fresh_account
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
        other = LagWatch(both.books.redis, both.books.pool, both.keeper.standing, now_ms)
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
    async with keeping(servers) as both:
        closed = session_of("s;2", forget_ms=now_ms() + 3_600_000)
        await both.books.move("bob", 5, session=closed)
        await both.until(lambda: both.keeper.totals.complete and both.keeper.totals.sessions == 2)
        assert (both.keeper.totals.holds, both.keeper.totals.held_micro["EUR"]) == (2, 50)


async def _in_dollars(both: Both, name: str, session: str) -> None:
    await both.books.redis.hset(keys.account(name), ACCOUNT_FIELD, pack(fresh_account(name, "USD")))
    await both.books.move(name, 0, session=session_of(session, held=70), currency="USD")
    await both.due({keys.due_member(name, session): now_ms() + 600_000}, name)


async def test_one_keeper_counts_for_all(servers: Servers) -> None:
    async with keeping(servers) as one, keeping(servers) as other:
        await open_session(one, "alice", "s;1", now_ms() + 600_000)
        await one.until(lambda: one.keeper.totals.complete != other.keeper.totals.complete)


async def test_only_what_has_moved_is_looked_at_again(servers: Servers) -> None:
    async with keeping(servers) as both:
        await open_session(both, "alice", "s;1", now_ms() + 600_000)
        await both.until(lambda: both.keeper.totals.complete and both.keeper.totals.sessions == 1)
        heads = dict(both.keeper.watch.heads)
    looked: list[int] = []

    class Counting(Totals):
        async def _counted(self, part: Any, accounts: Any) -> Any:
            looked.extend(map(keys.shard_of, accounts))
            return await super()._counted(part, accounts)

    books = await connect(servers.redis_url, servers.pg_dsn)
    totals = Counting(books.redis)
    await totals.walk(heads)
    assert (looked, totals.sessions) == ([SHARD], 1)
    await totals.walk(heads)
    assert looked == [SHARD]
    await close(books)
