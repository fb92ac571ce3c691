"""What was acknowledged and is in no store is named: only who gave the answer knows that it was given."""

from typing import Any

import msgspec
import pytest
import structlog

from balances import keys
from balances.ledger.verify import verify
from balances.packing import fresh_account, pack
from balances.redis.connection import RedisConnection
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.charge import Outcome
from balances.structs.posting import AccountOpening, Post, Posting
from ocs.clock import now_ms
from ocs.stores.metered import MeteredStore
from ocs.stores.witness import Answered, Witness
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter
from tests.balances.ledger.books import NOW_MS, LedgerStores, close, connect
from tests.servers import Servers


def charged(books: LedgerStores, account: str, cost: int = 7) -> Answered:
    outcome = pack(Outcome(0, [], cost=cost))
    return Answered(str(books.epoch).encode(), account, "", "2:1", NOW_MS, outcome, posted=False)


@pytest.fixture
async def books(servers: Servers) -> Any:
    both = await connect(servers.redis_url, servers.pg_dsn)
    yield both
    await close(both)


def everywhere(epoch: int) -> dict[str, bytes]:
    return dict.fromkeys(keys.NUMBERS, str(epoch).encode())


def witness_of(lost: list[int], **more: Any) -> Witness:
    return Witness(logger(), lost.append, **more)


async def test_what_was_not_copied_and_is_gone(books: LedgerStores) -> None:
    await books.open()
    lost: list[int] = []
    witness = witness_of(lost)
    await books.move("alice", -7)
    witness.answers.append(charged(books, "alice"))
    await books.sync.step()
    await books.move("bob", -7)
    witness.answers.append(charged(books, "bob"))
    await books.move("bob", -5)
    witness.answers.append(msgspec.structs.replace(charged(books, "bob", 5), at_ms=NOW_MS + 1))
    assert await witness.look(books.pool, everywhere(books.epoch)) == 0  # nothing has happened
    assert await witness.look(books.pool, {}) == 0
    await books.redis.flushall()
    await books.open(now_s=2_000)
    with structlog.testing.capture_logs() as logs:
        assert await witness.look(books.pool, everywhere(books.epoch)) == 2
    (line,) = logs
    assert (line["event"], line["count"], line["micro"], line["accounts"]) == ("answers.lost", 2, {"": 12}, ["bob"])
    assert (lost, list(witness.answers)) == ([2], [])
    rows = await books.pool.fetch("SELECT account, request_key, cost FROM lost_answers ORDER BY at_ms")
    assert [tuple(row) for row in rows] == [("bob", "2:1", 7), ("bob", "2:1", 5)]
    report = await verify(books.redis, books.pool, patience_s=0)
    assert [(found.what, found.account) for found in report.findings] == [("lost", "bob")]
    assert "2 answers" in report.findings[0].detail


async def test_what_the_live_store_kept_is_copied_first(books: LedgerStores) -> None:
    await books.open()
    witness = witness_of([])
    await books.move("alice", -7)
    witness.answers.append(charged(books, "alice"))
    await books.open(now_s=2_000, anew=True)
    assert await witness.look(books.pool, everywhere(books.epoch)) == 0
    assert not witness.answers


async def test_nothing_is_said_before_postgres_has_proved_the_epoch(books: LedgerStores) -> None:
    await books.open()
    witness = witness_of([])
    witness.answers.append(charged(books, "alice"))
    without = everywhere(books.epoch + 5)  # opened without PostgreSQL
    assert await witness.look(books.pool, without) == 0
    assert len(witness.answers) == 1
    await books.open(now_s=9_000, anew=True)
    assert await witness.look(books.pool, everywhere(books.epoch)) == 1


async def test_only_the_shards_of_a_primary_that_failed_are_compared(books: LedgerStores) -> None:
    """The others are still copied: what they answered a moment ago is in no table yet, and not lost."""
    await books.open()
    witness = witness_of([])
    for account in ("alice", "bob"):
        witness.answers.append(charged(books, account))
    before = everywhere(books.epoch)
    await books.open(now_s=2_000, anew=True)
    here = keys.NUMBERS[keys.shard_of("bob")]
    assert await witness.look(books.pool, before | {here: str(books.epoch).encode()}) == 1
    assert [answer.account for answer in witness.answers] == ["alice"]
    assert await witness.look(books.pool, everywhere(books.epoch)) == 1


async def test_what_stands_in_quarantine_or_before_a_stop_is_not_lost(books: LedgerStores) -> None:
    await books.open()
    witness = witness_of([])
    await books.redis.xadd(
        keys.ledger(keys.shard_of("alice")),
        {"r": b"\xc1", "a": pack(fresh_account("alice", "EUR"))},
        id=f"{books.epoch}-*",
    )
    witness.answers.append(charged(books, "alice"))
    await books.sync.step()
    await books.sync.writer.stop(keys.shard_of("bob"), "for the test")
    await books.move("bob", -7)
    witness.answers.append(charged(books, "bob"))
    await books.open(now_s=2_000, anew=True)
    assert await witness.look(books.pool, everywhere(books.epoch)) == 0


def test_it_remembers_so_many_and_no_more() -> None:
    witness = witness_of([], answers_max=3)
    for number in range(5):
        witness.answers.append(Answered(b"1", "a", "", str(number), 0, b"", posted=False))
    assert [answer.key for answer in witness.answers] == ["2", "3", "4"]


async def test_answers_of_the_real_store(books: LedgerStores, servers: Servers) -> None:
    """A top-up that was acknowledged, of a store that then comes back empty."""
    await books.open()
    witness = witness_of([])
    link = RedisConnection(servers.redis_url, now_ms=now_ms)
    await link.start(5)
    store = MeteredStore(link, Meter(), witness)
    account = fresh_account("alice", "EUR")
    opening = AccountOpening(raw_of(pack(account)), [], [], now_ms(), "open", "open")
    assert (await store.open("alice", opening).wait()).status == "ok"
    await books.sync.step()
    post = Post("alice", "k1", "f", now_ms(), 60_000, "me", "", "", [Posting(MAIN, 0, 5_000_000, "top-up", "top-up")])
    assert (await store.post(post).wait()).status == "ok"
    assert (await store.post(post).wait()).status == "again"
    assert [(one.account, one.key, one.posted) for one in witness.answers] == [("alice", "k1", True)]
    await books.redis.flushall()
    await books.open(now_s=3_000)
    assert await witness.look(books.pool, everywhere(books.epoch)) == 1
    assert await books.pool.fetchval("SELECT cost FROM lost_answers") == -5_000_000
    await link.stop()
