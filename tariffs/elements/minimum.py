"""minimum: what a line costs at least."""

from __future__ import annotations

from typing import ClassVar

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenMoney
from tariffs.notation import WrittenPrice


class Minimum(TariffElement, frozen=True):
    """Due with the first block that money pays; what follows is paid once it is used up (charging.md section 4)."""

    key: ClassVar[str] = "minimum"
    said_once: ClassVar[str] = "bounds"

    charge: WrittenPrice
    """Without the set-up fee."""

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("charge", self.charge, bound="least"),)

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.least = draft.money(self.charge)
