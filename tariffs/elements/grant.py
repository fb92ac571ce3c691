"""grant: how much is granted at a time, where a tariff says otherwise than the service table."""

from __future__ import annotations

from typing import ClassVar

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement
from tariffs.notation import Quantity


class GrantElement(TariffElement, frozen=True):
    """Settings of grants; use is charged the same with any of them."""

    key: ClassVar[str] = "grant"
    said_once: ClassVar[str] = "grant"
    by_first_row: ClassVar[bool] = True

    whole: bool = False
    """All of what is wanted or nothing (4012). Unless set, a part is granted where funds cover no more."""
    blocks: bool = False
    """To the end of the last block, which is paid for. Unless set, as asked."""
    minimum: Quantity | None = None
    """Less than this is only granted as the last that funds cover; the service's unless given."""
    quantum: Quantity | None = None
    """What is wanted is rounded up to a multiple of this. Unless given, as asked."""

    def apply(self, draft: LadderDraft) -> None:
        if not draft.steps:
            raise ValueError("expected a price in the same row: `flat`, `bundle` or `free`")
        for quantity in (self.minimum, self.quantum):
            if quantity is not None and draft.unit not in (None, quantity.kind):
                raise ValueError(f"expected a quantity of what the price is for, not {quantity!r}")
        draft.grant = (
            self.whole,
            self.blocks,
            self.minimum.amount if self.minimum else 0,
            self.quantum.amount if self.quantum else 0,
        )
