"""Closings and reservations whose process ends between any two lines: repeated, they are done once, whole, and nothing
else (charging.md sections 16 and 17)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeVar

from balances.ledger.verify import verify
from balances.structs.posting import PostingOutcome
from ocs.access.roles import AmountLimit, CallerRole, authority_of
from ocs.backoffice import accounts, allowances, charging, postings, reservations
from ocs.backoffice.allowances import Warrant
from ocs.backoffice.postings import Order
from ocs.backoffice.reservations import WantedReservation
from tests.ocs.api_harness import ApiHarness
from tests.ocs.killing import KilledHere, Killer

T = TypeVar("T")
EURO = 1_000_000


class PatientCaller:
    """Asks again, under the same key, until there is an answer. One process after the other works for it; the first
    is killed."""

    def __init__(self, *modules: Any) -> None:
        self.killer = Killer(*modules)
        self.killed = 0

    async def gets(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except KilledHere:
            self.killed += 1
            return await work()

    def each(self) -> Any:
        """The number of the line before which it is killed; ends when there are no more lines."""
        for line in count(1):
            before = self.killed
            yield line
            if self.killed == before:
                return


async def sound(harness: ApiHarness) -> None:
    await harness.sync()
    report = await verify(harness.redis, harness.backoffice.pool)
    assert report.sound, report.lines()


async def test_a_closing(harness: ApiHarness) -> None:
    """It moves all that its caller may in a day, so what was counted for one that was killed is not counted twice."""
    limits = (AmountLimit("accounts.close", each="6.00", day="6.00"),)
    role = {"desk": CallerRole(("accounts.*",), limits=limits)}
    caller = PatientCaller(postings, accounts, allowances)
    for line in caller.each():
        name = f"c{line}"
        await harness.account(name)
        await harness.top_up("5.00", name)
        await harness.top_up("1.00", name, name="gift", bonus=True)
        warrant = Warrant(authority_of(name, ("desk",), role), "accounts.close")
        order = Order(name, f"http {name} k", "f", "gone", warrant=warrant)

        async def close(name: str = name, order: Order = order) -> PostingOutcome:
            return (await postings.close(harness.backoffice, name, "payout", order))[1]

        with caller.killer.before_line(line):
            done = await caller.gets(close)
        assert [entry.amount for entry in done.entries] == [-EURO, -5 * EURO]
        assert await close() == done
        assert (await harness.store.read(name) or [None])[0].seq == 4  # type: ignore[union-attr]
    assert caller.killed > 30
    await sound(harness)
    # Each attempt is a row; what counts of them is the largest amount.
    counted = await harness.pool.fetch("SELECT caller, count(DISTINCT key), max(amount) FROM moved_by_day GROUP BY 1")
    assert {(row["count"], row["max"]) for row in counted} == {(1, 6 * EURO)}


async def test_a_reservation(harness: ApiHarness) -> None:
    """Reserved, confirmed in part, and what is left released."""
    await harness.account()
    await harness.top_up("1000.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    caller, backoffice = PatientCaller(reservations, charging), harness.backoffice
    for line in caller.each():
        id_ = f"o{line}"
        wanted = WantedReservation(id_, ("subscriber:s1",), "data", 6 * EURO, 3_600)

        async def reserve(wanted: WantedReservation = wanted) -> Any:
            return await reservations.reserve(backoffice, "http:shop", wanted, 7)

        async def confirm(id_: str = id_) -> Any:
            return await reservations.confirm(backoffice, "http:shop", id_, 1, 2 * EURO, 4 * EURO)

        async def release(id_: str = id_) -> Any:
            return await reservations.confirm(backoffice, "http:shop", id_, 2, 0, 0)

        with caller.killer.before_line(line):
            assert (await caller.gets(reserve)).reserved == 6 * EURO
            assert (await caller.gets(confirm)).reserved == 4 * EURO
            assert (await caller.gets(release)).confirmed == 2 * EURO
        account = await harness.store.account("a1").wait()
        assert account is not None
        assert (account.buckets[0].amount, account.buckets[0].held) == ((1_000 - 2 * line) * EURO, 0)
    assert caller.killed > 60
    await sound(harness)
