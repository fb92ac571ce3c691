"""minimum: what a line costs at least."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tariffs.draft import LadderDraft
from tariffs.notation import WrittenPrice


class Minimum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Due with the first block that money pays; what follows is paid once it is used up (charging.md section 4)."""

    key: ClassVar[str] = "minimum"
    base: ClassVar[bool] = False

    charge: WrittenPrice
    """Without the set-up fee."""

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.least = draft.money(self.charge)
