"""The hash `catalog` in Redis: what workers price by, packed by the projection, compiled by each worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from ocs.master import rates, tariffs
from ocs.master.documents import DocumentVersion, compiled
from ocs.master.rates import Rate
from tariffs.catalog import Catalog, Exchanges
from tariffs.notation import Amount
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange

if TYPE_CHECKING:
    from asyncpg import Connection

FIELDS: Final = ("documents", "files", "rates")
"""Beside `version`."""

EPOCH: Final = date(1970, 1, 1)
DAY_MS: Final = 86_400_000

NONE: Final = msgspec.msgpack.encode([])
"""A field that is not there: written by an older version of ours."""

File = tuple[str, int, bytes]
"""Name, version, content."""


class Compiled(msgspec.Struct, frozen=True):
    document: DocumentVersion
    tariff: Tariff


class Unpacked(msgspec.Struct, frozen=True):
    catalog: Catalog
    compiled: Mapping[tuple[str, int], Compiled]
    """By id and version: a version never changes, so the next catalogue need not compile it again."""
    troubles: Sequence[str]
    """Of documents that this version of ours cannot compile."""


async def changed(db: Connection) -> int | None:
    """Number of the last change of anything in the catalogue; None: none. Files are in it only with a tariff."""
    query = "SELECT greatest((SELECT max(change) FROM tariffs), (SELECT max(change) FROM exchange_rates))"
    found: int | None = await db.fetchval(query)
    return found


async def pack(db: Connection) -> dict[str, bytes]:
    """The fields of the hash, without `version`."""
    documents = await tariffs.in_use(db)
    files = [(file.name, file.version, file.content) for file in await tariffs.files_of(db, documents)]
    return {
        "documents": msgspec.msgpack.encode(documents),
        "files": msgspec.msgpack.encode(files),
        "rates": msgspec.msgpack.encode(await rates.in_use(db)),
    }


def unpack_catalog(
    version: int, packed: Sequence[bytes | None], before: Mapping[tuple[str, int], Compiled] = {}
) -> Unpacked:
    """The compiled catalogue of the FIELDS, as a worker prices by it.

    before:  the catalogue in use; where a version cannot be compiled, the one it would replace stays in use
    """
    documents, files, stored = (one or NONE for one in packed)
    contents = {(name, number): content for name, number, content in msgspec.msgpack.decode(files, type=list[File])}
    found: dict[tuple[str, int], Compiled] = {}
    troubles: dict[str, str] = {}
    for document in msgspec.msgpack.decode(documents, type=list[DocumentVersion]):
        key = document.id, document.version
        known = before.get(key)
        if known is not None and known.document == document:
            found[key] = known
            continue
        pinned = {name: contents[name, number] for name, number in document.files.items() if (name, number) in contents}
        try:
            found[key] = Compiled(document, compiled(document, pinned))
        except Exception as why:  # of a newer version of ours
            troubles[document.id] = f"{document.id}@{document.version}: {why}"
    for key, one in before.items():
        if key not in found and one.document.id in troubles and not _replaced(one.document, found):
            found[key] = one
    exchanges = _exchanges(msgspec.msgpack.decode(stored, type=list[Rate]))
    return Unpacked(Catalog([one.tariff for one in found.values()], version, exchanges), found, [*troubles.values()])


def _replaced(document: DocumentVersion, found: Mapping[tuple[str, int], Compiled]) -> bool:
    """The version that it replaces, as in tariffs.in_use."""
    later = (one.document for (id_, number), one in found.items() if id_ == document.id and number > document.version)
    return any(one.valid_from_ms <= document.valid_from_ms for one in later)


def _exchanges(stored: Sequence[Rate]) -> Exchanges:
    pairs: dict[tuple[str, str], list[tuple[int, CurrencyExchange]]] = {}
    for rate in stored:
        from_ms = (date.fromisoformat(rate.day) - EPOCH).days * DAY_MS
        exchange = CurrencyExchange(Amount.read(rate.rate), rate.rate, rate.day)
        pairs.setdefault((rate.of, rate.into), []).append((from_ms, exchange))
    return Exchanges(pairs)
