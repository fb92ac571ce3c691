"""A call as Asterisk accounts for it when it is over (cdr_radius): a Stop whose User-Name is a channel, with account
code, numbers and seconds in attributes of its own. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from protocol.radius.dictionary.digium import (
    ASTERISK_ACC_CODE,
    ASTERISK_BILL_SEC,
    ASTERISK_DST,
    ASTERISK_END_TIME,
    ASTERISK_SRC,
)
from protocol.radius.packet import Packet


class CallDetail(NamedTuple):
    account: str
    """Account code of the channel, "" where it has none."""
    calling: str
    called: str
    connected_s: int
    ended: str
    """`2023-11-14 15:23:17 +0100`."""


def call_detail(packet: Packet) -> CallDetail | None:
    """None: it says nothing of a call in this way."""
    connected_s = packet.get(ASTERISK_BILL_SEC)
    if connected_s is None:
        return None
    account, calling, called, ended = (
        packet.get(one) or "" for one in (ASTERISK_ACC_CODE, ASTERISK_SRC, ASTERISK_DST, ASTERISK_END_TIME)
    )
    return CallDetail(account, calling, called, connected_s, ended)
