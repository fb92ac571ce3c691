"""Top-up offers: what a payment gives besides itself."""

from __future__ import annotations

from itertools import zip_longest
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from ocs.api import schema_offers as schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema import After
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import accounts, offers
from ocs.backoffice.amounts import KIND_OF, KINDS, count_of, micro_of, money, quantity
from ocs.backoffice.bucket_prices import reduced
from ocs.backoffice.errors import Invalid
from ocs.charging.currencies import NUMBERS
from ocs.master.offers import PERCENT, OfferBand, OfferBonus, OfferExtension, OfferUnits, TopUpOffer
from tariffs.ladder import limit_key_parts
from tariffs.units import MICRO, Kind


class OffersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: After = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


async def put_offer(call: ApiCall) -> ApiReply:
    body: schema.TopUpOfferPut = call.body
    if body.currency not in NUMBERS:
        raise Invalid("currency", f"expected an ISO 4217 code such as EUR, found {body.currency}")
    wanted = TopUpOffer(
        name=call.path["id"],
        currency=body.currency,
        bands=tuple(_band_of(band, f"bands[{place}]") for place, band in enumerate(body.bands)),
        text=body.description,
        changed_ms=call.backoffice.now_ms(),
        changed_by=call.caller,
    )
    made = await offers.put(call.backoffice, wanted, call.precondition.check)
    return ApiReply(_view(made), 201 if made.version == 1 else 200, version=made.version)


async def get_offer(call: ApiCall) -> ApiReply:
    found = await offers.get(call.backoffice, call.path["id"])
    return ApiReply(_view(found), version=found.version)


async def list_offers(call: ApiCall) -> ApiReply:
    query: OffersQuery = call.query
    items = [_view(one) for one in await offers.page(call.backoffice, query.after, query.limit)]
    return ApiReply(schema.TopUpOfferPage(items, items[-1].id if len(items) == query.limit else None))


async def delete_offer(call: ApiCall) -> ApiReply:
    await offers.delete(call.backoffice, call.path["id"], call.precondition.check)
    return ApiReply(None, 204)


async def quote_top_up(call: ApiCall) -> ApiReply:
    body: schema.TopUpQuoteQuery = call.body
    row = await accounts.find(call.backoffice, call.path["id"])
    paid = micro_of(body.amount, "amount")
    found = await offers.gift(call.backoffice, row, body.offer, paid)
    return ApiReply(
        schema.TopUpQuote(
            account=row.id,
            offer=body.offer,
            version=found.offer.version,
            amount=money(paid),
            gives=[
                schema.QuotedBucket(
                    kind=KINDS[one.kind],
                    amount=quantity(one.kind, one.amount),
                    money=money(part.amount) if part is not None and part.is_part else None,
                    price=money(one.price) if one.price else None,
                    per=one.per,
                    name=one.name,
                    scope=one.scope,
                    priority=one.priority,
                    valid_until=time_or_none(one.until_ms),
                )
                for one, part in zip_longest(found.postings, found.postings[1:])
                if not one.is_part
            ],
            extends=[
                schema.QuotedExtension(bucket.id, bucket.name, time_of(bucket.until_ms), time_of(until_ms))
                for bucket, until_ms in found.extended
            ],
            resets=[_reset(counter.key, counter.used) for counter in found.resets],
            grace_until=time_or_none(found.grace_until_ms),
        )
    )


def _reset(key: str, used: int) -> schema.QuotedReset:
    subscriber, name, period = limit_key_parts(key)
    return schema.QuotedReset(name, subscriber or None, period, used)


def _band_of(band: schema.PayBand, at: str) -> OfferBand:
    return OfferBand(
        least=micro_of(band.minimum, f"{at}.minimum"),
        most=None if band.maximum is None else micro_of(band.maximum, f"{at}.maximum"),
        bonus=None if band.bonus is None else _bonus_of(band.bonus, f"{at}.bonus"),
        units=tuple(part for place, one in enumerate(band.units) for part in _units_of(one, f"{at}.units[{place}]")),
        extends=tuple(OfferExtension(one.bucket, one.days) for one in band.extends),
        resets=tuple(dict.fromkeys(band.resets)),
        grace_days=band.grace_days,
    )


def _units_of(units: schema.GivenUnits, at: str) -> list[OfferUnits]:
    """Money of units stands after them."""
    price, per = reduced(0 if units.price is None else micro_of(units.price, f"{at}.price"), units.per, f"{at}.per")
    made = OfferUnits(
        kind=KIND_OF[units.kind],
        amount=count_of(units.amount, f"{at}.amount"),
        days=units.days,
        scope=tuple(units.scope),
        priority=units.priority,
        name=units.name,
        price=price,
        per=per,
    )
    if units.money is None:
        return [made]
    amount = micro_of(units.money, f"{at}.money")
    return [made, msgspec.structs.replace(made, kind=Kind.MONEY, amount=amount, is_part=True, price=0, per=1)]


def _bonus_of(bonus: schema.GivenBonus, at: str) -> OfferBonus:
    if bonus.amount is None and bonus.percent is None:
        raise Invalid(at, "an amount, a percent or both")
    return OfferBonus(
        fixed=0 if bonus.amount is None else micro_of(bonus.amount, f"{at}.amount"),
        # micro-units of a percentage are parts of a hundred million
        parts=0 if bonus.percent is None else micro_of(bonus.percent, f"{at}.percent") * PERCENT // (100 * MICRO),
        step=micro_of(bonus.round_to, f"{at}.round_to"),
        most=None if bonus.maximum is None else micro_of(bonus.maximum, f"{at}.maximum"),
        days=bonus.days,
        scope=tuple(bonus.scope),
        priority=bonus.priority,
        name=bonus.name,
    )


def _view(offer: TopUpOffer) -> schema.TopUpOfferView:
    return schema.TopUpOfferView(
        id=offer.name,
        version=offer.version,
        currency=offer.currency,
        bands=[_band_view(band) for band in offer.bands],
        description=offer.text,
        changed=time_of(offer.changed_ms),
        changed_by=offer.changed_by,
    )


def _band_view(band: OfferBand) -> schema.PayBand:
    return schema.PayBand(
        minimum=money(band.least),
        maximum=None if band.most is None else money(band.most),
        bonus=None if band.bonus is None else _bonus_view(band.bonus),
        units=[
            schema.GivenUnits(
                kind=KINDS[one.kind],  # type: ignore[arg-type]
                amount=quantity(one.kind, one.amount),
                money=money(part.amount) if part is not None and part.is_part else None,
                price=money(one.price) if one.price else None,
                per=one.per,
                days=one.days,
                scope=list(one.scope),
                priority=one.priority,
                name=one.name,
            )
            for one, part in zip_longest(band.units, band.units[1:])
            if not one.is_part
        ],
        extends=[schema.GivenValidity(one.bucket, one.days) for one in band.extends],
        resets=list(band.resets),
        grace_days=band.grace_days,
    )


def _bonus_view(bonus: OfferBonus) -> schema.GivenBonus:
    return schema.GivenBonus(
        amount=money(bonus.fixed) if bonus.fixed else None,
        percent=f"{bonus.parts // 100}.{bonus.parts % 100:02}" if bonus.parts else None,
        round_to=money(bonus.step),
        maximum=None if bonus.most is None else money(bonus.most),
        days=bonus.days,
        scope=list(bonus.scope),
        priority=bonus.priority,
        name=bonus.name,
    )


EXAMPLE: Final = {
    "currency": "EUR",
    "description": "More for more",
    "bands": [
        {"minimum": "10.00", "maximum": "19.99", "bonus": {"percent": "10", "days": 30, "name": "spring"}},
        {
            "minimum": "20.00",
            "bonus": {"amount": "1.00", "percent": "15", "maximum": "10.00", "days": 30, "name": "spring"},
            "units": [{"kind": "octets", "amount": "1073741824", "days": 7, "scope": ["data"], "name": "week"}],
            "extends": [{"bucket": "spring", "days": 30}],
            "resets": ["pocket-money"],
        },
    ],
}

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/top-up-offers/{id}",
        put_offer,
        "Say what a payment gives besides itself: bonus, units, longer validity, limits that begin anew",
        "offers.write",
        answer=schema.TopUpOfferView,
        also=(201,),
        body=schema.TopUpOfferPut,
        examples={"by bands of the amount": EXAMPLE},
        conditional=True,
        problems=("conflict", "version-conflict", "version-required"),
        description="Counts from the next top-up on that names it. What it was before is on the audit trail.",
    ),
    Operation(
        "GET",
        "/v1/top-up-offers/{id}",
        get_offer,
        "A top-up offer",
        "offers.read",
        answer=schema.TopUpOfferView,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/top-up-offers",
        list_offers,
        "Top-up offers, in the order of their names",
        "offers.read",
        answer=schema.TopUpOfferPage,
        query=OffersQuery,
    ),
    Operation(
        "DELETE",
        "/v1/top-up-offers/{id}",
        delete_offer,
        "Take a top-up offer away: what it gave stays",
        "offers.write",
        status=204,
        conditional=True,
        problems=("not-found", "version-conflict", "version-required"),
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/topups/quote",
        quote_top_up,
        "What a top-up with an offer would do now: nothing is done",
        "accounts.read",
        answer=schema.TopUpQuote,
        body=schema.TopUpQuoteQuery,
        examples={"ten": {"amount": "10.00", "offer": "spring"}},
        problems=("not-found", "unresolved", "account-closed"),
    ),
)
