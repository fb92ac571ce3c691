"""What bodies of one kind, and their answers, have in common, and where they differ (request_template.py). Pure.

A body is cut at its values: the texts and whole numbers that stand behind a colon. What is between them, the names of
members and every other octet, is compared with a body that was read the general way (messages.py, translate.py), so
nothing of it has to be judged again. Of the values, these may differ: `number`, `id`, `time`, the amounts under `used`,
who it is about, and the texts of its facts. All others are compared too.

From a request that was served the general way `learn` makes a template of its body and its answer. It serves a request
of any session of the same caller; the charge and the answer are those that the general way makes, octet for octet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import structs

from balances.ledger.in_words import money
from balances.structs.charge import LineOutcome, Outcome, Phase
from ocs.charging.handle import Sent
from ocs.charging.http import translate
from ocs.charging.http.messages import (
    NOTHING_STATED,
    NUMBER_MAX,
    ChargedLine,
    ChargingEvent,
    ChargingMessage,
    ChargingReply,
    ChargingStart,
    ChargingStop,
    ChargingUpdate,
    GrantedUnits,
    Instant,
    Name,
    StatedLine,
    StatedUnits,
)
from ocs.charging.http.translate import PlatformCall, UnusableBody
from ocs.charging.remembered import told_by
from ocs.charging.request import ChargingRequest
from ocs.charging.request_template import (
    UNITS,
    AskedTemplate,
    LearntPrice,
    RequestTemplate,
    StatedAbout,
    Unlike,
    Values,
    said_of,
)
from ocs.charging.services import Service, Services
from ocs.charging.settings import ChargingSettings
from tariffs.units import EXACT_MAX, SECONDS_MAX, Kind

encode: Final = msgspec.json.Encoder(decimal_format="number").encode
"""As answers are written."""

CUT: Final = re.compile(
    rb'(:[ \t\r\n]*)("[^"\\\x00-\x1f]*"|0|[1-9][0-9]{0,18})(?=[ \t\r\n]*[,}\]])',
)
"""A value behind a colon: all of a text without escapes, or a whole number of at most 19 digits. Where a text with
escapes looks as if there were one in it, `learn` sees that it is none."""
BEHIND: Final = re.compile(rb'"([a-z_]+)"[ \t\r\n]*$')
"""The name of the member that the value behind it is of."""

TEXTS: Final = tuple(name for name, silent in structs.asdict(NOTHING_STATED).items() if silent == "")
"""Facts that are texts."""
NUMBER_MARK: Final = 3_000_000_000
AMOUNT_MARK: Final = 10**15
TIME_MARK: Final = "2001-01-01T00:00:00.{:06}Z"


class ChargingForm(NamedTuple):
    """What one operation takes, and what is made of it."""

    name: str
    phase: Phase
    body: type[ChargingMessage]
    to_request: Callable[[Any, PlatformCall, Services], ChargingRequest]
    status: int
    """Of its answer."""


FORMS: Final = {
    one.phase: one
    for one in (
        ChargingForm("start_charging", Phase.START, ChargingStart, translate.started, 201),
        ChargingForm("update_charging", Phase.UPDATE, ChargingUpdate, translate.reported, 200),
        ChargingForm("stop_charging", Phase.STOP, ChargingStop, translate.stopped, 200),
        ChargingForm("charge_event", Phase.EVENT, ChargingEvent, translate.event, 200),
    )
}

_decoders: Final = {phase: msgspec.json.Decoder(form.body) for phase, form in FORMS.items()}
_name: Final = msgspec.json.Decoder(Name).decode
_instant: Final = msgspec.json.Decoder(Instant).decode


class CutBody(NamedTuple):
    """A body, cut at its values."""

    fixed: tuple[bytes, ...]
    values: Sequence[bytes]


def cut(body: bytes) -> CutBody:
    pieces = CUT.split(body)
    return CutBody((*pieces[::3], *pieces[1::3]), pieces[2::3])


class BodyLayout:
    """Where bodies that are the same between their values say what. Unlike where they do not say it as values."""

    __slots__ = ("about", "about_names", "constants", "counted", "form", "id", "number", "time")

    def __init__(self, form: ChargingForm, body: bytes) -> None:
        """The body was read and judged."""
        self.form = form
        pieces = CUT.split(body)
        marked = list(pieces)
        marks: dict[object, int] = {}
        for place, before in enumerate(pieces[:-1:3]):
            found = BEHIND.search(before)
            mark = found and _mark(found[1].decode(), place, pieces[3 * place + 2])
            if mark is not None:
                marks[mark] = place
                marked[3 * place + 2] = encode(mark)
        try:
            read: Any = _decoders[form.phase].decode(b"".join(marked))
        except msgspec.MsgspecError:
            raise Unlike from None
        self.number = _place(marks, getattr(read, "number", None))
        self.id = _place(marks, getattr(read, "id", None))
        self.time = _place(marks, read.time)
        self.counted = [
            {} if line.used is None else {name: _place(marks, amount) for name, amount in _amounts(line.used).items()}
            for line in read.lines
        ]
        """Places of what each line reports, by its unit."""
        named = {name: marks[value] for name, value in _about(read).items() if value in marks}
        self.about_names, self.about = tuple(named), tuple(named.values())
        taken = {self.number, self.id, self.time, *self.about, *(at for one in self.counted for at in one.values())}
        kept = [place for place in range(len(pieces) // 3) if place not in taken]
        self.constants: Callable[[Sequence[bytes]], Any] = itemgetter(*kept) if kept else lambda _values: ()
        """What has to be the same of the values, too."""

    def read(self, body: bytes, services: Services, call: PlatformCall) -> StatedAbout | None:
        """Who and what a body is about, which differs from one that was judged in its values only; None: it is
        refused."""
        try:
            request = self.form.to_request(_decoders[self.form.phase].decode(body), call, services)
        except (msgspec.MsgspecError, UnicodeDecodeError, UnusableBody):
            return None
        return StatedAbout(request.identities, request.inputs, told_by(request))


def _mark(name: str, place: int, value: bytes) -> object:
    """What a member of this name could say in the place of this value, which none says; None: it stays as it is."""
    if value[:1] == b'"':
        if name in ("id", "subscriber", "identity") or name in TEXTS:
            return f"msisdn:{10**11 + place}" if name == "identity" else f"mark-{place}"
        return TIME_MARK.format(place) if name == "time" else None
    if name == "number":
        return NUMBER_MARK + place
    return AMOUNT_MARK + place if name in UNITS else None


def _place(marks: dict[object, int], value: object) -> int:
    """Of what is said; -1: nothing is."""
    if value is None:
        return -1
    if value not in marks:
        raise Unlike
    return marks[value]


def _amounts(used: StatedUnits) -> dict[str, int]:
    if used.money is not None:
        raise Unlike
    return {name: amount for name in UNITS if (amount := getattr(used, name)) is not None}


def _about(body: ChargingMessage) -> dict[str, str]:
    said = {"subscriber": body.subscriber, "identity": body.identity}
    said |= {f"facts.{name}": getattr(body.facts, name) for name in TEXTS}
    return {name: value for name, value in said.items() if value}


FIRST: Final = 5
"""Of the values of a request: what its session is called, its id, number, time and message; then come its amounts."""


class BodyTemplate(AskedTemplate):
    """The values of a request of one kind, and what they mean. Unlike where it is not as usual."""

    __slots__ = ("_amounts", "context", "layout")

    def __init__(self, layout: BodyLayout, body: ChargingMessage, request: ChargingRequest) -> None:
        self.layout = layout
        order = [place for one in layout.counted for place in one.values()]
        most = [SECONDS_MAX if name == "seconds" else EXACT_MAX for one in layout.counted for name in one]
        self._amounts = tuple(zip(order, most, strict=True))
        at = {place: FIRST + nth for nth, place in enumerate(order)}
        if len(layout.counted) != len(request.lines):
            raise Unlike
        super().__init__(request, [{name: at[place] for name, place in one.items()} for one in layout.counted])
        told = [name.removeprefix("facts.") for name in layout.about_names if name.startswith("facts.")]
        facts = structs.replace(body.facts, **dict.fromkeys(told, ""))
        self.context = encode((body.service, layout.about_names, facts, body.tags))
        """What the reading of who and what it is about depends on besides."""

    def values(self, said: Sequence[bytes], call: PlatformCall) -> Values | None:
        """Of a request like it; None where one of them is none that may be used, or is beyond what is counted."""
        try:
            return self._read(said, call)
        except (msgspec.MsgspecError, ValueError):  # a text where a number should be, or the other way round
            return None

    def _read(self, said: Sequence[bytes], call: PlatformCall) -> Values | None:
        layout, session = self.layout, call.session
        if layout.id >= 0:
            session = _name(said[layout.id])
        elif not session:
            session = translate.made_id(call.key)
        number = 0 if layout.number < 0 else int(said[layout.number])
        if number > NUMBER_MAX or number < (layout.number >= 0):
            return None
        event_ms = None if layout.time < 0 else translate.ms_of(_instant(said[layout.time]))
        message = call.message if layout.form.phase is Phase.START else 0
        values: list[Any] = [call.named(session), session, number, event_ms, message]
        for place, most in self._amounts:
            amount = int(said[place])
            if amount > most:
                return None
            values.append(amount)
        return tuple(values)

    def named(self, values: Values) -> str:
        name: str = values[0]
        return name

    def id(self, values: Values) -> str:
        """By which the answer names it."""
        session: str = values[1]
        return session

    def number(self, values: Values) -> int:
        number: int = values[2]
        return number

    def event_ms(self, values: Values) -> int | None:
        event_ms: int | None = values[3]
        return event_ms

    def message(self, values: Values) -> int:
        message: int = values[4]
        return message


PLAIN: Final = re.compile(r"[!#$&-.0-\[\]-{}~]+")
"""Texts that stand in JSON and in a key as they are."""

GrantedMost = tuple[tuple[Any, ...], int]
"""One line of an answer: what the store must say of it (`said_of`), and whether something is granted."""


class ReplyTemplate:
    """The octets of an answer, and where its numbers go. Unlike where it is not as usual."""

    __slots__ = ("_form", "_has_cost", "_lines", "_low", "_percent")

    def __init__(self, reply: ChargingReply, outcome: Outcome, service: Service) -> None:
        """The answer says what the outcome says."""
        if len(reply.lines) != len(outcome.lines) or reply.balance is None or not PLAIN.fullmatch(reply.session):
            raise Unlike
        self._lines: tuple[GrantedMost, ...] = tuple((said_of(line), line.granted > 0) for line in outcome.lines)
        self._low, self._percent = service.low_balance, service.threshold_percent
        self._has_cost = reply.cost is not None
        marks = [f"@{nth}@" for nth in range(4)]
        numbers = [EXACT_MAX + nth for nth in range(3 * len(reply.lines))]
        lines = [
            _marked(line, *numbers[3 * nth : 3 * nth + 3]) if line.granted is not None else line
            for nth, line in enumerate(reply.lines)
        ]
        marked = structs.replace(
            reply,
            id=marks[0],
            session=marks[1],
            cost=marks[2] if self._has_cost else None,
            balance=marks[3],
            lines=lines,
        )
        text = encode(marked).replace(b"%", b"%%")
        for mark in marks:
            if text.count(mark.encode()) > 1:
                raise Unlike
            text = text.replace(mark.encode(), b"%b")
        for number in numbers:
            text = text.replace(b"%d" % number, b"%d")
        self._form = text

    def octets(self, session: str, named: str, outcome: Outcome) -> bytes | None:
        """The answer for this outcome; None where it says more than the numbers of the one it was learnt from."""
        lines, percent = self._lines, self._percent
        if outcome.result or (outcome.low and self._low) or len(outcome.lines) != len(lines):
            return None
        values: list[bytes | int] = [session.encode(), named.encode()]
        for line, (like, is_granted) in zip(outcome.lines, lines, strict=True):
            granted = line.granted
            if (granted > 0) != is_granted or said_of(line) != like:
                return None
            if is_granted:
                values += granted, max(line.validity_ms // 1_000, 1)
                if percent:
                    threshold = granted * percent // 100
                    if not threshold:
                        return None
                    values.append(threshold)
        if self._has_cost:
            values.append(money(outcome.debited).encode())
        values.append(money(outcome.balance).encode())
        return self._form % tuple(values)


def _marked(line: ChargedLine, granted: int, validity: int, threshold: int) -> ChargedLine:
    amounts = structs.asdict(line.granted) if line.granted is not None else {}
    units = [name for name, amount in amounts.items() if amount is not None]
    if len(units) != 1 or units == ["money"] or line.validity_s is None:
        raise Unlike
    return structs.replace(
        line,
        granted=structs.replace(GrantedUnits(), **{units[0]: granted}),
        validity_s=validity,
        threshold=None if line.threshold is None else threshold,
    )


class PlatformTemplate(RequestTemplate[BodyTemplate, ReplyTemplate]):
    """Made by `learn`: body and answer, and the charge between them, at each price that was met."""

    __slots__ = ()

    def answer(self, values: Values, priced: LearntPrice[ReplyTemplate], outcome: Outcome) -> bytes | None:
        """None where the general way has to write it."""
        request = self.request
        octets = priced.answer.octets(request.id(values), request.named(values), outcome)
        if octets is None:
            self.misfits(priced)
        else:
            priced.misfits = 0
        return octets


def learn(
    layout: BodyLayout,
    body: ChargingMessage,
    request: ChargingRequest,
    sent: Sent,
    outcome: Outcome,
    reply: ChargingReply,
    settings: ChargingSettings,
) -> PlatformTemplate | None:
    """The template of a request and the answer it got; None where something about them is unusual. What they mean is
    (`is_usual`)."""
    service, lines = settings.services.by_name[request.inputs.service], getattr(body, "lines", ())
    if not request.identities or request.currency is not None or not all(map(_counts, lines, outcome.lines)):
        return None
    try:
        asked, answered = BodyTemplate(layout, body, request), ReplyTemplate(reply, outcome, service)
    except Unlike:
        return None
    if answered.octets(reply.id, request.key.session, outcome) != encode(reply):
        return None
    return PlatformTemplate(request, asked, LearntPrice(sent, answered), service, settings)


def _counts(line: StatedLine, outcome: LineOutcome) -> bool:
    """Whether all that it reports is counted: else the answer may say that it was set aside."""
    if line.requested is not None and line.requested.money is not None:
        return False
    return line.used is None or getattr(line.used, Kind(outcome.unit).name.lower()) is not None
