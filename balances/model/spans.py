"""Use by time, cut where something else prices, pays or counts. Twin of lua/lib/spans.lua.

A ladder knows the bands of a while. Where use goes on beyond that, over a new version of the tariff or the end of a
counter's period, `Ask.later` says what prices it there; a bucket pays only blocks that begin while it is valid. So use
is settled piece by piece, each as if it had been reported by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import msgspec

from balances.model.funds import AccountFunds
from balances.model.hours import hours_at
from balances.model.limits import add_limited, is_limited, limits_left, note_counted
from balances.model.sums import SessionSums, counted
from balances.packing import unpack_ladder
from balances.structs.account import Account, Bucket, Counter, CounterWindow
from balances.structs.blob import blob_of
from balances.structs.charge import CUTS_MAX, NextPrice
from balances.structs.session import Line
from tariffs.climb import Climbed, climb, lapse_ahead
from tariffs.ladder import Count, Ladder, Step
from tariffs.units import EXACT_MAX, Kind, blocks_started


class ClimbOwner(Protocol):
    """What a climb asks of the operation it belongs to (`account.AccountChange`)."""

    account: Account
    now_ms: int
    cuts: int

    def counter_of(self, key: str) -> Counter | None: ...
    def counter_values(
        self, ladder: Ladder | None, *, with_held: bool, at_ms: int, line: Line | None = None
    ) -> dict[str, int]: ...
    def count_usage(self, count: Count, at_ms: int, used: int, held: int) -> None: ...


def ms_per_unit(unit: int) -> int:
    return 1000 if unit == Kind.SECONDS else 0


class PriceSpan(msgspec.Struct, frozen=True):
    """What prices use: a packed ladder, until when it does (0: for good), and what comes after it."""

    ladder: bytes
    reach_ms: int = 0
    later: Sequence[NextPrice] = ()

    def unknown_from(self, from_ms: int, to_ms: int) -> int:
        """From when on use that ends at `to_ms` is not priced by what is at hand, 0: it is."""
        if self.reach_ms == 0 or to_ms <= self.reach_ms:
            return 0
        missing_ms = max(self.reach_ms, from_ms)
        return 0 if self.later and self.later[0].from_ms <= missing_ms else missing_ms

    def at(self, at_ms: int) -> tuple[bytes, int]:
        """The packed ladder that prices use by time from an instant on, and until when; 0: for good."""
        if self.reach_ms == 0 or at_ms < self.reach_ms:
            return self.ladder, self.reach_ms
        packed = self.ladder
        for one in self.later:
            if one.from_ms > at_ms:
                return packed, one.from_ms
            packed = blob_of(one.ladder) or packed
        return packed, 0


def before_change(
    change: ClimbOwner, ladder: Ladder, line: Line, units: int, at_ms: int, until_ms: int, ms: int
) -> int:
    """How many of `units`, used from an instant on, begin before something else prices, pays or counts: another ladder
    (from `until_ms` on, 0: none), a bucket whose validity begins or ends, a window from first use, a block that ends
    with its period. To the second: what changes between two of them counts from the next one on (charging.md 5, 6)."""
    account, now_ms = change.account, change.now_ms
    changes = [until_ms, line.ahead_ms if line.paid_ahead else 0, hours_change(account, ladder, at_ms)]
    for bucket in account.buckets:
        if any(step.kind == bucket.kind and _in_scope(step, bucket) for step in ladder.steps):
            changes.append(bucket.from_ms if bucket.from_ms > now_ms else 0)
            changes.append(now_ms + bucket.window_ms if bucket.window_ms else bucket.until_ms)
    asked = {count.key for count in ladder.counts} | {step.counter for step in ladder.steps if step.counter}
    changes += [one.until_ms for one in account.counters if one.window != CounterWindow.NONE and one.key in asked]
    for count in ladder.counts:
        if count.window_ms:
            counter = change.counter_of(count.key)
            end_ms = counter.until_ms if counter is not None else 0
            if end_ms == 0 or (end_ms <= at_ms and not count.once):
                changes.append(at_ms + count.window_ms)
    to_ms = min([at_ms + units * ms, *(change_ms for change_ms in changes if change_ms > max(at_ms, 0))])
    return blocks_started(to_ms - at_ms, ms)


def hours_change(account: Account, ladder: Ladder, at_ms: int) -> int:
    """When hours of a bucket that may pay begin or end next, 0: never (charging.md 22)."""
    changes = [
        hours_at(bucket.hours, account.clock, at_ms)[1]
        for bucket in account.buckets
        if bucket.hours and any(step.kind == bucket.kind and _in_scope(step, bucket) for step in ladder.steps)
    ]
    return min(changes, default=0)


def _in_scope(step: Step, bucket: Bucket) -> bool:
    return not bucket.scope or step.scope in bucket.scope


def climb_piece(
    change: ClimbOwner,
    ladder: Ladder,
    line: Line,
    units: int,
    values: dict[str, int],
    funds: AccountFunds,
    *,
    at_ms: int,
    ms: int,
    grant: bool,
    grade: str | None,
    most: int | None,
    taken: dict[str, int],
    sums: SessionSums,
) -> tuple[Climbed, int]:
    """`climb` of one piece, and what it came to before its session is rounded; a grant ends where a limit is reached.
    taken, sums: get what the piece feeds limits and sums with"""
    limited = grant and is_limited(ladder)
    if limited:
        left_units, left_money = limits_left(change, funds, ladder)
        units, most = min(units, left_units), left_money if most is None else min(most, left_money)
    funds.allowed = EXACT_MAX if most is None else min(most + funds.paid(), EXACT_MAX)
    priced = funds.priced()
    funds.round_by(sums, ladder)
    most = None if most is None else sums.within(ladder, most)
    found = climb(ladder, line, units, values, funds, at_ms=at_ms, ms_per_unit=ms, grant=grant, grade=grade, most=most)
    exact, found.cost = found.cost, sums.due(ladder, found.cost) + funds.priced() - priced
    sums.add(ladder, exact)
    if limited:
        add_limited(taken, ladder, found.units, found.cost)
    return found, exact


def climb_on(
    change: ClimbOwner,
    price: PriceSpan,
    line: Line,
    units: int,
    funds: AccountFunds,
    *,
    at_ms: int,
    unit: int,
    grant: bool,
    sums: SessionSums,
    with_held: bool = True,
    of_line: Line | None = None,
    grade: str | None = None,
    most: int | None = None,
) -> Climbed:
    """`climb` piece by piece, each from where the one before ended. Nothing is kept: counters that a later piece sees
    are raised for that alone. The cost is what is due. with_held, of_line: see AccountChange.counter_values

    sums:  of the session, or of a grant; raised
    """
    account, ms = change.account, ms_per_unit(unit)
    kept, packed = account.counters, price.ladder
    funds.granting, funds.is_timed = grant, ms > 0
    funds.held = of_line.hold if grant and of_line is not None else []
    climbed, taken = Climbed(0, 0, grade), dict[str, int]()
    try:
        while True:
            until_ms = 0
            funds.used_ms, funds.clock_ms = at_ms if ms else 0, at_ms
            lapse_ahead(line, at_ms)
            if ms:
                packed, until_ms = price.at(at_ms)
            ladder = unpack_ladder(packed)
            left = units - climbed.units
            part = before_change(change, ladder, line, left, at_ms, until_ms, ms) if ms else left
            values = change.counter_values(ladder, with_held=with_held, at_ms=at_ms, line=of_line)
            grade = climbed.grade
            one, exact = climb_piece(
                change,
                ladder,
                line,
                part,
                values,
                funds,
                at_ms=at_ms,
                ms=ms,
                grant=grant,
                grade=grade,
                most=None if most is None else most - climbed.cost,
                taken=taken,
                sums=sums,
            )
            climbed.units += one.units
            climbed.cost += one.cost
            climbed.grade = grade if one.grade is None else one.grade
            if one.units < part or climbed.units == units or change.cuts >= CUTS_MAX:
                return climbed
            change.cuts += 1
            if account.counters is kept:
                account.counters = copy.deepcopy(kept)
            for count in ladder.counts:
                change.count_usage(count, at_ms, counted(count, one.units, exact, one.cost), 0)
            at_ms += one.units * ms
    finally:
        account.counters = kept
        note_counted(funds, taken)
