"""A session that its client runs by itself and reports by counters: which incarnation a request is of, and whether it
begins a new one (charging.md section 8). Twin of lua/lib/courses.lua."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from balances.model.matching import known_line
from balances.structs.blob import blob_of
from balances.structs.charge import SAME_START_MS, Charge, Course, Flag, Phase
from balances.structs.session import BYGONES_KEPT, Bygone, Session, SessionState


class CourseOwner(Protocol):
    """What is asked here of a decision (`session.SessionDecision`)."""

    charge: Charge
    session: Session
    bygone: Bygone | None


def is_parted(one_ms: int, other_ms: int, restarted_ms: int) -> bool:
    """Whether the client restarted between two begins: what begins at that instant begins after it."""
    return (one_ms < restarted_ms) != (other_ms < restarted_ms)


def is_of(named: str, begun_ms: int, restarted_ms: int, token: str, began_ms: int) -> bool | None:
    """Whether what a request names is what an incarnation is known by; None where they have nothing in common."""
    if named and token:
        return named == token
    if not begun_ms or not began_ms:
        return None
    if is_parted(begun_ms, began_ms, restarted_ms):
        return False
    return abs(begun_ms - began_ms) <= SAME_START_MS


class _Compared(NamedTuple):
    all_below: bool
    """And there is one at least."""
    none_below: bool


def compare_counters(charge: Charge, session: Session) -> _Compared:
    """Which counters of a request are below what was counted."""
    below = list[bool]()
    for ask in charge.asks:
        line = known_line(charge.asks, session.lines, ask, ask.secondary)
        for report in ask.reports if line is not None else []:
            assert line is not None
            shown = (report.money, report.octets, report.seconds, report.units)[line.unit]
            for counter in report.cumulative[:1] if shown >= 0 else []:
                below += [shown < reading.value for reading in line.readings if reading.place == counter.place]
    return _Compared(all(below) and bool(below), not any(below))


def is_restarted(charge: Charge, session: Session) -> bool:
    """Whether its client restarted: it said so, or it begins later than the last report, or its time or all its
    counters are below the last ones in a newer report. Else time and counters that go on are the same session. What
    begins at the instant of a Stop, for clients tell no less than a second, begins after it."""
    follows = charge.course == Course.BEGINS and session.state == SessionState.CLOSED
    if charge.event_ms < session.reported_ms + (0 if follows else 1):
        return False
    if charge.began_ms and session.began_ms and is_parted(charge.began_ms, session.began_ms, charge.restarted_ms):
        return True
    counters = compare_counters(charge, session)
    if charge.lasted_s > 0 and charge.lasted_s >= session.lasted_s and counters.none_below:
        return False
    fell = 0 <= charge.lasted_s < session.lasted_s
    return charge.course == Course.BEGINS or fell or counters.all_below


def bygones_of(session: Session) -> list[Bygone]:
    """The incarnation that ends, as it is kept for reports that come late, before those of earlier ones."""
    ended = Bygone(session.incarnation, session.token, session.began_ms, session.lines, session.sums)
    return [ended, *session.bygone][:BYGONES_KEPT]


class FoundIncarnation(NamedTuple):
    """Of the incarnation in force, unless one of these is set."""

    bygone: Bygone | None = None
    is_new: bool = False
    mark: int = 0


def incarnation_of(charge: Charge, session: Session) -> FoundIncarnation:
    """What a request is of a session that is known. A reference says more than a begin."""
    said = charge.token, charge.began_ms, charge.restarted_ms
    if charge.token and charge.token != session.token:
        for bygone in session.bygone:
            if bygone.token == charge.token:
                return FoundIncarnation(bygone)
    if is_of(*said, session.token, session.began_ms) is not False:
        return FoundIncarnation()
    for bygone in session.bygone:
        if is_of(*said, bygone.token, bygone.began_ms):
            return FoundIncarnation(bygone)
    if is_restarted(charge, session):
        return FoundIncarnation(is_new=True, mark=Flag.REUSED)
    return FoundIncarnation(mark=Flag.CLOCK)


def keep_course(charge: Charge, session: Session) -> None:
    """What the newest report says of the session."""
    session.met_begin |= charge.course == Course.BEGINS
    if charge.lasted_s < 0 and not charge.token:
        return  # it says nothing of it
    if charge.event_ms < session.reported_ms:
        return
    session.reported_ms = charge.event_ms
    session.token = charge.token or session.token
    session.began_ms = charge.began_ms or session.began_ms
    if charge.lasted_s >= 0:
        session.lasted_s = charge.lasted_s


def counts_since(decision: CourseOwner) -> int | None:
    """Since when a counter counts, None where nobody knows."""
    charge, session, bygone = decision.charge, decision.session, decision.bygone
    if bygone is not None:
        return bygone.began_ms or None
    if not charge.course:
        return session.opened_ms if blob_of(session.initial) else None
    if not session.met_begin:
        return None
    return min(session.began_ms or session.opened_ms, session.opened_ms)


class EnteredCourse(NamedTuple):
    state: int
    may_grant: bool
    marks: int


def enter_course(charge: Charge, state: int) -> EnteredCourse:
    """What the request means in the state of such a session: it goes on, whatever it was granted."""
    if state == SessionState.CLOSED:
        return EnteredCourse(state, False, Flag.LATE)
    marks = 0
    if state == SessionState.ABANDONED:
        marks = Flag.REOPENED
    elif state != SessionState.OPEN and charge.course != Course.BEGINS:
        marks = Flag.UNMATCHED
    if charge.course == Course.ENDS:
        return EnteredCourse(SessionState.CLOSED, False, marks)
    return EnteredCourse(SessionState.OPEN, charge.phase in (Phase.START, Phase.UPDATE), marks)
