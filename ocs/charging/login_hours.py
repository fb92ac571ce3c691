"""When somebody may be logged in: `mon-fri 08:00-20:00, sat 10:00-14:00`, on the clock of the account. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from ocs.charging.profile import Profile
from tariffs.calendar import Band, Schedule, compile_bands

LOGIN_HOURS: Final = "login_hours"
"""Attribute of a subscriber: its hours; none, or what cannot be read: as the service row says."""
AHEAD_MS: Final = 8 * 86_400_000
"""Hours that go on for so long have no end."""


class LoginHours:
    """ValueError says what cannot be read. None at all: always."""

    __slots__ = ("_bands", "written")

    def __init__(self, written: str) -> None:
        self.written = written
        parts = [part.split() for part in written.split(",") if part.strip()]
        if any(len(part) > 2 for part in parts):
            raise ValueError(f'expected hours such as "mon-fri 08:00-20:00, sat 10:00-14:00", not {written!r}')
        bands = {" ".join(part): Band(hours=part[0]) if ":" in part[0] else Band(part[0], *part[1:]) for part in parts}
        self._bands = compile_bands(bands, {})

    def left_s(self, zone: str, now_ms: int) -> int | None:
        """Seconds until they end; 0 outside of them; None: they do not end."""
        if not self._bands:
            return None
        schedule, at_ms = Schedule(ZoneInfo(zone or "UTC"), self._bands), now_ms
        while at_ms < now_ms + AHEAD_MS:
            stretch = schedule.at(at_ms)
            if not stretch.holds:
                return -(-(at_ms - now_ms) // 1_000)
            at_ms = stretch.until_ms
        return None


@lru_cache(maxsize=1_024)
def read_hours(written: str) -> LoginHours | None:
    """None: they cannot be read."""
    try:
        return LoginHours(written)
    except ValueError:
        return None


def hours_left_s(profile: Profile, of_service: str, now_ms: int) -> int | None:
    """Of a subscriber, as LoginHours.left_s. of_service: as its service row says"""
    own = profile.attributes.get(LOGIN_HOURS, "")
    hours = (read_hours(own) if own else None) or read_hours(of_service)
    return None if hours is None else hours.left_s(profile.time_zone, now_ms)
