"""What a session comes to, and what is due of it: for explanations and what-if."""

from __future__ import annotations

from tariffs.ladder import Ladder
from tariffs.units import round_sum


class SessionTotal:
    """Of the lines that are rounded with their session, by rounding."""

    def __init__(self) -> None:
        self._exact: dict[tuple[int, int], int] = {}
        self.differs = False
        """What-if: it is not what was charged."""

    def due(self, ladder: Ladder, more: int) -> int:
        """Of what a line comes to further; all of it where it is not rounded with its session."""
        if not ladder.sum_to:
            return more
        rounding = ladder.sum_to, ladder.sum_rounding
        before = self._exact.get(rounding, 0)
        self._exact[rounding] = before + more
        return round_sum(before + more, *rounding) - round_sum(before, *rounding)

    def exact(self, ladder: Ladder) -> int:
        """What lines of its rounding came to so far."""
        return self._exact.get((ladder.sum_to, ladder.sum_rounding), 0)
