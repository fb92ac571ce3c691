"""Recurring fees: what is due, how far the run is, what a subscriber will pay, and what a tariff would cost
(charging.md section 21)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from balances.ledger.refunds import refunded_of_fee
from ocs.backoffice.errors import Invalid, NotFound
from ocs.fees import rows
from ocs.fees.assignment import FeeAssignment, FeeProgress
from ocs.fees.dry_run import ExpectedFee, Refunded, expected, nothing
from ocs.master import accounts
from ocs.master import subscribers as known
from ocs.tags import written
from tariffs.catalog import Assignment
from tariffs.fees import FeeRule

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

YEARS_MS: Final = 2 * 366 * 86_400_000
"""Further ahead nothing is asked."""
QUOTED_MAX: Final = 60


class RunStatus(NamedTuple):
    paused_by: str
    paused_ms: int
    began_ms: int
    moved_ms: int
    looked: int
    taken: int
    short: int
    due: int
    """Assignments that are due now."""
    oldest_ms: int
    """When the earliest of them was; 0: none is."""
    next_ms: int
    """When the next one will be; 0: none is known."""
    waiting: int
    """For money."""
    troubled: int
    """Of which a fee has no price, or no room."""


async def status(backoffice: BackOffice) -> RunStatus:
    """How far the run is."""
    now_ms = backoffice.now_ms()
    run = await backoffice.pool.fetchrow("SELECT * FROM fee_run")
    found = await backoffice.pool.fetchrow(
        "SELECT (SELECT count(*) FROM fee_assignments WHERE due_ms <= $1) AS due,"
        " (SELECT min(due_ms) FROM fee_assignments WHERE due_ms > 1) AS first,"
        " (SELECT min(due_ms) FROM fee_assignments WHERE due_ms > $1) AS next,"
        " (SELECT count(*) FROM fee_assignments WHERE waiting) AS waiting,"
        " (SELECT count(*) FROM fee_assignments WHERE why <> '' AND due_ms IS NOT NULL) AS troubled",
        now_ms,
    )
    oldest_ms = found["first"] if found["first"] is not None and found["first"] <= now_ms else 0
    return RunStatus(
        run["paused_by"],
        run["paused_ms"],
        run["began_ms"],
        run["moved_ms"],
        run["looked"],
        run["taken"],
        run["short"],
        found["due"],
        oldest_ms,
        found["next"] or 0,
        found["waiting"],
        found["troubled"],
    )


async def pause(backoffice: BackOffice, actor: str) -> RunStatus:
    """The run stops after the batch that is under way; what is due stays due."""
    await backoffice.pool.execute(
        "UPDATE fee_run SET paused_by = $1, paused_ms = $2 WHERE paused_by = ''", actor, backoffice.now_ms()
    )
    return await status(backoffice)


async def resume(backoffice: BackOffice) -> RunStatus:
    """It goes on where it was."""
    await backoffice.pool.execute("UPDATE fee_run SET paused_by = '', paused_ms = 0")
    return await status(backoffice)


class DuePage(NamedTuple):
    """What would be charged, of some assignments."""

    fees: Sequence[ExpectedFee]
    next: str | None


async def due_page(backoffice: BackOffice, at_ms: int | None, after: str, limit: int) -> DuePage:
    """A dry run: what would be charged up to an instant, if there were money enough; some assignments at a time."""
    now_ms = backoffice.now_ms()
    at_ms = now_ms if at_ms is None else at_ms
    if at_ms > now_ms + YEARS_MS:
        raise Invalid("at", "at most two years from now")
    catalog = (await backoffice.context()).catalog
    found: list[ExpectedFee] = []
    last = ""
    for one in await rows.page(backoffice.pool, at_ms, _cursor(after), limit):
        found += (await expected(catalog, one, at_ms, _refunded(backoffice))).fees
        last = f"{one.due_ms}-{one.id}"
        limit -= 1
    return DuePage(found, last if limit == 0 else None)


def _refunded(backoffice: BackOffice) -> Refunded:
    return lambda fee: refunded_of_fee(backoffice.pool, fee.account, fee.key)


def _cursor(after: str) -> tuple[int, int]:
    if not after:
        return -1, 0
    due_ms, _, number = after.partition("-")
    if not (due_ms.isascii() and due_ms.isdecimal() and number.isascii() and number.isdecimal() and len(after) <= 38):
        raise Invalid("after", f"as an answer gave it, found {after!r}")
    return min(int(due_ms), 2**62), min(int(number), 2**62)


class FeeState(NamedTuple):
    """One fee of an assignment, as it is now."""

    assignment: FeeAssignment
    fee: str
    progress: FeeProgress
    next: ExpectedFee | None
    """What comes next, if nothing changes."""


async def of_subscriber(backoffice: BackOffice, subscriber: str) -> Sequence[FeeState]:
    """The fees of a subscriber, those that have ended last."""
    if await known.get(backoffice.pool, subscriber) is None:
        raise NotFound(f"there is no subscriber {subscriber}")
    catalog, now_ms = (await backoffice.context()).catalog, backoffice.now_ms()
    found = []
    for one in await rows.of_subscriber(backoffice.pool, subscriber):
        ahead: dict[str, ExpectedFee] = {}
        for days in (0, 1, 7, 32, 370):
            for fee in (await expected(catalog, one, now_ms + days * 86_400_000, _refunded(backoffice))).fees:
                ahead.setdefault(fee.key.fee, fee)
            if ahead.keys() >= {name for name, each in one.progress.items() if not each.ended}:
                break
        for name, progress in one.progress.items():
            found.append(FeeState(one, name, progress, ahead.get(name)))
    return sorted(found, key=lambda state: state.progress.ended)


class FeeQuote(NamedTuple):
    """What the fees of a tariff are, and what they would come to."""

    tariff: str
    """With its version."""
    currency: str
    rules: Sequence[FeeRule]
    written_in: str
    """The currency of the document."""
    fees: Sequence[ExpectedFee]
    why: str
    """One has no price, in words."""


class WantedQuote(NamedTuple):
    subscriber: str | None
    """Whose attributes, zone and currency count; None: nobody's, UTC and the tariff's currency."""
    begin_ms: int | None
    """When the assignment would begin; None: now."""
    end_ms: int | None
    until_ms: int | None
    """Up to when; None: for a year."""


async def quote(backoffice: BackOffice, tariff: str, wanted: WantedQuote) -> FeeQuote:
    """What an assignment of a tariff would cost, period by period."""
    catalog = (await backoffice.context()).catalog
    begin_ms = backoffice.now_ms() if wanted.begin_ms is None else wanted.begin_ms
    if begin_ms < 0:
        raise Invalid("from", "after 1970")
    until_ms = begin_ms + YEARS_MS // 2 if wanted.until_ms is None else wanted.until_ms
    if not begin_ms <= until_ms <= begin_ms + YEARS_MS:
        raise Invalid("at", "after `from`, by two years at most")
    if wanted.end_ms is not None and wanted.end_ms <= begin_ms:
        raise Invalid("until", "after `from`")
    version, _ = catalog.in_force(tariff, begin_ms)
    if version is None:
        raise NotFound(f"no version of a tariff {tariff} is in force then")
    assigned = Assignment(tariff, begin_ms, wanted.end_ms or 0)
    currency, time_zone, billing_day = version.currency, "UTC", 1
    attributes, tags = dict[str, str](), ""
    assignments: tuple[Assignment, ...] = (assigned,)
    if wanted.subscriber is not None:
        who = await known.get(backoffice.pool, wanted.subscriber)
        account = await accounts.get(backoffice.pool, who.account) if who is not None else None
        if who is None or account is None:
            raise NotFound(f"there is no subscriber {wanted.subscriber}")
        currency, time_zone, billing_day = account.currency, account.time_zone, account.billing_day
        attributes, tags, assignments = who.attributes, written(who.tags), (*who.tariffs, assigned)
    of = FeeAssignment(
        id=0,
        account="quote",
        subscriber=wanted.subscriber or "quote",
        tariff=tariff,
        began_ms=begin_ms,
        ended_ms=wanted.end_ms or 0,
        begins_by_change=False,
        ends_by_change=False,
        published_ms=0,
        progress={},
        currency=currency,
        time_zone=time_zone,
        billing_day=billing_day,
        attributes=attributes,
        assignments=assignments,
        tags=tags,
    )
    found = await expected(catalog, of, until_ms, nothing)
    fees = found.fees[:QUOTED_MAX]
    return FeeQuote(version.tag, currency, version.parts.fees, version.currency, fees, found.why)
