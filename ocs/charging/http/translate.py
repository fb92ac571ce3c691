"""Charging over HTTP <-> the waist: the third translator, beside Diameter's and RADIUS's.

`started`, `reported`, `stopped` and `event` make a ChargingRequest of a body; `reply_of` makes the body of its answer.
A session is named after its caller and its id, so no caller reaches another one's sessions. Which request of a session
it is says its number; which start and which event, its Idempotency-Key (docs/http-charging.md).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from balances.keys import part
from balances.ledger.in_words import EPOCH, money, time_of
from balances.structs.charge import Action, Phase, Result
from ocs.charging.currencies import CODES, NUMBERS
from ocs.charging.decide import has_use
from ocs.charging.http.messages import (
    NOTHING_STATED,
    ChargedLine,
    ChargingEvent,
    ChargingMessage,
    ChargingReply,
    ChargingStart,
    ChargingStop,
    ChargingUpdate,
    FinalStep,
    GrantedUnits,
    StatedFacts,
    StatedLine,
    StatedUnits,
)
from ocs.charging.http.rating_inputs import inputs_of
from ocs.charging.identity import canonical, number_in
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.request import (
    CLIENT,
    AskedLine,
    ChargingAnswer,
    ChargingRequest,
    FinalUnit,
    GrantedLine,
    MoneyAmount,
    Origin,
    Reason,
    RequestKey,
    Style,
    Units,
    Used,
)
from ocs.charging.services import Service, Services
from ocs.tags import of_use
from tariffs.inputs import Inputs
from tariffs.units import EXACT_MAX, MICRO, SECONDS_MAX, Rounding

NO_CURRENCY: Final = 0
"""No ISO 4217 number: of letters that are no currency."""
REASONS: Final = {None: Reason.OTHER, "final": Reason.FINAL, "idle": Reason.IDLE}
ACTIONS: Final = {
    "debit": Action.DEBIT,
    "refund": Action.REFUND,
    "check": Action.CHECK,
    "price": Action.PRICE,
}  # fmt: skip


class UnusableBody(ValueError):
    """A field cannot be used. It is found before anything is charged, so nothing has happened."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class PlatformCall(NamedTuple):
    """Who sent a request, and what is known of it besides its body."""

    caller: str
    key: str
    """Idempotency-Key; "" where a number says which request of its session it is."""
    session: str = ""
    """The id of the session that it is about; "" where the body names it."""
    tags: Collection[str] = ()
    """Keys that charging tags may have."""

    @property
    def client(self) -> str:
        """The platform, as a client of charging."""
        return CLIENT + self.caller

    @property
    def debits(self) -> str:
        """What the refund tokens of its own debits begin with: what others sold the back office gives back."""
        return f"event {part(self.named('event;'))}"

    @property
    def message(self) -> int:
        return int.from_bytes(blake2b(self.key.encode(), digest_size=6).digest()) if self.key else 0

    def named(self, session: str) -> str:
        """What a session of this id is called where those of all protocols are."""
        return f"{self.client};{session}"


class AmountReading(NamedTuple):
    """How amounts are read."""

    phase: Phase
    reports: bool
    rounding: Rounding
    currency: int | None


def id_of(body: ChargingMessage, call: PlatformCall) -> str:
    """What the answer calls the session, or the event. The id of a session is made of the key where none is given, so
    that a repeat means the same session."""
    if isinstance(body, ChargingStart):
        return body.id or made_id(call.key)
    return call.session or call.key


def made_id(key: str) -> str:
    """Of a session that is started with this Idempotency-Key and without an id."""
    return blake2b(key.encode(), digest_size=12).hexdigest()


# ---- the request


def started(body: ChargingStart, call: PlatformCall, services: Services) -> ChargingRequest:
    """An id is used once: another start of it is taken for a repeat, whatever key it has."""
    key = RequestKey(call.named(id_of(body, call)), message=call.message, resend=True)
    return _request(body, Phase.START, key, _who(body), call, services)


def reported(body: ChargingUpdate, call: PlatformCall, services: Services) -> ChargingRequest:
    key = RequestKey(call.named(call.session), number=body.number)
    return _request(body, Phase.UPDATE, key, _who(body, needed=False), call, services)


def stopped(body: ChargingStop, call: PlatformCall, services: Services) -> ChargingRequest:
    key = RequestKey(call.named(call.session), number=body.number)
    return _request(body, Phase.STOP, key, _who(body, needed=False), call, services)


def event(body: ChargingEvent, call: PlatformCall, services: Services) -> ChargingRequest:
    """An event without a time may be a repeat of any age, so PostgreSQL is asked too; with one its age is known."""
    action = ACTIONS[body.action]
    if (body.refund_token is not None) != (action is Action.REFUND):
        raise UnusableBody("refund_token", "expected with a refund, and only there")
    if body.refund_token is not None and not body.refund_token.startswith(call.debits):
        raise UnusableBody("refund_token", "of no debit of yours; the back office gives back what others debited")
    moves = action in (Action.DEBIT, Action.REFUND)
    key = RequestKey(call.named(f"event;{call.key}"), message=call.message, resend=moves and body.time is None)
    return _request(body, Phase.EVENT, key, _who(body), call, services, action, (body.refund_token or "").encode())


@lru_cache(64)
def _nothing_stated(service: str) -> Inputs:
    return inputs_of(service, NOTHING_STATED, tags="")


@lru_cache(1_024)
def _inputs(service: str, facts: StatedFacts, tags: str) -> Inputs:
    """Kept, because most reports state nothing, or what the last one did."""
    return inputs_of(service, facts, tags=tags)


def _request(
    body: ChargingStart | ChargingUpdate | ChargingStop | ChargingEvent,
    phase: Phase,
    key: RequestKey,
    identities: tuple[str, ...],
    call: PlatformCall,
    services: Services,
    action: Action = Action.DEBIT,
    refund_token: bytes = b"",
) -> ChargingRequest:
    service = services.by_name.get(body.service)
    reports = phase is Phase.STOP or (phase is Phase.UPDATE and any(line.used is not None for line in body.lines))
    if service is None and not reports:  # what was used is settled by any name
        raise UnusableBody("service", f"expected one of {', '.join(services.by_name)}, found {body.service!r}")
    currency = None if body.currency is None else NUMBERS.get(body.currency, NO_CURRENCY)
    return ChargingRequest(
        origin=Origin(call.client, via=call.client),
        key=key,
        phase=phase,
        identities=identities,
        event_ms=None if body.time is None else ms_of(body.time),
        lines=_lines(body.lines, phase, service, currency),
        style=Style.LINES,
        inputs=_facts(body, call),
        action=action,
        currency=currency,
        refund_token=refund_token,
        wants_cost=True,
        exact_units=action is not Action.REFUND,
    )


def _facts(body: ChargingMessage, call: PlatformCall) -> Inputs:
    tags = _tags(body, call) if body.tags else ""
    if not tags and body.facts is NOTHING_STATED:
        return _nothing_stated(body.service)
    try:
        return _inputs(body.service, body.facts, tags)
    except ValueError as why:
        raise UnusableBody("facts.visited", str(why)) from None


def _tags(body: ChargingMessage, call: PlatformCall) -> str:
    if body.tags and isinstance(body, ChargingEvent) and body.action == "refund":
        raise UnusableBody("tags", "not with a refund: what is given back has those of the debit")
    try:
        return of_use(body.tags, call.tags)
    except ValueError as why:
        raise UnusableBody("tags", str(why)) from None


def _who(body: ChargingMessage, *, needed: bool = True) -> tuple[str, ...]:
    if body.subscriber is not None and body.identity is not None:
        raise UnusableBody("subscriber", "expected it, or an identity, and not both")
    if body.subscriber is not None:
        return (f"subscriber:{body.subscriber}",)
    if body.identity is None:
        if needed:
            raise UnusableBody("subscriber", "expected it, or an identity")
        return ()
    try:
        return _spelled(body.identity)
    except ValueError as why:
        raise UnusableBody("identity", str(why)) from None


@lru_cache(4_096)
def _spelled(identity: str) -> tuple[str, ...]:
    """Kept, because each report of a session says it again. Raises ValueError."""
    found = canonical(identity)
    number = number_in(found) if found.startswith("sip:") else ""
    return (found, number) if number else (found,)


def ms_of(text: str) -> int:
    """An instant. UnusableBody: there is none such."""
    try:
        return (datetime.fromisoformat(text.upper().replace(" ", "T")) - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise UnusableBody("time", f"not an instant that exists: {text}") from None


def _lines(
    stated: tuple[StatedLine, ...], phase: Phase, service: Service | None, currency: int | None
) -> tuple[AskedLine, ...]:
    reports = phase is not Phase.EVENT and (phase is not Phase.START or any(one.used is not None for one in stated))
    reading = AmountReading(phase, reports, service.rounding if service else Rounding.UP, currency)
    if len({(one.rating_group, one.service_id) for one in stated}) < len(stated):
        raise UnusableBody("lines", "two lines of one rating_group and service_id")
    return tuple(_line(one, reading, f"lines[{place}]") for place, one in enumerate(stated))


def _line(stated: StatedLine, reading: AmountReading, where: str) -> AskedLine:
    if reading.phase is Phase.EVENT and stated.used is not None:
        raise UnusableBody(f"{where}.used", "an event asks: `requested`")
    wanted, wish, use = None, None, None
    used: tuple[Used, ...] = ()
    if stated.requested is not None and reading.phase is not Phase.STOP:
        wanted, wish = _units(stated.requested, reading, f"{where}.requested", used=False)
    if stated.used is not None:
        units, use = _units(stated.used, reading, f"{where}.used", used=True)
        used = (Used(units),)
    reason = REASONS[stated.reason]
    return AskedLine(stated.rating_group, stated.service_id, wanted, used, reason, wish, use)


def _units(stated: StatedUnits, reading: AmountReading, where: str, *, used: bool) -> tuple[Units, MoneyAmount | None]:
    """More than can be counted is a large wish; of an event it would be another amount, so that is refused."""
    octets, seconds, units = stated.octets, stated.seconds, stated.units
    if octets is not None and octets > EXACT_MAX:
        octets = _most(EXACT_MAX, reading, f"{where}.octets")
    if seconds is not None and seconds > SECONDS_MAX:
        seconds = _most(SECONDS_MAX, reading, f"{where}.seconds")
    if units is not None and units > EXACT_MAX:
        units = _most(EXACT_MAX, reading, f"{where}.units")
    if stated.money is None:
        return Units(None, octets, seconds, units), None
    micro, odd = _micro(stated.money, reading, where, used=used)
    return Units(micro, octets, seconds, units), odd


def _most(most: int, reading: AmountReading, where: str) -> int:
    if reading.phase is Phase.EVENT:
        raise UnusableBody(where, f"at most {most}")
    return most


def _micro(text: str, reading: AmountReading, where: str, *, used: bool) -> tuple[int, MoneyAmount | None]:
    """Micro-units, and what is odd about them (charging.md section 2)."""
    exact = Fraction(text) * MICRO
    micro, rest = divmod(abs(exact), 1)
    large, fine = micro > EXACT_MAX, rest > 0
    unusable = exact < 0 or (fine and not used) or (large and reading.phase is Phase.EVENT)
    if unusable and not reading.reports:
        raise UnusableBody(f"{where}.money", f"not below zero, at most six decimals, less than 2^53; found {text}")
    if fine and (reading.rounding is Rounding.UP or (reading.rounding is Rounding.HALF_UP and 2 * rest >= 1)):
        micro += 1
    code = reading.currency
    odd = (
        None
        if code is None and not unusable and not fine
        else MoneyAmount(() if code is None else (code,), unusable, fine)
    )
    return min(int(micro), EXACT_MAX), odd


# ---- the answer


WORDS: Final = {result: result.name.lower().replace("_", "-") for result in Result}


def word(result: Result) -> str:
    return WORDS[result]


def reply_of(named: str, request: ChargingRequest, answer: ChargingAnswer) -> ChargingReply:
    """named: what `id_of` calls it"""
    cost, balance, token = answer.cost_micro, answer.balance_micro, answer.refund_token
    return ChargingReply(
        named,
        part(request.key.session),
        word(answer.result),
        [_answered(*each) for each in zip(answer.lines, _aside(request, answer), strict=True)],
        None if cost is None else money(cost),
        None if balance is None else money(balance),
        None if answer.currency is None else CODES.get(answer.currency),
        answer.low_balance,
        answer.enough,
        token.decode() if token else None,
        answer.tariff,
    )


def why_not(request: ChargingRequest, answer: ChargingAnswer) -> str:
    """Why all of it was refused, and what became of what it reported."""
    why = answer.reason or OUTCOMES[answer.result].words
    if answer.result is Result.RATING_FAILED and any(line.requested is not None for line in request.lines):
        return f"{why}, at least not in the units that are asked for"
    if answer.result is not Result.SESSION_UNKNOWN or not has_use(request):
        return why
    aside = any(_aside(request, answer)) or answer.cost_micro is None
    return f"{why}; what it reports is " + ("set aside (see /v1/suspense)" if aside else "charged all the same, once")


def _aside(request: ChargingRequest, answer: ChargingAnswer) -> list[bool]:
    """Of each line of the answer, whether what it reports is in none of the units that it counts."""
    if len(answer.lines) != len(request.lines):  # the stored answer to a request that looked otherwise
        return [False] * len(answer.lines)
    return [_is_aside(asked, line) for asked, line in zip(request.lines, answer.lines, strict=True)]


def _is_aside(asked: AskedLine, line: GrantedLine) -> bool:
    if not line.counts:
        return False
    reported = [(used.units.money, used.units.octets, used.units.seconds, used.units.units) for used in asked.used]
    return any(any(amounts) and all(amounts[unit] is None for unit in line.counts) for amounts in reported)


def _answered(line: GrantedLine, set_aside: bool) -> ChargedLine:
    granted = line.granted
    return ChargedLine(
        line.rating_group,
        line.service_id,
        word(line.result),
        None if granted is None else _granted(granted),
        line.validity_s,
        None if line.final is None else _final(line.final),
        line.threshold,
        line.holding_s,
        None if line.change_ms is None else time_of(line.change_ms),
        line.grade,
        set_aside,
    )


def _granted(units: Units) -> GrantedUnits:
    return GrantedUnits(None if units.money is None else money(units.money), units.octets, units.seconds, units.units)


def _final(final: FinalUnit) -> FinalStep:
    action = final.action.name.lower().replace("_", "-")
    return FinalStep(action, final.address, [*final.filters], [*final.filter_ids])  # type: ignore[arg-type]
