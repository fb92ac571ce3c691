"""Giving back what an event cost (charging.md section 9). Twin of lua/lib/refund.lua."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from balances.model.decision import ChargeDecision, asked_ladder, asked_price, fresh_line, line_outcome
from balances.model.funds import Mode
from balances.model.reached import turn_back_counters
from balances.model.spans import climb_on
from balances.structs.account import MAIN, Bucket, CounterAmount
from balances.structs.blob import blob_of
from balances.structs.charge import Ask, Flag, Result
from balances.structs.posting import return_of
from balances.structs.record import CounterAccount
from balances.structs.session import IdempotencyRecord, PaidAmount
from tariffs.ladder import Counted
from tariffs.units import EXACT_MAX, Kind, share


def refund_bucket(decision: ChargeDecision, kind: int) -> Bucket:
    """One for each kind and service, for as long as the last refund into it says."""
    account, service = decision.change.account, decision.charge.service
    for bucket in account.buckets:
        ours = bucket.name == "refund" and bucket.kind == kind and bucket.scope[:1] == [service]
        if ours and bucket.until_ms > decision.change.now_ms:
            break
    else:
        bucket = Bucket(account.next_bucket, kind, 0, 0, 100, 0, 0, [service], "refund")
        account.next_bucket += 1
        account.buckets.append(bucket)
    bucket.until_ms = max(bucket.until_ms, decision.charge.refund_until_ms)
    decision.change.look_at_end(bucket)
    return bucket


def give_back(decision: ChargeDecision, bucket_id: int, kind: int, amount: int, left: int) -> int:
    """To the bucket that paid; to main, or to one of its own for a while, when that one is gone. Returns how much
    could not be given, because 2**53 would be passed. left: money of it that was not given back so far"""
    change = decision.change
    bucket = change.bucket_of(bucket_id)
    if bucket is None or 0 < bucket.until_ms <= change.now_ms:
        if kind == Kind.MONEY:
            bucket = change.sure_bucket(MAIN)
        else:
            bucket = refund_bucket(decision, kind)
    given = min(amount, change.room_in(bucket))
    change.post_entry(bucket, given, CounterAccount.REVENUE, "refund", len(change.usages), left)
    return amount - given


def turn_back(
    decision: ChargeDecision,
    paid: IdempotencyRecord,
    units: int,
    money: int,
    *,
    everything: bool,
    noted: IdempotencyRecord | None,
) -> list[tuple[int, int]]:
    """Returns kinds and amounts that no bucket had room for.

    noted:  of the back office, where what its reversal brings back is noted
    """
    due, left, kept = money, paid.cost, list[tuple[int, int]]()
    for take in reversed(paid.takes):  # last paid, first given back
        if everything:
            back = take.amount
        elif take.kind == Kind.MONEY:
            back = min(take.amount, due)
        else:
            back = share(take.amount, units, paid.units)
        if take.kind == Kind.MONEY:
            due -= back
        rest = 0
        if back:
            rest = give_back(decision, take.bucket, take.kind, back, left)
            kept.append((take.kind, rest))
        if take.kind == Kind.MONEY:
            left -= back
        take.amount -= back
        if noted is not None:
            noted.takes.insert(0, PaidAmount(take.bucket, back - rest, take.kind))
            noted.cost += back - rest if take.kind == Kind.MONEY else 0
    for fed in paid.counted:
        part, whole = (units, paid.units) if fed.what == Counted.UNITS else (money, paid.cost)
        back = fed.amount if everything else share(fed.amount, part, whole)
        counter = decision.change.counter_of(fed.key)
        if counter is not None and counter.until_ms == fed.until_ms:  # else of another time: nothing to turn back
            if noted is None:
                counter.used = max(counter.used - back, 0)  # it may have begun anew since
            else:
                turn_back_counters(decision.change, [return_of(fed, back)])
        fed.amount -= back
        if noted is not None:
            noted.counted.append(CounterAmount(fed.key, back, fed.what, fed.until_ms))
    paid.units -= units
    paid.cost -= money
    if noted is not None:
        noted.units, noted.terms = units, f"{paid.fingerprint} {paid.end_to_end}"
    return kept


def worth_of(decision: ChargeDecision, ask: Ask) -> int:
    """What the units asked would cost (RFC 8506 section 6.4: RSU money or rated units)."""
    ladder = asked_ladder(ask)
    if ladder is None or ask.asked <= 0:
        return 0
    done = climb_on(
        decision.change,
        asked_price(ask),
        fresh_line(ask, 0),
        ask.asked,
        decision.change.funds(Mode.OPEN, {}),
        at_ms=decision.charge.event_ms,
        unit=ask.unit,
        grant=False,
        sums=decision.change.sums.copy(),
        with_held=False,
        most=EXACT_MAX,
    )
    return done.cost if done.units == ask.asked else 0


class _Given(NamedTuple):
    """What a refund comes to."""

    why: int
    units: int = 0
    money: int = 0
    kept: Sequence[tuple[int, int]] = ()
    """Kind and amount that no bucket had room for."""


def refund_free(decision: ChargeDecision, ask: Ask) -> _Given:
    """Without the original: RSU money, or what the units asked would cost, as far as the service allows (RFC 8506
    section 6.4)."""
    is_money = ask.unit == Kind.MONEY
    worth = ask.asked if is_money else worth_of(decision, ask)
    if not 0 < worth <= decision.charge.refund_free:
        return _Given(Result.NOT_FOUND)
    kept = [(int(Kind.MONEY), give_back(decision, MAIN, Kind.MONEY, worth, 0))]
    return _Given(Result.OK, 0 if is_money else ask.asked, worth, kept)


def is_all(paid: IdempotencyRecord, units: int, money: int, *, is_money: bool) -> bool:
    """Money alone is all of it only where no bundle has paid."""
    if not is_money:
        return 0 < units == paid.units
    return 0 < money == paid.cost and not any(take.amount and take.kind != Kind.MONEY for take in paid.takes)


def refund_paid(decision: ChargeDecision, ask: Ask, paid: IdempotencyRecord, noted: IdempotencyRecord | None) -> _Given:
    """Of the original a part (money, or units), or all that is left."""
    asked, is_money = ask.asked, ask.unit == Kind.MONEY
    units, money = (0, asked) if is_money else (asked, 0)
    if asked < 0:  # nothing was asked back: on record
        return _Given(Result.OK)
    if asked == 0:
        units = paid.units
    if units > paid.units or money > paid.cost or (paid.units == 0 and paid.cost == 0):
        return _Given(Result.TOO_MUCH)
    everything = is_all(paid, units, money, is_money=is_money and asked > 0)
    if everything:
        units, money = paid.units, paid.cost
    elif money == 0:
        money = share(paid.cost, units, paid.units)
    kept = turn_back(decision, paid, units, money, everything=everything, noted=noted)
    return _Given(Result.OK, units, money, kept)


def refund_event(decision: ChargeDecision, ask: Ask, paid: IdempotencyRecord | None, own: IdempotencyRecord) -> None:
    """paid: the original, which changes; own: the record of this refund"""
    noted = own if decision.charge.actor else None  # of the network none is reversed
    is_money = ask.unit == Kind.MONEY
    given = refund_free(decision, ask) if paid is None else refund_paid(decision, ask, paid, noted)
    why, units, kept = given.why, given.units, given.kept
    decision.moved = decision.moved or why == Result.OK
    marks = decision.flags | Flag.REFUND
    money = given.money - sum(amount for kind, amount in kept if kind == Kind.MONEY)
    ladder = asked_ladder(ask) if paid is None and not is_money else None
    terms = paid.terms if paid else ladder.terms if ladder else ""
    decision.note_usage(ask, ask.unit, used=-units, cost=-money, result=why, flags=marks, terms=terms)
    for kind, amount in kept:  # given up to 2**53, the rest is owed (charging.md section 2)
        if amount:
            decision.note_usage(ask, kind, suspense=-amount, result=why, flags=marks | Flag.SUSPENSE)
    back = money if is_money else units
    decision.outcomes.append(line_outcome(ask, ask.unit, why, marks, granted=back, cost=-money, debited=-money))
    decision.cost -= money
    decision.debited -= money


def refund_events(
    decision: ChargeDecision, original: IdempotencyRecord | None, own: IdempotencyRecord
) -> IdempotencyRecord | None:
    """Returns the original as it is after that; None: there is none. The request may bring it too."""
    given = blob_of(decision.charge.original)
    paid = original
    if paid is None and given:
        paid = msgspec.msgpack.decode(given, type=IdempotencyRecord)
    for ask in decision.asks:
        refund_event(decision, ask, paid, own)
    if decision.moved:
        decision.change.reauthorize = ["final"]
    return paid
