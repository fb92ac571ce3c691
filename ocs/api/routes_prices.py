"""What something would cost, and why something cost what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from balances.keys import session_keys_of
from balances.ledger import suspense, usage
from balances.structs.charge import Action, Phase, Result
from ocs.api import schema_prices as schema
from ocs.api.explaining import rated_again, told
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.api.routes_subscribers import identity_of
from ocs.api.schema import Id
from ocs.api.texts import money, ms_of, time_of
from ocs.api.views import quantity, suspense_view
from ocs.charging.handle import SECONDS_MAX, ChargingContext, handle
from ocs.charging.identity import party
from ocs.charging.networks import in_text
from ocs.charging.request import AskedLine, Busy, ChargingRequest, Origin, RequestKey, Style, Units
from ocs.charging.services import Service
from ocs.master import accounts, subscribers
from ocs.master.subscribers import Subscriber
from ocs.net.step import stepped
from tariffs.catalog import Assignment, Catalog
from tariffs.explain import explain, used
from tariffs.inputs import Inputs
from tariffs.rating import rate
from tariffs.tariff import Rated
from tariffs.units import Kind, TooLarge

FACTS: Final = tuple(
    field
    for field in Inputs.__struct_fields__
    if field not in ("service", "attributes", "time_zone", "subscriber", "lines")
)
UNITS: Final[dict[str, Kind]] = {"octets": Kind.OCTETS, "seconds": Kind.SECONDS, "units": Kind.UNITS}
NAMES: Final[dict[Kind, schema.Unit]] = {Kind.OCTETS: "octets", Kind.SECONDS: "seconds", Kind.UNITS: "units"}


class OfAccount(Struct, frozen=True, forbid_unknown_fields=True):
    account: Id | None = None
    """Who paid; looked up unless given, which works for 30 days."""


async def _who(call: ApiCall, event: schema.EventQuery) -> Subscriber:
    if (event.subscriber is None) == (event.identity is None):
        raise Problem("invalid", "subscriber: expected it, or an identity, and not both")
    if event.subscriber is not None:
        found = await subscribers.get(call.desk.pool, event.subscriber)
    else:
        found = await subscribers.by_identity(call.desk.pool, identity_of(event.identity or ""))
    if found is None:
        raise Problem("not-found", f"there is no subscriber {event.subscriber or event.identity}")
    return found


def _inputs(event: schema.EventQuery) -> Inputs:
    given = {name: getattr(event, name) for name in FACTS}
    given |= {"apn": event.apn.lower(), "calling": party(event.calling), "called": party(event.called)}
    given["visited"] = in_text(event.visited) or event.visited
    given |= {name: given[name].lower() for name in ("charging_characteristics", "user_time_zone", "equipment")}
    return Inputs(event.service, **given)


def _unit(event: schema.EventQuery, service: Service) -> Kind:
    return UNITS[event.unit] if event.unit else service.unit


def _service(shop: ChargingContext, event: schema.EventQuery) -> Service:
    service = shop.settings.services.by_name.get(event.service)
    if service is None:
        known = ", ".join(shop.settings.services.by_name)
        raise Problem("invalid", f"service: expected one of {known}, found {event.service!r}")
    return service


async def quote(call: ApiCall) -> ApiReply:
    """A price enquiry, by the way any of them goes (RFC 8506 section 6.1)."""
    event: schema.EventQuery = call.body
    shop, who = await call.desk.shop(), await _who(call, event)
    service = _service(shop, event)
    unit = _unit(event, service)
    request = ChargingRequest(
        origin=Origin("api", via="api"),
        key=RequestKey(f"quote;{who.id}"),
        phase=Phase.EVENT,
        identities=(f"subscriber:{who.id}",),
        event_ms=ms_of(event.at, "at"),
        lines=(AskedLine(event.rating_group, event.service_id, Units(**{NAMES[unit]: event.amount})),),
        style=Style.COMMAND,
        inputs=_inputs(event),
        action=Action.PRICE,
    )
    answer = await stepped(handle(request, shop, call.desk.now_ms()))
    if answer is None or isinstance(answer, Busy):
        raise Problem("store-unavailable", answer.reason if answer else "the live store did not answer")
    asked = await _asked(call, shop.catalog, event, who, service)
    _same_unit(asked.rated(), unit)
    result = answer.lines[0].result if answer.lines else answer.result
    priced = result is Result.OK and answer.cost_micro is not None
    return ApiReply(
        schema.QuoteBody(
            priced=priced,
            reason="" if priced else answer.reason or result.name.lower().replace("_", " "),
            price=money(answer.cost_micro or 0) if priced else None,
            currency=asked.currency,
            amount=event.amount,
            unit=NAMES[unit],
            tariff=answer.tariff if priced else "",
        )
    )


class Asked(NamedTuple):
    """What is rated, without the balances."""

    catalog: Catalog
    tariffs: Sequence[Assignment]
    currency: str
    line: tuple[int | None, int | None]
    inputs: Inputs
    at_ms: int

    def rated(self, seconds: int = 0) -> Rated:
        """seconds: over so much use by time, where it is that"""
        spans = [(self.at_ms, self.at_ms + min(seconds, SECONDS_MAX) * 1_000)]
        return rate(self.catalog, self.tariffs, self.currency, [self.line], self.inputs, self.at_ms, spans)[0]


async def _asked(call: ApiCall, catalog: Catalog, event: schema.EventQuery, who: Subscriber, service: Service) -> Asked:
    account = await accounts.get(call.desk.pool, who.account)
    if account is None:
        raise Problem("not-found", f"there is no account {who.account}")
    inputs = msgspec.structs.replace(
        _inputs(event), attributes=who.attributes, time_zone=account.time_zone, subscriber=who.id
    )
    line = (event.rating_group, event.service_id)
    if line == (None, None):
        line = (service.rating_group, None)
    at_ms = ms_of(event.at, "at") or call.desk.now_ms()
    return Asked(catalog, who.tariffs, account.currency, line, inputs, at_ms)


def _same_unit(rated: Rated, unit: Kind) -> None:
    if rated.unit not in (None, unit):
        raise Problem("invalid", f"unit: {rated.why} prices {NAMES[rated.unit]}, not {NAMES[unit]}")


async def explain_event(call: ApiCall) -> ApiReply:
    event: schema.EventQuery = call.query
    shop, who = await call.desk.shop(), await _who(call, event)
    service = _service(shop, event)
    unit, asked = _unit(event, service), await _asked(call, shop.catalog, event, who, service)
    rated = asked.rated()
    _same_unit(rated, unit)
    explanation = explain(asked.catalog, asked.tariffs, asked.currency, asked.line, asked.inputs, asked.at_ms)
    price, blocks = None, list[str]()
    if rated.ladder is not None:
        try:
            cost, blocks = used(asked.rated(event.amount), unit, event.amount, asked.at_ms)
            price = money(cost)
        except ValueError as why:
            blocks = [str(why)]
        except TooLarge:
            blocks = ["the price would pass 2^53 micro-units"]
    return ApiReply(schema.EventExplained(who.id, who.account, asked.currency, price, blocks, explanation))


async def explain_entry(call: ApiCall) -> ApiReply:
    account, seq = call.path["id"], call.path["seq"]
    if not (seq.isascii() and seq.isdecimal()) or len(seq) > 16:
        raise Problem("invalid", f"seq: a number, found {seq!r}")
    await call.desk.row(account)
    entry, piece = await usage.of_entry(call.desk.pool, account, int(seq))
    if entry is None:
        raise Problem("not-found", f"account {account} has no entry {seq}")
    shown, rating, same = None, None, False
    if piece is not None:
        pieces = await usage.of_session(call.desk.pool, account, piece.session)
        reference = f"{piece.epoch}-{piece.n}/{piece.line}"
        shown = next(one for one in told(pieces) if one.usage == reference)
        rating, same = await rated_again(call.desk.pool, account, piece)
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
            rating=rating,
            same_ladder=same,
            corrections=await usage.taken_back(call.desk.pool, account, int(seq)),
        )
    )


async def explain_session(call: ApiCall) -> ApiReply:
    named, query = call.path["session"], call.query
    account, pieces, session = query.account, list[usage.UsagePiece](), named
    for session in session_keys_of(named):
        account = query.account or await call.desk.where(session)
        pieces = await usage.of_session(call.desk.pool, account, session) if account is not None else []
        if pieces:
            break
    if account is None:
        raise Problem("not-found", f"there is no session {named} of the last 30 days: say whose, by `account`")
    if not pieces:
        raise Problem("not-found", f"account {account} has no records of a session {named}")
    cost = sum(piece.cost for piece in pieces)
    corrected = sum(one.amount for piece in pieces for one in piece.corrections)
    aside = [suspense_view(row) for row in await suspense.of_session(call.desk.pool, account, session)]
    return ApiReply(schema.SessionExplained(session, account, money(cost), money(corrected), told(pieces), aside))


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/quote",
        quote,
        "What a use would cost now: a price enquiry",
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
        answer=schema.EntryExplained,
        problems=("not-found",),
        description="From what is stored with it, the same years later.",
    ),
    Operation(
        "GET",
        "/v1/explain/sessions/{session:path}",
        explain_session,
        "What a session cost, piece by piece",
        answer=schema.SessionExplained,
        query=OfAccount,
        problems=("not-found",),
    ),
)
