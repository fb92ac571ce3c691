"""Offers that top-ups name, in the master data: what a payment gives besides itself (charging.md 23)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ocs.backoffice.errors import Conflict, NotFound

if TYPE_CHECKING:
    from asyncpg import Pool

    from ocs.master.changes import Expect

OFFERS_MAX: Final = 1_000

PERCENT: Final = 10_000
"""Parts of a whole that a percentage is counted in: 10.25 % are 1,025 of these."""


class OfferBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What the bucket of something given is like."""

    days: int | None = None
    """It ends so many times 24 hours after the top-up; None: never."""
    scope: tuple[str, ...] = ()
    """Services it may pay; empty: all."""
    priority: int
    name: str = ""


class OfferBonus(OfferBucket, frozen=True, kw_only=True):
    """Bonus money, in micro-units."""

    fixed: int = 0
    parts: int = 0
    """Of what was paid, in 1 / PERCENT."""
    step: int
    """That the parts are rounded down to."""
    most: int | None = None

    def of(self, paid: int) -> int:
        """What is given for a payment."""
        bonus = self.fixed + paid * self.parts // (PERCENT * self.step) * self.step
        return bonus if self.most is None else min(bonus, self.most)


class OfferUnits(OfferBucket, frozen=True, kw_only=True):
    kind: int
    amount: int
    is_part: bool = False
    """Money of the units before it."""
    price: int = 0
    """See Bucket."""
    per: int = 1


class OfferExtension(msgspec.Struct, frozen=True):
    """Buckets of this name end no sooner than so many times 24 hours after the top-up."""

    bucket: str
    days: int


class OfferBand(msgspec.Struct, frozen=True, kw_only=True):
    """What a payment of `least` to `most` micro-units (None: any more) gives besides itself."""

    least: int
    most: int | None = None
    bonus: OfferBonus | None = None
    units: tuple[OfferUnits, ...] = ()
    extends: tuple[OfferExtension, ...] = ()
    resets: tuple[str, ...] = ()
    """Names of spending limits."""
    grace_days: int | None = None
    """A grace of the account ends no sooner than so many times 24 hours after the top-up."""


class TopUpOffer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: int = 0
    """0: not stored yet."""
    currency: str
    bands: tuple[OfferBand, ...]
    """In the order of their amounts, none in another one."""
    text: str
    changed_ms: int
    changed_by: str

    def band_of(self, paid: int) -> OfferBand | None:
        return next(
            (one for one in self.bands if one.least <= paid and (one.most is None or paid <= one.most)),
            None,
        )


_SELECT: Final = "SELECT name, version, currency, bands::text AS bands, text, changed_ms, changed_by FROM top_up_offers"
_BANDS: Final = msgspec.json.Decoder(tuple[OfferBand, ...]).decode


def _offer(row: Any) -> TopUpOffer:
    return TopUpOffer(**{**row, "bands": _BANDS(row["bands"])})


async def get(pool: Pool, name: str) -> TopUpOffer | None:
    row = await pool.fetchrow(f"{_SELECT} WHERE name = $1", name)
    return None if row is None else _offer(row)


async def page(pool: Pool, after: str, limit: int) -> Sequence[TopUpOffer]:
    return [_offer(row) for row in await pool.fetch(f"{_SELECT} WHERE name > $1 ORDER BY name LIMIT $2", after, limit)]


async def put(pool: Pool, wanted: TopUpOffer, expect: Expect) -> TopUpOffer:
    """Make or change an offer; returns it as it is now. Raises Conflict where there are OFFERS_MAX."""
    async with pool.acquire() as db, db.transaction():
        await db.execute("LOCK TABLE top_up_offers IN SHARE ROW EXCLUSIVE MODE")
        version = await db.fetchval("SELECT version FROM top_up_offers WHERE name = $1", wanted.name)
        expect(version)
        if version is None and await db.fetchval("SELECT count(*) FROM top_up_offers") >= OFFERS_MAX:
            raise Conflict(f"there are {OFFERS_MAX} offers: delete one that is over")
        made = msgspec.structs.replace(wanted, version=(version or 0) + 1)
        await db.execute(
            "INSERT INTO top_up_offers (name, version, currency, bands, text, changed_ms, changed_by)"
            " VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET version = $2,"
            " currency = $3, bands = EXCLUDED.bands, text = $5, changed_ms = $6, changed_by = $7",
            made.name,
            made.version,
            made.currency,
            msgspec.json.encode(made.bands).decode(),
            made.text,
            made.changed_ms,
            made.changed_by,
        )
        return made


async def delete(pool: Pool, name: str, expect: Expect) -> None:
    async with pool.acquire() as db, db.transaction():
        version = await db.fetchval("SELECT version FROM top_up_offers WHERE name = $1 FOR UPDATE", name)
        if version is None:
            raise NotFound(f"there is no offer {name}")
        expect(version)
        await db.execute("DELETE FROM top_up_offers WHERE name = $1", name)
