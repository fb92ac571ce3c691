"""What was seen before: answers that repeats get again, numbers that were charged, incarnations of a session. Twin of
lua/lib/repeats.lua (charging.md section 3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from balances.packing import unpack_answer
from balances.structs.blob import blob_of, raw_of
from balances.structs.charge import Charge, Flag, Phase, Result
from balances.structs.record import Usage
from balances.structs.session import (
    ANSWERS_KEPT,
    FORMER_KEPT,
    INTERVALS_MAX,
    SAME_MS,
    Answer,
    Line,
    Session,
    SessionState,
)

_encode = msgspec.msgpack.encode


def abandoned_usage(line: Line, now_ms: int) -> Usage:
    of = (line.rating_group, line.service_id, line.unit)
    return Usage(*of, 0, 0, line.total, 0, 0, Result.OK, Flag.ABANDONED, "", now_ms, secondary=line.secondary)


def judge(charge: Charge, known: Iterable[Answer]) -> tuple[bytes | None, bool, int]:
    """Seen before? (charging.md section 3.) The stored outcome, or None to decide (anew); whether the repeat
    contradicts what was answered; what it is flagged with."""
    other = None
    for answer in known:
        if answer.key != charge.key:
            continue
        if answer.fingerprint == charge.fingerprint:
            if answer.end_to_end == charge.end_to_end:
                return blob_of(answer.outcome), False, 0
            if not answer.moved:
                return None, False, 0
            return blob_of(answer.outcome), False, 0 if charge.resend else Flag.EQUAL
        if other is None or answer.end_to_end == charge.end_to_end:
            other = answer
    if other is None:
        return None, False, 0
    if charge.resend or other.end_to_end == charge.end_to_end:
        return blob_of(other.outcome), True, Flag.CONFLICT
    return None, False, Flag.RENUMBERED


def known_answers(charge: Charge, session: Session) -> tuple[list[Answer], bool]:
    """The answers of this incarnation under the key of the request, and whether one was to its End-to-End-Id."""
    packed = [session.initial] if charge.phase == Phase.START and blob_of(session.initial) else []
    known = [answer for answer in map(unpack_answer, packed + session.answers) if answer.key == charge.key]
    return known, any(answer.end_to_end == charge.end_to_end for answer in known)


def is_same(charge: Charge, answer: Answer, now_ms: int) -> bool:
    return answer.end_to_end == charge.end_to_end and (charge.resend or now_ms - answer.at_ms <= SAME_MS)


def former_answer(charge: Charge, session: Session, now_ms: int) -> Answer | None:
    """What a repeat was answered in an earlier incarnation, None when it is none: within four minutes the End-to-End-Id
    says so, and with T for as long as the answer is kept."""
    for answer in map(unpack_answer, session.former):
        if answer.key == charge.key and is_same(charge, answer, now_ms):
            return answer
    return None


def _is_another(charge: Charge, session: Session, known: list[Answer], now_ms: int) -> bool:
    """An INITIAL that is no repeat of one before."""
    if charge.phase != Phase.START or charge.resend or not blob_of(session.initial):
        return False
    return not any(is_same(charge, answer, now_ms) for answer in [unpack_answer(session.initial), *known])


def is_new(charge: Charge, session: Session, known: list[Answer], now_ms: int) -> bool:
    """It begins a new incarnation once something came after the last one, or for somebody else."""
    another = _is_another(charge, session, known, now_ms)
    return another and (session.reported or session.subscriber != charge.subscriber)


def holds_again(charge: Charge, session: Session, known: list[Answer], now_ms: int) -> bool:
    """Before any use it only replaces what is held, and so does an equal one when that has expired."""
    idle = session.state == SessionState.ABANDONED and not session.reported
    return idle and _is_another(charge, session, known, now_ms)


def former_of(session: Session) -> list[msgspec.Raw]:
    """The answers of an incarnation that ends, before those of earlier ones. It may have begun without an INITIAL."""
    initial = [session.initial] if blob_of(session.initial) else []
    return [*initial, *reversed(session.answers), *session.former][:FORMER_KEPT]


def _is_replaced(packed: msgspec.Raw, charge: Charge) -> bool:
    """The request was decided anew: its old refusal is worth nothing."""
    answer = unpack_answer(packed)
    return (answer.key, answer.fingerprint) == (charge.key, charge.fingerprint)


def remember_answer(session: Session, charge: Charge, outcome: bytes, now_ms: int, *, moved: bool, late: bool) -> None:
    """Keep the answer and the number. late: an INITIAL after its TERMINATION, which begins nothing."""
    of = (charge.key, charge.fingerprint, charge.end_to_end, moved, raw_of(outcome), now_ms)
    answer = raw_of(_encode(Answer(*of)))
    opens = charge.phase == Phase.START and not late
    if opens:  # the INITIAL before it is kept as any other request is
        session.initial, answer = answer, session.initial
    session.answers = [kept for kept in session.answers if not _is_replaced(kept, charge)]
    if not opens or (blob_of(answer) and not _is_replaced(answer, charge)):
        session.answers.append(answer)
    del session.answers[:-ANSWERS_KEPT]
    session.reported |= charge.phase != Phase.START
    if moved and charge.countable:
        remember_number(session.seen, _number(charge))


def _number(charge: Charge) -> int:
    return charge.phase * 2**32 + charge.number


def number_seen(charge: Charge, session: Session) -> bool:
    pairs = zip(session.seen[::2], session.seen[1::2], strict=True)
    return charge.countable and any(low <= _number(charge) <= high for low, high in pairs)


def remember_number(seen: list[int], number: int) -> None:
    """Add a number to flat, sorted, disjoint intervals."""
    at = 0
    while at < len(seen) and seen[at + 1] < number - 1:
        at += 2
    if at < len(seen) and seen[at] <= number + 1:
        seen[at], seen[at + 1] = min(seen[at], number), max(seen[at + 1], number)
        if at + 2 < len(seen) and seen[at + 2] <= seen[at + 1] + 1:
            seen[at + 1] = seen[at + 3]
            del seen[at + 2 : at + 4]
    else:
        seen[at:at] = [number, number]
        if len(seen) > 2 * INTERVALS_MAX:  # the gap longest ago counts as seen: better not charged than charged twice
            del seen[1:3]
