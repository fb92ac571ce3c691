"""The most that a caller may move: at once, and in a day (docs/access.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from ocs.access import moved_by_day
from ocs.access.moved_by_day import DayMovement
from ocs.access.roles import ADMIN, AmountLimit, Authority
from ocs.backoffice.amounts import KINDS, amount_of, quantity
from ocs.backoffice.errors import Forbidden
from tariffs.units import EXACT_MAX, Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow


class Warrant(Struct, frozen=True):
    """By what right something is moved."""

    authority: Authority = ADMIN
    permission: str = ""
    """The one that allows it; "": no limit can be named for it."""


WITHOUT_LIMIT: Final = Warrant()


class CountedMoves(NamedTuple):
    """What was found to be within the caller's limits, and counted into its day."""

    movements: Sequence[tuple[DayMovement, int]] = ()
    """Each with its attempt."""
    moves_max: Sequence[int] = ()
    """By kind, what it was found for: no more may be moved by it; -1: no limit. (): nothing is limited."""


async def allow(
    backoffice: BackOffice, warrant: Warrant, row: AccountRow, amounts: Mapping[int, int], key: str
) -> CountedMoves:
    """Raises Forbidden where an amount is beyond what the caller may move; counts them into the day.

    amounts: by kind, given (above zero) or taken
    key:     the same again counts once
    Returns what was counted, to be taken back if it is not moved after all.
    """
    movements, moves_max = list[tuple[DayMovement, int]](), list[int]()
    try:
        for kind in Kind:
            unit = row.currency if kind == Kind.MONEY else KINDS[kind]
            limits = warrant.authority.limits(warrant.permission, unit)
            moved = abs(amounts.get(kind, 0))
            moves_max.append(moved if limits else -1)
            if limits and moved:
                movements += await _count(backoffice, warrant, (limits, unit, kind, moved), row.id, key)
    except Forbidden:
        await take_back(backoffice, CountedMoves(movements))
        raise
    return CountedMoves(movements, moves_max if max(moves_max) >= 0 else ())


async def _count(
    backoffice: BackOffice, warrant: Warrant, wanted: tuple[list[AmountLimit], str, Kind, int], account: str, key: str
) -> Sequence[tuple[DayMovement, int]]:
    limits, unit, kind, moved = wanted
    who = warrant.authority.caller
    at_once = max(_most(one.each, kind) for one in limits)
    if moved > at_once:
        raise Forbidden(f"{who} moves at most {quantity(kind, at_once)} {unit} at once by {warrant.permission}")
    most = max(_most(one.day, kind) for one in limits)
    if most == EXACT_MAX:
        return ()
    today = datetime.fromtimestamp(backoffice.now_ms() / 1_000, UTC).date()
    movement = DayMovement(who, warrant.permission, unit, today, account, key)
    attempt, there = await moved_by_day.add(backoffice.pool, movement, moved, most)
    if attempt is None:
        raise Forbidden(
            f"{who} moves at most {quantity(kind, most)} {unit} a day by {warrant.permission}, and has moved"
            f" {quantity(kind, there)} today"
        )
    return ((movement, attempt),)


async def take_back(backoffice: BackOffice, counted: CountedMoves) -> None:
    """It was not moved."""
    for movement, attempt in counted.movements:
        await moved_by_day.take_back(backoffice.pool, movement, attempt)


def _most(text: str | None, kind: int) -> int:
    return EXACT_MAX if text is None else amount_of(text, Kind(kind), "limit")
