"""A few accounts at a time are compared between the stores: what is wrong is found within a round, and nothing else."""

from typing import Any

import pytest

from balances.ledger.sampling import PATIENCE_MS, Sampler
from balances.ledger.verify import LedgerFinding
from tests.balances.ledger.books import LedgerStores
from tests.balances.ledger.test_verify import change, filled


async def round_over(books: LedgerStores, *, copied: bool = True, at_ms: int = 1_000) -> list[LedgerFinding]:
    """What a round finds, one account a step."""
    sampler, found = Sampler(books.redis, books.pool), []
    while not sampler.rounds:
        found += (await sampler.step(1, at_ms, copied=copied)).findings
    return found


async def test_a_sound_store_has_no_findings_and_every_account_gets_its_turn(books: LedgerStores) -> None:
    await filled(books)
    sampler = Sampler(books.redis, books.pool)
    looked = []
    while sampler.rounds < 2:
        report = await sampler.step(1, 1_000, copied=True)
        assert report.findings == []
        looked.append(report.accounts)
    assert looked == [1, 1, 0] * 2


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE ledger_entries SET amount = 999 WHERE account = 'alice' AND seq = 2", {"balance"}),
        ("UPDATE ledger_entries SET seq = 3 WHERE account = 'alice' AND seq = 2", {"seq", "head"}),
        ("UPDATE account_heads SET afters = '{\"0\": 992}' WHERE account = 'alice'", {"head", "amount"}),
        ("DELETE FROM ledger_entries WHERE account = 'alice' AND seq = 2", {"head"}),
    ],
)
async def test_a_fault_in_postgres(books: LedgerStores, sql: str, what: set[str]) -> None:
    await filled(books)
    await books.pool.execute(sql)
    found = await round_over(books)
    assert {one.what for one in found} == what
    assert {one.account for one in found} == {"alice"}


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (lambda account: setattr(account.buckets[0], "amount", 992), {"amount"}),
        (lambda account: setattr(account.buckets[0], "held", 49), {"held"}),
        (lambda account: setattr(account, "counters", []), {"held"}),
    ],
)
async def test_a_fault_in_redis(books: LedgerStores, how: Any, what: set[str]) -> None:
    await filled(books)
    await change(books, "bob", how)
    assert {one.what for one in await round_over(books)} == what


async def test_an_entry_that_never_arrives_is_found_after_a_minute_and_one_on_its_way_is_not(
    books: LedgerStores,
) -> None:
    await filled(books)
    await books.move("alice", -5)
    sampler = Sampler(books.redis, books.pool)
    assert (await sampler.step(10, 0, copied=True)).findings == []
    assert (await sampler.step(10, PATIENCE_MS, copied=True)).findings == []
    [late] = (await sampler.step(10, PATIENCE_MS + 1, copied=True)).findings
    assert (late.what, late.account) == ("behind", "alice")
    while (await books.sync.step()).written:
        pass
    assert (await sampler.step(10, 3 * PATIENCE_MS, copied=True)).findings == []


async def test_while_postgres_is_behind_nothing_is_late(books: LedgerStores) -> None:
    await filled(books)
    await books.move("alice", -5)
    sampler = Sampler(books.redis, books.pool)
    await sampler.step(10, 0, copied=True)
    assert (await sampler.step(10, 5 * PATIENCE_MS, copied=False)).findings == []
    assert (await sampler.step(10, 5 * PATIENCE_MS + 1, copied=True)).findings == []
