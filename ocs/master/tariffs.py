"""Tariff documents: every version that was ever published, as it was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ocs.master.changes import Expect, change
from tariffs.catalog import Catalog, Tariff
from tariffs.load import Format, load_tariff

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

FORMATS: Final[dict[str, Format]] = {"application/toml": "toml", "application/json": "json"}


class Document(msgspec.Struct, frozen=True, array_like=True):
    """One version of a tariff, as it was sent."""

    id: str
    version: int
    media_type: str
    document: bytes
    published_ms: int = 0


FIELDS: Final = "id, version, media_type, document, (extract(epoch FROM published_at) * 1000)::bigint AS published_ms"
LATEST: Final = f"SELECT DISTINCT ON (id) {FIELDS} FROM tariffs"


def _document(record: Record) -> Document:
    return Document(**dict(record))


async def get(pool: Pool, tariff: str, version: int | None = None) -> Document | None:
    query = (
        f"SELECT {FIELDS} FROM tariffs WHERE id = $1 AND ($2::integer IS NULL OR version = $2) ORDER BY version DESC"
    )
    record = await pool.fetchrow(f"{query} LIMIT 1", tariff, version)
    return _document(record) if record else None


async def page(pool: Pool, after: str, limit: int) -> Sequence[Document]:
    records = await pool.fetch(f"{LATEST} WHERE id > $1 ORDER BY id, version DESC LIMIT $2", after, limit)
    return [_document(record) for record in records]


async def publish(
    pool: Pool, tariff: str, media_type: str, document: bytes, valid_from_ms: int, expect: Expect
) -> tuple[Document, bool]:
    """The next version of the tariff, and whether there is one: the same document again changes nothing."""
    async with change(pool) as (db, number):
        latest = await db.fetchrow(f"{LATEST} WHERE id = $1 ORDER BY id, version DESC", tariff)
        if latest and (latest["media_type"], latest["document"]) == (media_type, document):
            return _document(latest), False  # also a repeat whose answer was lost: RFC 9110 section 13.1.1
        expect(latest["version"] if latest else None)
        record = await db.fetchrow(
            "INSERT INTO tariffs (id, version, media_type, document, valid_from_ms, change)"
            f" VALUES ($1, $2, $3, $4, $5, $6) RETURNING {FIELDS}",
            tariff,
            latest["version"] + 1 if latest else 1,
            media_type,
            document,
            valid_from_ms,
            number,
        )
        return _document(record), True


async def in_use(db: Connection) -> Sequence[Document]:
    """All versions that price something at some time: not those a later one replaces from the same instant on."""
    query = (
        f"SELECT {FIELDS} FROM tariffs t WHERE NOT EXISTS (SELECT FROM tariffs l"
        " WHERE l.id = t.id AND l.version > t.version AND l.valid_from_ms <= t.valid_from_ms) ORDER BY id, version"
    )
    return [_document(record) for record in await db.fetch(query)]


def compiled(document: Document) -> Tariff:
    source = f"{document.id}@{document.version}"
    return load_tariff(document.document, source=source, form=FORMATS[document.media_type], version=document.version)


def pack(documents: Sequence[Document]) -> bytes:
    """Field `documents` of the hash `catalog`."""
    return msgspec.msgpack.encode(documents)


def unpack_catalog(version: int, packed: bytes) -> Catalog:
    """What a worker makes of the hash `catalog`; TariffError when this version of ours cannot read a document."""
    documents = msgspec.msgpack.decode(packed, type=list[Document])
    return Catalog([compiled(document) for document in documents], version)
