"""Months that are dropped: whatever was closed, dropped and killed in between, sums and balances stay as they were."""

import asyncio
from random import Random
from typing import Any

import pytest

from balances.ledger import dropping, statement
from balances.ledger.closing import close
from balances.ledger.dropping import NotDroppable, delete, drop, drops, obstacles
from balances.ledger.formats import Reads
from balances.ledger.kept import NotKept, gone, kept
from balances.ledger.months import Month, make_ahead
from balances.ledger.verify import VerifyReport, verify
from ocs.stores.hosts import HostProcess, HostState, beat
from tests.balances.ledger.books import LedgerStores
from tests.balances.ledger.test_months import ACCOUNTS, DAY_MS, Walk

MONTH_MS = 31 * DAY_MS


async def walked(stores: LedgerStores, seed: int, calls: int = 150, step_ms: int = 2 * DAY_MS) -> tuple[Walk, Month]:
    """Entries of about five months, copied; and the first of these."""
    await stores.open()
    first_ms = await stores.pool.fetchval("SELECT months_from_ms FROM store")
    walk = Walk(stores, Random(seed), first_ms + 3 * DAY_MS)
    await make_ahead(stores.pool, first_ms)
    await walk.calls(calls, step_ms)
    await walk.copy()
    return walk, Month.at(first_ms)


async def proven(stores: LedgerStores, now_ms: int) -> VerifyReport:
    """As the keeper's daily proof leaves it."""
    report = await verify(stores.redis, stores.pool)
    await stores.pool.execute(
        "INSERT INTO verifications (began_ms, ended_ms, by, accounts, entries, findings, text)"
        " VALUES ($1, $1, 'test', $2, $3, $4, '')",
        *(now_ms, report.accounts, report.entries, len(report.findings)),
    )
    return report


async def closed_and_proven(stores: LedgerStores, month: Month, now_ms: int) -> None:
    await close(stores.pool, month, "me", now_ms)
    assert (await proven(stores, now_ms)).findings == []


def balances_at(walk: Walk, at_ms: int) -> dict[str, int]:
    found = dict.fromkeys(ACCOUNTS, 0)
    found |= {account: after for account, _, _, after, posted_ms in walk.entries if posted_ms < at_ms}
    return found


async def told_at(stores: LedgerStores, at_ms: int) -> dict[str, int]:
    found = dict.fromkeys(ACCOUNTS, 0)
    for account in ACCOUNTS:
        for one in await statement.balance_at(stores.pool, account, at_ms, at_ms):
            found[account] += one.amount
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_a_walk_with_closings_and_drops(books: LedgerStores, seed: int) -> None:
    """The oracle is a list of entries: no drop changes a sum, a balance at the end of a month, or what is proven."""
    dice = Random(seed)
    walk, first = await walked(books, seed, calls=20)
    closed: list[Month] = []
    for _ in range(20):
        await walk.calls(dice.randint(1, 25), 2 * DAY_MS)
        await walk.copy()
        if dice.random() < 0.5:
            await make_ahead(books.pool, walk.at_ms)  # else some months stand in no partition
        now_ms = walk.at_ms
        while dice.random() < 0.8:
            month = closed[-1].next if closed else first
            if month.next.from_ms > now_ms:
                break
            await close(books.pool, month, "me", now_ms)
            closed.append(month)
        assert (await proven(books, now_ms)).findings == []
        what: dropping.What = dice.choice(["usage", "entries"])
        gone_ms = (await kept(books.pool))[0 if what == "entries" else 1]
        for month in [one for one in closed if one.next.from_ms > gone_ms][: dice.randint(1, 3)]:
            try:
                await drop(books.pool, month, what, "me", now_ms)
            except NotDroppable:
                assert await obstacles(books.pool, month, what, now_ms)
                break
            if dice.random() < 0.6:
                await delete(books.pool, now_ms)
        await check(books, walk, closed)
    await delete(books.pool, walk.at_ms)
    await check(books, walk, closed)
    from_ms, usage_from_ms = await kept(books.pool)
    assert from_ms > first.from_ms, "nothing was dropped"
    for table, at_ms in (("ledger_entries", from_ms), ("usage_records", usage_from_ms)):
        assert await books.pool.fetchval(f"SELECT count(*) FROM {table} WHERE at_ms < $1", at_ms) == 0
        left = sum(one[4] >= at_ms for one in walk.entries)
        assert await books.count(table) == left
    assert all(one.deleted_ms is not None for one in await drops(books.pool))


async def check(books: LedgerStores, walk: Walk, closed: list[Month]) -> None:
    report = await verify(books.redis, books.pool)
    assert report.findings == []
    total = sum(one[2] for one in walk.entries)
    assert report.sums.get("EUR", {}) == ({"revenue": -total} if walk.entries else {})
    entries_from_ms, usage_from_ms = await kept(books.pool)
    assert report.entries == sum(one[4] >= entries_from_ms for one in walk.entries)
    assert report.entries + report.dropped == len(walk.entries)
    for month in closed:
        assert await told_at(books, month.next.from_ms) == balances_at(walk, month.next.from_ms), month
    at_ms = walk.at_ms + 1
    for account in ACCOUNTS:
        now = await statement.balance_at(books.pool, account, statement.EVER_MS, statement.EVER_MS)
        assert sum(one.amount for one in now) == walk.balance[account]
        of = await statement.period(books.pool, account, entries_from_ms, at_ms)
        moved = sum(one.amount for one in of.reasons)
        opening, closing = sum(one.opening for one in of.kinds), sum(one.closing for one in of.kinds)
        assert opening == balances_at(walk, entries_from_ms)[account]
        assert opening + moved == closing == walk.balance[account]
        assert of.last_seq == walk.seq[account]
        past = await statement.balance_at(books.pool, account, usage_from_ms, statement.EVER_MS)
        assert sum(one.amount for one in past) == balances_at(walk, usage_from_ms)[account]
        if entries_from_ms:
            with pytest.raises(NotKept, match="entries are kept from"):
                await statement.period(books.pool, account, entries_from_ms - 1, at_ms)


async def test_what_is_needed_is_not_dropped(books: LedgerStores) -> None:
    walk, month = await walked(books, 1, calls=60)
    pool, end_ms = books.pool, month.next.from_ms
    old_ms = end_ms + 4 * MONTH_MS
    assert await refused(books, month, old_ms) == [
        f"{month.name} is not closed: `ocs ledger close-period {month.name}`"
    ]
    await close(pool, month, "me", old_ms)
    assert await refused(books, month, old_ms) == [
        f"the ledger was not proven since {month.name} was closed: `ocs ledger verify`"
    ]
    await pool.execute("INSERT INTO verifications (began_ms, ended_ms, by, accounts, entries, findings, text)"
                       " VALUES ($1, $1, '', 1, 1, 2, '')", old_ms)  # fmt: skip
    assert await refused(books, month, old_ms) == [
        "the last proof of the ledger found 2 things wrong: `ocs ledger verify`"
    ]
    await closed_and_proven(books, month.next, old_ms)
    [young] = await refused(books, month, end_ms + 2 * MONTH_MS)
    assert "too young" in young
    [early] = await refused(books, month.next, old_ms + MONTH_MS)
    assert early == f"{month.name} is not dropped: months are dropped one after the other"
    await pool.execute("UPDATE shards SET stopped = 'look' WHERE shard = 3")
    assert await refused(books, month, old_ms) == [
        "records wait for a person, which may be of that month: `ocs ledger status`"
    ]
    await pool.execute("UPDATE shards SET stopped = '' WHERE shard = 3")
    await pool.execute("UPDATE ledger_entries SET amount = amount + 1, after = after + 1 WHERE at_ms < $1"
                       " AND account = 'acct-3'", end_ms)  # fmt: skip
    [changed] = await refused(books, month, old_ms)
    assert "other entries than it was closed with (account acct-3)" in changed
    await pool.execute("UPDATE ledger_entries SET amount = amount - 1, after = after - 1 WHERE at_ms < $1"
                       " AND account = 'acct-3'", end_ms)  # fmt: skip
    assert await drops(pool) == []
    assert [one.what for one in await drop(pool, month, "usage", "me", old_ms)] == ["usage"]
    made = await drop(pool, month, "entries", "me", old_ms)
    assert await drop(pool, month, "entries", "another", old_ms + 1) == made
    assert sorted((one.what, one.dropped_by) for one in made) == [("entries", "me"), ("usage", "me")]
    assert walk.entries


async def refused(books: LedgerStores, month: Month, now_ms: int) -> list[str]:
    with pytest.raises(NotDroppable) as told:
        await drop(books.pool, month, "entries", "me", now_ms)
    found = await obstacles(books.pool, month, "entries", now_ms)
    assert str(told.value) == "; ".join(found)
    return found


async def one_dropped(books: LedgerStores, *, deleted: bool = True) -> tuple[Walk, Month]:
    walk, month = await walked(books, 1)
    now_ms = month.next.from_ms + 4 * MONTH_MS
    await closed_and_proven(books, month, now_ms)
    await closed_and_proven(books, month.next, now_ms)
    await drop(books.pool, month, "entries", "me", now_ms)
    if deleted:
        assert await delete(books.pool, now_ms)
    return walk, month


OLDEST = "until_ms = (SELECT min(until_ms) FROM ledger_periods)"
SAVED = ("ledger_closings", "ledger_closed_books", "ledger_periods", "ledger_drops", "ledger_entries", "account_heads")


async def test_whatever_is_tampered_with_is_found(books: LedgerStores) -> None:
    """A closing, what it was summed to, the drop itself, or what follows it."""
    await one_dropped(books)
    assert (await verify(books.redis, books.pool)).findings == []
    for table in SAVED:
        await books.pool.execute(f"CREATE TABLE saved_{table} AS TABLE {table}")
    for change, whats in (
        ("UPDATE ledger_closings SET amount = amount + 1, after = after + 1 WHERE account = 'acct-3'", {"closed"}),
        (f"UPDATE ledger_closings SET after = after + 1 WHERE account = 'acct-3' AND {OLDEST}", {"closed", "balance"}),
        (f"UPDATE ledger_closings SET seq = seq + 1 WHERE account = 'acct-3' AND {OLDEST}", {"closed", "seq"}),
        (f"UPDATE ledger_closings SET currency = 'USD' WHERE account = 'acct-3' AND {OLDEST}", {"closed", "currency"}),
        ("DELETE FROM ledger_closings WHERE account = 'acct-3'", {"closed", "seq", "balance", "sum"}),
        ("UPDATE ledger_closed_books SET amount = amount + 1", {"closed", "sum"}),
        # one account's money to another one: all sums agree
        (
            "UPDATE ledger_closings SET amount = amount + d, after = after + d FROM (VALUES ('acct-3', 1),"
            f" ('acct-4', -1)) v (a, d) WHERE account = a AND {OLDEST}",
            {"closed", "balance"},
        ),
        ("UPDATE ledger_periods SET entries = entries + 1", {"closed"}),
        ("DELETE FROM ledger_drops WHERE what = 'entries'", {"closed", "seq"}),
        (
            "DELETE FROM ledger_entries WHERE (account, seq) IN (SELECT account, min(seq) FROM ledger_entries"
            " WHERE account = 'acct-3' GROUP BY account)",
            {"seq", "closed"},
        ),
        ("UPDATE account_heads SET seq = seq + 1 WHERE account = 'acct-3'", {"head"}),
    ):
        await books.pool.execute(change)
        found = {one.what for one in (await verify(books.redis, books.pool, patience_s=0)).findings}
        assert whats <= found, change
        for table in SAVED:
            await books.pool.execute(f"DELETE FROM {table}")
            await books.pool.execute(f"INSERT INTO {table} SELECT * FROM saved_{table}")
    assert (await verify(books.redis, books.pool)).findings == []


async def test_an_account_with_nothing_but_closings(books: LedgerStores) -> None:
    """All its entries are gone: what comes next continues its closing."""
    walk, month = await walked(books, 1, calls=1)
    account = walk.entries[0][0]
    now_ms = month.next.from_ms + 4 * MONTH_MS
    await closed_and_proven(books, month, now_ms)
    await drop(books.pool, month, "entries", "me", now_ms)
    await delete(books.pool, now_ms)
    assert await books.count("ledger_entries") == 0
    assert (await verify(books.redis, books.pool)).findings == []
    assert "kept from" in await gone(books.pool, account, 1)
    assert await gone(books.pool, account, 2) == ""
    walk.at_ms = now_ms
    await walk.calls(20, DAY_MS)
    await walk.copy()
    await check(books, walk, [month])
    await books.pool.execute("UPDATE ledger_entries SET seq = seq + 1 WHERE account = $1", account)
    assert "seq" in {one.what for one in (await verify(books.redis, books.pool, patience_s=0)).findings}


async def test_of_what_is_gone_the_end_of_the_month_is_known(books: LedgerStores) -> None:
    walk, month = await one_dropped(books)
    end_ms = month.next.from_ms
    assert await told_at(books, end_ms) == balances_at(walk, end_ms)
    with pytest.raises(NotKept, match="at the end of a month"):
        await statement.balance_at(books.pool, "acct-1", end_ms - DAY_MS, end_ms - DAY_MS)
    with pytest.raises(NotKept, match="usage records are kept from"):
        await statement.balance_at(books.pool, "acct-1", end_ms - DAY_MS, statement.EVER_MS)


async def test_use_whose_record_is_gone_was_before(books: LedgerStores) -> None:
    """Posted after the month, used in it: at its end it had happened, also when only the entry says so."""
    walk, month = await walked(books, 1, calls=20, step_ms=DAY_MS)
    end_ms, now_ms = month.next.from_ms, month.next.from_ms + 4 * MONTH_MS
    usage_ms = end_ms - 1
    await books.move("late", -7, at_ms=end_ms + 5)
    await books.sync.step()
    await books.pool.execute("UPDATE usage_records SET at_ms = $1 WHERE account = 'late'", usage_ms)
    past = [(end_ms, statement.EVER_MS), (end_ms, end_ms)]
    before = [await statement.balance_at(books.pool, "late", *one) for one in past]
    assert [sum(one.amount for one in found) for found in before] == [-7, 0]
    await closed_and_proven(books, month, now_ms)
    await drop(books.pool, month, "usage", "me", now_ms)
    assert await delete(books.pool, now_ms)
    assert await books.pool.fetchval("SELECT count(*) FROM usage_records WHERE account = 'late'") == 0
    after = [await statement.balance_at(books.pool, "late", *one) for one in past]
    assert [sum(one.amount for one in found) for found in after] == [-7, 0]
    assert walk.entries


class Killed(BaseException):
    pass


class KilledPool:
    """Ends everything at the n-th statement, or transaction, that it is asked for."""

    def __init__(self, pool: Any, at: int) -> None:
        self.pool, self.left = pool, at

    def __getattr__(self, name: str) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return getattr(self.pool, name)


async def test_a_deletion_that_is_killed_goes_on(books: LedgerStores) -> None:
    """Between any two of its steps: everything agrees as it stands, and the next one ends it."""
    walk, month = await walked(books, 1)
    now_ms = walk.at_ms + 4 * MONTH_MS
    closed = [month, month.next]
    for one in closed:
        await closed_and_proven(books, one, now_ms)
        await drop(books.pool, one, "entries", "me", now_ms)
    at, ended = 0, False
    while not ended:
        try:
            ended = await delete(KilledPool(books.pool, at), now_ms)
        except Killed:
            await check(books, walk, closed)
        at += 1
    assert at > 10
    await check(books, walk, closed)
    assert await books.count("ledger_entries") == sum(one[4] >= closed[-1].next.from_ms for one in walk.entries)
    names = {row[0] for row in await books.pool.fetch("SELECT relname FROM pg_class")}
    assert not names & {one.of(table) for one in closed for table in ("ledger_entries", "usage_records")}


async def test_a_query_that_runs_is_not_waited_for(books: LedgerStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees what it saw when it began; the copy goes on; the months go afterwards."""
    monkeypatch.setattr(dropping, "LOCK_MS", 50)
    walk, month = await one_dropped(books, deleted=False)
    async with books.pool.acquire() as pg, pg.transaction(isolation="repeatable_read"):
        count = await pg.fetchval("SELECT count(*) FROM ledger_entries")
        assert not await delete(books.pool, walk.at_ms)
        async with asyncio.timeout(60):
            await walk.calls(5)
            await walk.copy()
        assert await pg.fetchval("SELECT count(*) FROM ledger_entries") == count
    assert await delete(books.pool, walk.at_ms)
    await check(books, walk, [month, month.next])


async def test_nothing_is_dropped_while_two_builds_are_at_work(books: LedgerStores) -> None:
    """One of before does not know that months may be gone: it does not start afterwards either."""
    _, month = await walked(books, 1)
    now_ms = month.next.from_ms + 4 * MONTH_MS
    await closed_and_proven(books, month, now_ms)

    async def host(name: str, *builds: str) -> None:
        processes = tuple(HostProcess("api", number, True, "", build) for number, build in enumerate(builds))
        state = HostState(("api",), "0.1+supervisor", True, "", "", processes)
        async with books.pool.acquire() as pg:
            await beat(pg, name, name, Reads(1, 2), [], state)

    await host("h1", "0.2+new", "0.2+new")
    await host("h2", "0.1+old")
    [why] = await refused(books, month, now_ms)
    assert "2 builds are at work (0.1+old, 0.2+new)" in why
    await host("h2", "0.2+new")
    assert await drop(books.pool, month, "entries", "me", now_ms)
    needed = await books.pool.fetchval("SELECT needs FROM migrations WHERE name = '067_drops.sql'")
    assert needed == 67  # balances/migrations/migrate.py: what a build has to know
