"""The compiled tariffs of a job, from its file and from PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from ocs.master import rates, tariffs
from ocs.master.documents import DocumentVersion, compiled
from ocs.rerating.job import Job, Written
from tariffs.catalog import Catalog, Exchanges
from tariffs.document import Format, TariffError, form_of, needs
from tariffs.load import load_tariff
from tariffs.notation import Amount
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange
from tariffs.whatif.prices import Version

if TYPE_CHECKING:
    from asyncpg import Connection

EPOCH: Final = date(1970, 1, 1)
DAY_MS: Final = 86_400_000
DRAFT: Final = 0
"""Version of what is not published."""


class NoSuchTariff(Exception):
    """What the job names is not there, or cannot be read; the text is meant for the operator."""


def draft_of(written: Written) -> Tariff:
    try:
        return load_tariff(
            written.document, source=written.source, form=written.form, version=DRAFT, files=written.files
        )
    except TariffError as why:
        raise NoSuchTariff(str(why)) from None


async def with_files(db: Connection, written: Written) -> Written:
    """With the files it names that were not beside it, as they are published now."""
    files = dict(written.files)
    named = _needs(written.source, written.form, written.document)
    for name in named:
        if name not in files and (stored := await tariffs.get_file(db, name)) is not None:
            files[name] = stored.content
        if name in files and not name.endswith(".csv"):
            named += [inner for inner in _needs(name, form_of(name), files[name]) if inner not in named]
    return msgspec.structs.replace(written, files=files)


def _needs(source: str, form: Format, content: bytes) -> list[str]:
    try:
        return needs(content, source=source, form=form)
    except TariffError as why:
        raise NoSuchTariff(str(why)) from None


async def places_of(db: Connection, job: Job) -> dict[str, Sequence[Tariff]]:
    """Which versions take the place of which tariff."""
    if job.written is not None:
        draft = draft_of(job.written)
    elif job.stored is not None:
        found = await tariffs.get(db, *job.stored)
        if found is None:
            raise NoSuchTariff(f"there is no tariff {job.stored[0]} in version {job.stored[1]}")
        (draft,) = (await _compiled(db, [found])).values()
    else:
        published = (await _compiled(db, await tariffs.in_use(db))).values()
        return {name: versions for name, versions in Catalog(published).tariffs.items() if not _promotes(versions)}
    return dict.fromkeys((draft.name, *job.instead_of), (draft,))


def _promotes(versions: Sequence[Tariff]) -> bool:
    return any(tariff.parts.promotion for tariff in versions)


async def versions(db: Connection, wanted: Iterable[Version]) -> dict[Version, Tariff]:
    """The compiled versions, of those that are stored and that this build can compile."""
    found = [await tariffs.get(db, *one) for one in wanted]
    return await _compiled(db, [one for one in found if one is not None], strict=False)


async def _compiled(
    db: Connection, documents: Sequence[DocumentVersion], *, strict: bool = True
) -> dict[Version, Tariff]:
    contents = {(file.name, file.version): file.content for file in await tariffs.files_of(db, documents)}
    made: dict[Version, Tariff] = {}
    for one in documents:
        pinned = {name: contents[name, number] for name, number in one.files.items() if (name, number) in contents}
        try:
            made[one.id, one.version] = compiled(one, pinned)
        except TariffError as why:
            if strict:
                raise NoSuchTariff(str(why)) from None
    return made


async def exchanges_of(db: Connection) -> Exchanges:
    """All exchange rates that were ever stored."""
    pairs: dict[tuple[str, str], list[tuple[int, CurrencyExchange]]] = {}
    for of, into, day, rate in await db.fetch(f"SELECT {rates.FIELDS} FROM exchange_rates r"):
        from_ms = (date.fromisoformat(day) - EPOCH).days * DAY_MS
        pairs.setdefault((of, into), []).append((from_ms, CurrencyExchange(Amount.read(rate), rate, day)))
    return Exchanges(pairs)
