"""Accounts: opened, read, suspended and closed, and calls about one in the live store.

An account Redis lacks is brought in from PostgreSQL, by its last record or, when it never had one, as it was created;
then the call is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import msgspec

from balances.ledger.event_data import AccountState
from balances.packing import unpack_account
from balances.structs.account import NEVER, Account, Bucket, SuspendReasons
from balances.structs.posting import AccountClosing, AccountSettings, ClosingRest
from ocs.audit import trail
from ocs.backoffice import life
from ocs.backoffice.amounts import money, quantity
from ocs.backoffice.errors import (
    BalanceRemains,
    Forbidden,
    Invalid,
    NotFound,
    StillHeld,
    Unavailable,
    VersionConflict,
)
from ocs.charging.currencies import NUMBERS
from ocs.master import accounts, clocks
from ocs.master.accounts import AccountRow, check_currency
from ocs.master.bring_in import bring_in
from ocs.stores.bounded_postgres import Away
from tariffs.units import Kind
from tariffs.week_hours import clock_of

if TYPE_CHECKING:
    from balances.redis.pending import Pending
    from balances.structs.charge import Reply
    from balances.structs.session import Session
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.changes import Expect

COMES_AND_GOES: Final = "the account goes as soon as it comes: the store is being opened"


class WantedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted state of an account; None leaves a field as it is, or gives a new account its default."""

    id: str
    currency: str
    time_zone: str | None = None
    billing_day: int | None = None
    """1 to 31."""
    credit_limit: int | None = None
    """In micro-units, as all amounts of money."""
    suspend_below: int | None = None
    resume_at: int | None = None
    state: AccountState | None = None
    suspend_for: SuspendReasons = SuspendReasons.OPERATOR
    """Why, where its state is to be `suspended`."""
    grace_until_ms: int | None = None
    """When it ends, where its state is to be `grace`."""
    customer: str | None = None
    tags: Sequence[str] | None = None
    gives_credit: bool = True
    """Whether it may raise the credit limit, which is as good as money."""


# --- looking


async def find(backoffice: BackOffice, account: str) -> AccountRow:
    """The row in PostgreSQL; while that does not answer, what Redis has: then time zone and age are unknown."""
    try:
        row = await accounts.get(backoffice.pool, account)
    except Away:
        found = await backoffice.bounded(backoffice.store.account(account).wait())
        if found is None:
            raise
        return AccountRow(account, found.currency, time_zone="")
    if row is None:
        raise NotFound(f"there is no account {account}")
    return row


async def read(backoffice: BackOffice, row: AccountRow) -> tuple[Account, list[Session]]:
    """The account in the live store, with its sessions."""
    for _ in range(2):
        found: tuple[Account, list[Session]] | None = await backoffice.bounded(backoffice.store.read(row.id))
        if found is not None:
            return found
        await restore(backoffice, row.id)
    raise Unavailable(COMES_AND_GOES)


async def page(backoffice: BackOffice, after: str, limit: int, customer: str | None = None) -> Sequence[AccountRow]:
    """A page of accounts in the order of ids, after the given one: all, or of a customer."""
    return await accounts.page(backoffice.pool, after, limit, customer)


async def those(backoffice: BackOffice, ids: Collection[str]) -> Sequence[AccountRow]:
    """Accounts of these ids, in their order; ids of none are passed over."""
    return await accounts.named(backoffice.pool, "", ids, len(ids))


def settled(account: Account, now_ms: int) -> Sequence[Bucket]:
    """The balance: the sum of the money buckets that are valid now."""
    return [
        bucket
        for bucket in account.buckets
        if bucket.kind == Kind.MONEY and bucket.from_ms <= now_ms and (bucket.until_ms == 0 or bucket.until_ms > now_ms)
    ]


# --- calls about one


async def restore(backoffice: BackOffice, account: str) -> None:
    """Restore the account into Redis, if it is absent (durability.md rule 8)."""
    status = await backoffice.bounded(
        bring_in(backoffice.pool, backoffice.redis, backoffice.store, account, backoffice.now_ms())
    )
    if status == "quarantined":
        raise in_quarantine(account)
    if status not in ("ok", "exists"):
        raise Unavailable(f"the account is not in the live store, which says: {status}")


async def call(backoffice: BackOffice, account: str, make: Callable[[], Pending[Reply]], key: str = "") -> Reply:
    """Call the live store; if the account is absent there, restore it and call again. What a person wishes is on the
    audit trail first.

    key: under which it is done once
    """
    if trail.UNDER_WAY.get() is not None:
        now = await backoffice.bounded(backoffice.store.account(account).wait())
        await trail.intend(backoffice.pool, account, key, before_of(now))
    reply = await _served(backoffice, make)
    if reply.status == "absent":
        await restore(backoffice, account)
        reply = await _served(backoffice, make)
    if reply.status == "absent":
        raise Unavailable(COMES_AND_GOES)
    return reply


def before_of(account: Account | None) -> dict[str, Any] | None:
    """An account as the trail shows it; None where the live store has to bring it first."""
    if account is None:
        return None
    return {
        "rev": account.rev,
        "seq": account.seq,
        "state": account.state,
        "credit_limit": money(account.credit_limit),
        "suspend_below": None if account.suspend_below == NEVER else money(account.suspend_below),
        "buckets": {str(one.id): quantity(one.kind, one.amount) for one in account.buckets},
    }


async def _served(backoffice: BackOffice, make: Callable[[], Pending[Reply]]) -> Reply:
    reply: Reply = await backoffice.bounded(make().wait())
    if reply.status == "full":
        raise Unavailable("the live store is full")
    if reply.status == "fenced":
        raise Unavailable("the live store is being opened anew")
    return reply


def in_quarantine(account: str) -> Unavailable:
    return Unavailable(f"account {account} is in quarantine: see `ocs ledger quarantine list`")


# --- creating and changing


@cache
def is_zone(name: str) -> bool:
    """Whether a time zone of that name exists."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError with an odd text; a directory is an OSError
        return False
    except KeyError:
        return False
    return True


async def put(backoffice: BackOffice, wanted: WantedAccount, actor: str, expect: Expect) -> tuple[AccountRow, bool]:
    """Open the account or change it; returns it, and whether it is new. `expect` checks its version."""
    if wanted.time_zone is not None and not (len(wanted.time_zone) <= 64 and is_zone(wanted.time_zone)):
        raise Invalid("time_zone", f"expected a name such as Europe/Berlin, found {wanted.time_zone!r}")
    settings = _settings(wanted, backoffice.now_ms(), actor)
    row = await accounts.get(backoffice.pool, wanted.id)
    if row is None:
        expect(None)
        _check_credit(wanted, 0)
        row, made = await accounts.create(backoffice.pool, _new(wanted))
        if made:
            await restore(backoffice, row.id)
            if settings.set_state:
                await _change(backoffice, row, settings)
            if wanted.state == "closed":
                await close_empty(backoffice, row, actor)
            return row, True
    return await _update(backoffice, row, wanted, settings, expect), False


def _new(wanted: WantedAccount) -> AccountRow:
    if wanted.currency not in NUMBERS:
        raise Invalid("currency", f"expected an ISO 4217 code such as EUR, found {wanted.currency}")
    below = NEVER if wanted.suspend_below is None else wanted.suspend_below
    resume = below if wanted.resume_at is None else wanted.resume_at
    if resume < below:
        raise _restless()
    return AccountRow(
        id=wanted.id,
        currency=wanted.currency,
        time_zone=wanted.time_zone or "UTC",
        credit_limit=wanted.credit_limit or 0,
        suspend_below=below,
        resume_at=resume,
        created=wanted.state == "created",
        customer=wanted.customer or "",
        tags=tuple(sorted({*(wanted.tags or ())})),
        billing_day=wanted.billing_day or 1,
    )


def _check_credit(wanted: WantedAccount, credit_limit: int) -> None:
    """Raises Forbidden. credit_limit: as it is; who changes the account meanwhile is found out by its revision"""
    if not wanted.gives_credit and (wanted.credit_limit or 0) > credit_limit:
        raise Forbidden("credit_limit: to raise it takes the permission accounts.give-credit")


def _restless() -> Invalid:
    return Invalid("resume_at", "not below suspend_below, or the account would never be at rest")


def _settings(wanted: WantedAccount, now_ms: int, actor: str) -> AccountSettings:
    settings = AccountSettings(wanted.id, now_ms, None, actor=actor, reason="settings")
    settings.credit_limit = wanted.credit_limit
    settings.suspend_below = wanted.suspend_below
    settings.resume_at = wanted.resume_at
    if wanted.state is not None:
        life.wish(settings, wanted.state, wanted.suspend_for, wanted.grace_until_ms)
    elif wanted.grace_until_ms is not None:
        raise Invalid("grace_until", "with state: grace, and only with it")
    return settings


async def _update(
    backoffice: BackOffice, row: AccountRow, wanted: WantedAccount, settings: AccountSettings, expect: Expect
) -> AccountRow:
    check_currency(row, wanted.currency)
    now, _ = await read(backoffice, row)
    _check_credit(wanted, now.credit_limit)
    zone = wanted.time_zone if wanted.time_zone != row.time_zone else None
    if settings.suspend_below is not None and settings.resume_at is None and now.resume_at < settings.suspend_below:
        settings.resume_at = settings.suspend_below
    if wanted.state is not None:
        life.check_transition(now.state, wanted.state)
    closes = wanted.state == "closed" and not (now.state & SuspendReasons.CLOSED and is_empty(now))
    described = (
        row.customer if wanted.customer is None else wanted.customer,
        row.tags if wanted.tags is None else tuple(sorted({*wanted.tags})),
    )
    redescribes = described != (row.customer, row.tags)
    billing_day = wanted.billing_day if wanted.billing_day != row.billing_day else None
    if zone is None and billing_day is None and not closes and not redescribes and not _changes(now, settings):
        return row
    expect(now.rev)
    settings.if_rev = now.rev  # as it was when we looked: the script compares again
    if _changes(now, settings):
        await _change(backoffice, row, settings)
    if closes:
        await close_empty(backoffice, row, settings.actor)
    if redescribes:
        await accounts.describe(backoffice.pool, row.id, *described)
        row = await find(backoffice, row.id)
    if billing_day is not None:
        await accounts.set_billing_day(backoffice.pool, row.id, billing_day, backoffice.now_ms())
        row = await find(backoffice, row.id)
    if zone is not None:
        if now.clock:  # first, so that who is interrupted in between does it again
            clock = clock_of(zone, backoffice.now_ms())
            await _change(backoffice, row, AccountSettings(row.id, backoffice.now_ms(), None, clock=clock))
        await accounts.set_time_zone(backoffice.pool, row.id, zone, backoffice.now_ms())
        now, _ = await read(backoffice, row)
        await clocks.keep_clock(backoffice.pool, backoffice.store, row.id, now.clock, backoffice.now_ms())
        await backoffice.publish()
        row = await find(backoffice, row.id)
    return row


def _changes(now: Account, settings: AccountSettings) -> bool:
    return (
        any(
            value is not None and value != getattr(now, name)
            for name, value in (
                ("credit_limit", settings.credit_limit),
                ("suspend_below", settings.suspend_below),
                ("resume_at", settings.resume_at),
                ("grace_until_ms", settings.grace_until_ms),
            )
        )
        or (now.state | settings.set_state) & ~settings.clear_state != now.state
    )


async def _change(backoffice: BackOffice, row: AccountRow, settings: AccountSettings) -> None:
    reply = await call(backoffice, row.id, lambda: backoffice.store.settings(settings))
    if reply.status == "refused":
        raise _restless()
    if reply.status == "revision":
        rev = unpack_account(reply.outcome).rev
        raise VersionConflict(f"its version is {rev} now: read it again", version=rev)


# --- closing


def is_empty(account: Account) -> bool:
    """Whether it neither has nor owes anything."""
    return not any(bucket.amount for bucket in account.buckets)


async def close_empty(backoffice: BackOffice, row: AccountRow, actor: str) -> None:
    """Close an account that neither has nor owes anything."""
    wanted = AccountClosing(row.id, "", "", backoffice.now_ms(), 0, actor, "settings", "", ClosingRest.REFUSED)
    reply = await call(backoffice, row.id, lambda: backoffice.store.close(wanted))
    check_closed(row, reply.status)


def check_closed(row: AccountRow, status: str) -> None:
    """Raises what an account was not closed for. status: of the reply"""
    if status == "held":
        raise StillHeld(f"account {row.id} is in use: suspend it, and close it when its sessions have ended")
    if status == "remains":
        how = "with remainder payout (of own money) or write-off (of all, also of a debt)"
        raise BalanceRemains(f"account {row.id} is not empty: close it {how}")
