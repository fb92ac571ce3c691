"""Adds up the results of one part, account by account."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from balances.ledger import usage
from ocs.rerating.job import Job
from ocs.rerating.tally import (
    Affected,
    Correction,
    MoneySums,
    RatingTally,
    Refusal,
    UsageSums,
    add_each,
    merge_each,
    most,
)
from tariffs.units import Kind
from tariffs.whatif.prices import versions_of
from tariffs.whatif.replay import AGAIN, NOT_SOLD, SAME, Entry, ReplayedPiece, Result, Row

DAY_MS: Final = 86_400_000
NO_MONEY: Final = "no money"
MAIN: Final = 0
"""The main bucket, as in balances/structs/account.py."""

_AT: Final = {name: place for place, name in enumerate(ReplayedPiece._fields)}
ACCOUNT, SUBSCRIBER, CURRENCY = _AT["account"], _AT["subscriber"], _AT["currency"]
SERVICE, AT_MS, COST, SEQ = _AT["service"], _AT["at_ms"], _AT["cost"], _AT["seq"]
TAG: Final = _AT["tag"]

Corrected = Mapping[tuple[str, str], tuple[int, int]]
"""(account, reference) -> what came back, and how often."""


class Aggregate:
    """Adds up results, which must come account by account."""

    def __init__(self, job: Job) -> None:
        self._top, self._correct = job.top, job.correct
        self._tally = RatingTally()
        self._tags: dict[str, int] = {}
        self._changes: dict[str, array[int]] = {}
        self._begin("", "")

    def _begin(self, account: str, currency: str) -> None:
        self._account, self._currency = account, currency
        self._services: dict[str, UsageSums] = {}
        self._days: dict[int, UsageSums] = {}
        self._subscribers: dict[str, UsageSums] = {}
        self._refused: set[str] = set()
        """Sessions."""

    def tally(self) -> RatingTally:
        """The sums of everything that was added."""
        self._end()
        self._begin("", "")
        for currency, changes in self._changes.items():
            self._tally.money[currency].changes = changes.tobytes()
        for tag, pieces in self._tags.items():
            add_each(self._tally.priced_by, {name: pieces for name, _ in versions_of(tag)})
        self._tags.clear()
        return self._tally

    def add(self, records: int, results: Sequence[Result], uncovered: Mapping[int, int], corrected: Corrected) -> None:
        """
        records:    as many were read, grants without use included
        uncovered:  what accounts could not have paid, by the place of the piece
        """
        tally, hows = self._tally, self._tally.hows
        tally.records += records
        for place, result in enumerate(results):
            row, _, after, how, why = result
            if row[ACCOUNT] != self._account:
                self._end()
                self._begin(row[ACCOUNT], row[CURRENCY])
            before = row[COST]
            if corrected:
                reference = reference_of(row)
                came_back, times = corrected.get((row[ACCOUNT], reference), (0, 0))
                before -= came_back
                if self._correct:
                    self._correction(result, reference, came_back, times)
            elif self._correct and after != before:
                self._correction(result, reference_of(row), 0, 0)
            hows[how] += 1
            tag = row[TAG]
            self._tags[tag] = self._tags.get(tag, 0) + 1
            short = uncovered.get(place, 0) if uncovered else 0
            not_sold = 1 if how == NOT_SOLD else 0
            if how >= NOT_SOLD:
                tally.whys[why] = tally.whys.get(why, 0) + 1
            if not_sold or short:
                self._refusal(row, why or NO_MONEY, before, after, short)
            for key, sums_of in (
                (row[SERVICE], self._services),
                (row[AT_MS] // DAY_MS, self._days),
                (row[SUBSCRIBER], self._subscribers),
            ):
                sums = sums_of.get(key)
                if sums is None:
                    sums = sums_of[key] = UsageSums()
                sums.pieces += 1
                sums.before += before
                sums.after += after
                sums.not_sold += not_sold

    def _money(self) -> MoneySums:
        money = self._tally.money.get(self._currency)
        if money is None:
            money = self._tally.money[self._currency] = MoneySums(UsageSums())
            self._changes[self._currency] = array("q")
        return money

    def _end(self) -> None:
        """Finish the current account."""
        if not self._subscribers:
            return
        money = self._money()
        merge_each(money.services, self._services)
        merge_each(money.days, self._days)
        changes = self._changes[self._currency]
        for name, sums in self._subscribers.items():
            money.total.add(sums)
            change = sums.after - sums.before
            changes.append(change)
            if change > 0:
                money.dearer.append(Affected(self._account, name, sums.before, sums.after, sums.pieces))
            elif change < 0:
                money.cheaper.append(Affected(self._account, name, sums.before, sums.after, sums.pieces))
        if len(money.dearer) > 4 * self._top + 64:
            money.dearer = most(money.dearer, self._top, 1)
        if len(money.cheaper) > 4 * self._top + 64:
            money.cheaper = most(money.cheaper, self._top, -1)

    def _refusal(self, row: Row, why: str, before: int, after: int, short: int) -> None:
        tally = self._tally
        self._money().uncovered += short
        piece = ReplayedPiece(*row)
        if piece.session in self._refused:
            return
        self._refused.add(piece.session)
        tally.refused_sessions[why] = tally.refused_sessions.get(why, 0) + 1
        tally.refusals.append(
            Refusal(
                piece.account,
                piece.subscriber,
                piece.session,
                piece.service,
                piece.at_ms,
                why,
                before,
                after,
                short,
            )
        )
        if len(tally.refusals) > 4 * self._top + 64:
            tally.refusals.sort(key=lambda one: (one.at_ms, one.account, one.session))
            del tally.refusals[self._top :]

    def _correction(self, result: Result, reference: str, came_back: int, times: int) -> None:
        row, more, target, how, _ = result
        amount = row[COST] - came_back - target
        if not amount or how not in (SAME, AGAIN):
            return
        piece = ReplayedPiece(*row)
        self._money().corrected += amount
        self._tally.corrections.append(
            Correction(
                account=piece.account,
                subscriber=piece.subscriber,
                service=piece.service,
                session=piece.session,
                currency=piece.currency,
                at_ms=piece.at_ms,
                reference=reference,
                times=times,
                recorded=piece.cost,
                corrected=came_back,
                target=target,
                amount=amount,
                original_seq=_paid_by(row, more),
                terms=piece.terms or "",
            )
        )


def reference_of(row: Row) -> str:
    return usage.reference_of(row[1], row[2], row[3])


def _paid_by(row: Row, more: Sequence[Entry]) -> int:
    """Number of the entry that a correction refers to: the main bucket's, else the first one of money; 0: none."""
    entries = [one for one in (row[SEQ:], *more) if one[2] == Kind.MONEY]
    entries.sort(key=lambda one: one[1] != MAIN)
    return int(entries[0][0]) if entries else 0
