"""The ledger as a whole: verification, rebuilding Redis, state of the copy, and lost answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from balances import keys
from balances.ledger import quarantine
from balances.ledger import verify as proof
from balances.ledger.quarantine import Held
from balances.ledger.reader import StreamReader
from balances.ledger.restore import rebuild as rebuild_from
from balances.ledger.verify import VerifyReport
from balances.ledger.writer import read_cursors
from ocs.audit import chain
from ocs.events.unsound import in_a_line, tell_unsound
from ocs.master.bring_in import bring_in
from ocs.stores import verifications, witness
from ocs.stores.verifications import Verification
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


async def verify(backoffice: BackOffice, caller: str) -> VerifyReport:
    """Verify every entry, balance and hold, and all sums, while traffic goes on."""
    began_ms = backoffice.now_ms()
    async with backoffice.alone():
        report = await proof.verify(backoffice.redis, backoffice.pool.patient)
        while await chain.go_on(backoffice.pool.patient):
            pass
        for finding in (await chain.verify(backoffice.pool.patient)).findings:
            report.found("audit", "trail", finding)
    await verifications.note(backoffice.pool, began_ms, backoffice.now_ms(), caller, report, in_a_line(report.findings))
    if not report.sound:
        await tell_unsound(backoffice.pool, "verify", report.findings, backoffice.now_ms())
    return report


async def rebuild(backoffice: BackOffice) -> int:
    """Brings every account into Redis that only PostgreSQL has, and says how many."""
    async with backoffice.alone():
        pool = backoffice.pool.patient
        one = partial(bring_in, pool, backoffice.redis, backoffice.store, now_ms=backoffice.now_ms())
        return sum([count async for count in rebuild_from(backoffice.redis, pool, one, at_once=50)])


class ShardCopy(NamedTuple):
    """How far one shard is copied. Ids are those of its stream, as text."""

    shard: int
    cursor: str
    head: str
    lag: int
    """Entries."""
    stopped: str
    """Why; "" for not."""


class CopyStatus(NamedTuple):
    lag: int
    oldest_ms: int
    """Of what is not copied; 0: nothing is not."""
    stopped: int
    shards: Sequence[ShardCopy]
    quarantined: Sequence[Held]
    lost_answers: int
    verified: Verification | None
    """The last whole proof."""


async def copy_status(backoffice: BackOffice) -> CopyStatus:
    """How far PostgreSQL is behind the live store, what is stopped, who is in quarantine."""
    cursors = await read_cursors(backoffice.pool)
    reader = StreamReader(backoffice.redis)
    _, heads = await reader.heads(range(keys.SHARDS))
    shards = []
    for shard, cursor in sorted(cursors.at.items()):
        lag = await reader.lag({shard: cursor}, heads) if heads[shard] > cursor else None
        entries = lag.entries if lag is not None else 0
        shards.append(ShardCopy(shard, str(cursor), str(heads[shard]), entries, cursors.stopped.get(shard, "")))
    whole = await reader.lag(cursors.at, heads)
    return CopyStatus(
        whole.entries,
        whole.oldest_ms,
        len(cursors.stopped),
        shards,
        await quarantine.held(backoffice.pool),
        await backoffice.pool.fetchval("SELECT count(*) FROM lost_answers WHERE accepted_at IS NULL"),
        await verifications.last(backoffice.pool),
    )


async def lost_answers(backoffice: BackOffice) -> Sequence[Any]:
    """Answers that were acknowledged and are in no store since the live store came back older."""
    return await witness.lost_answers(backoffice.pool)


async def accept_lost(backoffice: BackOffice, *, actor: str, reason: str) -> int:
    """Mark lost answers as acknowledged by a person, so that `verify` no longer reports them; returns how many."""
    count = await witness.accept_lost(backoffice.pool, actor=actor, reason=reason)
    logger().warning("ledger.lost_accepted", count=count, by=actor, reason=reason)
    return count
