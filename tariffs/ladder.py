"""The ladder: the price of a quantity as a short list of steps.

This is the narrow waist between pricing and money (charging.md sections 1 and 4). Rating builds ladders and never
sees a balance; `climb` is run with the balances in hand and never sees a tariff.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

import msgspec

from tariffs.tags import TAG, without_tags
from tariffs.units import EXACT_MAX, PER_MAX, Kind, Rounding, SumRounding

STEPS_MAX: Final = 32

LIMIT_MARK: Final = "limit="
"""What the key of a limit's counter begins with, and that of no other counter (tariffs/limits.py)."""


class Counted(IntEnum):
    """What a counter counts of the lines that feed it."""

    UNITS = 0
    MONEY = 1


class Step(msgspec.Struct, array_like=True, frozen=True):
    """One rung. A step ends at whichever of its bounds is reached first; without a bound it never ends.

    A block belongs to the step in which it begins. Bounds of an earlier step that are already reached make it
    empty, so a table of bands x tiers is written as its rows one after the other.
    """

    kind: int = Kind.MONEY
    """Which buckets pay: money, or units of a bundle."""
    scope: str = ""
    """Tag a bucket's scope must contain to pay (a bucket without scope pays anything)."""
    block: int = 1
    """Line units in a block (> 0)."""
    price: int = 0
    """Price of `per` blocks: micro-units, or units of the bundle."""
    per: int = 1
    rounding: int = Rounding.UP
    reach: int = 0
    """Ends at this many units of the line (0: not bounded so)."""
    counter: str = ""
    counter_reach: int = 0
    """Ends when the counter named has this value ("" : not bounded so)."""
    until_ms: int = 0
    """Ends at this instant (0: not bounded so)."""
    stop: bool = False
    """Nothing is granted into this step; use that happened there is charged all the same."""
    grade: str = ""
    """How the service is delivered here. A grant never runs from one grade into another."""
    single: bool = False
    """Each block is paid by one bucket; else by several, in their order."""
    dues: int = 0
    """Which of the ladder's `dues`, counted from 1, hold for a line here; 0: none."""
    ends_ms: int = 0
    """What is paid ahead of a block here lapses then, used up or not (0: never)."""


class StepDues(msgspec.Struct, array_like=True, frozen=True):
    """What is due of a line besides the price of its blocks, by the step it is at. A block without a price is not paid
    by money: it makes none of this due but a fee that is not `waived`."""

    fee: int = 0
    """Set-up fee, micro-units: due with the first unit of the line, once."""
    waived: bool = False
    """The fee is due with the first block that money pays instead: never while a bundle does."""
    least: int = 0
    """What the blocks of the line that money pays cost together at least, due with the first of them."""
    most: int = 0
    """What they cost together at most; 0: no such bound."""
    ends: bool = False
    """Nothing is granted once `most` is due; else the rest is free."""
    off: int = 0
    """The first so much of what those blocks cost is not due, where this holds at the first of them that has a price.
    `least` and `most` are of what is left."""
    to: int = 0
    """What they cost together is rounded to a multiple of this, each time something is due; 0: it is not. The bounds
    are of what is rounded."""
    rounding: int = SumRounding.UP


NOTHING_DUE: Final = StepDues()


class Count(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A counter this line feeds: its units, or what they cost (Counted)."""

    key: str
    what: int = 0
    until_ms: int = 0
    """When its period ends; 0: never, or see `window_ms`."""
    window_ms: int = 0
    """It lives so long from its first use; 0: not so."""
    once: bool = False
    """A window that does not begin again: afterwards the counter is past every bound."""
    cap: bool = False
    """Of money, and past its bounds the line costs less: what others hold, and may give back, makes nothing cheaper."""
    limit: int = -1
    """Nothing is granted that would bring it, with all that is held of it, beyond this; use that happened is counted
    all the same (charging.md 15). -1: no such limit."""


class Ladder(msgspec.Struct, array_like=True, frozen=True):
    """Steps in order, what is due besides them, the counters fed, and where the price came from."""

    steps: tuple[Step, ...]
    dues: tuple[StepDues, ...] = ()
    counts: tuple[Count, ...] = ()
    tag: str = ""
    """Tariff, version and rows that made this ladder; kept on every usage record."""
    version: int = 1
    slack: int = 0
    """Held on top of every grant: a price that changes inside it is rounded twice."""
    terms: str = ""
    """Tax and exchange rate, as they stand on usage records."""
    sum_to: int = 0
    """What all lines of a session cost together that say the same here is rounded to a multiple of this, each time
    something is due of one of them (charging.md section 4); 0: it is not. The steps and dues are of what is not rounded
    yet."""
    sum_rounding: int = SumRounding.UP

    def dues_of(self, step: Step) -> StepDues:
        return self.dues[step.dues - 1] if step.dues else NOTHING_DUE


def check_ladder(ladder: Ladder) -> None:
    """Refuse a ladder that could not be climbed exactly; ValueError says what is wrong (charging.md section 2)."""
    if not 1 <= len(ladder.steps) <= STEPS_MAX:
        raise ValueError(f"a ladder has 1 to {STEPS_MAX} steps, not {len(ladder.steps)}")
    for step in ladder.steps:
        if not 1 <= step.block <= EXACT_MAX or not 0 <= step.price <= EXACT_MAX or not 1 <= step.per <= PER_MAX:
            raise ValueError(f"block, price or per out of range: {step}")
        if step.per > 1 and step.price > PER_MAX:
            raise ValueError(f"a price of more than {PER_MAX} micro-units per {step.per} blocks: reduce the fraction")
        if step.kind != Kind.MONEY and (step.per != 1 or not 1 <= step.price <= PER_MAX or step.block > PER_MAX):
            raise ValueError(f"a bundle step has a whole price of at least 1 for each block: {step}")
        if not 0 <= step.dues <= len(ladder.dues):
            raise ValueError(f"dues that the ladder does not have: {step}")
    last = ladder.steps[-1]
    if last.kind != Kind.MONEY or last.reach or last.counter or last.until_ms:
        raise ValueError("the last step is paid with money and has no bound")
    for dues in ladder.dues:
        if not all(0 <= amount <= EXACT_MAX for amount in (dues.fee, dues.least, dues.most, dues.off)):
            raise ValueError(f"set-up fee, amount off, minimum or maximum charge out of range: {dues}")
        if 0 < dues.most < dues.least or (dues.ends and not dues.most) or dues.most + dues.off > EXACT_MAX:
            raise ValueError(f"maximum charge out of range: {dues}")
        if not 0 <= dues.to <= EXACT_MAX or dues.rounding not in set(SumRounding):
            raise ValueError(f"rounding out of range: {dues}")
    if not 0 <= ladder.sum_to <= EXACT_MAX or ladder.sum_rounding not in set(SumRounding):
        raise ValueError(f"rounding of the session out of range: {ladder.sum_to}, {ladder.sum_rounding}")
    if ladder.sum_to and any(dues.to for dues in ladder.dues):
        raise ValueError("a line is rounded by itself or with its session")


def tier_of(ladder: Ladder) -> str:
    """The counter that both bounds a step and is fed by the line; "" for none. Lines that share one hold their money
    together (balances/README.md): what one of them uses changes what the others will cost."""
    fed = {count.key for count in ladder.counts}
    return next((step.counter for step in ladder.steps if step.counter in fed), "")


def limit_key(subscriber: str, name: str, period: str) -> str:
    """Of the counter of a limit, in its account. subscriber: "" for all of the account together"""
    return f"{LIMIT_MARK}{subscriber}|{name}|{period}"


def limit_key_parts(key: str) -> tuple[str, str, str]:
    """Subscriber ("" for all of the account), name and period of a limit's counter."""
    subscriber, name, period = key.removeprefix(LIMIT_MARK).split("|")
    return subscriber, name, period


@lru_cache(4_096)
def as_kept(packed: bytes) -> bytes:
    """A packed ladder as the ledger keeps it, once for all that is priced alike: without limits, which are one
    subscriber's, and without charging tags, which stand on each usage record. Neither is a part of a price."""
    if LIMIT_MARK.encode() not in packed and TAG.encode() not in packed:
        return packed
    ladder = msgspec.msgpack.decode(packed, type=Ladder)
    counts = tuple(count for count in ladder.counts if count.limit < 0)
    return msgspec.msgpack.encode(msgspec.structs.replace(ladder, counts=counts, terms=without_tags(ladder.terms)))


@lru_cache(4_096)
def limits_of(packed: bytes) -> tuple[Count, ...]:
    """The limits that `as_kept` takes out."""
    if LIMIT_MARK.encode() not in packed:
        return ()
    return tuple(count for count in msgspec.msgpack.decode(packed, type=Ladder).counts if count.limit >= 0)
