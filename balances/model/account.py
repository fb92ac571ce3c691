"""An account being changed: entries, holds, counters, expiry, thresholds. Twin of lua/lib."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import msgspec

from balances.model.funds import AccountFunds, Mode, credit_of
from balances.model.spans import PriceSpan, climb_on, ms_per_unit
from balances.packing import unpack_ladder
from balances.structs.account import (
    COUNTER_KEPT_MS,
    MAIN,
    Account,
    Bucket,
    Counter,
    CounterAmount,
    CounterWindow,
    SuspendReasons,
    Take,
)
from balances.structs.blob import FORMAT, blob_of, raw_of
from balances.structs.record import Entry, Record, Short, Usage
from balances.structs.session import Line
from tariffs.climb import climb, lapse_ahead
from tariffs.ladder import COUNT_UNITS, Count, Ladder, tier_of
from tariffs.units import EXACT_MAX, Kind


class AccountChange:
    """One operation on one account: entries, expiry, thresholds, holds."""

    def __init__(self, account: Account, now_ms: int) -> None:
        self.account = account
        self.now_ms = account.clock_ms = max(now_ms, account.clock_ms)
        self._limit = credit_of(account)
        self.entries: list[Entry] = []
        self.usages: list[Usage] = []
        self.threshold_events: list[str] = []
        self.nudges: list[str] = []
        self.short: list[Short] = []
        self.sessions = self.holds = self.held_micro = 0
        self.begun_ms = 0
        """Soonest end of a bucket whose validity began now."""
        self.cuts = 0
        """How often use by time was cut."""

    @property
    def urgent(self) -> int:
        """1 where somebody acts on what the record says (Reply.urgent)."""
        return 1 if self.threshold_events or self.nudges else 0

    def bucket(self, bucket_id: int) -> Bucket | None:
        return next((bucket for bucket in self.account.buckets if bucket.id == bucket_id), None)

    def sure_bucket(self, bucket_id: int) -> Bucket:
        bucket = self.bucket(bucket_id)
        assert bucket is not None, bucket_id
        return bucket

    def funds(self, mode: Mode, own: dict[int, int]) -> AccountFunds:
        return AccountFunds(self.account, self._limit, self.now_ms, mode, own)

    def counter(self, key: str) -> Counter | None:
        return next((counter for counter in self.account.counters if counter.key == key), None)

    def counters(
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
                held = self._money_held(line)
            values[counter.key] = min(value + held, EXACT_MAX)
        return values

    def _money_held(self, line: Line | None) -> int:
        takes = line.hold if line is not None else []
        return sum(take.amount for take in takes if self.sure_bucket(take.bucket).kind == Kind.MONEY)

    def _counter_made(self, count: Count) -> Counter:
        counter = self.counter(count.key)
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
        counter = self._counter_made(count)
        if counter.window != CounterWindow.NONE and (used > 0 or held > 0):
            if 0 < counter.until_ms <= at_ms and counter.window == CounterWindow.RENEWS:
                counter.used = counter.until_ms = 0
            counter.until_ms = counter.until_ms or at_ms + count.window_ms
        counter.used = min(counter.used + used, EXACT_MAX)  # past every bound it says no more
        counter.held += held

    def post_entry(self, bucket: Bucket, amount: int, counter_account: str, why: str, line: int = -1) -> None:
        """Every amount that moves passes here."""
        if not amount:
            return
        self.account.seq += 1
        bucket.amount += amount
        self.entries.append(
            Entry(self.account.seq, bucket.id, bucket.kind, amount, bucket.amount, counter_account, why, line)
        )

    def room_in(self, bucket: Bucket) -> int:
        """The most that may still come into it: what the account has of a kind stays below 2**53 together."""
        others = (other for other in self.account.buckets if other is not bucket and other.kind == bucket.kind)
        return EXACT_MAX - sum(max(other.amount, 0) for other in others) - bucket.amount

    def payable(self, line: Line) -> int:
        """Money that a line may still be charged: neither the debt of the account nor what the line has paid passes
        2**53 (charging.md section 2)."""
        return min(EXACT_MAX, self.sure_bucket(MAIN).amount + EXACT_MAX, EXACT_MAX - line.debited)

    def countable(self, ladder: Ladder, units: int) -> int:
        """How many of `units` can be held: the counters they feed stay below 2**53."""
        for count in ladder.counts:
            counter = self.counter(count.key) if count.what == COUNT_UNITS else None
            if counter is not None:
                units = min(units, EXACT_MAX - counter.held)
        return units

    def record(self, kind: str, **fields: Any) -> Record:
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
            nudges=self.nudges,
            short=self.short,
        )
        return msgspec.structs.replace(record, **fields)

    def expire_buckets(self) -> None:
        """What an expired bucket still has and nobody holds lapses; one with nothing left is dropped."""
        for bucket in reversed(self.account.buckets[:]):
            if 0 < bucket.until_ms <= self.now_ms:
                self.post_entry(bucket, -max(bucket.amount - bucket.held, 0), "expiry", "expiry")
                if bucket.amount == 0 and bucket.held == 0:
                    self.account.buckets.remove(bucket)
        self.account.counters = [
            counter for counter in self.account.counters if counter.held or counter.sharers or self._lasts(counter)
        ]

    def _lasts(self, counter: Counter) -> bool:
        """It says more than one that is not there. A window in which nothing was used has not begun."""
        if not counter.used or counter.window == CounterWindow.ONCE or not counter.until_ms:
            return counter.used != 0
        kept_ms = COUNTER_KEPT_MS if counter.window == CounterWindow.NONE else 0
        return counter.until_ms + kept_ms > self.now_ms

    def settled(self) -> int:
        return sum(
            bucket.amount
            for bucket in self.account.buckets
            if bucket.kind == Kind.MONEY and bucket.from_ms <= self.now_ms and not 0 < bucket.until_ms <= self.now_ms
        )

    def check_thresholds(self) -> int:
        """Suspend or resume for credit; returns the settled balance."""
        account, balance = self.account, self.settled()
        if account.state & SuspendReasons.CREDIT:
            if balance >= account.resume_at:
                account.state &= ~SuspendReasons.CREDIT
                self.threshold_events.append("resume")
        elif balance < account.suspend_below:
            account.state |= SuspendReasons.CREDIT
            self.threshold_events.append("suspend")
        return balance

    def sort(self) -> None:
        self.account.buckets.sort(key=lambda bucket: (bucket.priority, bucket.until_ms or EXACT_MAX, bucket.id))

    # --- holds. On a tier they belong to its counter: what one line uses changes what the others will cost.

    def pool_hold(self, counter: Counter, bucket: Bucket, amount: int) -> None:
        bucket.held += amount
        for take in counter.pool:
            if take.bucket == bucket.id:
                take.amount += amount
                return
        counter.pool.append(Take(bucket.id, amount))

    def _tier(self, ladder: Ladder | None) -> Counter | None:
        return self.counter(tier_of(ladder)) if ladder is not None else None

    def release_hold(self, line: Line) -> tuple[dict[int, int], int]:
        """Take the hold of a line up; returns what may pay its use (by bucket) and the units granted. On a tier that is
        the money of all lines that share it: `repool` leaves them what they need."""
        own: dict[int, int] = {}
        granted, money = line.granted, 0
        ladder = ladder_of(line) if granted or line.hold else None
        tiered = ladder is not None and tier_of(ladder) != ""
        for take in line.hold:
            bucket = self.sure_bucket(take.bucket)
            money += take.amount if bucket.kind == Kind.MONEY else 0
            if bucket.kind != Kind.MONEY or not tiered:
                own[take.bucket] = take.amount
                bucket.held -= take.amount
        counter = self._tier(ladder)
        if counter is not None:
            for take in counter.pool:
                own[take.bucket] = take.amount
                self.sure_bucket(take.bucket).held -= take.amount
            counter.pool = []
            counter.sharers -= 1 if line.due_ms else 0
        for count in ladder.counts if ladder else ():
            self.count_usage(count, 0, 0, -granted if count.what == COUNT_UNITS else -money)
        self.holds -= 1 if line.due_ms else 0
        self.held_micro -= money
        line.hold, line.granted, line.due_ms, line.final = [], 0, 0, False
        return own, granted

    def repool(self, line: Line, own: dict[int, int], unused: int, at_ms: int) -> None:
        """Give back what is left of `own`. While other lines hold on the same tier, their money stays with its counter:
        all but what granting the `unused` units again would cost now."""
        if not own:
            return
        packed = blob_of(line.ladder)
        ladder = unpack_ladder(packed) if packed else None
        counter = self._tier(ladder)
        if ladder is None or counter is None or counter.sharers == 0:
            return
        moneys = [bucket for bucket in self.account.buckets if bucket.kind == Kind.MONEY]
        keep = sum(own.get(bucket.id, 0) for bucket in moneys)
        if unused > 0:
            keep -= self._worth(line, unused, at_ms)
        for bucket in moneys:
            part = min(own.get(bucket.id, 0), keep)
            if part > 0:
                self.pool_hold(counter, bucket, part)
                keep -= part

    def _worth(self, line: Line, units: int, at_ms: int) -> int:
        price, funds = PriceSpan(blob_of(line.ladder)), self.funds(Mode.ALONE, {})
        position = copy.copy(line)
        return climb_on(
            self, price, position, units, funds, at_ms=at_ms, unit=line.unit, grant=False, most=EXACT_MAX
        ).cost

    def release(self, line: Line, at_ms: int) -> None:
        own, granted = self.release_hold(line)
        self.repool(line, own, granted, at_ms)

    def _begin_use(self, bucket: Bucket) -> None:
        """The validity of a bucket may begin with its first use."""
        if bucket.window_ms:
            bucket.until_ms, bucket.window_ms = self.now_ms + bucket.window_ms, 0
            self.begun_ms = min(self.begun_ms or bucket.until_ms, bucket.until_ms)

    def hold(self, line: Line, takes: Iterable[Take], units: int, packed: bytes, at_ms: int, due_ms: int) -> None:
        takes, ladder = list(takes), unpack_ladder(packed)
        money = sum(take.amount for take in takes if self.sure_bucket(take.bucket).kind == Kind.MONEY)
        counter = None
        for count in ladder.counts:
            if count.key == tier_of(ladder):
                counter = self._counter_made(count)
            self.count_usage(count, at_ms, 0, units if count.what == COUNT_UNITS else money)
        if counter is not None and not line.due_ms:
            counter.sharers += 1
        held = {take.bucket: take for take in line.hold}
        for take in takes:
            bucket = self.sure_bucket(take.bucket)
            self._begin_use(bucket)
            if counter is not None and bucket.kind == Kind.MONEY:
                self.pool_hold(counter, bucket, take.amount)
            else:
                bucket.held += take.amount
            if take.bucket in held:
                held[take.bucket].amount += take.amount
            else:
                line.hold.append(take)
        self.holds += 0 if line.due_ms else 1
        self.held_micro += money
        line.granted += units
        line.ladder, line.due_ms = raw_of(packed), due_ms

    def debit(self, takes: Iterable[Take], index: int) -> None:
        for take in takes:
            bucket = self.sure_bucket(take.bucket)
            self._begin_use(bucket)
            self.post_entry(bucket, -take.amount, "revenue", "usage", index)

    def leave_tier(self, line: Line, own: dict[int, int], unused: int, at_ms: int) -> bool:
        """Use by time goes on where the ladder of its hold does not price it. On a tier the hold is of that ladder's
        counter: what it has left for the `unused` units is free again. Returns whether it was left."""
        packed = blob_of(line.ladder)
        if not packed or tier_of(unpack_ladder(packed)) == "":
            return False
        self.repool(line, own, unused, at_ms)
        own.clear()
        return True

    def settle(
        self,
        line: Line,
        ladder: Ladder,
        used: int,
        granted: int,
        own: dict[int, int],
        at_ms: int,
        since_ms: int,
        index: int,
    ) -> tuple[int, list[Take], int]:
        """Turn `used` units into a debit: what was granted is paid from the buckets its hold named, what goes beyond
        from whatever is free, and then from the main bucket. Of time they are a piece in which nothing changes
        (spans.py). Returns the money, who paid, and the units charged: fewer where an amount would pass 2**53
        (charging.md section 2)."""
        ms = ms_per_unit(line.unit)
        from_ms = at_ms - used * ms
        within = min(used, granted)
        funds = self.funds(Mode.OWN, own)
        funds.used_ms = from_ms if ms else min(since_ms, at_ms)  # volume: some time since the last report
        lapse_ahead(line, funds.used_ms)
        values = self.counters(ladder, with_held=False, at_ms=from_ms)
        most = self.payable(line)
        done = climb(ladder, line, within, values, funds, at_ms=from_ms, ms_per_unit=ms, grant=False, most=most)
        cost, covered = done.cost, done.units
        takes = funds.takes()
        for take in takes:
            if take.bucket in own:
                own[take.bucket] = max(own[take.bucket] - take.amount, 0)
        if used > within and covered == within:
            self.repool(line, own, 0, at_ms)  # others' money on the same tier must not pay it
            own.clear()
            funds = self.funds(Mode.OPEN, {})
            funds.used_ms = from_ms if ms else 0
            for take in takes:
                funds.note(take.bucket, take.amount)
            for count in ladder.counts:
                value = values.get(count.key, 0) + (within if count.what == COUNT_UNITS else cost)
                values[count.key] = min(value, EXACT_MAX)
            done = climb(
                ladder,
                line,
                used - within,
                values,
                funds,
                at_ms=from_ms + within * ms,
                ms_per_unit=ms,
                grant=False,
                most=most - cost,
            )
            cost, covered = cost + done.cost, covered + done.units
            takes = funds.takes()
        self.debit(takes, index)
        for count in ladder.counts:
            self.count_usage(count, from_ms, covered if count.what == COUNT_UNITS else cost, 0)
        line.debited += cost
        return cost, takes, covered

    def counter_snapshot(self, ladder: Ladder | None, at_ms: int) -> list[CounterAmount]:
        """Counters the steps of a ladder depend on, as they stand: with them its price can be shown later."""
        found: list[CounterAmount] = []
        for step in ladder.steps if ladder else ():
            if step.counter and (not found or found[-1].key != step.counter):
                values = self.counters(ladder, with_held=False, at_ms=at_ms)
                found.append(CounterAmount(step.counter, values.get(step.counter, 0)))
        return found


def ladder_of(line: Line) -> Ladder:
    return unpack_ladder(blob_of(line.ladder))
