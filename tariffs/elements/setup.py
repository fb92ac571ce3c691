"""setup: a fee due with the first unit of a line, once."""

from __future__ import annotations

from typing import ClassVar

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenMoney
from tariffs.notation import WrittenPrice


class Setup(TariffElement, frozen=True):
    """Held with the first grant, debited with the first used unit, never on refusal or zero use."""

    key: ClassVar[str] = "setup"
    said_once: ClassVar[str] = "setup"

    fee: WrittenPrice
    waived: bool = False
    """Not due while a bundle pays: only with the first block that money pays."""

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("fee", self.fee, changes="fee"),)

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.fee, draft.fee_waived = draft.money(self.fee, fee=True), self.waived
