"""Statements: a period of an account, or of all accounts of a customer; and a balance of the past (charging.md section
20)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from balances.ledger.kept import NotKept, kept
from balances.ledger.statement import (
    EVER_MS,
    BucketSum,
    KindSums,
    PeriodSums,
    ReasonSums,
    balance_at,
    check_from,
    period,
)
from ocs.backoffice import accounts, postings
from ocs.backoffice.errors import Forgotten, Invalid, NotFound
from ocs.backoffice.postings import WantedEntries
from ocs.master.accounts import of_customer
from ocs.tags import undeclared

if TYPE_CHECKING:
    from asyncpg import Record

    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow

SETTLES_MS: Final = 5_000
"""Clocks of hosts differ by less: an instant so long ago gets no further entries."""
ACCOUNTS_MAX: Final = 1_000
AT_ONCE: Final = 1_000


class Statement(msgspec.Struct, frozen=True):
    """A period of one account."""

    row: AccountRow
    from_ms: int
    until_ms: int
    sums: PeriodSums
    closed: bool
    """Nothing in it changes any more: it is over, and all that was posted in it is here."""


class CustomerSums(msgspec.Struct, frozen=True):
    """All accounts of one customer in one currency, together."""

    currency: str
    kinds: Sequence[KindSums]
    reasons: Sequence[ReasonSums]


async def balance(
    backoffice: BackOffice, account: str, as_of_ms: int | None, known_ms: int | None
) -> tuple[AccountRow, list[BucketSum]]:
    """What the account had; None: now."""
    row = await accounts.find(backoffice, account)
    as_of, known = EVER_MS if as_of_ms is None else as_of_ms, EVER_MS if known_ms is None else known_ms
    try:
        return row, await balance_at(backoffice.pool, row.id, as_of, known)
    except NotKept as why:
        raise Forgotten(str(why)) from None


async def of_account(
    backoffice: BackOffice, account: str, from_ms: int, until_ms: int, group_by: str | None
) -> Statement:
    """A period by posting time.

    group_by: key of a charging tag, by which entries are told apart too; None: by none
    """
    check_period(from_ms, until_ms)
    found = await _of(backoffice, await accounts.find(backoffice, account), from_ms, until_ms, group_by)
    _check_grouping(backoffice, group_by, [found])
    return found


def _check_grouping(backoffice: BackOffice, key: str | None, found: Sequence[Statement]) -> None:
    """A key that is not declared sums what entries say that were posted while it was; where none does, it is wrong."""
    why = undeclared([] if key is None else [key], backoffice.tags)
    if why and not any(one.tag is not None for each in found for one in each.sums.reasons):
        raise Invalid("group_by", why)


async def check_kept(backoffice: BackOffice, from_ms: int) -> None:
    """Raises Forgotten: entries of a period that begins then are not kept any more."""
    try:
        check_from(from_ms, await kept(backoffice.pool))
    except NotKept as why:
        raise Forgotten(str(why)) from None


def check_period(from_ms: int, until_ms: int) -> None:
    if until_ms <= from_ms:
        raise Invalid("until", "expected an instant after the one of from")


async def _of(backoffice: BackOffice, row: AccountRow, from_ms: int, until_ms: int, group_by: str | None) -> Statement:
    # The live store is asked first: what was posted until then has to be among the entries.
    live, _ = await accounts.read(backoffice, row)
    try:
        sums = await period(backoffice.pool, row.id, from_ms, until_ms, group_by)
    except NotKept as why:
        raise Forgotten(str(why)) from None
    is_over = until_ms <= backoffice.now_ms() - SETTLES_MS
    return Statement(row, from_ms, until_ms, sums, is_over and sums.last_seq >= live.seq)


async def of_customer_accounts(
    backoffice: BackOffice, customer: str, from_ms: int, until_ms: int, group_by: str | None
) -> tuple[list[Statement], list[CustomerSums]]:
    """Statements of all accounts of a customer, and their sums by currency."""
    check_period(from_ms, until_ms)
    rows = await of_customer(backoffice.pool, customer, ACCOUNTS_MAX + 1)
    if not rows:
        raise NotFound(f"no account is of customer {customer}")
    if len(rows) > ACCOUNTS_MAX:
        raise Invalid("customer", f"it has more than {ACCOUNTS_MAX} accounts: ask for them one by one")
    found = [await _of(backoffice, row, from_ms, until_ms, group_by) for row in rows]
    _check_grouping(backoffice, group_by, found)
    currencies = sorted({one.row.currency for one in found})
    return found, [_together(name, [one.sums for one in found if one.row.currency == name]) for name in currencies]


def _together(currency: str, sums: Sequence[PeriodSums]) -> CustomerSums:
    kinds: dict[int, KindSums] = {}
    reasons: dict[tuple[int, str, str, str | None], ReasonSums] = {}
    for one in sums:
        for kind in one.kinds:
            before = kinds.get(kind.kind, KindSums(kind.kind, 0, 0))
            kinds[kind.kind] = KindSums(kind.kind, before.opening + kind.opening, before.closing + kind.closing)
        for reason in one.reasons:
            place = reason.kind, reason.why, reason.counter_account, reason.tag
            known = reasons.get(place)
            reasons[place] = reason if known is None else _sum(known, reason)
    return CustomerSums(
        currency, [kinds[kind] for kind in sorted(kinds)], [reasons[place] for place in sorted(reasons, key=_order)]
    )


def _order(place: tuple[int, str, str, str | None]) -> tuple[int, str, str, bool, str]:
    """As of one account: what has no tag comes last."""
    kind, why, counter_account, tag = place
    return kind, why, counter_account, tag is None, tag or ""


def _sum(one: ReasonSums, other: ReasonSums) -> ReasonSums:
    """Of the same entries of two accounts."""
    return one._replace(
        entries=one.entries + other.entries,
        amount=one.amount + other.amount,
        net=_plus(one.net, other.net),
        tax=_plus(one.tax, other.tax),
    )


def _plus(one: int | None, other: int | None) -> int | None:
    """None: of no entry is it known."""
    return other if one is None else one if other is None else one + other


async def lines(
    backoffice: BackOffice, account: str, from_ms: int, until_ms: int, tag: str | None
) -> AsyncIterator[Sequence[Record]]:
    """All entries of the period, in their order, some at a time.

    tag: only those with this charging tag, as JSON; None: all
    """
    after = 0
    while True:
        page = await postings.entries(
            backoffice,
            account,
            WantedEntries(
                after_seq=after,
                before_seq=2**53,
                from_ms=from_ms,
                until_ms=until_ms,
                kind=None,
                why=None,
                tag=tag,
                newest_first=False,
                limit=AT_ONCE,
            ),
        )
        if page:
            yield page
        if len(page) < AT_ONCE:
            return
        after = page[-1]["seq"]
