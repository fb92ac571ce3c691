"""tags: charging tags of what use at this price costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tariffs.draft import LadderDraft, RatingVerdict
from tariffs.elements.element import TariffElement
from tariffs.tags import check_tags


class Tags(TariffElement, frozen=True):
    """Texts under keys that the configuration declares, on every entry and usage record of lines that the row prices,
    in the place of those of the tariff under these keys."""

    key: ClassVar[str] = "tags"
    alone: ClassVar[str] = "texts"
    alone_table: ClassVar[bool] = True
    said_once: ClassVar[str] = "tags"

    texts: dict[str, str]

    def charging_tags(self) -> Mapping[str, str]:
        return self.texts

    def apply(self, draft: LadderDraft) -> None:
        check_tags(self.texts)
        if draft.verdict is not RatingVerdict.PRICED:
            raise ValueError("expected a row that is sold: nothing is charged here that could have tags")
