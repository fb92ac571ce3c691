"""setup: a fee due with the first unit of a line, once."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tariffs.draft import Draft
from tariffs.notation import Amount


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Held with the first grant, debited with the first used unit, never on refusal or zero use."""

    key: ClassVar[str] = "setup"
    base: ClassVar[bool] = False

    fee: Amount

    def apply(self, draft: Draft) -> None:
        draft.need_price()
        draft.fee = self.fee.micro
