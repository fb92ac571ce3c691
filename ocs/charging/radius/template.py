"""What an Interim-Update has in common with the next ones of its session, and where they differ. Pure.

A session reports again and again, and of its packet only identifier, authenticator, counters and times change. From
one that was served the general way (accounting.py, decide.py) `learn` makes a template. It serves a packet that has the
same octets but for those, which may also come or go, as long as its price is the same: the charge is the one that the
general way makes. For anything else it says None, and the general way serves. The answer only says that the packet was
charged.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from balances.structs.charge import Charge, Course, Outcome, Phase, Result
from ocs.charging.decide import (
    asked_again,
    content_of,
    copied_charge,
    digest,
    event_time,
    key_of_message,
    priced_as,
)
from ocs.charging.handle import ChargingContext, Sent
from ocs.charging.radius.accounting import INPUT, OUTPUT, Shown, event_ms_at, lines_of, message_in
from ocs.charging.radius.nas import NasProfile
from ocs.charging.remembered import merged
from ocs.charging.request import ChargingRequest
from ocs.charging.services import Service
from protocol.radius.attribute import Attribute
from protocol.radius.counters import GIGAWORD
from protocol.radius.dictionary.standard import (
    ACCT_DELAY_TIME,
    ACCT_INPUT_GIGAWORDS,
    ACCT_INPUT_OCTETS,
    ACCT_INPUT_PACKETS,
    ACCT_OUTPUT_GIGAWORDS,
    ACCT_OUTPUT_OCTETS,
    ACCT_OUTPUT_PACKETS,
    ACCT_SESSION_TIME,
    EVENT_TIMESTAMP,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
)
from protocol.radius.packet import HEADER, MIN_BYTES
from tariffs.rating import rate, same_from


def _number(attribute: Attribute[int]) -> int:
    """Its type in a packet."""
    assert isinstance(attribute.key, int)
    return attribute.key


SESSION_TIME, STAMP, DELAY = map(_number, (ACCT_SESSION_TIME, EVENT_TIMESTAMP, ACCT_DELAY_TIME))
OCTETS: Final = {
    INPUT: (_number(ACCT_INPUT_OCTETS), _number(ACCT_INPUT_GIGAWORDS)),
    OUTPUT: (_number(ACCT_OUTPUT_OCTETS), _number(ACCT_OUTPUT_GIGAWORDS)),
}
"""Low and high half of each counter."""
NUMBERS: Final = frozenset(
    (
        *(SESSION_TIME, STAMP, DELAY, *OCTETS[INPUT], *OCTETS[OUTPUT]),
        *(_number(ACCT_INPUT_PACKETS), _number(ACCT_OUTPUT_PACKETS)),
    )
)
"""Attributes that change from one report to the next, each of four octets. Nothing is made of the packets."""
NOT_LEARNT: Final = frozenset((MESSAGE_AUTHENTICATOR.key, PROXY_STATE.key))
"""They change too, and are of few NASes."""
NUMBER_OCTETS: Final = 6
NEVER_MS: Final = 2**63


class CutInterim(NamedTuple):
    """An Accounting-Request, cut at what changes."""

    fixed: bytes
    """All other attributes."""
    numbers: dict[int, int]
    """By type of the attribute, those that are there."""


def cut(octets: bytes) -> CutInterim | None:
    """None: it is no whole packet, or one of the attributes is there twice or of another length."""
    end = len(octets)
    if end < MIN_BYTES or HEADER.unpack_from(octets)[2] != end:
        return None
    pieces, numbers, at, done = [], {}, MIN_BYTES, MIN_BYTES
    try:
        while at < end:
            kind, size = octets[at], octets[at + 1]
            if kind in NUMBERS:
                if size != NUMBER_OCTETS or kind in numbers:
                    return None
                pieces.append(octets[done:at])
                numbers[kind] = int.from_bytes(octets[at + 2 : at + NUMBER_OCTETS])
                done = at + NUMBER_OCTETS
            elif size < 2 or kind in NOT_LEARNT:
                return None
            at += size
    except IndexError:
        return None
    if at != end:
        return None
    pieces.append(octets[done:])
    return CutInterim(b"".join(pieces), numbers)


class InterimTemplate:
    """Made by `learn`: what was asked, and the charge that came of it."""

    __slots__ = ("_nas", "_request", "_same_from_ms", "_service_lines", "sent")

    def __init__(self, request: ChargingRequest, nas: NasProfile, sent: Sent, service: Service) -> None:
        self._request, self._nas, self.sent = request, nas, sent
        self._service_lines = tuple(priced_as(line, service) for line in request.lines)
        profile = sent.profile
        same_from_ms = same_from(sent.catalog, profile.assignments, profile.currency, sent.charge.event_ms)
        self._same_from_ms = NEVER_MS if same_from_ms is None or profile.limits else same_from_ms

    @property
    def session(self) -> str:
        return self._request.key.session

    def charge(
        self, numbers: dict[int, int], authenticator: bytes, context: ChargingContext, now_ms: int
    ) -> Charge | None:
        """What the store is asked; None where the general way has to say it.

        numbers:  those of the packet, cut from what is otherwise the same
        """
        request, sent, catalog = self._request, self.sent, context.catalog
        profile = sent.profile
        if catalog is not sent.catalog or context.profiles.of(request.identities) is not profile:
            return None
        lasted_s = numbers.get(SESSION_TIME, 0)
        event_ms = event_ms_at(numbers.get(STAMP), numbers.get(DELAY), now_ms)
        event_ms, flags = event_time(event_ms, context.settings, now_ms)
        if flags or not lasted_s or context.facts.get(sent.charge.session) is not sent.facts:
            return None
        if event_ms < self._same_from_ms:  # else it is known to be the same price
            rates = catalog, profile.assignments, profile.currency
            quote = rate(*rates, self._service_lines, sent.inputs, event_ms, limits=profile.limits)
            if quote != sent.quote:
                return None
        lines = lines_of(Shown(self._nas, _octets_in(numbers), lasted_s, goes_on=True))
        charge = copied_charge(sent.charge)
        charge.end_to_end = message_in(authenticator)
        charge.key = key_of_message(charge.phase, charge.number, charge.end_to_end)
        charge.fingerprint = digest(content_of(request, lines))
        charge.now_ms, charge.event_ms = now_ms, event_ms
        charge.asks = [
            asked_again(ask, rated, line, event_ms)
            for ask, rated, line in zip(charge.asks, sent.quote, lines, strict=True)
        ]
        charge.lasted_s, charge.began_ms = lasted_s, max(event_ms - lasted_s * 1_000, 0)
        charge.origin_state = charge.began_ms // 1_000
        return charge


def _octets_in(numbers: dict[int, int]) -> dict[int, int]:
    """By place of the counter, as `accounting.shown_by` reads them."""
    found = {}
    for place, (low, high) in OCTETS.items():
        if high in numbers:
            found[place] = numbers[high] * GIGAWORD + numbers.get(low, 0)
        elif low in numbers:
            found[place] = numbers[low]
    return found


def learn(
    numbers: dict[int, int],
    request: ChargingRequest,
    nas: NasProfile,
    sent: Sent,
    outcome: Outcome,
    context: ChargingContext,
) -> InterimTemplate | None:
    """The template of a packet that was charged by one call with nothing unusual about it; None where something is."""
    service = context.settings.services.by_name.get(request.inputs.service)
    if service is None or outcome.result != Result.OK or not _is_usual(numbers, request, nas, sent):
        return None
    return InterimTemplate(request, nas, sent, service)


def _is_usual(numbers: dict[int, int], request: ChargingRequest, nas: NasProfile, sent: Sent) -> bool:
    charge, facts, course = sent.charge, sent.facts, request.course
    return (
        request.phase is Phase.UPDATE
        and course is not None
        and course.step is Course.GOES_ON
        and bool(course.token)
        and not course.restarted_ms
        and course.lasted_s == numbers.get(SESSION_TIME)
        and request.lines == lines_of(Shown(nas, _octets_in(numbers), course.lasted_s, goes_on=True))
        and request.held_s > 0
        and NUMBERS.isdisjoint(nas.names_session)
        and not request.line_facts
        and request.currency is None
        and charge.seek
        and not charge.flags
        and charge.origin_state == charge.began_ms // 1_000
        and len(charge.asks) == len(request.lines)
        and all(not rated.later and rated.beside is None for rated in sent.quote)
        and not facts.lines
        and merged(facts, sent.told) is facts  # told again, it says nothing new
    )
