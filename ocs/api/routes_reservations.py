"""Money reserved for a purchase, confirmed in parts, released (charging.md section 17)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from balances.keys import idempotency_key
from balances.structs.session import SessionState
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import Money, MoneyAboveZero, MoneyFromZero, Time, time_or_none
from ocs.backoffice import reservations
from ocs.backoffice.amounts import micro_of, money
from ocs.backoffice.errors import Invalid
from ocs.backoffice.reservations import Reservation, WantedReservation
from ocs.charging.http.messages import Identity
from ocs.charging.identity import canonical
from ocs.charging.request import CLIENT
from ocs.tags import UseTags, of_use

Number = Annotated[int, Meta(ge=1, le=2**32 - 1, description="1, 2, 3 ... of this reservation: it is the key")]


class ReservationOrder(schema.Input, frozen=True):
    """Who buys is named by id, or by one identity."""

    amount: MoneyAboveZero
    """All of it is held, or nothing."""
    id: schema.Id | None = None
    """Your name of it, used once; one is made of the Idempotency-Key unless given."""
    subscriber: schema.Id | None = None
    identity: Identity | None = None
    service: Annotated[str, Meta(min_length=1, max_length=64)] = "generic"
    """Name of a row of the service table: which buckets may pay, which limits count."""
    lasts_s: Annotated[int, Meta(ge=10, le=30 * 86_400)] = 3_600
    """What is not confirmed by then is released."""
    tags: UseTags = field(default_factory=dict)
    """On the entries of what is confirmed."""


class Confirmation(schema.Input, frozen=True):
    number: Number
    amount: MoneyAboveZero
    left: MoneyFromZero = "0.00"
    """Stays reserved, until the same instant as before; of 0 the reservation ends."""


class Release(schema.Input, frozen=True):
    number: Number


class ReservationView(Struct, frozen=True):
    id: str
    session: str
    """What it is called in /v1/sessions and in the ledger."""
    account: str
    subscriber: str
    service: str
    currency: str
    reserved: Money
    """Held now."""
    confirmed: Money
    until: Time | None
    """When what is held is released."""
    state: Literal["open", "ended", "expired"]


STATES: Final[dict[SessionState, Literal["open", "ended", "expired"]]] = {
    SessionState.OPEN: "open",
    SessionState.CLOSED: "ended",
    SessionState.ABANDONED: "expired",
}


def reservation_view(id_: str, found: Reservation) -> ReservationView:
    return ReservationView(
        id_,
        found.session,
        found.account,
        found.subscriber,
        found.service,
        found.currency,
        money(found.reserved),
        money(found.confirmed),
        time_or_none(found.until_ms),
        STATES[found.state],
    )


async def reserve(call: ApiCall) -> ApiReply:
    body: ReservationOrder = call.body
    key = idempotency_key(call.key).encode()
    id_ = body.id or blake2b(key, digest_size=12).hexdigest()
    try:
        tags = of_use(body.tags, call.backoffice.tags)
    except ValueError as why:
        raise Invalid("tags", str(why)) from None
    amount = micro_of(body.amount, "amount")
    wanted = WantedReservation(id_, _who(body), body.service, amount, body.lasts_s, tags)
    message = int.from_bytes(blake2b(key, digest_size=6).digest())
    made = await reservations.reserve(call.backoffice, CLIENT + call.caller, wanted, message)
    return ApiReply(reservation_view(id_, made), 201)


def _who(body: ReservationOrder) -> tuple[str, ...]:
    if (body.subscriber is None) == (body.identity is None):
        raise Invalid("subscriber", "expected it, or an identity, and not both")
    if body.subscriber is not None:
        return (f"subscriber:{body.subscriber}",)
    try:
        return (canonical(body.identity or ""),)
    except ValueError as why:
        raise Invalid("identity", str(why)) from None


async def get_reservation(call: ApiCall) -> ApiReply:
    id_ = call.path["id"]
    return ApiReply(reservation_view(id_, await reservations.get(call.backoffice, CLIENT + call.caller, id_)))


async def confirm(call: ApiCall) -> ApiReply:
    body: Confirmation = call.body
    return await _confirmed(call, body.number, micro_of(body.amount, "amount"), micro_of(body.left, "left"))


async def release(call: ApiCall) -> ApiReply:
    body: Release = call.body
    return await _confirmed(call, body.number, 0, 0)


async def _confirmed(call: ApiCall, number: int, amount: int, left: int) -> ApiReply:
    id_ = call.path["id"]
    client = CLIENT + call.caller
    done = await reservations.confirm(call.backoffice, client, id_, number, amount, left)
    return ApiReply(reservation_view(id_, done))


REFUSALS: Final = ("conflict", "key-reused", "fate-unknown")

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/reservations",
        reserve,
        "Reserve money for a purchase",
        "charging.charge",
        answer=ReservationView,
        status=201,
        body=ReservationOrder,
        keyed=True,
        problems=(*REFUSALS, "insufficient-funds", "account-barred", "unresolved", "not-found"),
        description="All of the amount is held, or nothing, until it is confirmed, released or its time has come. The"
        " same id again says the same. A reservation is its caller's, and a session of /v1/sessions too.",
    ),
    Operation(
        "GET",
        "/v1/reservations/{id}",
        get_reservation,
        "A reservation, until an hour after its end",
        "charging.read",
        answer=ReservationView,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/reservations/{id}/confirm",
        confirm,
        "Debit an amount of what is reserved",
        "charging.charge",
        answer=ReservationView,
        body=Confirmation,
        problems=(*REFUSALS, "not-found"),
        description="In one part, or in several that leave something reserved; together never more than was reserved."
        " The same `number` again is the same confirmation.",
    ),
    Operation(
        "POST",
        "/v1/reservations/{id}/release",
        release,
        "Release what is reserved",
        "charging.charge",
        answer=ReservationView,
        body=Release,
        problems=(*REFUSALS, "not-found"),
    ),
)
