"""The whole of what works on one store: its hosts, the stored format, how far PostgreSQL is, and what is at stake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from balances.ledger.formats import stored_format
from balances.ledger.reader import STORE_AWAY
from balances.redis.libraries import named_lately
from ocs.backoffice import ledger
from ocs.backoffice.errors import NotFound
from ocs.backoffice.exposure import at_stake_lately
from ocs.keeper.formats import holding_back
from ocs.stores import hosts
from ocs.stores.hosts import HostRow
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.at_stake import AtStake
    from ocs.backoffice.backoffice import BackOffice


class FormatState(NamedTuple):
    written: int
    announced: int
    since: datetime | None
    """When `written` came to be written; None: always was."""
    newest: int
    """That any host reads."""
    held_back: Sequence[str]
    """Why the one after `written` is not announced."""


class StoreStatus(NamedTuple):
    hosts: Sequence[HostRow]
    format: FormatState
    copied: ledger.CopyStatus | None
    """None: the live store does not answer."""
    at_stake: AtStake | None
    """None: not asked for, or a store does not answer."""


async def status(backoffice: BackOffice, *, sees_money: bool) -> StoreStatus:
    found = await hosts.listed(backoffice.pool)
    stored = await stored_format(backoffice.pool)
    since = await backoffice.pool.fetchval("SELECT format_at FROM store")
    newest = max([stored.written, *(host.reads.newest for host in found if host.alive)])
    held_back: Sequence[str] = ()
    copied = None
    try:
        if stored.announced == stored.written < newest:
            held_back = holding_back(found, await named_lately(backoffice.redis), stored.written + 1)
        copied = await ledger.copy_status(backoffice)
    except STORE_AWAY:
        pass
    at_stake = await at_stake_lately(backoffice) if sees_money and copied is not None else None
    there = {host.name for host in found if host.alive}
    shown = [host for host in found if host.alive or not (host.left or host.name in there)]
    state = FormatState(stored.written, stored.announced, since, newest, held_back)
    return StoreStatus(shown, state, copied, at_stake)


async def restart(backoffice: BackOffice, names: Sequence[str], *, actor: str) -> list[str]:
    """Have these hosts restart their processes, all hosts where none is named: one host at a time, one process at a
    time. Returns which will."""
    known = {host.name for host in await hosts.listed(backoffice.pool) if host.alive}
    if unknown := sorted({*names} - known):
        raise NotFound(f"no host {', '.join(unknown)} is there; there are {', '.join(sorted(known)) or 'none'}")
    asked = await hosts.ask_restart(backoffice.pool, names)
    logger().info("hosts.restart_asked", hosts=asked, by=actor)
    return asked
