"""One-time events: debits and enquiries, decided and settled at once (charging.md section 9). Twin of
lua/lib/event.lua."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from balances import keys
from balances.model.decision import (
    ChargeDecision,
    asked_ladder,
    asked_price,
    fresh_line,
    line_outcome,
    longer_reply,
    wanted,
)
from balances.model.funds import AccountFunds, Mode
from balances.model.life import activate, end_grace
from balances.model.lines import countable, hold, leave_tier, payable, release_hold, repool, settle
from balances.model.reached import check_limits
from balances.model.refund import refund_events
from balances.model.repeats import judge
from balances.model.spans import PriceSpan, before_change, climb_on, ms_per_unit
from balances.model.sums import counted
from balances.model.thresholds import check_thresholds
from balances.packing import unpack_ladder
from balances.structs.account import CounterAmount, Take
from balances.structs.blob import FORMAT, NO_BLOB, blob_of, raw_of
from balances.structs.charge import Action, Ask, Charge, Flag, Reply, Result, Suspense
from balances.structs.session import Answer, IdempotencyRecord, Line, PaidAmount
from tariffs.ladder import Ladder
from tariffs.units import EXACT_MAX, Kind


class EventDecision(ChargeDecision):
    """An event, being decided."""

    key: str
    """Where its answer is kept."""
    answer: IdempotencyRecord
    source: IdempotencyRecord | None
    """The original of a refund, after it."""
    outcome: bytes


def event_longer(decision: EventDecision) -> int:
    """From when on use by time has no price yet; 0: all of it has."""
    at_ms = decision.charge.event_ms
    for ask in decision.asks:
        if ask.unit == Kind.SECONDS and blob_of(ask.ladder):
            missing_ms = asked_price(ask).unknown_from(at_ms, at_ms + wanted(ask, event=True) * 1_000)
            if missing_ms:
                return missing_ms
    return 0


def pays_both(decision: EventDecision, *asks: Ask) -> bool:
    """There is money for all of them."""
    funds, event_ms = decision.change.funds(Mode.OPEN, {}), decision.charge.event_ms
    sums = decision.change.sums.copy()
    for ask in asks:
        want, ladder = wanted(ask, event=True), asked_ladder(ask)
        if ladder is not None:
            line, price = fresh_line(ask, 0), asked_price(ask)
            units = climb_on(
                decision.change, price, line, want, funds, at_ms=event_ms, unit=ask.unit, grant=True, sums=sums
            ).units
            if want and (units == 0 or (ask.whole and units < want)):
                return False
    return True


def note_paid(
    decision: EventDecision,
    paid: IdempotencyRecord,
    ladder: Ladder,
    takes: Sequence[Take],
    charged: int,
    exact: int,
    money: int,
) -> None:
    """Note what was paid and what was counted, for a refund."""
    change = decision.change
    paid.takes += [PaidAmount(take.bucket, take.amount, change.sure_bucket(take.bucket).kind) for take in takes]
    for count in ladder.counts:
        raised = counted(count, charged, exact, money)
        if raised and (counter := change.counter_of(count.key)):
            paid.counted.append(CounterAmount(count.key, raised, count.what, counter.until_ms))


def settle_event(
    decision: EventDecision,
    ask: Ask,
    line: Line,
    price: PriceSpan,
    units: int,
    own: dict[int, int],
    marks: int,
    paid: IdempotencyRecord,
) -> int:
    """All that was granted, piece by piece; returns the money."""
    change, ms, at_ms, packed = decision.change, ms_per_unit(ask.unit), decision.charge.event_ms, price.ladder
    granted, cost, suspense = units, 0, 0
    while line.total + suspense < units:
        before, until_ms, left = packed, 0, units - line.total
        if ms:
            packed, until_ms = price.at(at_ms)
        if packed != before and leave_tier(change, line, own, left, at_ms):
            granted = 0
        ladder = unpack_ladder(packed)
        part = before_change(change, ladder, line, left, at_ms, until_ms, ms) if ms else left
        counters, end_ms = change.counter_snapshot(ladder, at_ms), at_ms + part * ms
        money, takes, charged, exact = settle(
            change, line, ladder, part, min(granted, part), own, end_ms, change.now_ms, len(change.usages)
        )
        at_ms, granted, cost = at_ms + charged * ms, max(granted - part, 0), cost + money
        suspense = left - charged if charged < part else 0
        decision.note_usage(
            ask,
            ask.unit,
            packed,
            used=charged,
            suspense=suspense,
            total=line.total,
            cost=money,
            granted=charged,
            flags=marks | (Flag.SUSPENSE if suspense else 0),
            set_aside=Suspense.TOO_LARGE if suspense else Suspense.NONE,
            at_ms=at_ms,
            counters=counters,
        )
        note_paid(decision, paid, ladder, takes, charged, exact, money)
    repool(change, line, own, 0, at_ms)
    return cost


def debit_event(decision: EventDecision, ask: Ask, why: int, paid: IdempotencyRecord) -> None:
    change, line = decision.change, fresh_line(ask, decision.change.now_ms)
    event_ms = decision.charge.event_ms
    want, units, cost = wanted(ask, event=True), 0, 0
    ladder, packed = asked_ladder(ask), blob_of(ask.ladder)
    price, marks = asked_price(ask), decision.flags | (Flag.FREE if ask.free else 0)
    paid.terms = paid.terms or (ladder.terms if ladder else "")
    if why == Result.OK and want == 0:  # costs nothing, and is on record (charging.md section 9)
        decision.moved = True
    elif why == Result.OK and ladder is not None:
        funds = change.funds(Mode.OPEN, {})
        units = climb_on(
            change,
            price,
            copy.copy(line),
            countable(change, ladder, want),
            funds,
            at_ms=event_ms,
            unit=ask.unit,
            grant=True,
            sums=change.sums.copy(),
            most=payable(change, line),
        ).units
        if units == 0 or (ask.whole and units < want):
            why, units = Result.CREDIT_LIMIT, 0
        else:  # granted and settled at once: on a tier it costs what comes next, whatever others hold
            hold(change, line, funds.takes(), units, packed, event_ms, change.now_ms)
            line.debited = paid.cost  # of an event all lines are one sum: so it is given back
            own, _ = release_hold(change, line)
            cost = settle_event(decision, ask, line, price, units, own, marks, paid)
            units = line.total
            decision.moved = True
    if not line.total:
        counters = change.counter_snapshot(ladder, event_ms)
        decision.note_usage(ask, ask.unit, packed, result=why, flags=marks, counters=counters)
    decision.outcomes.append(line_outcome(ask, ask.unit, why, marks, granted=units, cost=cost, debited=cost))
    decision.cost = min(decision.cost + cost, EXACT_MAX)
    decision.debited += cost
    if not ask.secondary:  # what is charged beside a line goes back with it
        paid.units = min(paid.units + units, EXACT_MAX)
    paid.cost += cost


def debit_events(decision: EventDecision, paid: IdempotencyRecord) -> None:
    """Of two parts that are charged side by side both are paid, or neither is."""
    asks = decision.asks
    refusals = [decision.refusal_of(ask) for ask in asks]
    for index, ask in enumerate(asks):
        if (
            ask.secondary
            and refusals[index - 1 : index + 1] == [Result.OK] * 2
            and not pays_both(decision, asks[index - 1], ask)
        ):
            refusals[index - 1 : index + 1] = [Result.CREDIT_LIMIT] * 2
    for ask, why in zip(asks, refusals, strict=True):
        debit_event(decision, ask, why, paid)


def enquire_one(decision: EventDecision, ask: Ask, funds: AccountFunds) -> None:
    """What the lines before came to is in the sums of the change."""
    why, units, cost = ask.refusal, 0, 0
    check = decision.charge.action == Action.CHECK
    if asked_ladder(ask) is not None and why == Result.OK:
        done = climb_on(
            decision.change,
            asked_price(ask),
            fresh_line(ask, 0),
            wanted(ask, event=True),
            funds,
            at_ms=decision.charge.event_ms,
            unit=ask.unit,
            grant=check,
            sums=decision.change.sums,
            most=None if check else EXACT_MAX,
        )
        units, cost = done.units, done.cost
        covered = units >= wanted(ask, event=True)
        decision.enough = decision.enough and covered
        if not covered and not check:  # a price beyond 2**53
            why, units, cost = Result.TOO_MUCH, 0, 0
    if check and decision.refusal_of(ask) != Result.OK:
        decision.enough = False
    decision.outcomes.append(line_outcome(ask, ask.unit, why, decision.flags, granted=units, cost=cost, debited=cost))
    decision.cost = min(decision.cost + cost, EXACT_MAX)


def enquire(decision: EventDecision) -> Reply:
    """CHECK_BALANCE holds nothing, PRICE_ENQUIRY does not look at the money; neither writes. One funds
    for all lines."""
    funds = decision.change.funds(Mode.OPEN, {})
    for ask in decision.asks:
        enquire_one(decision, ask, funds)
    decision.balance = decision.change.settled()
    decision.result = decision.command_result()
    return Reply("ok", decision.pack_outcome())


def event_answers(charge: Charge, *known: IdempotencyRecord | None) -> list[Answer]:
    """The stored answers to this event, and to another one under the same number."""
    return [Answer(charge.key, one.fingerprint, one.end_to_end, one.moved, one.outcome) for one in known if one]


def decide_event(
    decision: EventDecision,
    first: IdempotencyRecord | None,
    renumbered: IdempotencyRecord | None,
    original: IdempotencyRecord | None,
) -> Reply | None:
    """What is to be written stands in the decision then; or the reply, and nothing is to be written."""
    charge, change = decision.charge, decision.change
    if charge.action in (Action.CHECK, Action.PRICE):
        missing_ms = event_longer(decision)
        return longer_reply(missing_ms) if missing_ms else enquire(decision)
    is_other = first is not None and first.fingerprint != charge.fingerprint
    known = event_answers(charge, first, renumbered if is_other else None)
    answered, contradicts, mark = judge(charge, known)
    decision.flags |= mark
    if answered is not None:
        if not contradicts:
            return Reply("again", answered, mark)
        decision.answer_conflict(answered)
        return None
    if charge.moved_rev and not (charge.action == Action.REFUND and (original or blob_of(charge.original))):
        return Reply("elsewhere")  # it pays no more, and gives back what it was paid
    if missing_ms := event_longer(decision):
        return longer_reply(missing_ms)

    paid = IdempotencyRecord(FORMAT, charge.fingerprint, charge.end_to_end, False, NO_BLOB, takes=[], counted=[])
    source = None
    end_grace(change)
    if charge.action == Action.REFUND:
        source = refund_events(decision, original, paid)
    else:
        debit_events(decision, paid)
    change.expire_buckets()
    decision.balance = check_thresholds(change)
    check_limits(change, decision.asks, gives_back=charge.action == Action.REFUND)
    if decision.moved:
        activate(change)
    decision.result = decision.command_result()
    decision.outcome = decision.pack_outcome()
    paid.moved, paid.outcome = decision.moved, raw_of(decision.outcome)
    change.sort()
    decision.key = keys.renumbered(charge.once_key, charge.fingerprint) if is_other else charge.once_key
    decision.answer, decision.source = paid, source if decision.moved else None
    return None
