"""Files that tariffs name: tables of destinations, and parts that several of them include."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.api import schema_tariffs as shown
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_tariffs import PUBLISHING, Version, as_asked, published_view
from ocs.api.texts import time_of
from ocs.backoffice import tariffs
from ocs.master.documents import MEDIA_TYPES, NewFile


class FilesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: shown.AfterFile = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def put_tariff_file(call: ApiCall) -> ApiReply:
    sent = NewFile(call.path["name"], call.media_type, call.body, as_asked(call))
    published = await tariffs.publish(call.backoffice, [sent], ())
    file, made = published.files[0]
    view = published_view(published, await call.backoffice.in_force_ms())
    return ApiReply(view, 201 if made and file.version == 1 else 200, version=file.version)


async def get_tariff_file(call: ApiCall) -> ApiReply:
    file = await tariffs.get_file(call.backoffice, call.path["name"], call.query.version)
    view = shown.TariffFileView(
        file.name, file.version, file.media_type, file.content.decode(), time_of(file.published_ms)
    )
    return ApiReply(view, version=file.version)


async def list_tariff_files(call: ApiCall) -> ApiReply:
    query: FilesQuery = call.query
    found = await tariffs.page_files(call.backoffice, query.after, query.limit)
    items = [
        shown.TariffFileRef(one["name"], one["version"], one["media_type"], one["octets"], time_of(one["published_ms"]))
        for one in found
    ]
    return ApiReply(shown.TariffFilePage(items, items[-1].name if len(items) == query.limit else None))


OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/tariff-files/{name:path}",
        put_tariff_file,
        "Publish the next version of a file, and with it of every tariff that names it",
        "tariffs.write",
        answer=shown.PublishedView,
        also=(201,),
        body=bytes,
        media_types=tuple(MEDIA_TYPES.values()),
        conditional=True,
        description="A table as CSV with the columns prefix and zone and any others, or what tariffs include as TOML or"
        " JSON; its name ends accordingly. Refused when a tariff that names it would no longer compile.",
        **PUBLISHING,
    ),
    Operation(
        "GET",
        "/v1/tariff-files/{name:path}",
        get_tariff_file,
        "A file that tariffs name, in its latest version or another",
        "tariffs.read",
        answer=shown.TariffFileView,
        query=Version,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/tariff-files",
        list_tariff_files,
        "All files that tariffs may name, without their content",
        "tariffs.read",
        answer=shown.TariffFilePage,
        query=FilesQuery,
    ),
)
