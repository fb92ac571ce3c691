"""What one call changes of an account: entries, counters, expiry, thresholds. Twin of lua/lib/account.lua."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from balances.model.funds import AccountFunds, Mode, credit_of
from balances.model.sums import SessionSums
from balances.structs.account import (
    COUNTER_KEPT_MS,
    Account,
    Bucket,
    Counter,
    CounterAmount,
    CounterWindow,
    Take,
)
from balances.structs.blob import FORMAT
from balances.structs.record import CounterAccount, Entry, Record, Short, Usage
from balances.structs.session import Line
from balances.structs.thresholds import Crossing
from tariffs.ladder import Count, Ladder
from tariffs.units import EXACT_MAX, Kind, Rounding, muldiv


def whole_of(bucket: Bucket) -> int:
    """The bucket that a bucket is, or is the money of (charging.md section 22)."""
    return bucket.part_of or bucket.id


class AccountChange:
    """One operation on one account: entries, expiry, thresholds, holds."""

    def __init__(self, account: Account, now_ms: int) -> None:
        self.account = account
        self.subscriber = ""
        """Who uses, where it is a charge."""
        self.now_ms = account.clock_ms = max(now_ms, account.clock_ms)
        self._limit = credit_of(account)
        self.entries: list[Entry] = []
        self.usages: list[Usage] = []
        self.threshold_events: list[Crossing] = []
        self.reauthorize: list[str] = []
        self.short: list[Short] = []
        self.due_ms = 0
        """When supervision has to look at the buckets; 0: no sooner than it knows."""
        self.sums = SessionSums([])
        """Of the session that is charged."""
        self.priced = 0
        """Of what was settled last, for prices of buckets; until its usage record is noted."""
        self.cuts = 0
        """How often use by time was cut."""
        self.generation = 0
        """That of the account, if this raised it."""

    @property
    def urgent(self) -> int:
        """1 where somebody acts on what the record says (Reply.urgent)."""
        return 1 if self.threshold_events or self.reauthorize else 0

    def raise_generation(self) -> None:
        """What the network may do changes: by this call once (durability.md rule 10)."""
        if not self.generation:
            self.account.generation += 1
            self.generation = self.account.generation

    def bucket_of(self, bucket_id: int) -> Bucket | None:
        return next((bucket for bucket in self.account.buckets if bucket.id == bucket_id), None)

    def sure_bucket(self, bucket_id: int) -> Bucket:
        bucket = self.bucket_of(bucket_id)
        assert bucket is not None, bucket_id
        return bucket

    def funds(self, mode: Mode, own: dict[int, int]) -> AccountFunds:
        return AccountFunds(self.account, self._limit, self.now_ms, mode, own, self.subscriber)

    def counter_of(self, key: str) -> Counter | None:
        return next((counter for counter in self.account.counters if counter.key == key), None)

    def counter_values(
        self, ladder: Ladder | None, *, with_held: bool, at_ms: int, line: Line | None = None
    ) -> dict[str, int]:
        """As a climb begins: a grant sees what is held too, but under a cap only what its own `line` holds; use that
        happened does not. A window that is over has nothing used in it, or is past every bound."""
        values = {}
        caps = {count.key for count in ladder.counts if count.cap} if ladder else ()
        for counter in self.account.counters:
            value = counter.used
            if counter.window != CounterWindow.NONE and 0 < counter.until_ms <= at_ms:
                value = EXACT_MAX if counter.window == CounterWindow.ONCE else 0
            held = counter.held if with_held else 0
            if held and counter.key in caps:
                held = self.money_held(line) - (self.price_held(line) if line is not None else 0)
            values[counter.key] = min(value + held, EXACT_MAX)
        return values

    def money_held(self, line: Line | None) -> int:
        takes = line.hold if line is not None else []
        return sum(take.amount for take in takes if self.sure_bucket(take.bucket).kind == Kind.MONEY)

    def price_held(self, line: Line, more: Sequence[Take] = ()) -> int:
        """What of it is for the prices of buckets (charging.md 22), with what is taken besides."""
        priced = [bucket for bucket in self.account.buckets if bucket.price]
        if not priced:
            return 0
        units = {
            bucket.id: sum(take.amount for take in (*line.hold, *more) if take.bucket == bucket.id) for bucket in priced
        }
        return sum(muldiv(one.price, units[one.id], 0, one.per, Rounding.UP)[0] for one in priced)

    def counter_made(self, count: Count) -> Counter:
        counter = self.counter_of(count.key)
        if counter is None:
            window = (
                (CounterWindow.ONCE if count.once else CounterWindow.RENEWS) if count.window_ms else CounterWindow.NONE
            )
            counter = Counter(count.key, 0, 0, count.until_ms, window, 0, [])
            self.account.counters.append(counter)
        return counter

    def count_usage(self, count: Count, at_ms: int, used: int, held: int) -> None:
        """Raise a counter. A window begins with its first use, and again with the first one after its end."""
        if not used and not held:
            return
        counter = self.counter_made(count)
        if counter.window != CounterWindow.NONE and (used > 0 or held > 0):
            if 0 < counter.until_ms <= at_ms and counter.window == CounterWindow.RENEWS:
                counter.used = counter.until_ms = 0
            counter.until_ms = counter.until_ms or at_ms + count.window_ms
        counter.used = min(counter.used + used, EXACT_MAX)  # past every bound it says no more
        counter.held += held

    def post_entry(
        self, bucket: Bucket, amount: int, counter_account: str, why: str, line: int = -1, before: int = 0
    ) -> Entry | None:
        """Every amount that moves passes here. before: money charged so far of what it is of"""
        if not amount:
            return None
        self.account.seq += 1
        bucket.amount += amount
        self.entries.append(
            Entry(
                *(self.account.seq, bucket.id, bucket.kind, amount, bucket.amount, counter_account, why, line),
                before=before,
            )
        )
        return self.entries[-1]

    def look_at_end(self, bucket: Bucket) -> None:
        """Supervision looks at a bucket that was made, or has begun, when it ends."""
        if bucket.until_ms:
            self.due_ms = min(self.due_ms or bucket.until_ms, bucket.until_ms)

    def room_in(self, bucket: Bucket) -> int:
        """The most that may still come into it: what the account has of a kind stays below 2**53 together."""
        others = (other for other in self.account.buckets if other is not bucket and other.kind == bucket.kind)
        return EXACT_MAX - sum(max(other.amount, 0) for other in others) - bucket.amount

    def change_record(self, kind: str, **fields: Any) -> Record:
        """What this operation did, so far."""
        record = Record(
            FORMAT,
            kind,
            self.account.id,
            self.account.currency,
            at_ms=self.now_ms,
            event_ms=self.now_ms,
            entries=self.entries,
            usages=self.usages,
            threshold_events=self.threshold_events,
            reauthorize=self.reauthorize,
            short=self.short,
            generation=self.generation,
        )
        return msgspec.structs.replace(record, **fields)

    def end_parts(self, ended: Bucket) -> None:
        """Units and their money end together, also where an older version let one of them begin alone."""
        for bucket in self.account.buckets:
            if bucket.window_ms and whole_of(bucket) == whole_of(ended):
                bucket.until_ms, bucket.window_ms = ended.until_ms, 0
                self.look_at_end(bucket)

    def expire_buckets(self) -> None:
        """What an expired bucket still has and nobody holds lapses; one with nothing left is dropped."""
        for bucket in reversed(self.account.buckets[:]):
            if 0 < bucket.until_ms <= self.now_ms:
                self.post_entry(bucket, -max(bucket.amount - bucket.held, 0), CounterAccount.EXPIRY, "expiry")
                self.end_parts(bucket)
                if bucket.blocker:
                    bucket.blocker, self.reauthorize = False, ["final"]  # what is behind it pays from now on
                if bucket.amount == 0 and bucket.held == 0:
                    self.account.buckets.remove(bucket)
        self.account.counters = [
            counter
            for counter in self.account.counters
            if counter.held or counter.sharers or counter.reached_ms or self._lasts(counter)
        ]

    def _lasts(self, counter: Counter) -> bool:
        """It says more than one that is not there. A window in which nothing was used has not begun."""
        says = counter.used != 0 or (counter.turned != 0 and counter.window == CounterWindow.NONE)
        if not says or counter.window == CounterWindow.ONCE or not counter.until_ms:
            return says
        kept_ms = COUNTER_KEPT_MS if counter.window == CounterWindow.NONE else 0
        return counter.until_ms + kept_ms > self.now_ms

    def settled(self) -> int:
        return sum(
            bucket.amount
            for bucket in self.account.buckets
            if bucket.kind == Kind.MONEY and bucket.from_ms <= self.now_ms and not 0 < bucket.until_ms <= self.now_ms
        )

    def sort(self) -> None:
        self.account.buckets.sort(key=lambda bucket: (bucket.priority, bucket.until_ms or EXACT_MAX, bucket.id))

    def counter_snapshot(self, ladder: Ladder | None, at_ms: int) -> list[CounterAmount]:
        """Counters the steps of a ladder depend on, as they stand: with them its price can be shown later."""
        found: list[CounterAmount] = []
        for step in ladder.steps if ladder else ():
            if step.counter and (not found or found[-1].key != step.counter):
                values = self.counter_values(ladder, with_held=False, at_ms=at_ms)
                found.append(CounterAmount(step.counter, values.get(step.counter, 0)))
        return found
