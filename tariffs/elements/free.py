"""free: price 0, granted at any balance and counted all the same."""

from __future__ import annotations

from typing import ClassVar, Literal

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement
from tariffs.ladder import Step
from tariffs.units import Kind

UNITS = {"octets": Kind.OCTETS, "seconds": Kind.SECONDS, "units": Kind.UNITS}


class Free(TariffElement, frozen=True):
    """Served without funds and under credit suspension."""

    key: ClassVar[str] = "free"
    base: ClassVar[bool] = True
    free: ClassVar[bool] = True

    unit: Literal["octets", "seconds", "units"] | None = None
    """What the line counts in; unless given, what its service counts in."""
    emergency: bool = False
    """Never refused, whatever the state of the account."""

    def counts_in(self) -> Kind | None:
        return UNITS[self.unit] if self.unit else None

    def for_emergencies(self) -> bool:
        return self.emergency

    def apply(self, draft: LadderDraft) -> None:
        draft.free, draft.emergency = True, self.emergency
        draft.unit = self.counts_in()
        draft.steps = [Step(scope=draft.service)]
