"""Handles one ChargingRequest: from the waist to the store and back.

On the hot path there is one await: the charge itself. The rare cases may wait for more: a profile that is not cached,
an account Redis does not have, a report without a subscriber, an event that may be a month old.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from balances.facts import of_line
from balances.keys import AccountKeys, renumbered
from balances.redis.calls import Lost, NotSent
from balances.structs.blob import NO_BLOB, blob_of, raw_of
from balances.structs.charge import LINES_SETTLED_MAX, Action, Charge, Flag, Outcome, Phase, Reply, Result
from balances.structs.record import Record
from balances.structs.session import IdempotencyRecord, Line
from ocs.charging.answer import to_answer
from ocs.charging.currencies import NUMBERS
from ocs.charging.decide import (
    Arrival,
    arrival,
    counted_before,
    fingerprint,
    has_use,
    in_currency,
    is_unusable,
    priced_as,
    to_charge,
)
from ocs.charging.nobody import answer_nobody, came_to_nothing
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.profile import Profile
from ocs.charging.remembered import Remembered, SessionFacts, merged, told_by, unpacked, with_lines
from ocs.charging.request import AskedLine, Busy, ChargingAnswer, ChargingRequest, Fault
from ocs.charging.services import UNKNOWN, Service
from ocs.charging.settings import ChargingSettings
from tariffs.catalog import Catalog
from tariffs.draft import RatingVerdict
from tariffs.inputs import Inputs
from tariffs.rating import Quote, goes_on, going_on, rate
from tariffs.tariff import NextPricing, Rated
from tariffs.units import EXACT_MAX

ATTEMPTS: Final = 6
"""Of one charge: an account may have to be restored, a profile reloaded, a session sought, and some of it again."""

SECONDS_MAX: Final = 2**32
"""Of one use by time that is looked at: no protocol says more."""

UNSERVED: Final = Rated(verdict=RatingVerdict.RATING_FAILED, why="no service is configured for the context")

_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode
_once: Final = msgspec.msgpack.Decoder(IdempotencyRecord).decode
keys_of: Final = lru_cache(65_536)(AccountKeys)


class ProfileSource(Protocol):
    """Cached profiles, and all others in Redis (`ocs.master.profiles`)."""

    def get(self, identity: str) -> Profile | None:
        """The profile if it is cached, else None."""

    def of(self, identities: tuple[str, ...]) -> Profile | None:
        """The profile of the first of these identities that a subscriber has, if it is cached."""

    def load(self, identities: Sequence[str]) -> Awaitable[Profile | None]:
        """Read from Redis the profile of the first identity that a subscriber has; None: all are unknown. Raises
        NotSent while the projection of master data is not complete, because then it cannot be known."""


class ChargeCall(Awaitable[Reply], Protocol):
    """A call to the store (`balances.pending.Pending`)."""

    def then(self, callback: Callable[[Reply | None, BaseException | None], None]) -> None: ...


class ChargingStore(Protocol):
    def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> ChargeCall: ...

    def aside(self, record: Record, context: bytes) -> Awaitable[Reply]: ...

    def not_opened(self, account: str, session: str, subscriber: str) -> None:
        """An INITIAL was not charged: delete the `where:` key of its session."""

    def where(self, session: str) -> Awaitable[tuple[str, str] | None]:
        """(account, subscriber) of a session."""

    def remark(self, peer: str, mark: str) -> object:
        """Count what was unusual about a request of a peer."""

    @property
    def opened_ms(self) -> int:
        """Instant of the last opening of the store."""


class ChargingContext:
    """All that `handle` needs, made by `ocs.processes.charging_context`. `catalog` is replaced when tariffs are
    published.

    facts                      what sessions told before, as far as this worker knows
    restore(account)           bring an account Redis does not have back from PostgreSQL
    session_known(session)     (account, subscriber) of a session, from PostgreSQL, or None
    request_known(charge)      the packed Outcome PostgreSQL remembers of a request of a session, or None
    event_known(account, key)  the packed IdempotencyRecord PostgreSQL has of an event, or None
    refundable(charge)         key and IdempotencyRecord of the newest event of its session not wholly refunded, or None
    lines_known(charge)        the lines of its session when PostgreSQL saw it last
    tell(account, change)      tell an account again that it pays no more, where a failover lost that it was told
    jitter()                   0 to 1000
    """

    __slots__ = (
        *(
            "catalog",
            "event_known",
            "facts",
            "jitter",
            "lines_known",
            "profiles",
            "refundable",
            "request_known",
            "restore",
        ),
        *("session_known", "settings", "store", "tell"),
    )

    def __init__(
        self,
        *,
        catalog: Catalog,
        profiles: ProfileSource,
        store: ChargingStore,
        settings: ChargingSettings,
        restore: Callable[[str], Awaitable[object]],
        session_known: Callable[[str], Awaitable[tuple[str, str] | None]],
        request_known: Callable[[Charge], Awaitable[bytes | None]],
        event_known: Callable[[str, str], Awaitable[bytes | None]],
        jitter: Callable[[], int],
        refundable: Callable[[Charge], Awaitable[tuple[str, bytes] | None]] | None = None,
        lines_known: Callable[[Charge], Awaitable[list[Line]]] | None = None,
        tell: Callable[[str, int], Awaitable[object]] | None = None,
    ) -> None:
        self.catalog, self.profiles, self.store, self.settings = catalog, profiles, store, settings
        self.restore, self.session_known, self.event_known, self.jitter = restore, session_known, event_known, jitter
        self.request_known, self.refundable, self.lines_known = request_known, refundable, lines_known
        self.tell = tell
        self.facts = Remembered()


class Sent(msgspec.Struct, gc=False):
    """A charge as it was sent to the store, and what it was made of besides the request."""

    profile: Profile
    catalog: Catalog
    quote: Quote
    inputs: Inputs
    told: SessionFacts
    """What the request tells itself..."""
    facts: SessionFacts
    """... and what its session is known to have told with it."""
    jitter: int
    charge: Charge
    packed_inputs: bytes
    reply: ChargeCall | None = None
    """Where it has not been looked at yet."""


async def handle(
    request: ChargingRequest,
    context: ChargingContext,
    now_ms: int,
    *,
    urgent_only: bool = False,
    sent: Sent | None = None,
    plain: list[tuple[Sent, Outcome]] | None = None,
    charged: list[Charge] | None = None,
) -> ChargingAnswer | Busy | None:
    """The answer; None is silence, so that the client asks again: whether it was charged is not known.

    urgent_only:  there is too much to do, and only an emergency is served (charging.md 11)
    sent:         the store was asked already; handling goes on from its reply
    plain:        gets the charge and its outcome where the first call was all that was needed
    charged:      gets the charge as it was answered, however many calls it took
    """
    arrived = arrival(request, context.settings, now_ms)
    answer: ChargingAnswer | Busy | None = None
    try:
        if sent is not None:
            service = context.settings.services.by_name[request.inputs.service]
            try:
                answer = await _charge(request, context, service, sent.profile, request.identities, arrived, sent)
            finally:
                _opened(answer, request, context, sent.profile, arrived)
            return answer
        service = context.settings.services.by_name.get(request.inputs.service, UNKNOWN)
        if request.phase is Phase.EVENT or (request.phase is Phase.START and not has_use(request)):
            # What was used is settled all the same.
            if service is UNKNOWN:
                why = f"no service is configured for the context {request.inputs.service_context!r}"
                return ChargingAnswer(Result.RATING_FAILED, reason=why, fault=Fault.SERVICE)
            if request.phase is Phase.EVENT and not service.events:
                why = f"the service {service.name} takes no one-time events"
                return ChargingAnswer(Result.UNABLE, reason=why)
        profile, names = await _subscriber(request, context, arrived)
        if profile is None:
            return await answer_nobody(request, context.store, context.settings, arrived)
        if not request.reports() and any(map(is_unusable, _counted(request, profile).lines)):
            why, currency = OUTCOMES[Result.INVALID].words, NUMBERS.get(profile.currency)
            return ChargingAnswer(Result.INVALID, reason=why, fault=Fault.MONEY, currency=currency)
        if urgent_only:
            quote, _ = _quote(request, context, service, profile, *_facts(request, context, arrived), arrived)
            if not any(rated.emergency for rated in quote):
                return Busy("too much is outstanding")
        try:
            answer = await _charge(request, context, service, profile, names, arrived, plain=plain, charged=charged)
            assert answer is not None  # an account that pays is charged
        finally:
            _opened(answer, request, context, profile, arrived)
        return answer
    except NotSent as why:
        return Busy(str(why))
    except Lost:
        return None


def _opened(
    answer: ChargingAnswer | Busy | None,
    request: ChargingRequest,
    context: ChargingContext,
    profile: Profile,
    arrived: Arrival,
) -> None:
    """What is to be done about an INITIAL that opened no session."""
    if request.phase is Phase.START and came_to_nothing(answer):
        context.store.not_opened(profile.account, arrived.session, profile.subscriber)


async def _subscriber(
    request: ChargingRequest, context: ChargingContext, arrived: Arrival
) -> tuple[Profile | None, tuple[str, ...]]:
    """The profile of the request, and the identities to load it by again: the first that a subscriber has counts."""
    names = request.identities
    profile = (context.profiles.of(names) or await context.profiles.load(names)) if names else None
    if profile is None and request.settles():
        found = await _opening(request, context, arrived)
        if found is not None:
            return await _payer(context, *found, request.inputs.service)
    return profile and profile.paid_for(request.inputs.service), names


async def _opening(
    request: ChargingRequest, context: ChargingContext, arrived: Arrival, but: str = ""
) -> tuple[str, str] | None:
    """(account, subscriber) that a session was opened for, where that is not the account `but`, which does not have it.
    PostgreSQL is asked only for what Redis may not know (charging.md 5)."""
    place = await context.store.where(arrived.session)
    if place is not None and place[0] != but:
        return place
    opened_lately = context.store.opened_ms > arrived.now_ms - context.settings.remember_ms
    if opened_lately or _may_be_forgotten(request, context, arrived):
        return await context.session_known(arrived.session)
    return None


async def _payer(
    context: ChargingContext, account: str, subscriber: str, service: str
) -> tuple[Profile, tuple[str, ...]]:
    """The subscriber of an open session, with the account that pays for it, and its name; settled without a price where
    the subscriber is gone."""
    names = (f"subscriber:{subscriber}",)
    profile = context.profiles.get(names[0]) or await context.profiles.load(names)
    if profile is None:
        return Profile(subscriber, account, EXACT_MAX, "", "", ()), ()
    return profile.paid_for(service).settled_by(account), names


async def _charge(
    request: ChargingRequest,
    context: ChargingContext,
    service: Service,
    profile: Profile,
    names: tuple[str, ...],
    arrived: Arrival,
    sent: Sent | None = None,
    plain: list[tuple[Sent, Outcome]] | None = None,
    charged: list[Charge] | None = None,
    moved_rev: int = 0,
) -> ChargingAnswer | Busy | None:
    """moved_rev: the profile is of an account that does not pay any more, by this change; None: it does not know the
    request"""
    jitter, original, flags, seek, named = (
        sent.jitter if sent else context.jitter(),
        NO_BLOB,
        0,
        True,
        profile.subscriber,
    )
    refund_of, asked = "", request
    forgotten: list[Line] = []
    told, facts = (sent.told, sent.facts) if sent else _facts(request, context, arrived)
    longer_ms, catalog = 0, context.catalog
    asked_of: set[str] = set()
    has_told = False

    def rated() -> tuple[Quote, Inputs, Charge, bytes]:
        nonlocal request
        request = _counted(asked, profile)  # money as the account that pays counts it
        quote, inputs = _quote(request, context, service, profile, told, facts, arrived, longer_ms)
        charge, packed_inputs = to_charge(request, service, profile, quote, inputs, context.settings, arrived, jitter)
        charge.told, charge.facts, charge.original = told.raw, facts.raw, original
        charge.refund_of = refund_of or charge.refund_of
        charge.flags |= flags
        charge.seek = charge.seek and seek
        if moved_rev:
            charge.profile_rev, charge.moved_rev, charge.seek, charge.sessions_max = EXACT_MAX, moved_rev, True, -1
        if forgotten:
            charge.asks = [counted_before(ask, forgotten) for ask in charge.asks]
        if request is not asked:
            charge.fingerprint = fingerprint(asked)
        return quote, inputs, charge, with_lines(packed_inputs, facts.lines) if facts.lines else packed_inputs

    if sent is not None:
        quote, inputs, charge, packed_inputs = sent.quote, sent.inputs, sent.charge, sent.packed_inputs
    else:
        quote, inputs, charge, packed_inputs = rated()
    if request.phase is Phase.EVENT and not request.enquires():
        known = await _known_event(request, context, charge, arrived)
        original, refund_of = charge.original, charge.refund_of
        if known is not None:
            return to_answer(request, service, profile, quote, known, charge)
    for attempt in range(ATTEMPTS):
        if profile.former and not (moved_rev or request.settles() or request.enquires()):
            answer = await _former(request, context, service, profile, arrived, asked_of, charged)
            if answer is not None:
                return answer
        if sent is not None and sent.reply is not None and attempt == 0:
            asking = sent.reply
        else:
            asking = context.store.charge(charge, packed_inputs, keys_of(charge.account))
        reply = await asking  # the only await on the hot path
        match reply.status:
            case "ok" | "again" as done:
                if done == "ok" and request.phase is Phase.STOP:
                    context.facts.forget(charge.session)
                elif done == "ok" and request.phase is not Phase.EVENT:
                    context.facts.keep(charge.session, facts)
                outcome = _outcome(reply.outcome)
                if charged is not None:
                    charged.append(charge)
                if plain is not None and done == "ok" and attempt == 0 and not reply.marks:
                    made = Sent(profile, catalog, quote, inputs, told, facts, jitter, charge, packed_inputs)
                    plain.append((made, outcome))
                answer = to_answer(request, service, profile, quote, outcome, charge)
                return msgspec.structs.replace(answer, marks=reply.marks) if reply.marks else answer
            case "absent":
                await context.restore(charge.account)
                continue
            case "stale":
                newer = await context.profiles.load(names) if names else None
                if newer is None and request.phase in (Phase.START, Phase.EVENT):
                    return await answer_nobody(request, context.store, context.settings, arrived)
                profile = _still_paid(profile, newer and newer.paid_for(request.inputs.service), request)
            case "untold" if context.tell is not None and not has_told:  # nothing was written
                await context.tell(charge.account, moved_rev)
                has_told = True
                continue
            case "crowded":  # nothing was written
                return ChargingAnswer(Result.TOO_MANY_SESSIONS)
            case "lapsed":  # nothing was written
                return ChargingAnswer(Result.SESSION_UNKNOWN, reason="what was held is released")
            case "facts":  # the session told more than this worker knew: nothing was written
                facts = merged(unpacked(reply.outcome), told)
            case "longer":  # use by time goes on where the ladder of its hold knows no price; nothing was written
                longer_ms = int(reply.outcome)
            case "elsewhere" if moved_rev:
                return None
            case "elsewhere":  # nothing was written; settlement goes to where the session was opened
                found = await _opening(request, context, arrived, charge.account)
                if found is None or found[0] == charge.account:
                    if found is None:
                        answer = await _former(request, context, service, profile, arrived, asked_of, charged)
                        if answer is not None:
                            return answer
                    answered = await context.request_known(charge) if found is not None else None
                    if answered is not None:
                        return to_answer(request, service, profile, quote, _outcome(answered), charge)
                    seek = False
                    if found is not None and asked.is_cumulative() and context.lines_known is not None:
                        forgotten = await context.lines_known(charge)
                    if not forgotten:
                        charge.seek = False
                        continue
                    quote, inputs, charge, packed_inputs = rated()
                    continue
                profile, names = await _payer(context, *found, request.inputs.service)
                flags |= 0 if profile.subscriber == named else Flag.OTHER_SUBSCRIBER
            case "other":  # nothing was written; it was opened for another subscriber of the account
                profile, names = await _payer(context, charge.account, reply.outcome.decode(), request.inputs.service)
                flags |= Flag.OTHER_SUBSCRIBER
            case status:  # fenced, full, untold: nothing was written
                return Busy(f"the store is {status}")
        quote, inputs, charge, packed_inputs = rated()
    return Busy("the account is away, or changes faster than it can be read")


async def _former(
    request: ChargingRequest,
    context: ChargingContext,
    service: Service,
    profile: Profile,
    arrived: Arrival,
    asked_of: set[str],
    charged: list[Charge] | None,
) -> ChargingAnswer | Busy | None:
    """The answer of an account that paid before and knows the request, or what it is about; None: none does
    (charging.md section 19). Each is asked once.

    asked_of:  those that were asked, which grows
    """
    kept_ms = context.settings.remember_ms + context.settings.event_ahead_ms
    looks_back = _may_be_forgotten(request, context, arrived) or request.action is Action.REFUND
    for former in profile.former:
        if former.account == profile.account or former.account in asked_of:
            continue
        if not looks_back and arrived.now_ms - former.until_ms > kept_ms:
            continue
        asked_of.add(former.account)
        of = profile.settled_by(former.account)
        answer = await _charge(request, context, service, of, (), arrived, charged=charged, moved_rev=former.change)
        if answer is not None:
            return answer
    return None


def _may_be_forgotten(request: ChargingRequest, context: ChargingContext, arrived: Arrival) -> bool:
    """Whether it may repeat what the live store does not remember any more. A clock that was ahead when it was first
    sent must not make its repeat look young."""
    remembered_ms = arrived.now_ms - context.settings.remember_ms + context.settings.event_ahead_ms
    old = request.event_ms is not None and request.event_ms < remembered_ms
    return request.key.resend or old or request.is_cumulative()


def _counted(request: ChargingRequest, profile: Profile) -> ChargingRequest:
    """The request, with money in other currencies than that of this profile's account marked unusable."""
    if request.currency is None or not profile.currency:
        return request
    return in_currency(request, NUMBERS.get(profile.currency))


def _facts(request: ChargingRequest, context: ChargingContext, arrived: Arrival) -> tuple[SessionFacts, SessionFacts]:
    """The facts of a request, merged with those its session stated before, as far as this worker knows."""
    told = told_by(request)
    if request.phase is Phase.START or request.phase is Phase.EVENT:
        return told, told
    return told, merged(context.facts.get(arrived.session), told)


def _still_paid(old: Profile, newer: Profile | None, request: ChargingRequest) -> Profile:
    """The newer profile; but an open session stays with the account it began with, and one whose subscriber is gone is
    settled all the same."""
    if newer is None:
        return msgspec.structs.replace(old, rev=EXACT_MAX, assignments=())
    return newer.settled_by(old.account) if request.settles() else newer


def rated_inputs(asked: Inputs, profile: Profile, told: SessionFacts, facts: SessionFacts) -> Inputs:
    """All that rating could look at: what the request says, its session said before, and who the subscriber is."""
    inputs: Inputs = msgspec.structs.replace(
        asked,
        attributes=profile.attributes,
        time_zone=profile.time_zone,
        subscriber=profile.subscriber,
        subscriber_tags=profile.tags,
        **({} if facts.packed == told.packed and not told.cut else facts.whole),  # else it tells them all itself
    )
    return inputs


def _quote(
    request: ChargingRequest,
    context: ChargingContext,
    service: Service,
    profile: Profile,
    told: SessionFacts,
    facts: SessionFacts,
    arrived: Arrival,
    longer_ms: int = 0,
) -> tuple[Quote, Inputs]:
    """The price of each line, and all that rating could look at.

    longer_ms:  use by time that is reported has no price yet from then on
    """
    inputs = rated_inputs(request.inputs, profile, told, facts)
    if service is UNKNOWN:
        later = (NextPricing(longer_ms, UNSERVED),) if longer_ms else ()
        return [going_on(UNSERVED, (later, 0))] * len(request.lines), inputs
    priced = request.lines[:LINES_SETTLED_MAX]
    too_many = [UNSERVED] * (len(request.lines) - len(priced))
    at_ms = arrived.event_ms
    lines = [priced_as(line, service) for line in priced]
    spans: list[tuple[int, int]] = []
    if request.phase is Phase.STOP or request.phase is Phase.RECORD:  # no grant follows: it prices what has no hold
        spans = [(at_ms - 1_000 * _seconds_used(line), at_ms) for line in priced]
    elif request.phase is Phase.EVENT:
        spans = [(at_ms, at_ms + 1_000 * _seconds_asked(line)) for line in priced]
    rates, limits = (context.catalog, profile.assignments, profile.currency), profile.limits
    if not facts.lines and not longer_ms:
        return rate(*rates, lines, inputs, at_ms, spans, limits) + too_many, inputs
    quote: Quote = []
    for place, (asked, line) in enumerate(zip(priced, lines, strict=True)):
        group = -1 if asked.rating_group is None else asked.rating_group
        of_line_told = of_line(facts.lines, group, -1 if asked.service_id is None else asked.service_id)
        own: Inputs = msgspec.structs.replace(inputs, **of_line_told)
        (rated,) = rate(*rates, [line], own, at_ms, spans[place : place + 1], limits)
        if longer_ms and _used_time(asked):
            rated = going_on(rated, goes_on(*rates, line, own, longer_ms, at_ms, limits))
        quote.append(rated)
    return quote + too_many, inputs


def _seconds_used(line: AskedLine) -> int:
    """What a counter gained is for the store to say, which asks for its price if it has none."""
    return min(sum(used.units.seconds or 0 for used in line.used if used.counter is None), SECONDS_MAX)


def _used_time(line: AskedLine) -> bool:
    return any(used.units.seconds for used in line.used)


def _seconds_asked(line: AskedLine) -> int:
    seconds = line.requested.seconds if line.requested is not None else None
    return min(seconds or 1, SECONDS_MAX)


async def _known_event(
    request: ChargingRequest, context: ChargingContext, charge: Charge, arrived: Arrival
) -> Outcome | None:
    """The answer PostgreSQL remembers, for an event that may be a repeat older than Redis remembers (charging.md
    section 3); for a refund, its original is brought along too."""
    if charge.refund_of and not request.refund_token and context.refundable is not None:
        newest = await context.refundable(charge)
        if newest is not None:
            charge.refund_of, charge.original = newest[0], raw_of(newest[1])
    elif charge.refund_of:
        original = await context.event_known(charge.account, charge.refund_of)
        if original is not None:
            charge.original = raw_of(original)
    if not _may_be_forgotten(request, context, arrived):
        return None
    for key in (charge.once_key, renumbered(charge.once_key, charge.fingerprint)):
        remembered = await context.event_known(charge.account, key)
        if remembered is None:
            return None
        once = _once(remembered)
        if once.end_to_end == charge.end_to_end or (once.moved and once.fingerprint == charge.fingerprint):
            return _outcome(blob_of(once.outcome))
        if once.fingerprint != charge.fingerprint and request.key.resend:
            return _outcome(blob_of(once.outcome))
    return None
