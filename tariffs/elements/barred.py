"""barred: not sold; uncontrolled: used without asking again."""

from __future__ import annotations

from typing import ClassVar

from tariffs.draft import LadderDraft, RatingVerdict
from tariffs.elements.element import TariffElement


class Barred(TariffElement, frozen=True):
    """Refused with "service denied" (4010)."""

    key: ClassVar[str] = "barred"
    base: ClassVar[bool] = True

    def apply(self, draft: LadderDraft) -> None:
        draft.verdict = RatingVerdict.DENIED


class Uncontrolled(TariffElement, frozen=True):
    """Answered with "credit control not applicable" (4011): the network lets it run and reports nothing."""

    key: ClassVar[str] = "uncontrolled"
    base: ClassVar[bool] = True

    def apply(self, draft: LadderDraft) -> None:
        draft.verdict = RatingVerdict.NOT_APPLICABLE
