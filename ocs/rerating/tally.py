"""Sums of what was rated again: of a part, and of all parts together. Memory does not grow with the records: of each
subscriber one number is kept."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

HOWS: Final = 5
"""Of tariffs.whatif: KEPT, SAME, AGAIN, NOT_SOLD, UNSAID."""


class UsageSums(msgspec.Struct):
    """Money in micro-units."""

    pieces: int = 0
    before: int = 0
    """Recorded, corrections included."""
    after: int = 0
    not_sold: int = 0
    """Pieces."""

    def add(self, other: UsageSums) -> None:
        self.pieces += other.pieces
        self.before += other.before
        self.after += other.after
        self.not_sold += other.not_sold


class Affected(msgspec.Struct, frozen=True):
    account: str
    subscriber: str
    before: int
    after: int
    pieces: int

    @property
    def change(self) -> int:
        return self.after - self.before


class Refusal(msgspec.Struct, frozen=True):
    """A session that would have been refused, or cut short."""

    account: str
    subscriber: str
    session: str
    service: str
    at_ms: int
    """Of the first piece that would have been."""
    why: str
    before: int
    """What that piece cost ..."""
    after: int
    """... and would have cost."""
    uncovered: int
    """Of it, what the account could not have paid."""


class Correction(msgspec.Struct, frozen=True):
    """The correction of one usage record, to be posted. Money in micro-units."""

    account: str
    subscriber: str
    service: str
    session: str
    currency: str
    at_ms: int
    reference: str
    times: int
    """How often it was corrected before."""
    recorded: int
    """What it was charged."""
    corrected: int
    """What came back of it since (below 0: was taken besides)."""
    target: int
    """What it should have cost."""
    amount: int
    """To be posted: above 0 is given back."""
    original_seq: int
    """The entry it corrects; 0: nothing was paid."""
    terms: str


class MoneySums(msgspec.Struct):
    """Sums of one currency."""

    total: UsageSums
    services: dict[str, UsageSums] = {}
    days: dict[int, UsageSums] = {}
    """Days of UTC since 1970."""
    uncovered: int = 0
    """Part of `total.after` that accounts could not have paid."""
    changes: bytes = b""
    """What each subscriber would pay more, as array("q")."""
    dearer: list[Affected] = []
    cheaper: list[Affected] = []
    corrected: int = 0
    """Sum of the corrections."""


class RatingTally(msgspec.Struct):
    records: int = 0
    """Read; those that are grants alone included."""
    hows: list[int] = msgspec.field(default_factory=lambda: [0] * HOWS)
    priced_by: dict[str, int] = {}
    """Pieces by the tariff that has priced them, promotions included."""
    estimated: int = 0
    """Lines whose position was estimated."""
    money: dict[str, MoneySums] = {}
    whys: dict[str, int] = {}
    """Pieces that would not have been sold, or of which it cannot be said, by the reason."""
    refused_sessions: dict[str, int] = {}
    """By the first reason."""
    refusals: list[Refusal] = []
    """The first ones."""
    corrections: list[Correction] = []


def most(affected: Iterable[Affected], top: int, sign: int) -> list[Affected]:
    """Those that change most in one direction (+1: pay more)."""
    found = (one for one in affected if one.change * sign > 0)
    return heapq.nlargest(top, found, key=lambda one: (one.change * sign, one.account, one.subscriber))


def merged(parts: Iterable[RatingTally], top: int) -> RatingTally:
    """The tally of all parts together."""
    whole = RatingTally()
    for part in parts:
        whole.records += part.records
        whole.estimated += part.estimated
        whole.hows = [one + other for one, other in zip(whole.hows, part.hows, strict=True)]
        add_each(whole.priced_by, part.priced_by)
        add_each(whole.whys, part.whys)
        add_each(whole.refused_sessions, part.refused_sessions)
        whole.refusals += part.refusals
        whole.corrections += part.corrections
        for currency, money in part.money.items():
            _merge(whole.money.setdefault(currency, MoneySums(UsageSums())), money, top)
    whole.refusals.sort(key=lambda one: (one.at_ms, one.account, one.session))
    del whole.refusals[top:]
    whole.corrections.sort(key=lambda one: (one.account, one.at_ms, one.reference))
    return whole


def _merge(into: MoneySums, part: MoneySums, top: int) -> None:
    into.total.add(part.total)
    merge_each(into.services, part.services)
    merge_each(into.days, part.days)
    into.uncovered += part.uncovered
    into.corrected += part.corrected
    into.changes += part.changes
    into.dearer = most([*into.dearer, *part.dearer], top, 1)
    into.cheaper = most([*into.cheaper, *part.cheaper], top, -1)


def add_each(mine: dict[str, int], theirs: Mapping[str, int]) -> None:
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


def merge_each(mine: dict[Any, UsageSums], theirs: Mapping[Any, UsageSums]) -> None:
    for key, sums in theirs.items():
        if key in mine:
            mine[key].add(sums)
        else:
            mine[key] = sums


def changes_of(money: MoneySums) -> array[int]:
    """The change of each subscriber, in order."""
    found = array("q")
    found.frombytes(money.changes)
    return array("q", sorted(found))
