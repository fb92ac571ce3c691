"""What limits leave of a grant (charging.md 15). Twin of lua/lib/limits.lua.

A limit is a counter that a line feeds and that nothing is granted beyond: `Count.limit` minus what is used and what is
held of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from balances.model.funds import AccountFunds, Mode
from balances.structs.account import Counter
from tariffs.climb import ENDLESS
from tariffs.ladder import Count, Counted, Ladder


class LimitedAccount(Protocol):
    """What limits ask of the operation they belong to (`account.AccountChange`)."""

    def counter_of(self, key: str) -> Counter | None: ...


def is_limited(ladder: Ladder) -> bool:
    return any(count.limit >= 0 for count in ladder.counts)


def left_of_limit(change: LimitedAccount, funds: AccountFunds, count: Count) -> int:
    """What one limit leaves; below zero once it was passed."""
    counter = change.counter_of(count.key)
    left = count.limit - (counter.used if counter is not None else 0)
    if funds.mode == Mode.ALONE:
        left -= funds.own_counted.get(count.key, 0)
    elif counter is not None:
        left -= counter.held
    left = min(left, funds.rations.get(count.key, left))
    return left - funds.counted.get(count.key, 0)


def limits_left(change: LimitedAccount, funds: AccountFunds, ladder: Ladder) -> tuple[int, int]:
    """Units and money that may be granted by a ladder."""
    units = money = ENDLESS
    for count in ladder.counts:
        if count.limit < 0 or funds.unlimited:
            continue
        left = max(left_of_limit(change, funds, count), 0)
        if count.what == Counted.UNITS:
            units = min(units, left)
        else:
            money = min(money, left)
    return units, money


def add_limited(sums: dict[str, int], ladder: Ladder, units: int, money: int) -> None:
    """Add what a line feeds its limits with, by the key of the counter."""
    for count in ladder.counts:
        if count.limit >= 0:
            sums[count.key] = sums.get(count.key, 0) + (units if count.what == Counted.UNITS else money)


def note_counted(funds: AccountFunds, taken: Mapping[str, int]) -> None:
    """What a climb took and nobody holds yet counts for the next one of the same funds."""
    for key, amount in taken.items():
        funds.counted[key] = funds.counted.get(key, 0) + amount
