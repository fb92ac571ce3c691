"""The balances a climb may use; what is taken is only noted, and the caller makes it a hold or a debit. Twin of
lua/lib/funds.lua."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from balances.model.hours import hours_at
from balances.model.sums import SessionSums
from balances.structs.account import MAIN, Account, Bucket, Take
from tariffs.climb import ENDLESS
from tariffs.ladder import Ladder
from tariffs.units import EXACT_MAX, Kind, Rounding, muldiv

EXACT: Final = -1
"""In the place of a bucket: what a line came to before its session is rounded."""


class Mode(IntEnum):
    OPEN = 1
    """What nobody holds."""
    OWN = 2
    """What this line held."""
    ALONE = 3
    """What others hold too, but for this line's own: is there money at all?"""


class Payer(NamedTuple):
    """A bucket that pays alone."""

    bucket: int
    mode: Mode | None
    """What of it; None: it owes what the others do not cover."""


def credit_of(account: Account) -> int:
    """The credit limit as far as it can be counted: with all the money below 2**53, and so is what is held."""
    has = sum(bucket.amount for bucket in account.buckets if bucket.kind == Kind.MONEY and bucket.amount > 0)
    return min(account.credit_limit, EXACT_MAX - has)


class AccountFunds:
    """The balances a climb may use; what is taken is only noted."""

    def __init__(self, account: Account, limit: int, now_ms: int, mode: Mode, own: dict[int, int], who: str) -> None:
        self.account = account
        self.subscriber = who
        """Who uses: buckets of one member pay for nobody else."""
        self.limit = limit
        """Credit that may be given; see `credit_of`."""
        self.now_ms = now_ms
        self.mode = mode
        self.own = own
        self.used_ms = 0
        """When the first unit of the climb is used."""
        self.clock_ms = now_ms
        """The instant at which hours of buckets are asked ..."""
        self.is_timed = False
        """... also of what was held: it is use by time."""
        self.caps: dict[int, int] | None = None
        self.taken: dict[int, int] = {}
        self.counted: dict[str, int] = {}
        """What climbs took of limits, and nobody holds yet (limits.py)."""
        self.own_counted: dict[str, int] = {}
        """ALONE: what the line itself holds of its limits."""
        self.rations: dict[str, int] = {}
        """The part of a limit that this line may take, where others want it too."""
        self.unlimited = False
        """Limits are not looked at."""
        self.granting = False
        """It is a grant: buckets behind a blocker do not pay, those with a price no more than money covers."""
        self.is_priced = any(bucket.price for bucket in account.buckets)
        self.held: list[Take] = []
        """A grant: what the line holds already, which is priced with what more it is granted."""
        self.allowed = EXACT_MAX
        """Money that may be taken in all, where a bucket has a price."""
        self._sums: SessionSums | None = None
        self._ladder: Ladder | None = None
        self._journal: list[tuple[int, int]] = []

    def round_by(self, sums: SessionSums, ladder: Ladder) -> None:
        """From here on money is what a line comes to before its session is rounded; taken is what is due of that.
        `sums`: without it."""
        self._sums, self._ladder = (sums, ladder) if ladder.sum_to else (None, None)
        self.taken[EXACT] = 0

    def end_of(self, bucket: Bucket) -> int:
        """From when on it no longer pays, 0: never. Its validity may begin with its first use."""
        return self.now_ms + bucket.window_ms if bucket.window_ms else bucket.until_ms

    def _is_payable(self, bucket: Bucket, kind: int, scope: str, mode: Mode) -> bool:
        is_his = bucket.member in ("", self.subscriber) or mode == Mode.OWN
        return bucket.kind == kind and is_his and (not bucket.scope or scope in bucket.scope)

    def _is_valid(self, bucket: Bucket, mode: Mode) -> bool:
        """What was held pays use of before the expiry, however late it is reported; use that is to come is paid by what
        is valid then."""
        if bucket.hours and (mode != Mode.OWN or self.is_timed):
            is_open, _ = hours_at(bucket.hours, self.account.clock, self.clock_ms)
            if not is_open:
                return False
        at_ms = max(self.used_ms, self.now_ms)
        if mode == Mode.OWN:
            return not 0 < self.end_of(bucket) <= self.used_ms
        return bucket.from_ms <= at_ms and not 0 < self.end_of(bucket) <= at_ms

    def paying(self, kind: int, scope: str, mode: Mode) -> list[Bucket]:
        """In their order; in a grant those that are not behind a blocker."""
        paying = [
            bucket
            for bucket in self.account.buckets
            if self._is_payable(bucket, kind, scope, mode) and self._is_valid(bucket, mode)
        ]
        first = next((bucket for bucket in paying if bucket.blocker), None) if self.granting else None
        return paying if first is None else [bucket for bucket in paying if bucket.priority <= first.priority]

    def blocks(self, kind: int, scope: str) -> bool:
        return self.granting and any(bucket.blocker for bucket in self.paying(kind, scope, self.mode))

    def free_of(self, bucket: Bucket, mode: Mode) -> int:
        taken = self.taken.get(bucket.id, 0)
        own = self.own.get(bucket.id, 0)
        if mode == Mode.OWN:
            return (own if bucket.id == MAIN else min(own, bucket.amount - bucket.held)) - taken
        free = bucket.amount - taken - (bucket.held if mode == Mode.OPEN else own)
        if bucket.id == MAIN:
            free += self.limit
        if self.caps is not None:
            free = min(free, self.caps.get(bucket.id, 0) - taken)
        return free

    def payers(self, kind: int, scope: str, *, owing: bool) -> list[Payer]:
        """Of what was held and is not enough, those that have something free, and then the debtor."""
        modes = (Mode.OWN, Mode.OPEN) if owing and self.mode == Mode.OWN else (self.mode,)
        payers = [Payer(bucket.id, mode) for mode in modes for bucket in self.paying(kind, scope, mode)]
        return [*payers, Payer(MAIN, None)] if owing else payers

    def _within(self, money: int) -> int:
        if self._sums is None or self._ladder is None:
            return money
        return self._sums.within(self._ladder, money, self.taken[EXACT])

    def payable(self, sums: SessionSums, ladder: Ladder, most: int) -> int:
        """What a line may come to so that it is charged at most `most` with the prices of buckets. Where its session is
        rounded these may shift what it comes to against the multiples: one of them is kept free."""
        return sums.within(ladder, max(most - (ladder.sum_to if self.is_priced else 0), 0))

    def asks_money(self, kind: int, scope: str) -> bool:
        """Whether a bucket that may pay has a price, so that what it pays asks for money too."""
        return any(bucket.price for bucket in self.paying(kind, scope, Mode.OPEN))

    def paid(self) -> int:
        """Money that was taken."""
        return sum(self.taken.get(one.id, 0) for one in self.account.buckets if one.kind == Kind.MONEY)

    def _rest_of(self, bucket: Bucket) -> int:
        """What rounding has charged too much before: of what the bucket has paid, or of what the line holds. A grant
        holds the most that its units can cost, wherever the bucket stands then."""
        if not self.granting:
            return bucket.rest
        held = sum(take.amount for take in self.held if take.bucket == bucket.id)
        return muldiv(bucket.price, held, 0, bucket.per, Rounding.UP)[1]

    def price_of(self, bucket: Bucket, units: int) -> int:
        """What the price of a bucket comes to for these of its units, which are all that is taken."""
        return muldiv(bucket.price, units, self._rest_of(bucket), bucket.per, Rounding.UP)[0]

    def priced(self) -> int:
        """What was taken for the prices of buckets."""
        if not self.is_priced:
            return 0
        return sum(self.price_of(one, self.taken.get(one.id, 0)) for one in self.account.buckets if one.price)

    def _money_left(self, scope: str, mode: Mode) -> int:
        left = self.allowed - self.paid()
        if self.granting:
            left = min(left, sum(self.free_of(one, mode) for one in self.paying(Kind.MONEY, scope, mode)))
        return max(left, 0)

    def _with_money(self, bucket: Bucket, units: int, money: int) -> tuple[int, int]:
        """How many of these units of a bucket with a price the money covers, and what remains of it."""
        before = self.taken.get(bucket.id, 0)
        due = self.price_of(bucket, before)
        paid = min(due + money, EXACT_MAX)
        covered = muldiv(paid, bucket.per, -self._rest_of(bucket), bucket.price, Rounding.DOWN)[0] - before
        covered = max(min(units, covered), 0)
        return covered, money + due - self.price_of(bucket, before + covered)

    def _units_free(self, paying: list[Bucket], scope: str, mode: Mode) -> int:
        free, money = 0, self._money_left(scope, mode)
        for bucket in paying:
            part = self.free_of(bucket, mode)
            if bucket.price:
                part, money = self._with_money(bucket, part, money)
            free += part
        return free

    def available(self, kind: int, scope: str, payer: Payer | None = None) -> int:
        mode = payer.mode if payer is not None else self.mode
        if mode is None:
            return ENDLESS
        paying = [one for one in self.paying(kind, scope, mode) if payer is None or payer.bucket == one.id]
        if self.is_priced and kind != Kind.MONEY:
            return min(self._units_free(paying, scope, mode), EXACT_MAX)
        free = sum(self.free_of(one, mode) for one in paying)
        if self.is_priced and self.granting:
            free = min(free, self.allowed - self.paid())
        free = min(max(free, 0), EXACT_MAX)
        return self._within(free) if kind == Kind.MONEY else free

    def _take_free(self, kind: int, scope: str, amount: int, mode: Mode) -> int:
        for bucket in self.paying(kind, scope, mode):
            part = min(self.free_of(bucket, mode), amount)
            if part > 0 and bucket.price:
                part, _ = self._with_money(bucket, part, self._money_left(scope, mode))
            if part > 0:
                self._note_with_price(bucket, scope, part)
                amount -= part
        return amount

    def _note_with_price(self, bucket: Bucket, scope: str, amount: int) -> None:
        """Its units, and its price from money."""
        before = self.taken.get(bucket.id, 0)
        self.note(bucket.id, amount)
        if bucket.price:
            self._take_all(Kind.MONEY, scope, self.price_of(bucket, before + amount) - self.price_of(bucket, before))

    def _take_all(self, kind: int, scope: str, amount: int) -> None:
        left = self._take_free(kind, scope, amount, self.mode)
        if left and self.mode == Mode.OWN:
            left = self._take_free(kind, scope, left, Mode.OPEN)
        if left:
            self.note(MAIN, left)

    def take(self, kind: int, scope: str, amount: int, payer: Payer | None = None) -> int:
        before = self.priced()
        self._take(kind, scope, amount, payer)
        return self.priced() - before

    def _take(self, kind: int, scope: str, amount: int, payer: Payer | None) -> None:
        if kind == Kind.MONEY and self._sums is not None and self._ladder is not None:
            due = self._sums.due(self._ladder, amount, self.taken[EXACT])
            self.note(EXACT, amount)
            amount = due
        if payer is None:
            self._take_all(kind, scope, amount)
            return
        bucket = next(one for one in self.account.buckets if one.id == payer.bucket)
        self._note_with_price(bucket, scope, amount)

    def note(self, bucket: int, amount: int) -> None:
        self.taken[bucket] = self.taken.get(bucket, 0) + amount
        self._journal.append((bucket, amount))

    def mark(self) -> int:
        return len(self._journal)

    def undo(self, mark: int) -> None:
        for bucket, amount in self._journal[mark:]:
            self.taken[bucket] -= amount
        del self._journal[mark:]

    def takes(self) -> list[Take]:
        order = dict.fromkeys(bucket for bucket, _ in self._journal if bucket != EXACT)
        return [Take(bucket, self.taken[bucket]) for bucket in order if self.taken[bucket]]
