"""The keeper against real servers: it opens, copies, sweeps, reauthorizes, and comes back from what it loses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog
from redis.asyncio import Redis

from balances import keys
from balances.ledger.months import Month, partitions
from balances.ledger.reader import StreamReader
from balances.ledger.supervision import PUT_OFF_MS, SessionRequest
from balances.redis.clients import slow_client
from balances.redis.connection import RedisConnection
from balances.redis.pending import ended
from balances.redis.primaries import OnePrimary, Primary, plain
from balances.redis.replicas import ReplicaPromise
from balances.redis.scripts import LIBRARY
from balances.redis.store import Store
from ocs.clock import now_ms
from ocs.keeper.counts import KeeperStats
from ocs.keeper.expire import SWEEP_SHARD_MAX
from ocs.keeper.keeper import Keeper
from ocs.keeper.metrics import kept_counts
from ocs.keeper.settling import UNFINISHED_MS
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter
from tests.balances.ledger.books import LedgerStores, close, connect, session_of
from tests.servers import Servers


class Both:
    """A keeper, and the books of one who looks over its shoulder."""

    def __init__(self, books: LedgerStores, keeper: Keeper, link: RedisConnection) -> None:
        self.books, self.keeper, self.link = books, keeper, link

    async def until(self, check: Callable[[], Any], wait_s: float = 60.0) -> None:
        async with asyncio.timeout(wait_s):
            while True:
                found = check()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.02)

    async def due(self, members: dict[str, int], account: str) -> None:
        """Beside their records, where the scripts write both at once: so it is told as news."""
        shard = keys.shard_of(account)
        await self.books.redis.zadd(keys.due(shard), members)
        await self.books.redis.publish(keys.NEWS, bytes([shard]))

    async def opened(self) -> None:
        """Use the epoch that is open, as a worker would."""
        self.books.epoch = (await StreamReader(plain(self.books.redis)).server()).published_epoch


@contextlib.asynccontextmanager
async def keeping(servers: Servers, *, wait: bool = True, **settings: Any) -> AsyncIterator[Both]:
    books = await connect(servers.redis_url, servers.pg_dsn)
    link = RedisConnection(servers.redis_url, now_ms=now_ms)
    await link.start(0.05)
    keeper = Keeper(books.redis, books.pool, Store(link), logger(), now_ms=now_ms, token=str(id(link)), **settings)
    await keeper.start()
    both = Both(books, keeper, link)
    if wait:
        await both.until(lambda: keeper.why == "")
        await both.opened()
    try:
        yield both
    finally:
        await keeper.stop()
        await link.stop()
        await close(books)


async def test_it_opens_copies_and_measures(servers: Servers) -> None:
    async with keeping(servers) as both:
        for i in range(200):
            await both.books.move(f"acct-{i % 7}", 1)
        await both.until(lambda: both.keeper.stats.copied == 200)
        assert await both.books.count("ledger_entries") == 200
        await both.until(lambda: both.keeper.watch.now.lag_entries == 0 == both.keeper.watch.now.lag_ms)
        assert (both.keeper.stats.openings, both.keeper.stats.alarms) == (1, 0)


async def test_months_have_their_tables_before_the_first_record(servers: Servers) -> None:
    """Also where the shards are shut at the start: otherwise they would be looked for again an hour later."""
    books = await connect(servers.redis_url, servers.pg_dsn)
    await books.redis.replicaof("127.0.0.1", 1)
    try:
        async with keeping(servers, wait=False) as both:

            async def made() -> bool:
                return Month.at(now_ms()) in [month for _, month in await partitions(books.pool, "calls")]

            await both.until(made)
            assert both.keeper.why
    finally:
        await books.redis.replicaof("NO", "ONE")
        await close(books)


async def test_it_deletes_libraries_that_nobody_uses(servers: Servers) -> None:
    """Those of a version that is gone; the one in use stays."""
    async with Redis.from_url(servers.redis_url, protocol=2) as client:
        await client.function_load("#!lua name=ocs_gone\nredis.register_function('gone', function() return 1 end)")
    async with keeping(servers) as both:

        async def gone() -> bool:
            listed = await both.books.redis.execute_command("FUNCTION", "LIST", "LIBRARYNAME", "ocs_*")
            return [one[1].decode() for one in listed] == [LIBRARY.name]

        await both.until(gone, 30)


async def test_it_counts_the_money_that_is_posted_and_the_room_there_is(servers: Servers) -> None:
    async with keeping(servers) as both:
        stats = both.keeper.stats
        await both.books.move("acct-1", 20_000_000)
        await both.books.move("acct-1", -500_000)
        await both.until(lambda: stats.copied >= 2 and stats.stream_entries > 0)
        assert {(direction, currency): micro for (_, direction, currency), micro in stats.posted.items()} == {
            ("in", "EUR"): 20_000_000,
            ("out", "EUR"): 500_000,
        }
        assert stats.memory_bytes > 0
        assert stats.memory_limit_bytes >= 0


async def test_it_counts_what_accounts_owe_by_currency(servers: Servers) -> None:
    """Each state of accounts is found; a keeper that does not copy tells nothing."""
    async with keeping(servers) as both:
        keeper, meter = both.keeper, Meter()
        tell = kept_counts(keeper, meter)
        await both.books.pool.execute(
            "INSERT INTO standings VALUES ('d1', 'EUR', 0, -5000000), ('d2', 'EUR', 4, -1), ('d3', 'EUR', 4, 9000000),"
            " ('d4', 'USD', 0, 7), ('d5', 'CHF', 1, -30)"
        )
        await keeper._look_at_debts()
        tell()
        told = {one.labels[0]: one.values[0] for one in meter.snapshot() if one.name == "ocs_owed_money"}
        assert told == {"EUR": 5_000_001, "USD": 0, "CHF": 30}
        assert keeper.owed["EUR"].accounts == 2
        keeper._leases.has = lambda _name: False  # type: ignore[method-assign, assignment]  # another one copies
        await keeper._look_at_debts()
        tell()
        assert not [one for one in meter.snapshot() if one.name == "ocs_owed_money"]


async def test_two_keepers_on_one_store(servers: Servers) -> None:
    async with keeping(servers) as one, keeping(servers) as other:
        for i in range(300):
            await one.books.move(f"acct-{i % 7}", 1)
        await one.until(lambda: one.keeper.stats.copied + other.keeper.stats.copied == 300)
        assert await one.books.count("calls") == 300
        assert one.keeper.stats.openings + other.keeper.stats.openings == 1
        await one.keeper.stop()
        await other.books.move("acct-1", 1)
        await other.until(lambda: one.keeper.stats.copied + other.keeper.stats.copied == 301)
        assert one.keeper.stats.alarms + other.keeper.stats.alarms == 0


async def test_the_live_store_restarts(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 5)
        servers.valkey.restart()
        await both.until(lambda: both.keeper.stats.openings == 2)
        await both.until(lambda: both.keeper.why == "")
        await both.opened()
        await both.books.move("alice", 6)
        await both.until(lambda: both.books.count("calls"), 5)
        await both.until(lambda: both.keeper.stats.copied == 2)
        assert await both.books.balance("alice") == 11


async def test_a_wiped_store_under_the_same_history(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        with structlog.testing.capture_logs() as logs:
            await both.books.redis.flushall()
            await both.until(lambda: both.keeper.stats.openings == 2)
        older = [line for line in logs if line["event"] == "keeper.store_came_back_older"]
        assert [line["shards"] for line in older] == [1]
        assert both.keeper.stats.alarms == 0


async def test_the_stored_format_is_there_before_the_shards_of_a_wiped_store_are_open(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that finds none takes the oldest one, and would write in it."""

    async def later(_keeper: Keeper) -> None:
        """So that it does not happen to be in time."""

    monkeypatch.setattr(Keeper, "_go_on_with_format", later)
    async with keeping(servers) as both:
        await both.books.redis.flushall()
        async with asyncio.timeout(60):
            published = format_ = None
            while published is None:
                pipe = both.books.redis.pipeline(transaction=True)
                published, format_ = await pipe.get(keys.published(7)).get(keys.FORMAT).execute()
        assert format_ is not None


async def test_postgres_goes_and_comes(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        servers.postgres.stop()
        heard = both.books.redis.pubsub()
        await heard.subscribe(keys.SESSION_REQUESTS)
        line = session_of("s;1", held=5)
        line.lines[0].final = True
        await both.books.move("alice", -1, session=line)
        await both.books.move("alice", 50, reauthorize=["final"])
        requests = [one async for one in listen(heard, 1)]  # it does not wait for PostgreSQL
        assert [(one.kind, one.session, one.peer) for one in requests] == [("rar", "s;1", "pgw")]
        assert both.keeper.why == ""
        await heard.aclose()
        servers.postgres.start()
        await both.until(lambda: both.keeper.stats.copied == 3, 30)
        assert await both.books.balance("alice") == 54
        assert both.keeper.stats.alarms == 0


async def listen(pubsub: Any, count: int) -> AsyncIterator[SessionRequest]:
    async with asyncio.timeout(10):
        async for message in pubsub.listen():
            if message["type"] == "message":
                yield msgspec.msgpack.decode(message["data"], type=SessionRequest)
                count -= 1
                if not count:
                    return


async def test_a_restart_of_redis_without_postgres_stays_shut(servers: Servers) -> None:
    async with keeping(servers) as both:
        servers.postgres.stop()
        servers.valkey.restart()
        await both.until(lambda: "without PostgreSQL" in both.keeper.why)
        assert (await StreamReader(plain(both.books.redis)).server()).published_epoch == 0
        servers.postgres.start()
        await both.until(lambda: both.keeper.stats.openings == 2, 30)


async def test_unless_the_operator_chose_otherwise(servers: Servers) -> None:
    async with keeping(servers, without_postgres=True) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        servers.postgres.stop()
        servers.valkey.restart()
        await both.until(lambda: both.keeper.stats.alarms == 1)
        await both.until(lambda: both.keeper.why == "")
        await both.opened()
        await both.books.move("alice", 6)
        servers.postgres.start()
        await both.until(lambda: both.keeper.stats.openings == 2, 30)
        await both.until(lambda: both.keeper.stats.copied == 2)
        assert await both.books.balance("alice") == 11
        assert (both.keeper.stats.orphaned, both.keeper.stats.alarms) == (0, 1)


class ReplacedPrimary(OnePrimary):
    """One server, which is said to be of this failover epoch."""

    looks = 0

    def say(self, config_epoch: int) -> None:
        self._it = self._it._replace(config_epoch=config_epoch)

    async def look(self) -> None:
        self.looks += 1


async def test_a_primary_that_was_replaced_is_not_opened_without_postgres(servers: Servers) -> None:
    """The operator chose to have no proof; not to go back to a server of which it is known that another one replaced
    it."""
    redis = slow_client(servers.redis_url)
    primaries = ReplacedPrimary(redis)
    primaries.say(2)
    async with keeping(servers, without_postgres=True, primaries=primaries) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        primaries.say(1)
        said = primaries.looks
        await both.until(lambda: primaries.looks > said + 1)  # what came of the first is done
        servers.postgres.stop()
        servers.valkey.restart()
        await both.until(lambda: "a newer master of 256 shards was open before" in both.keeper.why)
        assert both.keeper.stats.alarms == 0
        primaries.say(2)
        await both.until(lambda: both.keeper.why == "")
        assert both.keeper.stats.alarms == 1
        servers.postgres.start()
        await both.until(lambda: both.keeper.stats.openings == 2, 30)
    await redis.aclose()


class FourPrimaries(OnePrimary):
    """As of a cluster: each with a quarter of the shards."""

    def all(self) -> Sequence[Primary]:
        parts = [frozenset(range(first, first + 64)) for first in range(0, keys.SHARDS, 64)]
        return [Primary(f"primary {min(part)}", self._it.client, part, clustered=True) for part in parts]


async def test_openings_leave_one_another_connections(servers: Servers) -> None:
    """An opening keeps a connection for its lock and needs a second one. Four at once, with two connections for all of
    them, are opened all the same."""
    redis = slow_client(servers.redis_url)
    link = RedisConnection(servers.redis_url, now_ms=now_ms)
    await link.start(0.05)
    async with asyncpg.create_pool(servers.pg_dsn, min_size=0, max_size=2) as pool:
        keeper = Keeper(
            redis, pool, Store(link), logger(), now_ms=now_ms, token="t", primaries=FourPrimaries(redis)
        )  # fmt: skip
        starting = asyncio.create_task(keeper.start())
        try:
            async with asyncio.timeout(60):
                while len(keeper.copies.open_shards) < keys.SHARDS:
                    await asyncio.sleep(0.02)
            await starting
            assert keeper.stats.openings == 4
        finally:
            await ended((starting,))
            await keeper.stop()
    await link.stop()
    await redis.aclose()


async def test_a_store_with_fewer_replicas_than_are_promised_is_not_opened(servers: Servers) -> None:
    async with keeping(servers, wait=False, durability="replicated", promise=ReplicaPromise(2)) as both:
        await both.until(lambda: "it has 0 replicas, and redis.replicas is 2" in both.keeper.refused)
        assert both.keeper.stats.openings == 0


async def test_a_gap_is_closed_by_a_new_opening(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        stream = keys.ledger(keys.shard_of("alice"))
        async with both.books.redis.pipeline(transaction=True) as pipe:  # what no keeper would do
            record = (await both.books.redis.xrange(stream))[0][1]
            pipe.xadd(stream, record, id=f"{both.books.epoch}-7")
            pipe.xtrim(stream, maxlen=1, approximate=False)
            await pipe.execute()
        await both.until(lambda: both.keeper.stats.openings == 2)
        assert both.keeper.stats.recovered == 1


async def open_session(both: Both, account: str, session: str, due_ms: int) -> None:
    """A session with a hold that expires at `due_ms`, as charge.lua leaves it."""
    state = session_of(session, held=50)
    state.lines[0].due_ms, state.due_ms, state.touched_ms = due_ms, due_ms, due_ms
    await both.books.move(account, 1_000)
    await both.books.redis.set(keys.where(session), keys.place(account, "sub"))
    # The script does both at once: whoever finds the record finds the member.
    await both.books.redis.zadd(keys.due(keys.shard_of(account)), {keys.due_member(account, session): due_ms})
    await both.books.move(account, 0, session=state, at_ms=due_ms)
    await both.due({keys.due_member(account, session): due_ms}, account)


async def test_what_is_due_is_swept(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        await open_session(both, "alice", "s;1", now_ms() - 10)
        await open_session(both, "bob", "s;2", now_ms() + 60_000)
        await both.until(lambda: both.keeper.stats.swept == 1)
        alice, bob = await both.books.account("alice"), await both.books.account("bob")
        assert alice is not None
        assert bob is not None
        assert (alice.buckets[0].held, bob.buckets[0].held) == (0, 50)
        assert await both.books.redis.exists(keys.where("s;1"))  # known for another hour


async def test_what_cannot_be_swept_keeps_nobody_behind_it_and_fills_no_log(servers: Servers) -> None:
    """A sweep looks at a bounded number of each shard, soonest first."""
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        due = keys.due(keys.shard_of("alice"))
        broken = [f"broken;{number}" for number in range(SWEEP_SHARD_MAX)]
        await both.books.redis.hset(keys.account("alice"), mapping=dict.fromkeys(broken, b"\xc1"))
        await both.due({keys.due_member("alice", name): 1 for name in broken}, "alice")
        await open_session(both, "alice", "s;1", now_ms() - 10)
        await both.until(lambda: both.keeper.stats.swept == 1)
        assert both.keeper.stats.failures["sweep",] >= SWEEP_SHARD_MAX
        assert both.keeper.stats.alarms == 0  # no proof failed
        assert both.keeper.stats.sweep_lag_ms > 0
        assert await both.books.redis.zcount(due, now_ms() + PUT_OFF_MS // 2, "+inf") >= SWEEP_SHARD_MAX


async def test_a_store_of_another_size_is_never_opened(servers: Servers) -> None:
    """256 shards are fixed when a store is created: with another number none is found."""
    books = await connect(servers.redis_url, servers.pg_dsn)
    await books.pool.execute("UPDATE store SET shards = 512")
    try:
        async with keeping(servers, wait=False) as both:
            await both.until(lambda: both.keeper.refused == "this store has 512 shards, this version works with 256")
            assert (both.keeper.why, both.keeper.stats.openings) == (both.keeper.refused, 0)
    finally:
        await books.pool.execute("UPDATE store SET shards = 256")
        await close(books)


async def test_what_loses_its_cancellation_ends_all_the_same() -> None:
    """A client that is in the middle of a connect may swallow it; a keeper that stops must not wait for ever."""

    async def swallows(times: int) -> None:
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                times -= 1
                if times < 0:
                    raise

    async def fails() -> None:
        raise ValueError

    async with asyncio.timeout(10):
        await ended([asyncio.create_task(one) for one in (swallows(1), swallows(0), fails())])
    await ended(())


async def test_all_that_a_keeper_counts_is_a_metric(servers: Servers) -> None:
    async with keeping(servers) as both:
        meter = Meter()
        kept_counts(both.keeper, meter)()
        numbers = [field for field, kind in KeeperStats.__annotations__.items() if kind == "int"]
        for place, field in enumerate(numbers, 1_000):
            setattr(both.keeper.stats, field, place)
        kept_counts(both.keeper, meter)()
        told = {series.values[0] for series in meter.snapshot()}
        assert {field for place, field in enumerate(numbers, 1_000) if place not in told} == set()


async def test_a_session_that_is_forgotten_leaves_nothing_behind(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        closed = session_of("s;1", forget_ms=now_ms() - 1)
        await both.books.move("alice", 5, session=closed)
        due = keys.due(keys.shard_of("alice"))
        await both.books.redis.set(keys.where("s;1"), keys.place("alice", "sub"))
        await both.due({keys.due_member("alice", "s;1"): now_ms() - 1}, "alice")
        await both.until(lambda: gone(both, keys.where("s;1"), due))
        assert not await both.books.redis.hexists(keys.account("alice"), "s;1")


async def test_where_a_session_is_outlives_it_when_another_account_has_it(servers: Servers) -> None:
    """The Session-Id was used again for somebody else: what is swept here must not hide it there."""
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        await both.books.move("alice", 5, session=session_of("s;1", forget_ms=now_ms() - 1))
        await both.books.move("bob", 5, session=session_of("s;1"))
        await both.books.redis.set(keys.where("s;1"), keys.place("bob", "sub"))
        due = keys.due(keys.shard_of("alice"))
        await both.due({keys.due_member("alice", "s;1"): now_ms() - 1}, "alice")
        await both.until(lambda: gone(both, due))
        assert not await both.books.redis.hexists(keys.account("alice"), "s;1")
        assert await both.books.redis.get(keys.where("s;1")) == keys.place("bob", "sub").encode()


async def gone(both: Both, *names: str) -> bool:
    return not await both.books.redis.exists(*names)


async def test_an_absence_extends_deadlines(servers: Servers) -> None:
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        await both.books.redis.set("keeper:alive", now_ms() - 600_000)
    await prepare_absence(servers, away_ms=600_000)
    async with keeping(servers) as both:
        await both.until(lambda: both.link.epoch is not None)
        await open_session(both, "alice", "s;1", now_ms() - 300_000)
        await open_session(both, "bob", "s;2", now_ms() - 700_000)
        await both.until(lambda: both.keeper.stats.swept == 1)
        await asyncio.sleep(1.5)
        alice, bob = await both.books.account("alice"), await both.books.account("bob")
        assert alice is not None
        assert bob is not None
        assert (alice.buckets[0].held, bob.buckets[0].held) == (50, 0)


async def prepare_absence(servers: Servers, *, away_ms: int) -> None:
    books = await connect(servers.redis_url, servers.pg_dsn)
    await books.redis.set("keeper:alive", now_ms() - away_ms)
    await books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
    await close(books)


async def test_accounts_an_opening_removed_come_back_by_themselves(servers: Servers) -> None:
    back = []

    async def bring_in(account: str) -> None:
        back.append(account)

    async with keeping(servers, bring_in=bring_in) as both:
        await both.books.move("alice", 5)
        await both.until(lambda: both.keeper.stats.copied == 1)
        await both.books.redis.delete(keys.ledger(keys.shard_of("alice")))
        await both.books.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
        await both.until(lambda: back == ["alice"])
        await both.until(lambda: both.keeper.stats.restored == 1)


async def test_a_decision_about_suspense_that_nobody_finished_is_carried_out_once(servers: Servers) -> None:
    """Whoever decided it died before its entry was posted."""
    async with keeping(servers) as both:
        await both.books.move("alice", 1_000)
        await both.books.pool.execute(
            "INSERT INTO suspense (id, subscriber, session, service, request_key, rating_group, service_id, unit,"
            " amount, currency, set_aside, at_ms, last_ms, state, payer, charge, decided_by, decided_ms, reason)"
            " VALUES ('1', '', 's;1', 'data', '', 1, 1, 1, 1, 'EUR', 1, 1, 1, 'charging', 'alice', 250, 'eve', $1, '')",
            now_ms() - UNFINISHED_MS - 1,
        )

        async def charged() -> bool:
            return bool(await both.books.pool.fetchval("SELECT state = 'charged' FROM suspense"))

        await both.until(charged, 60)
        await both.keeper._settle()
        assert await both.books.balance("alice") == 750
        assert both.keeper.stats.alarms == 0
