"""One charge being decided: what it means, what is settled, what is granted. Twin of the parts of lua/charge.lua."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from balances import ops
from balances.books import Books, Mode, ms_per_unit
from balances.ops import Action, Ask, Charge, Flag, Line, LineOutcome, Outcome, Phase, Result, SessionState, State
from balances.packing import unpack_ladder
from tariffs.ladder import COUNT_UNITS, Ladder, climb
from tariffs.units import EXACT_MAX, Kind, share


def asked_ladder(ask: Ask) -> Ladder | None:
    packed = ops.blob(ask.ladder)
    return unpack_ladder(packed) if packed else None


def fresh_line(ask: Ask, now_ms: int) -> Line:
    return Line(ask.rating_group, ask.service_id, ask.unit, hold=[], touched_ms=now_ms)


def wanted(ask: Ask, *, event: bool = False) -> int:
    want = ask.asked if ask.asked > 0 else ask.default
    if not event:
        want = max(want, ask.minimum)
    return min(want, ask.maximum) if ask.maximum else want


def line_outcome(
    ask: Ask, unit: int, why: int, flags: int, *, granted: int = 0, cost: int = 0, debited: int = 0
) -> LineOutcome:
    return LineOutcome(ask.rating_group, ask.service_id, unit, why, granted, 0, 0, False, cost, debited, flags)


class Decision:
    """One charge being decided."""

    def __init__(self, books: Books, charge: Charge) -> None:
        self.books = books
        self.charge = charge
        self.flags = charge.flags
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
        self.last_usage: dict[int, ops.Usage] = {}
        """The last usage of each line settled, by index of its ask."""

    def judge(self, known: Iterable[ops.Answer]) -> tuple[bytes | None, bool]:
        """(stored outcome or None to decide anew, the repeat contradicts it): charging.md section 3."""
        charge, other = self.charge, None
        for answer in known:
            if answer.key != charge.key:
                continue
            if answer.fingerprint == charge.fingerprint:
                again = answer.moved or answer.end_to_end == charge.end_to_end
                return ops.blob(answer.outcome) if again else None, False
            if other is None or answer.end_to_end == charge.end_to_end:
                other = answer
        if other is None:
            return None, False
        if charge.resend or other.end_to_end == charge.end_to_end:
            return ops.blob(other.outcome), True
        self.flags |= Flag.RENUMBERED
        return None, False

    def refusal(self, ask: Ask) -> int:
        """Why an asking line gets nothing before money is looked at; OK when it may ask."""
        state = self.books.account.state
        if ask.refusal != Result.OK:
            return ask.refusal
        if ask.emergency:
            return Result.OK
        if state & (State.BARRED | State.FRAUD | State.OPERATOR | State.CLOSED):
            return Result.DENIED
        if state & State.CREDIT and not ask.free:
            return Result.CREDIT_LIMIT
        return Result.OK

    def usage(self, ask: Ask, unit: int, **fields: Any) -> ops.Usage:
        known: dict[str, Any] = dict.fromkeys(("used", "suspense", "total", "cost", "granted"), 0)
        known |= {"result": Result.OK, "flags": self.flags, "tag": "", "at_ms": self.charge.event_ms} | fields
        usage = ops.Usage(ask.rating_group, ask.service_id, unit, **known)
        self.books.usages.append(usage)
        return usage

    def command_result(self) -> int:
        """A command is refused when all its lines are."""
        if any(line.result in (Result.OK, Result.NOT_APPLICABLE, Result.NO_GRANT) for line in self.outcomes):
            return Result.OK
        return self.outcomes[0].result if self.outcomes else Result.OK

    def outcome(self) -> Outcome:
        low = self.balance < self.books.account.resume_at
        return Outcome(self.result, self.outcomes, self.cost, self.debited, self.balance, self.enough, low)

    # --- events -------------------------------------------------------------------------------------------------

    def debit_event(self, ask: Ask, paid: ops.Once) -> None:
        books, line, why = self.books, fresh_line(ask, self.books.now_ms), self.refusal(ask)
        want, units, cost, tag = wanted(ask, event=True), 0, 0, ""
        ladder = asked_ladder(ask)
        if ladder is not None:
            tag = ladder.tag
        if why == Result.OK and ladder is not None:
            purse = books.purse(Mode.OPEN, {})
            done = climb(
                ladder,
                line,
                want,
                books.counters(with_held=True),
                purse,
                at_ms=self.charge.event_ms,
                ms_per_unit=ms_per_unit(ask.unit),
                grant=True,
            )
            if done.units == 0 or (ask.whole and done.units < want):
                why = Result.CREDIT_LIMIT
            else:
                units, cost = done.units, done.cost
                takes = purse.takes()
                books.debit(takes, len(books.usages))
                paid.takes += [
                    ops.Paid(take.bucket, take.amount, books.sure_bucket(take.bucket).kind) for take in takes
                ]
                for count in ladder.counts:
                    amount = units if count.what == COUNT_UNITS else cost
                    books.feed(count.key, count.until_ms, amount, 0)
                    paid.feeds.append(ops.Feed(count.key, amount))
                self.moved = True
        marks = self.flags | (Flag.FREE if ask.free else 0)
        self.usage(ask, ask.unit, used=units, total=units, cost=cost, granted=units, result=why, flags=marks, tag=tag)
        self.outcomes.append(line_outcome(ask, ask.unit, why, marks, granted=units, cost=cost, debited=cost))
        self.cost += cost
        self.debited += cost
        paid.units += units
        paid.cost += cost

    def give_back(self, bucket_id: int, kind: int, amount: int) -> None:
        """To the bucket that paid; to main, or to one of its own for a while, when that one is gone."""
        books = self.books
        bucket = books.bucket(bucket_id)
        if bucket is None or 0 < bucket.until_ms <= books.now_ms:
            if kind == Kind.MONEY:
                bucket = books.sure_bucket(ops.MAIN)
            else:
                bucket = self._refund_bucket(kind)
        books.enter(bucket, amount, "revenue", "refund", len(books.usages))

    def _refund_bucket(self, kind: int) -> ops.Bucket:
        """One for each kind and service, for as long as the last refund into it says."""
        account, service = self.books.account, self.charge.service
        for bucket in account.buckets:
            ours = bucket.name == "refund" and bucket.kind == kind and bucket.scope[:1] == [service]
            if ours and bucket.until_ms > self.books.now_ms:
                break
        else:
            bucket = ops.Bucket(account.next_bucket, kind, 0, 0, 100, 0, 0, [service], "refund")
            account.next_bucket += 1
            account.buckets.append(bucket)
        bucket.until_ms = self.refund_until_ms = max(bucket.until_ms, self.charge.refund_until_ms)
        return bucket

    def refund_event(self, ask: Ask, paid: ops.Once | None) -> None:
        """Refund a part (money, or units of the original), or all that is left; changes `paid`."""
        why, units, money = Result.OK, 0, 0
        asked, is_money = ask.asked, ask.unit == Kind.MONEY
        if paid is None:
            worth = asked if is_money else self._worth(ask)
            if 0 < worth <= self.charge.refund_free:
                self.give_back(ops.MAIN, Kind.MONEY, worth)
                money = worth
                units = 0 if is_money else asked
            else:
                why = Result.NOT_FOUND
        else:
            if asked <= 0:
                units = paid.units
            elif is_money:
                money = asked
            else:
                units = asked
            if units > paid.units or money > paid.cost or (paid.units == 0 and paid.cost == 0):
                why, units, money = Result.TOO_MUCH, 0, 0
            else:
                everything = 0 < units == paid.units or (is_money and 0 < asked == paid.cost)
                if everything:
                    units, money = paid.units, paid.cost
                elif money == 0:
                    money = share(paid.cost, units, paid.units)
                self._turn_back(paid, units, money, everything)
        self.moved = self.moved or why == Result.OK
        marks = self.flags | Flag.REFUND
        self.usage(ask, ask.unit, used=-units, cost=-money, result=why, flags=marks)
        given = money if is_money else units
        self.outcomes.append(line_outcome(ask, ask.unit, why, marks, granted=given, cost=-money, debited=-money))
        self.cost -= money
        self.debited -= money

    def _worth(self, ask: Ask) -> int:
        """What the units asked would cost (credit-control.md section 8: RSU money or rated units)."""
        ladder = asked_ladder(ask)
        if ladder is None or ask.asked <= 0:
            return 0
        return climb(
            ladder,
            fresh_line(ask, 0),
            ask.asked,
            self.books.counters(with_held=False),
            self.books.purse(Mode.OPEN, {}),
            at_ms=self.charge.event_ms,
            ms_per_unit=ms_per_unit(ask.unit),
            grant=False,
        ).cost

    def _turn_back(self, paid: ops.Once, units: int, money: int, everything: bool) -> None:
        due = money
        for take in reversed(paid.takes):  # last paid, first given back
            if everything:
                back = take.amount
            elif take.kind == Kind.MONEY:
                back = min(take.amount, due)
            else:
                back = share(take.amount, units, paid.units)
            if take.kind == Kind.MONEY:
                due -= back
            if back:
                self.give_back(take.bucket, take.kind, back)
            take.amount -= back
        for fed in paid.feeds:
            back = share(fed.amount, units, paid.units) if not everything and paid.units else fed.amount
            if any(counter.key == fed.key for counter in self.books.account.counters):
                self.books.feed(fed.key, 0, -back, 0)
            fed.amount -= back
        paid.units -= units
        paid.cost -= money

    def enquire(self, ask: Ask) -> None:
        """CHECK_BALANCE holds nothing, PRICE_ENQUIRY does not look at the money."""
        why, units, cost = ask.refusal, 0, 0
        check = self.charge.action == Action.CHECK
        if (ladder := asked_ladder(ask)) is not None and why == Result.OK:
            done = climb(
                ladder,
                fresh_line(ask, 0),
                wanted(ask, event=True),
                self.books.counters(with_held=True),
                self.books.purse(Mode.OPEN, {}),
                at_ms=self.charge.event_ms,
                ms_per_unit=ms_per_unit(ask.unit),
                grant=check,
            )
            units, cost = done.units, done.cost
            self.enough = self.enough and units >= wanted(ask, event=True)
        if check and self.refusal(ask) != Result.OK:
            self.enough = False
        self.outcomes.append(line_outcome(ask, ask.unit, why, self.flags, granted=units, cost=cost, debited=cost))
        self.cost += cost

    # --- sessions -----------------------------------------------------------------------------------------------

    def enter_state(self, session: ops.Session) -> tuple[int, bool, int | None, int]:
        """What the request means in the session's state: (new state, may grant, refused as, marks)."""
        phase, state = self.charge.phase, session.state
        marks, may_grant = 0, False
        if phase == Phase.START:
            if state == SessionState.CLOSED:
                return state, False, Result.UNABLE, 0
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
        line.touched_ms = self.books.now_ms
        return line

    def line_for(self, session: ops.Session, ask: Ask) -> Line:
        """A report naming only the rating group matches its only live line."""
        same_group = [line for line in session.lines if line.rating_group == ask.rating_group]
        for line in same_group:
            if line.service_id == ask.service_id:
                return self._matched(line)
        live = [line for line in same_group if line.due_ms and ask.service_id < 0]
        if len(live) == 1:
            return self._matched(live[0])
        line = self._matched(fresh_line(ask, self.books.now_ms))
        if len(session.lines) >= ops.SESSION_LINES_MAX:
            idle = [line for line in session.lines if not line.due_ms]
            oldest = min(idle, key=lambda line: line.touched_ms, default=None)
            if oldest is None or oldest.touched_ms == self.books.now_ms:
                self.crowded.append(line)  # settled, but neither kept nor granted
                return line
            session.lines.remove(oldest)
        session.lines.append(line)
        return line

    def settle_line(self, ask: Ask, index: int, line: Line, own: dict[int, int], granted: int, marks: int) -> int:
        """All reports of one line; returns what is left of the grant."""
        books, charge = self.books, self.charge
        packed = ops.blob(line.ladder) or ops.blob(ask.ladder)
        ladder = unpack_ladder(packed) if packed else None
        bound = charge.overrun_factor * (granted or max(ask.maximum, 1))
        if charge.phase == Phase.RECORD:
            bound = EXACT_MAX
        if ladder is None:
            bound = 0
        measured = marks not in (Flag.UNMATCHED, Flag.LATE) and charge.phase != Phase.RECORD
        for report in ask.reports:
            reported = (report.money, report.octets, report.seconds, report.units)[line.unit]
            mark, suspense, unit = self.flags, 0, line.unit
            if reported < 0:  # not in the unit that was granted: on record, not charged
                reported, mark = 0, mark | Flag.OTHER_UNIT
                for other, amount in ((1, report.octets), (2, report.seconds), (3, report.units)):
                    if amount > 0:
                        unit, suspense = other, amount
            if reported > bound:
                suspense, reported = suspense + reported - bound, bound
            if suspense:
                mark |= Flag.SUSPENSE
            bound -= reported
            if reported > granted and measured:
                mark |= Flag.OVERRUN
            if ask.free:
                mark |= Flag.FREE
            cost = 0
            if ladder is not None:
                cost = books.settle(
                    line, ladder, reported, granted, own, report.at_ms, self.since_ms[id(line)], len(books.usages)
                )
                granted = max(granted - reported, 0)
            self.moved = self.moved or reported > 0 or suspense > 0
            self.outcomes[index].cost += cost
            self.cost += cost
            self.last_usage[index] = self.usage(
                ask,
                unit,
                used=reported,
                suspense=suspense,
                total=line.total,
                cost=cost,
                flags=mark,
                tag=ladder.tag if ladder else "",
                at_ms=report.at_ms,
            )
        return granted


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
        if (
            len(seen) > 2 * ops.INTERVALS_MAX
        ):  # the gap longest ago counts as seen: better not charged than charged twice
            del seen[1:3]
