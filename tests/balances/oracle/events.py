"""One-time events, and what is given back of them.

Written from charging.md 9 and 3 (events). What was paid is kept as a list, in the order it was paid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import Any

from balances.structs.account import MAIN
from balances.structs.charge import Action, Charge, Result
from tariffs.ladder import Counted
from tariffs.units import Kind
from tests.balances.oracle.account import NaiveAccount, Takeable
from tests.balances.oracle.line import LineWalk, NaiveLine
from tests.balances.oracle.sessions import BARRED, NaiveAnswer, NaiveOutcome, NaiveSessions, ladder_of


@dataclass
class Purchase:
    """A debit, as far as it is not given back."""

    units: int = 0
    paid: list[list[int]] = field(default_factory=list)
    """[bucket, amount], in the order it was paid."""
    counted: list[list[Any]] = field(default_factory=list)
    """Counters raised by it, what they count, and by how much of what is not given back."""

    def cost(self, account: NaiveAccount) -> int:
        return sum(amount for bucket, amount in self.paid if account.bucket(bucket).kind == Kind.MONEY)


@dataclass
class RememberedEvent:
    """An event that was answered."""

    fingerprint: str
    end_to_end: int
    answer: NaiveAnswer
    purchase: Purchase


class NaiveEvents:
    """All events of one account."""

    def __init__(self, sessions: NaiveSessions) -> None:
        self.sessions, self.account = sessions, sessions.account
        self.known: dict[str, RememberedEvent] = {}

    def request(self, charge: Charge) -> NaiveAnswer:
        """One event, exactly once."""
        before = self.known.get(charge.once_key)
        if before is not None and (before.answer.moved or before.end_to_end == charge.end_to_end):
            return before.answer
        self.account.lapse(charge.now_ms)
        purchase = Purchase()
        if charge.action == Action.DEBIT:
            answer = self._debit(charge, purchase)
        else:
            assert charge.action == Action.REFUND
            answer = self._refund(charge)
        self.account.lapse(charge.now_ms)
        self.account.check(charge.now_ms)
        self.sessions.check_limits(charge.asks)
        self.known[charge.once_key] = RememberedEvent(charge.fingerprint, charge.end_to_end, answer, purchase)
        return answer

    # ------------------------------------------------------------ debit

    def _debit(self, charge: Charge, purchase: Purchase) -> NaiveAnswer:
        """`All or nothing per line unless the service row allows part.`"""
        [ask] = charge.asks
        ladder = ladder_of(ask.ladder)
        assert ladder is not None
        said = NaiveOutcome(ask.rating_group, Result.OK)
        if self.account.state & BARRED:
            said.result = Result.DENIED
        elif self.account.suspended and not ask.free:
            said.result = Result.CREDIT_LIMIT
        else:
            wish = ask.asked or ask.default
            line = NaiveLine(ask.rating_group, -1, ask.unit, LineWalk(ladder, Takeable([]), {}, 0, 0), ladder)
            levels = self.sessions.levels(line, ladder)
            money, units = self.sessions.limits_left(ladder)
            free = self.account.free(charge.now_ms).within(money)
            walk = line.reach(min(wish, units), ladder, free, levels, charge.now_ms, at_once=True)
            got = line.granted_by(walk, min(wish, units))
            if got == 0 or (ask.whole and got < wish):
                said.result = Result.CREDIT_LIMIT
            else:
                self._pay(charge, line, walk, got, purchase)
                said.granted, said.cost = got, purchase.cost(self.account)
        return NaiveAnswer(said.result, [said], said.cost, said.result == Result.OK)

    def _pay(self, charge: Charge, line: NaiveLine, walk: LineWalk, got: int, purchase: Purchase) -> None:
        """It is used at once, so it is charged as a report is, from what was granted."""
        counters = self.sessions.counters
        before = {key: counter.used for key, counter in counters.items()}
        line.hold, line.granted, line.since_ms = dict(walk.funds.taken), got, charge.now_ms
        at = len(self.account.movements)
        line.settle(got, charge.now_ms, self.account, counters, {})
        purchase.units = got
        purchase.paid += [[one.bucket, -one.amount] for one in self.account.movements[at:]]
        for count in line.ladder.counts:
            purchase.counted.append([count.key, count.what, counters[count.key].used - before.get(count.key, 0)])

    # ------------------------------------------------------------ refund

    def _refund(self, charge: Charge) -> NaiveAnswer:
        """All that is left (nothing named), or so much money: `last-paid bucket first, counters turn back`."""
        [ask] = charge.asks
        said = NaiveOutcome(ask.rating_group, Result.OK)
        original = self.known.get(charge.refund_of)
        purchase = original.purchase if original else Purchase()
        cost = purchase.cost(self.account)
        if original is None:
            said.result = Result.NOT_FOUND
        elif ask.unit == Kind.MONEY and ask.asked:
            if ask.asked > cost:
                said.result = Result.TOO_MUCH
            else:
                said.granted = ask.asked
                self._give_back(charge, purchase, ask.asked, money_only=True)
                part = Fraction(ask.asked, cost)
                units = 0 if any(amount for _, amount in purchase.paid) else purchase.units
                self._turn_back(purchase, units, part)  # choice: units when nothing that was paid is left
                purchase.units -= units
        else:
            said.granted = purchase.units
            if not purchase.units:
                said.result = Result.TOO_MUCH
            self._give_back(charge, purchase, sum(amount for _, amount in purchase.paid), money_only=False)
            self._turn_back(purchase, purchase.units, Fraction(1))
            purchase.units = 0
        return NaiveAnswer(said.result, [said], 0, said.result == Result.OK)

    def _turn_back(self, purchase: Purchase, units: int, part: Fraction) -> None:
        """`Of money in proportion to what is given back of what is left to be.`"""
        for raised in purchase.counted:
            key, what, left = raised
            back = units if what == Counted.UNITS else floor(left * part)
            self.sessions.counters[key].used -= back
            raised[2] -= back

    def _give_back(self, charge: Charge, purchase: Purchase, amount: int, *, money_only: bool) -> None:
        for part in reversed(purchase.paid):
            bucket = self.account.bucket(part[0])
            if money_only and bucket.kind != Kind.MONEY:
                continue
            back = min(part[1], amount)
            part[1] -= back
            amount -= back
            if back:
                self.account.move(self._taker(bucket.id, charge), back, "revenue")

    def _taker(self, of: int, charge: Charge) -> int:
        """`An expired bucket: money to main, units back for a configured time.`"""
        bucket = self.account.bucket(of)
        if not bucket.over(charge.now_ms):
            return of
        if bucket.kind == Kind.MONEY:
            return MAIN
        for one in self.account.buckets:
            if (one.refund, one.kind, one.until_ms) == (True, bucket.kind, charge.refund_until_ms):
                return one.id
        return self.account.new(
            bucket.kind,
            priority=bucket.priority,
            until_ms=charge.refund_until_ms,
            scope=bucket.scope,
            refund=True,
        ).id
