"""Exchange rates, for tariffs in another currency than the account's."""

from __future__ import annotations

from datetime import date
from typing import Final

from msgspec import Struct

from ocs.api import schema_tariffs as shown
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema import Currency
from ocs.api.texts import time_or_none
from ocs.backoffice import rates
from ocs.backoffice.errors import Invalid


class InForce(Struct, frozen=True, forbid_unknown_fields=True):
    of: Currency | None = None
    into: Currency | None = None
    on: shown.Day | None = None
    """Today, in UTC."""


def _day(text: str, field: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise Invalid(field, f"a day such as 2026-03-01, found {text[:40]!r}")
    return day


async def put_exchange_rates(call: ApiCall) -> ApiReply:
    body: shown.RatesPut = call.body
    day = _day(call.path["day"], "day")
    pairs = [(one.of, one.into, one.rate) for one in body.rates]
    await rates.put(call.backoffice, day, pairs)
    items = [shown.ExchangeRate(of, into, rate, day.isoformat()) for of, into, rate in pairs]
    in_force = time_or_none(await call.backoffice.in_force_ms() or 0)
    return ApiReply(shown.ExchangeRatesInForce(day.isoformat(), items, in_force=in_force))


async def get_exchange_rates(call: ApiCall) -> ApiReply:
    query: InForce = call.query
    day = _day(query.on, "on") if query.on is not None else rates.today(call.backoffice)
    found = await rates.in_force(call.backoffice, day, query.of, query.into)
    items = [shown.ExchangeRate(of=one.of, into=one.into, rate=one.rate, day=one.day) for one in found]
    return ApiReply(shown.ExchangeRates(day.isoformat(), items))


OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/exchange-rates/{day}",
        put_exchange_rates,
        "Set exchange rates of a day",
        "tariffs.write",
        answer=shown.ExchangeRatesInForce,
        body=shown.RatesPut,
        problems=("media-type",),
        description="In force from 00:00 UTC of the day (YYYY-MM-DD) until the next day that has a rate of the pair."
        " Pairs that are not named stay as they are.",
    ),
    Operation(
        "GET",
        "/v1/exchange-rates",
        get_exchange_rates,
        "Exchange rates in force on a day",
        "tariffs.read",
        answer=shown.ExchangeRates,
        query=InForce,
    ),
)
