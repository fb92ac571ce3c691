"""maximum: what a line costs at most."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from tariffs.draft import Draft, blocks_within, price_of_blocks
from tariffs.ladder import Step
from tariffs.notation import Amount


class Maximum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plateau (charging.md section 4); the block that reaches it costs what is left."""

    key: ClassVar[str] = "maximum"
    base: ClassVar[bool] = False

    charge: Amount
    """Without the set-up fee."""
    then: Literal["free", "end"] = "free"
    """What follows: free use, or no further grant."""

    def apply(self, draft: Draft) -> None:
        draft.need_price()
        most = self.charge.micro
        if most < draft.least:
            raise ValueError("expected a maximum charge that is not below the minimum charge")
        units = spent = 0
        kept: list[Step] = []
        for step in draft.steps:
            blocks, whole = blocks_within(step, units, most - spent)
            spent, units = spent + price_of_blocks(step, blocks), units + blocks * step.block
            if whole:
                kept.append(step)
                continue
            if blocks:
                kept.append(msgspec.structs.replace(step, reach=units))
            if spent < most:
                kept.append(msgspec.structs.replace(step, price=most - spent, per=1, reach=units + step.block))
            break
        draft.steps = [*kept, Step(scope=draft.service, stop=self.then == "end")]
