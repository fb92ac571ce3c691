"""What a use would cost, and why: asked of the tariffs that are published now."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from balances.structs.charge import Action, Phase, Result
from ocs.backoffice import subscribers
from ocs.backoffice.amounts import KINDS
from ocs.backoffice.errors import Invalid, NotFound, Unavailable
from ocs.charging.handle import SECONDS_MAX, ChargingContext, handle
from ocs.charging.request import AskedLine, Busy, ChargingRequest, Origin, RequestKey, Style, Units
from ocs.charging.services import Service
from ocs.master import accounts
from ocs.master import subscribers as known
from ocs.master.subscribers import Subscriber
from ocs.net.step import stepped
from ocs.tags import written
from tariffs.catalog import Assignment, Catalog
from tariffs.explain import Explanation, explain, used
from tariffs.inputs import Inputs
from tariffs.rating import rate
from tariffs.tariff import Rated
from tariffs.units import Kind, TooLarge

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

EVER_MS: Final = 200 * 365 * 86_400_000


class PricedUse(msgspec.Struct, frozen=True, kw_only=True):
    """A use to be priced, at any time."""

    subscriber: str | None
    """By id, or ..."""
    identity: str | None
    """... by one of its identities."""
    rating_group: int | None
    service_id: int | None
    amount: int
    unit: Kind | None
    """Of the amount; None: what the service counts in."""
    at_ms: int | None
    """None: now."""
    inputs: Inputs
    """What the network would say of it, with the name of its service."""


class Quoted(NamedTuple):
    """The cost of a use now, with the account's present bundles and counters."""

    micro: int | None
    """None: it is not priced."""
    reason: str
    """Why it is not."""
    currency: str
    unit: Kind
    tariff: str
    """Tariff, version and rows."""


async def quote(backoffice: BackOffice, use: PricedUse) -> Quoted:
    """Make a price enquiry, through the same code as one from the network (RFC 8506 section 6.1)."""
    context, who = await backoffice.context(), await _who(backoffice, use)
    service = _service(context, use)
    unit = service.unit if use.unit is None else use.unit
    request = ChargingRequest(
        origin=Origin("api", via="api"),
        key=RequestKey(f"quote;{who.id}"),
        phase=Phase.EVENT,
        identities=(f"subscriber:{who.id}",),
        event_ms=use.at_ms,
        lines=(AskedLine(use.rating_group, use.service_id, Units(**{KINDS[unit]: use.amount})),),
        style=Style.COMMAND,
        inputs=use.inputs,
        action=Action.PRICE,
    )
    answer = await stepped(handle(request, at_any_time(context), backoffice.now_ms()))
    if answer is None or isinstance(answer, Busy):
        raise Unavailable(answer.reason if answer else "the live store did not answer")
    asked = await _asked(backoffice, context.catalog, use, who, service)
    _same_unit(asked.rated(), unit)
    result = answer.lines[0].result if answer.lines else answer.result
    if result is Result.OK and answer.cost_micro is not None:
        return Quoted(answer.cost_micro, "", asked.currency, unit, answer.tariff)
    return Quoted(None, answer.reason or result.name.lower().replace("_", " "), asked.currency, unit, "")


def at_any_time(context: ChargingContext) -> ChargingContext:
    """The same, which believes any instant: a price may be asked for any time."""
    made = copy.copy(context)
    made.settings = msgspec.structs.replace(context.settings, event_ahead_ms=EVER_MS, event_behind_ms=EVER_MS)
    return made


class UseExplained(NamedTuple):
    """Why a use costs what it does. Bundles and counters are not looked at."""

    who: Subscriber
    currency: str
    micro: int | None
    """What money would pay alone; None: it has no price."""
    blocks: Sequence[str]
    """How that is climbed, or why it cannot be."""
    explanation: Explanation


async def explain_use(backoffice: BackOffice, use: PricedUse) -> UseExplained:
    """Explain the price of a use by the tariffs published now, with today's assignments and attributes of the
    subscriber."""
    context, who = await backoffice.context(), await _who(backoffice, use)
    service = _service(context, use)
    unit = service.unit if use.unit is None else use.unit
    asked = await _asked(backoffice, context.catalog, use, who, service)
    rated = asked.rated()
    _same_unit(rated, unit)
    explanation = explain(asked.catalog, asked.tariffs, asked.currency, asked.line, asked.inputs, asked.at_ms)
    micro, blocks = None, list[str]()
    if rated.ladder is not None:
        try:
            micro, blocks = used(asked.rated(use.amount), unit, use.amount, asked.at_ms)
        except ValueError as why:
            blocks = [str(why)]
        except TooLarge:
            blocks = ["the price would pass 2^53 micro-units"]
    return UseExplained(who, asked.currency, micro, blocks, explanation)


async def _who(backoffice: BackOffice, use: PricedUse) -> Subscriber:
    if (use.subscriber is None) == (use.identity is None):
        raise Invalid("subscriber", "expected it, or an identity, and not both")
    if use.subscriber is not None:
        found = await known.get(backoffice.pool, use.subscriber)
    else:
        found = await subscribers.by_identity(backoffice, use.identity or "")
    if found is None:
        raise NotFound(f"there is no subscriber {use.subscriber or use.identity}")
    return found


def _service(context: ChargingContext, use: PricedUse) -> Service:
    name = use.inputs.service
    service = context.settings.services.by_name.get(name)
    if service is None:
        raise Invalid("service", f"expected one of {', '.join(context.settings.services.by_name)}, found {name!r}")
    return service


class Asked(NamedTuple):
    """The inputs of rating, without balances."""

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


async def _asked(backoffice: BackOffice, catalog: Catalog, use: PricedUse, who: Subscriber, service: Service) -> Asked:
    account = await accounts.get(backoffice.pool, who.account)
    if account is None:
        raise NotFound(f"there is no account {who.account}")
    inputs = msgspec.structs.replace(
        use.inputs,
        attributes=who.attributes,
        time_zone=account.time_zone,
        subscriber=who.id,
        subscriber_tags=written(who.tags),
    )
    line = (use.rating_group, use.service_id)
    if line == (None, None):
        line = (service.rating_group, None)
    return Asked(catalog, who.tariffs, account.currency, line, inputs, use.at_ms or backoffice.now_ms())


def _same_unit(rated: Rated, unit: Kind) -> None:
    if rated.unit not in (None, unit):
        raise Invalid("unit", f"{rated.why} prices {KINDS[rated.unit]}, not {KINDS[unit]}")
