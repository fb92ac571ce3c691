"""`ocs ledger verify` finds each thing that can be wrong, and nothing else, also beside traffic."""

import asyncio
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.ledger.restore import rebuild
from balances.ledger.verify import verify
from balances.packing import ACCOUNT_FIELD
from balances.redis.primaries import OnePrimary
from balances.structs.account import Account, Bucket, Counter
from balances.structs.blob import raw_of
from balances.structs.session import Session
from balances.structs.thresholds import ServiceSuspension
from tariffs.ladder import LIMIT_MARK, Count, Ladder, Step
from tests.balances.ledger.books import LedgerStores, pack, session_of

LADDER = Ladder((Step(price=1),), counts=(Count("month", 0), Count("spent", 1)))


def counted(session: str) -> Session:
    state = session_of(session, held=50)
    state.lines[0].ladder = raw_of(pack(LADDER))
    return state


async def filled(books: LedgerStores) -> None:
    await books.open()
    for name in ("alice", "bob"):
        await books.move(name, 1_000)
        await books.move(name, -7, session=counted(f"{name};1"))
        await change(books, name, lambda account: account.counters.extend(
            [Counter("month", 5, 100), Counter("spent", 5, 50)]))  # fmt: skip
    while (await books.sync.step()).written:
        pass


async def change(books: LedgerStores, name: str, how: Any) -> None:
    """What nothing but a fault does."""
    account = await books.account(name)
    assert account is not None
    how(account)
    await books.redis.hset(keys.account(name), ACCOUNT_FIELD, pack(account))


async def test_a_sound_store(books: LedgerStores) -> None:
    await filled(books)
    report = await verify(books.redis, books.pool)
    assert report.findings == []
    assert (report.accounts, report.entries, report.absent, report.sound) == (2, 4, 0, True)
    assert report.sums == {"EUR": {"revenue": -1_986}}
    assert report.lines()[-1] == "sound"


async def test_accounts_in_postgres_alone_are_sound_and_can_be_rebuilt(books: LedgerStores) -> None:
    await filled(books)
    await books.redis.delete(keys.account("alice"))
    report = await verify(books.redis, books.pool)
    assert (report.findings, report.absent) == ([], 1)
    brought = []

    async def bring_in(account: str) -> None:
        brought.append(account)

    assert [count async for count in rebuild(OnePrimary(books.redis), books.pool, bring_in)] == [1]
    assert brought == ["alice"]


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("DELETE FROM ledger_entries WHERE account = 'alice' AND seq = 1", {"seq", "balance", "amount"}),
        ("UPDATE ledger_entries SET amount = 999 WHERE account = 'alice' AND seq = 1", {"balance", "amount"}),
        ("UPDATE ledger_entries SET currency = 'USD' WHERE account = 'alice' AND seq = 1", {"currency"}),
        ("UPDATE ledger_entries SET counter_account = 'transit' WHERE account = 'alice' AND seq = 1", {"transit"}),
        ("DELETE FROM ledger_entries WHERE account = 'alice' AND seq = 2", {"behind", "head"}),
        ("UPDATE shards SET stopped = 'why' WHERE shard = 7", {"stopped"}),
        ("UPDATE account_heads SET seq = 3 WHERE account = 'alice'", {"head"}),
        ("UPDATE account_heads SET afters = '{}' WHERE account = 'alice'", {"head"}),
        ("UPDATE account_heads a SET state = b.state FROM account_heads b WHERE b.account = 'bob'", {"head"}),
        ("DELETE FROM account_heads WHERE account = 'alice'", {"head"}),
    ],
)
async def test_a_fault_in_postgres(books: LedgerStores, sql: str, what: set[str]) -> None:
    await filled(books)
    await books.pool.execute(sql)
    report = await verify(books.redis, books.pool, patience_s=0)
    assert {found.what for found in report.findings} == what
    assert not report.sound
    assert report.lines()[-1] == f"{len(report.findings)} findings"


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (lambda account: setattr(account.buckets[0], "amount", 992), {"amount"}),
        (lambda account: setattr(account.buckets[0], "held", 49), {"held"}),
        (lambda account: setattr(account.counters[0], "held", 99), {"held"}),
        (lambda account: setattr(account.counters[1], "held", 51), {"held"}),
        (lambda account: setattr(account, "counters", []), {"held"}),
        (lambda account: setattr(account, "seq", 3), {"behind"}),
        (lambda account: account.buckets.append(Bucket(9, 1, 5)), {"amount"}),
        (lambda account: setattr(account, "generation", 1), {"state"}),
        (lambda account: account.counters.append(Counter(f"{LIMIT_MARK}anna|day|2026-11-30", 7, 0)), {"state"}),
        (lambda account: account.services.append(ServiceSuspension("voice", 0, 0)), {"state"}),
    ],
)
async def test_a_fault_in_redis(books: LedgerStores, how: Any, what: set[str]) -> None:
    await filled(books)
    await change(books, "bob", how)
    report = await verify(books.redis, books.pool, patience_s=0)
    assert {found.what for found in report.findings} == what
    assert {found.account for found in report.findings} == {"bob"}


async def test_it_waits_for_what_is_on_its_way(books: LedgerStores) -> None:
    await filled(books)
    stop = False

    async def traffic() -> None:
        while not stop:
            await books.move("alice", 1)
            await asyncio.sleep(0.005)
            await books.move("bob", 0, session=counted("bob;1"))

    async def copying() -> None:
        while not stop:
            await books.sync.step()
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(traffic()), asyncio.create_task(copying())]
    for _ in range(5):
        assert (await verify(books.redis, books.pool, patience_s=60)).findings == []
    stop = True
    await asyncio.gather(*tasks)
    assert msgspec.msgpack.decode(await books.redis.hget(keys.account("alice"), ACCOUNT_FIELD), type=Account).seq > 10
