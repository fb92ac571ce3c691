"""A request of a session: what it means, what is settled, what is granted, what is kept. Twin of
lua/lib/session.lua."""

from __future__ import annotations

import copy
from typing import NamedTuple

import msgspec

from balances.facts import merge
from balances.model.account import AccountChange
from balances.model.courses import bygones_of, enter_course, incarnation_of, keep_course
from balances.model.cumulative import believed_of, read_counters
from balances.model.decision import ChargeDecision, fresh_line, has_use, line_outcome, longer_reply, wanted
from balances.model.funds import Mode
from balances.model.granting import Asking, Granting
from balances.model.life import activate, end_grace
from balances.model.lines import leave_tier, release, release_hold, release_lines, repool, settle
from balances.model.matching import in_other_units, known_line, with_beside
from balances.model.reached import check_limits
from balances.model.repeats import (
    abandoned_usage,
    former_answer,
    former_of,
    holds_again,
    is_new,
    judge,
    known_answers,
    number_seen,
    remember_answer,
)
from balances.model.spans import PriceSpan, before_change, climb_on, ms_per_unit
from balances.model.sums import SessionSums
from balances.model.thresholds import check_thresholds
from balances.packing import unpack_ladder
from balances.structs.account import CounterAmount
from balances.structs.blob import FORMAT, NO_BLOB, blob_of, raw_of
from balances.structs.charge import (
    CUTS_MAX,
    Ask,
    Charge,
    Course,
    Flag,
    Phase,
    Reply,
    ReportPeriod,
    Result,
    Suspense,
    UsageReport,
)
from balances.structs.record import Usage
from balances.structs.session import SESSION_LINES_MAX, Bygone, Line, Session, SessionState, waits_for_money
from tariffs.climb import climb, lapse_ahead
from tariffs.ladder import Ladder
from tariffs.units import EXACT_MAX, Kind


class _Owned(NamedTuple):
    """What the hold of a line has for what it reports: amounts by bucket, and units."""

    own: dict[int, int]
    granted: int


class SessionDecision(ChargeDecision):
    """A request of a session, being decided."""

    session: Session
    state: int
    may_grant: bool
    refused_as: int | None = None
    was_open = False
    is_measured: bool
    """There was a grant to go by."""
    due_ms = 0
    """When supervision has to look at the session; 0: no sooner than it knows."""
    outcome: bytes

    def __init__(self, charge: Charge, change: AccountChange, context: bytes) -> None:
        super().__init__(charge, change, context)
        self.asks = [copy.copy(ask) for ask in charge.asks]
        self.touched: list[Line | None] = []
        """The line of each ask."""
        self.crowded: list[Line] = []
        self.since_ms: dict[int, int] = {}
        """When what a line reports began: its last report or grant."""
        self.believed: dict[int, int] = {}
        """How much is believed of what a counter gained, by its report."""
        self.settled_cost: list[int] = []
        self.bygone: Bygone | None = None
        """The incarnation that ended, of which the request comes late."""
        self.of_now: list[Line] = []
        """The lines of the session meanwhile."""
        self.adopted: Session | None = None
        """What was authorised before the session began."""
        self.last_usage: dict[int, Usage] = {}
        """The last usage of each line settled, by index of its ask."""


def fresh_session(decision: SessionDecision, incarnation: int, former: list[msgspec.Raw]) -> Session:
    charge = decision.charge
    of = (charge.session, charge.subscriber, charge.service, 0, charge.peer, charge.realm, charge.via)
    began = (decision.change.now_ms, 0, 0, 0, list[int](), list[msgspec.Raw](), list[Line]())
    return Session(FORMAT, *of, *began, incarnation=incarnation, former=former, origin_state=charge.origin_state)


def begin_anew(decision: SessionDecision, session: Session) -> Session:
    """The old incarnation ends: what it still holds is given back, and nothing of it is left but its answers."""
    change = decision.change
    for line in session.lines:
        if line.due_ms:
            change.usages.append(abandoned_usage(line, change.now_ms))
            release(change, line, decision.charge.event_ms)
    begun = fresh_session(decision, session.incarnation + 1, former_of(session))
    begun.touched_ms = session.touched_ms
    if decision.charge.course:
        begun.bygone = bygones_of(session)
    return begun


def enter_incarnation(decision: SessionDecision, session: Session) -> None:
    """Which incarnation of its client's session the request is of."""
    found = incarnation_of(decision.charge, session)
    decision.flags |= found.mark
    if found.bygone is not None:
        decision.bygone, decision.of_now = found.bygone, session.lines
    elif found.is_new:
        decision.session = begin_anew(decision, session)


def answer_repeat(decision: SessionDecision, session: Session) -> Reply | None:
    """A repeat of what is known gets its answer: the reply, None where the request is to be decided."""
    charge, now_ms = decision.charge, decision.change.now_ms
    known, same = known_answers(charge, session)
    former = None if same else former_answer(charge, session, now_ms)
    new = not charge.course and is_new(charge, session, known, now_ms)
    anew = not charge.course and holds_again(charge, session, known, now_ms)
    outcome: bytes | None = None
    contradicts, mark = False, 0
    if former is not None:
        outcome, contradicts = blob_of(former.outcome), former.fingerprint != charge.fingerprint
    elif not new and not anew:
        outcome, contradicts, mark = judge(charge, known)
    decision.flags |= mark
    if outcome is not None:
        if not contradicts:
            return Reply("again", outcome, mark)
        decision.answer_conflict(outcome)
    elif charge.course:
        enter_incarnation(decision, session)
    elif new:
        decision.session = begin_anew(decision, session)
        decision.flags |= Flag.REUSED
    elif not anew and not decision.flags & Flag.RENUMBERED and number_seen(charge, session):
        decision.outcomes = [line_outcome(ask, ask.unit, Result.REMEMBERED, decision.flags) for ask in decision.asks]
        decision.result = Result.REMEMBERED
        return Reply("again", decision.pack_outcome())
    return None


def is_covered(decision: SessionDecision) -> bool:
    """What the only line reports and asks for is held."""
    wanted_units = 0
    for ask in decision.asks:
        wanted_units += max(ask.asked, 0) + sum(max(report.money, 0) for report in ask.reports)
    held = sum(line.granted for line in decision.session.lines if line.due_ms)
    return decision.session.state == SessionState.OPEN and wanted_units <= held


def begins_elsewhere(charge: Charge, *, is_new: bool) -> bool:
    """Of an account that does not pay any more: what is no repeat, and no report of what it began."""
    return is_new or (charge.phase in (Phase.START, Phase.RECORD) and not charge.course)


def find_session(decision: SessionDecision, stored: Session | None) -> Reply | None:
    """The session that the request is about, begun where there is none. A reply where nothing is to be decided."""
    charge = decision.charge
    if stored is None:
        if charge.seek:
            return Reply("elsewhere")
        decision.session, decision.incarnation = fresh_session(decision, 1, []), 1
    else:
        decision.session, decision.incarnation = stored, stored.incarnation
        decision.was_open = stored.state == SessionState.OPEN
        reply = answer_repeat(decision, stored)
        if reply is not None or decision.conflict is not None:
            return reply
        session = decision.session
        if charge.moved_rev and begins_elsewhere(charge, is_new=session is not stored):
            return Reply("elsewhere")
        decision.incarnation = session.incarnation
        if session.subscriber != charge.subscriber:
            if charge.phase != Phase.START or blob_of(session.initial):
                return Reply("other", session.subscriber.encode())  # payer and subscriber are those of the opening
            session.subscriber = charge.subscriber
    # What a request does not tell is the last one told in its session (charging.md 5).
    facts = merge(blob_of(decision.session.facts), blob_of(charge.told))
    if facts != blob_of(charge.facts):
        return Reply("facts", blob_of(decision.session.facts))
    decision.session.facts = raw_of(facts)
    if charge.covered and not is_covered(decision):
        return Reply("lapsed")
    if decision.bygone is not None:
        decision.session.lines, decision.incarnation = decision.bygone.lines, decision.bygone.incarnation
    decision.change.sums = SessionSums((decision.bygone or decision.session).sums)
    return None


def adopt(decision: SessionDecision) -> None:
    """What was authorised before the session began holds nothing any more. A session that was heard of before had its
    own: this one is of somebody who logged in at its port since (charging.md section 8)."""
    if decision.session.reported_ms or decision.bygone is not None:
        decision.adopted = None
    if decision.adopted is not None:
        decision.moved |= release_lines(decision.change, decision.adopted.lines, decision.charge.event_ms)


def enter_state(decision: SessionDecision) -> None:
    """What the request means in the state the session is in (charging.md section 3, late and odd order)."""
    phase, state = decision.charge.phase, decision.session.state
    marks, may_grant = 0, False
    if decision.bygone is not None:
        marks = Flag.LATE
    elif decision.charge.course:
        if state == SessionState.CLOSED and phase == Phase.UPDATE:
            decision.result = Result.SESSION_UNKNOWN
        state, may_grant, marks = enter_course(decision.charge, state)
    elif phase == Phase.START:
        if any(has_use(ask) for ask in decision.asks):  # it is charged, once under the key of the INITIAL
            marks = Flag.UNMATCHED
        if state == SessionState.CLOSED:
            decision.refused_as = Result.UNABLE
        else:
            state, may_grant = SessionState.OPEN, True
    elif phase == Phase.RECORD:  # it has happened: charged in any state, and no session is made of it
        state = state or SessionState.CLOSED
    elif state == SessionState.OPEN:
        may_grant = phase == Phase.UPDATE
    elif state == SessionState.ABANDONED:
        state, may_grant, marks = SessionState.OPEN, phase == Phase.UPDATE, Flag.REOPENED
    elif state == SessionState.CLOSED:
        marks = Flag.LATE
        if phase == Phase.UPDATE:
            decision.result = Result.SESSION_UNKNOWN
    else:
        marks = Flag.UNMATCHED
        state = state or SessionState.UNKNOWN
        if not (phase == Phase.STOP and state == SessionState.REFUSED):
            decision.result = Result.SESSION_UNKNOWN
    if phase == Phase.STOP and decision.bygone is None:
        state = SessionState.CLOSED
    decision.state, decision.may_grant = state, may_grant
    decision.flags |= marks
    measured = marks not in (Flag.UNMATCHED, Flag.LATE) and phase != Phase.RECORD
    decision.is_measured = measured and not decision.charge.course


def matched(decision: SessionDecision, line: Line) -> Line:
    """A line that is matched makes no room for another one of the same request."""
    decision.since_ms.setdefault(id(line), line.touched_ms)
    line.touched_ms = decision.change.now_ms
    return line


def line_for(decision: SessionDecision, ask: Ask) -> Line:
    """The line of the session that an ask is about; a new one where there is none."""
    lines, now_ms = decision.session.lines, decision.change.now_ms
    if ask.set_aside == Suspense.TOO_MANY_LINES:
        line = matched(decision, fresh_line(ask, now_ms))
        decision.crowded.append(line)
        return line
    if known := known_line(decision.asks, lines, ask, ask.secondary):
        return matched(decision, known)
    line = matched(decision, fresh_line(ask, now_ms))
    if len(lines) >= SESSION_LINES_MAX:
        idle = [line for line in lines if not line.due_ms]
        oldest = min(idle, key=lambda line: line.touched_ms, default=None)
        if oldest is None or oldest.touched_ms == now_ms:
            decision.crowded.append(line)  # settled, but neither kept nor granted
            return line
        lines.remove(oldest)
    lines.append(line)
    return line


def match_lines(decision: SessionDecision) -> None:
    if decision.charge.phase in (Phase.UPDATE, Phase.STOP):
        decision.asks = with_beside(decision.asks, decision.session.lines)
    decision.touched = [
        line_for(decision, ask) if decision.refused_as is None or has_use(ask) else None for ask in decision.asks
    ]


def priced_at(
    decision: SessionDecision, line: Line, ladder: Ladder, report: UsageReport, used: int, own: dict[int, int]
) -> int:
    """The price of volume may change inside a grant: use is priced as before or after that, or at the cheaper where
    the client does not know (charging.md section 6)."""
    at_ms, change_ms, change = report.at_ms, line.change_ms, decision.change
    if not change_ms:
        return at_ms
    before_ms, after_ms = min(at_ms, change_ms - 1), max(at_ms, change_ms)
    if report.period != ReportPeriod.INDETERMINATE:
        return before_ms if report.period == ReportPeriod.BEFORE else after_ms

    def cost_at(instant_ms: int) -> int:
        funds = change.funds(Mode.OWN, own)
        funds.used_ms, funds.clock_ms = min(decision.since_ms[id(line)], instant_ms), instant_ms
        values, position = change.counter_values(ladder, with_held=False, at_ms=instant_ms), copy.copy(line)
        lapse_ahead(position, funds.used_ms)
        done = climb(
            ladder, position, used, values, funds, at_ms=instant_ms, ms_per_unit=0, grant=False, most=EXACT_MAX
        )
        return done.cost if done.units == used else EXACT_MAX

    return before_ms if cost_at(before_ms) <= cost_at(after_ms) else after_ms


def price_of(decision: SessionDecision, ask: Ask, line: Line, from_ms: int) -> PriceSpan:
    """What settles a line: the ladder of its hold, or else the one that came with the request; of use by time until
    when, and what comes then. One that comes with a request for a grant is of that alone."""
    if held := blob_of(line.ladder):
        return PriceSpan(held, line.reach_ms, ask.later)
    packed = blob_of(ask.ladder)
    is_of_grant = (decision.charge.phase in (Phase.START, Phase.UPDATE) or decision.believed) and packed
    return PriceSpan(packed, from_ms if is_of_grant else ask.until_ms, ask.later)


def bound_of(decision: SessionDecision, ask: Ask, granted: int) -> int:
    """What is reported beyond this goes to suspense; use that is on record already has no grant to go by."""
    if decision.charge.phase == Phase.RECORD:
        return EXACT_MAX
    factor, quota = decision.charge.overrun_factor, ask.maximum or ask.default
    return min(max(factor * granted, quota) if granted else factor * quota, EXACT_MAX)


def session_longer(decision: SessionDecision) -> int:
    """From when on reported use by time has no price yet, 0: all of it has."""
    missing: list[int] = []
    for ask, line in zip(decision.asks, decision.touched, strict=True):
        if line is None or line.unit != Kind.SECONDS or ask.set_aside:
            continue
        for report in ask.reports:
            bound = believed_of(decision, report, bound_of(decision, ask, line.granted))
            seconds = min(max(report.seconds, 0), bound)
            from_ms = report.at_ms - seconds * 1_000
            price = price_of(decision, ask, line, from_ms)
            if seconds and price.ladder:
                missing.append(price.unknown_from(from_ms, report.at_ms))
    return min((one for one in missing if one > 0), default=0)


class _Read(NamedTuple):
    """What one report says, before it is charged."""

    reported: int
    suspense: int
    unit: int
    why: int
    marks: int


def read_report(decision: SessionDecision, index: int, report: UsageReport, *, is_priced: bool, bound: int) -> _Read:
    """The units to charge, those to set aside, of which unit and why, and marks. What is not in the unit that was
    granted is on record, not charged."""
    ask, line = decision.asks[index], decision.touched[index]
    assert line is not None
    reported = (report.money, report.octets, report.seconds, report.units)[line.unit]
    marks, suspense, unit, why = decision.flags | ask.flags, 0, line.unit, ask.set_aside
    if reported < 0:
        reported = 0
        if ask.secondary == 0:
            marks |= Flag.OTHER_UNIT
        follows = decision.asks[index + 1 : index + 2]
        others = in_other_units(
            ask, report, decision.touched[index + 1] if follows and follows[0].secondary == 1 else None
        )
        if others:
            why = why or (Suspense.OTHER_UNIT if is_priced else Suspense.NO_PRICE)
            unit, suspense = others.pop()
        for other, amount in others:
            marked, at_ms = marks | Flag.SUSPENSE, report.at_ms
            decision.note_usage(ask, other, suspense=amount, set_aside=why, total=line.total, flags=marked, at_ms=at_ms)
    if reported > bound:
        suspense, reported = suspense + reported - bound, bound
        why = why or (Suspense.OVER_BOUND if is_priced else Suspense.NO_PRICE)
    return _Read(reported, suspense, unit, why, marks)


def settle_report(
    decision: SessionDecision, index: int, report: UsageReport, ladder: Ladder | None, owned: _Owned, read: _Read
) -> int:
    """Charges one report, piece by piece, each as if it had been reported by itself. Returns what is left of the
    grant."""
    change, ask, line = decision.change, decision.asks[index], decision.touched[index]
    assert line is not None
    own, granted = owned
    reported, suspense, unit, why, marks = read
    at_ms, ms = report.at_ms, ms_per_unit(line.unit)
    if ladder is not None and not ms:
        at_ms = priced_at(decision, line, ladder, report, reported, own)
    from_ms = at_ms - reported * ms
    price, left = price_of(decision, ask, line, from_ms), reported
    packed, before, going = price.ladder, price.ladder, True
    while going:
        part, cost, exact, charged, counters = left, 0, 0, 0, list[CounterAmount]()
        if ms and left:
            packed, until_ms = price.at(from_ms)
            if packed != before and leave_tier(change, line, own, granted, from_ms):
                granted = 0
            part = before_change(change, unpack_ladder(packed), line, left, from_ms, until_ms, ms)
            change.cuts += part < left
            if change.cuts > CUTS_MAX or 0 < ask.known_ms <= from_ms:  # what is left has no price
                part = 0
        if ladder is not None:
            by, since_ms = unpack_ladder(packed), decision.since_ms[id(line)]
            counters, end_ms = change.counter_snapshot(by, from_ms), from_ms + part * ms
            cost, _, charged, exact = settle(change, line, by, part, granted, own, end_ms, since_ms, len(change.usages))
            granted, from_ms, before = max(granted - part, 0), from_ms + charged * ms, packed
        left -= charged
        going = 0 < part == charged and left > 0
        if left and not going:  # it is set aside
            suspense += left
            why = why or (Suspense.TOO_LARGE if charged < part else Suspense.NO_PRICE)
        if why and not going:
            marks |= Flag.SUSPENSE
        decision.moved = decision.moved or charged > 0 or (why != Suspense.NONE and not going)
        decision.settled_cost[index] += cost
        decision.last_usage[index] = decision.note_usage(
            ask,
            unit,
            packed if ladder is not None else b"",
            used=charged,
            suspense=0 if going else suspense,
            set_aside=Suspense.NONE if going else why,
            total=line.total,
            cost=cost,
            flags=marks,
            at_ms=from_ms if ms else at_ms,
            counters=counters,
            exact=exact if exact != cost else -1,
        )
    return granted


def settle_line(decision: SessionDecision, index: int, owned: _Owned) -> int:
    """All reports of one line. Returns what is left of the grant."""
    ask, line = decision.asks[index], decision.touched[index]
    assert line is not None
    packed = price_of(decision, ask, line, 0).ladder
    ladder = unpack_ladder(packed) if packed else None
    own, granted = owned
    is_charged = ladder is not None and not ask.set_aside
    bound = bound_of(decision, ask, granted) if is_charged else 0
    for report in ask.reports:
        believed = believed_of(decision, report, bound) if is_charged else 0
        read = read_report(decision, index, report, is_priced=ladder is not None, bound=believed)
        bound = max(bound - read.reported, 0)
        marks = read.marks | (Flag.FREE if ask.free else 0)
        if read.reported > granted and decision.is_measured:
            marks |= Flag.OVERRUN
        granted = settle_report(decision, index, report, ladder, _Owned(own, granted), read._replace(marks=marks))
    return granted


def settle_lines(decision: SessionDecision) -> None:
    """Pass 1: settle every reported line and release its hold, one line after the other: what one line used beyond its
    grant must not eat what the next one holds. An INITIAL or TERMINATION releases all holds."""
    charge, change = decision.charge, decision.change
    owned: dict[int, _Owned] = {}
    opened: Line | None = None

    def close(line: Line) -> None:
        repool(change, line, *owned[id(line)], charge.event_ms)
        owned[id(line)] = _Owned({}, 0)

    decision.settled_cost = [0] * len(decision.asks)
    for index, ask in enumerate(decision.asks):
        line = decision.touched[index]
        if opened is not None and opened is not line:
            close(opened)
        opened = line
        if line is None:
            continue
        if id(line) not in owned:
            owned[id(line)] = _Owned(*release_hold(change, line))
            decision.moved |= bool(owned[id(line)].granted or owned[id(line)].own)
        if charge.phase != Phase.START or has_use(ask):
            granted = settle_line(decision, index, owned[id(line)])
            owned[id(line)] = _Owned(owned[id(line)].own, granted)
            decision.cost = min(decision.cost + decision.settled_cost[index], EXACT_MAX)
    if opened is not None:
        close(opened)
    ends = charge.phase == Phase.STOP or charge.course == Course.ENDS
    if (charge.phase == Phase.START or ends) and decision.refused_as is None:
        decision.moved |= release_lines(change, decision.session.lines, charge.event_ms)
    end_grace(change)
    change.expire_buckets()
    decision.balance = check_thresholds(change)
    check_limits(change, decision.asks)


def grant_lines(decision: SessionDecision) -> None:
    """Passes 2 and 3: the minimum for each asking line, in priority then message order; then a fair part of the
    rest."""
    asking: list[Asking] = []
    asked_for: list[Line] = []
    for index, ask in enumerate(decision.asks):
        why, line = int(Result.NO_GRANT), decision.touched[index]
        if decision.refused_as is not None:
            why = decision.refused_as
        elif decision.may_grant and ask.asked >= 0:
            assert line is not None
            odd = any(line is other for other in (*decision.crowded, *asked_for))
            asked_for.append(line)
            why = Result.UNABLE if odd else decision.refusal_of(ask)
            if why == Result.OK:
                asking.append(Asking(index, ask, line, wanted(ask)))
        elif decision.result == Result.SESSION_UNKNOWN:
            why = Result.SESSION_UNKNOWN
        unit, debited = (line.unit, line.debited) if line is not None else (ask.unit, 0)
        cost = decision.settled_cost[index]
        decision.outcomes.append(line_outcome(ask, unit, why, decision.flags, cost=cost, debited=debited))
    granting = Granting(decision.change, decision.session.lines, decision.outcomes, decision.charge.event_ms)
    decision.moved |= granting.grant(asking)


def note_refusals(decision: SessionDecision) -> None:
    """A line that is refused for what may change is told when it does; a secondary one is refused with its line, or
    that goes on alone."""
    for index, outcome in enumerate(decision.outcomes):
        line = decision.touched[index]
        if decision.may_grant and line and outcome.result in (Result.CREDIT_LIMIT, Result.DENIED):
            line.final = True
        if outcome.secondary and outcome.result == Result.NO_GRANT:
            main = decision.outcomes[index - 1]
            outcome.result = main.result
            if line and main.granted and not line.due_ms:
                line.ladder = NO_BLOB


def note_unpaid(decision: SessionDecision) -> None:
    """A session that is only recorded is granted nothing: whether its account could be granted one unit beyond what is
    paid of a line that goes on is looked at here, so that it waits for money as one does that is refused it
    (charging.md section 8)."""
    charge, change = decision.charge, decision.change
    is_recorded = charge.phase == Phase.RECORD and charge.course
    if not is_recorded or decision.bygone is not None or decision.state != SessionState.OPEN:
        return
    for ask, line in zip(decision.asks, decision.touched, strict=True):
        if ask.asked < 0 or line is None or line.unit != ask.unit:
            continue
        why, price = decision.refusal_of(ask), price_of(decision, ask, line, charge.event_ms)
        if why == Result.OK and price.ladder:
            position = copy.copy(line)
            lapse_ahead(position, charge.event_ms)
            least = position.paid_ahead + 1
            further = climb_on(
                change,
                price,
                position,
                least,
                change.funds(Mode.OPEN, {}),
                at_ms=charge.event_ms,
                unit=line.unit,
                grant=True,
                sums=SessionSums([], held=True),
                of_line=line,
            )
            why = Result.OK if further.units == least else Result.CREDIT_LIMIT
        line.final = why in (Result.CREDIT_LIMIT, Result.DENIED)


def note_grants(decision: SessionDecision) -> None:
    """A refusal is on record too, at price 0, and so is a grant: on the record of the use it follows, or on its own."""
    for index, ask in enumerate(decision.asks):
        outcome, line = decision.outcomes[index], decision.touched[index]
        if usage := decision.last_usage.get(index):
            usage.granted, usage.result = outcome.granted, outcome.result
        elif outcome.granted:
            total = line.total if line else 0
            decision.note_usage(ask, outcome.unit, blob_of(ask.ladder), total=total, granted=outcome.granted)
        elif outcome.result not in (Result.OK, Result.NO_GRANT):
            decision.note_usage(ask, outcome.unit, result=outcome.result)


def refuse_command(decision: SessionDecision) -> None:
    """Whether the command is refused as a whole; then it releases every hold (RFC 8506 table 6)."""
    charge = decision.charge
    is_start = charge.phase == Phase.START
    if charge.course:
        return  # it runs, whatever is answered
    if decision.refused_as is not None:
        decision.result = decision.refused_as
    elif decision.may_grant and decision.outcomes and (is_start or charge.single):
        why, portal = decision.command_result(), any(ask.portal for ask in decision.asks)
        if why != Result.OK and not (portal and why == Result.CREDIT_LIMIT):
            decision.result = why
            decision.state = SessionState.REFUSED if is_start else SessionState.CLOSED
            if not is_start:
                release_lines(decision.change, decision.session.lines, charge.event_ms)
                decision.change.expire_buckets()


def due_of(decision: SessionDecision) -> int:
    """When supervision has to look at the session next. One that is open is the client's that asked last."""
    charge, session, now_ms = decision.charge, decision.session, decision.change.now_ms
    if decision.state == SessionState.OPEN:
        session.forget_ms = 0
        if decision.bygone is None:
            if charge.origin_state or session.peer != charge.peer:
                session.origin_state = charge.origin_state
            session.peer, session.realm, session.via = charge.peer, charge.realm, charge.via
            session.identification = charge.identification or session.identification
        return min([now_ms + charge.idle_ms, *(line.due_ms for line in session.lines if line.due_ms)])
    if session.forget_ms == 0 or charge.phase == Phase.STOP:
        session.forget_ms = now_ms + charge.remember_ms
    elif decision.moved:  # remembered for so long after the last that was charged
        session.forget_ms = max(session.forget_ms, now_ms + charge.remember_ms)
    return session.forget_ms


def note_depleted(decision: SessionDecision) -> None:
    """A client that runs its session by itself goes on, whatever is answered: where it waits for money and holds
    none, the network has to be told (charging.md section 8)."""
    if not decision.charge.course or decision.bygone is not None or decision.state != SessionState.OPEN:
        return
    if any(waits_for_money(line) for line in decision.session.lines):
        decision.change.reauthorize = [*decision.change.reauthorize, "depleted"]


def note_replaced(decision: SessionDecision) -> None:
    """Those it takes the place of are told to end."""
    told = [f"replaced {session}" for session in decision.charge.replaces]
    decision.change.reauthorize = [*decision.change.reauthorize, *told]


def keep_session(decision: SessionDecision) -> None:
    charge, change, session = decision.charge, decision.change, decision.session
    due_ms = due_of(decision)
    if session.due_ms == 0 or due_ms < session.due_ms:
        session.due_ms = decision.due_ms = due_ms
    session.state = decision.state
    if charge.course and decision.bygone is None:
        keep_course(charge, session)
    session.touched_ms = max(change.now_ms, session.touched_ms + 1)  # names this touch: no other one has it
    decision.outcome = decision.pack_outcome()
    late = decision.refused_as is not None
    remember_answer(session, charge, decision.outcome, change.now_ms, moved=decision.moved, late=late)


def decide_session(decision: SessionDecision, stored: Session | None) -> Reply | None:
    """What is to be written stands in the decision then; or the reply, and nothing is to be written."""
    reply = find_session(decision, stored)
    if reply is not None or decision.conflict is not None:
        return reply
    enter_state(decision)
    match_lines(decision)
    read_counters(decision)
    if missing_ms := session_longer(decision):
        return longer_reply(missing_ms)
    adopt(decision)
    settle_lines(decision)
    grant_lines(decision)
    note_refusals(decision)
    note_unpaid(decision)
    note_grants(decision)
    decision.debited = min(sum(line.debited for line in decision.session.lines), EXACT_MAX)
    if decision.bygone is not None:
        decision.session.lines = decision.of_now
    refuse_command(decision)
    if decision.moved:
        activate(decision.change)
    opened = decision.state == SessionState.OPEN and not decision.was_open
    decision.moved |= opened or decision.charge.phase == Phase.STOP
    note_depleted(decision)
    note_replaced(decision)
    keep_session(decision)
    return None
