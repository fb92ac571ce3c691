"""off: how much of what a line costs is not charged."""

from __future__ import annotations

from typing import ClassVar

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenMoney
from tariffs.notation import WrittenPrice


class Off(TariffElement, frozen=True):
    """The first so much of what money pays of a line, where its first block with a price begins; what a line does not
    use of it is nobody's (charging.md section 4)."""

    key: ClassVar[str] = "off"
    alone: ClassVar[str] = "amount"
    """`off = "0.50"` is short for this field."""
    said_once: ClassVar[str] = "off"

    amount: WrittenPrice
    """Not of the set-up fee; minimum and maximum charge are of what is left."""

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("amount", self.amount),)

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.off = draft.money(self.amount)
