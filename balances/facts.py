"""What the requests of a session told of it that prices depend on (charging.md 5): kept packed, merged here and by the
twin of this file, lua/lib/facts.lua.

Facts are a msgpack list of four values for each: rating group and service identifier of the line it was told of (WHOLE
and WHOLE: of all lines), the number of the fact, and its value, in this order. So the same facts are the same octets,
and script and worker compare just these. b"" is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from balances.structs.session import FACTS_MAX, WHOLE

Told = dict[str, int | str]
"""Facts by name."""
Fact = tuple[int, int, int, int | str]
"""Rating group, service identifier, number of the fact, value."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[int | str]).decode


def pack(facts: Iterable[Fact]) -> bytes:
    """Facts in their order. Beyond FACTS_MAX octets those of single lines are not kept."""
    listed = list(facts)
    if not listed:
        return b""
    packed = _encode([value for fact in listed for value in fact])
    return packed if len(packed) <= FACTS_MAX else pack([fact for fact in listed if fact[0] == WHOLE])


def unpack(packed: bytes) -> list[Fact]:
    if not packed:
        return []
    values: list[Any] = _decode(packed)
    return list(zip(*(values[place::4] for place in range(4)), strict=True))


def merge(stored: bytes, told: bytes) -> bytes:
    """What is known once this was told. What is told of the whole session is newer than what one of its lines told."""
    if not told or stored == told:
        return stored
    if not stored:
        return told
    new = {fact[:3]: fact for fact in unpack(told)}
    whole = {number for group, _, number in new if group == WHOLE}
    old = {fact[:3]: fact for fact in unpack(stored) if fact[0] == WHOLE or fact[2] not in whole}
    return pack(fact for _, fact in sorted((old | new).items()))


def of_line(lines: Iterable[tuple[int, int, Told]], rating_group: int, service_id: int) -> Told:
    """What was told of one line (-1 for none). One that names only its rating group is the only line of that rating
    group, if there is one (charging.md 4).

    lines:  rating group, service identifier, facts
    """
    group = [(own_id, told) for own_group, own_id, told in lines if own_group == rating_group]
    for own_id, told in group:
        if own_id == service_id:
            return told
    return group[0][1] if service_id < 0 and len(group) == 1 else {}
