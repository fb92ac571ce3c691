"""Long use by time: when each part of it ended, and the prices that follow the first ladder. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from balances.structs.blob import NO_BLOB, raw_of
from balances.structs.charge import NextPrice, Result
from ocs.charging.request import Used
from tariffs.draft import RatingVerdict
from tariffs.ladder import Ladder, Step
from tariffs.rating import BY_TIME
from tariffs.tariff import Rated

_pack: Final = msgspec.msgpack.Encoder().encode
blobbed: Final = lru_cache(65_536)(raw_of)
"""Ladders are few and each is one object of the catalog: wrapping them again is a look-up."""


def ends_of(used: Sequence[Used], event_ms: int) -> list[int]:
    """Of use by time, one period after the other, the last of which ends with the report."""
    ends_ms = []
    for one in reversed(used):
        ends_ms.append(event_ms)
        if one.counter is None:
            event_ms -= 1_000 * (one.units.seconds or 0)
    return ends_ms[::-1]


def sold_to_the_end(rated: Rated, refusals: Mapping[RatingVerdict, Result]) -> Result:
    """A price for all that was asked, or none: part of it is not sold, or is longer than is rated at once."""
    if rated.known_ms:
        return Result.RATING_FAILED
    for _, later in rated.later:
        if later.verdict is RatingVerdict.PRICED and later.unit not in BY_TIME:
            return Result.RATING_FAILED
        if later.verdict not in (RatingVerdict.PRICED, RatingVerdict.NOT_APPLICABLE):
            return refusals.get(later.verdict, Result.RATING_FAILED)
    return Result.OK


def later_of(rated: Rated, *, beside: bool) -> list[NextPrice]:
    """Where it has no price of its own the one before goes on (charging.md 4), and where use is not controlled it is
    free. The last one says how far it is known."""
    found = []
    for from_ms, one in rated.later:
        part = one.beside if beside else one
        ladder = NO_BLOB
        if part is not None and part.unit in BY_TIME and part.packed:
            ladder = blobbed(part.packed)
        elif one.verdict is RatingVerdict.NOT_APPLICABLE and not beside:
            ladder = blobbed(_pack(Ladder((Step(),), tag=one.why)))
        found.append(NextPrice(from_ms, ladder))
    return [*found, NextPrice(rated.known_ms, NO_BLOB)] if rated.known_ms else found
