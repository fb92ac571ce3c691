"""Where accounts stand is written with each record, and looked up without reading what is not asked for."""

import json
from typing import Any

from balances.ledger import standings
from balances.ledger.standings import Standing
from balances.structs.account import SuspendReasons
from ocs.master import account_search
from ocs.master.account_search import WantedStandings
from tests.balances.ledger.books import LedgerStores, session_of

MANY = 20_000


async def test_it_follows_the_records(books: LedgerStores) -> None:
    await books.open()
    await books.move("a1", 500)
    await books.move("a1", -600)
    await books.move("a2", 700, session=session_of("s", held=300))
    await books.sync.step()
    found = await standings.read(books.pool, ["a1", "a2", "a3"])
    assert found == {"a1": Standing("a1", "EUR", 0, -100), "a2": Standing("a2", "EUR", 0, 400)}


async def test_records_of_before_are_taken_in(books: LedgerStores) -> None:
    """As an upgrade finds them; what is copied meanwhile is newer, and stays."""
    await books.open()
    for account in ("a1", "a2"):
        await books.move(account, 500, session=session_of("s"))
        await books.move(account, 1)
    await books.sync.step()
    await books.pool.execute("INSERT INTO standings_missing VALUES ('a1'), ('a2'), ('never-used')")
    await books.pool.execute("DELETE FROM standings WHERE account = 'a1'")
    await books.pool.execute("UPDATE standings SET free = 7 WHERE account = 'a2'")
    await standings.fill(books.pool)
    found = await standings.read(books.pool, ["a1", "a2"])
    assert [found[one].free for one in ("a1", "a2")] == [501, 7]
    assert await books.count("standings_missing") == 0


async def test_a_search_reads_what_it_answers(books: LedgerStores) -> None:
    """Every state and amount is common here: a page of a rare combination, or from the middle of a common one, reads a
    few rows of the index for each state."""
    await books.pool.execute(
        "INSERT INTO standings SELECT 'a' || i, 'EUR', (i % 5) * (i % 7) * 4 % 16, i * 37 % 1000 - 100"
        f" FROM generate_series(1, {MANY}) i"
    )
    await books.pool.execute("INSERT INTO standings VALUES ('rare', 'EUR', $1, 950)", int(SuspendReasons.OVERDUE))
    await books.pool.execute("ANALYZE standings")
    for wanted, expected in (
        (WantedStandings(reason=SuspendReasons.OVERDUE), 1),
        (WantedStandings(currency="EUR", free_from=400, free_below=600), 10),
        (WantedStandings(currency="EUR", state="suspended", free_below=0), 10),
    ):
        read: list[float] = []
        pool: Any = _Explained(books.pool, read)
        assert len(await account_search.standing(pool, wanted, (-(2**53), ""), 10)) == expected
        assert max(read) <= 10 * 16, wanted
    assert len(await standings.kinds(books.pool)) < 10


class _Explained:
    """A pool that notes how many rows each step of a query read."""

    def __init__(self, pool: Any, read: list[float]) -> None:
        self._pool, self._read = pool, read

    async def fetch(self, query: str, *given: object) -> Any:
        plan = json.loads(await self._pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *given))
        self._add(plan[0]["Plan"])
        return await self._pool.fetch(query, *given)

    def _add(self, node: dict[str, Any]) -> None:
        self._read.append(node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0))
        for child in node.get("Plans", ()):
            self._add(child)
