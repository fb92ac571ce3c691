"""Writes the rows of records into their tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from balances.ledger import (
    bucket_ends,
    events,
    fees_waiting,
    granted,
    heads,
    intents,
    standings,
    suspense,
    transfers,
    voucher_claims,
)
from balances.ledger.bucket_ends import BucketEnds
from balances.ledger.closed_months import follow_closed
from balances.ledger.record import CALL_COLUMNS, ENTRY_COLUMNS, USAGE_COLUMNS, Rows

NOTHING: Final[Mapping[tuple[str, int], int]] = {}


async def put(
    pg: Any,
    rows: Rows,
    now_ms: int,
    known_ladders: Collection[bytes] = (),
    known_ends: Mapping[tuple[str, int], int] = NOTHING,
) -> BucketEnds:
    """Plain COPY of the rows, in the caller's transaction, and of the events that follow: little may come
    after these but the commit (events.py). Returns the ends of buckets that were not known to be written.

    now_ms:  by the clock of PostgreSQL
    """
    happened = await events.events_of(pg, rows.copied)
    await pg.copy_records_to_table("calls", records=rows.calls, columns=CALL_COLUMNS)
    await heads.write(pg, rows)
    ladders = {key: packed for key, packed in rows.ladders.items() if key not in known_ladders}
    if ladders:  # named by their content: rows that are there already are equal
        await pg.executemany(
            "INSERT INTO ladders (hash, packed) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", sorted(ladders.items())
        )
    if rows.usages:
        await pg.copy_records_to_table("usage_records", records=rows.usages, columns=USAGE_COLUMNS)
    if rows.entries:
        await follow_closed(pg, rows.entries, now_ms)
        await pg.copy_records_to_table("ledger_entries", records=rows.entries, columns=ENTRY_COLUMNS)
    await suspense.write(pg, rows.suspense, rows.settled)
    await suspense.write_shown(pg, rows.shown)
    await voucher_claims.write(pg, rows.credited)
    if rows.intents:
        await pg.copy_records_to_table("intents", records=rows.intents, columns=intents.COLUMNS)
    await transfers.write(pg, rows.legs)
    await granted.write(pg, rows.granted, rows.taken_back)
    ends = await bucket_ends.note(pg, rows.copied, known_ends)
    await standings.note(pg, rows.copied)
    await fees_waiting.hurry(pg, rows.copied)
    await events.append(pg, happened)
    return ends
