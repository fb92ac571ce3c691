"""Suspense: the list of use that was reported and not charged, and its settlement (charging.md section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from balances.ledger import suspense
from balances.structs.account import MAIN
from ocs.backoffice import accounts, postings
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.errors import Conflict, Invalid, KeyReused, NoRoom, NotFound
from ocs.backoffice.postings import Order
from ocs.master import subscribers
from tariffs.explain import used
from tariffs.inputs import Inputs
from tariffs.rating import rate
from tariffs.units import EXACT_MAX, Kind, TooLarge

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

SuspenseRow = Mapping[str, Any]
"""By the columns of the table."""


class WantedSuspense(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are wanted; None: any."""

    account: str | None
    """Whose use it was, or who was charged for it."""
    session: str | None
    set_aside: int | None
    state: str | None
    from_ms: int
    until_ms: int
    after: tuple[int, str]
    """(at_ms, id) of the last one of the page before."""
    limit: int


class WantedSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about a row."""

    charge: bool
    """Else it is written off."""
    micro: int | None = None
    """What to charge for all of it. None: an amount of money as it is; else by the tariffs published now, as they were
    in force when it was used."""
    account: str | None = None
    """Who pays, where nobody is known to have used it."""
    expected: str | None = None
    """Its amount as the caller saw it: refused where it has grown since."""


async def page(backoffice: BackOffice, wanted: WantedSuspense) -> Sequence[SuspenseRow]:
    """Oldest first."""
    return await suspense.page(
        backoffice.pool,
        wanted.after,
        wanted.limit,
        account=wanted.account,
        session=wanted.session,
        set_aside=wanted.set_aside,
        state=wanted.state,
        from_ms=wanted.from_ms,
        to_ms=wanted.until_ms,
    )


async def of_session(backoffice: BackOffice, account: str, session: str) -> Sequence[SuspenseRow]:
    """What one session set aside, in order."""
    return await suspense.of_session(backoffice.pool, account, session)


async def get(backoffice: BackOffice, id_: str) -> SuspenseRow:
    row = await suspense.get(backoffice.pool, id_)
    if row is None:
        raise NotFound(f"there is no suspense {id_}")
    return row


async def settle(backoffice: BackOffice, id_: str, wanted: WantedSettlement, order: Order) -> SuspenseRow:
    """Write the decision to PostgreSQL, once; then post its entry, under the key of the row."""
    row = await get(backoffice, id_)
    mine = await suspense.of_request(backoffice.pool, order.key)
    if mine is not None:
        if mine["fingerprint"] != order.fingerprint:
            raise KeyReused
        return await _finished(backoffice, mine)
    row = await _finished(backoffice, row)
    if row["state"] != "open":
        raise Conflict(f"it is settled already: {row['state']} by {row['decided_by']}: {row['reason']}")
    if wanted.expected is not None and wanted.expected != quantity(row["unit"], int(row["amount"])):
        raise Conflict(f"expected: its amount is {quantity(row['unit'], int(row['amount']))} now")
    if not wanted.charge and not (wanted.micro is None and wanted.account is None):
        raise Invalid("amount, account", "only with action: charge")
    if not wanted.charge and order.tags:
        raise Invalid("tags", "only with action: charge")
    price = await _price(backoffice, wanted, row) if wanted.charge else None
    try:
        decided = await suspense.decide(
            backoffice.pool,
            row["id"],
            "charging" if price else "written-off",
            amount=row["amount"],
            payer=price.payer if price else None,
            charge=price.micro if price else None,
            by=order.actor,
            reason=order.reason,
            now_ms=backoffice.now_ms(),
            request=order.key,
            fingerprint=order.fingerprint,
            tags=order.tags,
        )
    except suspense.KeyTaken:
        raise KeyReused from None
    if decided is None:
        raise Conflict("it was settled or has grown while you asked: look at it again")
    return await _finished(backoffice, decided)


async def _finished(backoffice: BackOffice, row: SuspenseRow) -> SuspenseRow:
    """Post the entry of a row whose charge was decided and return the row; the key of the row makes it one entry."""
    if row["state"] != "charging":
        return row
    payer = await accounts.find(backoffice, row["payer"])
    posted = await postings.post(backoffice, payer, suspense.post_of(row, backoffice.now_ms()))
    return {**row, "state": "charged", "seq": posted.entries[0].seq}


class SettlementPrice(NamedTuple):
    payer: str
    micro: int


async def _price(backoffice: BackOffice, wanted: WantedSettlement, row: SuspenseRow) -> SettlementPrice:
    payer = row["account"] or wanted.account
    if payer is None:
        raise Invalid("account", "say who pays, nobody is known to have used it")
    if wanted.account not in (None, payer):
        raise Invalid("account", f"it is use of account {payer}")
    account_row = await accounts.find(backoffice, payer)
    micro = wanted.micro if wanted.micro is not None else await _worth(backoffice, row, account_row.currency)
    if micro <= 0:
        raise Invalid("amount", f"more than zero, found {money(micro)}; what costs nothing is written off")
    account, _ = await accounts.read(backoffice, account_row)
    main = next(bucket.amount for bucket in account.buckets if bucket.id == MAIN)
    if main - micro < -EXACT_MAX:  # before it is decided: a decision is not taken back
        raise NoRoom("the balance would pass 2^53")
    return SettlementPrice(payer, micro)


async def _worth(backoffice: BackOffice, row: SuspenseRow, currency: str) -> int:
    unit, amount = Kind(row["unit"]), int(row["amount"])
    if amount > EXACT_MAX:
        raise Invalid("amount", "say it, the use is larger than what a tariff can price")
    if unit == Kind.MONEY:
        if row["currency"] != currency:
            raise Invalid("amount", f"say it in {currency}, the use is in {row['currency']}")
        return amount
    who = await subscribers.get(backoffice.pool, row["subscriber"]) if row["subscriber"] else None
    if who is None:
        raise Invalid("amount", "say it, there is no subscriber whose tariffs could")
    context = await backoffice.context()
    service = context.settings.services.by_name.get(row["service"])
    line = tuple(None if number < 0 else number for number in (row["rating_group"], row["service_id"]))
    if line == (None, None) and service is not None:
        line = (service.rating_group, None)
    inputs = msgspec.json.decode(row["inputs"], type=Inputs) if row["inputs"] else Inputs(row["service"])
    at_ms = max(row["at_ms"] - (amount * 1_000 if unit == Kind.SECONDS else 0), 0)
    spans = [(at_ms, row["at_ms"])]
    (rated,) = rate(context.catalog, who.tariffs, currency, [(line[0], line[1])], inputs, at_ms, spans)
    if rated.ladder is None or rated.unit != unit:
        raise Invalid("amount", f"say it, no tariff prices {KINDS[unit]} of it ({rated.why})")
    try:
        return used(rated, unit, amount, at_ms)[0]
    except ValueError as why:
        raise Invalid("amount", f"say it, {why}") from None
    except TooLarge:
        raise Invalid("amount", "say it, by the tariff it would pass 2^53") from None
