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
from tariffs.units import EXACT_MAX, Kind

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
        """It is a grant: buckets behind a blocker do not pay."""
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

    def available(self, kind: int, scope: str, payer: Payer | None = None) -> int:
        mode = payer.mode if payer is not None else self.mode
        if mode is None:
            return ENDLESS
        paying = self.paying(kind, scope, mode)
        free = sum(self.free_of(one, mode) for one in paying if payer is None or payer.bucket == one.id)
        free = min(max(free, 0), EXACT_MAX)
        return self._within(free) if kind == Kind.MONEY else free

    def _take_free(self, kind: int, scope: str, amount: int, mode: Mode) -> int:
        for bucket in self.paying(kind, scope, mode):
            part = min(self.free_of(bucket, mode), amount)
            if part > 0:
                self.note(bucket.id, part)
                amount -= part
        return amount

    def take(self, kind: int, scope: str, amount: int, payer: Payer | None = None) -> None:
        if kind == Kind.MONEY and self._sums is not None and self._ladder is not None:
            due = self._sums.due(self._ladder, amount, self.taken[EXACT])
            self.note(EXACT, amount)
            amount = due
        if payer is not None:
            self.note(payer.bucket, amount)
            return
        left = self._take_free(kind, scope, amount, self.mode)
        if left and self.mode == Mode.OWN:
            left = self._take_free(kind, scope, left, Mode.OPEN)
        if left:
            self.note(MAIN, left)

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
