"""The price of a quantity, slowly and obviously: block by block, in exact fractions.

Written from charging.md section 4 and the words at the top of tariffs/climb.py, to disagree with `climb`. A block is
priced where it begins, by the first step none of whose bounds is reached there; a run of blocks of equal price is
rounded once, on its sum; what a bundle cannot cover of a block is the next step's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from tariffs.climb import ENDLESS
from tariffs.ladder import Counted, Ladder, Step, StepDues
from tariffs.units import Kind, Rounding, SumRounding

DEBTOR = -1


class BlockwiseFunds:
    """Buckets as (kind, scope, amount); the last is main money, which takes what nobody covers."""

    def __init__(self, buckets: Sequence[tuple[int, str, int]]) -> None:
        self.scopes = [(kind, scope) for kind, scope, _ in buckets]
        self.balances = [amount for _, _, amount in buckets]
        self.journal: list[tuple[int, int]] = []

    def copy(self) -> BlockwiseFunds:
        copied = BlockwiseFunds([])
        copied.scopes, copied.balances, copied.journal = self.scopes, self.balances[:], self.journal[:]
        return copied

    def _paying(self, kind: int, scope: str) -> list[int]:
        return [at for at, (k, s) in enumerate(self.scopes) if k == kind and s in ("", scope)]

    def payers(self, kind: int, scope: str, *, owing: bool) -> list[int]:
        return [*self._paying(kind, scope), DEBTOR] if owing else self._paying(kind, scope)

    def available(self, kind: int, scope: str, payer: int | None = None) -> int:
        if payer == DEBTOR:
            return 10**18
        return max(sum(self.balances[at] for at in self._paying(kind, scope) if payer in (None, at)), 0)

    def blocks(self, kind: int, scope: str) -> bool:
        return False

    def take(self, kind: int, scope: str, amount: int, payer: int | None = None) -> int:
        assert amount >= 0
        if payer == DEBTOR:
            self._move(len(self.scopes) - 1, amount)
            return 0
        if payer is not None:
            assert amount <= self.balances[payer]
            self._move(payer, amount)
            return 0
        assert kind == Kind.MONEY or amount <= self.available(kind, scope)
        for at in self._paying(kind, scope):
            part = min(max(self.balances[at], 0), amount)
            self._move(at, part)
            amount -= part
        if amount:
            self._move(len(self.scopes) - 1, amount)
        return 0

    def _move(self, at: int, amount: int) -> None:
        self.balances[at] -= amount
        self.journal.append((at, amount))

    def mark(self) -> int:
        return len(self.journal)

    def undo(self, mark: int) -> None:
        while len(self.journal) > mark:
            at, amount = self.journal.pop()
            self.balances[at] += amount


@dataclass
class Blockwise:
    """A line that climbs one block at a time."""

    ladder: Ladder
    funds: BlockwiseFunds
    counters: dict[str, int]
    at_ms: int
    ms_per_unit: int
    used: int = 0
    paid_to: int = 0
    cost: int = 0
    fee_paid: bool = False
    run: tuple[int, int, int] | None = None
    run_exact: Fraction = Fraction(0)
    run_paid: int = 0
    spent: int = 0
    charged: int = 0
    begun: bool = False
    """A block with a price was paid."""

    def use(self, units: int) -> None:
        """Settle: every unit is charged."""
        while self.paid_to < self.used + units:
            assert self._chain(grant=False) is not None
        self.used += units

    def grant(self, units: int) -> int:
        """Units covered in whole blocks, at most so many, all of one grade."""
        grade = None
        while self.paid_to < self.used + units:
            before = dataclasses.replace(self, funds=self.funds.copy())
            of_block = self._chain(grant=True)
            if of_block is None or grade not in (None, of_block):
                vars(self).update(vars(before))
                break
            grade = of_block
        return min(self.paid_to - self.used, units)

    def _money_scope(self) -> str:
        return next(step.scope for step in self.ladder.steps if step.kind == Kind.MONEY)

    def _chain(self, *, grant: bool) -> str | None:
        """The next block, and of the steps behind what its bundle lacks; its grade, or None when any part is not
        covered."""
        owed, first, grade = 1, 0, None
        while owed > 0:
            at = next(at for at in range(first, len(self.ladder.steps)) if not self._over(self.ladder.steps[at]))
            step = self.ladder.steps[at]
            dues = self.ladder.dues_of(step)
            if step.kind != Kind.MONEY and self._bundled(step) == 0:
                self._leave(step)
                first = at + 1
                continue
            if grant and (step.stop or (dues.ends and self._worth(dues) >= dues.most)):
                return None
            if not self.fee_paid and not dues.waived:
                fee = min(dues.fee, self._left(step))
                if grant and self.funds.available(Kind.MONEY, self._money_scope()) < self._due(fee):
                    return None
                self._pay(Kind.MONEY, self._money_scope(), fee)
                self.fee_paid = True
                continue  # the fee may have brought a counter to its bound
            covered = self._money_block(step, grant) if step.kind == Kind.MONEY else self._bundle_block(step)
            if covered is None:
                return None
            if covered < step.block:
                self._leave(step)
                first = at + 1
                owed = max(owed, step.block) - covered if covered else owed
            else:
                owed -= covered
            if covered and grade is None:
                grade = step.grade
            self.paid_to += covered
        return grade

    def _leave(self, step: Step) -> None:
        """What a bundle cannot cover is the next step's."""

    def _money_block(self, step: Step, grant: bool) -> int | None:
        if step.price == 0:  # nobody pays it
            return step.block
        kept = self.run, self.run_exact, self.run_paid
        dues = self.ladder.dues_of(step)
        begun = self.spent if self.begun else -dues.off
        spent = begun + self._next_amount(step)
        left = self._left(step)
        fee = 0 if self.fee_paid else min(dues.fee, left)
        most = min(dues.most or ENDLESS, self.charged + left - fee)
        due = max(multiple(max(spent, 0), dues.to, dues.rounding), dues.least)
        if due >= most:  # what the bound cuts off is forgiven
            due, spent = most, max(min(spent, most), min(begun, self.charged))
        amount = fee + max(due - self.charged, 0)
        payer = None
        if step.single:
            payers = self.funds.payers(step.kind, step.scope, owing=not grant)
            due_now = self._due(amount)
            payer = next((one for one in payers if self.funds.available(step.kind, step.scope, one) >= due_now), None)
        if grant and (self._lacks(step, amount) or (step.single and payer is None)):
            self.run, self.run_exact, self.run_paid = kept
            return None
        self._pay(step.kind, step.scope, amount, payer)
        self.spent, self.charged, self.fee_paid, self.begun = spent, max(due, self.charged), True, True
        return step.block

    def _lacks(self, step: Step, amount: int) -> bool:
        return self._due(amount) > self.funds.available(step.kind, step.scope)

    def _worth(self, dues: StepDues) -> int:
        return multiple(max(self.spent if self.begun else -dues.off, 0), dues.to, dues.rounding)

    def _left(self, step: Step) -> int:
        """Money until the counter of the step is at its bound: no more is ever due in it."""
        if not any(count.key == step.counter and count.what == Counted.MONEY for count in self.ladder.counts):
            return ENDLESS
        return step.counter_reach - self.counters.get(step.counter, 0) - self.cost

    def _bundled(self, step: Step) -> int:
        """Units that a bundle can cover of its next block."""
        if not step.single:
            return min(self.funds.available(step.kind, step.scope) * step.block // step.price, step.block)
        payers = self.funds.payers(step.kind, step.scope, owing=False)
        return step.block * any(self.funds.available(step.kind, step.scope, one) >= step.price for one in payers)

    def _bundle_block(self, step: Step) -> int:
        """Units covered: the whole block, or what is there of it."""
        covered = self._bundled(step)
        payers = self.funds.payers(step.kind, step.scope, owing=False) if step.single else [None]
        payer = next(
            one for one in payers if self.funds.available(step.kind, step.scope, one) >= step.price * step.single
        )
        amount = step.price if covered == step.block else self.funds.available(step.kind, step.scope)
        self._pay(step.kind, step.scope, amount, payer)
        return covered

    def _over(self, step: Step) -> bool:
        at = self.paid_to
        if step.reach and at >= step.reach:
            return True
        if step.until_ms and self.at_ms + at * self.ms_per_unit >= step.until_ms:
            return True
        if not step.counter:
            return False
        value = self.counters.get(step.counter, 0)
        for count in self.ladder.counts:
            if count.key == step.counter:
                value += at if count.what == Counted.UNITS else self.cost
        return value >= step.counter_reach

    def _next_amount(self, step: Step) -> int:
        priced = (step.price, step.per, step.rounding)
        if self.run != priced:
            self.run, self.run_exact, self.run_paid = priced, Fraction(0), 0
        self.run_exact += Fraction(step.price, step.per)
        amount = rounded(self.run_exact, step.rounding) - self.run_paid
        self.run_paid += amount
        return amount

    def _due(self, amount: int) -> int:
        """What is taken for so much more of the line's price."""
        return amount

    def _pay(self, kind: int, scope: str, amount: int, payer: int | None = None) -> None:
        self.funds.take(kind, scope, self._due(amount) if kind == Kind.MONEY else amount, payer)
        if kind == Kind.MONEY:
            self.cost += amount


def rounded(exact: Fraction, rounding: int) -> int:
    if rounding == Rounding.UP:
        return ceil(exact)
    return floor(exact if rounding == Rounding.DOWN else exact + Fraction(1, 2))


def multiple(amount: int | Fraction, to: int, rounding: int) -> int:
    """Rounded to a multiple of `to`; 0: as it is."""
    if not to:
        return int(amount)
    exact = Fraction(amount, to)
    if rounding == SumRounding.HALF_EVEN:
        return round(exact) * to
    return to * {SumRounding.UP: ceil(exact), SumRounding.DOWN: floor(exact)}.get(
        SumRounding(rounding), floor(exact + Fraction(1, 2))
    )


def counted(ladder: Ladder, counters: Mapping[str, int], units: int, cost: int) -> dict[str, int]:
    """The counters after so many units that cost so much."""
    after = dict(counters)
    for count in ladder.counts:
        after[count.key] = after.get(count.key, 0) + (units if count.what == Counted.UNITS else cost)
    return after
