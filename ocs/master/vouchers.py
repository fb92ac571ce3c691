"""Batches of vouchers and their codes in PostgreSQL.

Codes are made in lots: a lot's digests, its sealed codes and how far the batch is go in together, so that who is cut
off goes on where it was, and no serial is made twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from ocs.backoffice.errors import Conflict
from ocs.master.voucher_codes import CodeAlphabet, make_code
from ocs.master.voucher_keys import VoucherKeys

LOT: Final = 1_000
"""Codes made, and sealed, at a time."""
BatchRow = Mapping[str, Any]
VoucherRow = Mapping[str, Any]


class VoucherBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch is: never changed but for its state."""

    id: str
    kind: int
    amount: int
    currency: str
    """"" where it is no money."""
    valid_for_s: int | None
    from_first_use: bool
    priority: int
    scope: Sequence[str]
    name: str
    expires_ms: int | None
    alphabet: CodeAlphabet
    length: int
    count: int
    reference: str
    offer: str = ""
    """By which the money of it is a payment; "" for none."""


_COLUMNS: Final = VoucherBatch.__struct_fields__


async def insert(pool: Any, batch: VoucherBatch, actor: str, now_ms: int) -> BatchRow:
    """The batch as it is; raises Conflict where another one has that id."""
    values = [*msgspec.structs.astuple(batch), now_ms, actor]
    places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
    await pool.execute(
        f"INSERT INTO voucher_batches ({', '.join(_COLUMNS)}, created_ms, created_by) VALUES ({places})"
        " ON CONFLICT (id) DO NOTHING",
        *values,
    )
    row: BatchRow | None = await get(pool, batch.id)
    assert row is not None
    if any(row[column] != value for column, value in msgspec.structs.asdict(batch).items() if column != "scope"):
        raise Conflict(f"another batch is called {batch.id}")
    return row


async def get(pool: Any, batch: str) -> BatchRow | None:
    row: BatchRow | None = await pool.fetchrow("SELECT * FROM voucher_batches WHERE id = $1", batch)
    return row


async def page(pool: Any, after: str, limit: int) -> Sequence[BatchRow]:
    rows: Sequence[BatchRow] = await pool.fetch(
        "SELECT * FROM voucher_batches WHERE id > $1 ORDER BY id LIMIT $2", after, limit
    )
    return rows


async def make_lot(pool: Any, batch: BatchRow, keys: VoucherKeys) -> int:
    """Make the next codes of a batch; returns how many there are then."""
    async with pool.acquire() as pg, pg.transaction():
        made, count = await pg.fetchrow("SELECT made, count FROM voucher_batches WHERE id = $1 FOR UPDATE", batch["id"])
        if made >= count:
            return int(made)
        alphabet, lot = CodeAlphabet(batch["alphabet"]), min(LOT, int(count - made))
        codes = [make_code(alphabet, batch["length"], secrets.randbelow) for _ in range(lot)]
        await _put_in(pg, batch["id"], made, codes, keys)
        sealed = keys.sealing.seal(" ".join(codes), about=lot_name(batch["id"], made + 1))
        await pg.execute(
            "INSERT INTO voucher_codes (batch, first, sealed) VALUES ($1, $2, $3)", batch["id"], made + 1, sealed
        )
        return int(made) + lot


async def take_in(pool: Any, batch: str, codes: Sequence[str], keys: VoucherKeys) -> tuple[int, int]:
    """Codes made elsewhere; returns how many there are now, and how many of these were in the batch before. Raises
    Conflict where one belongs to another batch."""
    digests = {keys.digest(code): code for code in codes}
    async with pool.acquire() as pg, pg.transaction():
        made = await pg.fetchval("SELECT made FROM voucher_batches WHERE id = $1 FOR UPDATE", batch)
        every = [digest for code in codes for digest in keys.digests(code)]
        known = await pg.fetch("SELECT digest, batch FROM vouchers WHERE digest = ANY($1)", every)
        if any(row["batch"] != batch for row in known):
            raise Conflict("a code of these is one of another batch: none was taken in")
        there = {row["digest"] for row in known}
        new = [code for code in digests.values() if there.isdisjoint(keys.digests(code))]
        await _put_in(pg, batch, made, new, keys)
        return int(made) + len(new), len(codes) - len(new)


async def _put_in(pg: Any, batch: str, made: int, codes: Sequence[str], keys: VoucherKeys) -> None:
    rows = [(batch, serial, keys.digest(code)) for serial, code in enumerate(codes, made + 1)]
    try:
        await pg.copy_records_to_table("vouchers", records=rows, columns=("batch", "serial", "digest"))
    except asyncpg.UniqueViolationError:  # two random codes are one, or somebody took the same in just now
        raise Conflict("a code is there already: the same again makes others") from None
    await pg.execute("UPDATE voucher_batches SET made = $2 WHERE id = $1", batch, made + len(codes))


def lot_name(batch: str, first: int) -> str:
    """What the sealed codes of a lot are about."""
    return f"voucher codes {batch} {first}"


async def sealed_codes(pool: Any, batch: str, from_serial: int, keys: VoucherKeys) -> tuple[int, list[str]] | None:
    """The lot that begins there: its first serial and its codes; None: there is none."""
    row = await pool.fetchrow(
        "SELECT first, sealed FROM voucher_codes WHERE batch = $1 AND first >= $2 ORDER BY first LIMIT 1",
        batch,
        from_serial,
    )
    if row is None:
        return None
    return row["first"], keys.sealing.open(row["sealed"], about=lot_name(batch, row["first"])).split(" ")


async def set_state(pool: Any, batch: str, state: str) -> BatchRow | None:
    row: BatchRow | None = await pool.fetchrow(
        "UPDATE voucher_batches SET state = $2, moved_state = NULL, moved_ms = NULL WHERE id = $1 RETURNING *",
        batch,
        state,
    )
    return row


async def move_away(pool: Any, batch: str, now_ms: int) -> BatchRow | None:
    """Out of use here, before anything of it is written for another server."""
    row: BatchRow | None = await pool.fetchrow(
        "UPDATE voucher_batches SET moved_state = coalesce(moved_state, state), moved_ms = coalesce(moved_ms, $2),"
        " state = 'blocked' WHERE id = $1 RETURNING *",
        batch,
        now_ms,
    )
    return row


# --- single vouchers

_VOUCHER: Final = """
    SELECT v.batch, v.serial, v.blocked, b.state AS batch_state, b.moved_ms, b.expires_ms, b.kind, b.amount, b.currency,
        b.offer, b.alphabet,
        COALESCE(c.account, NULLIF(v.redeemed_by, '')) AS account, c.source, c.reference,
        COALESCE(c.claimed_ms, v.redeemed_ms) AS claimed_ms, c.claimed_by,
        COALESCE(c.credited_ms, v.redeemed_ms) AS credited_ms, c.seq
    FROM vouchers v JOIN voucher_batches b ON b.id = v.batch
        LEFT JOIN voucher_claims c ON c.batch = v.batch AND c.serial = v.serial
"""


async def by_code(pg: Any, code: str, keys: VoucherKeys) -> VoucherRow | None:
    row: VoucherRow | None = await pg.fetchrow(f"{_VOUCHER} WHERE v.digest = ANY($1)", keys.digests(code))
    return row


async def by_serial(pg: Any, batch: str, serial: int) -> VoucherRow | None:
    row: VoucherRow | None = await pg.fetchrow(f"{_VOUCHER} WHERE v.batch = $1 AND v.serial = $2", batch, serial)
    return row


async def vouchers_of(pool: Any, batch: str, after: int, limit: int) -> Sequence[VoucherRow]:
    rows: Sequence[VoucherRow] = await pool.fetch(
        f"{_VOUCHER} WHERE v.batch = $1 AND v.serial > $2 ORDER BY v.serial LIMIT $3", batch, after, limit
    )
    return rows


async def redeemed_by(pool: Any, account: str, limit: int) -> Sequence[VoucherRow]:
    rows: Sequence[VoucherRow] = await pool.fetch(
        f"{_VOUCHER} WHERE c.account = $1 ORDER BY c.claimed_ms DESC LIMIT $2", account, limit
    )
    return rows


async def block(pool: Any, batch: str, serial: int, *, blocked: bool) -> None:
    await pool.execute("UPDATE vouchers SET blocked = $3 WHERE batch = $1 AND serial = $2", batch, serial, blocked)


async def counts(pool: Any, batch: str) -> tuple[int, int, int]:
    """Of a batch: redeemed, credited, both here or where it comes from, and blocked by themselves without being
    redeemed."""
    row = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM voucher_claims WHERE batch = $1) AS redeemed,"
        " (SELECT count(*) FROM voucher_claims WHERE batch = $1 AND credited_ms IS NOT NULL) AS credited,"
        " (SELECT count(*) FROM vouchers WHERE batch = $1 AND redeemed_ms IS NOT NULL) AS elsewhere,"
        " (SELECT count(*) FROM vouchers v WHERE batch = $1 AND blocked AND redeemed_ms IS NULL AND NOT EXISTS"
        " (SELECT FROM voucher_claims c WHERE c.batch = v.batch AND c.serial = v.serial)) AS blocked",
        batch,
    )
    return row["redeemed"] + row["elsewhere"], row["credited"] + row["elsewhere"], row["blocked"]
