"""One charge being decided: what it means, what is settled, what is granted. Twin of the parts of lua/charge.lua."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from balances.model.account import AccountChange
from balances.model.funds import Mode
from balances.model.spans import PriceSpan, before_change, ms_per_unit
from balances.packing import unpack_ladder
from balances.structs.account import CounterAmount, SuspendReasons
from balances.structs.blob import NO_BLOB, blob_of, raw_of
from balances.structs.charge import (
    CUTS_MAX,
    Ask,
    Charge,
    Flag,
    LineOutcome,
    Outcome,
    Phase,
    ReportPeriod,
    Result,
    Suspense,
    UsageReport,
)
from balances.structs.record import Usage
from balances.structs.session import SESSION_LINES_MAX, Answer, Line, Session, SessionState
from tariffs.climb import climb, lapse_ahead
from tariffs.ladder import Ladder
from tariffs.units import EXACT_MAX, Kind


def asked_ladder(ask: Ask) -> Ladder | None:
    packed = blob_of(ask.ladder)
    return unpack_ladder(packed) if packed else None


def fresh_line(ask: Ask, now_ms: int) -> Line:
    return Line(ask.rating_group, ask.service_id, ask.unit, hold=[], touched_ms=now_ms, secondary=ask.secondary)


def wanted(ask: Ask, *, event: bool = False) -> int:
    if event and ask.asked < 0:  # an amount of zero was named
        return 0
    want = ask.asked if ask.asked > 0 else ask.default
    if not event:
        want = max(want, ask.minimum)
    return min(want, ask.maximum) if ask.maximum else want


def line_outcome(
    ask: Ask, unit: int, why: int, flags: int, *, granted: int = 0, cost: int = 0, debited: int = 0
) -> LineOutcome:
    return LineOutcome(
        ask.rating_group, ask.service_id, unit, why, granted, 0, 0, False, cost, debited, flags, "", ask.secondary
    )


def has_use(ask: Ask) -> bool:
    amounts = (max(report.money, report.octets, report.seconds, report.units) for report in ask.reports)
    return ask.set_aside != Suspense.NONE or any(amount > 0 for amount in amounts)


def in_other_units(ask: Ask, report: UsageReport, beside: Line | None) -> list[tuple[int, int]]:
    """What a report of the line names in other units than it counts in. All of it is set aside, once: with the line,
    and not what is charged beside it, nor again there (charging.md section 2: nothing reported is lost)."""
    if ask.secondary == 1:
        return []
    amounts = (report.money, report.octets, report.seconds, report.units)
    return [
        (unit, amount) for unit, amount in enumerate(amounts) if amount > 0 and (beside is None or beside.unit != unit)
    ]


class ChargeDecision:
    """One charge being decided."""

    def __init__(self, change: AccountChange, charge: Charge) -> None:
        self.change = change
        self.charge = charge
        self.flags = charge.flags
        self.mark: int = 0
        self.outcomes: list[LineOutcome] = []
        self.result: int = Result.OK
        self.moved = False
        self.cost = self.debited = self.balance = 0
        self.enough = True
        self.refund_until_ms = 0
        """Expiry of the bucket that units were given back to."""
        self.crowded: list[Line] = []
        self.since_ms: dict[int, int] = {}
        """When what a line reports began: its last report or grant."""
        self.last_usage: dict[int, Usage] = {}
        """The last usage of each line settled, by index of its ask."""

    def judge(self, known: Iterable[Answer]) -> tuple[bytes | None, bool]:
        """(stored outcome or None to decide anew, the repeat contradicts it): charging.md section 3. `mark` becomes
        what is unusual about the repeat."""
        charge, other = self.charge, None
        for answer in known:
            if answer.key != charge.key:
                continue
            if answer.fingerprint == charge.fingerprint:
                if answer.end_to_end == charge.end_to_end:
                    return blob_of(answer.outcome), False
                if not answer.moved:
                    return None, False
                self.mark = 0 if charge.resend else Flag.EQUAL
                return blob_of(answer.outcome), False
            if other is None or answer.end_to_end == charge.end_to_end:
                other = answer
        if other is None:
            return None, False
        if charge.resend or other.end_to_end == charge.end_to_end:
            return blob_of(other.outcome), True
        self.flags |= Flag.RENUMBERED
        return None, False

    def refusal(self, ask: Ask) -> int:
        """Why an asking line gets nothing before money is looked at; OK when it may ask."""
        state = self.change.account.state
        if ask.refusal != Result.OK:
            return ask.refusal
        if ask.emergency:
            return Result.OK
        if state & (SuspendReasons.BARRED | SuspendReasons.FRAUD | SuspendReasons.OPERATOR | SuspendReasons.CLOSED):
            return Result.DENIED
        if state & SuspendReasons.CREDIT and not ask.free:
            return Result.CREDIT_LIMIT
        return Result.OK

    def usage(self, ask: Ask, unit: int, packed: bytes = b"", **fields: Any) -> Usage:
        """packed: the ladder that priced it"""
        known: dict[str, Any] = dict.fromkeys(("used", "suspense", "total", "cost", "granted"), 0)
        known |= {"result": Result.OK, "flags": self.flags, "tag": "", "at_ms": self.charge.event_ms, "counters": []}
        known["set_aside"] = Suspense.TOO_LARGE if fields.get("suspense") else Suspense.NONE
        if packed:
            ladder = unpack_ladder(packed)
            known |= {"tag": ladder.tag, "terms": ladder.terms, "ladder": raw_of(packed)}
        usage = Usage(ask.rating_group, ask.service_id, unit, secondary=ask.secondary, **(known | fields))
        self.change.usages.append(usage)
        return usage

    def command_result(self) -> int:
        """A command is refused when all its lines are."""
        if any(line.result in (Result.OK, Result.NOT_APPLICABLE, Result.NO_GRANT) for line in self.outcomes):
            return Result.OK
        return self.outcomes[0].result if self.outcomes else Result.OK

    def outcome(self) -> Outcome:
        low = self.balance < self.change.account.resume_at
        return Outcome(self.result, self.outcomes, self.cost, self.debited, self.balance, self.enough, low)

    # --- sessions -----------------------------------------------------------------------------------------------

    def enter_state(self, session: Session) -> tuple[int, bool, int | None, int]:
        """What the request means in the session's state: (new state, may grant, refused as, marks)."""
        phase, state = self.charge.phase, session.state
        marks, may_grant = 0, False
        if phase == Phase.START:
            if any(has_use(ask) for ask in self.charge.asks):  # it is charged, once under the key of the INITIAL
                marks = Flag.UNMATCHED
                self.flags |= marks
            if state == SessionState.CLOSED:
                return state, False, Result.UNABLE, marks
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
                self.result = Result.SESSION_UNKNOWN
        else:
            marks = Flag.UNMATCHED
            state = state or SessionState.UNKNOWN
            if not (phase == Phase.STOP and state == SessionState.REFUSED):
                self.result = Result.SESSION_UNKNOWN
        if phase == Phase.STOP:
            state = SessionState.CLOSED
        self.flags |= marks
        return state, may_grant, None, marks

    def _matched(self, line: Line) -> Line:
        """A line that is matched makes no room for another one of the same request."""
        self.since_ms.setdefault(id(line), line.touched_ms)
        line.touched_ms = self.change.now_ms
        return line

    def _known_line(self, session: Session, ask: Ask, secondary: int) -> Line | None:
        """A report naming only the rating group matches its only live line, or its only one when none is live, unless
        that is named by another one: a hold that expired, or was not restored, does not make a new line of it."""
        same_group = [
            line for line in session.lines if line.rating_group == ask.rating_group and line.secondary == secondary
        ]
        for line in same_group:
            if line.service_id == ask.service_id:
                return line
        if ask.service_id >= 0:
            return None
        named = {(other.rating_group, other.service_id) for other in self.charge.asks}
        unnamed = [line for line in same_group if (line.rating_group, line.service_id) not in named]
        found = [line for line in unnamed if line.due_ms] or (unnamed if ask.reports else [])
        return found[0] if len(found) == 1 else None

    def with_beside(self, session: Session) -> None:
        """What is settled beside a line is what was granted beside it, whatever the tariff says now (charging.md 4): a
        line that was granted with something beside it is settled with that, one that was granted alone with nothing."""
        told, found = self.charge.asks, list[Ask]()
        for index, ask in enumerate(told):
            after = told[index + 1] if index + 1 < len(told) and told[index + 1].secondary else None
            main = self._known_line(session, ask, 0)
            found.append(ask)
            if ask.secondary or ask.set_aside == Suspense.TOO_MANY_LINES or main is None or not blob_of(main.ladder):
                continue
            other = self._known_line(session, ask, 1)
            if after is not None and (other is None or not blob_of(other.ladder)):
                after.reports = []
            elif after is None and other is not None and blob_of(other.ladder):
                beside = copy.copy(ask)
                beside.unit, beside.secondary, beside.asked, beside.ladder = other.unit, 1, -1, NO_BLOB
                if other.granted:  # not those of another unit
                    beside.default = beside.maximum = other.granted
                other.reach_ms = beside.known_ms = 0  # what would come later is not known any more
                found.append(beside)
        self.charge.asks = found

    def line_for(self, session: Session, ask: Ask) -> Line:
        """The line of the session that it is about; a new one where there is none."""
        if ask.set_aside == Suspense.TOO_MANY_LINES:
            line = self._matched(fresh_line(ask, self.change.now_ms))
            self.crowded.append(line)
            return line
        if known := self._known_line(session, ask, ask.secondary):
            return self._matched(known)
        line = self._matched(fresh_line(ask, self.change.now_ms))
        if len(session.lines) >= SESSION_LINES_MAX:
            idle = [line for line in session.lines if not line.due_ms]
            oldest = min(idle, key=lambda line: line.touched_ms, default=None)
            if oldest is None or oldest.touched_ms == self.change.now_ms:
                self.crowded.append(line)  # settled, but neither kept nor granted
                return line
            session.lines.remove(oldest)
        session.lines.append(line)
        return line

    def priced_at(self, line: Line, ladder: Ladder, report: UsageReport, used: int, own: dict[int, int]) -> int:
        """The price of volume may change inside a grant: use is priced as before or after that, or at the cheaper where
        the client does not know (charging.md section 6)."""
        at_ms, change_ms = report.at_ms, line.change_ms
        if not change_ms:
            return at_ms
        before_ms, after_ms = min(at_ms, change_ms - 1), max(at_ms, change_ms)
        if report.period != ReportPeriod.INDETERMINATE:
            return before_ms if report.period == ReportPeriod.BEFORE else after_ms

        def cost_at(instant_ms: int) -> int:
            funds = self.change.funds(Mode.OWN, own)
            funds.used_ms = min(self.since_ms[id(line)], instant_ms)
            values, position = self.change.counters(ladder, with_held=False, at_ms=instant_ms), copy.copy(line)
            lapse_ahead(position, funds.used_ms)
            done = climb(
                ladder,
                position,
                used,
                values,
                funds,
                at_ms=instant_ms,
                ms_per_unit=0,
                grant=False,
                most=EXACT_MAX,
            )
            return done.cost if done.units == used else EXACT_MAX

        return before_ms if cost_at(before_ms) <= cost_at(after_ms) else after_ms

    def price_of(self, ask: Ask, line: Line, from_ms: int) -> PriceSpan:
        """What settles a line: the ladder of its hold, or else the one that came with the request; of use by time until
        when, and what comes then. One that comes with a request for a grant is of that alone."""
        if held := blob_of(line.ladder):
            return PriceSpan(held, line.reach_ms, ask.later)
        packed = blob_of(ask.ladder)
        is_of_grant = self.charge.phase in (Phase.START, Phase.UPDATE) and packed
        return PriceSpan(packed, from_ms if is_of_grant else ask.until_ms, ask.later)

    def bound(self, ask: Ask, granted: int) -> int:
        """What is reported beyond this goes to suspense; use that is on record already has no grant to go by."""
        if self.charge.phase == Phase.RECORD:
            return EXACT_MAX
        factor, quota = self.charge.overrun_factor, ask.maximum or ask.default
        return min(max(factor * granted, quota) if granted else factor * quota, EXACT_MAX)

    def longer(self, touched: list[Line | None]) -> int:
        """From when on reported use by time has no price yet, 0: all of it has. It is rated, and the request comes
        again."""
        missing: list[int] = []
        for ask, line in zip(self.charge.asks, touched, strict=True):
            if line is None or line.unit != Kind.SECONDS or ask.set_aside:
                continue
            for report in ask.reports:
                seconds = min(max(report.seconds, 0), self.bound(ask, line.granted))
                from_ms = report.at_ms - seconds * 1_000
                price = self.price_of(ask, line, from_ms)
                if seconds and price.ladder:
                    missing.append(price.unknown_from(from_ms, report.at_ms))
        return min((one for one in missing if one), default=0)

    def settle_line(
        self, index: int, line: Line, beside: Line | None, own: dict[int, int], granted: int, marks: int
    ) -> int:
        """All reports of one line; returns what is left of the grant.

        beside:  the line that counts the same reports in another unit
        """
        ask = self.charge.asks[index]
        change, charge = self.change, self.charge
        ladder = unpack_ladder(packed) if (packed := self.price_of(ask, line, 0).ladder) else None
        bound = 0 if ladder is None or ask.set_aside else self.bound(ask, granted)
        measured = marks not in (Flag.UNMATCHED, Flag.LATE) and charge.phase != Phase.RECORD
        ms = ms_per_unit(line.unit)
        for report in ask.reports:
            reported = (report.money, report.octets, report.seconds, report.units)[line.unit]
            mark, suspense, unit, why = self.flags | ask.flags, 0, line.unit, ask.set_aside
            if reported < 0:  # not in the unit that was granted: on record, not charged
                reported = 0
                if ask.secondary == 0:
                    mark |= Flag.OTHER_UNIT
                others = in_other_units(ask, report, beside)
                if others:
                    why = why or (Suspense.OTHER_UNIT if ladder is not None else Suspense.NO_PRICE)
                    unit, suspense = others.pop()
                for other, amount in others:
                    marked, at_ms = mark | Flag.SUSPENSE, report.at_ms
                    self.usage(ask, other, suspense=amount, set_aside=why, total=line.total, flags=marked, at_ms=at_ms)
            if reported > bound:
                suspense, reported = suspense + reported - bound, bound
                why = why or (Suspense.OVER_BOUND if ladder is not None else Suspense.NO_PRICE)
            bound -= reported
            if reported > granted and measured:
                mark |= Flag.OVERRUN
            if ask.free:
                mark |= Flag.FREE
            at_ms = report.at_ms
            if ladder is not None and not ms:
                at_ms = self.priced_at(line, ladder, report, reported, own)
            from_ms = at_ms - reported * ms
            price, left = self.price_of(ask, line, from_ms), reported
            packed, before, going = price.ladder, price.ladder, True
            while going:  # piece by piece, each as if it had been reported by itself
                part, cost, charged, counters = left, 0, 0, list[CounterAmount]()
                if ms and left:
                    packed, until_ms = price.at(from_ms)
                    if packed != before and change.leave_tier(line, own, granted, from_ms):
                        granted = 0
                    part = before_change(change, unpack_ladder(packed), line, left, from_ms, until_ms, ms)
                    change.cuts += part < left
                    if change.cuts > CUTS_MAX or 0 < ask.known_ms <= from_ms:  # what is left has no price
                        part = 0
                if ladder is not None:
                    by, since_ms = unpack_ladder(packed), self.since_ms[id(line)]
                    counters, end_ms = change.counter_snapshot(by, from_ms), from_ms + part * ms
                    cost, _, charged = change.settle(line, by, part, granted, own, end_ms, since_ms, len(change.usages))
                    granted, from_ms, before = max(granted - part, 0), from_ms + charged * ms, packed
                left -= charged
                going = 0 < part == charged and left > 0
                if left and not going:  # it is set aside
                    suspense, why = (
                        suspense + left,
                        why or (Suspense.TOO_LARGE if charged < part else Suspense.NO_PRICE),
                    )
                if why and not going:
                    mark |= Flag.SUSPENSE
                self.moved = self.moved or charged > 0 or (why != Suspense.NONE and not going)
                self.outcomes[index].cost += cost
                self.cost = min(self.cost + cost, EXACT_MAX)
                self.last_usage[index] = self.usage(
                    ask,
                    unit,
                    packed,
                    used=charged,
                    suspense=0 if going else suspense,
                    set_aside=Suspense.NONE if going else why,
                    total=line.total,
                    cost=cost,
                    flags=mark,
                    at_ms=from_ms if ms else at_ms,
                    counters=counters,
                )
        return granted
