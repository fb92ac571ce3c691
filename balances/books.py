"""An account being changed: the purse a climb takes from, entries, holds, expiry, thresholds. Twin of lua/lib."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import msgspec

from balances import ops
from balances.ops import Line, State, Take
from balances.packing import unpack_ladder
from tariffs.ladder import COUNT_UNITS, Ladder, climb
from tariffs.units import EXACT_MAX, Kind


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
        self.used_ms = 0
        """When what is settled was used."""
        self.caps: dict[int, int] | None = None
        self.taken: dict[int, int] = {}
        self._journal: list[tuple[int, int]] = []

    def _paying(self, kind: int, scope: str) -> list[ops.Bucket]:
        return [
            bucket
            for bucket in self.account.buckets
            if bucket.kind == kind
            and (not bucket.scope or scope in bucket.scope)
            and (
                not 0 < bucket.until_ms <= self.used_ms
                if self.mode == Mode.OWN  # what was held pays use of before the expiry, however late it is reported
                else bucket.from_ms <= self.now_ms and not 0 < bucket.until_ms <= self.now_ms
            )
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

    def counters(self, *, with_held: bool) -> dict[str, int]:
        """As a climb begins: a grant sees what others hold too, use that happened does not."""
        return {counter.key: counter.used + (counter.held if with_held else 0) for counter in self.account.counters}

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

    def record(self, kind: str, **fields: Any) -> ops.Record:
        """What this operation did, so far."""
        record = ops.Record(
            ops.FORMAT,
            kind,
            self.account.id,
            self.account.currency,
            at_ms=self.now_ms,
            event_ms=self.now_ms,
            entries=self.entries,
            usages=self.usages,
            crossings=self.crossings,
            nudges=self.nudges,
        )
        return msgspec.structs.replace(record, **fields)

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
            for count in ladder_of(line).counts:
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
        self,
        line: Line,
        ladder: Ladder,
        used: int,
        granted: int,
        own: dict[int, int],
        at_ms: int,
        since_ms: int,
        index: int,
    ) -> int:
        """Turn `used` units into a debit: what was granted is paid from the buckets its hold named, what goes beyond
        from whatever is free, and then from the main bucket. Returns the money."""
        ms = ms_per_unit(line.unit)
        from_ms = at_ms - used * ms
        within = min(used, granted)
        purse = self.purse(Mode.OWN, own)
        purse.used_ms = from_ms if ms else min(since_ms, at_ms)  # volume: some time since the last report
        values = self.counters(with_held=False)
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


def ms_per_unit(unit: int) -> int:
    return 1000 if unit == Kind.SECONDS else 0


def ladder_of(line: Line) -> Ladder:
    return unpack_ladder(ops.blob(line.ladder))
