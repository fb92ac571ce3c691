"""Hears at each check of the fence which stored format is written, and which is next (balances/ledger/formats.py)."""

from __future__ import annotations

from typing import Any

from balances import keys
from balances.ledger.formats import OURS, StoredFormat, refusal_of
from balances.redis.link import StoreLink


class FormatFollower:
    def __init__(self, link: StoreLink) -> None:
        self._link = link
        link.ask_too((("GET", keys.FORMAT),), self._heard)

    def _heard(self, replies: list[Any]) -> None:
        stored = StoredFormat.of(replies[0])
        if why := refusal_of(OURS, *stored):
            self._link.refuse(why)
        else:
            self._link.write_format(stored.written)
