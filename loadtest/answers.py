"""Reads from an answer only what the simulator needs: result, number, and each line's result, grant and final unit.

The place of every AVP depends only on the headers of the AVPs before it. So an answer is walked once; the next one
whose headers are the same, found by one AND and one compare of big integers, is read at the places found before.
"""

from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple

SESSION_ID, RESULT_CODE, EXPERIMENTAL_RESULT_CODE, CC_REQUEST_NUMBER = 263, 268, 298, 415
EXPERIMENTAL_RESULT, GRANTED, FINAL_UNIT, MSCC = 297, 431, 430, 456
CC_TIME, CC_TOTAL_OCTETS, CC_UNITS = 420, 421, 417
RATING_GROUP, VALIDITY_TIME, FINAL_UNIT_ACTION = 432, 448, 449
INSIDE = {MSCC, GRANTED, FINAL_UNIT, EXPERIMENTAL_RESULT}
SHAPES_MAX = 1_000  # a peer whose answers all differ in shape costs a walk each, not our memory


class LineAnswer(NamedTuple):
    rating_group: int | None
    result: int | None
    octets: int | None
    seconds: int | None
    units: int | None
    validity_s: int | None
    final: int | None
    """Final-Unit-Action, when this grant is the last."""

    @property
    def granted(self) -> int:
        """The granted amount, in the unit of the grant."""
        return next((n for n in (self.octets, self.seconds, self.units) if n is not None), 0)


class LoadAnswer(NamedTuple):
    result: int
    number: int
    session: bytes
    lines: tuple[LineAnswer, ...]
    """One per Multiple-Services-Credit-Control; one without rating group when the units stand at command level."""


class UnreadableError(Exception):
    """Not an answer with a result."""


class _Shape(NamedTuple):
    mask: int
    headers: int
    unpack: Callable[[bytes], tuple[Any, ...]]
    command: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    lines: list[Callable[[tuple[Any, ...]], tuple[Any, ...]]]


class AnswerReader:
    """`read(frame)`; keeps the shapes it has seen."""

    def __init__(self) -> None:
        self._shapes: dict[int, list[_Shape]] = {}
        self._known = 0

    def read(self, frame: bytes) -> LoadAnswer:
        number = int.from_bytes(frame, "big")
        for shape in self._shapes.get(len(frame), ()):
            if number & shape.mask == shape.headers:
                break
        else:
            shape = self._learn(frame, number)
        values = (*shape.unpack(frame), None)  # index -1: what is not there
        result, request_number, session = shape.command(values)
        return LoadAnswer(
            result, request_number, session, tuple([LineAnswer._make(pick(values)) for pick in shape.lines])
        )

    def _learn(self, frame: bytes, number: int) -> _Shape:
        mask = bytearray(len(frame))
        places: list[tuple[int, str]] = []
        command, lines = _walk(frame, mask, places)
        if "result" not in command:
            raise UnreadableError(f"an answer of {len(frame)} octets without Result-Code")
        form, at = ">", 0
        for offset, letter in places:
            form += f"{offset - at}x{letter}"
            at = offset + Struct(">" + letter).size
        shape = _Shape(
            int.from_bytes(mask, "big"),
            number & int.from_bytes(mask, "big"),
            Struct(f"{form}{len(frame) - at}x").unpack,
            itemgetter(*(command.get(name, -1) for name in ("result", "number", "session"))),
            [itemgetter(*(line.get(name, -1) for name in LineAnswer._fields)) for line in lines],
        )
        if self._known < SHAPES_MAX:
            self._known += 1
            self._shapes.setdefault(len(frame), []).append(shape)
        return shape


NAMES = {
    RESULT_CODE: "result",
    EXPERIMENTAL_RESULT_CODE: "result",
    CC_REQUEST_NUMBER: "number",
    RATING_GROUP: "rating_group",
    VALIDITY_TIME: "validity_s",
    CC_TIME: "seconds",
    CC_TOTAL_OCTETS: "octets",
    CC_UNITS: "units",
    FINAL_UNIT_ACTION: "final",
}
FORMS = {CC_TOTAL_OCTETS: "Q", CC_UNITS: "Q"}


def _walk(frame: bytes, mask: bytearray, places: list[tuple[int, str]]) -> tuple[dict[str, int], list[dict[str, int]]]:
    """Where to read what: indexes into `places`, for the command and for each line."""
    command: dict[str, int] = {}
    lines: list[dict[str, int]] = []

    def inside(start: int, end: int, into: dict[str, int]) -> None:
        at = start
        while at < end:
            if end - at < 8:
                raise UnreadableError(f"{end - at} octets at {at} are no AVP")
            code, length = int.from_bytes(frame[at : at + 4], "big"), int.from_bytes(frame[at + 5 : at + 8], "big")
            head = 12 if frame[at + 4] & 0x80 else 8
            if not head <= length <= end - at:
                raise UnreadableError(f"AVP {code} at {at} claims {length} octets")
            mask[at : at + head] = b"\xff" * head
            data, after = at + head, at + length
            if head == 12:
                pass  # of a vendor: nothing a player needs
            elif code == MSCC:
                lines.append({})
                inside(data, after, lines[-1])
            elif code in INSIDE:
                inside(data, after, into)
            elif code == SESSION_ID:
                into["session"] = len(places)
                places.append((data, f"{after - data}s"))
            elif code in NAMES and NAMES[code] not in into:
                form = FORMS.get(code, "I")
                if after - data != Struct(">" + form).size:
                    raise UnreadableError(f"AVP {code} at {at} has {after - data} octets of data")
                into[NAMES[code]] = len(places)
                places.append((data, form))
            at = after + -after % 4

    inside(20, len(frame), command)
    if not lines and not command.keys().isdisjoint({"octets", "seconds", "units"}):
        # Single service: the units are the command's own, and so is the result.
        lines.append({name: place for name, place in command.items() if name in LineAnswer._fields})
    return command, lines
