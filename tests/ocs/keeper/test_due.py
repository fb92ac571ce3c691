"""What time alone changes reaches the network, from real servers: an assignment that ends, a grade at its instant."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from balances import keys
from balances.structs.account import Account
from balances.structs.session import Session
from ocs.charging.profile import Profile
from ocs.charging.services import service_table
from ocs.clock import now_ms
from ocs.enforcement.executors.executor import RADIUS
from ocs.enforcement.job import Cause, NetworkAction
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_grades import SessionGrades
from ocs.enforcement.session_requests import RequestReceipt
from tariffs.catalog import Assignment, Catalog
from tariffs.load import load_tariff
from tests.balances.ledger.books import LedgerStores, session_of
from tests.ocs.keeper.test_keeper import keeping, listen
from tests.servers import Servers

TARIFF = """
tariff = "home"
currency = "EUR"
[[rows]]
flat = { price = "0.01", per = "1 MB" }
"""
LATER = 'valid_from = 2027-01-01T00:00:00Z\n[[rows]]\nflat = { price = "0.01", per = "1 MB" }\ngrade = "night"\n'


class CountingCoa:
    """Takes the part of CoA."""

    protocol = RADIUS
    kind = "coa"
    actions = frozenset({NetworkAction.REAUTHORIZE, NetworkAction.CHANGE})
    ends = True
    fallback = None

    def __init__(self, grades: SessionGrades) -> None:
        self._grades = grades
        self.told: list[tuple[str, str, Cause]] = []

    async def send(self, account: Account, session: Session, cause: Cause) -> RequestReceipt:
        self.told.append((session.id, await self._grades.now(account, session), cause))
        return RequestReceipt("1", "CoA-ACK", "nas", "nas")

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        return JobEvent.ACCEPTED


class Published:
    """Two versions, of which the second says a grade: from an instant a moment away."""

    def __init__(self, at_ms: int) -> None:
        versions = [load_tariff(TARIFF, source="a.toml")]
        graded = load_tariff('tariff = "home"\ncurrency = "EUR"\n' + LATER, source="b.toml", version=2)
        graded.from_ms = at_ms
        self.catalog = Catalog([*versions, graded])
        self.known = True
        self.news = True

    async def look(self) -> bool:
        news, self.news = self.news, False
        return news


async def subscribed(books: LedgerStores, until_ms: int) -> None:
    await books.pool.execute(
        "INSERT INTO accounts (id, currency, time_zone, credit_limit, change, members_change)"
        " VALUES ('alice', 'EUR', 'UTC', 0, 1, 1)"
    )
    await books.pool.execute("INSERT INTO subscribers (id, account, barred, change) VALUES ('sub', 'alice', false, 1)")
    await books.pool.execute(
        "INSERT INTO assignments (subscriber, place, tariff, from_ms, until_ms, due_ms)"
        " VALUES ('sub', 0, 'home', 0, $1, nullif($1::bigint, 0))",
        until_ms,
    )


def beyond(name: str) -> Session:
    """It holds what is valid for a day."""
    session = session_of(name, held=5, opened_ms=now_ms() - 3_600_000)
    session.lines[0].touched_ms, session.lines[0].due_ms = now_ms() - 1_000, now_ms() + 2 * 86_400_000
    return session


async def jobs_of(books: LedgerStores) -> list[tuple[str, str]]:
    return [tuple(row) for row in await books.pool.fetch("SELECT session, cause FROM jobs ORDER BY session")]


async def test_an_assignment_ends_and_its_sessions_are_asked_once_by_two_keepers(servers: Servers) -> None:
    async with keeping(servers, grades=nobodys()) as both, keeping(servers, grades=nobodys()):
        heard = both.books.redis.pubsub()
        await heard.subscribe(keys.SESSION_REQUESTS)
        await both.books.move("alice", 50, session=beyond("s;1"))
        await subscribed(both.books, now_ms() + 300)
        requests = [one async for one in listen(heard, 1)]
        assert [(one.kind, one.session) for one in requests] == [("rar", "s;1")]
        await both.until(lambda: one_job(both.books))
        assert await jobs_of(both.books) == [("s;1", "price")]
        await heard.aclose()


async def test_what_a_killed_keeper_left_is_done_by_the_next(servers: Servers) -> None:
    """Killed when the intents were committed and nothing else was."""
    async with keeping(servers, grades=nobodys()) as both:
        await both.books.move("alice", 50, session=beyond("s;1"))
        await both.until(lambda: both.keeper.stats.copied == 1)
    async with keeping(servers, wait=False, grades=nobodys()) as both:
        at_ms = now_ms()
        await both.books.pool.execute(
            "INSERT INTO intents (shard, epoch, n, account, generation, kinds, session, crossed_ms)"
            " VALUES ($1, 0, 1, 'alice', 0, ARRAY[$2::text], '', $3)",
            keys.shard_of("alice"),
            f"assigned {at_ms} sub",
            at_ms,
        )
        await both.until(lambda: one_job(both.books), 30)
        assert await jobs_of(both.books) == [("s;1", "price")]


async def test_a_grade_at_its_instant_reaches_sessions_of_radius(servers: Servers) -> None:
    at_ms = now_ms() + 12_000  # after the keeper has begun, also on a busy machine
    published = Published(at_ms)

    async def profiles(subscribers: Collection[str]) -> dict[str, Profile]:
        return {name: Profile(name, "alice", 1, "EUR", "UTC", (Assignment("home"),)) for name in subscribers}

    grades = SessionGrades(lambda: published.catalog, profiles, service_table().by_name, now_ms)
    coa = CountingCoa(grades)
    async with keeping(servers, grades=grades, tariffs=published, executors=(coa,)) as both:
        await subscribed(both.books, 0)
        published.news = True  # else the zone of its account is seen with the next plan, ten minutes later
        one = beyond("radius;1")
        one.peer = "radius:bras:nas1"
        one.lines[0].touched_ms = at_ms - 20_000
        await both.books.move("alice", 50_000_000, session=one)
        await both.until(lambda: bool(coa.told), 30)
        assert coa.told == [("radius;1", "night", Cause.PRICE)]
        assert now_ms() >= at_ms
        await both.until(lambda: one_job(both.books))
        assert await both.books.pool.fetchval("SELECT told_ms FROM grade_changes") == at_ms


async def one_job(books: LedgerStores) -> bool:
    return bool(await books.pool.fetchval("SELECT count(*) = 1 FROM jobs"))


def nobodys() -> SessionGrades:
    """Where no tariff says a grade."""

    async def profiles(_subscribers: Collection[str]) -> dict[str, Any]:
        return {}

    return SessionGrades(lambda: None, profiles, {}, now_ms)
