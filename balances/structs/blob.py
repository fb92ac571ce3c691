"""A packed struct inside another one: octets in the place of a msgpack text."""

from __future__ import annotations

from typing import Final

import msgspec

READS: Final = (2, 3)
"""The stored formats that this build reads, oldest first: without gap, two at most. The functions of the newest are
called once the store is written in it (balances/ledger/formats.py, docs/operations/upgrade.md).
2: an account and its sessions are fields of one hash. 3: a bucket of units may have a price (charging.md 22)."""

FORMAT: Final = READS[0]
"""Of what Python makes: whoever works on the store reads the oldest. In a script it is the format that its library
writes (balances/redis/scripts.py)."""


def blob_of(raw: msgspec.Raw) -> bytes:
    """The octets of a msgpack text, whatever they are."""
    data = bytes(raw)
    head = data[0]
    return data[1 if head <= 0xBF else {0xD9: 2, 0xDA: 3, 0xDB: 5}[head] :]


def raw_of(data: bytes) -> msgspec.Raw:
    """Octets as msgpack text: Redis' cmsgpack reads no binary type, and takes text for any octets."""
    size = len(data)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + data)
    if size < 256:
        return msgspec.Raw(bytes((0xD9, size)) + data)
    if size < 65536:
        return msgspec.Raw(b"\xda" + size.to_bytes(2) + data)
    return msgspec.Raw(b"\xdb" + size.to_bytes(4) + data)


NO_BLOB: Final = raw_of(b"")
