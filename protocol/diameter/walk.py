"""Decides which messages are accepted: one walk over the octets, the first fault found is raised.

Faults and their codes (RFC 6733 section 7.1.5 unless said otherwise):

  5014  an AVP Length that does not fit: below its header, beyond its group or message, not the size of its type
  3009  reserved flag bits of an AVP set (section 4.1)
  5001  an AVP we do not know with the M bit, at any depth of what we know, unless its vendor is one whose own AVPs are
        passed over; an unknown group is not looked into
  5008  an AVP the command forbids
  5009  more than one where one is allowed: the first surplus instance
  5004  not the text, the enumeration or the application it should be
  5005  a required AVP is missing: an example of it
  5012  deeper or more than we are ready to follow

Never a fault: the M bit of an AVP we know being there or not, padding that is not zero, a last AVP of a group without
its padding, V with vendor 0: real nodes send these (docs/field-notes.md).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from protocol.diameter.avp import HEADER, MANDATORY, PADDING, UNKNOWN_FLAGS, VENDOR, Avp, MembersSpec, wrap
from protocol.diameter.header import ERROR, REQUEST, SIZE
from protocol.diameter.shapes import DecodePlan, PlanDraft
from protocol.diameter.types import ASCII, GROUPED, WHOLE, tolerant_text
from protocol.errors import AvpError, ResultCode, UnknownAvp

MAX_DEPTH = 16
MAX_AVPS = 4096
Known = dict[int, Avp[Any]]
Vendors = frozenset[int]
NOBODY: Vendors = frozenset()


class FoundAvp(NamedTuple):
    """An AVP in place: where it starts, where its data starts and stops, where the next one starts."""

    key: int
    flags: int
    start: int
    data: int
    stop: int
    after: int


new_found = tuple.__new__  # what Found(...) does, in a third of the time: there is one per AVP
PINNED = {8: b"\xff" * 8, 12: b"\xff" * 12}


class FrameWalk:
    """The walk over one frame. `mask` has every bit set that the verdict depended on; `learnable` is False when it
    depended on something a mask cannot say."""

    def __init__(self, frame: bytes, known: Known, ignored: Vendors = NOBODY) -> None:
        """ignored: vendors whose unknown AVPs are passed over, with the M bit too"""
        self.frame, self.known, self.ignored = frame, known, ignored
        self.mask = bytearray(len(frame))
        self.learnable = True
        self.count = 0
        self.path: list[FoundAvp] = []  # the groups we are in

    def message(self, spec: MembersSpec) -> DecodePlan:
        """The plan of the message; its header has been judged already."""
        self.mask[0:12] = b"\xff" * 12
        self.mask[4] = REQUEST | ERROR
        draft = PlanDraft()
        fields = {
            "flags": draft.value(4, 1, "B", None),
            "application": draft.value(8, 4, "I", None),
            "hop_by_hop": draft.value(12, 4, "I", None),
            "end_to_end": draft.value(16, 4, "I", None),
        }
        return draft.plan(fields | self.members(spec, SIZE, len(self.frame), draft))

    def group(self, spec: MembersSpec, octets_end: int) -> DecodePlan:
        """The plan of a group that stands alone: its data is the frame."""
        draft = PlanDraft()
        return draft.plan(self.members(spec, 0, octets_end, draft))

    # ---- the walk

    def each(self, start: int, end: int) -> Iterator[FoundAvp]:
        """The AVPs between two offsets, their headers judged."""
        frame = self.frame
        while start < end:
            left = end - start
            if left < 8:
                self.refuse_header(start, end, f"{left} octets are no AVP header")
            code, word = HEADER.unpack_from(frame, start)
            flags, length, key, data = word >> 24, word & 0xFFFFFF, code, start + 8
            if flags & VENDOR:
                if left < 12 or length < 12:
                    self.refuse_header(start, end, f"AVP {code} ends within its header")
                key |= int.from_bytes(frame[data : data + 4], "big") << 32
                data += 4
            if length < data - start or length > left:
                self.refuse_header(start, end, f"AVP {code} has length {length}, {left} octets are left")
            self.count += 1
            if self.count > MAX_AVPS:
                raise AvpError(ResultCode.UNABLE_TO_COMPLY, f"more than {MAX_AVPS} AVPs")
            self.mask[start:data] = PINNED[data - start]
            after = start + (length + 3 & ~3)
            yield new_found(FoundAvp, (key, flags, start, data, start + length, min(end, after)))
            start = after

    def members(self, spec: MembersSpec, start: int, end: int, draft: PlanDraft) -> dict[str, int]:
        """The fields of a group as references into the draft."""
        single: dict[str, int] = {}
        several: dict[str, list[int]] = {}
        for found in self.each(start, end):
            if found.flags & UNKNOWN_FLAGS:
                self.refuse_flags(found)
            member = spec.by_key.get(found.key)
            if member is None:
                self.stranger(spec, found)
            elif member.many:
                several.setdefault(member.name, []).append(self.value(member.avp, found, spec, draft))
                continue
            elif member.name not in single:
                single[member.name] = self.value(member.avp, found, spec, draft)
                continue
            elif not (spec.lenient or member.surplus):
                self.refuse(ResultCode.AVP_OCCURS_TOO_MANY_TIMES, found, f"{member.avp} occurs more than once")
            several.setdefault("others", []).append(self.whole(found, draft))
        for name, member in spec.members.items():
            if member.required and name not in single and not spec.lenient:
                raise self.error(ResultCode.MISSING_AVP, member.avp.example(), f"{member.avp} is missing")
        for name, references in several.items():
            single[name] = draft.step(None, {str(n): reference for n, reference in enumerate(references)})
        return single

    def value(self, avp: Avp[Any], found: FoundAvp, spec: MembersSpec, draft: PlanDraft) -> int:
        """One member's value as a reference into the draft."""
        kind, size = avp.type, found.stop - found.data
        if kind.form:
            if size != kind.size:
                self.refuse(ResultCode.INVALID_AVP_LENGTH, found, f"{avp} has {size} octets, not {kind.size}")
            if kind.pin:
                self.pin(found, kind.pin)
                self.judge(avp, found)
            return draft.value(found.data, size, kind.form, kind.decode)
        if kind.group is not None:
            return self.typed(kind.group.spec, found, draft)  # type: ignore[attr-defined]
        if kind is WHOLE:
            return self.whole(found, draft)
        if kind is GROUPED:
            self.known_group(found)
        if size < kind.least and not spec.lenient:
            self.refuse(ResultCode.INVALID_AVP_LENGTH, found, f"{avp} has {size} octets, at least {kind.least} are due")
        decode = kind.decode
        if kind.pin == ASCII:
            if self.frame[found.data : found.stop].isascii():
                self.pin(found, ASCII)
            elif spec.lenient:
                decode = tolerant_text
            else:
                self.judge(avp, found)
                self.learnable = False
        return draft.value(found.data, size, "", decode)

    def typed(self, spec: MembersSpec, found: FoundAvp, draft: PlanDraft) -> int:
        self.enter(found)
        inside = PlanDraft() if spec.lazy else draft
        fields = self.members(spec, found.data, found.stop, inside)
        self.path.pop()
        return draft.lazy(spec.cls, inside.plan(fields)) if spec.lazy else draft.step(spec.cls, fields)

    def stranger(self, spec: MembersSpec, found: FoundAvp) -> None:
        """An AVP the class has no member for: `*[ AVP ]` of the grammar."""
        if found.key in spec.forbidden:
            self.refuse(ResultCode.AVP_NOT_ALLOWED, found, f"{self.known[found.key]} is not allowed here")
        avp = self.known.get(found.key)
        if avp is None:
            vendor = found.key >> 32
            if found.flags & MANDATORY and vendor not in self.ignored:
                raise UnknownAvp(found.key & 0xFFFFFFFF, vendor, self.failed(self.received(found)))
        elif avp.type is GROUPED or avp.type.group is not None:
            self.known_group(found)

    def known_group(self, found: FoundAvp) -> None:
        """Into a group nobody reads here, only for unknown AVPs with the M bit (RFC 6733 section 4.4)."""
        self.enter(found)
        for inner in self.each(found.data, found.stop):
            if inner.flags & UNKNOWN_FLAGS:
                self.refuse_flags(inner)
            self.stranger(NOTHING, inner)
        self.path.pop()

    def enter(self, found: FoundAvp) -> None:
        if len(self.path) >= MAX_DEPTH:
            raise AvpError(ResultCode.UNABLE_TO_COMPLY, f"groups nested deeper than {MAX_DEPTH}")
        self.path.append(found)

    # ---- what the verdict depended on

    def judge(self, avp: Avp[Any], found: FoundAvp) -> None:
        if avp.type.check is not None:
            try:
                avp.type.check(self.frame[found.data : found.stop])
            except ValueError as bad:
                self.refuse(ResultCode.INVALID_AVP_VALUE, found, f"{avp}: {bad}")

    def pin(self, found: FoundAvp, bits: int) -> None:
        self.mask[found.data : found.stop] = bytes((bits,)) * (found.stop - found.data)

    def whole(self, found: FoundAvp, draft: PlanDraft) -> int:
        """The AVP with header and padding; the padding is made up where the last of a group came without."""
        size = found.after - found.start
        add = PADDING[size & 3]
        return draft.value(found.start, size, "", (lambda avp: avp + add) if add else None)

    # ---- refusals

    def refuse(self, result_code: ResultCode, found: FoundAvp, why: str) -> NoReturn:
        """The AVP as it was received, in the hierarchy of its groups."""
        raise self.error(result_code, self.received(found), why)

    def received(self, found: FoundAvp) -> bytes:
        avp = self.frame[found.start : found.stop]
        return avp + PADDING[len(avp) & 3]

    def refuse_flags(self, found: FoundAvp) -> NoReturn:
        why = f"AVP {found.key & 0xFFFFFFFF} has unknown flags {found.flags:#04x}"
        self.refuse(ResultCode.INVALID_AVP_BITS, found, why)

    def refuse_header(self, start: int, end: int, why: str) -> NoReturn:
        """5014: the header, zeros for what is missing of it, and a zero payload of the least size of its type. Its
        length is corrected, for the answer must be readable where the request was not."""
        header = self.frame[start : min(start + 12, end)].ljust(12, b"\0")
        code, flags = int.from_bytes(header[:4], "big"), header[4]
        vendor = int.from_bytes(header[8:], "big") if flags & VENDOR else 0
        avp = self.known.get(vendor << 32 | code)
        payload = bytes(avp.type.least if avp else 0)
        raise self.error(ResultCode.INVALID_AVP_LENGTH, wrap(code, flags, vendor, payload), why)

    def error(self, result_code: ResultCode, failed: bytes, why: str) -> AvpError:
        return AvpError(result_code, why, self.failed(failed))

    def failed(self, avp: bytes) -> bytes:
        """In the hierarchy of its groups."""
        for group in reversed(self.path):
            avp = wrap(group.key & 0xFFFFFFFF, group.flags, group.key >> 32, avp)
        return avp


NOTHING = MembersSpec(object, {}, lenient=True, lazy=False)


def examples(*avps: Avp[Any]) -> bytes:
    """What a 5005 puts into Failed-AVP when one of several would have done."""
    return b"".join(avp.example() for avp in avps)
