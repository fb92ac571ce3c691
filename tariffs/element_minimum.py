"""minimum: what a line costs at least, due with its first unit."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tariffs.draft import Draft, blocks_within, price_of_blocks
from tariffs.ladder import Step
from tariffs.notation import Amount


class Minimum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flat first step over all blocks the charge covers (charging.md section 4)."""

    key: ClassVar[str] = "minimum"
    base: ClassVar[bool] = False

    charge: Amount
    """Without the set-up fee."""

    def apply(self, draft: Draft) -> None:
        draft.need_price()
        least = draft.least = self.charge.micro
        units = spent = 0
        for covered, step in enumerate(draft.steps):
            blocks, whole = blocks_within(step, units, least - spent)
            spent, units = spent + price_of_blocks(step, blocks), units + blocks * step.block
            if whole:
                continue
            if units:  # else the first block alone costs more
                first = msgspec.structs.replace(step, block=units, price=least, per=1, reach=units)
                draft.steps[:covered] = [first, *self._block_between(step, units, blocks, spent, least)]
            return

    @staticmethod
    def _block_between(step: Step, units: int, blocks: int, spent: int, least: int) -> list[Step]:
        """The block in which the price passes the minimum costs what is missing."""
        missing = spent - price_of_blocks(step, blocks) + price_of_blocks(step, blocks + 1) - least
        if spent == least:
            return []
        return [msgspec.structs.replace(step, price=missing, per=1, reach=units + step.block)]
