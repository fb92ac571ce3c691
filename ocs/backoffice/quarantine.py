"""Records that cannot be copied to PostgreSQL, and what a person decides about them (durability.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from balances import keys
from balances.ledger import quarantine
from balances.ledger.quarantine import Held, NotSettled, QuarantinedRecord, QuarantineOutcome
from ocs.backoffice.errors import Conflict, NotFound
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


async def held(backoffice: BackOffice) -> Sequence[Held]:
    """Accounts that are not restored until a person has decided."""
    return await quarantine.held(backoffice.pool)


async def kept(backoffice: BackOffice, account: str) -> Sequence[QuarantinedRecord]:
    """The quarantined records of one account, in order."""
    found = await quarantine.kept(backoffice.pool, account)
    if not found:
        raise NotFound(f"account {account} is not in quarantine")
    return found


async def replay(backoffice: BackOffice, account: str, *, actor: str, reason: str) -> QuarantineOutcome:
    """Copy the records as they are, all or none, after the cause was repaired."""
    try:
        done = await quarantine.replay(backoffice.pool, account, actor=actor, reason=reason)
    except NotSettled as why:
        raise Conflict(str(why)) from None
    return _told(done, account, actor)


async def confirm(backoffice: BackOffice, account: str, *, actor: str, reason: str) -> QuarantineOutcome:
    """Accept that the records stay broken: what they did to the balances is posted as `recovered`."""
    try:
        done = await quarantine.confirm(
            backoffice.pool, await backoffice.primaries_now(), account, actor=actor, reason=reason
        )
    except NotSettled as why:
        raise Conflict(str(why)) from None
    return _told(done, account, actor)


def _told(done: QuarantineOutcome, account: str, actor: str) -> QuarantineOutcome:
    logger().warning("ledger.settled", account=account, by=actor, **done._asdict())
    return done


async def resume(backoffice: BackOffice, shard: str, account: str, *, actor: str, reason: str) -> int:
    """A stopped shard is copied again, after a person has looked; its number. account: whose nameless record it was."""
    if not (shard.isascii() and shard.isdecimal()) or int(shard) >= keys.SHARDS:
        raise NotFound(f"there is no shard {shard}")
    number = int(shard)
    try:
        primaries = await backoffice.primaries_now()
        await quarantine.resume(backoffice.pool, primaries, number, account=account, reason=reason, actor=actor)
    except NotSettled as why:
        raise Conflict(str(why)) from None
    logger().warning("ledger.resumed", shard=number, account=account, by=actor, reason=reason)
    return number
