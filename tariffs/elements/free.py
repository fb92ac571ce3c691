"""free: price 0, granted at any balance and counted all the same."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from tariffs.draft import LadderDraft
from tariffs.ladder import Step
from tariffs.units import Kind

UNITS = {"octets": Kind.OCTETS, "seconds": Kind.SECONDS, "units": Kind.UNITS}


class Free(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Served without funds and under credit suspension."""

    key: ClassVar[str] = "free"
    base: ClassVar[bool] = True

    unit: Literal["octets", "seconds", "units"] | None = None
    """What the line counts in; unless given, what its service counts in."""
    emergency: bool = False
    """Never refused, whatever the state of the account."""

    def apply(self, draft: LadderDraft) -> None:
        draft.free, draft.emergency = True, self.emergency
        draft.unit = UNITS[self.unit] if self.unit else None
        draft.steps = [Step(scope=draft.service)]
