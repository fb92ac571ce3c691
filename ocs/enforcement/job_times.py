"""How long it takes until the network obeys, hop by hop from the crossing."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from ocs.enforcement.job import Cause


class Hop(StrEnum):
    """What happened, measured from the call that crossed."""

    SENT = "sent"
    """The first attempt left."""
    ACKNOWLEDGED = "acknowledged"
    """The client agreed."""
    RETURNED = "returned"
    """The client's first request after it: of a suspension that is the last use."""
    GRANTED = "granted"
    """Of a session that waited for money: the first grant after it came in."""


class JobTimes:
    """Passes each on to `to`, once there is one."""

    def __init__(self) -> None:
        self.to: Callable[[Cause, Hop, int], object] = lambda _cause, _hop, _ms: None

    def note(self, cause: Cause, hop: Hop, ms: int) -> None:
        """ms: since the crossing; clocks of two hosts may differ, so it may be below zero."""
        self.to(cause, hop, max(ms, 0))
