"""grade: how the service is delivered at this price."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement


class Grade(TariffElement, frozen=True):
    """A name for service parameters (night speed, slow after 10 GB); the row of the service table says what the network
    is told for it. A grant never runs from one grade into another."""

    key: ClassVar[str] = "grade"
    alone: ClassVar[str] = "name"
    """`grade = "night"` is short for this field."""

    name: str

    def service_grade(self) -> str:
        return self.name

    def apply(self, draft: LadderDraft) -> None:
        if not self.name or len(self.name) > 32 or not self.name.isprintable():
            raise ValueError(f"expected a name of at most 32 characters, not {self.name!r}")
        if not draft.steps:
            raise ValueError("expected a price in the same row: `flat`, `bundle` or `free`")
        draft.grade = self.name
        draft.steps = [msgspec.structs.replace(step, grade=self.name) for step in draft.steps]
        draft.beside = [msgspec.structs.replace(step, grade=self.name) for step in draft.beside]
