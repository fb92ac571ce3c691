"""Accounts as PostgreSQL knows them: that they exist, their currency and their zone. Balances are not here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from balances.structs.account import NEVER
from ocs.master.changes import Immutable, change

if TYPE_CHECKING:
    from asyncpg import Pool, Record


class AccountRow(msgspec.Struct, frozen=True):
    id: str
    currency: str
    time_zone: str
    credit_limit: int = 0
    suspend_below: int = NEVER
    resume_at: int = NEVER
    created_ms: int = 0


FIELDS = (
    "id, currency, time_zone, credit_limit, suspend_below, resume_at,"
    " (extract(epoch FROM created_at) * 1000)::bigint AS created_ms"
)


def _row(record: Record) -> AccountRow:
    values = dict(record)
    for name in ("suspend_below", "resume_at"):
        if values[name] is None:
            values[name] = NEVER
    return AccountRow(**values)


def _or_null(amount: int) -> int | None:
    return None if amount == NEVER else amount


async def get(pool: Pool, account: str) -> AccountRow | None:
    record = await pool.fetchrow(f"SELECT {FIELDS} FROM accounts WHERE id = $1", account)
    return _row(record) if record else None


async def page(pool: Pool, after: str, limit: int) -> Sequence[AccountRow]:
    records = await pool.fetch(f"SELECT {FIELDS} FROM accounts WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
    return [_row(record) for record in records]


async def create(pool: Pool, wanted: AccountRow) -> tuple[AccountRow, bool]:
    """The account, and whether this call made it: of two that create the same, both find it afterwards."""
    async with change(pool) as (db, number):
        made = await db.fetchrow(
            "INSERT INTO accounts"
            " (id, currency, time_zone, credit_limit, suspend_below, resume_at, change, members_change)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING RETURNING {FIELDS}",
            wanted.id,
            wanted.currency,
            wanted.time_zone,
            wanted.credit_limit,
            _or_null(wanted.suspend_below),
            _or_null(wanted.resume_at),
            number,
        )
        if made:
            return _row(made), True
        found = await db.fetchrow(f"SELECT {FIELDS} FROM accounts WHERE id = $1", wanted.id)
        return _row(found), False


async def set_time_zone(pool: Pool, account: str, time_zone: str) -> None:
    """Its subscribers are priced in it, so all their profiles change."""
    async with change(pool) as (db, number):
        await db.execute(
            "UPDATE accounts SET time_zone = $2, change = $3, members_change = $3 WHERE id = $1",
            account,
            time_zone,
            number,
        )
        await db.execute(
            "UPDATE identities SET change = $2 FROM subscribers s"
            " WHERE s.account = $1 AND identities.subscriber = s.id",
            account,
            number,
        )


def check_currency(found: AccountRow, currency: str) -> None:
    if found.currency != currency:
        raise Immutable(f"account {found.id} is kept in {found.currency}: an account never changes its currency")
