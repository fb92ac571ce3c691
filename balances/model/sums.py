"""What the lines of a session come to before it is rounded (charging.md section 4). Twin of lua/lib/sums.lua."""

from __future__ import annotations

from collections.abc import Iterable

from balances.structs.session import RoundedSum
from tariffs.ladder import Count, Counted, Ladder
from tariffs.units import EXACT_MAX, largest_covered, largest_sum, most_rounded, round_sum


class SessionSums:
    """A sum for each rounding that a ladder of the session names."""

    def __init__(self, sums: list[RoundedSum], *, held: bool = False) -> None:
        """
        held:  of a grant: the sum may stand anywhere when this is used, and what that costs at most is held
        """
        self.sums = sums
        self._held = held

    def of(self, ladder: Ladder) -> int:
        return next((one.exact for one in self.sums if _counts_to(ladder, one)), 0)

    def due(self, ladder: Ladder, exact: int, more: int = 0) -> int:
        """What is due of what the ladder's line comes to further, after `more` that is in no sum yet."""
        if not ladder.sum_to:
            return exact
        rounded, begun = most_rounded if self._held else round_sum, self.of(ladder) + more
        to, how = ladder.sum_to, ladder.sum_rounding
        return rounded(begun + exact, to, how) - rounded(begun, to, how)

    def within(self, ladder: Ladder, money: int, more: int = 0) -> int:
        """What the line may come to further so that at most `money` is due of it."""
        if not ladder.sum_to:
            return money
        begun, to, how = self.of(ladder) + more, ladder.sum_to, ladder.sum_rounding
        if self._held:
            return largest_covered(most_rounded(begun, to, how) + money, to, how) - begun
        return largest_sum(min(round_sum(begun, to, how) + money, EXACT_MAX), to, how) - begun

    def add(self, ladder: Ladder, exact: int) -> None:
        if not ladder.sum_to or not exact:
            return
        for one in self.sums:
            if _counts_to(ladder, one):
                one.exact += exact
                return
        self.sums.append(RoundedSum(ladder.sum_to, ladder.sum_rounding, exact))

    def copy(self) -> SessionSums:
        return SessionSums(copied(self.sums), held=self._held)


def _counts_to(ladder: Ladder, one: RoundedSum) -> bool:
    return (one.to, one.rounding) == (ladder.sum_to, ladder.sum_rounding)


def copied(sums: Iterable[RoundedSum]) -> list[RoundedSum]:
    return [RoundedSum(one.to, one.rounding, one.exact) for one in sums]


def counted(count: Count, units: int, exact: int, charged: int) -> int:
    """What use feeds a counter with. Of money that is what is charged for a limit; for prices, what the line comes to
    before its session is rounded, so that they are the same however the session is cut (charging.md section 4)."""
    if count.what == Counted.UNITS:
        return units
    return charged if count.limit >= 0 else exact
