"""A closed month says what each account had, and `verify` sees whatever is changed in it afterwards."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from balances.ledger import events
from balances.ledger.closing import NotClosable, close, periods
from balances.ledger.closing import books as books_of
from balances.ledger.months import Month, make_ahead
from balances.ledger.verify import verify
from tests.balances.ledger.books import LedgerStores
from tests.balances.ledger.test_months import DAY_MS, Walk


async def walked(stores: LedgerStores, seed: int, calls: int = 90) -> tuple[Walk, Month]:
    """Entries of some months, copied; and the first of these."""
    await stores.open()
    first_ms = await stores.pool.fetchval("SELECT months_from_ms FROM store")
    walk = Walk(stores, Random(seed), first_ms + 3 * DAY_MS)
    await make_ahead(stores.pool, first_ms)
    await walk.calls(calls, 2 * DAY_MS)
    await walk.copy()
    return walk, Month.at(first_ms)


@pytest.mark.parametrize("seed", range(3))
async def test_closings_are_the_balances_at_the_end(books: LedgerStores, seed: int) -> None:
    walk, month = await walked(books, seed)
    last = Month.at(walk.at_ms)
    while month <= last:
        closed = await close(books.pool, month, "me", 1)
        of = [one for one in walk.entries if month.from_ms <= one[4] < month.next.from_ms]
        assert (closed.month, closed.entries, closed.accounts) == (month.name, len(of), len({one[0] for one in of}))
        assert await close(books.pool, month, "another", 2) == closed
        balance = {one[0]: one[3] for one in walk.entries if one[4] < month.next.from_ms}
        rows = await books.pool.fetch("SELECT account, after, amount FROM ledger_closings WHERE until_ms = $1",
                                      month.next.from_ms)  # fmt: skip
        moved: Counter[str] = Counter()
        for account, _, amount, _, _ in of:
            moved[account] += amount
        assert {row["account"]: row["after"] for row in rows} == {one: balance[one] for one in {one[0] for one in of}}
        assert {row["account"]: row["amount"] for row in rows} == dict(moved)
        month = month.next
    assert (await verify(books.redis, books.pool)).findings == []
    assert [one.month for one in await periods(books.pool)] == sorted(one.month for one in await periods(books.pool))


async def test_all_legs_of_a_month_add_up(books: LedgerStores) -> None:
    walk, month = await walked(books, 1)
    closed = await close(books.pool, month, "me", 1)
    expected = sum(one[2] for one in walk.entries if one[4] < month.next.from_ms)
    assert [(one.book, one.amount) for one in await books_of(books.pool, closed.until_ms)] == [("revenue", -expected)]


async def test_months_are_closed_in_their_order(books: LedgerStores) -> None:
    _, month = await walked(books, 1)
    with pytest.raises(NotClosable, match=f"{month.name} is not closed"):
        await close(books.pool, month.next, "me", 1)
    assert await periods(books.pool) == []
    await close(books.pool, month, "me", 1)
    await close(books.pool, month.next, "me", 1)
    before = Month(month.year - 1, month.month)
    with pytest.raises(NotClosable, match="a later month is closed"):
        await close(books.pool, before, "me", 1)


async def test_books_that_do_not_agree_are_not_closed(books: LedgerStores) -> None:
    _, month = await walked(books, 1)
    await books.pool.execute("UPDATE ledger_entries SET amount = amount + 1 WHERE seq = 1 AND account = 'acct-3'")
    with pytest.raises(NotClosable, match="account acct-3, bucket 0"):
        await close(books.pool, month, "me", 1)
    assert await books.count("ledger_closings") == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger_entries SET amount = amount + 1 WHERE account = 'acct-3' AND seq = 1",
        "DELETE FROM ledger_entries WHERE account = 'acct-3' AND seq = 1",
        "UPDATE ledger_entries SET at_ms = at_ms - 31 * 86400000::bigint WHERE account = 'acct-3' AND seq ="
        " (SELECT min(seq) FROM ledger_entries, ledger_periods WHERE account = 'acct-3' AND at_ms >= until_ms)",
        "DELETE FROM ledger_closings WHERE account = 'acct-3'",
    ],
    ids=["changed", "deleted", "moved in", "its closing gone"],
)
async def test_a_closed_month_that_changed_is_found(books: LedgerStores, change: str) -> None:
    _, month = await walked(books, 1)
    await close(books.pool, month, "me", 1)
    assert (await verify(books.redis, books.pool)).findings == []
    await books.pool.execute(change)
    found = (await verify(books.redis, books.pool, patience_s=0)).findings
    assert [one.account for one in found if one.what == "closed"] == ["acct-3"]


async def test_use_that_is_reported_late_belongs_to_the_month_it_is_posted_in(books: LedgerStores) -> None:
    walk, month = await walked(books, 1, calls=20)
    walk.at_ms = month.next.from_ms
    closed = await close(books.pool, month, "me", 1)
    await books.move("acct-1", -7, at_ms=walk.at_ms, event_ms=month.from_ms)
    await books.sync.step()
    assert await close(books.pool, month, "me", 1) == closed
    assert (await verify(books.redis, books.pool)).findings == []


async def last_month(stores: LedgerStores) -> Month:
    """The one before the present one, by the clock of PostgreSQL."""
    await stores.open()
    now_ms = await stores.pool.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    return Month.at(now_ms).previous


@pytest.mark.parametrize("seed", range(3))
async def test_what_comes_late_into_a_closed_month_is_posted_after_it(books: LedgerStores, seed: int) -> None:
    """A process that stood still asks for it at an instant of before."""
    dice, month = Random(seed), await last_month(books)
    until_ms = month.next.from_ms
    walk = Walk(books, dice, until_ms - 4_000)
    await walk.calls(dice.randint(1, 20), 100)
    await walk.copy()
    closed = await close(books.pool, month, "me", 1)
    assert closed.entries == len(walk.entries)
    await walk.calls(dice.randint(1, 20), 100)
    late = walk.entries[closed.entries :]
    await walk.copy()
    assert await close(books.pool, month, "me", 1) == closed
    found = await books.pool.fetch("SELECT account, seq, at_ms FROM ledger_entries WHERE at_ms >= $1", until_ms)
    assert {tuple(row) for row in found} == {(one[0], one[1], max(one[4], until_ms)) for one in late}
    assert (await verify(books.redis, books.pool)).findings == []


async def test_a_copy_under_way_is_counted_by_the_closing(books: LedgerStores, monkeypatch: pytest.MonkeyPatch) -> None:
    month = await last_month(books)
    walk = Walk(books, Random(1), month.next.from_ms - 4_000)
    await walk.calls(5)
    append, there, go_on = events.append, asyncio.Event(), asyncio.Event()

    async def stands_still(*asked: Any) -> None:
        await append(*asked)
        there.set()
        await go_on.wait()

    monkeypatch.setattr(events, "append", stands_still)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(walk.copy())
        await there.wait()
        closing = tasks.create_task(close(books.pool, month, "me", 1))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'ledger_periods'::regclass AND NOT granted)"
        while not closing.done() and not await books.pool.fetchval(waits):
            await asyncio.sleep(0.02)
        go_on.set()
    assert closing.result().entries == 5
    assert (await verify(books.redis, books.pool)).findings == []
