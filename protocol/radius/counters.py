"""Counters of 64 bits on a wire of 32: octets and Gigawords (RFC 2869 sections 5.1 and 5.2)."""

from protocol.radius.attribute import Attribute
from protocol.radius.dictionary.standard import (
    ACCT_INPUT_GIGAWORDS,
    ACCT_INPUT_OCTETS,
    ACCT_OUTPUT_GIGAWORDS,
    ACCT_OUTPUT_OCTETS,
)
from protocol.radius.packet import Packet

GIGAWORD = 1 << 32


def joined(packet: Packet, low: Attribute[int], high: Attribute[int]) -> int | None:
    """Both halves as one number, None when neither is there: no counter is not a counter of zero."""
    less, more = packet.get(low), packet.get(high)
    if more is None:
        return less
    return more * GIGAWORD + (less or 0)


def input_octets(packet: Packet) -> int | None:
    """Octets that came from the subscriber (upload)."""
    return joined(packet, ACCT_INPUT_OCTETS, ACCT_INPUT_GIGAWORDS)


def output_octets(packet: Packet) -> int | None:
    """Octets that went to the subscriber (download)."""
    return joined(packet, ACCT_OUTPUT_OCTETS, ACCT_OUTPUT_GIGAWORDS)


def halves(total: int) -> tuple[int, int]:
    """Low and high half, as a volume limit and its Gigawords are sent."""
    return total % GIGAWORD, total // GIGAWORD
