"""The buckets of an account, as a list: who may pay, in which order, what lapses, what crosses a threshold.

Written from charging.md 5 and 7. What is held is never stored: it is added up from the lines that hold it.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.posting import Posting
from tariffs.units import Kind
from tests.balances.oracle.watches import NaiveServiceLine, NaiveThreshold
from tests.tariffs.blockwise import DEBTOR, BlockwiseFunds


@dataclass
class NaiveBucket:
    """One bucket."""

    id: int
    kind: int
    amount: int = 0
    priority: int = 100
    from_ms: int = 0
    until_ms: int = 0
    scope: list[str] = field(default_factory=list)
    refund: bool = False
    """Made for units given back to a bucket that is over."""
    fill: int = 0
    """What it had after its last fill."""
    blocker: bool = False
    hours: tuple[int, int] | None = None
    """Seconds of each day, on a clock that is never moved."""
    late_ms: int = 0
    """Of the request that is served: its hours are those of when it was sent."""
    price: int = 0
    """What `per` of its units cost besides (charging.md 22)."""
    per: int = 1
    paid: int = 0
    """Units that it has paid use with since it was made."""

    def due(self, units: int) -> int:
        """`All units that it has ever paid cost their price, rounded up once.`"""
        return -(-self.price * (self.paid + units) // self.per) - -(-self.price * self.paid // self.per)

    def most_due(self, units: int) -> int:
        """What is held for the price of units that are granted: by each line alone, rounded up once."""
        return -(-self.price * units // self.per)

    def valid(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms and not self.over(at_ms)

    def pays(self, at_ms: int) -> bool:
        """Its hours are hours of use: they say nothing of what the account has."""
        return self.valid(at_ms) and self.open(at_ms)

    def open(self, at_ms: int) -> bool:
        second = (at_ms - self.late_ms) // 1_000 % 86_400
        return self.hours is None or self.hours[0] <= second < self.hours[1]

    def over(self, at_ms: int) -> bool:
        return 0 < self.until_ms <= at_ms

    def order(self) -> tuple[int, float, int]:
        """`Priority, soonest expiry, id`."""
        return self.priority, self.until_ms or float("inf"), self.id


class Takeable(BlockwiseFunds):
    """What one line may take now, bucket by bucket in the order of payment; what `Blockwise` pays from.

    Choice: the credit limit is a part of the main bucket, at its place in the order; a bucket behind it pays once the
    limit is used up.
    """

    def __init__(
        self, parts: Sequence[tuple[NaiveBucket, int]], limit: int = 0, taken: dict[int, int] | None = None
    ) -> None:
        """
        parts:  buckets and how much of each may be taken; of the main one it may be below zero
        limit:  the credit limit, which counts once
        """
        super().__init__([])
        self.parts = sorted(parts, key=lambda part: part[0].order())
        self.limit = limit
        self.at_ms = 0
        """The instant of the block that is paid: a bucket pays only blocks that begin while it is valid ..."""
        self.named: set[int] = set()
        """... but these pay whenever that is."""
        self.taken: dict[int, int] = dict(taken or {})
        self.others = dict(self.taken)
        """What of it others of the same request hold: each line is priced by itself."""
        self.held: dict[int, int] = {}
        """What the line holds besides: what more it is granted is priced with it."""
        self.granting = False
        """Blockers count in grants (charging.md 22) ..."""
        self.behind = False
        """... and of this block one stands in front of all that follows."""
        self.spending: int | None = None
        """What limits of money leave (charging.md 15); None: there is none."""

    def within(self, spending: int | None) -> Takeable:
        """The same, with what limits of money leave."""
        self.spending = spending
        return self

    def beside(self, held: dict[int, int]) -> Takeable:
        """The same, for a line that holds these."""
        self.held = held
        return self

    def copy(self) -> Takeable:
        copied = Takeable(self.parts, self.limit, self.taken).within(self.spending).beside(self.held)
        copied.others = self.others
        copied.at_ms, copied.named = self.at_ms, self.named
        return copied

    def _left(self, bucket: NaiveBucket, amount: int) -> int:
        return amount - self.taken.get(bucket.id, 0)

    def _applicable(self, kind: int, scope: str) -> list[NaiveBucket]:
        return [
            bucket
            for bucket, _ in self.parts
            if bucket.kind == kind
            and (not bucket.scope or scope in bucket.scope)
            and (bucket.id in self.named or bucket.pays(self.at_ms))
        ]

    def blockers(self, kind: int, scope: str) -> list[NaiveBucket]:
        """Empty or not, those that count."""
        return [bucket for bucket in self._applicable(kind, scope) if bucket.blocker and self.granting]

    def payers(self, kind: int, scope: str, *, owing: bool) -> list[int]:
        blockers = self.blockers(kind, scope)
        ids = [
            bucket.id
            for bucket in self._applicable(kind, scope)
            if not self.behind and all(bucket.priority <= one.priority for one in blockers)
        ]
        return [*ids, DEBTOR] if owing else ids

    def available(self, kind: int, scope: str, payer: int | None = None) -> int:
        ids = self.payers(kind, scope, owing=False)
        lefts = [
            self._left(bucket, amount)
            for bucket, amount in self.parts
            if bucket.id in ids and payer in (None, bucket.id)
        ]
        if kind != Kind.MONEY and any(bucket.price for bucket, _ in self.parts):
            return self._units_there(kind, ids, scope, payer)
        limit = self.limit if MAIN in ids else 0
        there_is = max(sum(lefts) + (limit if kind == Kind.MONEY else 0), 0)
        if kind != Kind.MONEY or self.spending is None:
            return there_is
        spent = sum(self.taken.get(bucket.id, 0) for bucket, _ in self.parts if bucket.kind == Kind.MONEY)
        return max(min(there_is, self.spending - spent), 0)

    def _units_there(self, kind: int, ids: Sequence[int], scope: str, payer: int | None) -> int:
        """One after the other, unit by unit as long as money covers what they cost."""
        trial, there_is = self.copy(), 0
        trial.granting, trial.behind = self.granting, self.behind
        for one in ids:
            if payer in (None, one):
                there_is += trial._take_of(one, scope, None)
        return there_is

    def _take_of(self, one: int, scope: str, wanted: int | None) -> int:
        """Units of a bucket, with their price from money; as many as there are, or as are wanted. Returns how many."""
        bucket, most = next(part for part in self.parts if part[0].id == one)
        units = max(self._left(bucket, most), 0)
        units = units if wanted is None else min(units, wanted)
        if bucket.price:
            there_is = self.available(Kind.MONEY, scope)

            def more(units: int) -> int:
                return self._price_of(bucket, units) - self._price_of(bucket, 0)

            if self.granting:  # as many as it covers: more units never cost less
                units = bisect.bisect_right(range(units + 1), there_is, key=more) - 1
            self.take(Kind.MONEY, scope, more(units))
        self._move(one, units)
        return units

    def take(self, kind: int, scope: str, amount: int, payer: int | None = None) -> int:
        assert payer is None
        for one in self.payers(kind, scope, owing=False):
            if kind != Kind.MONEY:
                amount -= self._take_of(one, scope, amount)
                continue
            bucket, most = next(part for part in self.parts if part[0].id == one)
            below = self.limit if bucket.id == MAIN else 0
            part = min(max(self._left(bucket, most) + below, 0), amount)
            self._move(bucket.id, part)
            amount -= part
        if amount:
            assert kind == Kind.MONEY
            self._move(MAIN, amount)  # `only the main money bucket may go below zero`
        return 0

    def priced(self) -> int:
        """Money that was taken for prices of buckets."""
        return sum(self._price_of(bucket, 0) for bucket, _ in self.parts if bucket.price)

    def _price_of(self, bucket: NaiveBucket, more: int) -> int:
        """What was taken of it and so much more comes to; a grant may be used anywhere: the most that it may cost."""
        units = self.taken.get(bucket.id, 0) - self.others.get(bucket.id, 0) + more
        if not self.granting:
            return bucket.due(units)
        held = self.held.get(bucket.id, 0)
        return bucket.most_due(held + units) - bucket.most_due(held)

    def _move(self, bucket: int, amount: int) -> None:
        if amount:
            self.taken[bucket] = self.taken.get(bucket, 0) + amount


@dataclass(frozen=True)
class Movement:
    """One change of one bucket."""

    bucket: int
    amount: int
    counter_account: str


class NaiveAccount:
    """An account: its buckets, its limits and its state."""

    def __init__(self, *, credit_limit: int, suspend_below: int, resume_at: int) -> None:
        self.buckets = [NaiveBucket(MAIN, Kind.MONEY)]
        self.credit_limit, self.suspend_below, self.resume_at = credit_limit, suspend_below, resume_at
        self.state = 0
        self.movements: list[Movement] = []
        """Of the call in work."""
        self.crossings: list[tuple[str, str]] = []
        """Kind, and of what."""
        self.watches: list[NaiveThreshold] = []
        self.service_line: NaiveServiceLine | None = None
        """Of the one service that is used."""
        self.held_of: Callable[[int], int] = lambda _: 0

    def begin(self) -> None:
        """A call begins."""
        self.movements, self.crossings = [], []

    def bucket(self, of: int) -> NaiveBucket:
        return next(bucket for bucket in self.buckets if bucket.id == of)

    def move(self, of: int, amount: int, counter_account: str) -> None:
        """The only place where money moves."""
        if amount:
            self.bucket(of).amount += amount
            self.movements.append(Movement(of, amount, counter_account))

    def new(self, kind: int, **others: int | list[str] | bool | tuple[int, int] | None) -> NaiveBucket:
        bucket = NaiveBucket(len(self.buckets), kind, **others)  # type: ignore[arg-type]
        self.buckets.append(bucket)
        return bucket

    # ------------------------------------------------------------ what may pay

    @contextmanager
    def late(self, ms: int) -> Iterator[None]:
        """Serve a request that comes so long after its event time: hours are those of then."""
        for bucket in self.buckets:
            bucket.late_ms = ms
        yield
        for bucket in self.buckets:
            bucket.late_ms = 0

    def free(self, at_ms: int, *, without: Callable[[int], int] | None = None, limit: bool = True) -> Takeable:
        """`Spendable = sum of usable money buckets - held + credit limit once`, and units of bundles.

        without:  what is held by others, where it is not all that is held
        """
        held = without or self.held_of
        parts = [(bucket, bucket.amount - held(bucket.id)) for bucket in self.buckets if not bucket.over(at_ms)]
        return Takeable(parts, self.credit_limit if limit else 0)

    # ------------------------------------------------------------ time and thresholds

    def lapse(self, now_ms: int) -> None:
        """A bucket that is over loses what nobody holds of it."""
        for bucket in self.buckets:
            if bucket.over(now_ms):
                self.move(bucket.id, self.held_of(bucket.id) - bucket.amount, "expiry")

    def settled(self, now_ms: int) -> int:
        """`The settled money balance: holds not subtracted, credit limit not added`. Choice: of the usable buckets."""
        return sum(bucket.amount for bucket in self.buckets if bucket.kind == Kind.MONEY and bucket.valid(now_ms))

    def check(self, now_ms: int) -> None:
        """`Suspend_below` and `resume_at`: once per crossing. Choice: every request and posting compares, also one that
        moves no money; supervision only where something lapsed."""
        balance = self.settled(now_ms)
        if not self.state & SuspendReasons.CREDIT and balance < self.suspend_below:
            self.state |= SuspendReasons.CREDIT
            self.crossings.append(("suspend", ""))
        elif self.state & SuspendReasons.CREDIT and balance >= self.resume_at:
            self.state &= ~SuspendReasons.CREDIT
            self.crossings.append(("resume", ""))
        if self.service_line is not None and (word := self.service_line.check(self.buckets, now_ms)):
            self.crossings.append((word, "data"))
        for one in self.watches:
            if word := one.check(self.buckets, now_ms):
                self.crossings.append((word, one.name))

    @property
    def suspended(self) -> bool:
        """For credit: a line of the service counts in the place of the account's."""
        if self.service_line is not None:
            return self.service_line.suspended
        return bool(self.state & SuspendReasons.CREDIT)

    @property
    def low_below(self) -> int:
        return self.resume_at if self.service_line is None else self.service_line.resume_at

    # ------------------------------------------------------------ the back office

    def post(
        self, postings: Sequence[Posting], now_ms: int, *, own_only: bool, keeps_held: bool, lasting_ms: int = 0
    ) -> bool:
        """All of them or none. Buckets that are there, and have an end to come, end no sooner than `lasting_ms`
        (charging.md 23)."""
        after = {bucket.id: bucket.amount for bucket in self.buckets}
        for one in postings:
            if one.bucket == -1:
                if one.amount < 0:
                    return False
                continue
            after[one.bucket] += one.amount
            held = self.held_of(one.bucket)
            if own_only and one.amount < 0 and self.bucket(one.bucket).price:
                return False  # `units of such a bucket are not transferred`
            if one.bucket != MAIN or own_only:
                if one.amount < 0 and after[one.bucket] < held:
                    return False
            elif keeps_held and one.amount < 0 and after[MAIN] + self.credit_limit < held:
                return False
        self.lapse(now_ms)
        for bucket in self.buckets:
            if bucket.until_ms and not bucket.over(now_ms):
                bucket.until_ms = max(bucket.until_ms, lasting_ms)
        for one in postings:
            of = one.bucket
            if of == -1:
                of = self.new(
                    one.kind,
                    priority=one.priority,
                    from_ms=one.from_ms,
                    until_ms=one.until_ms,
                    scope=one.scope,
                    blocker=one.blocker,
                    hours=next(((of.from_s, of.until_s) for of in one.hours), None),
                    price=one.price,
                    per=one.per,
                ).id
            self.move(of, one.amount, one.counter_account)
            if one.amount > 0 and (one.bucket == -1 or one.counter_account == "top-up"):
                self.bucket(of).fill = max(self.bucket(of).amount, 0)
        self.lapse(now_ms)
        self.check(now_ms)
        return True
