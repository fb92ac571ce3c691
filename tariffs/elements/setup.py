"""setup: a fee due with the first unit of a line, once."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tariffs.draft import LadderDraft
from tariffs.notation import WrittenPrice


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Held with the first grant, debited with the first used unit, never on refusal or zero use."""

    key: ClassVar[str] = "setup"
    base: ClassVar[bool] = False

    fee: WrittenPrice
    waived: bool = False
    """Not due while a bundle pays: only with the first block that money pays."""

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.fee, draft.fee_waived = draft.money(self.fee, fee=True), self.waived
