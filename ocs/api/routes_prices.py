"""Quotes, and explanations of prices."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ocs.api import schema_prices as schema
from ocs.api.explaining import told, usage_of
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema import Id
from ocs.api.texts import ms_of, time_of
from ocs.api.views import suspense_view
from ocs.backoffice import explanations, prices
from ocs.backoffice.amounts import money, quantity
from ocs.backoffice.errors import Invalid
from ocs.backoffice.prices import PricedUse
from ocs.charging.http.rating_inputs import inputs_of
from tariffs.units import Kind

UNITS: Final[dict[str, Kind]] = {"octets": Kind.OCTETS, "seconds": Kind.SECONDS, "units": Kind.UNITS}
NAMES: Final[dict[Kind, schema.Unit]] = {Kind.OCTETS: "octets", Kind.SECONDS: "seconds", Kind.UNITS: "units"}


class OfAccount(Struct, frozen=True, forbid_unknown_fields=True):
    account: Id | None = None
    """Who paid; looked up unless given, which works for 30 days."""


def _use(event: schema.EventQuery) -> PricedUse:
    try:
        inputs = inputs_of(event.service, event, event.service_context)
    except ValueError as why:
        raise Invalid("visited", str(why)) from None
    return PricedUse(
        subscriber=event.subscriber,
        identity=event.identity,
        rating_group=event.rating_group,
        service_id=event.service_id,
        amount=event.amount,
        unit=UNITS[event.unit] if event.unit else None,
        at_ms=ms_of(event.at, "at"),
        inputs=inputs,
    )


async def quote(call: ApiCall) -> ApiReply:
    event: schema.EventQuery = call.body
    quoted = await prices.quote(call.backoffice, _use(event))
    return ApiReply(
        schema.QuoteBody(
            priced=quoted.micro is not None,
            reason=quoted.reason,
            price=None if quoted.micro is None else money(quoted.micro),
            currency=quoted.currency,
            amount=event.amount,
            unit=NAMES[quoted.unit],
            tariff=quoted.tariff,
        )
    )


async def explain_event(call: ApiCall) -> ApiReply:
    found = await prices.explain_use(call.backoffice, _use(call.query))
    price = None if found.micro is None else money(found.micro)
    who, blocks = found.who, [*found.blocks]
    return ApiReply(schema.EventExplained(who.id, who.account, found.currency, price, blocks, found.explanation))


async def explain_entry(call: ApiCall) -> ApiReply:
    account, seq = call.path["id"], call.path["seq"]
    if not (seq.isascii() and seq.isdecimal()) or len(seq) > 16:
        raise Invalid("seq", f"a number, found {seq!r}")
    found = await explanations.of_entry(call.backoffice, account, int(seq))
    entry, shown = found.entry, None
    if found.piece is not None:
        usage = usage_of(found.piece)
        shown = next(one for one in told(found.pieces) if one.usage == usage)
    return ApiReply(
        schema.EntryExplained(
            account=account,
            seq=int(seq),
            time=time_of(entry["at_ms"]),
            amount=quantity(entry["kind"], entry["amount"]),
            why=entry["why"],
            counter_account=entry["counter_account"],
            reason=entry["reason"] or "",
            piece=shown,
            rating=found.rating,
            same_ladder=found.same_ladder,
            corrections=found.corrections,
        )
    )


async def explain_session(call: ApiCall) -> ApiReply:
    found = await explanations.of_session(call.backoffice, call.path["session"], call.query.account)
    cost = sum(piece.cost for piece in found.pieces)
    corrected = sum(one.amount for piece in found.pieces for one in piece.corrections)
    aside = [suspense_view(row) for row in found.aside]
    return ApiReply(
        schema.SessionExplained(found.session, found.account, money(cost), money(corrected), told(found.pieces), aside)
    )


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/quote",
        quote,
        "What a use would cost now: a price enquiry",
        "tariffs.read",
        answer=schema.QuoteBody,
        body=schema.EventQuery,
        problems=("not-found",),
        description="By the same way as Diameter's PRICE_ENQUIRY, with the bundles and counters of the account.",
    ),
    Operation(
        "GET",
        "/v1/explain/event",
        explain_event,
        "Why a use costs what it does, at any time: rows, near misses, time line, discounts, tax, blocks",
        "tariffs.read",
        answer=schema.EventExplained,
        query=schema.EventQuery,
        problems=("not-found",),
        description="By the tariffs published now, and today's assignments and attributes of the subscriber.",
    ),
    Operation(
        "GET",
        "/v1/explain/accounts/{id}/entries/{seq}",
        explain_entry,
        "Why a ledger entry is what it is",
        "accounts.read",
        answer=schema.EntryExplained,
        problems=("not-found",),
        description="From what is stored with it, the same years later.",
    ),
    Operation(
        "GET",
        "/v1/explain/sessions/{session:path}",
        explain_session,
        "What a session cost, piece by piece",
        "sessions.read",
        answer=schema.SessionExplained,
        query=OfAccount,
        problems=("not-found",),
    ),
)
