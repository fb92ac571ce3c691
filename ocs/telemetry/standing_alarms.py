"""Alarms about conditions that last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

NAMES_MAX: Final = 20
"""Named in one line of the log."""


class AlarmLog(Protocol):
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class StandingAlarms:
    """Logs a condition when it begins, again at an interval while it lasts, and when it is over."""

    def __init__(self, log: AlarmLog, now_ms: Callable[[], int], every_ms: int) -> None:
        self._log, self._now_ms, self._every_ms = log, now_ms, every_ms
        self._told: dict[str, tuple[str, int]] = {}

    def lasting(self, kind: str, text: str) -> None:
        """Report the present condition in words; "" when it is over."""
        before, told_ms = self._told.get(kind, ("", 0))
        now_ms = self._now_ms()
        if not text:
            if self._told.pop(kind, None):
                self._log.info("keeper.alarm_over", about=kind)
        elif text != before or now_ms - told_ms >= self._every_ms:
            self._told[kind] = (text, now_ms)
            self._log.error("keeper.standing_alarm", about=kind, what=text)
