"""Hours of the week on the clock of an account: whether they are now, and until when. Twin of lua/lib/hours.lua."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from balances.structs.account import WeekHours

DAY_S: Final = 86_400
THURSDAY: Final = 3
"""The day on which 1970 began."""


def hours_at(hours: Sequence[WeekHours], clock: Sequence[int], at_ms: int) -> tuple[bool, int]:
    """Whether an instant is within the hours, and until when that is so at least. It is looked at again where the clock
    is moved, and after a week."""
    at_s, offset, moves_s = at_ms // 1_000, clock[0] if clock else 0, 0
    for place in range(1, len(clock), 2):
        if at_s < clock[place]:
            moves_s = clock[place]
            break
        offset = clock[place + 1]
    day, clock_s = divmod(at_s + offset, DAY_S)
    open_s = begin_s = 0  # from now on, until when it is open and when it opens
    for ahead in range(-1, 8):
        for one in hours:
            if one.days >> (day + THURSDAY + ahead) % 7 & 1:
                from_s = ahead * DAY_S + one.from_s - clock_s
                if from_s <= open_s:
                    open_s = max(open_s, from_s + one.until_s - one.from_s)
                else:
                    begin_s = begin_s or from_s
    change_s = at_s + (open_s or begin_s)
    return open_s > 0, 1_000 * (min(change_s, moves_s) if moves_s else change_s)
