"""Hints save looks and nothing rests on them; what is urgent waits for no pace; who has nothing to do asks nothing."""

import asyncio
from typing import Any

import msgspec

from balances import keys
from balances.ledger.reader import Pulse, StreamReader
from balances.ledger.supervision import SessionRequest
from balances.redis.primaries import plain
from balances.redis.store import Store
from balances.structs.account import MAIN
from balances.structs.posting import Post, Posting
from ocs.clock import now_ms
from ocs.keeper.keeper import Paces
from ocs.keeper.news import News
from tests.balances.ledger.books import session_of
from tests.ocs.keeper.test_keeper import Both, keeping, open_session
from tests.servers import Servers

NEVER_S = 3_600.0
LONG = Paces(copy_s=NEVER_S, look_s=NEVER_S)


async def test_what_nobody_hinted_at_is_copied(servers: Servers) -> None:
    """The stand-in for the scripts writes records and says nothing to anybody."""
    async with keeping(servers, paces=Paces(copy_s=0.01)) as both:
        for number in range(40):
            await both.books.move(f"acct-{number}", 1)
        await both.until(lambda: both.keeper.stats.copied == 40)


async def test_what_time_ends_needs_no_hint(servers: Servers) -> None:
    """A member is written with its record, and the store has counted that."""
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        await open_session(both, "alice", "s;1", now_ms() + 600_000)
        await both.until(lambda: not both.keeper._news.expire)
        shard = keys.shard_of("alice")
        await both.books.redis.zadd(keys.due(shard), {keys.due_member("alice", "s;1"): now_ms() - 10})
        await both.books.move("bob", 1)  # a record of whichever shard
        await both.until(lambda: shard not in both.keeper._expirer._soonest or both.keeper.stats.sweep_lag_ms > 0)


async def test_equal_pulses_say_that_nothing_was_written(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        await both.books.move("alice", 1)
        await both.until(lambda: both.keeper.stats.copied == 1)
        reader = StreamReader(plain(both.books.redis))
        before = await reader.pulse()
        await both.books.redis.set("anything", 1)
        assert await reader.pulse() == before
        assert (await Store(both.link).post(top_up("alice", 50)).wait()).status == "ok"  # a call of XADD in a function
        after = await reader.pulse()
        assert (after.server, after.appended) == (before.server, (before.appended or 0) + 1)
        await both.books.redis.config_resetstat()
        assert (await reader.pulse()).appended == 0


async def test_who_cannot_say_what_was_written_is_asked_everything(servers: Servers) -> None:
    async with keeping(servers, paces=LONG) as both:
        news, reader = News(both.books.redis, lambda: None), StreamReader(plain(both.books.redis))

        def told(pulse: Pulse) -> int:
            news.copy.clear()
            news.felt(plain(both.books.redis), pulse)
            return len(news.copy)

        pulse = await reader.pulse()
        assert [told(pulse), told(pulse)] == [keys.SHARDS, 0]
        assert told(pulse._replace(appended=(pulse.appended or 0) + 1)) == keys.SHARDS
        unknown = pulse._replace(appended=None)
        assert [told(unknown), told(unknown)] == [keys.SHARDS, keys.SHARDS]
        another = pulse._replace(server=pulse.server._replace(replid="another"))
        assert [told(another), told(another)] == [keys.SHARDS, 0]


async def test_cursors_that_a_person_moved_have_all_looked_at_again(servers: Servers) -> None:
    """Nothing is written, so only PostgreSQL says so; as after a restore of a backup."""
    async with keeping(servers) as both:
        await both.books.move("alice", 1)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await both.until(lambda: both.keeper.watch.now.well and not both.keeper._news.stirred)
        shard = keys.shard_of("alice")
        await both.books.pool.execute("DELETE FROM calls WHERE shard = $1 AND account = 'alice'", shard)
        await both.books.pool.execute("DELETE FROM usage_records WHERE shard = $1", shard)
        await both.books.pool.execute("DELETE FROM ledger_entries WHERE shard = $1", shard)
        await both.books.pool.execute("DELETE FROM account_heads WHERE shard = $1", shard)
        await both.books.pool.execute("UPDATE shards SET cursor_n = cursor_n - 1 WHERE shard = $1", shard)
        await both.until(lambda: both.keeper.stats.copied == 2, 30.0)
        assert await both.books.balance("alice") == 1


async def test_hints_that_are_lost_are_heard_again(servers: Servers) -> None:
    async with keeping(servers) as both:
        await hears(both)
        await both.books.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await both.books.move("alice", 1)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await hears(both)


async def test_a_keeper_that_comes_back_copies_what_was_written_meanwhile(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 1)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await both.keeper.stop()
        await both.books.move("alice", 1)
        async with keeping(servers) as other:
            await other.until(lambda: other.keeper.stats.copied == 1)
            assert await other.books.balance("alice") == 2
            assert other.keeper.stats.openings == 0


async def test_who_waits_for_money_is_asked_at_once(servers: Servers) -> None:
    """The process that posts wakes the keeper: no pace of reading the streams is waited for, nor PostgreSQL."""
    async with keeping(servers, paces=LONG) as both:
        await both.until(lambda: both.link.epoch is not None)
        await both.until(lambda: both.keeper.copies._each[0].sync.cursors is not None)
        await hears(both)
        servers.postgres.stop()
        heard = both.books.redis.pubsub()
        await heard.subscribe(keys.SESSION_REQUESTS)
        waiting = session_of("s;1", held=5)
        waiting.lines[0].final = True
        await both.books.move("alice", 100, session=waiting)
        copied = both.keeper.stats.copied
        reply = await Store(both.link).post(top_up("alice", 50)).wait()
        assert reply.status == "ok"
        asked = await first(heard)
        assert (asked.kind, asked.session) == ("rar", "s;1")
        assert both.keeper.stats.copied == copied
        await heard.aclose()
        servers.postgres.start()


async def test_an_idle_keeper_asks_the_store_little(servers: Servers) -> None:
    """Counted, not timed. Twenty looks a second at 256 streams and 256 sorted sets were 600 commands a second."""
    async with keeping(servers) as both:
        await both.books.move("alice", 1)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await asyncio.sleep(6)
        before = await commands(both)
        seconds = 10
        await asyncio.sleep(seconds)
        spent = {name: count - before.get(name, 0) for name, count in (await commands(both)).items()}
        assert sum(spent.values()) < 80 * seconds, spent
        assert spent.get("xread", 0) <= 1  # nothing was written, so no stream is read
        assert spent.get("zrange", 0) <= keys.SHARDS
        assert spent.get("info", 0) <= 5 * seconds  # the check of a fence, and whether something was written
        assert spent.get("xrevrange", 0) <= keys.SHARDS  # heads are read when something moved


def top_up(account: str, amount: int) -> Post:
    posting = Posting(MAIN, 0, amount, "world", "top-up")
    return Post(account, "", "f", now_ms(), 60_000, "me", "", "", [posting])


async def hears(both: Both) -> None:
    """Until the keeper hears what is published."""

    async def listening() -> bool:
        return bool(await both.books.redis.publish(keys.NEWS, b""))

    await both.until(listening)


async def first(heard: Any) -> SessionRequest:
    async with asyncio.timeout(30):
        async for message in heard.listen():
            if message["type"] == "message":
                return msgspec.msgpack.decode(message["data"], type=SessionRequest)
    raise AssertionError


async def commands(both: Both) -> dict[str, int]:
    """How often each was called so far."""
    found = await both.books.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in found.items()}
