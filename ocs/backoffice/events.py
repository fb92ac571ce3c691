"""Events: pages of what was told, and where somebody who follows them begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balances.ledger.event_filter import EventFilter
from ocs.backoffice.errors import Forgotten, Invalid
from ocs.events import following, log
from ocs.events.event import Event
from ocs.events.types import unknown_types

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


def filter_of(types: tuple[str, ...], accounts: tuple[str, ...], services: tuple[str, ...]) -> EventFilter:
    """Invalid where no type is called so."""
    unknown = unknown_types(types)
    if unknown:
        raise Invalid("type", f"no type of event is called {', '.join(unknown)}: docs/events.md lists them")
    return EventFilter(types, accounts, services)


async def page(backoffice: BackOffice, wanted: EventFilter, before: int | None, limit: int) -> tuple[list[Event], int]:
    """Newest first, and the number to go on before; 0 at the end."""
    found, rest = await log.before(backoffice.pool, before, wanted, limit)
    source = await log.source(backoffice.pool)
    return [one.event(source) for one in found], rest


async def renew(backoffice: BackOffice, wanted: EventFilter) -> None:
    """Somebody who follows is still there."""
    await following.ask(backoffice.pool, wanted)


async def first(backoffice: BackOffice, wanted: EventFilter, last_id: str) -> int | None:
    """The number after which to send events to somebody who saw this one last; None: from now on."""
    try:
        return await following.begin(backoffice.pool, wanted, last_id)
    except following.EventForgotten as why:
        raise Forgotten(str(why)) from None
