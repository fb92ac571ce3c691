"""Amounts and instants as the world is told them: money as decimal text, times as RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from tariffs.units import MICRO, Kind

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def money(micro: int) -> str:
    """Two decimals at least, six at most."""
    whole, fraction = divmod(abs(micro), MICRO)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{decimals}"


def quantity(kind: int, amount: int) -> str:
    """Of a bucket of this kind."""
    return money(amount) if kind == Kind.MONEY else str(amount)


def time_of(ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds where there are any."""
    instant = EPOCH + timedelta(milliseconds=ms)
    return instant.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
