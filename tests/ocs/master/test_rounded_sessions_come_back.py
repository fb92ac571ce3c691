"""charging.md section 4, "Rounding of a session": the sum that is rounded belongs to the session, so a session that is
lost by the live store, or that moves with its shard, costs what it would have cost without that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import msgspec
import pytest

from balances import keys
from balances.packing import fresh_account
from balances.redis.connection import RedisConnection
from balances.redis.store import Store
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.charge import Ask, Course, Cumulative, Outcome, Phase, UsageReport
from balances.structs.posting import AccountOpening, Post, Posting
from balances.structs.session import RoundedSum, Session
from ocs.clock import now_ms
from ocs.master.bring_in import bring_in
from tariffs.units import Kind, SumRounding
from tests.balances.ledger.books import LedgerStores, close, connect, pack, unpack_session
from tests.balances.rules.account_harness import ask, charge_of, ladder, money, timed, use
from tests.balances.rules.test_random_sessions import random_ladder
from tests.balances.rules.test_session_rounding import with_session
from tests.tariffs.blockwise import Blockwise, BlockwiseFunds, multiple

ACCOUNT, SESSION, MUCH = "alice", "gw;1", 10_000_000
CENTS = ladder(money(1), session=(10, SumRounding.HALF_UP))


class CutServer:
    """One account of a server whose store can be lost, or changed for another one, between two requests."""

    def __init__(self, books: LedgerStores, url: str) -> None:
        self.books, self.url = books, url
        self.at_ms, self._number = now_ms(), -1

    async def begin(self) -> None:
        await self.books.open(self.at_ms // 1_000)
        await self._connect()
        opening = AccountOpening(raw_of(pack(fresh_account(ACCOUNT, "EUR"))), [], [], self.at_ms, "open")
        assert (await self.store.open(ACCOUNT, opening).wait()).status == "ok"
        top_up = Posting(MAIN, 0, MUCH, "top-up", "top-up")
        post = Post(ACCOUNT, "k", "f", self.at_ms, 86_400_000, "tester", "", "", [top_up])
        assert (await self.store.post(post).wait()).status == "ok"

    async def _connect(self) -> None:
        self.link = RedisConnection(self.url, now_ms=now_ms)
        await self.link.start(30)
        self.store = Store(self.link)

    async def request(self, phase: Phase, *asks: Ask, **others: object) -> Outcome:
        self.at_ms, self._number = self.at_ms + 1_000, self._number + 1
        charge = charge_of(
            phase, asks, session=SESSION, number=self._number, end_to_end=1_000 + self._number, account=ACCOUNT
        )
        reply = await self.store.charge(timed(charge, self.at_ms, dict(others)), b"").wait()
        assert reply.status == "ok"
        return msgspec.msgpack.decode(reply.outcome, type=Outcome)

    async def lost(self) -> None:
        """All that the store had is gone; PostgreSQL has the account."""
        while (await self.books.sync.step()).written:
            pass
        await self.link.stop()
        await self.books.redis.flushall()
        self.at_ms += 1_000
        await self.books.open(self.at_ms // 1_000)
        await self._connect()
        assert await bring_in(self.books.pool, self.books.redis, self.store, ACCOUNT, self.at_ms) == "ok"

    async def moved(self) -> None:
        """The keys go to another store one by one, as those of a slot do that moves."""
        redis = self.books.redis
        names = await redis.keys(f"{keys.account(ACCOUNT).partition('}')[0]}}}*")
        dumped = [(name, await redis.dump(name)) for name in names]
        await redis.delete(*names)
        for name, octets in dumped:
            await redis.restore(name, 0, octets)

    async def session(self) -> Session:
        return unpack_session(await self.books.redis.hget(keys.account(ACCOUNT), SESSION))

    async def spent(self) -> int:
        account = await self.books.account(ACCOUNT)
        assert account is not None
        return MUCH - account.buckets[0].amount


Cut = Callable[[CutServer], Awaitable[None]]


@pytest.fixture
async def server(redis_url: str, pg_dsn: str) -> AsyncIterator[CutServer]:
    books = await connect(redis_url, pg_dsn)
    server = CutServer(books, redis_url)
    await server.begin()
    yield server
    await server.link.stop()
    assert books.alarms == []
    await close(books)


@pytest.mark.parametrize("cut", [CutServer.lost, CutServer.moved])
@pytest.mark.parametrize("seed", range(3))
async def test_a_session_costs_its_rounded_sum_however_often_it_is_cut(server: CutServer, cut: Cut, seed: int) -> None:
    """Three lines that are rounded together, as the rules say it: block by block, and the sum rounded."""
    rng = Random(seed)
    to, rounding = rng.choice((7, 10, 1_000)), rng.choice(list(SumRounding))
    bys = {rg: with_session(random_ladder(rng, counters=False), to, rounding) for rg in (10, 20, 30)}
    plain = {rg: msgspec.structs.replace(by, sum_to=0) for rg, by in bys.items()}
    slowly = {rg: Blockwise(by, BlockwiseFunds([(Kind.MONEY, "", MUCH)]), {}, 0, 0) for rg, by in plain.items()}
    await server.request(Phase.START, *(ask(rg, 50, by=by) for rg, by in bys.items()))
    for turn in range(8):
        if turn % 2:
            await cut(server)
        phase = Phase.UPDATE if turn < 6 else Phase.STOP  # the last ones are late
        used = {rg: rng.randrange(1, 60) for rg in rng.sample(sorted(bys), rng.randrange(1, 4))}
        await server.request(phase, *(ask(rg, 50, used=units, by=bys[rg]) for rg, units in used.items()))
        for rg, units in used.items():
            slowly[rg].use(units)
        assert await server.spent() == multiple(sum(one.cost for one in slowly.values()), to, rounding)


@pytest.mark.parametrize("cut", [CutServer.lost, CutServer.moved])
async def test_each_rounding_keeps_its_sum(server: CutServer, cut: Cut) -> None:
    up = ladder(money(1), session=(100, SumRounding.UP))
    await server.request(Phase.START, ask(10, 50, by=CENTS), ask(20, 50, by=up))
    await server.request(Phase.UPDATE, ask(10, 50, used=4, by=CENTS), ask(20, 50, used=30, by=up))
    await cut(server)
    assert (await server.session()).sums == [
        RoundedSum(10, SumRounding.HALF_UP, 4),
        RoundedSum(100, SumRounding.UP, 30),
    ]
    costs = [line.cost for line in (await server.request(Phase.STOP, use(1, 10, by=CENTS), use(71, 20, by=up))).lines]
    assert costs == [10, 100]


@pytest.mark.parametrize("cut", [CutServer.lost, CutServer.moved])
async def test_what_comes_late_of_an_incarnation_before_goes_on_with_its_sum(server: CutServer, cut: Cut) -> None:
    """charging.md section 8: the incarnations before are kept, with what each came to."""

    async def shows(token: str, course: Course, shown: int) -> int:
        one = ask(10, -1, by=CENTS)
        counter = Cumulative(1, per_second=1_000)
        one.reports.append(UsageReport(-1, shown, -1, -1, server.at_ms + 1_000, 0, [counter]))
        return (await server.request(Phase.UPDATE, one, course=course, token=token)).cost

    await shows("first", Course.BEGINS, 0)
    assert await shows("first", Course.GOES_ON, 4) == 0
    await shows("second", Course.BEGINS, 0)
    assert await shows("second", Course.GOES_ON, 3) == 0
    await cut(server)
    assert [one.sums for one in (await server.session()).bygone] == [[RoundedSum(10, SumRounding.HALF_UP, 4)]]
    assert await shows("first", Course.GOES_ON, 5) == 10
    assert await shows("second", Course.GOES_ON, 4) == 0
    assert await shows("second", Course.GOES_ON, 5) == 10
