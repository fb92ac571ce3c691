"""Tariffs and the files they name: published as a whole, in force within a second, every version kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ocs.backoffice.errors import Invalid, NotFound
from ocs.master import tariffs
from ocs.master.documents import DocumentVersion, NewFile, NewTariff, TariffFile
from ocs.master.tariffs import Publication
from ocs.telemetry.log import logger
from tariffs.document import TariffError

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

NEWEST: int = 2**31 - 1
"""No version is later."""


async def publish(backoffice: BackOffice, files: Iterable[NewFile], documents: Iterable[NewTariff]) -> Publication:
    """Publish all of a bundle or nothing. Raises Invalid with source, key and reason where something does not
    compile."""
    try:
        published = await tariffs.publish(backoffice.pool, files, documents, backoffice.tags)
    except TariffError as why:
        raise Invalid("", str(why), source=why.source, key=why.key, why=why.why) from None
    for (tariff, version), warnings in published.warnings.items():
        for warning in warnings:
            logger().warning("tariff.doubtful", tariff=tariff, version=version, why=warning)
    if published.changed:
        await backoffice.publish()
    return published


async def get(backoffice: BackOffice, tariff: str, version: int | None) -> DocumentVersion:
    """None: its latest."""
    document = await tariffs.get(backoffice.pool, tariff, version)
    if document is None:
        raise NotFound(f"there is no tariff {tariff}{_in(version)}")
    return document


async def versions(backoffice: BackOffice, tariff: str, before: int, limit: int) -> Sequence[DocumentVersion]:
    """The newest first, from the one before `before` on."""
    found = await tariffs.versions(backoffice.pool, tariff, before, limit)
    if not found and before == NEWEST:
        raise NotFound(f"there is no tariff {tariff}")
    return found


async def page(backoffice: BackOffice, after: str, limit: int) -> Sequence[DocumentVersion]:
    """A page of tariffs in their latest versions, in the order of ids, after the given one."""
    return await tariffs.page(backoffice.pool, after, limit)


async def get_file(backoffice: BackOffice, name: str, version: int | None) -> TariffFile:
    """None: its latest."""
    file = await tariffs.get_file(backoffice.pool, name, version)
    if file is None:
        raise NotFound(f"there is no file {name}{_in(version)}")
    return file


async def page_files(backoffice: BackOffice, after: str, limit: int) -> Sequence[Any]:
    """A page of files in the order of names, after the given one, without their content."""
    return await tariffs.page_files(backoffice.pool, after, limit)


def _in(version: int | None) -> str:
    return "" if version is None else f" in version {version}"
