"""Tariff documents: checked as a whole before they are published, then in force within a second."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.api import schema
from ocs.api.operation import Call, Operation, Reply
from ocs.api.problems import Problem
from ocs.api.texts import time_of
from ocs.api.views import tariff_view
from ocs.master import tariffs
from ocs.master.tariffs import FORMATS
from tariffs.load import TariffError, load_tariff


class Version(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    after: schema.After = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def put_tariff(call: Call) -> Reply:
    tariff = call.path["id"]
    if call.media_type not in FORMATS:
        raise Problem("media-type", f"expected {' or '.join(FORMATS)}, found {call.media_type or 'none'}")
    try:
        compiled = load_tariff(call.body, source=tariff, form=FORMATS[call.media_type])
    except TariffError as why:
        raise Problem("invalid", str(why), key=why.key, why=why.why) from None
    if compiled.name != tariff:
        raise Problem("invalid", f"tariff: {tariff}, as in the path, found {compiled.name}", key="tariff")
    document, new = await tariffs.publish(
        call.desk.pool, tariff, call.media_type, call.body, compiled.from_ms, call.precondition.check
    )
    if new:
        await call.desk.publish()
    return Reply(tariff_view(document), 201 if new and document.version == 1 else 200, version=document.version)


async def get_tariff(call: Call) -> Reply:
    document = await tariffs.get(call.desk.pool, call.path["id"], call.query.version)
    if document is None:
        raise Problem("not-found", f"there is no tariff {call.path['id']} in this version")
    return Reply(tariff_view(document), version=document.version)


async def list_tariffs(call: Call) -> Reply:
    query: Page = call.query
    documents = await tariffs.page(call.desk.pool, query.after, query.limit)
    items = [schema.TariffRef(one.id, one.version, time_of(one.published_ms)) for one in documents]
    return Reply(schema.TariffPage(items, items[-1].id if len(items) == query.limit else None))


OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/tariffs/{id}",
        put_tariff,
        "Publish the next version of a tariff",
        answer=schema.Tariff,
        also=(201,),
        body=bytes,
        conditional=True,
        problems=("version-conflict", "version-required", "media-type"),
        description="TOML or JSON, see tariffs/README.md. The same document again is no new version.",
    ),
    Operation(
        "GET",
        "/v1/tariffs/{id}",
        get_tariff,
        "A tariff, in its latest version or another",
        answer=schema.Tariff,
        query=Version,
        problems=("not-found",),
    ),
    Operation("GET", "/v1/tariffs", list_tariffs, "All tariffs", answer=schema.TariffPage, query=Page),
)
