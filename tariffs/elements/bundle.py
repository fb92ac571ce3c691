"""bundle: included units pay while any are left."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Literal

from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenBlocks
from tariffs.elements.free import UNITS
from tariffs.ladder import Step
from tariffs.notation import Blocks, Quantity
from tariffs.units import PER_MAX, Kind


class BundleElement(TariffElement, frozen=True):
    """Units of the buckets of the account, in their own order (priority, expiry). What they cannot cover, the next row
    prices."""

    key: ClassVar[str] = "bundle"
    base: ClassVar[bool] = True

    per: Quantity
    """What `takes` is for, and the unit the line counts in."""
    of: Literal["octets", "seconds", "units"] | None = None
    """What the buckets hold; what the line counts in unless given."""
    takes: int | None = None
    """Units taken from the bucket for each `per`: a bucket of units may pay minutes, messages and megabytes alike."""
    increment: Blocks | None = None
    """First block and each further block; as large as `per` unless given. Only where `takes` is not."""
    scope: str = ""
    """A tag the scope of a bucket must contain; the name of the service unless given."""
    split: bool = True
    """A block may be paid by several balances, also partly by money; else by one bucket, or not by the bundle."""

    def written_blocks(self) -> WrittenBlocks:
        return WrittenBlocks(self.per, self.increment)

    def included(self) -> Hashable:
        return self.per.kind, self.of, self.scope

    def counts_in(self) -> Kind:
        return self.per.kind

    def apply(self, draft: LadderDraft) -> None:
        kind = draft.unit = self.per.kind
        paid_in = UNITS[self.of] if self.of else kind
        if paid_in != kind and self.takes is None:
            raise ValueError(f"expected `takes`, the {self.of} taken for each {self.per!r}")
        if self.takes is not None and not 1 <= self.takes <= PER_MAX:
            raise ValueError(f"expected `takes` from 1 to {PER_MAX}, not {self.takes}")
        if self.takes is not None and self.increment is not None:
            raise ValueError("expected either `takes` or `increment`")
        first = further = self.per.amount
        if self.increment is not None:
            first, further = draft.increment(self.increment, kind)
        if first != further and not self.split:
            raise ValueError("expected blocks of one size where `split` is false: one balance pays each of them")
        if max(first, further) > PER_MAX:
            raise ValueError(f"expected blocks of at most {PER_MAX} {kind.name.lower()}: give an `increment`")
        scope = self.scope or draft.service
        draft.steps = [Step(paid_in, scope, further, self.takes or further, single=not self.split)]
        if first != further:
            draft.steps.insert(0, Step(paid_in, scope, first, first, reach=first))
