"""Account rows in PostgreSQL: id, currency, time zone, what the account is opened with. Balances are not here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from balances.structs.account import NEVER, WeekHours
from balances.structs.thresholds import ServiceSuspension, Threshold
from ocs.backoffice.errors import Immutable
from ocs.master.changes import change
from ocs.master.fee_assignments import OpeningFee, follow_account

if TYPE_CHECKING:
    from asyncpg import Pool, Record


class OpeningBucket(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bucket that an account is opened with, beside its main one."""

    kind: int
    amount: int
    """More than zero, but of a blocker; micro-units of money, else whole units."""
    name: str = ""
    scope: tuple[str, ...] = ()
    priority: int = 50
    from_ms: int = 0
    until_ms: int = 0
    window_ms: int = 0
    bonus: bool = False
    member: str = ""
    filled: int | None = None
    """What percentages are of; None: the amount."""
    blocker: bool = False
    hours: tuple[WeekHours, ...] = ()
    is_part: bool = False
    """Money of the units before it."""
    price: int = 0
    """Of units: see Bucket."""
    per: int = 1


class OpeningCounter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was used of a limit or a tier before the account was opened."""

    key: str
    """As the account has it."""
    used: int
    until_ms: int = 0
    """When its period or window ends; 0: never."""
    window: int = 0
    """CounterWindow."""


class AccountRow(msgspec.Struct, frozen=True):
    id: str
    currency: str
    time_zone: str
    credit_limit: int = 0
    suspend_below: int = NEVER
    resume_at: int = NEVER
    created_ms: int = 0
    balance: int = 0
    """What the main bucket is opened with; not what it has now."""
    buckets: tuple[OpeningBucket, ...] = ()
    """Buckets that it is opened with besides the main balance."""
    opened_by: str = ""
    thresholds: tuple[Threshold, ...] = ()
    """Notification thresholds that it is opened with, in the order of their names; not those it has now."""
    services: tuple[ServiceSuspension, ...] = ()
    """Likewise services with a line of their own."""
    created: bool = False
    """Opened before anybody uses it: active from its first use (charging.md section 16)."""
    customer: str = ""
    """Whose it is; "" for nobody's."""
    tags: tuple[str, ...] = ()
    """What people sort accounts by, in their order."""
    billing_day: int = 1
    """On which its billing month begins, 1 to 31; a month that has no such day begins on its last one."""
    state: int | None = None
    """SuspendReasons that it is opened with; None: as its balance says. Not what it has now."""
    grace_until_ms: int = 0
    """Likewise."""
    filled: int | None = None
    """What percentages of the main bucket are of when it is opened; None: its balance."""
    counters: tuple[OpeningCounter, ...] = ()
    """That it is opened with, by their keys."""
    fees: tuple[OpeningFee, ...] = ()
    """Likewise, by their chains."""


FIELDS: Final = (
    "id, currency, time_zone, credit_limit, suspend_below, resume_at,"
    " (extract(epoch FROM created_at) * 1000)::bigint AS created_ms,"
    " opening_balance AS balance, opening_buckets::text AS buckets, opened_by,"
    " opening_thresholds::text AS thresholds, opening_services::text AS services,"
    " opening_created AS created, customer, tags, billing_day,"
    " opening_state AS state, opening_grace_until_ms AS grace_until_ms, opening_filled AS filled,"
    " opening_counters::text AS counters, opening_fees::text AS fees"
)


_buckets: Final = msgspec.json.Decoder(tuple[OpeningBucket, ...]).decode
_thresholds: Final = msgspec.json.Decoder(tuple[Threshold, ...]).decode
_counters: Final = msgspec.json.Decoder(tuple[OpeningCounter, ...]).decode
_fees: Final = msgspec.json.Decoder(tuple[OpeningFee, ...]).decode
_services: Final = msgspec.json.Decoder(tuple[ServiceSuspension, ...]).decode


def row_of(record: Record) -> AccountRow:
    """The row of a database record with FIELDS."""
    values = dict(record)
    values["buckets"], values["tags"] = _buckets(values["buckets"]), tuple(values["tags"])
    values["counters"], values["fees"] = _counters(values["counters"]), _fees(values["fees"])
    values["thresholds"], values["services"] = _thresholds(values["thresholds"]), _services(values["services"])
    for name in ("suspend_below", "resume_at"):
        if values[name] is None:
            values[name] = NEVER
    return AccountRow(**values)


def or_null(amount: int) -> int | None:
    """A threshold as its column has it."""
    return None if amount == NEVER else amount


async def get(pool: Pool, account: str) -> AccountRow | None:
    record = await pool.fetchrow(f"SELECT {FIELDS} FROM accounts WHERE id = $1", account)
    return row_of(record) if record else None


async def page(
    pool: Pool,
    after: str,
    limit: int,
    customer: str | None = None,
    tag: str | None = None,
    ids: Collection[str] | None = None,
) -> Sequence[AccountRow]:
    """In the order of their ids, after the given one: all, of a customer, with a tag, of these ids."""
    wanted: list[str] = ["id > $1"]
    given: list[Any] = [after, limit]
    if customer is not None:
        given.append(customer)
        wanted.append(f"customer = ${len(given)}")
    if tag is not None:
        given.append(tag)
        wanted.append(f"tags @> ARRAY[${len(given)}::text]")
    if ids is not None:
        given.append(list(ids))
        wanted.append(f"id = ANY(${len(given)})")
    query = f"SELECT {FIELDS} FROM accounts WHERE {' AND '.join(wanted)} ORDER BY id LIMIT $2"
    return [row_of(record) for record in await pool.fetch(query, *given)]


async def of_customer(pool: Pool, customer: str, limit: int) -> Sequence[AccountRow]:
    """All accounts of a customer, in the order of their ids."""
    return await page(pool, "", limit, customer)


async def named(pool: Pool, text: str, ids: Collection[str], limit: int) -> Sequence[AccountRow]:
    """Accounts with these ids, and those that the text names by id, customer or tag."""
    query = (
        f"SELECT {FIELDS} FROM accounts WHERE id = ANY($2) OR id = $1 OR (customer = $1 AND customer <> '')"
        " OR tags @> ARRAY[$1::text] ORDER BY id LIMIT $3"
    )
    return [row_of(record) for record in await pool.fetch(query, text, list(ids), limit)]


async def create(pool: Pool, wanted: AccountRow) -> tuple[AccountRow, bool]:
    """The account, and whether this call made it: of two that create the same, both find it afterwards."""
    async with change(pool) as (db, number):
        made = await db.fetchrow(
            "INSERT INTO accounts"
            " (id, currency, time_zone, credit_limit, suspend_below, resume_at, change, members_change,"
            " opening_created, customer, tags, billing_day)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11)"
            f" ON CONFLICT (id) DO NOTHING RETURNING {FIELDS}",
            wanted.id,
            wanted.currency,
            wanted.time_zone,
            wanted.credit_limit,
            or_null(wanted.suspend_below),
            or_null(wanted.resume_at),
            number,
            wanted.created,
            wanted.customer,
            [*wanted.tags],
            wanted.billing_day,
        )
        if made:
            return row_of(made), True
        found = await db.fetchrow(f"SELECT {FIELDS} FROM accounts WHERE id = $1", wanted.id)
        return row_of(found), False


async def set_billing_day(pool: Pool, account: str, day: int, now_ms: int) -> None:
    """Its billing months begin on another day."""
    async with change(pool) as (db, _):
        await db.execute("UPDATE accounts SET billing_day = $2 WHERE id = $1", account, day)
        await follow_account(db, account, now_ms)


async def set_time_zone(pool: Pool, account: str, time_zone: str, now_ms: int) -> None:
    """Change the time zone. The subscribers of the account are priced in it, so all their profiles change."""
    async with change(pool) as (db, number):
        await db.execute(
            "UPDATE accounts SET time_zone = $2, change = $3, members_change = $3 WHERE id = $1",
            account,
            time_zone,
            number,
        )
        await db.execute(
            "UPDATE identities SET change = $2 FROM paying p"
            " WHERE p.account = $1 AND identities.subscriber = p.subscriber",
            account,
            number,
        )
        await follow_account(db, account, now_ms)


async def describe(pool: Pool, account: str, customer: str, tags: Sequence[str]) -> None:
    """Say whose the account is, and by what it is sorted."""
    query = "UPDATE accounts SET customer = $2, tags = $3 WHERE id = $1"
    await pool.execute(query, account, customer, [*tags])


def check_currency(found: AccountRow, currency: str) -> None:
    if found.currency != currency:
        raise Immutable(f"account {found.id} is kept in {found.currency}: an account never changes its currency")
