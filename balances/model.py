"""The balance operations on dicts: the readable specification, and the oracle of the Lua scripts.

Each method is the twin of the script of its name and follows it part by part; tests/balances/test_parity.py drives
random interleavings through both and compares answers and state after every step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import msgspec

from balances import keys, ops
from balances.ops import Action, Ask, Charge, Flag, Line, LineOutcome, Outcome, Phase, Result, SessionState, State, Take
from balances.store import fresh_account, unpack_answer, unpack_ladder, unpack_outcome
from tariffs.ladder import COUNT_UNITS, Ladder, Position, climb
from tariffs.units import EXACT_MAX, Kind, share

_encode = msgspec.msgpack.encode


class Mode(IntEnum):
    OPEN = 1
    """What nobody holds."""
    OWN = 2
    """What this line held."""
    ALONE = 3
    """What others hold too, but for this line's own: is there money at all?"""


class Refused(Exception):
    """A price passes 2**53: nothing is done."""


class Purse:
    """The balances a climb may use; what is taken is only noted."""

    def __init__(self, account: ops.Account, now_ms: int, mode: Mode, own: dict[int, int]) -> None:
        self.account = account
        self.now_ms = now_ms
        self.mode = mode
        self.own = own
        self.caps: dict[int, int] | None = None
        self.taken: dict[int, int] = {}
        self._journal: list[tuple[int, int]] = []

    def _paying(self, kind: int, scope: str) -> list[ops.Bucket]:
        return [
            bucket
            for bucket in self.account.buckets
            if bucket.kind == kind
            and (not bucket.scope or scope in bucket.scope)
            and (self.mode == Mode.OWN or (bucket.from_ms <= self.now_ms and not 0 < bucket.until_ms <= self.now_ms))
        ]

    def free_of(self, bucket: ops.Bucket) -> int:
        taken = self.taken.get(bucket.id, 0)
        own = self.own.get(bucket.id, 0)
        if self.mode == Mode.OWN:
            return (own if bucket.id == ops.MAIN else min(own, bucket.amount - bucket.held)) - taken
        free = bucket.amount - taken - (bucket.held if self.mode == Mode.OPEN else own)
        if bucket.id == ops.MAIN:
            free += self.account.credit_limit
        if self.caps is not None:
            free = min(free, self.caps.get(bucket.id, 0) - taken)
        return free

    def available(self, kind: int, scope: str) -> int:
        return max(sum(self.free_of(bucket) for bucket in self._paying(kind, scope)), 0)

    def _take_free(self, kind: int, scope: str, amount: int) -> int:
        for bucket in self._paying(kind, scope):
            part = min(self.free_of(bucket), amount)
            if part > 0:
                self._note(bucket.id, part)
                amount -= part
        return amount

    def take(self, kind: int, scope: str, amount: int) -> None:
        if amount > EXACT_MAX:
            raise Refused
        left = self._take_free(kind, scope, amount)
        if left and self.mode == Mode.OWN:
            self.mode = Mode.OPEN
            left = self._take_free(kind, scope, left)
            self.mode = Mode.OWN
        if left:
            self._note(ops.MAIN, left)

    def _note(self, bucket: int, amount: int) -> None:
        self.taken[bucket] = self.taken.get(bucket, 0) + amount
        self._journal.append((bucket, amount))

    def mark(self) -> int:
        return len(self._journal)

    def undo(self, mark: int) -> None:
        for bucket, amount in self._journal[mark:]:
            self.taken[bucket] -= amount
        del self._journal[mark:]

    def takes(self) -> list[Take]:
        order = dict.fromkeys(bucket for bucket, _ in self._journal)
        return [Take(bucket, self.taken[bucket]) for bucket in order if self.taken[bucket]]


class Books:
    """One operation on one account: entries, expiry, thresholds, holds."""

    def __init__(self, account: ops.Account, now_ms: int) -> None:
        self.account = account
        self.now_ms = account.clock_ms = max(now_ms, account.clock_ms)
        self.entries: list[ops.Entry] = []
        self.usages: list[ops.Usage] = []
        self.crossings: list[str] = []
        self.nudges: list[str] = []
        self.sessions = self.holds = self.held_micro = 0

    def bucket(self, bucket_id: int) -> ops.Bucket | None:
        return next((bucket for bucket in self.account.buckets if bucket.id == bucket_id), None)

    def sure_bucket(self, bucket_id: int) -> ops.Bucket:
        bucket = self.bucket(bucket_id)
        assert bucket is not None, bucket_id
        return bucket

    def purse(self, mode: Mode, own: dict[int, int]) -> Purse:
        return Purse(self.account, self.now_ms, mode, own)

    def counters(self) -> dict[str, int]:
        return {counter.key: counter.used + counter.held for counter in self.account.counters}

    def feed(self, key: str, until_ms: int, used: int, held: int) -> None:
        if not used and not held:
            return
        counter = next((counter for counter in self.account.counters if counter.key == key), None)
        if counter is None:
            counter = ops.Counter(key, 0, 0, until_ms)
            self.account.counters.append(counter)
        counter.used += used
        counter.held += held

    def enter(self, bucket: ops.Bucket, amount: int, counter_account: str, why: str, line: int = -1) -> None:
        """Every amount that moves passes here."""
        if not amount:
            return
        self.account.seq += 1
        bucket.amount += amount
        self.entries.append(
            ops.Entry(self.account.seq, bucket.id, bucket.kind, amount, bucket.amount, counter_account, why, line)
        )

    def lapse(self) -> None:
        """What an expired bucket still has and nobody holds lapses; one with nothing left is dropped."""
        for bucket in reversed(self.account.buckets[:]):
            if 0 < bucket.until_ms <= self.now_ms:
                self.enter(bucket, -max(bucket.amount - bucket.held, 0), "expiry", "expiry")
                if bucket.amount == 0 and bucket.held == 0:
                    self.account.buckets.remove(bucket)
        self.account.counters = [
            counter for counter in self.account.counters if not 0 < counter.until_ms <= self.now_ms or counter.held
        ]

    def settled(self) -> int:
        return sum(
            bucket.amount
            for bucket in self.account.buckets
            if bucket.kind == Kind.MONEY and bucket.from_ms <= self.now_ms and not 0 < bucket.until_ms <= self.now_ms
        )

    def watch(self) -> int:
        """Suspend or resume for credit; returns the settled balance."""
        account, balance = self.account, self.settled()
        if account.state & State.CREDIT:
            if balance >= account.resume_at:
                account.state &= ~State.CREDIT
                self.crossings.append("resume")
        elif balance < account.suspend_below:
            account.state |= State.CREDIT
            self.crossings.append("suspend")
        return balance

    def sort(self) -> None:
        self.account.buckets.sort(key=lambda bucket: (bucket.priority, bucket.until_ms or EXACT_MAX, bucket.id))

    def release(self, line: Line) -> tuple[dict[int, int], int]:
        """Give a line's hold back; returns what it was and the units granted."""
        own, granted, money = {take.bucket: take.amount for take in line.hold}, line.granted, 0
        for take in line.hold:
            bucket = self.sure_bucket(take.bucket)
            bucket.held -= take.amount
            money += take.amount if bucket.kind == Kind.MONEY else 0
        if granted or money:
            for count in _ladder(line).counts:
                self.feed(count.key, count.until_ms, 0, -granted if count.what == COUNT_UNITS else -money)
        self.holds -= 1 if line.due_ms else 0
        self.held_micro -= money
        line.hold, line.granted, line.due_ms, line.final = [], 0, 0, False
        return own, granted

    def hold(self, line: Line, takes: Iterable[Take], units: int, packed: bytes, due_ms: int) -> None:
        money = 0
        held = {take.bucket: take for take in line.hold}
        for take in takes:
            bucket = self.sure_bucket(take.bucket)
            bucket.held += take.amount
            money += take.amount if bucket.kind == Kind.MONEY else 0
            if take.bucket in held:
                held[take.bucket].amount += take.amount
            else:
                line.hold.append(take)
        for count in unpack_ladder(packed).counts:
            self.feed(count.key, count.until_ms, 0, units if count.what == COUNT_UNITS else money)
        self.holds += 0 if line.due_ms else 1
        self.held_micro += money
        line.granted += units
        line.ladder, line.due_ms = ops.packed(packed), due_ms

    def debit(self, takes: Iterable[Take], index: int) -> None:
        for take in takes:
            self.enter(self.sure_bucket(take.bucket), -take.amount, "revenue", "usage", index)

    def settle(
        self, line: Line, ladder: Ladder, used: int, granted: int, own: dict[int, int], at_ms: int, index: int
    ) -> int:
        """Turn `used` units into a debit: what was granted is paid from the buckets its hold named, what goes beyond
        from whatever is free, and then from the main bucket. Returns the money."""
        ms = _ms_per_unit(line.unit)
        from_ms = at_ms - used * ms
        within = min(used, granted)
        purse = self.purse(Mode.OWN, own)
        values = self.counters()
        cost = climb(ladder, line, within, values, purse, at_ms=from_ms, ms_per_unit=ms, grant=False).cost
        if used > within:
            purse.mode = Mode.OPEN
            for count in ladder.counts:
                values[count.key] = values.get(count.key, 0) + (within if count.what == COUNT_UNITS else cost)
            cost += climb(
                ladder, line, used - within, values, purse, at_ms=from_ms + within * ms, ms_per_unit=ms, grant=False
            ).cost
        takes = purse.takes()
        for take in takes:
            if take.bucket in own:
                own[take.bucket] = max(own[take.bucket] - take.amount, 0)
        self.debit(takes, index)
        for count in ladder.counts:
            self.feed(count.key, count.until_ms, used if count.what == COUNT_UNITS else cost, 0)
        line.debited += cost
        return cost


def _ms_per_unit(unit: int) -> int:
    return 1000 if unit == Kind.SECONDS else 0


def _ladder(line: Line) -> Ladder:
    return unpack_ladder(ops.blob(line.ladder))


def _ladder_of(ask: Ask) -> Ladder | None:
    packed = ops.blob(ask.ladder)
    return unpack_ladder(packed) if packed else None


def _fresh(ask: Ask, now_ms: int) -> Line:
    return Line(ask.rating_group, ask.service_id, ask.unit, hold=[], touched_ms=now_ms)


def _wanted(ask: Ask) -> int:
    want = ask.asked if ask.asked > 0 else ask.default
    return min(want, ask.maximum) if ask.maximum else want


def _outcome(
    ask: Ask, unit: int, why: int, flags: int, *, granted: int = 0, cost: int = 0, debited: int = 0
) -> LineOutcome:
    return LineOutcome(ask.rating_group, ask.service_id, unit, why, granted, 0, 0, False, cost, debited, flags)


class Asking(msgspec.Struct, eq=False):
    """A line that may be granted units."""

    index: int
    ask: Ask
    line: Line
    want: int
    position: Line
    ladder: Ladder
    got: int = 0


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

    def debit_event(self, ask: Ask, index: int, paid: ops.Once) -> None:
        books, line, why = self.books, _fresh(ask, self.books.now_ms), self.refusal(ask)
        want, units, cost, tag = _wanted(ask), 0, 0, ""
        ladder = _ladder_of(ask)
        if ladder is not None:
            tag = ladder.tag
        if why == Result.OK and ladder is not None:
            purse = books.purse(Mode.OPEN, {})
            done = climb(
                ladder,
                line,
                want,
                books.counters(),
                purse,
                at_ms=self.charge.event_ms,
                ms_per_unit=_ms_per_unit(ask.unit),
                grant=True,
            )
            if done.units == 0 or (ask.whole and done.units < want):
                why = Result.CREDIT_LIMIT
            else:
                units, cost = done.units, done.cost
                takes = purse.takes()
                books.debit(takes, index)
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
        self.outcomes.append(_outcome(ask, ask.unit, why, marks, granted=units, cost=cost, debited=cost))
        self.cost += cost
        self.debited += cost
        paid.units += units
        paid.cost += cost

    def give_back(self, bucket_id: int, kind: int, amount: int, index: int) -> None:
        """To the bucket that paid; to main, or to one of its own for a while, when that one is gone."""
        books, account = self.books, self.books.account
        bucket = books.bucket(bucket_id)
        if bucket is None or 0 < bucket.until_ms <= books.now_ms:
            if kind == Kind.MONEY:
                bucket = books.sure_bucket(ops.MAIN)
            else:
                until_ms = self.charge.refund_until_ms
                bucket = ops.Bucket(account.next_bucket, kind, 0, 0, 100, 0, until_ms, [self.charge.service], "refund")
                account.next_bucket += 1
                account.buckets.append(bucket)
        books.enter(bucket, amount, "revenue", "refund", index)

    def refund_event(self, ask: Ask, index: int, paid: ops.Once | None) -> None:
        """Refund a part (money, or units of the original), or all that is left; changes `paid`."""
        why, units, money = Result.OK, 0, 0
        asked, is_money = ask.asked, ask.unit == Kind.MONEY
        if paid is None:
            if is_money and 0 < asked <= self.charge.refund_free:
                self.give_back(ops.MAIN, Kind.MONEY, asked, index)
                money = asked
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
                self._turn_back(paid, units, money, everything, index)
        self.moved = self.moved or why == Result.OK
        marks = self.flags | Flag.REFUND
        self.usage(ask, ask.unit, used=-units, cost=-money, result=why, flags=marks)
        given = money if is_money else units
        self.outcomes.append(_outcome(ask, ask.unit, why, marks, granted=given, cost=-money, debited=-money))
        self.cost -= money
        self.debited -= money

    def _turn_back(self, paid: ops.Once, units: int, money: int, everything: bool, index: int) -> None:
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
                self.give_back(take.bucket, take.kind, back, index)
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
        if (ladder := _ladder_of(ask)) is not None and why == Result.OK:
            done = climb(
                ladder,
                _fresh(ask, 0),
                _wanted(ask),
                self.books.counters(),
                self.books.purse(Mode.OPEN, {}),
                at_ms=self.charge.event_ms,
                ms_per_unit=_ms_per_unit(ask.unit),
                grant=check,
            )
            units, cost = done.units, done.cost
            self.enough = self.enough and units >= _wanted(ask)
        if check and self.refusal(ask) != Result.OK:
            self.enough = False
        self.outcomes.append(_outcome(ask, ask.unit, why, self.flags, granted=units, cost=cost, debited=cost))
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

    def line_for(self, session: ops.Session, ask: Ask) -> Line:
        """A report naming only the rating group matches its only live line."""
        same_group = [line for line in session.lines if line.rating_group == ask.rating_group]
        for line in same_group:
            if line.service_id == ask.service_id:
                return line
        live = [line for line in same_group if line.due_ms and ask.service_id < 0]
        if len(live) == 1:
            return live[0]
        line = _fresh(ask, self.books.now_ms)
        session.lines.append(line)
        return line

    def settle_line(self, ask: Ask, index: int, line: Line, own: dict[int, int], granted: int, marks: int) -> int:
        """All reports of one line; returns what is left of the grant."""
        books, charge = self.books, self.charge
        packed = ops.blob(line.ladder) or ops.blob(ask.ladder)
        ladder = unpack_ladder(packed) if packed else None
        for report in ask.reports:
            reported = (report.money, report.octets, report.seconds, report.units)[line.unit]
            mark, suspense = self.flags, 0
            if reported < 0:
                reported, mark = 0, mark | Flag.OTHER_UNIT
            bound = charge.overrun_factor * (granted or max(ask.maximum, 1))
            if ladder is None:
                bound = 0
            if reported > bound:
                suspense, reported = reported - bound, bound
                mark |= Flag.SUSPENSE
            if reported > granted and marks not in (Flag.UNMATCHED, Flag.LATE):
                mark |= Flag.OVERRUN
            if ask.free:
                mark |= Flag.FREE
            cost = 0
            if ladder is not None:
                cost = books.settle(line, ladder, reported, granted, own, report.at_ms, index)
                granted = max(granted - reported, 0)
            self.moved = self.moved or reported > 0 or suspense > 0
            self.outcomes[index].cost += cost
            self.cost += cost
            self.last_usage[index] = self.usage(
                ask,
                line.unit,
                used=reported,
                suspense=suspense,
                total=line.total,
                cost=cost,
                flags=mark,
                tag=ladder.tag if ladder else "",
                at_ms=report.at_ms,
            )
        return granted

    def extend(self, one: Asking, units: int, purse: Purse, *, keep: bool) -> int:
        """Climb on from where the line's position stands and hold what that takes; `keep` False only measures."""
        ask, ms = one.ask, _ms_per_unit(one.ask.unit)
        position: Position = one.position if keep else copy.copy(one.position)
        covered = climb(
            one.ladder,
            position,
            units,
            self.books.counters(),
            purse,
            at_ms=self.charge.event_ms + one.got * ms,
            ms_per_unit=ms,
            grant=keep,
        ).units
        if keep:
            one.got += covered
            if covered:
                due_ms = self.books.now_ms + 2 * ask.validity_ms
                self.books.hold(one.line, purse.takes(), covered, ops.blob(ask.ladder), due_ms)
        return covered

    def grant(self, asking: list[Asking]) -> None:
        """The minimum for each asking line, in priority then message order; then a fair part of the rest."""
        books = self.books
        asking.sort(key=lambda one: (one.ask.priority, one.index))
        for one in asking:
            ask, line = one.ask, one.line
            if line.unit != ask.unit:
                line.unit, line.total, line.paid_ahead, line.rest = ask.unit, 0, 0, 0
            one.position = copy.copy(line)
            first = min(one.want, ask.minimum) if len(asking) > 1 else one.want
            self.extend(one, first, books.purse(Mode.OPEN, {}), keep=True)
        if len(asking) > 1:
            self._share_rest([one for one in asking if min(one.want, one.ask.minimum) <= one.got < one.want])
        short_of_others = False
        for one in asking:
            if one.got:
                short_of_others |= self._seal(one)
            else:
                self.outcomes[one.index].result = Result.CREDIT_LIMIT
                short_of_others |= any(bucket.held > 0 for bucket in books.account.buckets)
            self.outcomes[one.index].unit = one.ask.unit
            one.line.touched_ms = books.now_ms
        if short_of_others:
            books.nudges.append("holder")

    def _share_rest(self, hungry: list[Asking]) -> None:
        books = self.books
        alone: list[list[Take]] = []
        sums: dict[int, int] = {}
        for one in hungry:
            purse = books.purse(Mode.OPEN, {})
            self.extend(one, one.want - one.got, purse, keep=False)
            alone.append(purse.takes())
            for take in alone[-1]:
                sums[take.bucket] = sums.get(take.bucket, 0) + take.amount
        purse = books.purse(Mode.OPEN, {})
        free = {bucket: max(purse.free_of(books.sure_bucket(bucket)), 0) for bucket in sums}
        for one, takes in zip(hungry, alone, strict=True):
            purse = books.purse(Mode.OPEN, {})
            if any(sums[take.bucket] > free[take.bucket] for take in takes):
                purse.caps = {
                    take.bucket: take.amount
                    if sums[take.bucket] <= free[take.bucket]
                    else share(free[take.bucket], take.amount, sums[take.bucket])
                    for take in takes
                }
            self.extend(one, one.want - one.got, purse, keep=True)

    def _seal(self, one: Asking) -> bool:
        """Validity and the Final-Unit-Indication of a grant; True when it is short only because others hold."""
        books, ask, line = self.books, one.ask, one.line
        own = {take.bucket: take.amount for take in line.hold}
        validity_ms = ask.validity_ms
        for bucket_id in own:
            until_ms = books.sure_bucket(bucket_id).until_ms
            if until_ms:
                validity_ms = max(min(validity_ms, until_ms - books.now_ms), 1000)
        line.due_ms = books.now_ms + 2 * validity_ms
        least = max(min(ask.minimum, one.want), 1)
        ms = _ms_per_unit(ask.unit)
        further = climb(
            one.ladder,
            copy.copy(one.position),
            least,
            books.counters(),
            books.purse(Mode.ALONE, own),
            at_ms=self.charge.event_ms + one.got * ms,
            ms_per_unit=ms,
            grant=True,
        ).units
        line.final = further < least
        outcome = self.outcomes[one.index]
        outcome.granted, outcome.validity_ms = one.got, validity_ms
        outcome.change_ms, outcome.final = ask.change_ms, line.final
        self.moved = True
        return one.got < min(one.want, ask.minimum) and not line.final

    last_usage: dict[int, ops.Usage]


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


class Appended(msgspec.Struct):
    """A record and the packed states that go with it."""

    record: ops.Record
    account: ops.Account | None = None
    session: ops.Session | None = None
    once: ops.Once | None = None
    context: bytes = b""
    original: ops.Once | None = None


class Model:
    """The live store on dicts. Methods take and return what the scripts do."""

    def __init__(self) -> None:
        self.accounts: dict[str, ops.Account] = {}
        self.sessions: dict[str, dict[str, ops.Session]] = {}
        self.onces: dict[tuple[str, str], ops.Once] = {}
        self.due: dict[str, int] = {}
        self.ledger: list[Appended] = []

    # --- charge -------------------------------------------------------------------------------------------------

    def charge(self, charge: Charge, context: bytes = b"") -> ops.Reply:
        stored = self.accounts.get(charge.account)
        if stored is None:
            return ops.Reply("absent")
        if stored.profile_rev > charge.profile_rev:
            return ops.Reply("stale")
        books = Books(copy.deepcopy(stored), charge.now_ms)
        decision = Decision(books, charge)
        try:
            if charge.phase == Phase.EVENT:
                return self._event(books, decision, charge, context)
            return self._session(books, decision, charge, context)
        except Refused:
            return ops.Reply("refused")

    def _conflict(self, decision: Decision, charge: Charge, context: bytes, outcome: bytes) -> ops.Reply:
        stored = self.accounts[charge.account]
        books = Books(copy.deepcopy(stored), charge.now_ms)
        decision.books = books
        for ask in charge.asks:
            decision.usage(ask, ask.unit, flags=Flag.CONFLICT, at_ms=books.now_ms)
        session = self.sessions.get(charge.account, {}).get(charge.session) if charge.phase != Phase.EVENT else None
        self.ledger.append(Appended(_record(books, charge), stored, session, None, context))
        return ops.Reply("again", outcome)

    def _event(self, books: Books, decision: Decision, charge: Charge, context: bytes) -> ops.Reply:
        if charge.action in (Action.CHECK, Action.PRICE):
            for ask in charge.asks:
                decision.enquire(ask)
            decision.balance = books.settled()
            decision.result = decision.command_result()
            return ops.Reply("ok", _encode(decision.outcome()))
        first = self.onces.get((charge.account, charge.once_key))
        once_key, known = charge.once_key, [first] if first else []
        if first and first.fingerprint != charge.fingerprint:
            once_key += f" {charge.fingerprint}"
            second = self.onces.get((charge.account, once_key))
            known += [second] if second else []
        outcome, contradicts = decision.judge(
            ops.Answer(charge.key, one.fingerprint, one.end_to_end, one.moved, one.outcome) for one in known
        )
        if outcome is not None:
            return self._conflict(decision, charge, context, outcome) if contradicts else ops.Reply("again", outcome)
        paid = ops.Once(ops.FORMAT, charge.fingerprint, charge.end_to_end, False, ops.NO_BLOB, takes=[], feeds=[])
        original = None
        if charge.action == Action.REFUND:
            original = copy.deepcopy(self.onces.get((charge.account, charge.refund_of)))
            if original is None and (given := ops.blob(charge.original)):
                original = msgspec.msgpack.decode(given, type=ops.Once)
        for index, ask in enumerate(charge.asks):
            if charge.action == Action.REFUND:
                decision.refund_event(ask, index, original)
            else:
                decision.debit_event(ask, index, paid)
        books.lapse()
        decision.balance = books.watch()
        decision.result = decision.command_result()
        packed = _encode(decision.outcome())
        paid.moved, paid.outcome = decision.moved, ops.packed(packed)
        books.sort()
        until_ms = books.now_ms + charge.remember_ms
        refunded = original if decision.moved else None
        record = _record(books, charge, once_key, until_ms)
        self.ledger.append(Appended(record, books.account, None, paid, context, refunded))
        self.accounts[charge.account] = books.account
        self.onces[charge.account, once_key] = paid
        if refunded is not None:
            self.onces[charge.account, charge.refund_of] = refunded
        return ops.Reply("ok", packed, 0, 0, books.held_micro)

    def _session(self, books: Books, decision: Decision, charge: Charge, context: bytes) -> ops.Reply:
        now_ms = books.now_ms
        session = copy.deepcopy(self.sessions.get(charge.account, {}).get(charge.session))
        number = charge.phase * 2**32 + charge.number
        if session is not None:
            outcome, contradicts = decision.judge(unpack_answer(answer) for answer in session.answers)
            if outcome is not None:
                return (
                    self._conflict(decision, charge, context, outcome) if contradicts else ops.Reply("again", outcome)
                )
            pairs = zip(session.seen[::2], session.seen[1::2], strict=True)
            seen = charge.countable and any(low <= number <= high for low, high in pairs)
            if seen and not decision.flags & Flag.RENUMBERED:
                decision.outcomes = [_outcome(ask, ask.unit, Result.REMEMBERED, decision.flags) for ask in charge.asks]
                decision.result = Result.REMEMBERED
                return ops.Reply("again", _encode(decision.outcome()))
        else:
            session = ops.Session(
                ops.FORMAT,
                charge.session,
                charge.subscriber,
                charge.service,
                0,
                charge.peer,
                charge.realm,
                charge.via,
                now_ms,
                now_ms,
                0,
                0,
                [],
                [],
                [],
            )
        was_open = session.state == SessionState.OPEN
        state, may_grant, refused_as, marks = decision.enter_state(session)

        # Pass 1: settle every reported line and release its hold, one line after the other: what one line used beyond
        # its grant must not eat what the next one holds. An INITIAL or TERMINATION releases all holds.
        touched = [decision.line_for(session, ask) for ask in charge.asks] if refused_as is None else []
        owned: list[tuple[Line, dict[int, int], int]] = []
        decision.last_usage = {}
        for index, ask in enumerate(charge.asks):
            decision.outcomes.append(_outcome(ask, ask.unit, Result.NO_GRANT, decision.flags))
            if not touched:
                continue
            line = touched[index]
            if not any(known is line for known, _, _ in owned):
                own, granted = books.release(line)
                owned.append((line, own, granted))
                decision.moved |= bool(granted or own)
            if charge.phase != Phase.START:
                at = next(at for at, (known, _, _) in enumerate(owned) if known is line)
                _, own, granted = owned[at]
                left = decision.settle_line(ask, index, line, own, granted, marks)
                owned[at] = (line, own, left)
                line.touched_ms = now_ms
        if refused_as is None and charge.phase != Phase.UPDATE:
            for line in session.lines:
                if line.due_ms:
                    books.release(line)
                    decision.moved = True
        books.lapse()
        decision.balance = books.watch()

        # Passes 2 and 3
        asking: list[Asking] = []
        for index, ask in enumerate(charge.asks):
            outcome_of = decision.outcomes[index]
            if refused_as is not None:
                outcome_of.result = refused_as
                continue
            line = touched[index]
            outcome_of.unit, outcome_of.debited = line.unit, line.debited
            if may_grant and ask.asked >= 0:
                outcome_of.result = decision.refusal(ask)
                if outcome_of.result == Result.OK:
                    asking.append(Asking(index, ask, line, _wanted(ask), line, unpack_ladder(ops.blob(ask.ladder))))
            elif decision.result == Result.SESSION_UNKNOWN:
                outcome_of.result = Result.SESSION_UNKNOWN
        decision.grant(asking)
        for index, ask in enumerate(charge.asks):
            outcome_of = decision.outcomes[index]
            if index in decision.last_usage:
                decision.last_usage[index].granted = outcome_of.granted
                decision.last_usage[index].result = outcome_of.result
            elif outcome_of.result not in (Result.OK, Result.NO_GRANT):
                decision.usage(ask, outcome_of.unit, result=outcome_of.result)
        decision.debited = sum(line.debited for line in session.lines)

        if refused_as is not None:
            decision.result = refused_as
        elif may_grant and decision.outcomes and (charge.phase == Phase.START or charge.single):
            why = decision.command_result()
            portal = any(ask.portal for ask in charge.asks)
            if why != Result.OK and not (portal and why == Result.CREDIT_LIMIT):
                decision.result = why
                if charge.phase == Phase.START:
                    state = SessionState.REFUSED
                else:  # a command-level failure releases every hold
                    state = SessionState.CLOSED
                    for line in session.lines:
                        if line.due_ms:
                            books.release(line)
                    books.lapse()
        if (state == SessionState.OPEN and not was_open) or charge.phase == Phase.STOP:
            decision.moved = True
        return self._keep(books, decision, charge, context, session, state, was_open, number)

    def _keep(
        self,
        books: Books,
        decision: Decision,
        charge: Charge,
        context: bytes,
        session: ops.Session,
        state: int,
        was_open: bool,
        number: int,
    ) -> ops.Reply:
        now_ms = books.now_ms
        if state == SessionState.OPEN:
            due_ms = min([now_ms + charge.idle_ms, *(line.due_ms for line in session.lines if line.due_ms)])
            session.forget_ms = 0
            session.peer, session.realm, session.via = charge.peer, charge.realm, charge.via
        else:
            if session.forget_ms == 0 or charge.phase == Phase.STOP:
                session.forget_ms = now_ms + charge.remember_ms
            due_ms = session.forget_ms
        books.sessions = (state == SessionState.OPEN) - was_open
        sooner = session.due_ms == 0 or due_ms < session.due_ms
        if sooner:
            session.due_ms = due_ms
        session.state, session.touched_ms = state, now_ms
        packed = _encode(decision.outcome())
        session.answers = [
            kept
            for kept in session.answers
            if ((answer := unpack_answer(kept)).key, answer.fingerprint) != (charge.key, charge.fingerprint)
        ]
        answer = ops.Answer(charge.key, charge.fingerprint, charge.end_to_end, decision.moved, ops.packed(packed))
        session.answers.append(ops.packed(_encode(answer)))
        del session.answers[: -ops.ANSWERS_KEPT]
        if decision.moved and charge.countable:
            remember_number(session.seen, number)
        self.ledger.append(Appended(_record(books, charge), books.account, session, None, context))
        self.accounts[charge.account] = books.account
        self.sessions.setdefault(charge.account, {})[charge.session] = session
        if sooner:
            self._watch_until(keys.due_member(charge.account, charge.session), due_ms)
        return ops.Reply("ok", packed, books.sessions, books.holds, books.held_micro)

    def _watch_until(self, member: str, at_ms: int) -> None:
        self.due[member] = min(self.due.get(member, at_ms), at_ms)

    # --- the back office ----------------------------------------------------------------------------------------

    def post(self, post: ops.Post) -> ops.Reply:
        stored = self.accounts.get(post.account)
        if stored is None:
            return ops.Reply("absent")
        known = self.onces.get((post.account, post.key)) if post.key else None
        if known is not None:
            same = known.fingerprint == post.fingerprint
            return ops.Reply("again", ops.blob(known.outcome)) if same else ops.Reply("conflict")
        books = Books(copy.deepcopy(stored), post.now_ms)
        books.lapse()
        result, next_due = Result.OK, 0
        for posting in post.postings:
            bucket = self._new_bucket(books, posting) if posting.bucket < 0 else books.bucket(posting.bucket)
            if result != Result.OK:
                continue
            if bucket is None:
                result = Result.TOO_MUCH if posting.bucket < 0 else Result.NOT_FOUND
            elif (
                posting.amount < 0
                and (post.own_only or bucket.id != ops.MAIN)
                and bucket.amount - bucket.held + posting.amount < 0
            ):
                result = Result.CREDIT_LIMIT
            elif abs(bucket.amount + posting.amount) > EXACT_MAX:
                result = Result.TOO_MUCH
            else:
                books.enter(bucket, posting.amount, posting.counter_account, posting.why)
                if posting.amount > 0:
                    books.nudges = ["final"]
                if bucket.until_ms:
                    next_due = min(next_due or bucket.until_ms, bucket.until_ms)
        balance = books.watch()
        entries = books.entries if result == Result.OK else []
        packed = _encode(ops.Posted(result, entries, balance, books.account.state))
        if result != Result.OK:
            return ops.Reply("refused", packed)
        books.sort()
        once = ops.Once(ops.FORMAT, post.fingerprint, 0, True, ops.packed(packed)) if post.key else None
        record = ops.Record(
            ops.FORMAT,
            "post",
            post.account,
            books.account.currency,
            "",
            "",
            "",
            0,
            books.now_ms,
            books.now_ms,
            post.key,
            post.fingerprint,
            0,
            books.entries,
            [],
            post.actor,
            post.reason,
            post.reference,
            books.crossings,
            books.nudges,
            post.key,
            books.now_ms + post.remember_ms,
        )
        self.ledger.append(Appended(record, books.account, None, once))
        self.accounts[post.account] = books.account
        if once is not None:
            self.onces[post.account, post.key] = once
        if next_due:
            self._watch_until(keys.due_member(post.account), next_due)
        return ops.Reply("ok", packed)

    @staticmethod
    def _new_bucket(books: Books, posting: ops.Posting) -> ops.Bucket | None:
        """In the place of an empty one where the account is full; None when there is none."""
        account = books.account
        if len(account.buckets) >= ops.BUCKETS_MAX:
            for bucket in account.buckets:
                if bucket.id != ops.MAIN and bucket.amount == 0 and bucket.held == 0:
                    account.buckets.remove(bucket)
                    break
        if len(account.buckets) >= ops.BUCKETS_MAX:
            return None
        bucket = ops.Bucket(
            account.next_bucket,
            posting.kind,
            0,
            0,
            posting.priority,
            posting.from_ms,
            posting.until_ms,
            posting.scope,
            posting.name,
        )
        account.next_bucket += 1
        account.buckets.append(bucket)
        return bucket

    def settings(self, change: ops.Settings) -> ops.Reply:
        stored = self.accounts.get(change.account)
        if stored is None:
            return ops.Reply("absent")
        if change.if_rev is not None and change.if_rev != stored.rev:
            return ops.Reply("revision", _encode(stored))
        books = Books(copy.deepcopy(stored), change.now_ms)
        account = books.account
        if change.profile_rev is not None:
            account.profile_rev = max(account.profile_rev, change.profile_rev)
        if change.credit_limit is not None:
            if change.credit_limit != account.credit_limit:
                books.nudges = ["all" if change.credit_limit < account.credit_limit else "final"]
            account.credit_limit = change.credit_limit
        if change.suspend_below is not None:
            account.suspend_below = change.suspend_below
        if change.resume_at is not None:
            account.resume_at = change.resume_at
        if account.resume_at < account.suspend_below:
            return ops.Reply("refused", _encode(stored))
        account.state = (account.state | change.set_state) & ~change.clear_state
        if account.state != stored.state:
            books.nudges = ["all"]
        changed = account.state != stored.state
        books.watch()
        changed = changed or account.state != stored.state
        if changed or (change.credit_limit, change.suspend_below, change.resume_at) != (None, None, None):
            account.rev += 1
        record = ops.Record(
            ops.FORMAT,
            "settings",
            account.id,
            account.currency,
            "",
            "",
            "",
            0,
            books.now_ms,
            books.now_ms,
            "",
            "",
            0,
            [],
            [],
            change.actor,
            change.reason,
            "",
            books.crossings,
            books.nudges,
        )
        self.ledger.append(Appended(record, account))
        self.accounts[account.id] = account
        return ops.Reply("ok", _encode(account))

    # --- time ---------------------------------------------------------------------------------------------------

    def sweep(self, sweep: ops.Sweep) -> ops.Reply:
        stored = self.accounts.get(sweep.account)
        session = copy.deepcopy(self.sessions.get(sweep.account, {}).get(sweep.session))
        member = keys.due_member(sweep.account, sweep.session)
        if stored is None or (sweep.session and session is None):
            self.due.pop(member, None)
            if sweep.session:
                self.sessions.get(sweep.account, {}).pop(sweep.session, None)
            return ops.Reply("gone" if stored is not None else "absent")
        account = copy.deepcopy(stored)
        books = Books(account, sweep.now_ms)
        now_ms = sweep.now_ms
        due_ms, changed, reason, forget = 0, False, "expired", False
        if session is not None:
            due_ms, changed, reason, forget = self._sweep_session(books, sweep, session)
            session.due_ms = due_ms
        if not forget:
            books.now_ms = now_ms
            books.lapse()
            books.watch()
            changed = changed or bool(books.entries)
            if session is None:
                due_ms = min((b.until_ms for b in account.buckets if b.until_ms > now_ms), default=0)
                forget = due_ms == 0
        if changed:
            record = ops.Record(
                ops.FORMAT,
                "sweep",
                account.id,
                account.currency,
                session.subscriber if session else "",
                sweep.session,
                session.service if session else "",
                0,
                now_ms,
                now_ms,
                "",
                "",
                0,
                books.entries,
                books.usages,
                "",
                reason,
                "",
                books.crossings,
            )
            self.ledger.append(Appended(record, account, session))
            self.accounts[account.id] = account
        if forget:
            self.due.pop(member, None)
            if session is not None:
                del self.sessions[sweep.account][sweep.session]
            return ops.Reply("ok" if changed else "gone")
        self.due[member] = due_ms
        if session is not None:
            self.sessions[sweep.account][sweep.session] = session
        return ops.Reply("ok" if changed else "later", b"", books.sessions, books.holds, books.held_micro)

    @staticmethod
    def _sweep_session(books: Books, sweep: ops.Sweep, session: ops.Session) -> tuple[int, bool, str, bool]:
        """(next due, something changed, reason, forget it)"""
        now_ms = sweep.now_ms
        if session.state != SessionState.OPEN:
            return session.forget_ms, False, "expired", session.forget_ms <= now_ms
        due_ms, changed, idle = session.touched_ms + sweep.idle_ms, False, True
        for line in session.lines:
            if 0 < line.due_ms <= now_ms:
                books.usages.append(
                    ops.Usage(
                        line.rating_group,
                        line.service_id,
                        line.unit,
                        0,
                        0,
                        line.total,
                        0,
                        0,
                        Result.OK,
                        Flag.ABANDONED,
                        "",
                        now_ms,
                    )
                )
                books.release(line)
                changed = True
            elif line.due_ms:
                idle, due_ms = False, min(due_ms, line.due_ms)
        if idle and (changed or due_ms <= now_ms):
            session.state = SessionState.ABANDONED
            session.forget_ms = now_ms + sweep.remember_ms
            books.sessions = -1
            return session.forget_ms, True, "abandoned", False
        return due_ms, changed, "expired", False

    def open(self, account_id: str, opening: ops.Opening) -> ops.Reply:
        """Bring an account in, new or restored, only if it is absent."""
        if account_id in self.accounts:
            return ops.Reply("exists")
        account = msgspec.msgpack.decode(ops.blob(opening.account), type=ops.Account)
        record = ops.Record(
            ops.FORMAT,
            opening.kind,
            account.id,
            account.currency,
            "",
            "",
            "",
            0,
            opening.now_ms,
            opening.now_ms,
            "",
            "",
            0,
            [],
            [],
            opening.actor,
        )
        self.ledger.append(Appended(record, account))
        self.accounts[account_id] = account
        for kept in opening.sessions:
            session = msgspec.msgpack.decode(ops.blob(kept.packed), type=ops.Session)
            self.sessions.setdefault(account_id, {})[kept.key] = session
            self.due[keys.due_member(account_id, kept.key)] = kept.until_ms
        for kept in opening.onces:
            self.onces[account_id, kept.key] = msgspec.msgpack.decode(ops.blob(kept.packed), type=ops.Once)
        expiries = [bucket.until_ms for bucket in account.buckets if bucket.until_ms]
        if expiries:
            self._watch_until(keys.due_member(account_id), min(expiries))
        return ops.Reply("ok", ops.blob(opening.account))


def _record(books: Books, charge: Charge, once_key: str = "", once_until_ms: int = 0) -> ops.Record:
    return ops.Record(
        ops.FORMAT,
        "charge",
        books.account.id,
        books.account.currency,
        charge.subscriber,
        charge.session,
        charge.service,
        charge.phase,
        books.now_ms,
        charge.event_ms,
        charge.key,
        charge.fingerprint,
        charge.end_to_end,
        books.entries,
        books.usages,
        "",
        "",
        "",
        books.crossings,
        books.nudges,
        once_key,
        once_until_ms,
        charge.refund_of,
    )


__all__ = ["Model", "Refused", "fresh_account", "unpack_outcome"]
