"""Spending limits in the master data: of a subscriber, or of all of an account together (charging.md 15)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ocs.backoffice.errors import Invalid, NotFound
from ocs.master.changes import change
from tariffs.limits import LIMITS_MAX, SpendingLimit

if TYPE_CHECKING:
    from asyncpg import Connection, Pool


class LimitOwner(msgspec.Struct, frozen=True):
    """Whose limit it is: of a subscriber, or of an account."""

    subscriber: str = ""
    account: str = ""

    @property
    def column(self) -> str:
        return "subscriber" if self.subscriber else "account"

    @property
    def id(self) -> str:
        return self.subscriber or self.account


AS_ARRAY: Final = (
    "json_build_array(l.name, l.kind, l.amount, l.period, l.services, l.visited, l.not_visited, l.account IS NOT NULL)"
)
"""A limit as SpendingLimit is written."""

_OF: Final = f"SELECT {AS_ARRAY}::text AS packed FROM spending_limits l"
_READ: Final = msgspec.json.Decoder(SpendingLimit).decode


def limits_of(text: str) -> tuple[SpendingLimit, ...]:
    """Limits from `json_agg` of AS_ARRAY."""
    return msgspec.json.decode(text, type=tuple[SpendingLimit, ...])


async def of(pool: Pool, owner: LimitOwner) -> Sequence[SpendingLimit]:
    found = await pool.fetch(f"{_OF} WHERE l.{owner.column} = $1 ORDER BY l.name", owner.id)
    return [_READ(row["packed"]) for row in found]


async def put(pool: Pool, owner: LimitOwner, wanted: SpendingLimit) -> bool:
    """Set a limit; returns whether it is new."""
    async with change(pool) as (db, number):
        await _owned(db, owner)
        names = [row["name"] for row in await db.fetch(f"{_NAMES} WHERE {owner.column} = $1", owner.id)]
        if wanted.name not in names and len(names) >= LIMITS_MAX:
            raise Invalid("name", f"at most {LIMITS_MAX} limits of one {owner.column}")
        await db.execute(
            f"INSERT INTO spending_limits ({owner.column}, name, kind, amount, period, services, visited, not_visited)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ({owner.column}, name)"
            f" WHERE {owner.column} IS NOT NULL DO UPDATE SET kind = $3, amount = $4, period = $5, services = $6,"
            " visited = $7, not_visited = $8",
            owner.id,
            wanted.name,
            wanted.kind,
            wanted.amount,
            wanted.period,
            list(wanted.services),
            list(wanted.visited),
            list(wanted.not_visited),
        )
        await _touch(db, owner, number)
        return wanted.name not in names


async def of_all(
    db: Pool | Connection, owners: Collection[LimitOwner], tables: str = ""
) -> dict[LimitOwner, Sequence[SpendingLimit]]:
    """Those of each that has some, in the order of their names. tables: schema with a point, where not the usual tables
    are meant."""
    found: dict[LimitOwner, list[SpendingLimit]] = {}
    for row in await db.fetch(
        "SELECT coalesce(l.account, '') AS account, coalesce(l.subscriber, '') AS subscriber,"
        f" {AS_ARRAY}::text AS packed FROM {tables}spending_limits l"
        " WHERE l.account = ANY($1) OR l.subscriber = ANY($2)"
        " ORDER BY l.name",
        [one.account for one in owners if one.account],
        [one.subscriber for one in owners if one.subscriber],
    ):
        owner = LimitOwner(account=row["account"], subscriber=row["subscriber"])
        found.setdefault(owner, []).append(_READ(row["packed"]))
    return dict(found)


LIMIT_COLUMNS: Final = (
    *("account", "subscriber", "name", "kind", "amount", "period", "services", "visited", "not_visited"),
)


def limit_record(owner: LimitOwner, limit: SpendingLimit) -> tuple[Any, ...]:
    """The columns above."""
    where = list(limit.services), list(limit.visited), list(limit.not_visited)
    return (owner.account or None, owner.subscriber or None, limit.name, limit.kind, limit.amount, limit.period, *where)


_NAMES: Final = "SELECT name FROM spending_limits"


async def delete(pool: Pool, owner: LimitOwner, name: str) -> None:
    async with change(pool) as (db, number):
        query = f"DELETE FROM spending_limits WHERE {owner.column} = $1 AND name = $2 RETURNING name"
        if await db.fetchval(query, owner.id, name) is None:
            raise NotFound(f"{owner.column} {owner.id} has no limit {name}")
        await _touch(db, owner, number)


async def _owned(db: Connection, owner: LimitOwner) -> None:
    if not await db.fetchval(f"SELECT true FROM {owner.column}s WHERE id = $1 FOR UPDATE", owner.id):
        raise NotFound(f"there is no {owner.column} {owner.id}")


async def _touch(db: Connection, owner: LimitOwner, number: int) -> None:
    """The profiles of all whom it limits change, and their account is told."""
    whose = f"(SELECT subscriber FROM paying WHERE {owner.column} = $1)"
    await db.execute(f"UPDATE identities SET change = $2 WHERE subscriber IN {whose}", owner.id, number)
    await db.execute(f"UPDATE subscribers SET limits_change = $2 WHERE id IN {whose}", owner.id, number)
    told = "= $1" if owner.account else "IN (SELECT account FROM paying WHERE subscriber = $1)"
    await db.execute(f"UPDATE accounts SET members_change = $2 WHERE id {told}", owner.id, number)
