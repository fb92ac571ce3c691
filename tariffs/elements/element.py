"""The base class of elements: how an element makes the price, and what it tells readers of a tariff.

Explanations, the linter and replays ask elements these questions and know none of their classes; so a new element is
one file here and its name in `known.py`. What an element does not answer itself is answered as for one that changes
nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar, Literal, NamedTuple

import msgspec

from tariffs.draft import LadderDraft
from tariffs.notation import Blocks, Quantity, WrittenPrice
from tariffs.units import Kind


class WrittenMoney(NamedTuple):
    """Money that an element asks for, as it is written."""

    field: str
    price: WrittenPrice
    per: Quantity | None = None
    """What it is for; None: it is due as such."""
    changes: Literal["price", "fee"] | None = None
    """Which surcharges and discounts are on it; None: none."""
    beside: bool = False
    """Charged besides, in another unit than the line counts in."""
    bound: Literal["least", "most"] | None = None
    """It bounds what the line costs."""


class WrittenBlocks(NamedTuple):
    """Blocks that an element rounds use up to."""

    per: Quantity
    increment: Blocks | None
    beside: bool = False


class TariffElement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of an element are what a document may say of it."""

    key: ClassVar[str]
    """Its name in a row."""
    base: ClassVar[bool] = False
    """It says what the price is: a row has exactly one of these."""
    alone: ClassVar[str] = ""
    """Field that a value which is no table stands for; "": there is none."""
    alone_table: ClassVar[bool] = False
    """So does one that is a table: the document names its keys."""
    free: ClassVar[bool] = False
    """Use costs nothing."""
    said_once: ClassVar[str] = ""
    """Of rows that price a line together one says this: the first that has an element of the same word. "": each row
    says its own."""
    by_first_row: ClassVar[bool] = False
    """Only the first of those rows is asked, whether it says it or not."""

    def apply(self, draft: LadderDraft) -> None:
        """Apply the element to the price. Raises ValueError where it does not fit."""
        raise NotImplementedError

    def written_money(self) -> tuple[WrittenMoney, ...]:
        """All money that the element asks for."""
        return ()

    def written_blocks(self) -> WrittenBlocks | None:
        return None

    def included(self) -> Hashable | None:
        """Which included units pay, as long as there are any: equal for two that drain the same. None: none do, so
        that it prices without an end."""
        return None

    def counts_in(self) -> Kind | None:
        """The unit of the line, as far as it says one."""
        return None

    def service_grade(self) -> str:
        """How the service is delivered at this price; "": it does not say."""
        return ""

    def charging_tags(self) -> Mapping[str, str]:
        """Texts by key on what is charged at this price."""
        return {}

    def for_emergencies(self) -> bool:
        """Whether the row is for emergencies, which are never refused, whatever the state of the account."""
        return False

    def ends_with_period(self) -> bool | None:
        """Whether what is left of a block lapses with the period of the row's counter (`per_period`); None: nothing of
        it is ever left."""
        return None
