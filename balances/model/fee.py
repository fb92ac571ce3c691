"""One period of a recurring fee with the units that it includes, or its end; once, by the days that are settled
(charging.md 21). Twin of lua/fee.lua."""

from __future__ import annotations

import msgspec

from balances.model.account import AccountChange, whole_of
from balances.model.funds import AccountFunds, Mode
from balances.model.kept import ModelStore
from balances.model.lines import begin_use
from balances.model.posting import add_bucket, begin_posting, end_posting, fill
from balances.model.thresholds import note_crossing
from balances.packing import pack
from balances.structs.account import (
    FEE_KEPT_MS,
    FEE_STALE_MS,
    FEES_MAX,
    MAIN,
    Bucket,
    FeeBucket,
    FeeMark,
    SuspendReasons,
    Take,
)
from balances.structs.charge import Reply, Result
from balances.structs.posting import Fee, FeeFunds, FeeOutcome, FeeStep, FeeUnits
from balances.structs.record import CounterAccount, Entry
from balances.structs.thresholds import CrossingKind, CrossingOf
from tariffs.units import EXACT_MAX, Kind


def fee(store: ModelStore, fee: Fee) -> Reply:
    unkeyed = msgspec.structs.replace(fee, key="")  # it only names the period: an answer is not kept
    change = begin_posting(store, unkeyed)
    if isinstance(change, Reply):
        return change
    change.subscriber = fee.subscriber
    account = change.account
    mark = mark_of(change, fee.chain)
    takes = fee.step == FeeStep.TAKE
    if mark is not None and (mark.ended_ms or (takes and fee.from_day < mark.day)):
        return told(change, fee, mark, "again", Result.OK)
    if mark is None and change.now_ms - fee.now_ms > FEE_STALE_MS:
        return Reply("stale")
    if (mark.day if mark is not None else 0) < fee.known_day:  # lost by a failover: whoever asks goes back to that day
        return told(change, fee, mark, "again", Result.OK)
    if mark is None and not takes:
        return told(change, fee, mark, "again", Result.OK)
    drop_ended(change)
    if mark is None:
        if len(account.fees) >= FEES_MAX:
            return told(change, fee, mark, "refused", Result.TOO_MUCH)
        mark = FeeMark(fee.chain, fee.from_day)
        account.fees.append(mark)
    forget_gone(change, mark)
    result, changes = take_period(change, fee, mark) if takes else end_fee(change, fee, mark)
    if not changes:
        return told(change, fee, mark, "refused", result)
    end_posting(store, change, unkeyed, "fee", Result.OK)
    record = store.ledger[-1].record
    record.key, record.once_until_ms = fee.key, 0
    record.subscriber, record.service, record.event_ms = fee.subscriber, "fee", fee.event_ms
    return told(change, fee, mark, "ok", result, change.entries)


def told(
    change: AccountChange,
    fee: Fee,
    mark: FeeMark | None,
    status: str,
    result: Result,
    entries: list[Entry] | None = None,
) -> Reply:
    said = mark or FeeMark(fee.chain, 0)
    return Reply(status, pack(FeeOutcome(result, entries or [], change.settled(), change.account.state, said)))


def mark_of(change: AccountChange, chain: str) -> FeeMark | None:
    return next((mark for mark in change.account.fees if mark.chain == chain), None)


def drop_ended(change: AccountChange) -> None:
    """Marks of assignments that ended long ago go."""
    fees = change.account.fees
    fees[:] = [mark for mark in fees if not mark.ended_ms or mark.ended_ms + FEE_KEPT_MS > change.now_ms]


def paid_of(mark: FeeMark) -> int:
    """The sum of what buckets paid of the period."""
    return sum(take.amount for take in mark.paid)


def free_for_fee(funds: AccountFunds, fee: Fee, bucket: Bucket) -> int:
    """What a bucket may pay: nothing that is held."""
    free = funds.free_of(bucket, Mode.OPEN)
    return free - funds.limit if bucket.id == MAIN and fee.funds == FeeFunds.OWN else free


def pays_fees(bucket: Bucket) -> bool:
    """Hours are hours of use: what has some pays no fee."""
    return not bucket.hours


def take(change: AccountChange, fee: Fee, mark: FeeMark, wanted: int, *, owes: bool) -> int:
    """Take so much, in the order of payment; returns what was taken. owes: what is missing becomes debt of the main
    bucket."""
    left = wanted

    def pay(bucket: Bucket, amount: int) -> int:
        if amount <= 0:
            return 0
        begin_use(change, bucket)
        entry = change.post_entry(bucket, -amount, CounterAccount.FEE, "fee", before=paid_of(mark))
        assert entry is not None
        entry.terms = fee.terms
        mark.paid.append(Take(bucket.id, amount))
        return amount

    funds = change.funds(Mode.OPEN, {})
    for bucket in filter(pays_fees, funds.paying(Kind.MONEY, "fee", Mode.OPEN)):
        left -= pay(bucket, min(free_for_fee(funds, fee, bucket), left))
    if owes:
        left -= pay(change.sure_bucket(MAIN), left)
    return wanted - left


def available(change: AccountChange, fee: Fee) -> int:
    """All that may pay: debt of the main bucket counts against the others."""
    funds = change.funds(Mode.OPEN, {})
    return max(
        sum(
            free_for_fee(funds, fee, bucket) for bucket in filter(pays_fees, funds.paying(Kind.MONEY, "fee", Mode.OPEN))
        ),
        0,
    )


def lapse_beyond(change: AccountChange, mark: FeeMark, units: FeeUnits) -> None:
    """What is left of earlier periods beyond what may be carried lapses, the oldest first."""
    if units.carried_max < 0:
        return
    known = [change.bucket_of(given.bucket) for given in mark.buckets if given.name == units.name]
    carried = [bucket for bucket in known if bucket is not None]
    left = sum(bucket.amount for bucket in carried) - units.carried_max
    for bucket in carried:
        part = min(left, bucket.amount - bucket.held)
        if part > 0:
            change.post_entry(bucket, -part, CounterAccount.EXPIRY, "expiry")
            left -= part


def give(change: AccountChange, fee: Fee, mark: FeeMark) -> Result:
    """Give what a period includes, but for what would have ended; why that is not possible, or OK."""
    whole = 0  # the bucket of units that was made last, whose money may follow
    for units in fee.units:
        whole = whole if units.is_part else 0
        if units.amount <= 0 or 0 < units.until_ms <= change.now_ms:
            continue
        lapse_beyond(change, mark, units)
        made = Bucket(0, units.kind, 0, 0, units.priority, 0, units.until_ms, list(units.scope), units.name)
        made.member, made.blocker, made.hours, made.part_of = units.member, units.blocker, units.hours, whole
        made.price, made.per = units.price, units.per
        if made.hours:
            change.account.clock = fee.clock
        bucket = add_bucket(change, made)
        if bucket is None or units.amount > change.room_in(bucket):
            return Result.TOO_MUCH
        change.post_entry(bucket, units.amount, CounterAccount.FEE, "allowance")
        fill(bucket)
        change.look_at_end(bucket)
        if not units.is_part:
            mark.buckets.append(FeeBucket(units.name, bucket.id))
            whole = bucket.id
    mark.given = True
    return Result.OK


def forget_gone(change: AccountChange, mark: FeeMark) -> None:
    """Buckets that are gone need not be known any more."""
    mark.buckets = [given for given in mark.buckets if change.bucket_of(given.bucket) is not None]


def check_suspension(change: AccountChange, missing: int) -> None:
    """Suspend or resume the account, as what is not paid says."""
    suspends = any(mark.suspends for mark in change.account.fees)
    if suspends == bool(change.account.state & SuspendReasons.FEE):
        return
    change.account.state ^= SuspendReasons.FEE
    kind = CrossingKind.SUSPEND if suspends else CrossingKind.RESUME
    note_crossing(change, kind, CrossingOf.ACCOUNT, "fee", missing, change.settled())


def settle(fee: Fee, mark: FeeMark, *, suspends: bool) -> None:
    """The period is settled: the next one begins on its last day."""
    mark.day, mark.short, mark.suspends = fee.until_day, False, suspends


def take_period(change: AccountChange, fee: Fee, mark: FeeMark) -> tuple[Result, bool]:
    """Take the period; why not, and whether anything of the account changes."""
    account = change.account
    if not (mark.short and mark.day == fee.from_day):
        mark.paid, mark.given, mark.short = [], False, False
    was_short, was_suspending = mark.short, mark.suspends
    mark.day = mark.from_day = fee.from_day
    mark.price = fee.price
    if account.state & SuspendReasons.CLOSED:
        settle(fee, mark, suspends=False)
        check_suspension(change, 0)
        return Result.DENIED, True
    paid = paid_of(mark)
    wanted, owes = max(fee.amount - paid, 0), fee.funds == FeeFunds.DEBT
    is_untouched = paid == 0 and not mark.given
    covered, taken = available(change, fee), 0
    if covered >= wanted or owes:
        if owes and change.sure_bucket(MAIN).amount - wanted < -EXACT_MAX:
            return Result.TOO_MUCH, False
        taken = take(change, fee, mark, wanted, owes=owes)
    elif fee.is_partial and not (fee.lapses and is_untouched):
        taken = take(change, fee, mark, covered, owes=False)
    is_paid = taken == wanted
    if (is_paid or fee.gives_first) and not mark.given:
        why = give(change, fee, mark)
        if why != Result.OK:
            return why, False
        is_untouched = False
    if is_paid:
        settle(fee, mark, suspends=False)
    elif fee.lapses and is_untouched and not taken:
        settle(fee, mark, suspends=was_suspending or fee.suspends)
    else:
        mark.short, mark.suspends = True, was_suspending or fee.suspends
    check_suspension(change, wanted - taken)
    changes = is_paid or not was_short or bool(change.entries) or not mark.short or mark.suspends != was_suspending
    return Result.OK if is_paid else Result.CREDIT_LIMIT, changes


def give_back(change: AccountChange, fee: Fee, mark: FeeMark) -> None:
    """Give back what was paid for days after the end, what was taken last first; what would go to a bucket that is gone
    lapses."""
    kept = paid_of(mark)
    left = kept - fee.amount
    for paid in reversed(mark.paid):
        part = min(paid.amount, left)
        if part <= 0:
            continue
        bucket = change.bucket_of(paid.bucket)
        given = min(part, change.room_in(bucket)) if bucket is not None else 0
        if bucket is not None and given > 0:
            entry = change.post_entry(bucket, given, CounterAccount.FEE, "fee", before=kept)
            assert entry is not None
            entry.terms = fee.terms
        left, kept = left - part, kept - part


def end_fee(change: AccountChange, fee: Fee, mark: FeeMark) -> tuple[Result, bool]:
    """The assignment is settled for good. What a closed account has paid and does not get back stays in the mark: so
    who asks again is told that a refund may give it (charging.md section 21)."""
    if not change.account.state & SuspendReasons.CLOSED:
        give_back(change, fee, mark)
        mark.paid = []
    if fee.takes_back:
        given = {one.bucket for one in mark.buckets}
        for bucket in change.account.buckets:
            if whole_of(bucket) in given and not 0 < bucket.until_ms <= change.now_ms:
                bucket.until_ms = change.now_ms
        change.expire_buckets()
    mark.buckets, mark.ended_ms = [], max(change.now_ms, 1)
    mark.short = mark.suspends = False
    mark.price = ""
    check_suspension(change, 0)
    return Result.OK, True
