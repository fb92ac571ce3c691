"""maximum: what a line costs at most."""

from __future__ import annotations

from typing import ClassVar, Literal

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenMoney
from tariffs.notation import WrittenPrice


class Maximum(TariffElement, frozen=True):
    """A plateau (charging.md section 4); the block that reaches it costs what is left."""

    key: ClassVar[str] = "maximum"
    said_once: ClassVar[str] = "bounds"

    charge: WrittenPrice
    """Without the set-up fee."""
    then: Literal["free", "end"] = "free"
    """What follows: free use, or no further grant."""

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("charge", self.charge, bound="most"),)

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.most, draft.most_ends = draft.money(self.charge), self.then == "end"
        if draft.most < max(draft.least, 1):
            raise ValueError("expected a maximum charge above 0 that is not below the minimum charge")
