"""Vouchers that go from one server to another one: batches, and lots of what their codes are stored as. No code is
among them in clear: who has the keys of vouchers (voucher_keys.py) can redeem them there, and nobody else.

What is there already is never changed: of a batch that exists its state counts, and whether a voucher was blocked or
redeemed since. Only of a batch that was moved to another server it is noted what was redeemed or blocked there, and
that its codes went out there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ocs.backoffice.errors import Conflict, Unavailable
from ocs.master import vouchers
from ocs.master.bulk_rows import Objection
from ocs.master.sealing import CannotOpen
from ocs.master.voucher_keys import VoucherKeys
from ocs.master.vouchers import LOT, BatchRow, VoucherBatch, lot_name


class BroughtBatch(NamedTuple):
    batch: VoucherBatch
    state: str
    exported_ms: int | None
    """When its codes went out in clear, where it comes from."""


class RedeemedElsewhere(NamedTuple):
    serial: int
    redeemed_ms: int
    account: str


class BroughtLot(NamedTuple):
    """Vouchers of a batch, one behind the other."""

    batch: str
    first: int
    digests: Sequence[bytes]
    blocked: Sequence[int]
    """Serial numbers."""
    redeemed: Sequence[RedeemedElsewhere]
    sealed: str
    """Its codes, sealed, as long as nobody has them in clear; "" for none."""


Brought = BroughtBatch | BroughtLot


class BroughtCount(NamedTuple):
    """Vouchers of a line: new ones, and those that were there."""

    made: int = 0
    known: int = 0


# --- out

_LOT: Final = """
    SELECT v.serial, v.digest, v.blocked, COALESCE(c.claimed_ms, v.redeemed_ms) AS redeemed_ms,
        COALESCE(c.account, v.redeemed_by) AS account
    FROM vouchers v LEFT JOIN voucher_claims c ON c.batch = v.batch AND c.serial = v.serial
    WHERE v.batch = $1 AND v.serial >= $2 ORDER BY v.serial LIMIT $3
"""
_SEALED: Final = "SELECT sealed FROM voucher_codes WHERE batch = $1 AND first = $2"


async def lot_of(pool: Any, row: BatchRow, first: int) -> BroughtLot | None:
    """The lot of a batch that begins there, as lots are made; None: it has no more."""
    found = await pool.fetch(_LOT, row["id"], first, LOT)
    if not found:
        return None
    first = found[0]["serial"]
    found = [one for place, one in enumerate(found, first) if one["serial"] == place]  # to the first that is missing
    return BroughtLot(
        row["id"],
        first,
        [one["digest"] for one in found],
        [one["serial"] for one in found if one["blocked"]],
        [
            RedeemedElsewhere(one["serial"], one["redeemed_ms"], one["account"])
            for one in found
            if one["redeemed_ms"] is not None
        ],
        await pool.fetchval(_SEALED, row["id"], first) or "",
    )


# --- in


async def bring(db: Any, what: Brought, keys: VoucherKeys, actor: str, now_ms: int) -> BroughtCount:
    """In a transaction of who calls. Raises an Objection, with nothing done of it."""
    async with db.transaction():
        if isinstance(what, BroughtBatch):
            await _batch(db, what, actor, now_ms)
            return BroughtCount()
        return await _lot(db, what, keys)


async def _batch(db: Any, what: BroughtBatch, actor: str, now_ms: int) -> None:
    is_new = await vouchers.get(db, what.batch.id) is None
    try:
        await vouchers.insert(db, what.batch, actor, now_ms)
    except Conflict as why:
        raise Objection("conflict", "voucher_batch.id", why.detail) from None
    if is_new:
        await db.execute(
            "UPDATE voucher_batches SET state = $2, exported_ms = $3 WHERE id = $1",
            what.batch.id,
            what.state,
            what.exported_ms,
        )
    elif what.exported_ms is not None:
        await _went_out_there(db, what.batch.id, what.exported_ms)


async def _went_out_there(db: Any, batch: str, exported_ms: int) -> None:
    """Codes go out once, whichever server they are on (docs/vouchers.md)."""
    noted = await db.fetchval(
        "UPDATE voucher_batches SET exported_ms = $2 WHERE id = $1 AND moved_ms IS NOT NULL AND exported_ms IS NULL"
        " RETURNING id",
        batch,
        exported_ms,
    )
    if noted is not None:
        await db.execute("DELETE FROM voucher_codes WHERE batch = $1", batch)


_BRING: Final = """
    INSERT INTO vouchers (batch, serial, digest, blocked, redeemed_ms, redeemed_by)
    SELECT $1, b.serial, b.digest, b.serial = ANY($4::int[]), r.redeemed_ms, COALESCE(r.account, '')
    FROM unnest($2::int[], $3::bytea[]) AS b(serial, digest)
        LEFT JOIN unnest($5::int[], $6::bigint[], $7::text[]) AS r(serial, redeemed_ms, account) USING (serial)
    ON CONFLICT DO NOTHING RETURNING serial
"""


_REDEEMED_THERE: Final = """
    UPDATE vouchers v SET redeemed_ms = r.redeemed_ms, redeemed_by = r.account
    FROM unnest($2::int[], $3::bigint[], $4::text[]) AS r(serial, redeemed_ms, account)
    WHERE v.batch = $1 AND v.serial = r.serial AND v.redeemed_ms IS NULL
        AND NOT EXISTS (SELECT FROM voucher_claims c WHERE c.batch = v.batch AND c.serial = v.serial)
"""

_BLOCKED_THERE: Final = """
    UPDATE vouchers SET blocked = true WHERE batch = $1 AND serial = ANY($2::int[]) AND NOT blocked
"""


async def _lot(db: Any, what: BroughtLot, keys: VoucherKeys) -> BroughtCount:
    query = "SELECT count, exported_ms, moved_ms FROM voucher_batches WHERE id = $1 FOR UPDATE"
    row = await db.fetchrow(query, what.batch)
    if row is None:
        raise Objection("unresolved", "vouchers.batch", f"there is no batch {what.batch}: its line comes before")
    last = what.first + len(what.digests) - 1
    if row["count"] and last > row["count"]:
        raise Objection("invalid", "vouchers.digests", f"batch {what.batch} has {row['count']} vouchers, not {last}")
    serials = [*range(what.first, last + 1)]
    redeemed = ([one[place] for one in what.redeemed] for place in range(3))
    made = len(await db.fetch(_BRING, what.batch, serials, what.digests, what.blocked, *redeemed))
    there = await db.fetch(
        "SELECT serial, digest FROM vouchers WHERE batch = $1 AND serial BETWEEN $2 AND $3",
        what.batch,
        what.first,
        last,
    )
    if {one["serial"]: one["digest"] for one in there} != dict(zip(serials, what.digests, strict=True)):
        raise Objection("conflict", "vouchers.digests", "one of these codes is another voucher's here, or a serial is")
    if row["moved_ms"] is not None:
        await db.execute(_REDEEMED_THERE, what.batch, *([one[place] for one in what.redeemed] for place in range(3)))
        await db.execute(_BLOCKED_THERE, what.batch, what.blocked)
    await db.execute("UPDATE voucher_batches SET made = greatest(made, $2) WHERE id = $1", what.batch, last)
    if what.sealed and made and row["exported_ms"] is None:
        _check_sealed(what, keys)
        await db.execute(
            "INSERT INTO voucher_codes (batch, first, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            *(what.batch, what.first, what.sealed),
        )
    return BroughtCount(made, len(serials) - made)


def _check_sealed(what: BroughtLot, keys: VoucherKeys) -> None:
    """By a key that is there, and of these vouchers."""
    try:
        codes = keys.sealing.open(what.sealed, about=lot_name(what.batch, what.first)).split(" ")
    except CannotOpen as why:
        raise Objection(
            "invalid", "vouchers.sealed", f"{why}: put the keys of vouchers of both servers alike"
        ) from None
    if len(codes) != len(what.digests) or what.digests[0] not in keys.digests(codes[0]):
        raise Objection("invalid", "vouchers.sealed", "these are not the codes of these vouchers")


def keys_or_objection(keys: Any) -> VoucherKeys:
    """keys: what gives them, or raises Unavailable"""
    try:
        found: VoucherKeys = keys()
    except Unavailable as why:
        raise Objection("invalid", "vouchers", why.detail) from None
    return found
