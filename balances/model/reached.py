"""Limits that were reached, and that have room again (charging.md 15). Twin of lua/lib/reached.lua."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from balances.model.account import AccountChange
from balances.model.thresholds import note_crossing
from balances.packing import unpack_ladder
from balances.structs.account import Account, Counter, CounterWindow
from balances.structs.blob import blob_of
from balances.structs.charge import Ask
from balances.structs.posting import CounterReturn
from balances.structs.thresholds import CrossingKind, CrossingOf
from tariffs.ladder import Count, Counted
from tariffs.units import EXACT_MAX, Kind

CLOCKS_APART_MS: Final = 26 * 3_600_000
"""A period has one name on all clocks, and ends when the midnight of one of them comes (charging.md section 6)."""


def check_limits(change: AccountChange, asks: Iterable[Ask], *, gives_back: bool = False) -> None:
    """Notes limits of the lines that are asked about: reached by use that is settled, or not any more; once each.

    gives_back:  it is a refund, which reaches none
    """
    for ask in asks:
        packed = blob_of(ask.ladder)
        for count in unpack_ladder(packed).counts if packed else ():
            if count.limit >= 0:
                _check(change, count, ask.unit, gives_back=gives_back)


def _check(change: AccountChange, count: Count, unit: int, *, gives_back: bool) -> None:
    counter = change.counter_of(count.key)
    if counter is None or 0 < counter.until_ms <= change.now_ms:
        return
    unit = Kind.MONEY if count.what == Counted.MONEY else unit
    told = (CrossingOf.LIMIT, count.key, count.limit, counter.used, unit, "")
    if not counter.reached_ms and 0 < counter.used >= count.limit and not gives_back:
        counter.reached_ms = change.now_ms
        note_crossing(change, CrossingKind.REACHED, *told)
        if counter.until_ms:
            change.due_ms = min(change.due_ms or counter.until_ms, counter.until_ms)
    elif counter.reached_ms and counter.used < count.limit:
        counter.reached_ms = 0
        note_crossing(change, CrossingKind.ROOM, *told)


def make_room(change: AccountChange, counter: Counter) -> None:
    """A limit that was reached has room again."""
    counter.reached_ms = 0
    note_crossing(change, CrossingKind.ROOM, CrossingOf.LIMIT, counter.key, 0, 0, Kind.MONEY, "")


def reset_limits(change: AccountChange, keys: Iterable[str]) -> None:
    """Limits begin anew in their period: what is held of them stays (charging.md 23)."""
    for key in keys:
        if counter := change.counter_of(key):
            counter.used = counter.turned = 0
            if counter.reached_ms:
                make_room(change, counter)


def turn_back_counters(change: AccountChange, returns: Iterable[CounterReturn]) -> None:
    """What a refund gives back was not used, in the same period only (charging.md 9)."""
    for one in returns:
        counter = change.counter_of(one.key)
        if counter is None or not _is_of(counter, one):
            continue
        _turn_back(counter, one.amount)
        if counter.reached_ms and one.amount > 0 and counter.used < one.limit:
            make_room(change, counter)


def _turn_back(counter: Counter, amount: int) -> None:
    """So much was not used, as far as it is counted. Below zero: so much counts again, as far as it was turned back
    since the counter began, or began anew; a window begins anew only where it ends, and then `_is_of` says so."""
    back = amount
    if amount > 0:
        back = min(amount, counter.used)
    elif counter.window == CounterWindow.NONE:
        back = -min(-amount, counter.turned)
    counter.used = min(counter.used - back, EXACT_MAX)
    counter.turned = min(max(counter.turned + back, 0), EXACT_MAX)


def _is_of(counter: Counter, returned: CounterReturn) -> bool:
    if returned.window_ms:
        return counter.until_ms - returned.window_ms <= returned.used_ms < counter.until_ms
    if not counter.until_ms or not returned.until_ms:
        return counter.until_ms == returned.until_ms
    return abs(counter.until_ms - returned.until_ms) <= CLOCKS_APART_MS


def end_limits(change: AccountChange) -> bool:
    """A period has ended in which a limit was reached: there is room again. Whether there was one."""
    ended = [one for one in change.account.counters if one.reached_ms and 0 < one.until_ms <= change.now_ms]
    for counter in ended:
        make_room(change, counter)
    return bool(ended)


def limits_due(account: Account, now_ms: int) -> int:
    """When the first of these periods ends; 0: there is none."""
    return min((one.until_ms for one in account.counters if one.reached_ms and one.until_ms > now_ms), default=0)
