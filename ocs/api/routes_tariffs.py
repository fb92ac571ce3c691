"""Tariff documents: checked as a whole before they are published, then in force within a second."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ocs.api import schema
from ocs.api import schema_tariffs as shown
from ocs.api.operation import DOCUMENTS_BYTES_MAX, ApiCall, ApiReply, Operation
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import tariffs
from ocs.backoffice.errors import VersionConflict, VersionRequired
from ocs.backoffice.tariffs import NEWEST
from ocs.master.documents import FORMATS, DocumentVersion, ExpectEach, NewFile, NewTariff
from ocs.master.tariffs import Publication


class Version(Struct, frozen=True, forbid_unknown_fields=True):
    version: shown.Number | None = None


class Versions(Struct, frozen=True, forbid_unknown_fields=True):
    before: shown.Number = NEWEST
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class TariffsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: schema.After = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def tariff_view(document: DocumentVersion) -> shown.TariffView:
    return shown.TariffView(
        id=document.id,
        version=document.version,
        media_type=document.media_type,
        document=document.document.decode(),
        published=time_of(document.published_ms),
        valid_from=time_or_none(document.valid_from_ms),
        files=document.files,
    )


def published_view(published: Publication, in_force_ms: int | None) -> shown.PublishedView:
    return shown.PublishedView(
        in_force=time_or_none(in_force_ms or 0),
        files=[shown.PublishedFile(file.name, file.version, new) for file, new in published.files],
        tariffs=[
            shown.PublishedTariff(
                one.id,
                one.version,
                time_or_none(one.valid_from_ms),
                new,
                list(published.warnings.get((one.id, one.version), ())),
            )
            for one, new in published.tariffs
        ],
    )


def as_asked(call: ApiCall) -> ExpectEach:
    """If-Match and If-None-Match, for the one thing a path names."""

    def expect(_name: str, version: int | None) -> None:
        call.precondition.check(version)

    return expect


def as_sent(wanted: int | None) -> ExpectEach:
    """`if_version` of one thing in a bundle."""

    def expect(name: str, version: int | None) -> None:
        if wanted is None and version is not None:
            why = f"{name} exists, in version {version}: send if_version"
            raise VersionRequired(why, name=name, version=version)
        if wanted is not None and wanted != (version or 0):
            now = f"has version {version} now: read it again" if version else "does not exist"
            raise VersionConflict(f"{name} {now}", name=name, version=version or 0)

    return expect


async def put_tariff(call: ApiCall) -> ApiReply:
    name = call.path["id"]
    new = NewTariff(call.media_type, call.body, as_asked(call), source=name, id=name)
    published = await tariffs.publish(call.backoffice, (), [new])
    document, made = published.tariffs[0]
    view = msgspec.structs.asdict(tariff_view(document))
    view["in_force"] = time_or_none(await call.backoffice.in_force_ms() or 0)
    view["warnings"] = list(published.warnings.get((document.id, document.version), ()) if made else ())
    status = 201 if made and document.version == 1 else 200
    return ApiReply(shown.TariffInForce(**view), status, version=document.version)


async def post_tariffs(call: ApiCall) -> ApiReply:
    body: shown.BundleBody = call.body
    published = await tariffs.publish(
        call.backoffice,
        [NewFile(one.name, one.media_type, one.content.encode(), as_sent(one.if_version)) for one in body.files],
        [
            NewTariff(one.media_type, one.document.encode(), as_sent(one.if_version), source=f"tariffs[{number}]")
            for number, one in enumerate(body.tariffs)
        ],
    )
    return ApiReply(published_view(published, await call.backoffice.in_force_ms()))


async def get_tariff(call: ApiCall) -> ApiReply:
    document = await tariffs.get(call.backoffice, call.path["id"], call.query.version)
    return ApiReply(tariff_view(document), version=document.version)


async def list_tariff_versions(call: ApiCall) -> ApiReply:
    query: Versions = call.query
    found = await tariffs.versions(call.backoffice, call.path["id"], query.before, query.limit)
    items = [
        shown.TariffVersion(one.version, time_of(one.published_ms), time_or_none(one.valid_from_ms), one.files)
        for one in found
    ]
    return ApiReply(shown.TariffVersionPage(items, items[-1].version if len(items) == query.limit else None))


async def list_tariffs(call: ApiCall) -> ApiReply:
    query: TariffsQuery = call.query
    documents = await tariffs.page(call.backoffice, query.after, query.limit)
    items = [
        shown.TariffRef(one.id, one.version, time_of(one.published_ms), time_or_none(one.valid_from_ms))
        for one in documents
    ]
    return ApiReply(shown.TariffPage(items, items[-1].id if len(items) == query.limit else None))


UPDATES: Final = ("conflict", "version-conflict", "version-required", "media-type")

PUBLISHING: Final[dict[str, Any]] = {
    "body_bytes_max": DOCUMENTS_BYTES_MAX,
    "problems": UPDATES,
}

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/tariffs/{id}",
        put_tariff,
        "Publish the next version of a tariff",
        "tariffs.write",
        answer=shown.TariffInForce,
        also=(201,),
        body=bytes,
        media_types=tuple(FORMATS),
        conditional=True,
        description="TOML or JSON, see tariffs/README.md. Files it names must have been published, or come with it by"
        " POST /v1/tariffs. The same document again is no new version. The answer waits a few seconds"
        " until all workers price by it, and says since when they do (`in_force`).",
        **PUBLISHING,
    ),
    Operation(
        "POST",
        "/v1/tariffs",
        post_tariffs,
        "Publish tariffs and the files they name, all of it or nothing",
        "tariffs.write",
        answer=shown.PublishedView,
        body=shown.BundleBody,
        description="Compiled before anything is published, with the newest versions of files that are not sent. A new"
        " version of a file makes a new version of every tariff that names it. The same content again is nothing new.",
        **PUBLISHING,
    ),
    Operation(
        "GET",
        "/v1/tariffs/{id}",
        get_tariff,
        "A tariff, in its latest version or another",
        "tariffs.read",
        answer=shown.TariffView,
        query=Version,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/tariffs/{id}/versions",
        list_tariff_versions,
        "All versions of a tariff, the newest first, with the files each was compiled with",
        "tariffs.read",
        answer=shown.TariffVersionPage,
        query=Versions,
        problems=("not-found",),
    ),
    Operation(
        "GET", "/v1/tariffs", list_tariffs, "All tariffs", "tariffs.read", answer=shown.TariffPage, query=TariffsQuery
    ),
)
