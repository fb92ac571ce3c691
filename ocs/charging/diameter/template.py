"""What CCRs of one kind, and their answers, have in common, and where they differ (request_template.py). Pure.

From one CCR that was served the general way `learn` makes a template of it and its CCA. It serves a CCR of any session
that has the same octets but for what differs: the charge and the answer are those that the general way makes, octet for
octet.

What differs from one request to the next: its identifiers and number, its Event-Timestamp, the amounts it reports, its
Session-Id, and what said.py reads; in the answer the amounts granted, their Validity-Time and threshold, and the cost
so far. All other octets are compared, the T bit among them, so no rule of charging.md needs to be stated again here.
"""

from __future__ import annotations

from typing import Any, Final

from balances.structs.charge import Outcome, Phase, Result
from ocs.charging.diameter.holes import IDS, Hole, Pieces, avps, layout_of, only, whole
from ocs.charging.diameter.said import Context, regions_of
from ocs.charging.diameter.translate import FOREIGN, U32_MAX
from ocs.charging.handle import Sent
from ocs.charging.request import AskedLine, ChargingRequest, Style
from ocs.charging.request_template import (
    AskedTemplate,
    LearntPrice,
    RequestTemplate,
    Unlike,
    Values,
    said_of,
)
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
from tariffs.units import EXACT_MAX, Kind

AMOUNTS: Final = {CC_TOTAL_OCTETS.key: "octets", CC_TIME.key: "seconds", CC_SERVICE_SPECIFIC_UNITS.key: "units"}
"""AVPs of a unit group that say an amount, and what it is called in `Units` and `UsageReport`."""
BESIDE_TOTAL: Final = (CC_INPUT_OCTETS.key, CC_OUTPUT_OCTETS.key)
"""Where the total is given too, nothing is made of these."""
THRESHOLDS: Final = (VOLUME_QUOTA_THRESHOLD.key, TIME_QUOTA_THRESHOLD.key, UNIT_QUOTA_THRESHOLD.key)
UNITS: Final = frozenset({*AMOUNTS, *BESIDE_TOTAL})
OK: Final = int(Result.OK)

FOREIGN_OCTETS: Final = tuple(one.encode() for one in FOREIGN)


class CcrTemplate(AskedTemplate):
    """The octets of a CCR, its values and what they mean. Unlike where it is not as usual."""

    __slots__ = (
        *("_number", "_place_of_session", "_time"),
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
        super().__init__(request, counted)

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

    def named(self, values: Values) -> str:
        octets: bytes = values[self._place_of_session]
        return octets.decode()

    def message(self, values: Values) -> int:
        """End-to-End Identifier."""
        ids: int = values[0]
        return ids & U32_MAX

    def number(self, values: Values) -> int:
        """CC-Request-Number."""
        number: int = values[self._number]
        return number

    def event_ms(self, values: Values) -> int | None:
        """Event-Timestamp."""
        return None if self._time < 0 else unix_seconds(values[self._time]) * 1_000


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


class CreditControlTemplate(RequestTemplate[CcrTemplate, CcaTemplate]):
    """Made by `learn`: the two messages, and the charge between them, at each price that was met."""

    __slots__ = ("context", "origin_host", "origin_state")

    def __init__(
        self,
        request: ChargingRequest,
        asked: CcrTemplate,
        priced: LearntPrice[CcaTemplate],
        service: Service,
        settings: ChargingSettings,
        ignored: Vendors,
    ) -> None:
        super().__init__(request, asked, priced, service, settings)
        self.context: Context = (asked.regions[1], request.inputs.service_context, ignored)
        """Of what the request is about (said.py)."""
        self.origin_host, self.origin_state = request.origin.client, request.origin.restarts

    def answer(self, values: Values, priced: LearntPrice[CcaTemplate], outcome: Outcome) -> bytes | None:
        """The CCA; None where the general way has to write it."""
        request = self.request
        octets = priced.answer.octets(values[0], request.session(values), request.number(values), outcome)
        if octets is None:
            self.misfits(priced)
        else:
            priced.misfits = 0
        return octets


# ---- learning


def learn(
    frame: bytes,
    request: ChargingRequest,
    sent: Sent,
    outcome: Outcome,
    answer: bytes,
    settings: ChargingSettings,
    ignored: Vendors,
) -> CreditControlTemplate | None:
    """The template of a CCR and the CCA it got, both whole; None where something about them is unusual. What they mean
    is (`is_usual`)."""
    if request.key.resend:
        return None
    service = settings.services.by_name[request.inputs.service]
    try:
        asked = CcrTemplate(frame, request)
        answered = CcaTemplate(answer, request, outcome, service)
    except Unlike:
        return None
    return CreditControlTemplate(request, asked, LearntPrice(sent, answered), service, settings, ignored)


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
