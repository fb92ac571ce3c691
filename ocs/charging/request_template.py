"""What requests of one kind have in common, whatever protocol says them: the charge at each price that was met. Pure.

A client says the same again and again: a few numbers change from one request of a session to the next, and from one
session to another what the session is called, and who and what it is about. From a request that was served the general
way (decide.py, answer.py) its protocol learns where these are, and what is fixed. A template serves a request of any
session that says the same but for those, as long as its price is one that was learnt: the charge is the one that the
general way makes. For anything else it says None, and the general way serves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from balances import keys
from balances.structs.charge import Ask, LineOutcome, Outcome, Phase, Result, UsageReport
from ocs.charging.decide import content_of, copied_ask, copied_charge, digest, event_time, priced_as, validity_of
from ocs.charging.handle import SECONDS_MAX, ChargingContext, Sent, rated_inputs
from ocs.charging.profile import Profile
from ocs.charging.remembered import SessionFacts, merged
from ocs.charging.request import ChargingRequest, Used
from ocs.charging.services import Service
from ocs.charging.settings import ChargingSettings
from tariffs.catalog import Catalog
from tariffs.inputs import Inputs
from tariffs.rating import Quote, rate, same_from
from tariffs.units import EXACT_MAX

LINES_MAX: Final = 8
"""More in one request are rare, and served the general way."""
PRICES_MAX: Final = 64
"""Of one template."""
MISFITS_MAX: Final = 8
"""Of a price whose answers were other than the one that was learnt, so often one after the other: it is forgotten."""
LESSONS_MAX: Final = 256
"""Templates that may be learnt before any serves. A lesson costs what three requests do that one serves, so ..."""
LESSON_SERVED: Final = 0.05
"""... so many more are due to each request served ..."""
LESSON_LOOKED: Final = 0.01
"""... and so many to each that could be learnt from: traffic that never comes twice costs no more than that."""
ABOUT_OCTETS_MAX: Final = 2_048
"""Of what one request is about; what says more is not kept."""
UNITS: Final = ("octets", "seconds", "units")
"""Amounts that may be reported, as `Units` and `UsageReport` call them."""

OK: Final = int(Result.OK)
NO_GRANT: Final = int(Result.NO_GRANT)
"""What is said of a line of a STOP whose use was charged."""
NEVER_MS: Final = 2**63
LEARNT: Final = (Phase.START, Phase.UPDATE, Phase.STOP)

_pack: Final = msgspec.msgpack.Encoder().encode

Values = tuple[Any, ...]
"""What a request says where those of its kind differ: numbers and texts, in the order of its template."""
Reported = tuple[int, int, int, int] | None
"""What a line reports: places of octets, seconds and units among the values of a request, -1 for what it does not say,
and the period; None: nothing."""
Price = tuple[object, ...]
"""By what a charge and its answer are found among those of a template."""

Answering = TypeVar("Answering")
Asking = TypeVar("Asking", bound="AskedTemplate")


class Unlike(Exception):
    """It is not learnt: something in it is not as usual."""


class Lessons:
    """How much may be learnt still."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = float(LESSONS_MAX)

    def served(self) -> None:
        """A request by a template."""
        self._left = min(self._left + LESSON_SERVED, LESSONS_MAX)

    def may_learn(self) -> bool:
        """Whether from a request that could be learnt from; if so it counts as learnt."""
        self._left += LESSON_LOOKED
        if self._left < 1:
            return False
        self._left -= 1
        return True


# ---- who and what it is about


class Rating(msgspec.Struct, gc=False):
    """What lines cost, and by what they were rated."""

    profile: Profile
    facts: SessionFacts
    catalog: Catalog
    lines: tuple[tuple[int | None, int | None], ...]
    same_from_ms: int
    """For events from then on it is the same, as long as the above are."""
    quote: Quote
    price: Price
    inputs: Inputs
    packed_inputs: bytes


class StatedAbout(msgspec.Struct, gc=False):
    """Who and what a request says it is about.

    rating:  what it came to the last time, if no clock has a say in it
    """

    identities: tuple[str, ...]
    inputs: Inputs
    told: SessionFacts
    rating: Rating | None = None


class SaidBefore:
    """What was said last, at most `most` times; each takes about 3 kB."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._said: dict[tuple[object, ...], StatedAbout] = {}

    def __len__(self) -> int:
        return len(self._said)

    def find(self, context: object, octets: tuple[bytes, ...]) -> StatedAbout | None:
        """context: what the reading of these octets depends on besides"""
        return self._said.get((context, *octets))

    def keep(self, context: object, octets: tuple[bytes, ...], said: StatedAbout) -> None:
        if sum(map(len, octets)) <= ABOUT_OCTETS_MAX:
            self._said[(context, *octets)] = said
            if len(self._said) > self._most:
                del self._said[next(iter(self._said))]


# ---- a request


class AskedTemplate:
    """Where a request of this kind says what, among its values. Unlike where it is not as usual."""

    __slots__ = ("_content", "_counted", "_reports")

    def __init__(self, request: ChargingRequest, counted: list[dict[str, int]]) -> None:
        """counted: for each line, the place of each amount that it reports, by its name (`UNITS`)"""
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

    @abstractmethod
    def named(self, values: Values) -> str:
        """Of the session (RequestKey.session)."""

    @abstractmethod
    def number(self, values: Values) -> int:
        """RequestKey.number."""

    @abstractmethod
    def message(self, values: Values) -> int:
        """RequestKey.message."""

    @abstractmethod
    def event_ms(self, values: Values) -> int | None: ...

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


class LearntPrice(Generic[Answering]):
    """What is charged and answered at one price.

    misfits: outcomes that the answer does not fit, since it last did
    """

    __slots__ = ("answer", "charge", "misfits", "price", "quote")

    def __init__(self, sent: Sent, answer: Answering) -> None:
        self.charge, self.quote, self.answer = sent.charge, sent.quote, answer
        self.price = price_of(sent.quote, sent.profile.barred, sent.profile.currency)
        self.misfits = 0


def price_of(quote: Quote, barred: bool, currency: str) -> Price:
    return (barred, currency, *[rated.packed for rated in quote])


class RequestTemplate(Generic[Asking, Answering]):
    """What was asked, and the charge and the answer at each price that was met."""

    __slots__ = ("_host", "_lines", "_prices", "_sub_session", "phase", "request", "service")

    def __init__(
        self,
        request: ChargingRequest,
        asked: Asking,
        priced: LearntPrice[Answering],
        service: Service,
        settings: ChargingSettings,
    ) -> None:
        self.request, self.service, self.phase = asked, service, request.phase
        origin = request.origin
        self._sub_session = request.key.sub_session
        self._host = origin.client.lower() if settings.client(origin.client).session_id_not_unique else None
        self._lines = tuple(priced_as(line, service) for line in request.lines)
        self._prices = {priced.price: priced}

    def take_over(self, other: RequestTemplate[Asking, Answering]) -> None:
        """Prices of another template of the same requests."""
        for price, priced in other._prices.items():
            self._prices.pop(price, None)
            self._prices[price] = priced
        while len(self._prices) > PRICES_MAX:
            del self._prices[next(iter(self._prices))]

    def session(self, values: Values) -> str:
        """Its key."""
        return keys.session_key(self.request.named(values), self._sub_session, self._host)

    def sent(
        self, values: Values, said: StatedAbout, context: ChargingContext, now_ms: int
    ) -> tuple[Sent, LearntPrice[Answering]] | None:
        """The charge that the store is to be asked for, not sent yet; None where the general way has to say it, and
        then no jitter was taken.

        values, said:  of the request
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
        phase, told = self.phase, said.told
        session = self.session(values)
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
        charge.fingerprint, charge.end_to_end = request.fingerprint(values), request.message(values)
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

    def misfits(self, priced: LearntPrice[Answering]) -> None:
        """Its answer does not say what the store answered."""
        priced.misfits += 1
        if priced.misfits >= MISFITS_MAX and self._prices.get(priced.price) is priced:
            del self._prices[priced.price]  # what was learnt is rare: the next one may be learnt instead


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
    octets, seconds, units = (found.get(name, -1) for name in UNITS)
    return octets, seconds, units, period
