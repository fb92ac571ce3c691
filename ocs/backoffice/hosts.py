"""The whole of what works on one store: its hosts, the stored format, how far PostgreSQL is, and what is at stake."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from balances.ledger.formats import stored_format
from balances.ledger.reader import STORE_AWAY
from balances.migrations.migrate import migrations
from balances.redis.libraries import named_lately
from ocs.backoffice import ledger
from ocs.backoffice.errors import NotFound
from ocs.backoffice.exposure import at_stake_lately
from ocs.keeper.formats import holding_back
from ocs.stores import hosts
from ocs.stores.bounded_postgres import within
from ocs.stores.hosts import HostRow
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.at_stake import AtStake
    from ocs.backoffice.backoffice import BackOffice


PART_S: Final = 5.0
"""For each part of the status; they are read side by side."""

T = TypeVar("T")


class FormatState(NamedTuple):
    written: int
    announced: int
    since: datetime | None
    """When `written` came to be written; None: always was."""
    newest: int
    """That any host reads."""
    held_back: Sequence[str]
    """Why the one after `written` is not announced."""
    step: int
    """The newest migration of PostgreSQL."""
    needs: int
    """A build that knows this migration, or a later one, may start."""
    knows: int
    """The newest one that the build which answers knows."""


class StoreStatus(NamedTuple):
    hosts: Sequence[HostRow]
    format: FormatState | None
    """None: PostgreSQL does not answer, and nobody knows the hosts either."""
    copied: ledger.CopyStatus | None
    """None: a store does not answer."""
    at_stake: AtStake | None
    """None: not asked for, or no store answers."""
    here: Mapping[str, str]
    """Stores and processes as the host that answers sees them, `ok` or what is wrong."""
    unknown: Sequence[str]
    """What could not be read, each with why."""


async def status(backoffice: BackOffice, *, sees_money: bool) -> StoreStatus:
    """What is known: where a store does not answer, the rest is there all the same."""
    unknown: list[str] = []

    async def part(what: str, work: Awaitable[T]) -> T | None:
        try:
            return await within(PART_S, work)
        except STORE_AWAY as why:  # PostgreSQL's Away too
            unknown.append(f"{what}: {str(why) or f'no answer within {PART_S:g} s'}")
        return None

    found, copied, here = await asyncio.gather(
        part("hosts and stored format", _hosts(backoffice)),
        part("how far PostgreSQL is", ledger.copy_status(backoffice)),
        backoffice.checks(),
    )
    at_stake = await at_stake_lately(backoffice) if sees_money else None
    if sees_money and at_stake is None:
        unknown.append("at stake: no store answers")
    for what in copied.unread if copied is not None else ():
        unknown.append(f"how far PostgreSQL is: {what}")
    rows, state = found if found is not None else ((), None)
    return StoreStatus(rows, state, copied, at_stake, here, unknown)


async def _hosts(backoffice: BackOffice) -> tuple[Sequence[HostRow], FormatState]:
    found = await hosts.listed(backoffice.pool)
    stored = await stored_format(backoffice.pool)
    since = await backoffice.pool.fetchval("SELECT format_at FROM store")
    newest = max([stored.written, *(host.reads.newest for host in found if host.alive)])
    held_back: Sequence[str] = ()
    if stored.announced == stored.written < newest:
        with contextlib.suppress(*STORE_AWAY):
            held_back = holding_back(found, await named_lately(backoffice.redis), stored.written + 1)
    there = {host.name for host in found if host.alive}
    shown = [host for host in found if host.alive or not (host.left or host.name in there)]
    step = await backoffice.pool.fetchrow("SELECT max(number) AS newest, max(needs) AS needs FROM migrations")
    knows = max(migrations()).number
    state = FormatState(
        stored.written,
        stored.announced,
        since,
        newest,
        held_back,
        step["newest"],
        step["needs"] or step["newest"],
        knows,
    )
    return shown, state


async def restart(backoffice: BackOffice, names: Sequence[str], *, actor: str) -> list[str]:
    """Have these hosts restart their processes, all hosts where none is named: one host at a time, one process at a
    time. Returns which will."""
    known = {host.name for host in await hosts.listed(backoffice.pool) if host.alive}
    if unknown := sorted({*names} - known):
        raise NotFound(f"no host {', '.join(unknown)} is there; there are {', '.join(sorted(known)) or 'none'}")
    asked = await hosts.ask_restart(backoffice.pool, names)
    logger().info("hosts.restart_asked", hosts=asked, by=actor)
    return asked
