"""Charging tags that no tariff says: those of one use, as its request states them, and those of the subscriber. They
are put on the ladder of a line, as limits are; no price depends on them.

Under one key counts what speaks of the least: of this use, then of the subscriber, the row, the tariff (charging.md
section 17). Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from tariffs.inputs import Inputs
from tariffs.ladder import Ladder
from tariffs.tags import with_tags
from tariffs.tariff import Rated

_pack: Final = msgspec.msgpack.Encoder().encode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode
_tags: Final = msgspec.json.Decoder(dict[str, str]).decode


@lru_cache(16_384)
def tagged_ladder(packed: bytes, subscriber_tags: str, tags: str) -> tuple[Ladder, bytes]:
    """A packed ladder that says these too, both JSON or ""."""
    ladder = _ladder(packed)
    ladder = msgspec.structs.replace(ladder, terms=_with(ladder.terms, subscriber_tags, tags))
    return ladder, _pack(ladder)


def with_stated(terms: str, inputs: Inputs) -> str:
    """The terms of a price with the tags of its use and subscriber."""
    return _with(terms, inputs.subscriber_tags, inputs.tags) if inputs.tags or inputs.subscriber_tags else terms


def _with(terms: str, subscriber_tags: str, tags: str) -> str:
    return with_tags(terms, {**_read(subscriber_tags), **_read(tags)})


def tagged(rated: Rated, inputs: Inputs) -> Rated:
    """The price of a line with the tags of its use and subscriber."""
    if rated.ladder is None:
        return rated
    own = inputs.subscriber_tags, inputs.tags
    ladder, packed = tagged_ladder(rated.packed, *own)
    dearest = tagged_ladder(rated.dearest, *own)[1] if rated.dearest else b""
    beside = rated.beside
    if beside is not None and beside.ladder is not None:
        of_beside, packed_beside = tagged_ladder(beside.packed, *own)
        beside = msgspec.structs.replace(beside, ladder=of_beside, packed=packed_beside)
    return msgspec.structs.replace(rated, ladder=ladder, packed=packed, dearest=dearest, beside=beside)


def _read(tags: str) -> dict[str, str]:
    """What cannot be read says nothing: what is told of use never keeps it from being charged."""
    try:
        return _tags(tags) if tags else {}
    except msgspec.MsgspecError:
        return {}
