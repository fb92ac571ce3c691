"""Tariffs and the files they name in PostgreSQL: every version that was ever published, as it was published."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from balances.ledger.in_words import time_of
from ocs.events.outbox import emit
from ocs.events.types import TariffPublished
from ocs.master import default_thresholds, fee_assignments
from ocs.master.changes import change
from ocs.master.documents import (
    DocumentBundle,
    DocumentVersion,
    Newest,
    NewFile,
    NewTariff,
    PublicationPlan,
    TariffFile,
    Warnings,
    bundle,
    named_by,
    plan,
)
from ocs.master.prices_kept import check_prices_kept

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

PUBLISHED: Final = "(extract(epoch FROM published_at) * 1000)::bigint AS published_ms"
FIELDS: Final = f"id, version, media_type, document, {PUBLISHED}, valid_from_ms, files"
FILE_FIELDS: Final = f"name, version, media_type, content, {PUBLISHED}"
LATEST: Final = f"SELECT DISTINCT ON (id) {FIELDS} FROM tariffs"
LATEST_FILES: Final = f"SELECT DISTINCT ON (name) {FILE_FIELDS} FROM tariff_files"

CHANGE: Final = """
    SELECT greatest((SELECT max(change) FROM tariffs), (SELECT max(change) FROM tariff_files), 0)
"""
"""Of the last publication; greatest() passes over NULL."""


class Publication(msgspec.Struct, frozen=True):
    """Result of a publication: first what was sent, then the tariffs that got a new version with it; each with whether
    the version is new."""

    files: Sequence[tuple[TariffFile, bool]]
    tariffs: Sequence[tuple[DocumentVersion, bool]]
    warnings: Warnings = {}
    """Of new versions."""

    @property
    def changed(self) -> bool:
        return any(new for _, new in (*self.files, *self.tariffs))


def _document(record: Record) -> DocumentVersion:
    values = dict(record)
    values["files"] = msgspec.json.decode(values["files"], type=dict[str, int])
    return DocumentVersion(**values)


def _file(record: Record) -> TariffFile:
    return TariffFile(**dict(record))


# --- looking


async def get(pool: Pool, tariff: str, version: int | None = None) -> DocumentVersion | None:
    query = (
        f"SELECT {FIELDS} FROM tariffs WHERE id = $1 AND ($2::integer IS NULL OR version = $2) ORDER BY version DESC"
    )
    record = await pool.fetchrow(f"{query} LIMIT 1", tariff, version)
    return _document(record) if record else None


async def page(pool: Pool, after: str, limit: int) -> Sequence[DocumentVersion]:
    records = await pool.fetch(f"{LATEST} WHERE id > $1 ORDER BY id, version DESC LIMIT $2", after, limit)
    return [_document(record) for record in records]


async def versions(pool: Pool, tariff: str, before: int, limit: int) -> Sequence[DocumentVersion]:
    """Versions of a tariff, newest first, beginning with the one before `before`."""
    query = f"SELECT {FIELDS} FROM tariffs WHERE id = $1 AND version < $2 ORDER BY version DESC LIMIT $3"
    return [_document(record) for record in await pool.fetch(query, tariff, before, limit)]


async def get_file(pool: Pool, name: str, version: int | None = None) -> TariffFile | None:
    query = (
        f"SELECT {FILE_FIELDS} FROM tariff_files WHERE name = $1 AND ($2::integer IS NULL OR version = $2)"
        " ORDER BY version DESC LIMIT 1"
    )
    record = await pool.fetchrow(query, name, version)
    return _file(record) if record else None


async def page_files(pool: Pool, after: str, limit: int) -> Sequence[Record]:
    """A page of files, without their content."""
    query = (
        f"SELECT DISTINCT ON (name) name, version, media_type, length(content) AS octets, {PUBLISHED} FROM tariff_files"
        " WHERE name > $1 ORDER BY name, version DESC LIMIT $2"
    )
    records: Sequence[Record] = await pool.fetch(query, after, limit)
    return records


IN_USE: Final = (
    f"SELECT {FIELDS} FROM tariffs t WHERE NOT EXISTS (SELECT FROM tariffs l"
    " WHERE l.id = t.id AND l.version > t.version AND l.valid_from_ms <= t.valid_from_ms)"
)
"""Versions that price something at some time: not those a later one replaces from the same instant on."""


async def in_use(db: Connection) -> Sequence[DocumentVersion]:
    return [_document(record) for record in await db.fetch(f"{IN_USE} ORDER BY id, version")]


async def files_of(db: Connection, documents: Iterable[DocumentVersion]) -> Sequence[TariffFile]:
    """The versions these were compiled with."""
    pins = sorted({pin for document in documents for pin in document.files.items()})
    query = f"SELECT {FILE_FIELDS} FROM tariff_files JOIN unnest($1::text[], $2::integer[]) AS p (name, version)"
    records = await db.fetch(f"{query} USING (name, version)", [name for name, _ in pins], [v for _, v in pins])
    return [_file(record) for record in records]


# --- publishing


async def publish(
    pool: Pool, files: Iterable[NewFile], tariffs: Iterable[NewTariff], tags: Collection[str]
) -> Publication:
    """All of it in one transaction, or nothing: TariffError where something does not compile, whatever `expect` raises,
    Conflict where units have a price and the store may not keep it yet.

    A new version of a file makes one of every tariff version in use that names it, compiled with it: of the one in
    force, and of those that are yet to begin. The same content as in the newest version is no new one.

    tags: keys of charging tags that are declared
    """
    sent = await asyncio.to_thread(bundle, files, tariffs)
    while True:
        newest = await _newest(pool, sent)
        # Not in the transaction, where all writers of master data would wait for it: a large table takes seconds.
        planned = await asyncio.to_thread(plan, sent, newest, tags)
        if not planned.files and not planned.tariffs:
            return _published(sent, newest, planned)
        if planned.priced:
            await check_prices_kept(pool)
        async with change(pool) as (db, number):
            if await db.fetchval(CHANGE) == newest.change:  # else it was compiled with what is no longer the newest
                return _published(sent, newest, await _write(db, planned, number))


async def _newest(pool: Pool, sent: DocumentBundle) -> Newest:
    """Read the newest versions, all at one instant."""
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        last: int = await db.fetchval(CHANGE)
        used = await db.fetch(f"{IN_USE} AND files ?| $1 ORDER BY id, valid_from_ms, version", list(sent.files))
        in_use = [_document(record) for record in used]
        stand = await db.fetch(f"{IN_USE} AND id = ANY($1) ORDER BY id, version", list(sent.tariffs))
        query = f"{LATEST} WHERE id = ANY($1) ORDER BY id, version DESC"
        found = await db.fetch(query, [*sent.tariffs, *{one.id for one in in_use}])
        tariffs = {record["id"]: _document(record) for record in found}
        named = {*sent.files, *sent.named, *(name for one in (*tariffs.values(), *in_use) for name in one.files)}
        files = await _newest_files(db, named)
        # What they include may name files too; that is as deep as it goes.
        contents = {name: file.content for name, file in files.items()}
        contents |= {name: file.content for name, file in sent.files.items()}
        files |= await _newest_files(db, await asyncio.to_thread(named_by, contents) - named)
        now_ms: int = await db.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    return Newest(last, files, tariffs, in_use, now_ms, [_document(record) for record in stand])


async def _newest_files(db: Connection, names: Iterable[str]) -> dict[str, TariffFile]:
    query = f"{LATEST_FILES} WHERE name = ANY($1) ORDER BY name, version DESC"
    return {record["name"]: _file(record) for record in await db.fetch(query, list(names))}


async def _write(db: Connection, planned: PublicationPlan, number: int) -> PublicationPlan:
    """Write the new versions; returns what is published afterwards."""
    files: dict[str, TariffFile] = {}
    tariffs: list[DocumentVersion] = []
    for file in planned.files.values():
        record = await db.fetchrow(
            "INSERT INTO tariff_files (name, version, media_type, content, change) VALUES ($1, $2, $3, $4, $5)"
            f" RETURNING {FILE_FIELDS}",
            file.name,
            file.version,
            file.media_type,
            file.content,
            number,
        )
        files[file.name] = _file(record)
    for document in planned.tariffs:
        thresholds = default_thresholds.packed(planned.thresholds.get((document.id, document.version), ()))
        fees = planned.fees.get((document.id, document.version), False)
        record = await db.fetchrow(
            "INSERT INTO tariffs (id, version, media_type, document, valid_from_ms, files, change, thresholds, fees)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {FIELDS}",
            document.id,
            document.version,
            document.media_type,
            document.document,
            document.valid_from_ms,
            msgspec.json.encode(document.files).decode(),
            number,
            thresholds,
            fees,
        )
        tariffs.append(_document(record))
        made_ms = tariffs[-1].published_ms
        await fee_assignments.follow_tariff(db, document.id, made_ms, number, fees=fees)
        await default_thresholds.published(db, document.id, document.version, thresholds, number)
        await _tell(db, tariffs[-1])
    return PublicationPlan(files, tariffs, planned.warnings)


async def _tell(db: Connection, made: DocumentVersion) -> None:
    valid_from = time_of(made.valid_from_ms) if made.valid_from_ms > 0 else None
    told = TariffPublished(made.id, made.version, valid_from)
    key = f"{made.id}/{made.version}"
    await emit(db, "tariff.published", told, at_ms=made.published_ms, key=key, subject=made.id)


def _published(sent: DocumentBundle, newest: Newest, made: PublicationPlan) -> Publication:
    last = {document.id: document for document in made.tariffs}  # of an id, what was sent comes last
    files = [(made.files.get(name) or newest.files[name], name in made.files) for name in sent.files]
    named = [(last.get(id_) or newest.tariffs[id_], id_ in last) for id_ in sent.tariffs]
    told = {(document.id, document.version) for document, _ in named}
    followers = [(one, True) for one in made.tariffs if (one.id, one.version) not in told]
    return Publication(files, [*named, *followers], made.warnings)
