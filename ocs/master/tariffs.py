"""Tariff documents: every version that was ever published, as it was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ocs.master.changes import Expect, change

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record


class Document(msgspec.Struct, frozen=True):
    id: str
    version: int
    media_type: str
    document: bytes
    published_ms: int = 0


FIELDS = "id, version, media_type, document, (extract(epoch FROM published_at) * 1000)::bigint AS published_ms"
LATEST = f"SELECT DISTINCT ON (id) {FIELDS} FROM tariffs"


def _document(record: Record) -> Document:
    return Document(**dict(record))


async def get(pool: Pool, tariff: str, version: int | None = None) -> Document | None:
    query = f"SELECT {FIELDS} FROM tariffs WHERE id = $1 AND ($2::integer IS NULL OR version = $2) ORDER BY version DESC"
    record = await pool.fetchrow(f"{query} LIMIT 1", tariff, version)
    return _document(record) if record else None


async def page(pool: Pool | Connection, after: str, limit: int) -> Sequence[Document]:
    records = await pool.fetch(f"{LATEST} WHERE id > $1 ORDER BY id, version DESC LIMIT $2", after, limit)
    return [_document(record) for record in records]


async def publish(
    pool: Pool, tariff: str, media_type: str, document: bytes, expect: Expect
) -> tuple[Document, bool]:
    """The next version of the tariff, and whether there is one: the same document again changes nothing."""
    async with change(pool) as (db, number):
        latest = await db.fetchrow(f"{LATEST} WHERE id = $1 ORDER BY id, version DESC", tariff)
        if latest and (latest["media_type"], latest["document"]) == (media_type, document):
            return _document(latest), False  # also a repeat whose answer was lost: RFC 9110 section 13.1.1
        expect(latest["version"] if latest else None)
        record = await db.fetchrow(
            "INSERT INTO tariffs (id, version, media_type, document, change) VALUES ($1, $2, $3, $4, $5)"
            f" RETURNING {FIELDS}",
            tariff,
            latest["version"] + 1 if latest else 1,
            media_type,
            document,
            number,
        )
        return _document(record), True
