"""The most that a caller may move: at once, and in a day (docs/access.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ocs.access import moved_by_day
from ocs.access.moved_by_day import DayMovement
from ocs.access.roles import ADMIN, Authority
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


async def allow(
    backoffice: BackOffice, warrant: Warrant, row: AccountRow, kind: int, amount: int, key: str
) -> DayMovement | None:
    """Raises Forbidden where the amount is beyond what the caller may move; counts it into the day.

    kind, amount: of the bucket, given (above zero) or taken
    key:          the same again counts once
    Returns what was counted, to be taken back if it is not moved after all.
    """
    unit = row.currency if kind == Kind.MONEY else KINDS[kind]
    limits = warrant.authority.limits(warrant.permission, unit)
    if not limits:
        return None
    moved, who = abs(amount), warrant.authority.caller
    at_once = max(_most(one.each, kind) for one in limits)
    if moved > at_once:
        raise Forbidden(f"{who} moves at most {quantity(kind, at_once)} {unit} at once by {warrant.permission}")
    most = max(_most(one.day, kind) for one in limits)
    if most == EXACT_MAX:
        return None
    today = datetime.fromtimestamp(backoffice.now_ms() / 1_000, UTC).date()
    movement = DayMovement(who, warrant.permission, unit, today, row.id, key)
    there = await moved_by_day.add(backoffice.pool, movement, moved, most)
    if there is not None:
        raise Forbidden(
            f"{who} moves at most {quantity(kind, most)} {unit} a day by {warrant.permission}, and has moved"
            f" {quantity(kind, there)} today"
        )
    return movement


async def take_back(backoffice: BackOffice, movement: DayMovement | None) -> None:
    """It was not moved."""
    if movement is not None:
        await moved_by_day.take_back(backoffice.pool, movement)


def _most(text: str | None, kind: int) -> int:
    return EXACT_MAX if text is None else amount_of(text, Kind(kind), "limit")
