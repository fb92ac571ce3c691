"""The ledger as a whole: verification, rebuilding Redis, state of the copy, and lost answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from balances.keys import SHARDS
from balances.ledger import quarantine
from balances.ledger import verify as proof
from balances.ledger.quarantine import Held
from balances.ledger.reader import STORE_AWAY, Lag, StreamReader
from balances.ledger.record import RecordId
from balances.ledger.restore import rebuild as rebuild_from
from balances.ledger.verify import VerifyReport
from balances.ledger.writer import read_cursors
from balances.redis.primaries import Primary
from ocs.audit import chain
from ocs.events.unsound import in_a_line, tell_unsound
from ocs.master.bring_in import bring_in
from ocs.stores import verifications, witness
from ocs.stores.bounded_postgres import within
from ocs.stores.verifications import Verification
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


READ_S: Final = 3.0
"""For the heads of one server."""


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
        return sum([count async for count in rebuild_from(await backoffice.primaries_now(), pool, one, at_once=50)])


class ShardCopy(NamedTuple):
    """How far one shard is copied. Ids are those of its stream, as text; no head: no server has the shard now."""

    shard: int
    cursor: str
    head: str
    lag: int
    """Entries."""
    stopped: str
    """Why; "" for not."""


class CopyStatus(NamedTuple):
    lag: int
    """Records, of the shards that could be read."""
    oldest_ms: int
    """Of what is not copied; 0: nothing is not."""
    stopped: int
    shards: Sequence[ShardCopy]
    quarantined: Sequence[Held]
    lost_answers: int
    verified: Verification | None
    """The last whole proof."""
    unread: Sequence[str]
    """What is missing in it: servers of the live store that did not answer, shards that no server has."""


async def copy_status(backoffice: BackOffice) -> CopyStatus:
    """How far PostgreSQL is behind the live store, what is stopped, who is in quarantine. Raises STORE_AWAY where no
    server of the live store can be read."""
    cursors = await read_cursors(backoffice.pool)
    shards: dict[int, ShardCopy] = {
        shard: ShardCopy(shard, str(cursor), "", 0, cursors.stopped.get(shard, ""))
        for shard, cursor in sorted(cursors.at.items())
    }
    lag, oldest_ms = 0, 0
    primaries = (await backoffice.primaries_now()).all()
    unread, away = [], []
    for primary in primaries:
        try:
            found, whole = await within(READ_S, _copied(primary, cursors.at))
        except STORE_AWAY as why:
            away.append(why)
            text = str(why) or f"no answer within {READ_S:g} s"
            unread.append(f"{primary.name} ({len(primary.shards)} of {SHARDS} shards): {text}")
            continue
        for shard, (head, behind) in found.items():
            shards[shard] = shards[shard]._replace(head=str(head), lag=behind)
        lag += whole.entries
        oldest_ms = min(filter(None, (oldest_ms, whole.oldest_ms)), default=0)
    if away and len(away) == len(primaries):
        raise away[0]
    if nobody := SHARDS - sum(len(primary.shards) for primary in primaries):
        unread.append(f"{nobody} of {SHARDS} shards: no server has them now")
    return CopyStatus(
        lag,
        oldest_ms,
        len(cursors.stopped),
        list(shards.values()),
        await quarantine.held(backoffice.pool),
        await backoffice.pool.fetchval("SELECT count(*) FROM lost_answers WHERE accepted_at IS NULL"),
        await verifications.last(backoffice.pool),
        unread,
    )


async def _copied(primary: Primary, cursors: Mapping[int, RecordId]) -> tuple[dict[int, tuple[RecordId, int]], Lag]:
    """Head and lag of each of its shards, and the lag of all of them."""
    reader = StreamReader(primary)
    _, heads = await reader.heads(sorted(primary.shards))
    found = {}
    for shard, head in heads.items():
        at = cursors[shard]
        found[shard] = (head, (await reader.lag({shard: at}, heads)).entries if head > at else 0)
    return found, await reader.lag({shard: cursors[shard] for shard in heads}, heads)


async def lost_answers(backoffice: BackOffice) -> Sequence[Any]:
    """Answers that were acknowledged and are in no store since the live store came back older."""
    return await witness.lost_answers(backoffice.pool)


async def accept_lost(backoffice: BackOffice, *, actor: str, reason: str) -> int:
    """Mark lost answers as acknowledged by a person, so that `verify` no longer reports them; returns how many."""
    count = await witness.accept_lost(backoffice.pool, actor=actor, reason=reason)
    logger().warning("ledger.lost_accepted", count=count, by=actor, reason=reason)
    return count
