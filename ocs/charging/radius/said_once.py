"""Attributes of several sources in one packet: of two that say the same, the one that counts before. Pure."""

from __future__ import annotations

from protocol.radius.dictionary.cisco import CISCO_AVPAIR
from protocol.radius.vendor import Key, separate, tlvs

Separate = list[tuple[Key, bytes, bytes]]
"""Key, value and octets of each attribute, as `protocol.radius.vendor.separate` takes them apart."""


def taken_apart(body: bytes) -> Separate:
    """Of attributes of ours as octets."""
    pairs = tlvs(body)
    assert pairs is not None
    return separate(pairs)


def unsaid(first: Separate, then: Separate) -> Separate:
    """Those of `then` of which `first` says nothing."""
    said = {_about(key, value) for key, value, _ in first}
    return [one for one in then if _about(one[0], one[1]) not in said]


def beside(body: bytes, then: bytes) -> bytes:
    """What of `then` may stand beside `body`; both are attributes of ours as octets."""
    return b"".join(octets for _, _, octets in unsaid(taken_apart(body), taken_apart(then))) if then else b""


def _about(key: Key, value: bytes) -> tuple[Key, bytes]:
    """What it is that an attribute says: of a pair of Cisco's, the name in it."""
    return key, value.partition(b"=")[0] if key == CISCO_AVPAIR.key else b""
