"""How a line climbs a ladder: the price of what it uses, paid from the balances in hand.

`balances/lua/lib/ladder.lua` is its twin, statement by statement.

Laws (tests/tariffs/test_ladder.py): however a use is cut into reports, its price is the same; more units never
cost less money; `units_for` and `price_of` are inverse; nothing is granted that is not covered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from tariffs.ladder import Counted, Ladder, Step, StepDues
from tariffs.units import EXACT_MAX, Kind, Rounding, TooLarge, blocks_started, largest_sum, muldiv, round_sum

ENDLESS: Final = 1 << 128
"""More than any amount: what has no bound. `math.huge` in Lua."""


class Position(Protocol):
    """Where a line stands on its ladder; `Line` of balances/structs is one."""

    total: int
    paid_ahead: int
    rest: int
    rest_price: int
    rest_per: int
    rest_rounding: int
    fee_paid: bool
    spent: int
    """Sum of the blocks that money paid, less what is off, before `least` and rounding..."""
    charged: int
    """... and what was due for it, without the fee."""
    ahead_ms: int
    """When what is paid ahead lapses; 0: never."""


class Funds(Protocol):
    """The balances a climb may use. `payer` is one of `payers`, or None for all of them together."""

    def payers(self, kind: int, scope: str, *, owing: bool) -> Sequence[Any]:
        """Those that may pay alone, in their order. `owing`: the last of them owes whatever the others do not cover."""

    def available(self, kind: int, scope: str, payer: Any = None) -> int:
        """What buckets of this kind can pay now, never below 0."""

    def blocks(self, kind: int, scope: str) -> bool:
        """In a grant: what these buckets cannot pay, none of a later step pays either (charging.md section 22)."""

    def take(self, kind: int, scope: str, amount: int, payer: Any = None) -> int:
        """Take this much. Beyond `available` only money in a settlement is ever asked for: it becomes debt. Returns
        money that was taken besides, for the price that a bucket of units has of its own (charging.md section 22)."""

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
    grade: str | None = None
    """Of the first block that was paid; None: none was."""


class Rung(NamedTuple):
    """What a climb covered by one step, for explanations (tariffs/explain.py)."""

    step: int
    """Index in the ladder; -1: what is due before a block."""
    units: int
    """Of the line, from where the rung begins; whole blocks but for the last of a bundle."""
    blocks: int
    amount: int
    """Price of the blocks: micro-units, or units of the bundle."""
    due: int
    """What was taken for them: less or more than `amount` by a minimum or maximum charge, with a fee that waited."""


ANYBODY: Final = (None,)


def lapse_ahead(line: Position, at_ms: int) -> None:
    """Drop what was paid ahead of a block that ends with its period, once the period is over."""
    if 0 < line.ahead_ms <= at_ms:
        line.paid_ahead = line.ahead_ms = 0


def climb(
    ladder: Ladder,
    line: Position,
    units: int,
    counters: Mapping[str, int],
    funds: Funds,
    *,
    at_ms: int,
    ms_per_unit: int,
    grant: bool,
    grade: str | None = None,
    trace: list[Rung] | None = None,
    most: int | None = None,
) -> Climbed:
    """Cover `units` more of the line, moving `line` and taking from `funds`.

    units:       line units to cover, from where the line stands
    counters:    value of each counter at the first of these units (grants: used + held)
    at_ms:       instant of the first unit; each unit takes `ms_per_unit` (1000 for seconds, 0 for volume)
    grant:       stop before what is not covered, at a whole block, at `stop` steps and where the grade changes;
                 otherwise charge it all
    grade:       what was granted already is of this grade; None: nothing was
    trace:       gets the rungs of a settlement
    most:        money that may be taken; a settlement ends, like a grant, where that or 2**53 would be passed
                 (charging.md section 2), and says how much it covered

    TooLarge: a settlement without `most` cannot be covered whole below 2**53.

    A block that a bundle cannot cover whole is its step's last: what is missing of the block goes to the next
    step and is rounded there anew. In a grant, a block of which any part stays uncovered is not granted at all.
    """
    ahead = min(units, line.paid_ahead)
    start, at, need, cost = line.total, ahead, units - ahead, 0  # the next block begins at start + at
    if need == 0:
        line.total, line.paid_ahead = start + units, line.paid_ahead - ahead
        return Climbed(units, 0)
    rest, same = line.rest, (line.rest_price, line.rest_per, line.rest_rounding)  # of the run of equal price
    spent, charged, fee_paid = line.spent, line.charged, line.fee_paid
    open_units = 0  # what is still to be covered of a block begun, so that it counts as covered
    ahead_ms, slack = line.ahead_ms, ladder.slack if grant else 0
    safe = (funds.mark(), at, cost, rest, same, spent, charged, fee_paid, grade, ahead_ms)  # where no block was open
    payable = (ENDLESS if grant else EXACT_MAX) if most is None else most
    blocked = False

    for number, step in enumerate(ladder.steps):
        kind, scope, priced, dues = step.kind, step.scope, (step.price, step.per, step.rounding), ladder.dues_of(step)
        short = ended = False
        owing = kind == Kind.MONEY and not grant
        for payer in funds.payers(kind, scope, owing=owing) if step.single else ANYBODY:
            run, short, ended = rest if same == priced else 0, False, False
            left = _left(ladder, step, cost, counters)
            fee = 0 if fee_paid else min(dues.fee, left)
            begun = spent if same[0] else -dues.off  # no block with a price was paid yet
            room = _room(ladder, step, need, start, at, left, fee, run, begun, charged, counters, at_ms, ms_per_unit)
            if room <= 0:
                break
            available = 0 if blocked else funds.available(kind, scope, payer)
            # A bundle that has nothing left is no change of grade, and has no say in what is due.
            nothing = kind != Kind.MONEY and (available if step.single else available * step.block) < step.price
            if grant and (
                step.stop
                or (grade is not None and grade != step.grade and open_units == 0 and not nothing)
                or (dues.ends and _rounded(dues, begun) >= dues.most)
            ):
                ended = True
                break
            upfront = 0 if nothing or dues.waived else fee
            if upfront:  # due with the first unit: without that, not at all
                money_scope = next(step.scope for step in ladder.steps if step.kind == Kind.MONEY)
                there = 0 if blocked else funds.available(Kind.MONEY, money_scope)
                if payable - cost < upfront or (grant and there < upfront):
                    ended = True
                    break
                funds.take(Kind.MONEY, money_scope, upfront)
                cost, open_units = cost + upfront, max(open_units, 1)
                left, fee = left - upfront, 0
                available = funds.available(kind, scope, payer)
                if trace is not None:
                    trace.append(Rung(-1, 0, 0, 0, upfront))
                room = _room(
                    ladder, step, need, start, at, left, fee, run, begun, charged, counters, at_ms, ms_per_unit
                )
            fee_paid = fee_paid or not (dues.waived or nothing)
            if room <= 0:  # the fee alone brought a counter there
                break
            blocks = blocks_started(room, step.block)
            full = start + at + blocks * step.block > EXACT_MAX
            if full:  # no line counts further than that
                blocks = (EXACT_MAX - start - at) // step.block
            amount = taken = 0
            if kind != Kind.MONEY:
                short = step.price * blocks > available
                if short:
                    blocks = available // step.price
                amount = taken = step.price * blocks
                if blocks:
                    payable -= funds.take(kind, scope, amount, payer)
            elif step.price:
                if grant and dues.ends:
                    last = affordable(step, _largest(dues, dues.most - 1) - begun, run) + 1
                    blocks, ended = min(blocks, last), blocks > last
                if grant and payer is not None:  # what the others owe is not there to be spent
                    available = min(available, funds.available(kind, scope))
                elif not grant and payer is None:  # what nobody has becomes debt
                    available = ENDLESS
                available = min(available, payable - cost)
                plateau = min(dues.most or ENDLESS, charged + left - fee)
                spare = 0 if charged >= plateau else slack  # nothing more is due there, whatever the price becomes
                limit = _within(dues, plateau, begun, charged, available - fee - spare)
                limit = min(limit, EXACT_MAX if plateau <= EXACT_MAX else _largest(dues, EXACT_MAX) - max(begun, 0))
                amount, over = muldiv(step.price, blocks, run, step.per, step.rounding)
                short = amount > limit
                if short:
                    blocks = affordable(step, limit, run)
                    amount, over = muldiv(step.price, blocks, run, step.per, step.rounding)
                if blocks:
                    spent = min(begun + amount, EXACT_MAX)
                    due = max(_rounded(dues, spent), dues.least)
                    if due >= plateau:  # the rest is forgiven
                        due, spent = plateau, max(min(spent, plateau), min(begun, charged))
                    due = max(due, charged)
                    taken = fee + spare + due - charged
                    funds.take(kind, scope, taken, payer)
                    cost, charged, fee_paid, slack = cost + taken, due, True, slack - spare
                    rest, same = over, priced
            covered = blocks * step.block
            if trace is not None and blocks:
                trace.append(Rung(number, covered, blocks, amount, taken))
            at, need, open_units = at + covered, max(need - covered, 0), max(open_units - covered, 0)
            if covered:
                grade, ahead_ms = step.grade if grade is None else grade, step.ends_ms
            if open_units == 0:
                safe = (funds.mark(), at, cost, rest, same, spent, charged, fee_paid, grade, ahead_ms)
            if need == 0 or full:
                ended = True
                break
            part = available - amount if short and kind != Kind.MONEY and not step.single else 0
            covered = part * step.block // step.price if part else 0
            if covered:  # the bundle ends inside a block: what is missing of it is rounded anew by the next step
                payable -= funds.take(kind, scope, part)
                at, need = at + covered, max(need, step.block) - covered
                open_units = max(open_units, step.block) - covered
                grade = step.grade if grade is None else grade
                if trace is not None:
                    trace.append(Rung(number, covered, 0, part, part))
        if ended or (short and kind == Kind.MONEY):
            break
        blocked = blocked or (grant and short and funds.blocks(kind, scope))

    if at < units and not grant and most is None:
        raise TooLarge
    if grant and open_units:
        mark, at, cost, rest, same, spent, charged, fee_paid, grade, ahead_ms = safe
        funds.undo(mark)
    if at > ahead:
        line.fee_paid = fee_paid
    line.rest, line.spent, line.charged, line.ahead_ms = rest, spent, charged, ahead_ms
    line.rest_price, line.rest_per, line.rest_rounding = same
    line.total, line.paid_ahead = start + min(units, at), max(at - units, 0)
    return Climbed(min(units, at), cost, grade)


def _left(ladder: Ladder, step: Step, cost: int, counters: Mapping[str, int]) -> int:
    """Money that brings the counter of the step to its bound, after `cost`: no more is ever due in the step."""
    if step.counter and _fed(ladder, step.counter) == Counted.MONEY:
        return step.counter_reach - counters.get(step.counter, 0) - cost
    return ENDLESS


def _fed(ladder: Ladder, counter: str) -> int | None:
    """What the line feeds it with; None: it does not."""
    return next((count.what for count in ladder.counts if count.key == counter), None)


def _rounded(dues: StepDues, spent: int) -> int:
    """What is due of blocks that come to this, before it is bounded."""
    return round_sum(max(spent, 0), dues.to, dues.rounding)


def _largest(dues: StepDues, due: int) -> int:
    """The most that blocks may come to so that at most this is due of them."""
    return largest_sum(due, dues.to, dues.rounding)


def _within(dues: StepDues, most: int, spent: int, charged: int, money: int) -> int:
    """What further blocks may come to so that at most `money` is due for them."""
    due = charged + money
    if due >= most:
        return ENDLESS
    return -1 if due < dues.least else min(_largest(dues, due) - spent, EXACT_MAX)


def _room(
    ladder: Ladder,
    step: Step,
    need: int,
    start: int,
    at: int,
    left: int,
    fee: int,
    run: int,
    spent: int,
    charged: int,
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
        fed, value = _fed(ladder, step.counter), counters.get(step.counter, 0)
        if fed == Counted.UNITS:
            return min(room, step.counter_reach - value - at)
        if left <= 0 or value >= step.counter_reach:
            return 0
        if fed == Counted.MONEY and step.kind == Kind.MONEY and step.price:
            # the block whose price, rounded as it will be, brings the counter there is the last one of this step
            dues = ladder.dues_of(step)
            limit = _within(dues, dues.most or ENDLESS, spent, charged, left - fee - 1)
            room = min(room, (affordable(step, limit, run) + 1) * step.block)
    return room


def affordable(step: Step, available: int, rest: int) -> int:
    """The most blocks of a money step whose price, rounded as the step says, is within `available`."""
    if step.price == 0 or available < 0:
        return 0
    slack = (0, step.per - 1, (step.per - 1) // 2)[step.rounding]
    return max(muldiv(available, step.per, slack - rest, step.price, Rounding.DOWN)[0], 0)
