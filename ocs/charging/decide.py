"""What the store is asked for a request, and what its outcome means for the answer. Pure.

The money itself (holds, grants, duplicates, refusals) is decided where the balances are: balances/lua/charge.lua.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from balances.keys import event_key
from balances.ops import (
    NO_BLOB,
    Action,
    Ask,
    Charge,
    Flag,
    LineOutcome,
    Outcome,
    Phase,
    Report,
    Result,
    packed,
)
from ocs.charging.currencies import NUMBERS
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.profile import Profile
from ocs.charging.request import (
    NOTHING,
    AskedLine,
    ChargingAnswer,
    ChargingRequest,
    Fault,
    FinalAction,
    GrantedLine,
    Reason,
    Style,
    Units,
)
from ocs.charging.services import CostInfo, Service
from ocs.charging.settings import REGULAR, Settings
from tariffs.catalog import Rated
from tariffs.draft import Verdict
from tariffs.ladder import Ladder, Step
from tariffs.rating import Quote
from tariffs.units import Kind

SUSPENSE: Final = "~suspense"
"""Pseudo account: use that was reported for nobody we know is on its record, visible and not lost."""

RESULTS: Final = tuple(Result)
FREE_LADDER: Final = msgspec.msgpack.encode(Ladder((Step(),), tag=SUSPENSE))
REFUSALS: Final = {
    Verdict.PRICED: Result.OK,
    Verdict.RATING_FAILED: Result.RATING_FAILED,
    Verdict.NOT_APPLICABLE: Result.NOT_APPLICABLE,
    Verdict.DENIED: Result.DENIED,
}

_pack: Final = msgspec.msgpack.Encoder().encode
_blob: Final = lru_cache(65_536)(packed)
"""Ladders are few and each is one object of the catalog: wrapping them again is a look-up."""


@lru_cache(1_024)
def money_ladder(service: str) -> bytes:
    """CC-Money holds and settles money one to one: nothing is rated."""
    return _pack(Ladder((Step(scope=service, price=1),), tag="money"))


# ---- to the store


def event_time(request: ChargingRequest, settings: Settings, now_ms: int) -> tuple[int, int]:
    """The instant of the event, and a flag where the client's is out of bounds (charging.md section 6)."""
    event_ms = request.event_ms
    if event_ms is None:
        return now_ms, 0
    if now_ms - settings.event_behind_ms <= event_ms <= now_ms + settings.event_ahead_ms:
        return event_ms, 0
    return now_ms, Flag.EVENT_TIME


def fingerprint(request: ChargingRequest) -> str:
    """Of the money content: a repeat has the same, whatever else changed on its way (charging.md section 3)."""
    content = _pack((request.action.value, request.currency, request.lines, request.refund_token))
    return blake2b(content, digest_size=8).hexdigest()


def session_key(request: ChargingRequest, settings: Settings) -> str:
    """Session-Id with CC-Sub-Session-Id; with Origin-Host where the client's Session-Ids are not unique."""
    session = request.session
    if request.sub_session is not None:
        session = f"{session}|{request.sub_session}"
    if settings.clients and settings.clients.get(request.peer, REGULAR).session_id_not_unique:
        session = f"{session}\t{request.peer}"
    return session


def original_key(request: ChargingRequest, session: str) -> str:
    """Once key of what a refund gives back: our token from the debit, else the first event of the same session."""
    return request.refund_token.decode("utf-8", "replace") if request.refund_token else event_key(session, 0)


def to_charge(
    request: ChargingRequest,
    service: Service,
    profile: Profile,
    quote: Quote,
    settings: Settings,
    now_ms: int,
    jitter: int,
) -> tuple[Charge, bytes]:
    """The call, and the rating inputs that go on its record.

    jitter:  0 to 1000, how much of `settings.jitter_permille` this request's Validity-Times are shortened by
    """
    event_ms, flags = event_time(request, settings, now_ms)
    validity_s = service.validity_s - service.validity_s * settings.jitter_permille * jitter // 1_000_000
    phase, session = request.phase, session_key(request, settings)
    asks = [
        _ask(line, rated, request, service, profile, event_ms, max(validity_s, 1) * 1_000)
        for line, rated in zip(request.lines, quote, strict=True)
    ]
    reused = bool(settings.clients) and settings.clients.get(request.peer, REGULAR).reuses_numbers
    key = f"{int(phase)}:{request.number}"
    charge = Charge(
        profile.account,
        profile.subscriber,
        session,
        service.name,
        phase,
        request.number,
        f"{key}:{request.end_to_end}" if reused else key,
        not reused,
        fingerprint(request),
        request.end_to_end,
        request.resend,
        now_ms,
        event_ms,
        profile.rev,
        asks,
        request.peer,
        request.realm,
        request.via,
        request.action,
        overrun_factor=settings.overrun_factor,
        remember_ms=settings.remember_ms,
        idle_ms=settings.idle_ms,
        single=request.style is Style.COMMAND,
        flags=flags,
    )
    if phase is Phase.EVENT:
        once_key = event_key(session, request.number)
        charge.once_key = f"{once_key}:{request.end_to_end}" if reused else once_key
        if request.action is Action.REFUND:
            charge.refund_of = original_key(request, session)
            charge.refund_free = service.refund_free_micro
            charge.refund_until_ms = now_ms + settings.refund_until_ms
    return charge, _pack(request.inputs)


def _ask(
    line: AskedLine,
    rated: Rated,
    request: ChargingRequest,
    service: Service,
    profile: Profile,
    event_ms: int,
    validity_ms: int,
) -> Ask:
    requested = line.requested
    is_money = requested.money is not None if requested is not None and _names_unit(requested) else _is_money_used(line)
    unit = Kind.MONEY if is_money else rated.unit
    if unit is None:
        unit = _unit_named(requested or NOTHING, service.unit)
    quota = service.quota(unit)
    phase = request.phase
    event = phase is Phase.EVENT
    refusal = Result.OK if is_money else REFUSALS[rated.verdict]
    if profile.barred and not rated.emergency:
        refusal = Result.DENIED
    ladder = money_ladder(service.name) if is_money else rated.packed
    return Ask(
        -1 if line.rating_group is None else line.rating_group,
        -1 if line.service_id is None else line.service_id,
        unit,
        [_report(used.units, event_ms) for used in line.used],
        _asked(line, unit, request),
        quota.default,
        quota.minimum,
        0 if event else quota.maximum,  # an event is a price for all that was asked, or nothing
        service.priority,
        _blob(ladder) if refusal is Result.OK else NO_BLOB,
        validity_ms,
        free=rated.free and not is_money,
        emergency=rated.emergency,
        portal=service.final.action is not FinalAction.TERMINATE,
        refusal=refusal,
        whole=event and not service.part,
    )


def _is_money_used(line: AskedLine) -> bool:
    return bool(line.used) and all(used.units.money is not None for used in line.used)


def _names_unit(units: Units) -> bool:
    return (units.money, units.octets, units.seconds, units.units) != (None, None, None, None)


def _unit_named(requested: Units, otherwise: Kind) -> Kind:
    if requested.octets is not None:
        return Kind.OCTETS
    if requested.seconds is not None:
        return Kind.SECONDS
    return Kind.UNITS if requested.units is not None else otherwise


def _asked(line: AskedLine, unit: Kind, request: ChargingRequest) -> int:
    """-1 no grant, 0 as much as we like, else so much (charging.md section 5, RSU)."""
    requested = line.requested
    match request.phase:
        case Phase.START:
            wanted = requested or NOTHING  # without Requested-Service-Unit: as an empty one
        case Phase.UPDATE:
            if requested is None or line.reason is Reason.FINAL:
                return -1
            wanted = requested
        case Phase.EVENT:
            amount = _amount(requested or NOTHING, unit)
            # An empty request is for one unit; a refund without an amount is for all that is left.
            return amount if amount or request.action is Action.REFUND else 1
        case _:
            return -1
    # Another unit than the tariff's: the amount says nothing, the wish stands.
    return _amount(wanted, unit)


def _amount(units: Units, kind: Kind) -> int:
    if kind == Kind.OCTETS:
        return units.octets or 0
    if kind == Kind.SECONDS:
        return units.seconds or 0
    return (units.units if kind == Kind.UNITS else units.money) or 0


def _report(units: Units, at_ms: int) -> Report:
    money, octets, seconds, pieces = units.money, units.octets, units.seconds, units.units
    return Report(
        -1 if money is None else money,
        -1 if octets is None else octets,
        -1 if seconds is None else seconds,
        -1 if pieces is None else pieces,
        at_ms,
    )


def has_use(request: ChargingRequest) -> bool:
    return any(
        used.units.money or used.units.octets or used.units.seconds or used.units.units
        for line in request.lines
        for used in line.used
    )


def to_suspense(request: ChargingRequest, settings: Settings, now_ms: int) -> tuple[Charge, bytes]:
    """Use reported for nobody we know: on record at price 0 (charging.md section 5)."""
    nobody = Profile("", SUSPENSE, 2**53 - 1, "XXX", "", ())
    unpriced = Rated(Verdict.PRICED, packed=FREE_LADDER, free=True)
    service = settings.services.by_name.get(request.inputs.service) or settings.services.rows[0]
    charge, context = to_charge(request, service, nobody, [unpriced] * len(request.lines), settings, now_ms, 0)
    charge.flags |= Flag.SUSPENSE
    for ask in charge.asks:
        ask.asked = -1
    return charge, context


# ---- from the store


def to_answer(
    request: ChargingRequest, service: Service, profile: Profile, quote: Quote, outcome: Outcome, charge: Charge
) -> ChargingAnswer:
    """The store says what becomes of the command; each line has its own result (charging.md section 5)."""
    result = RESULTS[outcome.result]
    phase, event = request.phase, request.phase is Phase.EVENT
    if len(outcome.lines) == len(request.lines):
        lines = tuple(
            [
                _line(line, asked.reason, service, phase)
                for line, asked in zip(outcome.lines, request.lines, strict=True)
            ]
        )
    elif outcome.lines:  # the stored answer to a request that looked otherwise
        lines = tuple([_line(line, Reason.FINAL, service, phase) for line in outcome.lines])
    else:
        lines = tuple([GrantedLine(asked.rating_group, asked.service_id, result) for asked in request.lines])
    if result is Result.OK and request.style is Style.COMMAND and lines and lines[0].result is Result.NOT_APPLICABLE:
        result = Result.NOT_APPLICABLE  # RFC 8506 section 9.1: of the whole session, at command level
    fault = Fault.NONE
    for line in lines:
        if line.result is Result.RATING_FAILED:
            fault = Fault.LINE if request.inputs.service else Fault.SERVICE
    cost = _cost(request, service, outcome)
    token = b""
    if event and request.action is Action.DEBIT and result is Result.OK:
        renumbered = any(line.flags & Flag.RENUMBERED for line in outcome.lines)  # then its answer has its own place
        token = (f"{charge.once_key} {charge.fingerprint}" if renumbered else charge.once_key).encode()
    first = phase is Phase.START
    return ChargingAnswer(
        result,
        lines,
        _reason(result, quote),
        fault,
        cost,
        NUMBERS.get(profile.currency),
        outcome.enough if event and request.action is Action.CHECK else None,
        outcome.low and service.low_balance,
        token,
        service.failure_handling if first else None,
        service.debit_failure_handling if event else None,
        service.session_failover if first else None,
    )


def _line(line: LineOutcome, reason: Reason, service: Service, phase: Phase) -> GrantedLine:
    result = RESULTS[line.result]
    granted: Units | None = None
    validity_s = threshold = holding_s = final = None
    if line.granted > 0:
        granted = _granted(line.unit, line.granted)
        if phase is not Phase.EVENT:
            validity_s = max(line.validity_ms // 1_000, 1)
            if line.final:
                final = service.final
            elif service.threshold_percent:
                threshold = line.granted * service.threshold_percent // 100 or None
            if line.unit == Kind.OCTETS or line.unit == Kind.SECONDS:
                holding_s = service.holding_s
    elif service.final.action is not FinalAction.TERMINATE and phase in (Phase.START, Phase.UPDATE):
        # RFC 8506 section 5.6: no units but the portal, and how long the user may stay there; the report that says
        # "the final action has begun" asks for nothing and is told that too.
        if result is Result.CREDIT_LIMIT:
            result, validity_s, final = Result.OK, service.validity_s, service.final
        elif result is Result.NO_GRANT and reason is Reason.OTHER:
            validity_s = service.validity_s
    return GrantedLine(
        None if line.rating_group < 0 else line.rating_group,
        None if line.service_id < 0 else line.service_id,
        result,
        granted,
        validity_s,
        line.change_ms or None,
        final,
        threshold,
        holding_s,
    )


def _granted(unit: int, amount: int) -> Units:
    if unit == Kind.OCTETS:
        return Units(octets=amount)
    if unit == Kind.SECONDS:
        return Units(seconds=amount)
    return Units(units=amount) if unit == Kind.UNITS else Units(money=amount)


def _cost(request: ChargingRequest, service: Service, outcome: Outcome) -> int | None:
    """So far in an UPDATE, of all in a TERMINATION, of the event otherwise; reservations never count."""
    phase = request.phase
    if phase is Phase.EVENT:
        if request.action is Action.PRICE:
            return outcome.cost
        cost = abs(outcome.cost)
    elif phase is Phase.START:
        return None
    else:
        cost = outcome.debited
    wanted = service.cost is CostInfo.ALWAYS or (service.cost is CostInfo.ASKED and request.wants_cost)
    return cost if wanted else None


def _reason(result: Result, quote: Quote) -> str:
    if result is Result.RATING_FAILED:
        return next((rated.why for rated in quote if rated.verdict is Verdict.RATING_FAILED), "")
    return OUTCOMES[result].words
