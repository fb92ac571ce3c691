"""Use that was reported and not charged: a list, and what becomes of it (charging.md section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from balances.ledger import suspense
from balances.structs.account import MAIN
from balances.structs.charge import Suspense
from ocs.api import schema, schema_suspense
from ocs.api.desk import key_reused
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.api.texts import Money, Quantity, Time, micro_of, money, ms_of
from ocs.api.views import KINDS, quantity, suspense_view
from ocs.master import subscribers
from ocs.patterns import looks
from tariffs.explain import used
from tariffs.inputs import Inputs
from tariffs.rating import rate
from tariffs.units import EXACT_MAX, Kind, TooLarge

WORDS: Final = {why.word: why for why in Suspense if why}


class Query(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    account: schema.Id | None = None
    """Whose use it was, or who was charged for it."""
    session: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    reason: schema_suspense.SetAside | None = None
    state: schema_suspense.SuspenseState | None = None
    from_: Time | None = None
    until: Time | None = None
    """Half open, by the first use."""
    after: Annotated[str, looks(r"([0-9]{1,16}:[0-9-]{1,60})?", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Settlement(schema.Input, frozen=True):
    action: Literal["charge", "write-off"]
    reason: schema.Reason
    amount: Money | None = None
    """What to charge for all of it. Left out: an amount of money as it is; else by the tariffs published now, as they
    were in force when it was used."""
    account: schema.Id | None = None
    """Who pays, where nobody is known to have used it."""
    expected: Quantity | None = None
    """Its amount as you saw it: refused where it has grown since."""


async def list_suspense(call: ApiCall) -> ApiReply:
    query: Query = call.query
    at_ms, _, id_ = query.after.partition(":")
    rows = await suspense.page(
        call.desk.pool,
        (int(at_ms or -1), id_),
        query.limit,
        account=query.account,
        session=query.session,
        set_aside=WORDS[query.reason] if query.reason else None,
        state=query.state,
        from_ms=ms_of(query.from_, "from") or 0,
        to_ms=ms_of(query.until, "until") or 2**62,
    )
    full = len(rows) == query.limit
    return ApiReply(
        schema_suspense.SuspensePage(
            [suspense_view(row) for row in rows], f"{rows[-1]['at_ms']}:{rows[-1]['id']}" if full else None
        )
    )


async def get_suspense(call: ApiCall) -> ApiReply:
    return ApiReply(suspense_view(await _row(call)))


async def _row(call: ApiCall) -> Mapping[str, Any]:
    row = await suspense.get(call.desk.pool, call.path["id"])
    if row is None:
        raise Problem("not-found", f"there is no suspense {call.path['id']}")
    return row


async def settle(call: ApiCall) -> ApiReply:
    """The decision is written to PostgreSQL, once; then its entry is posted, under the key of the row."""
    body: Settlement = call.body
    row = await _row(call)
    mine = await suspense.of_request(call.desk.pool, call.key)
    if mine is not None:
        if mine["fingerprint"] != call.fingerprint:
            raise key_reused()
        return ApiReply(suspense_view(await _finished(call, mine)))
    row = await _finished(call, row)
    if row["state"] != "open":
        raise Problem("conflict", f"it is settled already: {row['state']} by {row['decided_by']}: {row['reason']}")
    if body.expected is not None and body.expected != quantity(row["unit"], int(row["amount"])):
        raise Problem("conflict", f"expected: its amount is {quantity(row['unit'], int(row['amount']))} now")
    if body.action == "write-off" and not (body.amount is None and body.account is None):
        raise Problem("invalid", "amount, account: only with action: charge")
    price = await _price(call, body, row) if body.action == "charge" else None
    try:
        decided = await suspense.decide(
            call.desk.pool,
            row["id"],
            "charging" if price else "written-off",
            amount=row["amount"],
            payer=price.payer if price else None,
            charge=price.micro if price else None,
            by=call.caller,
            reason=body.reason,
            now_ms=call.desk.now_ms(),
            request=call.key,
            fingerprint=call.fingerprint,
        )
    except suspense.KeyTaken:
        raise key_reused() from None
    if decided is None:
        raise Problem("conflict", "it was settled or has grown while you asked: look at it again")
    return ApiReply(suspense_view(await _finished(call, decided)))


async def _finished(call: ApiCall, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row, its entry posted if one was decided, by whomever: the key of the row makes it one."""
    if row["state"] != "charging":
        return row
    posted = await call.desk.post(await call.desk.row(row["payer"]), suspense.post_of(row, call.desk.now_ms()))
    return {**row, "state": "charged", "seq": posted.entries[0].seq}


class SettlementPrice(NamedTuple):
    payer: str
    micro: int


async def _price(call: ApiCall, body: Settlement, row: Mapping[str, Any]) -> SettlementPrice:
    payer = row["account"] or body.account
    if payer is None:
        raise Problem("invalid", "account: say who pays, nobody is known to have used it")
    if body.account not in (None, payer):
        raise Problem("invalid", f"account: it is use of account {payer}")
    account_row = await call.desk.row(payer)
    micro = await _worth(call, body, row, account_row.currency)
    if micro <= 0:
        raise Problem("invalid", f"amount: more than zero, found {money(micro)}; what costs nothing is written off")
    account, _ = await call.desk.read(account_row)
    main = next(bucket.amount for bucket in account.buckets if bucket.id == MAIN)
    if main - micro < -EXACT_MAX:  # before it is decided: a decision is not taken back
        raise Problem("no-room", "the balance would pass 2^53")
    return SettlementPrice(payer, micro)


async def _worth(call: ApiCall, body: Settlement, row: Mapping[str, Any], currency: str) -> int:
    if body.amount is not None:
        return micro_of(body.amount, "amount")
    unit, amount = Kind(row["unit"]), int(row["amount"])
    if amount > EXACT_MAX:
        raise Problem("invalid", "amount: say it, the use is larger than what a tariff can price")
    if unit == Kind.MONEY:
        if row["currency"] != currency:
            raise Problem("invalid", f"amount: say it in {currency}, the use is in {row['currency']}")
        return amount
    who = await subscribers.get(call.desk.pool, row["subscriber"]) if row["subscriber"] else None
    if who is None:
        raise Problem("invalid", "amount: say it, there is no subscriber whose tariffs could")
    shop = await call.desk.shop()
    service = shop.settings.services.by_name.get(row["service"])
    line = tuple(None if number < 0 else number for number in (row["rating_group"], row["service_id"]))
    if line == (None, None) and service is not None:
        line = (service.rating_group, None)
    inputs = msgspec.json.decode(row["inputs"], type=Inputs) if row["inputs"] else Inputs(row["service"])
    at_ms = max(row["at_ms"] - (amount * 1_000 if unit == Kind.SECONDS else 0), 0)
    spans = [(at_ms, row["at_ms"])]
    (rated,) = rate(shop.catalog, who.tariffs, currency, [(line[0], line[1])], inputs, at_ms, spans)
    if rated.ladder is None or rated.unit != unit:
        raise Problem("invalid", f"amount: say it, no tariff prices {KINDS[unit]} of it ({rated.why})")
    try:
        return used(rated, unit, amount, at_ms)[0]
    except ValueError as why:
        raise Problem("invalid", f"amount: say it, {why}") from None
    except TooLarge:
        raise Problem("invalid", "amount: say it, by the tariff it would pass 2^53") from None


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/suspense",
        list_suspense,
        "Use that was reported and not charged, oldest first",
        answer=schema_suspense.SuspensePage,
        query=Query,
        description="Beyond the bound of what is believed, in another unit than was granted, without a price, of nobody"
        " known ... (`reason`). What nobody known used is one row for each session and line, and grows. From"
        " PostgreSQL, which follows within a second.",
    ),
    Operation(
        "GET",
        "/v1/suspense/{id}",
        get_suspense,
        "One of them",
        answer=schema_suspense.SuspenseItem,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/suspense/{id}/settle",
        settle,
        "Charge it or write it off, once",
        answer=schema_suspense.SuspenseItem,
        body=Settlement,
        keyed=True,
        problems=("key-required", "key-reused", "not-found", "conflict", "no-room", "fate-unknown"),
        description="A charge is an entry `suspense` of the main balance against revenue, also where it makes debt:"
        " the use has happened. A write-off moves no money and is kept with who decided it and why.",
    ),
)
