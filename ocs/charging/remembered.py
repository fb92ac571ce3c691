"""Facts remembered for a session: what a request leaves out is the last value stated in its session (charging.md
section 5). Pure.

They are stored with the session, so any worker finds them there. A worker caches those of the sessions it served
last and rates by them; if the store has others it returns them, and the request is rated again.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from balances import facts
from balances.structs.blob import NO_BLOB
from balances.structs.blob import raw_of as raw
from balances.structs.charge import Phase
from balances.structs.session import WHOLE
from ocs.charging.request import ChargingRequest, LineFacts
from tariffs.inputs import TOLD, Inputs

FACT_MAX: Final = 256
"""Octets of one fact; what is longer is cut before anything looks at it."""
SESSIONS_MAX: Final = 65_536
"""Sessions a worker remembers, about 500 octets each; one it forgot costs one more call..."""
KEY_MAX: Final = 512
"""... and so does one with a longer Session-Id: it may be as long as a message."""

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode
values_of: Final = attrgetter(*TOLD)
_NUMBERS: Final = {name: number for number, name in enumerate(TOLD)}
_SILENT: Final = values_of(Inputs(""))


class SessionFacts(msgspec.Struct, frozen=True, gc=False):
    """The facts of one session; packed for the store, and ready for rating."""

    packed: bytes = b""
    raw: msgspec.Raw = NO_BLOB
    """The same as a field of a charge."""
    whole: dict[str, int | str] = {}
    lines: tuple[tuple[int, int, dict[str, int | str]], ...] = ()
    """Told of single lines, and counting there instead: rating group, service identifier (-1 for none), facts."""
    cut: bool = False
    """One that is told now was too long."""


NO_FACTS: Final = SessionFacts()


def _made_of(listed: list[facts.Fact], packed: bytes, *, cut: bool = False) -> SessionFacts:
    whole: dict[str, Any] = {}
    lines: dict[tuple[int, int], dict[str, Any]] = {}
    for group, service_id, number, value in listed:
        if number < len(TOLD):  # a newer version of ours may have told more
            into = whole if group == WHOLE else lines.setdefault((group, service_id), {})
            into[TOLD[number]] = value
    return SessionFacts(packed, raw(packed), whole, tuple((*line, told) for line, told in lines.items()), cut)


def unpacked(packed: bytes) -> SessionFacts:
    return _made_of(facts.unpack(packed), packed) if packed else NO_FACTS


def told_by(request: ChargingRequest) -> SessionFacts:
    """The facts that this request states. One-time events are no sessions: nothing is remembered for them."""
    if request.phase is Phase.EVENT:
        return NO_FACTS
    values = values_of(request.inputs)
    if request.line_facts:
        return _with_lines(of_all(values), request.line_facts)
    return NO_FACTS if values == _SILENT else of_all(values)


def of_all(values: tuple[int | str | None, ...]) -> SessionFacts:
    """Kept only where no text is long: each may be as long as a message."""
    for value in values:
        if type(value) is str and len(value) > FACT_MAX:
            return _told_of_all.__wrapped__(values)
    return _told_of_all(values)


@lru_cache(16_384)
def _told_of_all(values: tuple[int | str | None, ...]) -> SessionFacts:
    """The facts of a request without those of lines. Cached, because most clients repeat the same facts."""
    listed: list[facts.Fact] = [
        (WHOLE, WHOLE, number, _cut(value)) for number, value in enumerate(values) if value is not None and value != ""
    ]
    return _made_of(listed, facts.pack(listed), cut=any(values[number] != value for _, _, number, value in listed))


def _with_lines(told: SessionFacts, line_facts: LineFacts) -> SessionFacts:
    listed: list[facts.Fact] = [
        (-1 if group is None else group, -1 if service_id is None else service_id, _NUMBERS[name], _cut(value))
        for (group, service_id), of_line in line_facts.items()
        for name, value in of_line.items()
    ]
    packed = facts.pack([*facts.unpack(told.packed), *sorted(listed)])
    return _made_of(facts.unpack(packed), packed, cut=told.cut)


def _cut(value: int | str) -> int | str:
    if isinstance(value, str) and len(value) * 4 > FACT_MAX:
        return value.encode()[:FACT_MAX].decode(errors="ignore")
    return value


def with_lines(context: bytes, lines: tuple[tuple[int, int, facts.Told], ...]) -> bytes:
    """Packed rating inputs with what was told of lines, as balances/ledger/record.py takes it apart."""
    return _pack(_unpack(context) | {"lines": lines})


def merged(known: SessionFacts, told: SessionFacts) -> SessionFacts:
    """The facts known after these were stated."""
    packed = facts.merge(known.packed, told.packed)
    if packed == known.packed:
        return known
    return told if packed == told.packed else unpacked(packed)


class Remembered:
    """Cache of facts of the sessions served last, by session key. The store has the valid ones."""

    __slots__ = ("_facts", "_most")

    def __init__(self, most: int = SESSIONS_MAX) -> None:
        self._facts: dict[str, SessionFacts] = {}
        self._most = most

    def get(self, session: str) -> SessionFacts:
        return self._facts.get(session, NO_FACTS)

    def keep(self, session: str, known: SessionFacts) -> None:
        """In the place of what was known; sessions that told nothing need no room."""
        self._facts.pop(session, None)
        if known.packed and len(session) <= KEY_MAX:
            self._facts[session] = known
            if len(self._facts) > self._most:
                del self._facts[next(iter(self._facts))]

    def forget(self, session: str) -> None:
        self._facts.pop(session, None)
