"""What an account is told about: notification thresholds, the line of a service (charging.md section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from tariffs.units import Kind

if TYPE_CHECKING:
    from tests.balances.oracle.account import NaiveBucket


@dataclass
class NaiveThreshold:
    name: str
    kind: int
    below: int
    """An amount, or with `percent` so many percent of the last fill ..."""
    rearm: int
    """... likewise."""
    percent: bool
    service: str
    crossed: bool = False

    def _compared(self, buckets: Sequence[NaiveBucket], now_ms: int) -> tuple[bool, bool] | None:
        """Whether the amount is below, and whether it is enough for the way back; None: nothing to compare with."""
        seen = [
            bucket
            for bucket in buckets
            if bucket.kind == self.kind
            and bucket.valid(now_ms)
            and (not self.service or not bucket.scope or self.service in bucket.scope)
        ]
        value, fill = sum(bucket.amount for bucket in seen), sum(bucket.fill for bucket in seen)
        if not self.percent:
            return value < self.below, value >= self.rearm
        if not fill:
            return None
        return value < Fraction(self.below * fill, 100), value >= Fraction(self.rearm * fill, 100)

    def begin(self, buckets: Sequence[NaiveBucket], now_ms: int) -> None:
        """`What is set anew begins as it stands`."""
        compared = self._compared(buckets, now_ms)
        self.crossed = compared is not None and compared[0]

    def check(self, buckets: Sequence[NaiveBucket], now_ms: int) -> str:
        """The crossing, or ""."""
        compared = self._compared(buckets, now_ms)
        if compared is None:
            return ""
        if self.crossed and compared[1]:
            self.crossed = False
            return "above"
        if not self.crossed and compared[0]:
            self.crossed = True
            return "below"
        return ""


@dataclass
class NaiveServiceLine:
    suspend_below: int
    resume_at: int
    suspended: bool = False

    def check(self, buckets: Sequence[NaiveBucket], now_ms: int) -> str:
        balance = sum(bucket.amount for bucket in buckets if bucket.kind == Kind.MONEY and bucket.valid(now_ms))
        if self.suspended and balance >= self.resume_at:
            self.suspended = False
            return "resume"
        if not self.suspended and balance < self.suspend_below:
            self.suspended = True
            return "suspend"
        return ""
