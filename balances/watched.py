"""What a notification threshold looks at, and where it is crossed (charging.md section 7). Twin of
lua/lib/watched.lua."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from balances.structs.account import Bucket
from balances.structs.thresholds import Threshold
from tariffs.units import EXACT_MAX


class Levels(NamedTuple):
    below: int
    """Crossed below this amount, ..."""
    rearm: int
    """... and armed again from this one on."""


def is_watched(threshold: Threshold, bucket: Bucket, now_ms: int) -> bool:
    """Whether a bucket counts: it is valid now, and of the kind, name and scope that the threshold names."""
    return (
        bucket.kind == threshold.kind
        and threshold.bucket in ("", bucket.name)
        and (threshold.service == "" or not bucket.scope or threshold.service in bucket.scope)
        and bucket.from_ms <= now_ms
        and not 0 < bucket.until_ms <= now_ms
    )


def watched(threshold: Threshold, buckets: Iterable[Bucket], now_ms: int) -> tuple[int, int]:
    """The settled amount of the buckets it looks at, and what they had after their last fill."""
    value = filled = 0
    for bucket in buckets:
        if is_watched(threshold, bucket, now_ms):
            value += bucket.amount
            filled = min(filled + bucket.filled, EXACT_MAX)
    return value, filled


def part_of(amount: int, percent: int) -> int:
    """So many percent of an amount, rounded up: what is below it is below the percentage."""
    return amount // 100 * percent + -(-(amount % 100 * percent) // 100)


def levels_of(threshold: Threshold, filled: int) -> Levels | None:
    """None: a percentage of buckets that were never filled says nothing."""
    if not threshold.percent:
        return Levels(threshold.below, threshold.rearm)
    if filled <= 0:
        return None
    return Levels(part_of(filled, threshold.percent), part_of(filled, threshold.rearm))


def is_below(threshold: Threshold, buckets: Iterable[Bucket], now_ms: int) -> bool:
    """Whether one that is set now begins as crossed."""
    value, filled = watched(threshold, buckets, now_ms)
    levels = levels_of(threshold, filled)
    return levels is not None and value < levels.below
