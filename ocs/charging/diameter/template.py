"""What the requests of one kind, and their answers, have in common, and where they differ. Pure.

A client says the same again and again: of some hundred octets a few numbers change from one request of a session to
the next, and from one session to another what the session is called, and who and what it is about. From one CCR that
was served the general way (translate.py, decide.py, answer.py) `learn` makes a template of it and its CCA. It serves a
CCR of any session that has the same octets but for those, as long as its price is one that was learnt: the charge and
the answer are those that the general way makes, octet for octet. For anything else it says None, and the general way
serves.

What differs from one request to the next: its identifiers and number, its Event-Timestamp, the amounts it reports, its
Session-Id, and what said.py reads; in the answer the amounts granted, their Validity-Time and threshold, and the cost
so far. All other octets are compared, the T bit among them, so no rule of charging.md needs to be stated again here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from balances import keys
from balances.structs.charge import Ask, LineOutcome, Outcome, Phase, Result, UsageReport
from ocs.charging.decide import content_of, copied_ask, copied_charge, digest, event_time, priced_as, validity_of
from ocs.charging.diameter.holes import IDS, Hole, Pieces, Unlike, avps, layout_of, only, whole
from ocs.charging.diameter.said import Context, Price, Rating, StatedAbout, regions_of
from ocs.charging.diameter.translate import FOREIGN, U32_MAX
from ocs.charging.handle import SECONDS_MAX, ChargingContext, Sent, rated_inputs
from ocs.charging.profile import Profile
from ocs.charging.remembered import SessionFacts, merged
from ocs.charging.request import AskedLine, ChargingRequest, Style, Used
from ocs.charging.services import Service
from ocs.charging.settings import ChargingSettings
from protocol.diameter.dictionary.base import EVENT_TIMESTAMP, SESSION_ID
from protocol.diameter.dictionary.credit_control import (
    MULTIPLE_SERVICES_CREDIT_CONTROL,
    USED_SERVICE_UNIT,
)
from protocol.diameter.dictionary.credit_values import (
    CC_INPUT_OCTETS,
    CC_OUTPUT_OCTETS,
    CC_REQUEST_NUMBER,
    CC_SERVICE_SPECIFIC_UNITS,
    CC_TIME,
    CC_TOTAL_OCTETS,
    COST_INFORMATION,
    GRANTED_SERVICE_UNIT,
    UNIT_VALUE,
    VALIDITY_TIME,
    VALUE_DIGITS,
)
from protocol.diameter.dictionary.tgpp_charging import (
    TIME_QUOTA_THRESHOLD,
    UNIT_QUOTA_THRESHOLD,
    VOLUME_QUOTA_THRESHOLD,
)
from protocol.diameter.types import unix_seconds
from protocol.diameter.walk import Vendors
from tariffs.catalog import Catalog
from tariffs.rating import Quote, rate, same_from
from tariffs.units import EXACT_MAX, Kind

LINES_MAX: Final = 8
"""More in one request are rare, and served the general way."""
PRICES_MAX: Final = 64
"""Of one template."""
MISFITS_MAX: Final = 8
"""Of a price whose answers were other than the one that was learnt, so often one after the other: it is forgotten."""

AMOUNTS: Final = {CC_TOTAL_OCTETS.key: "octets", CC_TIME.key: "seconds", CC_SERVICE_SPECIFIC_UNITS.key: "units"}
"""AVPs of a unit group that say an amount, and what it is called in `Units` and `UsageReport`."""
BESIDE_TOTAL: Final = (CC_INPUT_OCTETS.key, CC_OUTPUT_OCTETS.key)
"""Where the total is given too, nothing is made of these."""
THRESHOLDS: Final = (VOLUME_QUOTA_THRESHOLD.key, TIME_QUOTA_THRESHOLD.key, UNIT_QUOTA_THRESHOLD.key)
UNITS: Final = frozenset({*AMOUNTS, *BESIDE_TOTAL})
OK: Final = int(Result.OK)
NO_GRANT: Final = int(Result.NO_GRANT)
"""What is said of a line of a TERMINATION whose use was charged."""
NEVER_MS: Final = 2**63
LEARNT: Final = (Phase.START, Phase.UPDATE, Phase.STOP)

_pack: Final = msgspec.msgpack.Encoder().encode

Values = tuple[Any, ...]
"""What lies in the holes of a request, in their order: numbers and octets; the identifiers are the first."""
Reported = tuple[int, int, int, int] | None
"""What a line reports: places of octets, seconds and units among the values of a request, -1 for what it does not say,
and the period; None: nothing."""

FOREIGN_OCTETS: Final = tuple(one.encode() for one in FOREIGN)


class CcrTemplate:
    """The octets of a CCR, its values and what they mean. Unlike where it is not as usual."""

    __slots__ = (
        *("_content", "_counted", "_number", "_place_of_session", "_reports", "_time"),
        *("about", "fixed", "layout", "regions"),
    )

    def __init__(self, frame: bytes, request: ChargingRequest) -> None:
        """The frame was judged, and says what the request says."""
        top = only(frame, whole(frame), (SESSION_ID.key, CC_REQUEST_NUMBER.key, EVENT_TIMESTAMP.key))
        session = top.pop(SESSION_ID.key)
        groups = _groups(frame, request.style)
        if len(groups) != len(request.lines):
            raise Unlike
        said = [_reported(frame, group, line) for group, line in zip(groups, request.lines, strict=True)]
        numbers = [IDS, *top.values()]
        for amounts in said:
            numbers += amounts.values()
        self.regions = regions_of(frame)
        regions = self.regions[0]
        self.layout = layout = layout_of(frame, numbers, (session, *regions))
        self.fixed: Pieces = layout.cut(frame)[::2]
        place = {hole: slot // 2 for hole, slot in layout.slots.items()}
        self._place_of_session = place[session]
        self.about = tuple(place[region] for region in regions)
        """Where what is read by said.py is among the values."""
        self._number = place[top[CC_REQUEST_NUMBER.key]]
        self._time = place[top[EVENT_TIMESTAMP.key]] if EVENT_TIMESTAMP.key in top else -1
        counted = [{AMOUNTS[key]: place[hole] for key, hole in one.items() if key in AMOUNTS} for one in said]
        self._reports = tuple(
            _reports_at(found, line.used[0].period) if line.used else None
            for found, line in zip(counted, request.lines, strict=True)
        )
        self._learn_content(request, counted)

    def _learn_content(self, request: ChargingRequest, counted: list[dict[str, int]]) -> None:
        """The content of the fingerprint, cut at its amounts: it is packed once with marks in their place, and the
        marks are looked for."""
        marks: dict[bytes, int] = {}
        lines = []
        for line, named in zip(request.lines, counted, strict=True):
            amounts = {name: EXACT_MAX - len(marks) - nth for nth, name in enumerate(named)}
            marks |= {_pack(amounts[name]): place for name, place in named.items()}
            used = tuple(Used(msgspec.structs.replace(one.units, **amounts), one.period) for one in line.used)
            lines.append(msgspec.structs.replace(line, used=used))
        content = content_of(request, tuple(lines))
        order = sorted(marks, key=content.find)
        pieces: list[bytes] = []
        for mark in order:
            before, *rest = content.split(mark)
            if len(rest) != 1:
                raise Unlike
            pieces += before, b""
            content = rest[0]
        self._content, self._counted = (*pieces, content), tuple(marks[mark] for mark in order)

    def values(self, pieces: Pieces) -> Values | None:
        """Of a CCR whose fixed octets are the same; None: an amount is beyond what is counted, or its Session-Id is
        more than ASCII, or of another protocol."""
        values = pieces[1::2]
        for place in self._counted:
            if values[place] > EXACT_MAX:
                return None
        session = values[self._place_of_session]
        return values if session.isascii() and not session.startswith(FOREIGN_OCTETS) else None

    def session(self, values: Values) -> bytes:
        """Session-Id."""
        octets: bytes = values[self._place_of_session]
        return octets

    def number(self, values: Values) -> int:
        """CC-Request-Number."""
        number: int = values[self._number]
        return number

    def event_ms(self, values: Values) -> int | None:
        """Event-Timestamp."""
        return None if self._time < 0 else unix_seconds(values[self._time]) * 1_000

    def fingerprint(self, values: Values) -> str:
        content = list(self._content)
        for slot, place in enumerate(self._counted):
            content[2 * slot + 1] = _pack(values[place])
        return digest(b"".join(content))

    def asks(self, like: list[Ask], values: Values, event_ms: int, validity_ms: int) -> list[Ask]:
        """like: those of the request it was learnt from"""
        values, asks = (*values, -1), []
        for one, said in zip(like, self._reports, strict=True):
            ask = copied_ask(one)
            ask.validity_ms = validity_ms
            if said is not None:
                octets, seconds, units, period = said
                ask.reports = [UsageReport(-1, values[octets], values[seconds], values[units], event_ms, period)]
            asks.append(ask)
        return asks

    def spans(self, values: Values, event_ms: int) -> list[tuple[int, int]]:
        """When the use of each line began and ended, as far as it says how long it took."""
        values = *values, 0
        taken = (0 if said is None else min(values[said[1]], SECONDS_MAX) for said in self._reports)
        return [(event_ms - 1_000 * seconds, event_ms) for seconds in taken]


Granted = tuple[tuple[Any, ...], int, int, int, int]
"""One line of an answer: what the store must say of it (`said_of`), the most that can be written as granted, 0 where
nothing is, and where among the pieces that, its Validity-Time and its threshold go; 0: none is told."""


class CcaTemplate:
    """The octets of a CCA, and where its numbers go. Unlike where it is not as usual."""

    __slots__ = ("_cost", "_grants", "_join", "_low", "_number", "_percent", "_pieces", "_session")

    def __init__(self, answer: bytes, request: ChargingRequest, outcome: Outcome, service: Service) -> None:
        """The answer says what the outcome says."""
        top = only(answer, whole(answer), (SESSION_ID.key, CC_REQUEST_NUMBER.key, COST_INFORMATION.key))
        groups = _groups(answer, request.style)
        if len(groups) != len(outcome.lines):
            raise Unlike
        cost = _cost_at(answer, top[COST_INFORMATION.key]) if COST_INFORMATION.key in top else None
        grants = request.phase is not Phase.STOP
        granted = [_granted(answer, group) for group in groups] if grants else []
        number, session = top[CC_REQUEST_NUMBER.key], top[SESSION_ID.key]
        holes = [IDS, number, *([cost] if cost else ()), *(hole for holes in granted for hole in holes if hole)]
        layout = layout_of(answer, holes, (session,), cost)
        slots, self._join = layout.slots, layout.join
        pieces = layout.cut(answer)
        self._pieces = tuple(piece if place % 2 == 0 else 0 for place, piece in enumerate(pieces))
        self._number, self._session, self._cost = slots[number], slots[session], slots[cost] if cost else 0
        self._grants: tuple[Granted, ...] = tuple((said_of(line), 0, 0, 0, 0) for line in outcome.lines)
        if grants:
            self._grants = tuple(
                (
                    said_of(line),
                    U32_MAX if line.unit == Kind.SECONDS else EXACT_MAX,
                    slots[units],
                    slots[validity],
                    slots[threshold] if threshold else 0,
                )
                for line, (units, validity, threshold) in zip(outcome.lines, granted, strict=True)
            )
        self._low = service.low_balance
        self._percent = service.threshold_percent if request.style is Style.LINES else 0

    def octets(self, ids: int, session: bytes, number: int, outcome: Outcome) -> bytes | None:
        """The CCA of this outcome; None where it says more than the numbers of the one it was learnt from."""
        grants = self._grants
        if outcome.result != OK or (outcome.low and self._low) or len(outcome.lines) != len(grants):
            return None
        pieces, percent = list(self._pieces), self._percent
        pieces[1], pieces[self._session], pieces[self._number] = ids, session, number
        for line, (like, most, at_granted, at_validity, at_threshold) in zip(outcome.lines, grants, strict=True):
            granted = line.granted
            if (granted > 0) != (most > 0) or said_of(line) != like:
                return None
            if not most:
                continue
            threshold = granted * percent // 100
            if (threshold > 0) != (at_threshold > 0):
                return None
            pieces[at_granted] = min(granted, most)
            pieces[at_validity] = max(line.validity_ms // 1_000, 1)
            if threshold:
                pieces[at_threshold] = min(threshold, U32_MAX)
        if self._cost:
            pieces[self._cost] = outcome.debited
        return self._join(*pieces)


class LearntPrice:
    """What is charged and answered at one price.

    misfits: outcomes that the answer does not fit, since it last did
    """

    __slots__ = ("answer", "charge", "misfits", "price", "quote")

    def __init__(self, sent: Sent, answer: CcaTemplate) -> None:
        self.charge, self.quote, self.answer = sent.charge, sent.quote, answer
        self.price = price_of(sent.quote, sent.profile.barred, sent.profile.currency)
        self.misfits = 0


def price_of(quote: Quote, barred: bool, currency: str) -> Price:
    return (barred, currency, *[rated.packed for rated in quote])


class RequestTemplate:
    """Made by `learn`: the two messages, and the charge between them, at each price that was met."""

    __slots__ = (
        *("_host", "_lines", "_phase", "_prices", "_sub_session", "context", "origin_host", "origin_state"),
        *("request", "service"),
    )

    def __init__(
        self,
        request: ChargingRequest,
        asked: CcrTemplate,
        priced: LearntPrice,
        service: Service,
        settings: ChargingSettings,
        ignored: Vendors,
    ) -> None:
        self.request, self.service = asked, service
        self.context: Context = (asked.regions[1], request.inputs.service_context, ignored)
        """Of what the request is about (said.py)."""
        origin = request.origin
        self.origin_host, self.origin_state = origin.client, origin.restarts
        self._phase, self._sub_session = request.phase, request.key.sub_session
        self._host = origin.client.lower() if settings.client(origin.client).session_id_not_unique else None
        self._lines = tuple(priced_as(line, service) for line in request.lines)
        self._prices = {priced.price: priced}

    def take_over(self, other: RequestTemplate) -> None:
        """Prices of another template of the same requests."""
        for price, priced in other._prices.items():
            self._prices.pop(price, None)
            self._prices[price] = priced
        while len(self._prices) > PRICES_MAX:
            del self._prices[next(iter(self._prices))]

    @property
    def phase(self) -> Phase:
        return self._phase

    def sent(
        self, values: Values, said: StatedAbout, context: ChargingContext, now_ms: int
    ) -> tuple[Sent, LearntPrice] | None:
        """The charge that the store is to be asked for, not sent yet; None where the general way has to say it, and
        then no jitter was taken.

        values, said:  of the CCR
        """
        if not said.identities:
            return None
        request, service, settings, catalog = self.request, self.service, context.settings, context.catalog
        profile = context.profiles.of(said.identities)
        if profile is None:
            return None
        profile = profile.paid_for(service.name)
        event_ms, flags = event_time(request.event_ms(values), settings, now_ms)
        if flags or profile.former:
            return None
        phase, told = self._phase, said.told
        session = keys.session_key(request.session(values).decode(), self._sub_session, self._host)
        facts = told if phase is Phase.START else merged(context.facts.get(session), told)
        if facts.lines:
            return None
        spans = request.spans(values, event_ms) if phase is Phase.STOP else []
        rating = self._rating(said, profile, facts, catalog, event_ms, spans)
        priced = self._prices.get(rating.price)
        if priced is None or priced.quote != rating.quote:
            return None
        number, jittered = request.number(values), context.jitter()
        charge = copied_charge(priced.charge)
        charge.account, charge.subscriber, charge.session = profile.account, profile.subscriber, session
        charge.number, charge.key = number, f"{phase:d}:{number}"
        charge.fingerprint, charge.end_to_end = request.fingerprint(values), values[0] & U32_MAX
        charge.now_ms, charge.event_ms, charge.profile_rev = now_ms, event_ms, profile.rev
        charge.asks = request.asks(charge.asks, values, event_ms, validity_of(service, settings, jittered))
        charge.told, charge.facts = told.raw, facts.raw
        quote, inputs, packed = rating.quote, rating.inputs, rating.packed_inputs
        return Sent(profile, catalog, quote, inputs, told, facts, jittered, charge, packed), priced

    def _rating(
        self,
        said: StatedAbout,
        profile: Profile,
        facts: SessionFacts,
        catalog: Catalog,
        event_ms: int,
        spans: list[tuple[int, int]],
    ) -> Rating:
        """What the lines cost, and by what. Where no clock has a say it is what was found before.

        spans:  of what is used, where no grant follows
        """
        known = said.rating
        if (
            known is not None
            and known.profile is profile
            and known.facts is facts
            and known.catalog is catalog
            and known.lines == self._lines
            and event_ms >= known.same_from_ms
            and not (spans and any(began_ms < ended_ms for began_ms, ended_ms in spans))
        ):
            return known
        inputs, rates = rated_inputs(said.inputs, profile, said.told, facts), (catalog, profile.assignments)
        quote = rate(*rates, profile.currency, self._lines, inputs, event_ms, spans, profile.limits)
        price = price_of(quote, profile.barred, profile.currency)
        rating = Rating(profile, facts, catalog, self._lines, NEVER_MS, quote, price, inputs, _pack(inputs))
        if not (profile.limits or spans):
            same_from_ms = same_from(*rates, profile.currency, event_ms)
            if same_from_ms is not None:
                rating.same_from_ms = same_from_ms
                said.rating = rating
        return rating

    def answer(self, values: Values, priced: LearntPrice, outcome: Outcome) -> bytes | None:
        """The CCA; None where the general way has to write it."""
        request = self.request
        octets = priced.answer.octets(values[0], request.session(values), request.number(values), outcome)
        if octets is not None:
            priced.misfits = 0
            return octets
        priced.misfits += 1
        if priced.misfits >= MISFITS_MAX and self._prices.get(priced.price) is priced:
            del self._prices[priced.price]  # what was learnt is rare: the next one may be learnt instead
        return None


def said_of(line: LineOutcome) -> tuple[Any, ...]:
    """What is fixed of a line of an Outcome."""
    fixed = line.rating_group, line.service_id, line.unit, line.grade, line.result, line.final, line.change_ms
    return *fixed, line.secondary


# ---- learning


def is_usual(request: ChargingRequest, sent: Sent, outcome: Outcome, settings: ChargingSettings) -> bool:
    """Whether a template can be learnt from it, as far as its meaning goes."""
    charge, lines, phase = sent.charge, request.lines, request.phase
    return (
        phase in LEARNT
        and request.inputs.service in settings.services.by_name
        and not request.key.resend
        and not request.line_facts
        and not sent.facts.lines
        and not sent.profile.former
        and charge.countable
        and (charge.seek or phase is Phase.START)
        and not charge.flags
        and 0 < len(lines) <= LINES_MAX
        and len(charge.asks) == len(lines)
        and all(line.wish is None and line.use is None and len(line.used) <= 1 for line in lines)
        and all(not rated.later and rated.beside is None for rated in sent.quote)
        and _is_granted(outcome, request)
    )


def learn(
    frame: bytes,
    request: ChargingRequest,
    sent: Sent,
    outcome: Outcome,
    answer: bytes,
    settings: ChargingSettings,
    ignored: Vendors,
) -> RequestTemplate | None:
    """The template of a CCR and the CCA it got, both whole; None where something about them is unusual. What they mean
    is (`is_usual`)."""
    service = settings.services.by_name[request.inputs.service]
    try:
        asked = CcrTemplate(frame, request)
        answered = CcaTemplate(answer, request, outcome, service)
    except Unlike:
        return None
    return RequestTemplate(request, asked, LearntPrice(sent, answered), service, settings, ignored)


def _is_granted(outcome: Outcome, request: ChargingRequest) -> bool:
    ends = request.phase is Phase.STOP
    return (
        outcome.result == OK
        and len(outcome.lines) == len(request.lines)
        and all(
            (one.result == NO_GRANT and not one.granted if ends else one.result == OK and one.granted > 0)
            and not (one.final or one.change_ms)
            for one in outcome.lines
        )
    )


def _reports_at(found: Mapping[str, int], period: int) -> Reported:
    """found: places by name in UsageReport"""
    octets, seconds, units = (found.get(name, -1) for name in AMOUNTS.values())
    return octets, seconds, units, period


def _reported(frame: bytes, group: Hole, line: AskedLine) -> dict[int, Hole]:
    """The amounts that a line reports, by AVP."""
    inside = only(frame, group, (USED_SERVICE_UNIT.key,))
    if not line.used:
        if inside:
            raise Unlike
        return {}
    amounts = only(frame, inside[USED_SERVICE_UNIT.key], UNITS)
    if CC_TOTAL_OCTETS.key not in amounts and amounts.keys() & BESIDE_TOTAL:
        raise Unlike
    return amounts


def _granted(answer: bytes, group: Hole) -> tuple[Hole, Hole, Hole | None]:
    """The units granted to a line, their Validity-Time and threshold."""
    inside = only(answer, group, (GRANTED_SERVICE_UNIT.key, VALIDITY_TIME.key, *THRESHOLDS))
    units = inside.pop(GRANTED_SERVICE_UNIT.key, None)
    validity = inside.pop(VALIDITY_TIME.key, None)
    amounts = list(only(answer, units, AMOUNTS).values()) if units else []
    if len(amounts) != 1 or validity is None or len(inside) > 1:
        raise Unlike
    return amounts[0], validity, next(iter(inside.values()), None)


def _cost_at(answer: bytes, cost: Hole) -> Hole:
    value = only(answer, cost, (UNIT_VALUE.key,))[UNIT_VALUE.key]
    return only(answer, value, (VALUE_DIGITS.key,))[VALUE_DIGITS.key]


def _groups(octets: bytes, style: Style) -> list[Hole]:
    """Where the AVPs of each line are."""
    if style is Style.COMMAND:
        return [whole(octets)]
    mscc = MULTIPLE_SERVICES_CREDIT_CONTROL.key
    return [(data, end) for key, _, data, end in avps(octets, *whole(octets)) if key == mscc]
