"""flat: so much for each started block of a quantity."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from tariffs.draft import ROUNDINGS, Draft, price_per_block
from tariffs.ladder import Step
from tariffs.notation import Amount, Increment, Quantity
from tariffs.units import Kind


class Flat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price per quantity, rounded up to increments."""

    key: ClassVar[str] = "flat"
    base: ClassVar[bool] = True

    price: Amount
    """Money for `per`."""
    per: Quantity
    """What the price is for, and the unit the line counts in."""
    increment: Increment | None = None
    """First block and each further block: "60/1"; as large as `per` unless given."""
    rounding: Literal["up", "down", "half_up"] = "up"
    """Of the sum, to whole micro-units."""

    def apply(self, draft: Draft) -> None:
        kind = draft.unit = self.per.kind
        first, further = self.increment.in_unit(kind) if self.increment else (self.per.amount, self.per.amount)
        draft.steps = [self._step(draft, kind, further)]
        if first != further:
            draft.steps.insert(0, self._step(draft, kind, first, reach=first))

    def _step(self, draft: Draft, kind: Kind, block: int, reach: int = 0) -> Step:
        price, per = price_per_block(self.price, self.per.amount, block, kind)
        return Step(
            scope=draft.service, block=block, price=price, per=per, rounding=ROUNDINGS[self.rounding], reach=reach
        )
