"""The ladder: the price of a quantity as a short list of steps, and how a line climbs it.

This is the narrow waist between pricing and money (charging.md sections 1 and 4). Rating builds ladders and never
sees a balance; `climb` is run with the balances in hand and never sees a tariff. `balances/lua/lib/ladder.lua` is
its twin, statement by statement.

Laws (tests/tariffs/test_ladder.py): however a use is cut into reports, its price is the same; more units never
cost less money; `units_for` and `price_of` are inverse; nothing is granted that is not covered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from tariffs.units import EXACT_MAX, PER_MAX, Kind, Rounding, blocks_started, muldiv

STEPS_MAX: Final = 32

COUNT_UNITS: Final = 0
COUNT_MONEY: Final = 1


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


class Count(msgspec.Struct, array_like=True, frozen=True):
    """A counter this line feeds: `what` is COUNT_UNITS (the line's units) or COUNT_MONEY (what they cost)."""

    key: str
    what: int = 0
    until_ms: int = 0


class Ladder(msgspec.Struct, array_like=True, frozen=True):
    """Steps in order, the fee due with the first unit, the counters fed, and where the price came from."""

    steps: tuple[Step, ...]
    fee: int = 0
    """Set-up fee, micro-units: due with the first unit of the line, once."""
    counts: tuple[Count, ...] = ()
    tag: str = ""
    """Tariff and version that made this ladder; kept on every usage record."""
    version: int = 1


class Position(Protocol):
    """Where a line stands on its ladder; `balances.ops.Line` is one."""

    total: int
    paid_ahead: int
    rest: int
    rest_price: int
    rest_per: int
    rest_rounding: int
    fee_paid: bool


class Purse(Protocol):
    """The balances a climb may use."""

    def available(self, kind: int, scope: str) -> int:
        """What buckets of this kind can pay now, never below 0."""

    def take(self, kind: int, scope: str, amount: int) -> None:
        """Take this much. Beyond `available` only money in a settlement is ever asked for: it becomes debt."""

    def mark(self) -> int:
        """A point to return to."""

    def undo(self, mark: int) -> None:
        """Give back all that was taken since `mark`."""


class Climbed(msgspec.Struct):
    """Result of a climb."""

    units: int
    """Line units covered; in a settlement all of them."""
    cost: int
    """Money taken, micro-units, fee included."""


def climb(
    ladder: Ladder,
    line: Position,
    units: int,
    counters: Mapping[str, int],
    purse: Purse,
    *,
    at_ms: int,
    ms_per_unit: int,
    grant: bool,
) -> Climbed:
    """Cover `units` more of the line, moving `line` and taking from `purse`.

    units:       line units to cover, from where the line stands
    counters:    value of each counter at the first of these units (grants: used + held)
    at_ms:       instant of the first unit; each unit takes `ms_per_unit` (1000 for seconds, 0 for volume)
    grant:       stop before what is not covered, at a whole block, and at `stop` steps; otherwise charge it all

    A block that a bundle cannot cover whole is its step's last: what is missing of the block goes to the next
    step and is rounded there anew. In a grant, a block of which any part stays uncovered is not granted at all.
    """
    ahead = min(units, line.paid_ahead)
    start, at, need, cost = line.total, ahead, units - ahead, 0  # the next block begins at start + at
    if need == 0:
        line.total, line.paid_ahead = start + units, line.paid_ahead - ahead
        return Climbed(units, 0)
    rest, same = line.rest, (line.rest_price, line.rest_per, line.rest_rounding)  # of the run of equal price
    open_units = 0  # what is still to be covered of a block begun, so that it counts as covered
    safe = (purse.mark(), at, cost, rest, same)  # where no block was open
    if ladder.fee and not line.fee_paid:
        scope = next(step.scope for step in ladder.steps if step.kind == Kind.MONEY)
        if grant and purse.available(Kind.MONEY, scope) < ladder.fee:
            line.total, line.paid_ahead = start + at, 0
            return Climbed(at, 0)
        purse.take(Kind.MONEY, scope, ladder.fee)
        cost, open_units = ladder.fee, 1  # due with the first unit: without that, not at all

    for step in ladder.steps:
        priced = (step.price, step.per, step.rounding)
        run = rest if same == priced else 0
        room = _room(ladder, step, need, start, at, cost, run, counters, at_ms, ms_per_unit)
        if room <= 0:
            continue
        if grant and step.stop:
            break
        blocks = blocks_started(room, step.block)
        available = purse.available(step.kind, step.scope)
        if step.kind == Kind.MONEY:
            amount, left = muldiv(step.price, blocks, run, step.per, step.rounding)
            short = grant and amount > available
            if short:
                blocks = affordable(step, available, run)
                amount, left = muldiv(step.price, blocks, run, step.per, step.rounding)
            if blocks:
                purse.take(step.kind, step.scope, amount)
                cost += amount
                rest, same = left, priced
        else:
            amount = step.price * blocks
            short = amount > available
            if short:
                blocks = available // step.price
                amount = step.price * blocks
            if blocks:
                purse.take(step.kind, step.scope, amount)
        covered = blocks * step.block
        at, need, open_units = at + covered, max(need - covered, 0), max(open_units - covered, 0)
        if open_units == 0:
            safe = (purse.mark(), at, cost, rest, same)
        if need == 0 or (short and step.kind == Kind.MONEY):
            break
        part = available - amount if short else 0
        covered = part * step.block // step.price if part else 0
        if covered:  # the bundle ends inside a block: what is missing of it is rounded anew by the next step
            purse.take(step.kind, step.scope, part)
            at, need = at + covered, max(need, step.block) - covered
            open_units = max(open_units, step.block) - covered

    if grant and open_units:
        mark, at, cost, rest, same = safe
        purse.undo(mark)
    if at > ahead:
        line.fee_paid = True
    line.rest = rest
    line.rest_price, line.rest_per, line.rest_rounding = same
    line.total, line.paid_ahead = start + min(units, at), max(at - units, 0)
    return Climbed(min(units, at), cost)


def _room(
    ladder: Ladder,
    step: Step,
    need: int,
    start: int,
    at: int,
    cost: int,
    run: int,
    counters: Mapping[str, int],
    at_ms: int,
    ms_per_unit: int,
) -> int:
    """How many of `need` units begin before the step ends, or a number <= 0."""
    room = need
    if step.reach:
        room = min(room, step.reach - start - at)
    if step.until_ms:
        left_ms = step.until_ms - at_ms - at * ms_per_unit
        if left_ms <= 0:
            return 0
        if ms_per_unit:
            room = min(room, blocks_started(left_ms, ms_per_unit))
    if step.counter:
        left = step.counter_reach - counters.get(step.counter, 0)
        fed = next((count.what for count in ladder.counts if count.key == step.counter), None)
        if fed == COUNT_UNITS:
            room = min(room, left - at)
        elif left - cost <= 0 if fed == COUNT_MONEY else left <= 0:
            return 0
        elif fed == COUNT_MONEY and step.kind == Kind.MONEY and step.price:
            # the block whose price, rounded as it will be, brings the counter there still begins in this step
            room = min(room, (affordable(step, left - cost - 1, run) + 1) * step.block)
    return room


def affordable(step: Step, available: int, rest: int) -> int:
    """The most blocks of a money step whose price, rounded as the step says, is within `available`."""
    if step.price == 0 or available < 0:
        return 0
    slack = (0, step.per - 1, (step.per - 1) // 2)[step.rounding]
    return max(muldiv(available, step.per, slack - rest, step.price, Rounding.DOWN)[0], 0)


class _Open(msgspec.Struct):
    """A purse that holds `money` and nothing else."""

    money: int
    taken: int = 0

    def available(self, kind: int, scope: str) -> int:
        return self.money - self.taken if kind == Kind.MONEY else 0

    def take(self, kind: int, scope: str, amount: int) -> None:
        self.taken += amount

    def mark(self) -> int:
        return self.taken

    def undo(self, mark: int) -> None:
        self.taken = mark


class Start(msgspec.Struct):
    """The position of a line nothing was used of."""

    total: int = 0
    paid_ahead: int = 0
    rest: int = 0
    rest_price: int = 0
    rest_per: int = 0
    rest_rounding: int = 0
    fee_paid: bool = False


def price_of(
    ladder: Ladder, units: int, *, at_ms: int = 0, ms_per_unit: int = 0, counters: Mapping[str, int] | None = None
) -> int:
    """Money, in micro-units, that `units` of a fresh line cost when no bundle pays."""
    return climb(
        ladder, Start(), units, counters or {}, _Open(0), at_ms=at_ms, ms_per_unit=ms_per_unit, grant=False
    ).cost


def units_for(
    ladder: Ladder,
    money: int,
    *,
    most: int,
    at_ms: int = 0,
    ms_per_unit: int = 0,
    counters: Mapping[str, int] | None = None,
) -> int:
    """Units (at most `most`) of a fresh line that `money` covers in whole blocks."""
    return climb(
        ladder, Start(), most, counters or {}, _Open(money), at_ms=at_ms, ms_per_unit=ms_per_unit, grant=True
    ).units


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
    last = ladder.steps[-1]
    if last.kind != Kind.MONEY or last.reach or last.counter or last.until_ms:
        raise ValueError("the last step is paid with money and has no bound")
    if not 0 <= ladder.fee <= EXACT_MAX:
        raise ValueError(f"set-up fee out of range: {ladder.fee}")
