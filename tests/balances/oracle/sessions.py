"""Requests of sessions: repeats, incarnations, late and odd order, and the three passes over the lines of a request.

Written from charging.md 2, 3 and 5. Requests come in as the worker hands them over (`Charge`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from balances.structs.account import SuspendReasons
from balances.structs.blob import blob_of
from balances.structs.charge import Ask, Charge, Phase, Result, UsageReport
from balances.structs.session import SessionState
from tariffs.ladder import Counted, Ladder
from tariffs.units import Kind
from tests.balances.oracle.account import NaiveAccount, NaiveBucket, Takeable
from tests.balances.oracle.line import LineWalk, NaiveCounter, NaiveLine

HOUR = 3_600_000
SAME_END_TO_END_MS = 240_000
"""So long after an answer the same End-to-End-Id is the same request, also with T clear."""
FINAL_UNITS = (Kind.OCTETS, Kind.SECONDS)
BARRED = SuspendReasons.BARRED | SuspendReasons.FRAUD | SuspendReasons.OPERATOR | SuspendReasons.CLOSED


@dataclass
class NaiveOutcome:
    """What is answered for one line."""

    rating_group: int
    result: int
    granted: int = 0
    validity_ms: int = 0
    final: bool = False
    cost: int = 0
    suspense: int = 0
    overrun: bool = False


@dataclass
class NaiveAnswer:
    """What is answered."""

    result: int
    lines: list[NaiveOutcome] = field(default_factory=list)
    cost: int = 0
    moved: bool = True


@dataclass
class RememberedAnswer:
    """A request that was answered."""

    key: str
    fingerprint: str
    end_to_end: int
    reply: NaiveAnswer
    at_ms: int


@dataclass
class NaiveSession:
    """One incarnation of a session."""

    subscriber: str
    state: int = SessionState.UNKNOWN
    lines: list[NaiveLine] = field(default_factory=list)
    kept: list[RememberedAnswer] = field(default_factory=list)
    former: list[RememberedAnswer] = field(default_factory=list)
    """Of earlier incarnations."""
    opened: bool = False
    """Its INITIAL came."""
    reported: bool = False
    touched_ms: int = 0
    sums: dict[tuple[int, int], int] = field(default_factory=dict)
    """What its lines came to, by their rounding."""

    def release(self) -> None:
        for line in self.lines:
            line.release()


def report_units(ask: Ask) -> int:
    """All that it says was used, in whatever unit."""
    return sum(units_of(one) for one in ask.reports)


def units_of(report: UsageReport) -> int:
    return sum(max(n, 0) for n in (report.money, report.octets, report.seconds, report.units))


def ladder_of(packed: msgspec.Raw) -> Ladder | None:
    data = blob_of(packed)
    return msgspec.msgpack.decode(data, type=Ladder) if data else None


class NaiveSessions:
    """All sessions of one account."""

    def __init__(self, account: NaiveAccount, told: Callable[[int], tuple[int, dict[int, int]]]) -> None:
        """told: what a rating group of the last request was granted, and by which buckets it is held"""
        self.told = told
        self.account = account
        self.sessions: dict[str, NaiveSession] = {}
        self.counters: dict[str, NaiveCounter] = {}
        self.reached: set[str] = set()
        """Counters of limits that were reached."""
        account.held_of = self.held

    # ------------------------------------------------------------ what is held

    def lines(self) -> list[NaiveLine]:
        return [line for session in self.sessions.values() for line in session.lines]

    def held(self, bucket: int) -> int:
        """`Held = sum of live holds (recomputed from the account's own sessions)`."""
        return sum(line.hold.get(bucket, 0) for line in self.lines())

    def counter_held(self, key: str, without: NaiveLine | None = None) -> int:
        total = 0
        for line in self.lines():
            if line is without or not line.granted:
                continue
            for count in line.ladder.counts:
                if count.key == key:
                    money = sum(
                        amount for of, amount in line.hold.items() if self.account.bucket(of).kind == Kind.MONEY
                    )
                    if count.limit < 0:  # `spending limits count the price`, other counters do not
                        money -= sum(self.account.bucket(of).most_due(amount) for of, amount in line.hold.items())
                    total += line.granted if count.what == Counted.UNITS else money
        return total

    def levels(self, line: NaiveLine, ladder: Ladder) -> dict[str, int]:
        """`Grants are priced at used + held`."""
        keys = {step.counter for step in ladder.steps if step.counter} | {count.key for count in ladder.counts}
        caps = {count.key for count in ladder.counts if count.cap}
        used = {key: self.counters[key].used if key in self.counters else 0 for key in keys}
        return {key: used[key] + (0 if key in caps else self.counter_held(key, line)) for key in keys}

    def limits_left(self, ladder: Ladder, alone: NaiveLine | None = None) -> tuple[int | None, int]:
        """Money (None: no limit) and units that limits leave: `limit - used - what others hold`.

        alone: only what this line holds counts
        """
        money: int | None = None
        units = 2**60
        for count in ladder.counts:
            if count.limit < 0:
                continue
            used = self.counters[count.key].used if count.key in self.counters else 0
            held = self.counter_held(count.key)
            if alone is not None:
                held -= self.counter_held(count.key, alone)
            left = max(count.limit - used - held, 0)
            if count.what == Counted.UNITS:
                units = min(units, left)
            else:
                money = left if money is None else min(money, left)
        return money, units

    def check_limits(self, asks: Sequence[Ask]) -> None:
        """`Reached by use that is settled`: once, and once when there is room again."""
        for ask in asks:
            ladder = ladder_of(ask.ladder)
            for count in ladder.counts if ladder else ():
                used = self.counters[count.key].used if count.key in self.counters else 0
                if count.limit >= 0 and count.key not in self.reached and 0 < used >= count.limit:
                    self.reached.add(count.key)
                    self.account.crossings.append(("reached", ""))
                elif count.limit > used and count.key in self.reached:
                    self.reached.discard(count.key)
                    self.account.crossings.append(("room", ""))

    # ------------------------------------------------------------ a request

    def request(self, charge: Charge) -> NaiveAnswer:
        """One I, U or T, exactly once."""
        session = self.sessions.get(charge.session)
        known = self._repeat(session, charge)
        if known is not None:
            return known
        now_ms = charge.now_ms
        self.account.lapse(now_ms)
        if charge.phase == Phase.START:
            session, grants, result = self._begin(session, charge)
        else:
            session, grants, result = self._go_on(session, charge)
        before = self.sessions.get(charge.session, session)
        named = {ask.rating_group for ask in charge.asks}
        held = any(line.granted and line.rating_group in named for line in before.lines)
        self.sessions[charge.session] = session
        session.touched_ms = now_ms
        said = [self._settle(session, ask, charge) for ask in charge.asks]
        if charge.phase == Phase.STOP:
            session.release()
        self.account.lapse(now_ms)
        self.account.check(now_ms)
        self.check_limits(charge.asks)
        if grants and charge.phase != Phase.STOP:
            with self.account.late(now_ms - charge.event_ms):
                self._grant(session, charge.asks, said, now_ms)
        if result is None:
            result = self._result(session, charge, said)
        refused = bool(said) and all(one.result not in (Result.OK, Result.NO_GRANT) for one in said)
        used = any(report_units(ask) for ask in charge.asks)
        served = result == Result.OK and not refused
        moved = charge.phase == Phase.STOP or held or used or served
        reply = NaiveAnswer(result, said, sum(one.cost for one in said), moved)
        session.kept.append(RememberedAnswer(charge.key, charge.fingerprint, charge.end_to_end, reply, now_ms))
        return reply

    # ------------------------------------------------------------ once

    def _repeat(self, session: NaiveSession | None, charge: Charge) -> NaiveAnswer | None:
        """`Same fingerprint: same answer, nothing moves.`"""
        if session is None:
            return None
        for kept in reversed(session.kept):
            if kept.key != charge.key:
                continue
            same = kept.end_to_end == charge.end_to_end
            if kept.fingerprint == charge.fingerprint:
                return kept.reply if kept.reply.moved or same else None
            if charge.resend or same:
                return kept.reply
        for kept in session.former:
            same = (kept.key, kept.end_to_end) == (charge.key, charge.end_to_end)
            if same and (charge.resend or charge.now_ms <= kept.at_ms + SAME_END_TO_END_MS):
                return kept.reply
        return None

    # ------------------------------------------------------------ order

    def _begin(self, session: NaiveSession | None, charge: Charge) -> tuple[NaiveSession, bool, int | None]:
        """An I: the first, another before any report, a new incarnation, or one that is late."""
        fresh = NaiveSession(charge.subscriber, SessionState.OPEN, opened=True)
        if session is None:
            return fresh, True, None
        if session.state == SessionState.CLOSED and (charge.resend or not session.opened):
            return session, False, Result.UNABLE
        if session.state == SessionState.REFUSED and charge.resend and session.reported:
            return session, False, Result.UNABLE
        if session.reported and session.opened:
            session.release()
            fresh.former = [*session.kept, *session.former]
            return fresh, True, None
        session.release()
        session.state, session.opened = SessionState.OPEN, True
        return session, True, None

    def _go_on(self, session: NaiveSession | None, charge: Charge) -> tuple[NaiveSession, bool, int | None]:
        """A U or T."""
        stop = charge.phase == Phase.STOP
        if session is None:
            state = SessionState.CLOSED if stop else SessionState.UNKNOWN
            return NaiveSession(charge.subscriber, state, reported=True), False, Result.SESSION_UNKNOWN
        session.reported = True
        if session.state in (SessionState.CLOSED, SessionState.UNKNOWN, SessionState.REFUSED):
            if stop:
                unknown = session.state == SessionState.UNKNOWN
                session.state = SessionState.CLOSED
                return session, False, Result.SESSION_UNKNOWN if unknown else Result.OK
            return session, False, Result.SESSION_UNKNOWN
        session.state = SessionState.CLOSED if stop else SessionState.OPEN
        return session, not stop, Result.OK if stop else None

    def _result(self, session: NaiveSession, charge: Charge, said: Sequence[NaiveOutcome]) -> int:
        """`4012 at command level only for a refused I and for requests without MSCC`."""
        asking = [(ask, one) for ask, one in zip(charge.asks, said, strict=True) if ask.asked >= 0]
        refused = bool(asking) and all(one.result not in (Result.OK, Result.NO_GRANT) for one in said)
        if charge.phase == Phase.UPDATE and not charge.single:
            return Result.OK
        if not refused or any(ask.portal and one.result == Result.CREDIT_LIMIT for ask, one in asking):
            return Result.OK
        session.release()
        if charge.phase == Phase.START:
            session.state = SessionState.REFUSED
        else:
            session.state = SessionState.CLOSED
        return asking[0][1].result

    # ------------------------------------------------------------ pass 1

    def _line(self, session: NaiveSession, ask: Ask) -> NaiveLine | None:
        for line in session.lines:
            if (line.rating_group, line.service_id) == (ask.rating_group, ask.service_id):
                return line
        ladder = ladder_of(ask.ladder)
        if ladder is None:
            return None
        walk = LineWalk(ladder, Takeable([]), {}, 0, 0)
        session.lines.append(NaiveLine(ask.rating_group, ask.service_id, ask.unit, walk, ladder))
        return session.lines[-1]

    def _settle(self, session: NaiveSession, ask: Ask, charge: Charge) -> NaiveOutcome:
        """`Settle every reported line and release its old hold`."""
        said = NaiveOutcome(ask.rating_group, Result.NO_GRANT)
        line = self._line(session, ask)
        if line is None:
            said.suspense = sum(units_of(report) for report in ask.reports)  # in whatever unit it is
            return said
        if not line.held:
            line.ladder = ladder_of(ask.ladder) or line.ladder
        bound = self._bound(line, ask, charge.overrun_factor)
        for report in ask.reports:
            units = self._amount(report, line.unit)
            charged = min(units, bound)
            bound -= charged
            said.suspense += units - charged
            said.suspense += units_of(report) - units  # in another unit than the line counts in
            said.overrun |= charged > line.granted
            said.cost += line.settle(charged, report.at_ms, self.account, self.counters, session.sums)
        line.release()
        return said

    def _amount(self, report: UsageReport, unit: int) -> int:
        return max((report.money, report.octets, report.seconds, report.units)[unit], 0)

    def _bound(self, line: NaiveLine, ask: Ask, factor: int) -> int:
        """`The larger of 10 x the grant and the maximum quota (without a grant: 10 x the maximum ...)`."""
        if line.granted:
            return max(factor * line.granted, ask.maximum)
        return factor * (ask.maximum or ask.default)

    # ------------------------------------------------------------ passes 2 and 3

    def _grant(self, session: NaiveSession, asks: Sequence[Ask], said: Sequence[NaiveOutcome], now_ms: int) -> None:
        asking = []
        for place, (ask, line_said) in enumerate(zip(asks, said, strict=True)):
            if ask.asked < 0:
                continue
            line_said.result = self._refusal(ask)
            line = self._line(session, ask)
            ladder = ladder_of(ask.ladder)
            if line_said.result == Result.OK and line is not None and ladder is not None:
                asking.append(AskingLine(ask, line_said, line, ladder, self._wish(ask), place))
        asking.sort(key=lambda one: (one.ask.priority, one.place))
        free = self.account.free(now_ms)
        for one in asking:
            one.spending, one.units = self.limits_left(one.ladder)
            assert len(asking) == 1 or (one.spending, one.units) == (None, 2**60), "limits of one line alone"
        for one in asking:  # pass 2
            first = one.wish if one.ask.whole else min(one.ask.minimum, one.wish)
            one.go(first, free, self.levels(one.line, one.ladder), now_ms)
            free = one.left(free)
        minima = [one.got for one in asking]
        for one in asking:  # pass 3, where there is enough for all
            free = one.back(free)
            one.go(one.wish, free, self.levels(one.line, one.ladder), now_ms)
            free = one.left(free)
        if len(asking) > 1:
            enough = all(one.got == one.wish for one in asking)
            bundles = any(step.kind != Kind.MONEY for one in asking for step in one.ladder.steps)
            for one, least in zip(asking, minima, strict=True):
                self._shared(one, one.wish if enough and not bundles else least, now_ms)
        elif all(line in session.lines for line in self.lines() if line.granted):
            for one in asking:
                free = one.rest(free, self.levels(one.line, one.ladder), now_ms)
        for one in asking:
            self._seal(one, now_ms)
        for one in asking:
            one.said.final = one.got > 0 and not self._goes_on(one, now_ms)
        for one in asking:
            assert not self._lacks(one, now_ms)

    def _shared(self, one: AskingLine, least: int, now_ms: int) -> None:
        """Several lines: a fair part is between the minimum and the wish (and what the rest may be).

        Choice: how much it is, where there is not enough for all, and which buckets hold it is taken from the answer,
        and checked: it costs what is held for it.
        """
        granted, hold = self.told(one.ask.rating_group)
        most = max(one.wish, min(one.wish + one.ask.minimum - 1, one.ask.maximum))
        assert least <= granted <= most or (one.ask.whole and not granted), (least, granted, most)
        assert not one.ask.whole or granted in (0, one.wish)
        parts = [(bucket, hold.get(bucket.id, 0)) for bucket in self.account.buckets]
        one.go(granted, Takeable(parts), self.levels(one.line, one.ladder), now_ms)
        assert one.got == granted
        assert one.walk is not None
        assert one.walk.funds.taken == hold

    def _lacks(self, one: AskingLine, now_ms: int) -> bool:
        """It was granted its minimum and less than its wish, and what nobody holds covers a block more: that would be
        idle."""
        assert one.walk is not None
        if one.ask.whole or not min(one.ask.minimum, one.wish) <= one.got < one.wish:
            return False
        money, units = self.limits_left(one.ladder)
        if units < 1:
            return False
        walk = dataclasses.replace(one.walk, funds=self.account.free(now_ms).within(money).beside(one.line.hold))
        walk.grant(one.got + 1)
        return walk.paid_to - walk.used > one.got

    def _refusal(self, ask: Ask) -> int:
        if ask.emergency:
            return Result.OK
        if ask.refusal:  # choice: what rating says goes before the state of the account
            return ask.refusal
        if self.account.state & BARRED:
            return Result.DENIED
        if self.account.suspended and not ask.free:
            return Result.CREDIT_LIMIT
        return Result.OK

    def _wish(self, ask: Ask) -> int:
        """`Min(asked or the service's default, service maximum ...), at least the service minimum`."""
        return max(min(ask.asked or ask.default, ask.maximum), ask.minimum)

    def _seal(self, one: AskingLine, now_ms: int) -> None:
        if not one.got or one.walk is None:
            one.said.result = Result.CREDIT_LIMIT
            return
        line = one.line
        line.held, line.since_ms = True, now_ms
        line.hold, line.granted, line.ladder = dict(one.walk.funds.taken), one.got, one.ladder
        ends = [self.account.bucket(of).until_ms for of in line.hold]
        ends += [at_ms for bucket in self.account.buckets if (at_ms := self._hours_change(bucket, one.ladder, now_ms))]
        one.said.granted = one.got
        one.said.validity_ms = min([one.ask.validity_ms, *(max(end - now_ms, 1_000) for end in ends if end)])
        line.due_ms = now_ms + 2 * one.said.validity_ms

    def _hours_change(self, bucket: NaiveBucket, ladder: Ladder, now_ms: int) -> int:
        """When the hours of a bucket that may pay begin or end, if that is soon; looked for second by second."""
        if not any(one.kind == bucket.kind and (not bucket.scope or one.scope in bucket.scope) for one in ladder.steps):
            return 0
        began_s, late_ms = (now_ms - bucket.late_ms) // 1_000, bucket.late_ms
        seconds = (at_s * 1_000 for at_s in range(began_s, began_s + 600))
        return next((at_ms for at_ms in seconds if bucket.open(at_ms + late_ms) != bucket.open(now_ms)), 0)

    def _goes_on(self, one: AskingLine, now_ms: int) -> bool:
        """Does `the money, other lines' holds not counted against it`, cover a further block?

        Choice: what is left of the last block, which is held and not granted, is one too.
        """
        assert one.walk is not None
        hold = one.line.hold
        takeable = self.account.free(now_ms, without=lambda bucket: hold.get(bucket, 0))
        money, units = self.limits_left(one.ladder, alone=one.line)
        walk = dataclasses.replace(one.walk, funds=takeable.within(money).beside(hold))
        more = one.got + (one.wish if one.ask.whole else 1)
        if more - one.got > units:
            return False
        walk.grant(more)
        return walk.paid_to - walk.used >= more


@dataclass
class AskingLine:
    """A line that asks, while grants are made."""

    ask: Ask
    said: NaiveOutcome
    line: NaiveLine
    ladder: Ladder
    wish: int
    place: int
    walk: LineWalk | None = None
    got: int = 0
    spending: int | None = None
    """What limits of money leave it; None: there is none ..."""
    units: int = 2**60
    """... and limits of units."""

    def go(self, wish: int, free: Takeable, levels: dict[str, int], now_ms: int) -> None:
        wish = min(wish, self.units)
        takeable = Takeable(free.parts, free.limit, free.taken).within(self.spending)
        self.walk = self.line.reach(wish, self.ladder, takeable, levels, now_ms)
        if self.ask.whole and self.line.granted_by(self.walk, self.wish) < self.wish:  # all that is wanted or nothing
            self.walk = dataclasses.replace(self.line.walk, funds=free.copy())
            self.got = 0
            self.walk.funds = Takeable(free.parts, free.limit)
            return
        held = {bucket: n - free.taken.get(bucket, 0) for bucket, n in self.walk.funds.taken.items()}
        self.got = self.line.granted_by(self.walk, wish)
        self.walk.funds = Takeable(free.parts, free.limit)
        self.walk.funds.taken = {bucket: n for bucket, n in held.items() if n}

    def left(self, free: Takeable) -> Takeable:
        assert self.walk is not None
        return self._changed(free, 1)

    def back(self, free: Takeable) -> Takeable:
        return self._changed(free, -1)

    def _changed(self, free: Takeable, sign: int) -> Takeable:
        assert self.walk is not None
        taken = dict(free.taken)
        for bucket, amount in self.walk.funds.taken.items():
            taken[bucket] = taken.get(bucket, 0) + sign * amount
        return Takeable(free.parts, free.limit, taken)

    def rest(self, free: Takeable, levels: dict[str, int], now_ms: int) -> Takeable:
        """`A grant of octets or seconds that would leave less than a minimum takes that rest too`."""
        if self.ask.unit not in FINAL_UNITS or self.ask.whole or not self.got:
            return free
        free = self.back(free)
        before = self.got
        self.go(before + self.ask.minimum, free, levels, now_ms)
        more = self.got - before
        if not 0 < more < self.ask.minimum:
            self.go(before, free, levels, now_ms)
        elif self.got > self.ask.maximum:
            self.go(max(self.ask.maximum, before), free, levels, now_ms)
        return self.left(free)


def expire_holds(sessions: NaiveSessions, now_ms: int) -> None:
    """Supervision: what time alone changes, session by session."""
    for name, session in list(sessions.sessions.items()):
        expired = [line for line in session.lines if 0 < line.due_ms <= now_ms]
        for line in expired:
            line.release()
        if expired and not any(line.granted for line in session.lines):
            session.state, session.touched_ms = SessionState.ABANDONED, now_ms
        if session.state != SessionState.OPEN and session.touched_ms + HOUR <= now_ms:
            del sessions.sessions[name]
