"""What a CCR-U and its CCA have in common with the next ones of their session, and where they differ. Pure.

A session reports again and again: of some hundred octets a few numbers change. From one UPDATE that was served the
general way (diameter.py, decide.py, answer.py) `learn` makes a template of both messages. It serves a CCR that has the
same octets but for those numbers, as long as its price is the same: the charge and the answer are those that the
general way makes, octet for octet. For anything else it says None, and the general way serves.

What differs from one request to the next: its identifiers and number, its Event-Timestamp, the amounts it reports; in
the answer the amounts granted, their Validity-Time and threshold, and the cost so far. All other octets are compared,
the T bit among them, so no rule of charging.md needs to be stated again here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

import msgspec

from balances.structs.charge import Ask, Charge, LineOutcome, Outcome, Phase, Result, UsageReport
from ocs.charging.decide import content_of, copied_ask, copied_charge, digest, event_time, priced_as, validity_of
from ocs.charging.diameter.translate import U32_MAX
from ocs.charging.handle import ChargingContext, Sent
from ocs.charging.remembered import merged
from ocs.charging.request import AskedLine, ChargingRequest, Style, Used
from ocs.charging.services import Service
from ocs.charging.settings import ChargingSettings
from protocol.diameter.avp import HEADER, VENDOR
from protocol.diameter.dictionary.base import EVENT_TIMESTAMP
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
from protocol.diameter.header import SIZE
from protocol.diameter.types import unix_seconds
from tariffs.rating import rate, same_from
from tariffs.units import EXACT_MAX, Kind

LINES_MAX: Final = 8
"""More in one request are rare, and served the general way."""

AMOUNTS: Final = {CC_TOTAL_OCTETS.key: "octets", CC_TIME.key: "seconds", CC_SERVICE_SPECIFIC_UNITS.key: "units"}
"""AVPs of a unit group that say an amount, and what it is called in `Units` and `UsageReport`."""
BESIDE_TOTAL: Final = (CC_INPUT_OCTETS.key, CC_OUTPUT_OCTETS.key)
"""Where the total is given too, nothing is made of these."""
THRESHOLDS: Final = (VOLUME_QUOTA_THRESHOLD.key, TIME_QUOTA_THRESHOLD.key, UNIT_QUOTA_THRESHOLD.key)
UNITS: Final = frozenset({*AMOUNTS, *BESIDE_TOTAL})
OK: Final = int(Result.OK)
UPDATE: Final = int(Phase.UPDATE)

NEVER_MS: Final = 2**63

_pack: Final = msgspec.msgpack.Encoder().encode

Hole = tuple[int, int]
"""Where a number lies in a message: from, to."""
Numbers = tuple[int, ...]
"""Of one message, in their order; the identifiers are the first."""
IDS: Final[Hole] = (12, 20)
"""Hop-by-Hop and End-to-End Identifier, as one number."""


class Unlike(Exception):
    """It is not learnt: something in it is not as usual."""


class Layout:
    """Where messages of one shape have their holes. `cut` makes of a message what is fixed and its numbers, in turns;
    `join` makes it of these again. Many sessions share one."""

    __slots__ = ("cut", "join", "size", "slots")

    def __init__(self, size: int, holes: tuple[Hole, ...], signed: Hole | None) -> None:
        form, last = ">", 0
        for hole in holes:
            if hole[0] < last or hole[1] - hole[0] not in (4, 8):
                raise Unlike
            kind = "I" if hole[1] - hole[0] == 4 else "Q"
            form += f"{hole[0] - last}s{kind.lower() if hole == signed else kind}"
            last = hole[1]
        layout = Struct(f"{form}{size - last}s")
        self.cut, self.join, self.size = layout.unpack, layout.pack, layout.size
        self.slots = {hole: 2 * place + 1 for place, hole in enumerate(holes)}
        """Of each hole its place among all parts."""


@lru_cache(1_024)
def _layout(size: int, holes: tuple[Hole, ...], signed: Hole | None) -> Layout:
    return Layout(size, holes, signed)


def layout_of(octets: bytes, holes: Iterable[Hole], signed: Hole | None = None) -> Layout:
    """signed: the one hole whose number may be negative"""
    return _layout(len(octets), tuple(sorted(holes)), signed)


Reported = tuple[int, int, int, int] | None
"""What a line reports: places of octets, seconds and units among the numbers of a request, -1 for what it does not say,
and the period; None: nothing."""


class CcrTemplate:
    """The octets of a CCR-U, its numbers and what they mean. Unlike where it is not as usual."""

    __slots__ = ("_content", "_counted", "_cut", "_fixed", "_number", "_reports", "_size", "_time")

    def __init__(self, frame: bytes, request: ChargingRequest) -> None:
        """The frame was judged, and says what the request says."""
        top = _only(frame, (SIZE, len(frame)), (CC_REQUEST_NUMBER.key, EVENT_TIMESTAMP.key))
        groups = _groups(frame, request.style)
        if len(groups) != len(request.lines):
            raise Unlike
        said = [_reported(frame, group, line) for group, line in zip(groups, request.lines, strict=True)]
        holes = [IDS, *top.values()]
        for amounts in said:
            holes += amounts.values()
        layout = layout_of(frame, holes)
        self._cut, self._size = layout.cut, layout.size
        self._fixed: tuple[bytes, ...] = layout.cut(frame)[::2]
        place = {hole: slot // 2 for hole, slot in layout.slots.items()}
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

    def numbers(self, frame: bytes) -> Numbers | None:
        """Of a CCR that is otherwise the same; None: it is another one, or an amount is beyond what is counted."""
        if len(frame) != self._size:
            return None
        parts = self._cut(frame)
        if parts[::2] != self._fixed:
            return None
        numbers: Numbers = parts[1::2]
        for place in self._counted:
            if numbers[place] > EXACT_MAX:
                return None
        return numbers

    def number(self, numbers: Numbers) -> int:
        """CC-Request-Number."""
        return numbers[self._number]

    def event_ms(self, numbers: Numbers) -> int | None:
        """Event-Timestamp."""
        return None if self._time < 0 else unix_seconds(numbers[self._time]) * 1_000

    def fingerprint(self, numbers: Numbers) -> str:
        content = list(self._content)
        for slot, place in enumerate(self._counted):
            content[2 * slot + 1] = _pack(numbers[place])
        return digest(b"".join(content))

    def asks(self, like: list[Ask], numbers: Numbers, event_ms: int, validity_ms: int) -> list[Ask]:
        """like: those of the request it was learnt from"""
        values, asks = (*numbers, -1), []
        for one, said in zip(like, self._reports, strict=True):
            ask = copied_ask(one)
            ask.validity_ms = validity_ms
            if said is not None:
                octets, seconds, units, period = said
                ask.reports = [UsageReport(-1, values[octets], values[seconds], values[units], event_ms, period)]
            asks.append(ask)
        return asks


Granted = tuple[tuple[Any, ...], int, int, int, int]
"""One line of an answer: what the store must say of it (`said_of`), the most that can be written as granted, and where
among the parts that, its Validity-Time and its threshold go; 0: none is told."""


class CcaTemplate:
    """The octets of a CCA, and where its numbers go. Unlike where it is not as usual."""

    __slots__ = ("_cost", "_grants", "_join", "_low", "_number", "_parts", "_percent")

    def __init__(self, answer: bytes, style: Style, outcome: Outcome, service: Service) -> None:
        """The answer says what the outcome says."""
        top = _only(answer, (SIZE, len(answer)), (CC_REQUEST_NUMBER.key, COST_INFORMATION.key))
        groups = _groups(answer, style)
        if len(groups) != len(outcome.lines):
            raise Unlike
        cost = _cost_at(answer, top[COST_INFORMATION.key]) if COST_INFORMATION.key in top else None
        granted = [_granted(answer, group) for group in groups]
        number = top[CC_REQUEST_NUMBER.key]
        holes = [IDS, number, *([cost] if cost else ()), *(hole for holes in granted for hole in holes if hole)]
        layout = layout_of(answer, holes, cost)
        slots, self._join = layout.slots, layout.join
        parts = layout.cut(answer)
        self._parts = tuple(part if place % 2 == 0 else 0 for place, part in enumerate(parts))
        self._number, self._cost = slots[number], slots[cost] if cost else 0
        self._grants: tuple[Granted, ...] = tuple(
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
        self._percent = service.threshold_percent if style is Style.LINES else 0

    def octets(self, ids: int, number: int, outcome: Outcome) -> bytes | None:
        """The CCA of this outcome; None where it says more than the numbers of the one it was learnt from."""
        grants = self._grants
        if outcome.result != OK or (outcome.low and self._low) or len(outcome.lines) != len(grants):
            return None
        parts, percent = list(self._parts), self._percent
        parts[1], parts[self._number] = ids, number
        for line, (like, most, at_granted, at_validity, at_threshold) in zip(outcome.lines, grants, strict=True):
            granted = line.granted
            threshold = granted * percent // 100
            if granted <= 0 or said_of(line) != like or (threshold > 0) != (at_threshold > 0):
                return None
            parts[at_granted] = min(granted, most)
            parts[at_validity] = max(line.validity_ms // 1_000, 1)
            if threshold:
                parts[at_threshold] = min(threshold, U32_MAX)
        if self._cost:
            parts[self._cost] = outcome.debited
        octets: bytes = self._join(*parts)
        return octets


class SessionTemplate:
    """Made by `learn`: the two messages, and the charge between them."""

    __slots__ = (
        *("_answer", "_lines", "_same_from_ms", "identities", "origin_host", "origin_state"),
        *("request", "sent", "service", "session"),
    )

    def __init__(
        self, request: ChargingRequest, sent: Sent, service: Service, asked: CcrTemplate, answered: CcaTemplate
    ) -> None:
        self.request, self._answer = asked, answered
        self.sent, self.service = sent, service
        self.session, self.identities = sent.charge.session, request.identities
        self.origin_host, self.origin_state = request.origin.client, request.origin.restarts
        self._lines = tuple(priced_as(line, service) for line in request.lines)
        profile = sent.profile
        same_from_ms = same_from(sent.catalog, profile.assignments, profile.currency, sent.charge.event_ms)
        self._same_from_ms = NEVER_MS if same_from_ms is None or profile.limits else same_from_ms

    def charge(self, numbers: Numbers, context: ChargingContext, now_ms: int) -> tuple[Charge, int] | None:
        """What the store is asked, and the jitter in it; None where the general way has to say it, and then no jitter
        was taken.

        numbers:  those of the CCR, by `request.numbers`
        """
        request, sent, settings, catalog = self.request, self.sent, context.settings, context.catalog
        profile = sent.profile
        if catalog is not sent.catalog or context.profiles.of(self.identities) is not profile:
            return None
        event_ms, flags = event_time(request.event_ms(numbers), settings, now_ms)
        if flags or context.facts.get(self.session) is not sent.facts:
            return None
        if event_ms < self._same_from_ms:  # else it is known to be the same price
            rates = catalog, profile.assignments, profile.currency
            quote = rate(*rates, self._lines, sent.inputs, event_ms, limits=profile.limits)
            if quote != sent.quote:
                return None
        number, jittered = request.number(numbers), context.jitter()
        charge = copied_charge(sent.charge)
        charge.number, charge.key = number, f"{UPDATE}:{number}"
        charge.fingerprint, charge.end_to_end = request.fingerprint(numbers), numbers[0] & U32_MAX
        charge.now_ms, charge.event_ms = now_ms, event_ms
        charge.asks = request.asks(charge.asks, numbers, event_ms, validity_of(self.service, settings, jittered))
        return charge, jittered

    def answer(self, numbers: Numbers, outcome: Outcome) -> bytes | None:
        """The CCA; None where the general way has to write it."""
        return self._answer.octets(numbers[0], self.request.number(numbers), outcome)


def said_of(line: LineOutcome) -> tuple[Any, ...]:
    """What is fixed of a line of an Outcome."""
    fixed = line.rating_group, line.service_id, line.unit, line.grade, line.result, line.final, line.change_ms
    return *fixed, line.secondary


# ---- learning


def learn(
    frame: bytes, request: ChargingRequest, sent: Sent, outcome: Outcome, answer: bytes, settings: ChargingSettings
) -> SessionTemplate | None:
    """The template of a CCR-U and the CCA it got, both whole; None where something about them is unusual."""
    service = settings.services.by_name.get(request.inputs.service)
    if service is None or not (_is_usual(request, sent) and _is_granted(outcome, request)):
        return None
    try:
        asked = CcrTemplate(frame, request)
        answered = CcaTemplate(answer, request.style, outcome, service)
    except Unlike:
        return None
    return SessionTemplate(request, sent, service, asked, answered)


def _is_usual(request: ChargingRequest, sent: Sent) -> bool:
    charge, facts, lines = sent.charge, sent.facts, request.lines
    return (
        request.phase is Phase.UPDATE
        and not request.key.resend
        and charge.countable
        and charge.seek
        and not charge.flags
        and 0 < len(lines) <= LINES_MAX
        and len(charge.asks) == len(lines)
        and all(line.wish is None and line.use is None and len(line.used) <= 1 for line in lines)
        and all(not rated.later and rated.beside is None for rated in sent.quote)
        and not facts.lines
        and merged(facts, sent.told) is facts  # told again, it says nothing new
    )


def _is_granted(outcome: Outcome, request: ChargingRequest) -> bool:
    return (
        outcome.result == OK
        and len(outcome.lines) == len(request.lines)
        and all(one.result == OK and one.granted > 0 and not one.final and not one.change_ms for one in outcome.lines)
    )


def _reports_at(found: Mapping[str, int], period: int) -> Reported:
    """found: places by name in UsageReport"""
    octets, seconds, units = (found.get(name, -1) for name in AMOUNTS.values())
    return octets, seconds, units, period


def _reported(frame: bytes, group: Hole, line: AskedLine) -> dict[int, Hole]:
    """The amounts that a line reports, by AVP."""
    inside = _only(frame, group, (USED_SERVICE_UNIT.key,))
    if not line.used:
        if inside:
            raise Unlike
        return {}
    amounts = _only(frame, inside[USED_SERVICE_UNIT.key], UNITS)
    if CC_TOTAL_OCTETS.key not in amounts and amounts.keys() & BESIDE_TOTAL:
        raise Unlike
    return amounts


def _granted(answer: bytes, group: Hole) -> tuple[Hole, Hole, Hole | None]:
    """The units granted to a line, their Validity-Time and threshold."""
    inside = _only(answer, group, (GRANTED_SERVICE_UNIT.key, VALIDITY_TIME.key, *THRESHOLDS))
    units = inside.pop(GRANTED_SERVICE_UNIT.key, None)
    validity = inside.pop(VALIDITY_TIME.key, None)
    amounts = list(_only(answer, units, AMOUNTS).values()) if units else []
    if len(amounts) != 1 or validity is None or len(inside) > 1:
        raise Unlike
    return amounts[0], validity, next(iter(inside.values()), None)


def _cost_at(answer: bytes, cost: Hole) -> Hole:
    value = _only(answer, cost, (UNIT_VALUE.key,))[UNIT_VALUE.key]
    return _only(answer, value, (VALUE_DIGITS.key,))[VALUE_DIGITS.key]


def _groups(octets: bytes, style: Style) -> list[Hole]:
    """Where the AVPs of each line are."""
    whole = SIZE, len(octets)
    if style is Style.COMMAND:
        return [whole]
    return [(data, end) for key, data, end in _avps(octets, *whole) if key == MULTIPLE_SERVICES_CREDIT_CONTROL.key]


def _only(octets: bytes, within: Hole, keys: Container[int]) -> dict[int, Hole]:
    """Where those AVPs have their data, each of which may be there once."""
    found: dict[int, Hole] = {}
    for key, data, end in _avps(octets, *within):
        if key in keys:
            if key in found:
                raise Unlike
            found[key] = data, end
    return found


def _avps(octets: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Key, and where the data begins and ends, of the AVPs of a message or group that was judged already."""
    while start + 8 <= end:
        code, word = HEADER.unpack_from(octets, start)
        length, data = word & 0xFFFFFF, start + 8
        if word >> 24 & VENDOR:
            code |= int.from_bytes(octets[data : data + 4], "big") << 32
            data += 4
        yield code, data, start + length
        start += length + 3 & ~3
