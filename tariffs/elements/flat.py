"""flat: a price for each started block of a quantity; beside: a second unit charged together with it."""

from __future__ import annotations

from typing import ClassVar, Literal

from tariffs.draft import ROUNDINGS, LadderDraft
from tariffs.elements.element import TariffElement, WrittenBlocks, WrittenMoney
from tariffs.ladder import Step
from tariffs.notation import Blocks, Quantity, WrittenPrice
from tariffs.units import Kind


class Flat(TariffElement, frozen=True):
    """A price per quantity, rounded up to increments."""

    key: ClassVar[str] = "flat"
    base: ClassVar[bool] = True

    price: WrittenPrice
    """Money for `per`."""
    per: Quantity
    """What the price is for, and the unit the line counts in."""
    increment: Blocks | None = None
    """First block and each further block: "60/1"; as large as `per` unless given."""
    rounding: Literal["up", "down", "half_up"] = "up"
    """Of the sum, to whole micro-units."""
    split: bool = True
    """A block may be paid by several balances; else by one of them."""
    per_period: bool = False
    """What is paid of a block and not used lapses with the period of the counter in `below`."""

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("price", self.price, self.per, "price"),)

    def written_blocks(self) -> WrittenBlocks:
        return WrittenBlocks(self.per, self.increment)

    def counts_in(self) -> Kind | None:
        return self.per.kind

    def ends_with_period(self) -> bool | None:
        return self.per_period

    def apply(self, draft: LadderDraft) -> None:
        draft.unit = self.per.kind
        draft.per_period = self.per_period
        draft.steps = self.steps(draft)

    def steps(self, draft: LadderDraft) -> list[Step]:
        both = self.per.amount, self.per.amount
        first, further = draft.increment(self.increment, self.per.kind) if self.increment else both
        if first == further:
            return [self._step(draft, further)]
        return [self._step(draft, first, reach=first), self._step(draft, further)]

    def _step(self, draft: LadderDraft, block: int, reach: int = 0) -> Step:
        price, per = draft.price_per_block(self.price, self.per.amount, block, self.per.kind)
        return Step(
            scope=draft.service,
            block=block,
            price=price,
            per=per,
            rounding=ROUNDINGS[self.rounding],
            reach=reach,
            single=not self.split,
        )


class Beside(Flat, frozen=True):
    """Time together with volume: the line is granted both and asks again when either is used up."""

    key: ClassVar[str] = "beside"
    base: ClassVar[bool] = False
    said_once: ClassVar[str] = "beside"
    by_first_row: ClassVar[bool] = True

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("price", self.price, self.per, "price", beside=True),)

    def written_blocks(self) -> WrittenBlocks:
        return WrittenBlocks(self.per, self.increment, beside=True)

    def counts_in(self) -> None:
        return None

    def ends_with_period(self) -> None:
        return None

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        if self.per_period:
            raise ValueError("expected `per_period` in `flat`: limits of the row do not bound what is charged besides")
        if draft.unit == self.per.kind:
            raise ValueError(f"expected another unit than that of the price, not {self.per!r}")
        draft.beside_unit = self.per.kind
        draft.beside = self.steps(draft)
