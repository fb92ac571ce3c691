"""Passes 2 and 3 of a charge: who is granted what, when there may not be enough for all. Twin of lua/charge.lua."""

from __future__ import annotations

import copy

from balances.model.account import AccountChange
from balances.model.funds import AccountFunds, Mode
from balances.model.limits import add_limited, is_limited, left_of_limit, limits_left
from balances.model.lines import countable, hold, ladder_of, release
from balances.model.spans import PriceSpan, climb_on, hours_change, ms_per_unit
from balances.model.sums import SessionSums
from balances.packing import unpack_ladder
from balances.structs.account import Bucket, Take
from balances.structs.blob import blob_of
from balances.structs.charge import SHARINGS_MAX, Ask, LineOutcome, Result
from balances.structs.record import Short
from balances.structs.session import Line
from tariffs.climb import lapse_ahead
from tariffs.ladder import Counted, tier_of
from tariffs.units import EXACT_MAX, Kind, share


class Asking:
    """A line that may be granted units."""

    def __init__(self, index: int, ask: Ask, line: Line, want: int) -> None:
        self.index, self.ask, self.line, self.want = index, ask, line, want
        self.position = line
        self.ladder = unpack_ladder(blob_of(ask.ladder))
        self.priced_by = PriceSpan(blob_of(ask.dearest) or blob_of(ask.ladder))
        self.got = 0
        self.sums = SessionSums([], held=True)
        """What is held for it comes to this before its session is rounded."""
        self.grade: str | None = None
        """Of what was granted; None before."""
        self.is_out = False
        """It is granted nothing, whatever becomes free."""


def is_hungry(one: Asking) -> bool:
    return not one.is_out and min(one.want, one.ask.minimum) <= one.got < one.want


class Granting:
    """Grants of one request, written into its outcomes."""

    def __init__(self, change: AccountChange, lines: list[Line], outcomes: list[LineOutcome], event_ms: int) -> None:
        """lines: all of the session"""
        self._change = change
        self._lines = lines
        self._outcomes = outcomes
        self._event_ms = event_ms
        self._by_index: dict[int, Asking] = {}

    def _extend(self, one: Asking, units: int, funds: AccountFunds, *, keep: bool) -> int:
        """Climb on from where the line's position stands and hold what that takes; `keep` False only measures. Returns
        the units covered."""
        ask, ms = one.ask, ms_per_unit(one.ask.unit)
        units = countable(self._change, one.ladder, units)
        climbed = climb_on(
            self._change,
            one.priced_by,
            one.position if keep else copy.copy(one.position),
            units,
            funds,
            at_ms=self._event_ms + one.got * ms,
            unit=ask.unit,
            grant=keep,
            sums=one.sums if keep else one.sums.copy(),
            of_line=one.line,
            grade=one.grade,
            most=None if keep else EXACT_MAX,
        )
        if keep and climbed.units:
            one.got += climbed.units
            one.grade = one.grade if climbed.grade is None else climbed.grade
            due_ms = self._change.now_ms + 2 * ask.validity_ms
            packed = blob_of(ask.ladder)
            hold(self._change, one.line, funds.takes(), climbed.units, packed, self._event_ms, due_ms)
            one.line.reach_ms = ask.until_ms if ms else 0
        return climbed.units

    def _line_up(self, asking: list[Asking]) -> None:
        """In priority then message order, and each from where its line stands."""
        asking.sort(key=lambda one: (one.ask.priority, one.index))
        for one in asking:
            ask, line = one.ask, one.line
            if line.unit != ask.unit:
                line.unit, line.total, line.paid_ahead, line.rest, line.ahead_ms = ask.unit, 0, 0, 0, 0
            one.position = copy.copy(line)
            lapse_ahead(one.position, self._event_ms)
            one.grade = line.grade if one.position.paid_ahead else None
        self._by_index = {one.index: one for one in asking}

    def _share_out(self, asking: list[Asking]) -> None:
        """The least for each line: its minimum, and all that it wants where it asks alone or is served whole. Of the
        latter nothing is held that is not all: the next line may have it. Then a fair part of the rest."""
        change = self._change
        for one in asking:
            whole = one.ask.whole
            least = one.want if whole or len(asking) == 1 else min(one.want, one.ask.minimum)
            if one.is_out or one.got >= least:
                continue
            if not whole or self._covered_of(one, least, change.funds(Mode.OPEN, {}), one.grade) == least:
                self._extend(one, least - one.got, change.funds(Mode.OPEN, {}), keep=True)
            if whole and one.got < least:
                self._give_up(one)
        if len(asking) > 1:
            self._share_all(asking)

    def grant(self, asking: list[Asking]) -> bool:
        """Grants, written into the outcomes. Returns whether there is any."""
        change = self._change
        self._line_up(asking)
        self._share_out(asking)
        while self._give_up_halves(asking):  # what they held is for the others
            self._share_out(asking)
        self._round_off(asking)
        self._take_rests(asking)
        for one in asking:
            if not one.got:
                self._outcomes[one.index].result = Result.CREDIT_LIMIT
            if not one.got or self._seal(one):
                self._note_short(one)
            self._outcomes[one.index].unit = one.ask.unit
            one.line.touched_ms = change.now_ms
        if change.short:
            change.reauthorize = [*change.reauthorize, "holder"]
        return any(one.got for one in asking)

    def _is_stopped(self, one: Asking) -> bool:
        """Whether limits stop a line: there is money for what it lacks of the least, or for one unit more."""
        if not is_limited(one.ladder):
            return False
        least = one.want if one.ask.whole else min(one.want, one.ask.minimum)
        lacks = max(least - one.got, 1)
        funds = self._change.funds(Mode.OPEN, {})
        funds.unlimited = True
        return self._covered_of(one, lacks, funds, None) >= lacks

    def _note_limits(self, one: Asking) -> None:
        """Limits that would leave more to this line, if others did not hold it."""
        change = self._change
        own = self._own_counted(one)
        for count in one.ladder.counts:
            counter = change.counter_of(count.key) if count.key in own else None
            if counter is None or counter.held <= own[count.key]:
                continue
            if all(short.counter != count.key for short in change.short):
                kind = Kind.MONEY if count.what == Counted.MONEY else one.ask.unit
                change.short.append(Short(-1, kind, count.key))

    def _own_counted(self, *lines: Asking) -> dict[str, int]:
        """What a line holds of its limits, with the one beside it."""
        own: dict[str, int] = {}
        for one in lines:
            add_limited(own, one.ladder, one.line.granted, self._change.money_held(one.line))
        return own

    def _note_short(self, one: Asking) -> None:
        """Buckets that could pay this line, of which something is held, or limits (charging.md section 5: whom RAR goes
        to)."""
        if self._is_stopped(one):
            self._note_limits(one)
            return
        change = self._change
        funds, paying = change.funds(Mode.OPEN, {}), list[Bucket]()
        funds.granting, funds.clock_ms = True, self._event_ms
        for step in unpack_ladder(one.priced_by.ladder).steps:
            paying += funds.paying(step.kind, step.scope, Mode.OPEN)
            if funds.asks_money(step.kind, step.scope):
                paying += funds.paying(Kind.MONEY, step.scope, Mode.OPEN)
            if funds.blocks(step.kind, step.scope):
                break
        for bucket in change.account.buckets:
            short = Short(bucket.id, bucket.kind)
            if bucket.held > 0 and bucket in paying and short not in change.short:
                change.short.append(short)

    def _give_up_halves(self, asking: list[Asking]) -> bool:
        """Of two that are charged side by side both are granted, or neither is. Whether one was given up."""
        halves = [
            (one, other)
            for other in asking
            if other.ask.secondary
            and (one := self._by_index.get(other.index - 1)) is not None
            and bool(one.got) != bool(other.got)
        ]
        for both in halves:
            for one in both:
                self._give_up(one)
        return bool(halves)

    def _round_off(self, asking: list[Asking]) -> None:
        """Up to the end of a block, where a line wants it so."""
        for one in asking:
            ask = one.ask
            ahead = one.position.paid_ahead
            counted = countable(self._change, one.ladder, ahead) == ahead and self._leaves(one, ahead)
            if ask.blocks and one.got and ahead and counted and (not ask.maximum or one.got + ahead <= ask.maximum):
                one.position.total, one.position.paid_ahead = one.position.total + ahead, 0
                one.got += ahead
                hold(self._change, one.line, [], ahead, blob_of(ask.ladder), self._event_ms, one.line.due_ms)

    def _leaves(self, one: Asking, units: int) -> bool:
        """Whether limits of units leave room for these, which cost nothing more."""
        return limits_left(self._change, self._change.funds(Mode.OPEN, {}), one.ladder)[0] >= units

    def _take_rests(self, asking: list[Asking]) -> None:
        """A grant of octets or seconds that would leave less than a minimum takes that rest too, unless somebody else
        could use it: so nothing is left that buys blocks and cannot be had (charging.md section 5)."""
        change = self._change
        for one in asking:
            ask, others = one.ask, [other for other in asking if other is not one]
            alone = one.got and not ask.whole and self._partner_of(one) is None
            if not alone or ask.unit not in (Kind.OCTETS, Kind.SECONDS) or any(o.got < o.want for o in others):
                continue
            rest = self._covered_of(one, ask.minimum, change.funds(Mode.OPEN, {}), one.grade)
            within = min(rest, ask.maximum - one.got) if ask.maximum else rest
            if within > 0 and rest < ask.minimum and not self._others_hold():
                self._extend(one, within, change.funds(Mode.OPEN, {}), keep=True)

    def _others_hold(self) -> bool:
        """Another session of the account holds something. On a tier money is held by the counter: there its sharers are
        counted."""
        change, mine, sharing = self._change, dict[int, int](), dict[str, int]()
        for line in self._lines:
            tier = tier_of(ladder_of(line)) if line.due_ms else ""
            sharing[tier] = sharing.get(tier, 0) + 1
            for take in line.hold:
                if not tier or change.sure_bucket(take.bucket).kind != Kind.MONEY:
                    mine[take.bucket] = mine.get(take.bucket, 0) + take.amount
        for counter in change.account.counters:
            if counter.sharers > sharing.get(counter.key, 0):
                return True
            for take in counter.pool:
                mine[take.bucket] = mine.get(take.bucket, 0) + take.amount
        return any(bucket.held > mine.get(bucket.id, 0) for bucket in change.account.buckets)

    def _give_up(self, one: Asking) -> None:
        if one.got:
            release(self._change, one.line, self._event_ms)
        one.got, one.is_out = 0, True

    def _share_all(self, asking: list[Asking]) -> None:
        """Bucket by bucket: a line that has its part of one may want more of the next. What rounding leaves is for the
        first."""
        for _ in range(SHARINGS_MAX):
            hungry = [one for one in asking if is_hungry(one)]
            before = sum(one.got for one in hungry)
            self._share_rest(hungry)
            if sum(one.got for one in hungry) == before:
                break
        for one in asking:
            if is_hungry(one):
                self._extend(one, one.want - one.got, self._change.funds(Mode.OPEN, {}), keep=True)

    def _share_rest(self, hungry: list[Asking]) -> None:
        change = self._change
        alone: list[list[Take]] = []
        sums: dict[int, int] = {}
        fed: list[dict[str, int]] = []
        fed_sums: dict[str, int] = {}
        for one in hungry:
            funds = change.funds(Mode.OPEN, {})
            units = self._extend(one, one.want - one.got, funds, keep=False)
            alone.append(funds.takes())
            for take in alone[-1]:
                sums[take.bucket] = sums.get(take.bucket, 0) + take.amount
            fed.append({})
            add_limited(fed[-1], one.ladder, units, self._money_of(alone[-1]))
            for key, amount in fed[-1].items():
                fed_sums[key] = fed_sums.get(key, 0) + amount
        funds = change.funds(Mode.OPEN, {})
        free = {bucket: max(funds.free_of(change.sure_bucket(bucket), Mode.OPEN), 0) for bucket in sums}
        rations = [self._rations_of(one, funds, mine, fed_sums) for one, mine in zip(hungry, fed, strict=True)]
        for one, takes, parts in zip(hungry, alone, rations, strict=True):
            funds = change.funds(Mode.OPEN, {})
            funds.rations = parts
            if any(sums[take.bucket] > free[take.bucket] for take in takes):
                funds.caps = {
                    take.bucket: take.amount
                    if sums[take.bucket] <= free[take.bucket]
                    else share(free[take.bucket], take.amount, sums[take.bucket])
                    for take in takes
                }
            self._extend(one, one.want - one.got, funds, keep=True)

    def _money_of(self, takes: list[Take]) -> int:
        change = self._change
        return sum(take.amount for take in takes if change.sure_bucket(take.bucket).kind == Kind.MONEY)

    def _rations_of(
        self, one: Asking, funds: AccountFunds, mine: dict[str, int], sums: dict[str, int]
    ) -> dict[str, int]:
        """The part of each limit that a line gets, where all of them together want more than it leaves. mine: what this
        one would feed its limits with; sums: all of them"""
        rations = {}
        for count in one.ladder.counts:
            if count.key in mine:
                left = max(left_of_limit(self._change, funds, count), 0)
                if sums[count.key] > left:
                    rations[count.key] = share(left, mine[count.key], sums[count.key])
        return rations

    def _seal(self, one: Asking) -> bool:
        """Validity and the Final-Unit-Indication of a grant; True when it is short only because others hold."""
        change, ask, line = self._change, one.ask, one.line
        own = {take.bucket: take.amount for take in line.hold}
        validity_ms = ask.validity_ms
        if ask.until_ms:
            validity_ms = max(min(validity_ms, ask.until_ms - change.now_ms), 1000)
        if ask.unit == Kind.SECONDS and any(
            0 < step.until_ms < change.now_ms + validity_ms for step in unpack_ladder(one.priced_by.ladder).steps
        ):  # held is what it costs from now on: used later, more of it would be of the next band
            validity_ms = min(validity_ms, one.got * 1000)
        for bucket_id in own:
            until_ms = change.sure_bucket(bucket_id).until_ms
            if until_ms:
                validity_ms = max(min(validity_ms, until_ms - change.now_ms), 1000)
        ends_ms = hours_change(change.account, unpack_ladder(one.priced_by.ladder), self._event_ms)
        if ends_ms:
            validity_ms = max(min(validity_ms, ends_ms - change.now_ms), 1000)
        line.due_ms = change.now_ms + 2 * validity_ms
        line.change_ms, line.grade = ask.change_ms, line.grade if one.grade is None else one.grade
        other = self._partner_of(one)
        for take in other.line.hold if other else ():
            own[take.bucket] = own.get(take.bucket, 0) + take.amount
        funds = change.funds(Mode.ALONE, own)
        funds.own_counted = self._own_counted(one) if other is None else self._own_counted(one, other)
        if other is not None:
            self._further_of(other, funds)  # both go on, or neither
        further, least = self._further_of(one, funds)
        line.final = further < least
        outcome = self._outcomes[one.index]
        outcome.granted, outcome.validity_ms = one.got, validity_ms
        outcome.change_ms = ask.change_ms if blob_of(ask.dearest) else 0
        outcome.final, outcome.grade = line.final, line.grade
        return one.got < min(one.want, ask.minimum) and not line.final

    def _partner_of(self, one: Asking) -> Asking | None:
        other = self._by_index.get(one.index + (-1 if one.ask.secondary else 1))
        return other if other is not None and other.got and other.ask.secondary != one.ask.secondary else None

    def _further_of(self, one: Asking, funds: AccountFunds) -> tuple[int, int]:
        """How much of the least that could be granted further is covered, and that least: one unit, which takes a
        block, or all that is wanted of what is served whole."""
        least = one.want if one.ask.whole else 1
        return self._covered_of(one, least, funds, None), least

    def _covered_of(self, one: Asking, units: int, funds: AccountFunds, grade: str | None) -> int:
        """How many further units of a line the funds covers."""
        ms = ms_per_unit(one.ask.unit)
        return climb_on(
            self._change,
            one.priced_by,
            copy.copy(one.position),
            units,
            funds,
            at_ms=self._event_ms + one.got * ms,
            unit=one.ask.unit,
            grant=True,
            sums=one.sums.copy(),
            of_line=one.line,
            grade=grade,
        ).units
