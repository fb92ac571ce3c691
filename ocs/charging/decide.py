"""From a ChargingRequest to the Charge that the store is called with. Pure.

Holds, grants, duplicates and refusals are decided where the balances are: balances/lua/charge.lua.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.structs.blob import NO_BLOB
from balances.structs.charge import (
    LINES_MAX,
    LINES_SETTLED_MAX,
    Action,
    Ask,
    Charge,
    Flag,
    Phase,
    Result,
    Suspense,
    UsageReport,
)
from balances.structs.session import Line
from ocs.charging.profile import Profile
from ocs.charging.request import (
    NOTHING,
    AskedLine,
    ChargingRequest,
    FinalAction,
    MoneyAmount,
    Reason,
    Style,
    Units,
    Used,
)
from ocs.charging.services import Service
from ocs.charging.settings import ChargingSettings, ClientProfile
from ocs.charging.timed_use import blobbed, ends_of, later_of, sold_to_the_end
from tariffs.build_ladder import sooner
from tariffs.draft import RatingVerdict
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder, Step
from tariffs.limits import counts_of, with_counts
from tariffs.rating import Quote
from tariffs.stated_tags import tagged_ladder
from tariffs.tariff import Rated
from tariffs.units import EXACT_MAX, Kind

REFUSALS: Final = {
    RatingVerdict.PRICED: Result.OK,
    RatingVerdict.RATING_FAILED: Result.RATING_FAILED,
    RatingVerdict.NOT_APPLICABLE: Result.NOT_APPLICABLE,
    RatingVerdict.DENIED: Result.DENIED,
}

_pack: Final = msgspec.msgpack.Encoder().encode
# What copy.copy comes to, in a third of the time.
copied_ask: Final[Callable[[Ask], Ask]] = Ask.__copy__  # type: ignore[attr-defined]
copied_charge: Final[Callable[[Charge], Charge]] = Charge.__copy__  # type: ignore[attr-defined]


KINDS: Final = tuple(Kind)


@lru_cache(1_024)
def money_ladder(service: str) -> bytes:
    """The ladder of money that is asked for: it holds and settles money one to one, and nothing is rated."""
    return _pack(Ladder((Step(scope=service, price=1),), tag="money"))


def event_time(event_ms: int | None, settings: ChargingSettings, now_ms: int) -> tuple[int, int]:
    """The instant of the event, and a flag where the client's is out of bounds (charging.md section 6)."""
    if event_ms is None:
        return now_ms, 0
    if now_ms - settings.event_behind_ms <= event_ms <= now_ms + settings.event_ahead_ms:
        return event_ms, 0
    return now_ms, Flag.EVENT_TIME


class Arrival(NamedTuple):
    """Session key and event time of a request, computed once."""

    session: str
    """Its key (`session_key`)."""
    now_ms: int
    event_ms: int
    flags: int
    """Flag.EVENT_TIME where the client's own instant is out of bounds."""


def arrival(request: ChargingRequest, settings: ChargingSettings, now_ms: int) -> Arrival:
    event_ms, flags = event_time(request.event_ms, settings, now_ms)
    return Arrival(session_key(request, settings), now_ms, event_ms, flags)


def fingerprint(request: ChargingRequest) -> str:
    """Fingerprint of the money content: a repeat has the same one, whatever else differs (charging.md section 3)."""
    return digest(content_of(request, request.lines))


def content_of(request: ChargingRequest, lines: tuple[AskedLine, ...]) -> bytes:
    """The packed money content that the fingerprint is computed from. lines: those of the request, or others in
    their place"""
    return _pack((request.action.value, request.currency, lines, request.refund_token))


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def validity_of(service: Service, settings: ChargingSettings, jitter: int) -> int:
    """How long a grant is good for, in milliseconds.

    jitter:  0 to 1000, how much of `settings.jitter_permille` it is shortened by
    """
    validity_s = service.validity_s - service.validity_s * settings.jitter_permille * jitter // 1_000_000
    return max(validity_s, 1) * 1_000


def priced_as(line: AskedLine, service: Service) -> tuple[int | None, int | None]:
    """Rating group and service identifier that a line is rated by."""
    if line.rating_group is None and line.service_id is None:
        return service.rating_group, None
    return line.rating_group, line.service_id


def session_key(request: ChargingRequest, settings: ChargingSettings) -> str:
    """The session and its part; with the client where its names of sessions are not unique."""
    host = request.origin.client.lower() if settings.client(request.origin.client).session_id_not_unique else None
    return keys.session_key(request.key.session, request.key.sub_session, host)


def key_of(request: ChargingRequest, client: ClientProfile) -> str:
    """The request key: which request of its session it is (charging.md section 3)."""
    if reuses_numbers(request, client):
        return key_of_message(request.phase, request.key.number, request.key.message)
    return f"{int(request.phase)}:{request.key.number}"


def key_of_message(phase: int, number: int, message: int) -> str:
    """Of a client whose numbers say nothing."""
    return f"{int(phase)}:{number}:{message}"


def reuses_numbers(request: ChargingRequest, client: ClientProfile) -> bool:
    """Its number says nothing: two requests may have the same one. Of counters a repeat gains nothing anyway."""
    return client.reuses_numbers or request.is_cumulative()


def original_key(request: ChargingRequest, session: str) -> str:
    """Once key of what a refund gives back: our token from the debit, else the first event of the same session."""
    return keys.refund_key(request.refund_token) if request.refund_token else keys.event_key(session, 0)


def to_charge(
    request: ChargingRequest,
    service: Service,
    profile: Profile,
    quote: Quote,
    inputs: Inputs,
    settings: ChargingSettings,
    arrived: Arrival,
    jitter: int,
) -> tuple[Charge, bytes]:
    """The call, and the rating inputs that go on its record.

    inputs:  of the request and of the subscriber
    jitter:  0 to 1000, how much of `settings.jitter_permille` what this request is granted is good for shorter
    """
    session, now_ms, event_ms, flags = arrived
    course = request.course
    validity_ms = request.held_s * 500 if request.held_s else validity_of(service, settings, jitter)
    phase = request.phase
    client = settings.client(request.origin.client)
    tells_change = client.tariff_change or course is not None  # its grant only holds: nothing is cut where a price ends
    asks = []
    for place, (line, rated) in enumerate(zip(request.lines, quote, strict=True)):
        ask = _ask(line, rated, request, service, profile, inputs, event_ms, validity_ms, tells_change)
        if line.wish is not None or line.use is not None:
            _mind_money(ask, line)
        if place >= LINES_MAX:
            _is_too_many(ask, place)
        asks.append(ask)
        beside = rated.beside
        if beside is not None and ask.unit not in (Kind.MONEY, beside.unit) and _asks_beside(line, beside, request):
            asks.append(_beside(ask, beside, line, request, service))
    reused = reuses_numbers(request, client)
    charge = Charge(
        profile.account,
        profile.subscriber,
        session,
        service.name,
        phase,
        request.key.number,
        key_of(request, client),
        not reused,
        fingerprint(request),
        request.key.message,
        request.key.resend,
        now_ms,
        event_ms,
        profile.rev,
        asks,
        request.origin.client,
        request.origin.realm,
        request.origin.via,
        request.action,
        overrun_factor=settings.overrun_factor,
        remember_ms=settings.remember_ms,
        idle_ms=settings.idle_ms,
        single=request.style is Style.COMMAND,
        flags=flags,
        seek=request.settles(),
        origin_state=request.origin.restarts,
        identification=request.origin.identification,
        covered=request.covered,
    )
    if request.sessions_max is not None:
        charge.sessions_max, charge.replaces = request.sessions_max, list(request.replaces)
    if course is not None:
        charge.course, charge.token, charge.adopts = course.step, course.token, course.adopts
        charge.began_ms, charge.lasted_s, charge.restarted_ms = course.began_ms, course.lasted_s, course.restarted_ms
    if phase is Phase.EVENT:
        charge.once_key = keys.event_key(session, request.key.number, request.key.message if reused else None)
        if request.action is Action.REFUND:
            charge.refund_of = original_key(request, session)
            charge.refund_free = service.refund_free_micro
            charge.refund_until_ms = now_ms + settings.refund_until_ms
    return charge, _pack(inputs)


def _ask(
    line: AskedLine,
    rated: Rated,
    request: ChargingRequest,
    service: Service,
    profile: Profile,
    inputs: Inputs,
    event_ms: int,
    validity_ms: int,
    tells_change: bool,
) -> Ask:
    requested = None if line.wish is not None and line.wish.unusable else line.requested
    is_money = requested.money is not None if requested is not None and _names_unit(requested) else _is_money_used(line)
    unit = Kind.MONEY if is_money else rated.unit
    if unit is None:
        unit = _unit_named(requested or NOTHING, service.unit)
    quota = service.quota(unit)
    phase = request.phase
    event = phase is Phase.EVENT
    refusal = Result.OK if is_money else REFUSALS[rated.verdict]
    if request.exact_units and requested is not None and refusal is Result.OK and not _fits(requested, unit, rated):
        refusal = Result.RATING_FAILED
    if profile.barred and not rated.emergency:
        refusal = Result.DENIED
    ladder, money_until_ms = rated.packed, 0
    if is_money:
        ladder, money_until_ms = _money_price(service, profile, inputs, _counted_in(rated, request), event_ms)
    if event and refusal is Result.OK and rated.later and unit == Kind.SECONDS:
        refusal = sold_to_the_end(rated, REFUSALS)
    ends_ms = ends_of(line.used, event_ms) if unit == Kind.SECONDS else [event_ms] * len(line.used)
    ask = Ask(
        -1 if line.rating_group is None else line.rating_group,
        -1 if line.service_id is None else line.service_id,
        unit,
        [_report(used, end_ms) for used, end_ms in zip(line.used, ends_ms, strict=True)],
        _asked(line, unit, request),
        quota.default,
        1 if request.whole else quota.minimum,
        0 if event or request.whole else quota.maximum,  # an event is a price for all that was asked, or nothing
        service.priority,
        blobbed(ladder) if refusal is Result.OK else NO_BLOB,
        validity_ms,
        free=rated.free and not is_money,
        emergency=rated.emergency,
        portal=service.final.action is not FinalAction.TERMINATE,
        refusal=refusal,
        whole=request.whole or (event and not service.part),
        until_ms=money_until_ms,
    )
    if rated.ladder is not None and not is_money:
        _as_the_tariff_says(ask, rated, tells_change, event)
    if rated.later:
        ask.later, ask.known_ms = later_of(rated, beside=False), rated.known_ms
    return ask


def _counted_in(rated: Rated, request: ChargingRequest) -> Kind:
    """Of what the money is that a request asks for: what is given back was counted in the unit of its price too."""
    return Kind.MONEY if request.action is not Action.REFUND or rated.unit is None else rated.unit


def _money_price(service: Service, profile: Profile, inputs: Inputs, unit: Kind, event_ms: int) -> tuple[bytes, int]:
    """The ladder of money that is asked for, with charging tags and the limits of the subscriber, and until when they
    are these.

    unit: of what that money is
    """
    ladder = money_ladder(service.name)
    if inputs.tags or inputs.subscriber_tags:
        ladder = tagged_ladder(ladder, inputs.subscriber_tags, inputs.tags)[1]
    counts, until_ms = counts_of(profile.limits, inputs, unit, event_ms)
    return (with_counts(ladder, counts)[1] if counts else ladder), until_ms


def _mind_money(ask: Ask, line: AskedLine) -> None:
    """Refuse lines with unusable money; all use reported by such a line is set aside (charging.md 2)."""
    if is_unusable(line):
        ask.refusal = Result.INVALID
    if line.use is not None:
        ask.set_aside = Suspense.UNUSABLE if line.use.unusable else Suspense.NONE
        ask.flags = Flag.ROUNDED if line.use.rounded else 0


def is_unusable(line: AskedLine) -> bool:
    return any(money is not None and money.unusable for money in (line.wish, line.use))


def in_currency(request: ChargingRequest, currency: int | None) -> ChargingRequest:
    """The request, with money of another currency than this one marked as unusable."""

    def checked(money: MoneyAmount | None) -> MoneyAmount | None:
        if money is None or all(code == currency for code in money.currencies):
            return money
        return msgspec.structs.replace(money, unusable=True)

    lines = [msgspec.structs.replace(one, wish=checked(one.wish), use=checked(one.use)) for one in request.lines]
    return msgspec.structs.replace(request, lines=tuple(lines))


def _is_too_many(ask: Ask, place: int) -> None:
    """Whether a line is beyond the bound: it gets no grant, and beyond a second bound its use is only set aside."""
    if ask.refusal == Result.OK:
        ask.refusal = Result.UNABLE
    if place >= LINES_SETTLED_MAX:
        ask.refusal, ask.set_aside, ask.ladder = Result.UNABLE, Suspense.TOO_MANY_LINES, NO_BLOB
        ask.reports = [report for report in ask.reports if max(_amounts(report)) > 0]
        if ask.reports:
            ask.unit = next(kind for kind, amount in enumerate(_amounts(ask.reports[0])) if amount > 0)


def _amounts(report: UsageReport) -> tuple[int, int, int, int]:
    return report.money, report.octets, report.seconds, report.units


def _as_the_tariff_says(ask: Ask, rated: Rated, tells_change: bool, event: bool) -> None:
    """Where a grant must end, and how much is granted at a time."""
    if rated.change_ms and tells_change and rated.dearest:
        ask.change_ms, ask.dearest, ask.until_ms = rated.change_ms, blobbed(rated.dearest), rated.cut_ms
    elif rated.change_ms:  # the client is not told: its grant ends where the price changes
        ask.change_ms, ask.until_ms = rated.change_ms, sooner(rated.change_ms, rated.cut_ms)
    elif rated.cut_ms:
        ask.until_ms = rated.cut_ms
    ask.whole, ask.blocks = ask.whole or rated.whole, rated.blocks
    if event:  # a price for what was asked, not a part of something larger
        return
    if rated.minimum:
        ask.minimum = min(rated.minimum, ask.maximum or rated.minimum)
    ask.asked = _in_quanta(ask.asked, ask.default, rated)


def _in_quanta(asked: int, default: int, rated: Rated) -> int:
    """What is wanted, as whole ones of how much the tariff grants at a time."""
    if not rated.quantum or asked < 0:
        return asked
    wanted = -(-(asked or default) // rated.quantum) * rated.quantum
    return min(wanted, EXACT_MAX - EXACT_MAX % rated.quantum)


def asked_again(ask: Ask, rated: Rated, line: AskedLine, event_ms: int) -> Ask:
    """The ask that `to_charge` makes of a line of an UPDATE, from the one it made of another one that only differs in
    amounts and times. Both want something, and have no secondary unit."""
    asked = copied_ask(ask)
    assert line.requested is not None
    wanted = _amount(line.requested, KINDS[ask.unit])
    asked.asked = wanted if rated.ladder is None else _in_quanta(wanted, ask.default, rated)
    ends_ms = ends_of(line.used, event_ms) if ask.unit == Kind.SECONDS else [event_ms] * len(line.used)
    asked.reports = [_report(used, end_ms) for used, end_ms in zip(line.used, ends_ms, strict=True)]
    return asked


def _asks_beside(line: AskedLine, rated: Rated, request: ChargingRequest) -> bool:
    """What is asked in the secondary unit: an event is charged for what it names; a refund includes it."""
    if request.phase is not Phase.EVENT:
        return True
    assert rated.unit is not None
    return request.action is not Action.REFUND and _amount(line.requested or NOTHING, rated.unit) > 0


def _beside(main: Ask, rated: Rated, line: AskedLine, request: ChargingRequest, service: Service) -> Ask:
    """The Ask of the secondary unit of a line: granted and reported together with it."""
    assert rated.unit is not None
    quota = service.quota(rated.unit)
    return msgspec.structs.replace(
        main,
        unit=rated.unit,
        asked=_asked(line, rated.unit, request),
        default=quota.default,
        minimum=quota.minimum,
        maximum=0 if request.phase is Phase.EVENT else quota.maximum,
        ladder=blobbed(rated.packed) if main.refusal is Result.OK else NO_BLOB,
        change_ms=rated.change_ms,
        later=later_of(rated, beside=True),
        known_ms=rated.known_ms,
        dearest=NO_BLOB,
        blocks=False,
        secondary=1,
    )


def _is_money_used(line: AskedLine) -> bool:
    return bool(line.used) and all(used.units.money is not None for used in line.used)


def _names_unit(units: Units) -> bool:
    return (units.money, units.octets, units.seconds, units.units) != (None, None, None, None)


def _fits(requested: Units, unit: Kind, rated: Rated) -> bool:
    """Whether a wish without an amount, or with one in a unit that its price counts."""
    units = [unit] if rated.beside is None or rated.beside.unit is None else [unit, rated.beside.unit]
    return not _names_unit(requested) or any(_named(requested, one) is not None for one in units)


def _unit_named(requested: Units, otherwise: Kind) -> Kind:
    if _named(requested, otherwise) is not None:
        return otherwise
    if requested.octets is not None:
        return Kind.OCTETS
    if requested.seconds is not None:
        return Kind.SECONDS
    return Kind.UNITS if requested.units is not None else otherwise


def _asked(line: AskedLine, unit: Kind, request: ChargingRequest) -> int:
    """-1 no grant, 0 as much as we like, else so much (charging.md section 5, RSU); of an event -1 for zero."""
    requested = line.requested
    match request.phase:
        case Phase.START:
            wanted = requested or NOTHING  # without a wish: as an empty one
        case Phase.UPDATE:
            if requested is None or line.reason is Reason.FINAL:
                return -1
            wanted = requested
        case Phase.EVENT:
            amount = _named(requested or NOTHING, unit)
            if amount is None:  # one unit (charging.md section 9), or all that is left to be refunded
                return 0 if request.action is Action.REFUND else 1
            return amount or -1
        case Phase.RECORD:  # nothing is granted: that it goes on is all there is to say (charging.md section 8)
            return -1 if request.course is None or requested is None else 0
        case _:
            return -1
    # Another unit than the tariff's: the amount says nothing, the wish stands.
    return _amount(wanted, unit)


def _named(units: Units, kind: Kind) -> int | None:
    return (units.money, units.octets, units.seconds, units.units)[kind]


def _amount(units: Units, kind: Kind) -> int:
    return _named(units, kind) or 0


def _report(used: Used, at_ms: int) -> UsageReport:
    units = used.units
    money, octets, seconds, pieces = units.money, units.octets, units.seconds, units.units
    return UsageReport(
        -1 if money is None else money,
        -1 if octets is None else octets,
        -1 if seconds is None else seconds,
        -1 if pieces is None else pieces,
        at_ms,
        used.period,
        [] if used.counter is None else [used.counter],
    )


def counted_before(ask: Ask, lines: Sequence[Line]) -> Ask:
    """The ask, with what was counted of its counters in a session that the live store has forgotten."""
    like = [line for line in lines if line.rating_group == ask.rating_group and line.secondary == ask.secondary]
    line = next((line for line in like if line.service_id == ask.service_id), None)
    counted = {one.place: one.value for one in line.readings} if line is not None else {}

    def known(report: UsageReport) -> UsageReport:
        counters = [msgspec.structs.replace(one, counted=counted.get(one.place, 0)) for one in report.cumulative]
        return msgspec.structs.replace(report, cumulative=counters)

    return msgspec.structs.replace(ask, reports=[known(report) for report in ask.reports])


def has_use(request: ChargingRequest) -> bool:
    return any(
        used.units.money or used.units.octets or used.units.seconds or used.units.units
        for line in request.lines
        for used in line.used
    )
