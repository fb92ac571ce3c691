"""Money reserved for a purchase, confirmed in parts, and released (charging.md section 17): a session of charging with
one line of money. What it holds is held as every grant is: nobody else spends it, supervision lets it go when its time
has come, and it counts in limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from balances import keys
from balances.structs.charge import Phase, Result
from balances.structs.session import SessionState
from ocs.backoffice import accounts, sessions
from ocs.backoffice.amounts import money
from ocs.backoffice.errors import (
    AccountBarred,
    BackOfficeError,
    Conflict,
    InsufficientFunds,
    Invalid,
    NotFound,
    Unavailable,
    Unresolved,
)
from ocs.charging.request import AskedLine, ChargingRequest, Origin, RequestKey, Style, Units, Used
from tariffs.inputs import Inputs

if TYPE_CHECKING:
    from balances.structs.account import Account
    from balances.structs.session import Session
    from ocs.backoffice.backoffice import BackOffice

NUMBERS: Final = 1 << 32
ENDED: Final = "it has ended: nothing is reserved any more"
KEPT: Final = (SessionState.OPEN, SessionState.CLOSED, SessionState.ABANDONED)


class WantedReservation(NamedTuple):
    id: str
    identities: tuple[str, ...]
    """Who pays: as `ocs.charging.identity.canonical` spells them."""
    service: str
    amount: int
    """In micro-units."""
    lasts_s: int
    tags: str = ""
    """Charging tags, as JSON."""


class Reservation(msgspec.Struct, frozen=True):
    """What is there of one."""

    session: str
    account: str
    subscriber: str
    service: str
    currency: str
    reserved: int
    """Held now."""
    confirmed: int
    until_ms: int
    """When what is held is released; 0: nothing is."""
    state: SessionState
    opened_ms: int
    touched_ms: int
    """Of the last that was done with it."""


async def reserve(backoffice: BackOffice, client: str, wanted: WantedReservation, message: int) -> Reservation:
    """Hold all of the amount, or nothing. An id is used once: the same again says the same.

    client:   who reserves, as a client of charging
    message:  by which a repeat is known
    """
    desk = backoffice.charging
    if desk is None:
        raise Unavailable("this process does not charge")
    if wanted.service not in desk.services.by_name:
        raise Invalid("service", f"expected one of {', '.join(desk.services.by_name)}, found {wanted.service!r}")
    key = RequestKey(named(client, wanted.id), message=message, resend=True)
    lines = _lines(asked=wanted.amount)
    about = Inputs(service=wanted.service, tags=wanted.tags)
    request = _request(client, key, Phase.START, wanted.identities, about, lines, wanted.lasts_s)
    answer = await desk.charge(request)
    result = answer.lines[0].result if answer.result == Result.OK and answer.lines else answer.result
    if result != Result.OK:
        raise _refusal(result)
    return await get(backoffice, client, wanted.id)


def _refusal(result: Result) -> BackOfficeError:
    match result:
        case Result.CREDIT_LIMIT:
            return InsufficientFunds("the balance, or a limit, does not cover it; nothing is reserved")
        case Result.DENIED:
            return AccountBarred("barred for this subscriber or account")
        case Result.USER_UNKNOWN:
            return Unresolved("there is no subscriber with this id or identity")
        case _:
            return Conflict("that reservation has ended: use another id")


async def confirm(backoffice: BackOffice, client: str, id_: str, number: int, amount: int, left: int) -> Reservation:
    """Debit an amount of what is reserved and keep `left` of the rest; the last one, or a release, keeps nothing.

    number: 1, 2, 3 ...: the same again is done once
    amount: 0: nothing is debited
    """
    desk = backoffice.charging
    if desk is None:
        raise Unavailable("this process does not charge")
    _, session = await _find(backoffice, client, id_)
    _check(session, number, amount, left)
    key, who = RequestKey(named(client, id_), number=number), (f"subscriber:{session.subscriber}",)
    lasts_s = max(-((backoffice.now_ms() - session.lines[0].due_ms) // 1_000), 1)
    lines = _lines(asked=left, used=amount)
    about = Inputs(service=session.service)
    wanted = _request(client, key, Phase.UPDATE, who, about, lines, lasts_s)
    answer = await desk.charge(msgspec.structs.replace(wanted, covered=True))
    if answer.result == Result.SESSION_UNKNOWN:  # released after it was looked at
        raise Conflict(ENDED)
    if (
        not left
    ):  # where that leaves nothing held, it ends; a number of long ago, whose answer is forgotten, ends nothing
        _, session = await _find(backoffice, client, id_)
        if session.state == SessionState.OPEN and not session.lines[0].due_ms:
            await desk.charge(_request(client, key, Phase.STOP, who, about, _lines(asked=0), lasts_s))
    return await get(backoffice, client, id_)


async def finish(backoffice: BackOffice, client: str, id_: str, amount: int | None) -> Reservation:
    """Debit an amount of what is reserved (None: all of it; 0: nothing) and release the rest. The same again is done
    once; Conflict where it has ended in another way."""
    now = await get(backoffice, client, id_)
    if now.state == SessionState.OPEN:
        _, session = await _find(backoffice, client, id_)
        wanted = now.reserved if amount is None else amount
        done = await confirm(backoffice, client, id_, _last(session) + 1, wanted, 0)
        as_wanted = done.confirmed == now.confirmed + wanted
    else:
        whole = bool(now.confirmed) and now.state != SessionState.ABANDONED  # else the rest has lapsed
        done, as_wanted = now, whole if amount is None else now.confirmed == amount
    if not as_wanted or done.state == SessionState.OPEN:
        raise Conflict(f"it has ended in another way: {money(done.confirmed)} was debited")
    return done


async def of_account(backoffice: BackOffice, client: str, account: str) -> Sequence[tuple[str, Reservation]]:
    """Those of this client, by id, that an account pays for: open ones, and ended ones for an hour."""
    owner, found = await accounts.read(backoffice, await accounts.find(backoffice, account))
    begin = keys.part(named(client, ""))
    return [
        (keys.text_of(one.id.removeprefix(begin)), _reservation(owner, one))
        for one in sorted(found, key=lambda one: (one.opened_ms, one.id), reverse=True)
        if one.id.startswith(begin) and one.state in KEPT and one.lines
    ]


def _check(session: Session, number: int, amount: int, left: int) -> None:
    """Numbers come one after the other, and each is charged once: as an update, also where it leaves nothing, since the
    store tells requests apart by phase and number. So what is compared here is what the one before has left, whoever
    else confirms or releases at the same time."""
    last = _last(session)
    if number <= last:  # a repeat, if it is one: the store knows what it was answered
        return
    if session.state != SessionState.OPEN or not session.lines[0].due_ms:
        raise Conflict(ENDED)
    if number != last + 1:
        raise Conflict(f"number {last + 1} comes next")
    held = session.lines[0].granted
    if amount + left > held:
        raise Invalid("amount", f"it and what is left are at most {money(held)}, which is reserved")


def _last(session: Session) -> int:
    """The highest number so far."""
    return max((last % NUMBERS for last in session.seen[1::2]), default=0)


async def get(backoffice: BackOffice, client: str, id_: str) -> Reservation:
    return _reservation(*await _find(backoffice, client, id_))


def _reservation(account: Account, session: Session) -> Reservation:
    line = session.lines[0]
    return Reservation(
        session.id,
        account.id,
        session.subscriber,
        session.service,
        account.currency,
        line.granted if line.due_ms else 0,
        line.debited,
        line.due_ms,
        SessionState.CLOSED if session.state == SessionState.OPEN and not line.due_ms else SessionState(session.state),
        session.opened_ms,
        session.touched_ms,
    )


async def _find(backoffice: BackOffice, client: str, id_: str) -> tuple[Account, Session]:
    """Raises NotFound, also for a session that reserved nothing."""
    why = f"there is no reservation {id_} of this caller: none was made, or it ended more than an hour ago"
    try:
        account, session = await sessions.find(backoffice, keys.part(named(client, id_)))
    except NotFound:
        raise NotFound(why) from None
    if session.state not in KEPT or not session.lines:
        raise NotFound(why)
    return account, session


def named(client: str, id_: str) -> str:
    """The Session-Id of a reservation. No session of a platform is called so: its ids have no semicolon."""
    return f"{client};reservation;{id_}"


def _lines(*, asked: int, used: int = 0) -> Sequence[AskedLine]:
    report = (Used(Units(money=used)),) if used else ()
    return (AskedLine(None, None, Units(money=asked) if asked else None, report),)


def _request(
    client: str,
    key: RequestKey,
    phase: Phase,
    identities: tuple[str, ...],
    about: Inputs,
    lines: Sequence[AskedLine],
    lasts_s: int,
) -> ChargingRequest:
    return ChargingRequest(
        origin=Origin(client, via=client),
        key=key,
        phase=phase,
        identities=identities,
        event_ms=None,
        lines=tuple(lines),
        style=Style.LINES,
        inputs=about,
        held_s=lasts_s,
        whole=True,
    )
