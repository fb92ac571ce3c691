"""After PostgreSQL was put back from a backup: what the live store still has is brought back, by a person's word
(durability.md rule 12)."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import msgspec

from balances.ledger import recovery, transfers
from balances.ledger.event_data import InvariantViolated
from balances.ledger.found_legs import LegsFound, find_legs
from balances.ledger.opening import Opened, OpeningRefused
from balances.ledger.sync import NotOpen
from balances.ledger.writer import CursorMoved
from ocs.backoffice import accounts
from ocs.backoffice.errors import Conflict, Unavailable
from ocs.events.outbox import emit
from ocs.master import recovery as master
from ocs.master.recovery import NAMED_MAX, MasterRecovery
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


class RecoveryOutcome(msgspec.Struct, frozen=True):
    """What was brought back; of a dry run what would be, as far as it can be known before the streams are copied."""

    dry_run: bool
    changes: int
    """Of master data, by which the live store was ahead of PostgreSQL."""
    copied: int
    """Records that the streams still had."""
    gaps: int
    """Shards of which the streams lack records: each account's difference is posted as `recovered`."""
    orphaned: int
    """Records of accounts that had gone another way than PostgreSQL, which were taken back."""
    answers: int
    """Of events and postings, that only the live store had."""
    claims: int
    """Of vouchers."""
    grants: int
    """Of refunds."""
    legs: int
    """Of transfers, that were in gaps and are put in order."""
    legs_by_hand: list[str]
    """Accounts with legs that a person has to compare."""
    master: MasterRecovery


async def recover(backoffice: BackOffice, *, actor: str, reason: str, dry_run: bool) -> RecoveryOutcome:
    """Void all passes, open every shard anew, bring back what the live store has. It may be repeated."""
    alarms: list[str] = []
    async with backoffice.alone():
        pool, redis, now_ms = backoffice.pool.patient, backoffice.redis, backoffice.now_ms()
        changes = await master.ahead(pool, backoffice.projector.store)
        opened = Opened(0, "", 0, frozenset(), 0, 0)
        if not dry_run:
            logger().warning("ledger.recovery", by=actor, reason=reason, changes=changes)
            opened = await _open_anew(backoffice, alarms)
        answers = await recovery.bring_back_answers(redis, pool, now_ms, dry_run=dry_run)
        found = await master.bring_back(pool, redis, now_ms, dry_run=dry_run)
        claims = 0 if dry_run else await recovery.bring_back_claims(pool)
        grants = 0 if dry_run else await recovery.bring_back_grants(pool)
    legs = LegsFound([], [], [])
    if not dry_run:
        await backoffice.publish()
        legs = await _put_legs_in_order(backoffice)
    for what in alarms:
        logger().error("ledger.recovery_alarm", what=what)
    if opened.recovered or opened.orphaned:
        what = f"{opened.recovered} shards had a gap, {opened.orphaned} records were taken back"
        told = InvariantViolated("PostgreSQL was put back from a backup", what)
        async with backoffice.pool.acquire() as pg:
            await emit(pg, "invariant.violated", told, at_ms=now_ms, key=f"recovery/{now_ms}", subject="ledger")
    return RecoveryOutcome(
        dry_run,
        changes,
        opened.copied,
        opened.recovered,
        opened.orphaned,
        answers,
        claims,
        grants,
        len(legs.posts) + len(legs.refused),
        legs.by_hand[:NAMED_MAX],
        found,
    )


async def _put_legs_in_order(backoffice: BackOffice) -> LegsFound:
    """Unavailable: the shards are open, and this process has not seen it in time; the same again goes on."""
    found = await find_legs(backoffice.pool.patient, backoffice.now_ms())
    if found.refused:
        async with backoffice.pool.acquire() as pg, pg.transaction():
            await transfers.write(pg, found.refused)
    for post in found.posts:
        for tries_left in reversed(range(recovery.TRIES)):
            try:
                reply = await accounts.call(backoffice, post.account, functools.partial(backoffice.store.post, post))
                if reply.status in ("ok", "again"):
                    break
                why = Unavailable(f"the live store says of account {post.account}: {reply.status}")
            except Unavailable as away:
                why = away
            if not tries_left:
                raise why
            await asyncio.sleep(recovery.WAIT_S)
    return found


async def _open_anew(backoffice: BackOffice, alarms: list[str]) -> Opened:
    try:
        return await recovery.open_anew(
            backoffice.primaries, backoffice.pool.patient, lambda: backoffice.now_ms() // 1_000, alarms.append
        )
    except OpeningRefused as why:
        raise Conflict(f"the live store may not be opened: {why}") from None
    except (NotOpen, CursorMoved):
        raise Unavailable("the live store does not come to rest: somebody still writes to it; try again") from None
