"""What would be charged up to an instant if there were money enough: asked of the tariffs, nothing moves."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from balances.keys import FeeKey
from balances.structs.account import MAIN, FeeMark, Take
from balances.structs.charge import Result
from balances.structs.posting import Fee, FeeStep
from ocs.fees.assignment import FeeAssignment, FeeLooker, FeeProgress, TriedFee
from tariffs.catalog import Catalog

LOOKS_MAX: Final = 12
"""Of an assignment: a daily fee of a year is seen whole."""


class ExpectedFee(NamedTuple):
    assignment: FeeAssignment
    fee: Fee
    key: FeeKey
    micro: int
    """What would be taken; below zero: given back."""
    trace: Sequence[tuple[str, Fraction]]
    """How what the period costs came about: name, amount after it."""


class ExpectedFees(NamedTuple):
    fees: Sequence[ExpectedFee]
    next_ms: int | None
    """When it is looked at next after that."""
    why: str
    """One of them has no price, in words."""


Refunded = Callable[[Fee], Awaitable[int]]
"""What refunds gave back of the period that a call is about, in micro-units."""


async def nothing(_: Fee) -> int:
    """Of what was never charged."""
    return 0


async def expected(catalog: Catalog, of: FeeAssignment, at_ms: int, refunded: Refunded) -> ExpectedFees:
    """Of one assignment, in order."""
    of = of._replace(progress=copy.deepcopy(of.progress))
    found: list[ExpectedFee] = []
    paid = {fee: progress.paid for fee, progress in of.progress.items()}

    async def take(fee: Fee, known: FeeProgress) -> TriedFee:
        key = FeeKey.of(fee.key)
        if fee.step == FeeStep.END:
            back = known.paid - fee.amount
            if back > 0:
                back -= await refunded(fee)
            if back > 0:
                found.append(ExpectedFee(of, fee, key, -back, looker.price.trace))
            return TriedFee(FeeMark(fee.chain, fee.until_day, ended_ms=max(fee.now_ms, 1)), Result.OK)
        before = paid.get(key.fee, 0) if known.short else 0
        found.append(ExpectedFee(of, fee, key, max(fee.amount - before, 0), looker.price.trace))
        return TriedFee(
            FeeMark(fee.chain, fee.until_day, fee.from_day, paid=[Take(MAIN, fee.amount)], price=fee.price), Result.OK
        )

    looker = FeeLooker(catalog, of, at_ms, take, hurry=True)
    look = await looker.look()
    for _ in range(LOOKS_MAX):
        if look.due_ms is None or look.due_ms > at_ms or look.why:
            break
        looker = FeeLooker(catalog, of, at_ms, take, hurry=True)
        look = await looker.look()
    return ExpectedFees(found, look.due_ms, look.why)
