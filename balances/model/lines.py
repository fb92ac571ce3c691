"""Lines of a session: holding, releasing, settling. On a tier holds belong to its counter: what one line uses
changes what the others will cost. Twin of lua/lib/lines.lua."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from balances.model.account import AccountChange, whole_of
from balances.model.funds import AccountFunds, Mode
from balances.model.spans import PriceSpan, climb_on, ms_per_unit
from balances.model.sums import SessionSums, counted
from balances.packing import unpack_ladder
from balances.structs.account import MAIN, Bucket, Counter, Take
from balances.structs.blob import blob_of, raw_of
from balances.structs.record import CounterAccount
from balances.structs.session import Line
from tariffs.climb import climb, lapse_ahead
from tariffs.ladder import Counted, Ladder, tier_of
from tariffs.units import EXACT_MAX, Kind, Rounding, muldiv


def payable(change: AccountChange, line: Line) -> int:
    """Money that a line may still be charged: neither the debt of the account nor what the line has paid passes
    2**53 (charging.md section 2)."""
    return min(EXACT_MAX, change.sure_bucket(MAIN).amount + EXACT_MAX, EXACT_MAX - line.debited)


def countable(change: AccountChange, ladder: Ladder, units: int) -> int:
    """How many of `units` can be held: the counters they feed stay below 2**53."""
    for count in ladder.counts:
        counter = change.counter_of(count.key) if count.what == Counted.UNITS else None
        if counter is not None:
            units = min(units, EXACT_MAX - counter.held)
    return units


def pool_hold(change: AccountChange, counter: Counter, bucket: Bucket, amount: int) -> None:
    bucket.held += amount
    for take in counter.pool:
        if take.bucket == bucket.id:
            take.amount += amount
            return
    counter.pool.append(Take(bucket.id, amount))


def _tier(change: AccountChange, ladder: Ladder | None) -> Counter | None:
    return change.counter_of(tier_of(ladder)) if ladder is not None else None


def release_hold(change: AccountChange, line: Line) -> tuple[dict[int, int], int]:
    """Take the hold of a line up; returns what may pay its use (by bucket) and the units granted. On a tier that is
    the money of all lines that share it: `repool` leaves them what they need."""
    own: dict[int, int] = {}
    granted, money, priced = line.granted, 0, change.price_held(line)
    ladder = ladder_of(line) if granted or line.hold else None
    tiered = ladder is not None and tier_of(ladder) != ""
    for take in line.hold:
        bucket = change.sure_bucket(take.bucket)
        money += take.amount if bucket.kind == Kind.MONEY else 0
        if bucket.kind != Kind.MONEY or not tiered:
            own[take.bucket] = take.amount
            bucket.held -= take.amount
    counter = _tier(change, ladder)
    if counter is not None:
        for take in counter.pool:
            own[take.bucket] = take.amount
            change.sure_bucket(take.bucket).held -= take.amount
        counter.pool = []
        counter.sharers -= 1 if line.due_ms else 0
    for count in ladder.counts if ladder else ():
        change.count_usage(count, 0, 0, -counted(count, granted, money - priced, money))
    line.hold, line.granted, line.due_ms, line.final = [], 0, 0, False
    return own, granted


def repool(change: AccountChange, line: Line, own: dict[int, int], unused: int, at_ms: int) -> None:
    """Give back what is left of `own`. While other lines hold on the same tier, their money stays with its counter:
    all but what granting the `unused` units again would cost now."""
    if not own:
        return
    packed = blob_of(line.ladder)
    ladder = unpack_ladder(packed) if packed else None
    counter = _tier(change, ladder)
    if ladder is None or counter is None or counter.sharers == 0:
        return
    moneys = [bucket for bucket in change.account.buckets if bucket.kind == Kind.MONEY]
    keep = sum(own.get(bucket.id, 0) for bucket in moneys)
    if unused > 0:
        keep -= _worth(change, line, unused, at_ms)
    for bucket in moneys:
        part = min(own.get(bucket.id, 0), keep)
        if part > 0:
            pool_hold(change, counter, bucket, part)
            keep -= part


def _worth(change: AccountChange, line: Line, units: int, at_ms: int) -> int:
    price, funds = PriceSpan(blob_of(line.ladder)), change.funds(Mode.ALONE, {})
    position, sums = copy.copy(line), SessionSums([], held=True)
    return climb_on(
        change, price, position, units, funds, at_ms=at_ms, unit=line.unit, grant=False, sums=sums, most=EXACT_MAX
    ).cost


def release(change: AccountChange, line: Line, at_ms: int) -> None:
    own, granted = release_hold(change, line)
    repool(change, line, own, granted, at_ms)


def release_lines(change: AccountChange, lines: Iterable[Line], at_ms: int) -> bool:
    """What the lines of a session hold; whether there was any."""
    holding = [line for line in lines if line.due_ms]
    for line in holding:
        release(change, line, at_ms)
    return bool(holding)


def begin_use(change: AccountChange, bucket: Bucket) -> None:
    """The validity of a bucket may begin with its first use; that of units and their money begins for both."""
    if not bucket.window_ms:
        return
    parts = [part for part in change.account.buckets if whole_of(part) == whole_of(bucket)]
    begun = [part.until_ms for part in parts if not part.window_ms and part.until_ms]  # by an older version
    until_ms = begun[-1] if begun else change.now_ms + bucket.window_ms
    for part in parts:
        part.until_ms, part.window_ms = until_ms, 0
        change.look_at_end(part)


def hold(
    change: AccountChange, line: Line, takes: Iterable[Take], units: int, packed: bytes, at_ms: int, due_ms: int
) -> None:
    takes, ladder = list(takes), unpack_ladder(packed)
    money = sum(take.amount for take in takes if change.sure_bucket(take.bucket).kind == Kind.MONEY)
    counter, priced = None, change.price_held(line, takes) - change.price_held(line)
    for count in ladder.counts:
        if count.key == tier_of(ladder):
            counter = change.counter_made(count)
        change.count_usage(count, at_ms, 0, counted(count, units, money - priced, money))
    if counter is not None and not line.due_ms:
        counter.sharers += 1
    held = {take.bucket: take for take in line.hold}
    for take in takes:
        bucket = change.sure_bucket(take.bucket)
        begin_use(change, bucket)
        if counter is not None and bucket.kind == Kind.MONEY:
            pool_hold(change, counter, bucket, take.amount)
        else:
            bucket.held += take.amount
        if take.bucket in held:
            held[take.bucket].amount += take.amount
        else:
            line.hold.append(take)
    line.granted += units
    line.ladder, line.due_ms = raw_of(packed), due_ms


def debit(change: AccountChange, takes: Iterable[Take], index: int, before: int) -> None:
    """before: money that the line was debited so far"""
    for take in takes:
        bucket = change.sure_bucket(take.bucket)
        begin_use(change, bucket)
        if bucket.price:
            _, bucket.rest = muldiv(bucket.price, take.amount, bucket.rest, bucket.per, Rounding.UP)
        change.post_entry(bucket, -take.amount, CounterAccount.REVENUE, "usage", index, before)
        if bucket.kind == Kind.MONEY:
            before += take.amount


def pay_from(funds: AccountFunds, own: dict[int, int]) -> list[Take]:
    takes = funds.takes()
    for take in takes:
        if take.bucket in own:
            own[take.bucket] = max(own[take.bucket] - take.amount, 0)
    return takes


def leave_tier(change: AccountChange, line: Line, own: dict[int, int], unused: int, at_ms: int) -> bool:
    """Use by time goes on where the ladder of its hold does not price it. On a tier the hold is of that ladder's
    counter: what it has left for the `unused` units is free again. Returns whether it was left."""
    packed = blob_of(line.ladder)
    if not packed or tier_of(unpack_ladder(packed)) == "":
        return False
    repool(change, line, own, unused, at_ms)
    own.clear()
    return True


def settle(
    change: AccountChange,
    line: Line,
    ladder: Ladder,
    used: int,
    granted: int,
    own: dict[int, int],
    at_ms: int,
    since_ms: int,
    index: int,
) -> tuple[int, list[Take], int, int]:
    """Turn `used` units into a debit: what was granted is paid from the buckets its hold named, what goes beyond
    from whatever is free, and then from the main bucket. Of time they are a piece in which nothing changes
    (spans.py). Returns the money, who paid, and the units charged: fewer where an amount would pass 2**53
    (charging.md section 2), and what they came to before the session is rounded."""
    ms = ms_per_unit(line.unit)
    from_ms = at_ms - used * ms
    within = min(used, granted)
    funds = change.funds(Mode.OWN, own)
    funds.used_ms = from_ms if ms else min(since_ms, at_ms)  # volume: some time since the last report
    funds.clock_ms, funds.is_timed = from_ms, ms > 0
    beyond_ms = from_ms + within * ms if ms else at_ms  # and what no grant is there for counts when it is reported
    lapse_ahead(line, funds.used_ms if within else beyond_ms)
    values = change.counter_values(ladder, with_held=False, at_ms=from_ms)
    sums, most = change.sums, payable(change, line)
    funds.round_by(sums, ladder)
    may, funds.allowed = funds.payable(sums, ladder, most), most
    done = climb(ladder, line, within, values, funds, at_ms=from_ms, ms_per_unit=ms, grant=False, most=may)
    exact, covered = done.cost, done.units
    due = sums.due(ladder, exact)
    cost = due + funds.priced()
    sums.add(ladder, exact)
    takes = pay_from(funds, own)
    if used > within and covered == within:
        repool(change, line, own, 0, at_ms)  # others' money on the same tier must not pay it
        own.clear()
        funds = change.funds(Mode.OPEN, {})
        lapse_ahead(line, beyond_ms)
        funds.used_ms, funds.clock_ms = from_ms if ms else 0, from_ms + within * ms
        for take in takes:
            funds.note(take.bucket, take.amount)
        for count in ladder.counts:
            value = values.get(count.key, 0) + counted(count, within, exact, cost)
            values[count.key] = min(value, EXACT_MAX)
        funds.round_by(sums, ladder)
        funds.allowed = most
        done = climb(
            ladder,
            line,
            used - within,
            values,
            funds,
            at_ms=from_ms + within * ms,
            ms_per_unit=ms,
            grant=False,
            most=funds.payable(sums, ladder, most - cost),
        )
        due += sums.due(ladder, done.cost)
        cost, exact, covered = due + funds.priced(), exact + done.cost, covered + done.units
        sums.add(ladder, done.cost)
        takes = funds.takes()
    change.priced = funds.priced()
    debit(change, takes, index, line.debited)
    for count in ladder.counts:
        change.count_usage(count, from_ms, counted(count, covered, exact, cost), 0)
    line.debited += cost
    return cost, takes, covered, exact


def ladder_of(line: Line) -> Ladder:
    return unpack_ladder(blob_of(line.ladder))
