"""The real scripts write what this folder reads: posted, copied, proved; wiped, restored, proved again."""

from balances.ledger.reader import StreamReader
from balances.ledger.restore import find_once, restore
from balances.ledger.verify import verify
from balances.packing import fresh_account
from balances.redis.connection import RedisConnection
from balances.redis.primaries import plain
from balances.redis.store import Store
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, Post, Posting, RestoredKey
from ocs.clock import now_ms
from tests.balances.ledger.books import LedgerStores, pack


async def test_there_and_back(books: LedgerStores, redis_url: str) -> None:
    await books.open(now_ms() // 1_000)
    link = RedisConnection(redis_url, now_ms=now_ms)
    await link.start(5)
    store = Store(link)
    opening = AccountOpening(raw_of(pack(fresh_account("alice", "EUR"))), [], [], now_ms(), "open")
    assert (await store.open("alice", opening).wait()).status == "ok"
    top_up = Posting(MAIN, 0, 5_000_000, "top-up", "top-up")
    bundle = Posting(-1, 1, 1_000, "top-up", "bundle", until_ms=now_ms() + 60_000)
    post = Post("alice", "k1", "f", now_ms(), 86_400_000, "tester", "because", "", [top_up, bundle])
    assert (await store.post(post).wait()).status == "ok"
    while (await books.sync.step()).written:
        pass
    report = await verify(books.redis, books.pool)
    assert (report.findings, report.accounts, report.entries) == ([], 1, 2)
    before = await books.account("alice")
    await link.stop()

    await books.redis.flushall()
    await books.open(now_ms() // 1_000 + 1)
    assert (await StreamReader(plain(books.redis)).server()).published_epoch == books.epoch
    back = await restore(books.pool, "alice", now_ms=now_ms())
    assert back is not None
    assert back.account == before
    answers = [RestoredKey(key, raw_of(pack(once)), until_ms) for key, once, until_ms in back.answers]
    link = RedisConnection(redis_url, now_ms=now_ms)
    await link.start(5)
    store = Store(link)
    opening = AccountOpening(raw_of(pack(back.account)), [], answers, now_ms(), "restore")
    assert (await store.open("alice", opening).wait()).status == "ok"
    assert (await store.post(post).wait()).status == "again"  # the answer came back too
    assert await find_once(books.pool, "alice", "k1") is not None
    post.key = "k2"
    assert (await store.post(post).wait()).status == "ok"
    while (await books.sync.step()).written:
        pass
    report = await verify(books.redis, books.pool)
    assert (report.findings, report.entries, books.alarms) == ([], 4, [])
    await link.stop()
