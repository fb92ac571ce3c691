"""One line of a session: its blocks, its hold, how use is paid from it and how much can be granted.

Written from charging.md 4 and 5. A block is walked as `tests/tariffs/blockwise.py` walks it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from tariffs.ladder import Count, Counted, Ladder, Step
from tariffs.units import Kind
from tests.balances.oracle.account import NaiveAccount, Takeable
from tests.tariffs.blockwise import Blockwise, multiple

SECOND = 1_000


@dataclass
class LineWalk(Blockwise):
    """Blockwise, with blocks whose unused part lapses (charging.md 4: `paid_ahead`)."""

    funds: Takeable
    ahead_ms: int = 0
    """When what is paid ahead lapses; 0: never."""
    sum_before: int = 0
    """What the session came to, by the rounding of the ladder, ..."""
    cost_before: int = 0
    """... when the line had come to this."""
    unknown: bool = False
    """A grant: nobody knows where the sum will stand when it is used."""

    def sums_on(self, before: int, *, unknown: bool = False) -> None:
        self.sum_before, self.cost_before, self.unknown = before, self.cost, unknown

    def _lacks(self, step: Step, amount: int) -> bool:
        """`Not what the line comes to more with`, behind a blocker."""
        return (self.funds.behind and amount > 0) or super()._lacks(step, amount)

    def _due(self, amount: int) -> int:
        """`A report is charged what the rounded sum has grown by`; `a grant holds what its use may cost at most`."""
        came_to = self.sum_before + self.cost - self.cost_before
        to, rounding = self.ladder.sum_to, self.ladder.sum_rounding
        if not to:
            return amount
        if not self.unknown:
            return multiple(came_to + amount, to, rounding) - multiple(came_to, to, rounding)
        return grown(came_to + amount, to, rounding) - grown(came_to, to, rounding)

    def _chain(self, *, grant: bool) -> str | None:
        self.funds.at_ms = self.at_ms + self.paid_to * self.ms_per_unit
        self.funds.behind, self.funds.granting = False, grant
        return super()._chain(grant=grant)

    def _leave(self, step: Step) -> None:
        if self.funds.blockers(step.kind, step.scope):
            self.funds.behind = True

    def _money_block(self, step: Step, grant: bool) -> int | None:
        covered = super()._money_block(step, grant)
        self.ahead_ms = step.ends_ms if covered else self.ahead_ms
        return covered

    def _bundle_block(self, step: Step) -> int:
        self.ahead_ms = step.ends_ms
        return super()._bundle_block(step)

    def lapse(self, at_ms: int) -> None:
        """What is paid ahead and not used is lost with its period."""
        if 0 < self.ahead_ms <= at_ms:
            self.paid_to, self.ahead_ms = self.used, 0


@lru_cache(None)
def grown(amount: int, to: int, rounding: int) -> int:
    """The most that a rounded sum grows by, tried out at each place where it may stand."""
    return max(multiple(at + amount, to, rounding) - multiple(at, to, rounding) for at in range(2 * to))


def counts(count: Count, units: int, came_to: int, charged: int) -> int:
    """`A spending limit counts what is charged, any other counter of money what the line comes to`."""
    if count.what == Counted.UNITS:
        return units
    return charged if count.limit >= 0 else came_to


@dataclass
class NaiveCounter:
    """A counter: what was used."""

    used: int = 0


@dataclass
class NaiveLine:
    """A line, and how far it is."""

    rating_group: int
    service_id: int
    unit: int
    walk: LineWalk
    ladder: Ladder
    """That its hold was made with, or that it was last priced by."""
    hold: dict[int, int] = field(default_factory=dict)
    granted: int = 0
    due_ms: int = 0
    since_ms: int = 0
    """When what it holds was granted."""
    priced: int = 0
    """Of what is settled, for prices of buckets."""
    held: bool = False
    """Something was granted to it once: `a report is settled with the ladder stored with its hold`."""

    def release(self) -> None:
        self.hold, self.granted, self.due_ms = {}, 0, 0

    # ------------------------------------------------------------ counters

    def _bases(self, ladder: Ladder, levels: Mapping[str, int]) -> dict[str, int]:
        """Where counters stood when the line began, as far as its own use is in them."""
        bases = dict(levels)
        for count in ladder.counts:
            own = self.walk.used if count.what == Counted.UNITS else self.walk.cost
            bases[count.key] = bases.get(count.key, 0) - own
        return bases

    # ------------------------------------------------------------ settle

    def settle(
        self,
        units: int,
        at_ms: int,
        account: NaiveAccount,
        counters: dict[str, NaiveCounter],
        sums: dict[tuple[int, int], int],
    ) -> int:
        """Use of so many units that ended at `at_ms`: debited. Returns the money debited.

        Up to the grant it is `paid from the buckets its hold named`; beyond, from what nobody holds, and the rest is
        debt of the main bucket.
        """
        walk, before = self.walk, self.walk.cost
        walk.ladder = self.ladder
        rounding = self.ladder.sum_to, self.ladder.sum_rounding
        walk.sums_on(sums.get(rounding, 0))
        levels = {key: counter.used for key, counter in counters.items()}
        walk.counters = self._bases(self.ladder, levels)
        within = min(units, self.granted)
        if self.unit == Kind.SECONDS:
            begin_ms = at_ms - units * SECOND
            for second in range(units):
                self._pay(1, begin_ms + second * SECOND, account, within=second < within, each=SECOND)
        else:
            self._pay(within, at_ms, account, within=True)
            self._pay(units - within, at_ms, account, within=False)
        self.granted -= within
        priced, self.priced = self.priced, 0
        came_to = walk.cost - before
        cost = came_to
        if self.ladder.sum_to:
            sums[rounding] = sums.get(rounding, 0) + came_to
            cost = multiple(sums[rounding], *rounding) - multiple(sums[rounding] - came_to, *rounding)
        cost += priced
        for count in self.ladder.counts:
            counters.setdefault(count.key, NaiveCounter()).used += counts(count, units, came_to, cost)
        return cost

    def _pay(self, units: int, at_ms: int, account: NaiveAccount, *, within: bool, each: int = 0) -> None:
        walk = self.walk
        if not units:
            return
        # Of volume only the interval is known: what was granted was used some time since, the rest when reported.
        walk.lapse(self.since_ms if within and not each else at_ms)
        walk.at_ms, walk.ms_per_unit = at_ms - walk.used * each, each
        walk.funds = self._takeable(at_ms, account, within=within)
        walk.use(units)
        self.priced += walk.funds.priced()
        for bucket, amount in walk.funds.taken.items():
            account.move(bucket, -amount, "revenue")
            account.bucket(bucket).paid += amount
            left = max(self.hold.get(bucket, 0) - amount, 0)
            self.hold[bucket] = left

    def _takeable(self, at_ms: int, account: NaiveAccount, *, within: bool) -> Takeable:
        """The hold, and beyond the grant what nobody holds too.

        Choice: of volume only the interval is known in which it was used, and that began when the hold was made: what
        has expired since pays all the same. A bucket that is held pays, though by the report's clock it had not begun.
        """
        own = [(bucket, self.hold.get(bucket.id, 0)) for bucket in account.buckets]
        parts = [(bucket, held + (0 if within else bucket.amount - account.held_of(bucket.id))) for bucket, held in own]
        takeable = Takeable(parts, 0 if within else account.credit_limit)
        takeable.named = {
            bucket.id
            for bucket, held in own
            if held and not (self.unit == Kind.SECONDS and (bucket.over(at_ms) or not bucket.open(at_ms)))
        }
        return takeable

    # ------------------------------------------------------------ grant

    def reach(
        self,
        wish: int,
        ladder: Ladder,
        takeable: Takeable,
        levels: Mapping[str, int],
        now_ms: int,
        *,
        at_once: bool = False,
    ) -> LineWalk:
        """The walk over as much of the wish as is covered in whole blocks; `granted_by` says how much that is.

        at_once:  it is used with the grant, by a session of its own
        """
        walk = dataclasses.replace(self.walk, funds=takeable.copy(), ladder=ladder)
        walk.counters = self._bases(ladder, levels)
        walk.sums_on(0, unknown=not at_once)
        walk.lapse(now_ms)
        each = SECOND if self.unit == Kind.SECONDS else 0
        walk.at_ms, walk.ms_per_unit = now_ms - walk.used * each, each
        walk.grant(wish)
        return walk

    def granted_by(self, walk: LineWalk, wish: int) -> int:
        return min(walk.paid_to - walk.used, wish)


def is_free(ladder: Ladder) -> bool:
    """Price 0."""
    return all(step.kind == Kind.MONEY and step.price == 0 for step in ladder.steps) and not any(
        dues.fee for dues in ladder.dues
    )
