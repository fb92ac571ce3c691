"""One-time events: debits, refunds and enquiries. Twin of the parts of lua/charge.lua."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from balances.model.funds import AccountFunds, Mode
from balances.model.session import ChargeDecision, asked_ladder, fresh_line, line_outcome, wanted
from balances.model.spans import PriceSpan, before_change, climb_on, ms_per_unit
from balances.packing import unpack_ladder
from balances.structs.account import MAIN, Bucket, CounterAmount
from balances.structs.blob import blob_of
from balances.structs.charge import Action, Ask, Flag, Result, Suspense
from balances.structs.session import IdempotencyRecord, Line, PaidAmount
from tariffs.ladder import COUNT_UNITS
from tariffs.units import EXACT_MAX, Kind, share


def asked_price(ask: Ask) -> PriceSpan:
    return PriceSpan(blob_of(ask.ladder), ask.until_ms, ask.later)


class EventLines(ChargeDecision):
    """The lines of one event being decided."""

    def event_longer(self) -> int:
        """From when on use by time has no price yet; 0: all of it has."""
        at_ms = self.charge.event_ms
        for ask in self.charge.asks:
            if ask.unit == Kind.SECONDS and blob_of(ask.ladder):
                missing_ms = asked_price(ask).unknown_from(at_ms, at_ms + wanted(ask, event=True) * 1_000)
                if missing_ms:
                    return missing_ms
        return 0

    def debit(self, asks: Sequence[Ask], paid: IdempotencyRecord) -> None:
        """Of two parts that are charged side by side both are paid, or neither is."""
        refusals = [self.refusal(ask) for ask in asks]
        for index, ask in enumerate(asks):
            if (
                ask.secondary
                and refusals[index - 1 : index + 1] == [Result.OK] * 2
                and not self._pays(asks[index - 1], ask)
            ):
                refusals[index - 1 : index + 1] = [Result.CREDIT_LIMIT] * 2
        for ask, why in zip(asks, refusals, strict=True):
            self._debit_one(ask, why, paid)

    def _pays(self, *asks: Ask) -> bool:
        """There is money for all of them."""
        funds, event_ms = self.change.funds(Mode.OPEN, {}), self.charge.event_ms
        for ask in asks:
            want, ladder = wanted(ask, event=True), asked_ladder(ask)
            if ladder is not None:
                line, price = fresh_line(ask, 0), asked_price(ask)
                units = climb_on(self.change, price, line, want, funds, at_ms=event_ms, unit=ask.unit, grant=True).units
                if want and (units == 0 or (ask.whole and units < want)):
                    return False
        return True

    def _debit_one(self, ask: Ask, why: int, paid: IdempotencyRecord) -> None:
        change, line = self.change, fresh_line(ask, self.change.now_ms)
        event_ms = self.charge.event_ms
        want, units, cost = wanted(ask, event=True), 0, 0
        ladder, packed = asked_ladder(ask), blob_of(ask.ladder)
        price, marks = asked_price(ask), self.flags | (Flag.FREE if ask.free else 0)
        paid.terms = paid.terms or (ladder.terms if ladder else "")
        if why == Result.OK and want == 0:  # costs nothing, and is on record (charging.md section 9)
            self.moved = True
        elif why == Result.OK and ladder is not None:
            funds = change.funds(Mode.OPEN, {})
            units = climb_on(
                change,
                price,
                copy.copy(line),
                change.countable(ladder, want),
                funds,
                at_ms=event_ms,
                unit=ask.unit,
                grant=True,
                most=change.payable(line),
            ).units
            if units == 0 or (ask.whole and units < want):
                why, units = Result.CREDIT_LIMIT, 0
            else:  # granted and settled at once: on a tier it costs what comes next, whatever others hold
                change.hold(line, funds.takes(), units, packed, event_ms, change.now_ms)
                own, _ = change.release_hold(line)
                cost = self._settle(ask, line, price, units, own, marks, paid)
                units = line.total
                self.moved = True
        if not line.total:
            counters = change.counter_snapshot(ladder, event_ms)
            self.usage(ask, ask.unit, packed, result=why, flags=marks, counters=counters)
        self.outcomes.append(line_outcome(ask, ask.unit, why, marks, granted=units, cost=cost, debited=cost))
        self.cost = min(self.cost + cost, EXACT_MAX)
        self.debited += cost
        if not ask.secondary:  # what is charged beside a line goes back with it
            paid.units = min(paid.units + units, EXACT_MAX)
        paid.cost += cost

    def _settle(
        self,
        ask: Ask,
        line: Line,
        price: PriceSpan,
        units: int,
        own: dict[int, int],
        marks: int,
        paid: IdempotencyRecord,
    ) -> int:
        """All that was granted, piece by piece; returns the money."""
        change, ms, at_ms, packed = self.change, ms_per_unit(ask.unit), self.charge.event_ms, price.ladder
        granted, cost, suspense = units, 0, 0
        while line.total + suspense < units:
            before, until_ms, left = packed, 0, units - line.total
            if ms:
                packed, until_ms = price.at(at_ms)
            if packed != before and change.leave_tier(line, own, left, at_ms):
                granted = 0
            ladder = unpack_ladder(packed)
            part = before_change(change, ladder, line, left, at_ms, until_ms, ms) if ms else left
            counters, end_ms = change.counter_snapshot(ladder, at_ms), at_ms + part * ms
            money, takes, charged = change.settle(
                line, ladder, part, min(granted, part), own, end_ms, change.now_ms, len(change.usages)
            )
            at_ms, granted, cost = at_ms + charged * ms, max(granted - part, 0), cost + money
            suspense = left - charged if charged < part else 0
            self.usage(
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
            paid.takes += [PaidAmount(take.bucket, take.amount, change.sure_bucket(take.bucket).kind) for take in takes]
            for count in ladder.counts:
                raised = charged if count.what == COUNT_UNITS else money
                if raised and (counter := change.counter(count.key)):
                    paid.counted.append(CounterAmount(count.key, raised, count.what, counter.until_ms))
        change.repool(line, own, 0, at_ms)
        return cost

    def give_back(self, bucket_id: int, kind: int, amount: int) -> int:
        """To the bucket that paid; to main, or to one of its own for a while, when that one is gone. Returns how much
        could not be given, because 2**53 would be passed."""
        change = self.change
        bucket = change.bucket(bucket_id)
        if bucket is None or 0 < bucket.until_ms <= change.now_ms:
            if kind == Kind.MONEY:
                bucket = change.sure_bucket(MAIN)
            else:
                bucket = self._refund_bucket(kind)
        given = min(amount, change.room_in(bucket))
        change.post_entry(bucket, given, "revenue", "refund", len(change.usages))
        return amount - given

    def _refund_bucket(self, kind: int) -> Bucket:
        """One for each kind and service, for as long as the last refund into it says."""
        account, service = self.change.account, self.charge.service
        for bucket in account.buckets:
            ours = bucket.name == "refund" and bucket.kind == kind and bucket.scope[:1] == [service]
            if ours and bucket.until_ms > self.change.now_ms:
                break
        else:
            bucket = Bucket(account.next_bucket, kind, 0, 0, 100, 0, 0, [service], "refund")
            account.next_bucket += 1
            account.buckets.append(bucket)
        bucket.until_ms = self.refund_until_ms = max(bucket.until_ms, self.charge.refund_until_ms)
        return bucket

    def refund_event(self, ask: Ask, paid: IdempotencyRecord | None) -> None:
        """Refund a part (money, or units of the original), or all that is left; changes `paid`."""
        why, units, money = Result.OK, 0, 0
        kept: list[tuple[int, int]] = []  # kind and amount that no bucket had room for
        asked, is_money = ask.asked, ask.unit == Kind.MONEY
        if paid is not None and asked < 0:
            pass  # nothing was asked back: on record
        elif paid is None:
            worth = asked if is_money else self._worth(ask)
            if 0 < worth <= self.charge.refund_free:
                kept.append((Kind.MONEY, self.give_back(MAIN, Kind.MONEY, worth)))
                money = worth
                units = 0 if is_money else asked
            else:
                why = Result.NOT_FOUND
        else:
            if asked == 0:
                units = paid.units
            elif is_money:
                money = asked
            else:
                units = asked
            if units > paid.units or money > paid.cost or (paid.units == 0 and paid.cost == 0):
                why, units, money = Result.TOO_MUCH, 0, 0
            else:
                bundled = any(take.amount and take.kind != Kind.MONEY for take in paid.takes)
                everything = 0 < units == paid.units or (is_money and 0 < asked == paid.cost and not bundled)
                if everything:
                    units, money = paid.units, paid.cost
                elif money == 0:
                    money = share(paid.cost, units, paid.units)
                kept = self._turn_back(paid, units, money, everything)
        self.moved = self.moved or why == Result.OK
        marks = self.flags | Flag.REFUND
        money -= sum(amount for kind, amount in kept if kind == Kind.MONEY)
        ladder = asked_ladder(ask) if paid is None and not is_money else None
        terms = paid.terms if paid else ladder.terms if ladder else ""
        self.usage(ask, ask.unit, used=-units, cost=-money, result=why, flags=marks, terms=terms)
        for kind, amount in kept:  # given up to 2**53, the rest is owed (charging.md section 2)
            if amount:
                flags, reason = marks | Flag.SUSPENSE, Suspense.TOO_LARGE
                self.usage(ask, kind, suspense=-amount, result=why, flags=flags, set_aside=reason)
        given = money if is_money else units
        self.outcomes.append(line_outcome(ask, ask.unit, why, marks, granted=given, cost=-money, debited=-money))
        self.cost -= money
        self.debited -= money

    def _worth(self, ask: Ask) -> int:
        """What the units asked would cost (RFC 8506 section 6.4: RSU money or rated units)."""
        ladder = asked_ladder(ask)
        if ladder is None or ask.asked <= 0:
            return 0
        done = climb_on(
            self.change,
            asked_price(ask),
            fresh_line(ask, 0),
            ask.asked,
            self.change.funds(Mode.OPEN, {}),
            at_ms=self.charge.event_ms,
            unit=ask.unit,
            grant=False,
            with_held=False,
            most=EXACT_MAX,
        )
        return done.cost if done.units == ask.asked else 0

    def _turn_back(self, paid: IdempotencyRecord, units: int, money: int, everything: bool) -> list[tuple[int, int]]:
        """Returns kinds and amounts that no bucket had room for."""
        due, kept = money, list[tuple[int, int]]()
        for take in reversed(paid.takes):  # last paid, first given back
            if everything:
                back = take.amount
            elif take.kind == Kind.MONEY:
                back = min(take.amount, due)
            else:
                back = share(take.amount, units, paid.units)
            if take.kind == Kind.MONEY:
                due -= back
            if back:
                kept.append((take.kind, self.give_back(take.bucket, take.kind, back)))
            take.amount -= back
        for fed in paid.counted:
            part, whole = (units, paid.units) if fed.what == COUNT_UNITS else (money, paid.cost)
            back = fed.amount if everything else share(fed.amount, part, whole)
            counter = self.change.counter(fed.key)
            if counter is not None and counter.until_ms == fed.until_ms:  # else of another time: nothing to turn back
                counter.used -= back
            fed.amount -= back
        paid.units -= units
        paid.cost -= money
        return kept

    def enquire(self, asks: Sequence[Ask]) -> None:
        """CHECK_BALANCE holds nothing, PRICE_ENQUIRY does not look at the money. One funds for all lines."""
        funds = self.change.funds(Mode.OPEN, {})
        for ask in asks:
            self._enquire_one(ask, funds)

    def _enquire_one(self, ask: Ask, funds: AccountFunds) -> None:
        why, units, cost = ask.refusal, 0, 0
        check = self.charge.action == Action.CHECK
        if asked_ladder(ask) is not None and why == Result.OK:
            done = climb_on(
                self.change,
                asked_price(ask),
                fresh_line(ask, 0),
                wanted(ask, event=True),
                funds,
                at_ms=self.charge.event_ms,
                unit=ask.unit,
                grant=check,
                most=None if check else EXACT_MAX,
            )
            units, cost = done.units, done.cost
            covered = units >= wanted(ask, event=True)
            self.enough = self.enough and covered
            if not covered and not check:  # a price beyond 2**53
                why, units, cost = Result.TOO_MUCH, 0, 0
        if check and self.refusal(ask) != Result.OK:
            self.enough = False
        self.outcomes.append(line_outcome(ask, ask.unit, why, self.flags, granted=units, cost=cost, debited=cost))
        self.cost = min(self.cost + cost, EXACT_MAX)
