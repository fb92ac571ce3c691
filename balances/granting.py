"""Passes 2 and 3 of a charge: who is granted what, when there may not be enough for all. Twin of lua/charge.lua."""

from __future__ import annotations

import copy

import msgspec

from balances import ops
from balances.books import Books, Mode, Purse, ms_per_unit
from balances.ops import Ask, Line, LineOutcome, Result, Take
from tariffs.ladder import Ladder, Position, climb
from tariffs.units import share


class Asking(msgspec.Struct, eq=False):
    """A line that may be granted units."""

    index: int
    ask: Ask
    line: Line
    want: int
    position: Line
    ladder: Ladder
    got: int = 0


class Granting:
    """Grants of one request, written into its outcomes."""

    def __init__(self, books: Books, outcomes: list[LineOutcome], event_ms: int) -> None:
        self._books = books
        self._outcomes = outcomes
        self._event_ms = event_ms
        self.granted = False
        """Something was."""

    def _extend(self, one: Asking, units: int, purse: Purse, *, keep: bool) -> int:
        """Climb on from where the line's position stands and hold what that takes; `keep` False only measures."""
        ask, ms = one.ask, ms_per_unit(one.ask.unit)
        position: Position = one.position if keep else copy.copy(one.position)
        covered = climb(
            one.ladder,
            position,
            units,
            self._books.counters(with_held=True),
            purse,
            at_ms=self._event_ms + one.got * ms,
            ms_per_unit=ms,
            grant=keep,
        ).units
        if keep:
            one.got += covered
            if covered:
                due_ms = self._books.now_ms + 2 * ask.validity_ms
                self._books.hold(one.line, purse.takes(), covered, ops.blob(ask.ladder), due_ms)
        return covered

    def grant(self, asking: list[Asking]) -> None:
        """The minimum for each asking line, in priority then message order; then a fair part of the rest."""
        books = self._books
        asking.sort(key=lambda one: (one.ask.priority, one.index))
        for one in asking:
            ask, line = one.ask, one.line
            if line.unit != ask.unit:
                line.unit, line.total, line.paid_ahead, line.rest = ask.unit, 0, 0, 0
            one.position = copy.copy(line)
            first = min(one.want, ask.minimum) if len(asking) > 1 else one.want
            self._extend(one, first, books.purse(Mode.OPEN, {}), keep=True)
        if len(asking) > 1:
            self._share_rest([one for one in asking if min(one.want, one.ask.minimum) <= one.got < one.want])
        short_of_others = False
        for one in asking:
            if one.got:
                short_of_others |= self._seal(one)
            else:
                self._outcomes[one.index].result = Result.CREDIT_LIMIT
                short_of_others |= any(bucket.held > 0 for bucket in books.account.buckets)
            self._outcomes[one.index].unit = one.ask.unit
            one.line.touched_ms = books.now_ms
        if short_of_others:
            books.nudges.append("holder")

    def _share_rest(self, hungry: list[Asking]) -> None:
        books = self._books
        alone: list[list[Take]] = []
        sums: dict[int, int] = {}
        for one in hungry:
            purse = books.purse(Mode.OPEN, {})
            self._extend(one, one.want - one.got, purse, keep=False)
            alone.append(purse.takes())
            for take in alone[-1]:
                sums[take.bucket] = sums.get(take.bucket, 0) + take.amount
        purse = books.purse(Mode.OPEN, {})
        free = {bucket: max(purse.free_of(books.sure_bucket(bucket)), 0) for bucket in sums}
        for one, takes in zip(hungry, alone, strict=True):
            purse = books.purse(Mode.OPEN, {})
            if any(sums[take.bucket] > free[take.bucket] for take in takes):
                purse.caps = {
                    take.bucket: take.amount
                    if sums[take.bucket] <= free[take.bucket]
                    else share(free[take.bucket], take.amount, sums[take.bucket])
                    for take in takes
                }
            self._extend(one, one.want - one.got, purse, keep=True)

    def _seal(self, one: Asking) -> bool:
        """Validity and the Final-Unit-Indication of a grant; True when it is short only because others hold."""
        books, ask, line = self._books, one.ask, one.line
        own = {take.bucket: take.amount for take in line.hold}
        validity_ms = ask.validity_ms
        for bucket_id in own:
            until_ms = books.sure_bucket(bucket_id).until_ms
            if until_ms:
                validity_ms = max(min(validity_ms, until_ms - books.now_ms), 1000)
        line.due_ms = books.now_ms + 2 * validity_ms
        least = max(min(ask.minimum, one.want), 1)
        ms = ms_per_unit(ask.unit)
        further = climb(
            one.ladder,
            copy.copy(one.position),
            least,
            books.counters(with_held=True),
            books.purse(Mode.ALONE, own),
            at_ms=self._event_ms + one.got * ms,
            ms_per_unit=ms,
            grant=True,
        ).units
        line.final = further < least
        outcome = self._outcomes[one.index]
        outcome.granted, outcome.validity_ms = one.got, validity_ms
        outcome.change_ms, outcome.final = ask.change_ms, line.final
        self.granted = True
        return one.got < min(one.want, ask.minimum) and not line.final
