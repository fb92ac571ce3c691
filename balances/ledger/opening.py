"""Opens the shards of a primary for charging (durability.md rules 5, 11 and 12): those of which its history is not the
one that is published with the newest epoch, because it failed over, went back, or was given them. The others charge on.

In this order:

a. draw a newer epoch for them in PostgreSQL: from here on nothing that was read under an older one commits;
b. compare each shard's head (last record in Redis) with its cursor (last record in PostgreSQL).
   head >= cursor: Redis contains PostgreSQL; copy the records in between;
c. head < cursor: Redis went back. What only one side has is forgotten in Redis, account by account, and comes back from
   PostgreSQL on demand; what only Redis has is listed in `orphaned`;
d. publish, only if the epoch is still the newest.

Interrupted anywhere, or run by two at once, it is simply run again: every step is harmless when repeated.

A gap (PostgreSQL restored from a backup older than the last trim) is closed by snapshots: every account of the shard
is written to PostgreSQL as Redis has it, the difference of each bucket as an entry `recovered`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec
from redis.exceptions import ResponseError, WatchError

from balances import keys
from balances.ledger.formats import OURS, refusal_of, stored_format
from balances.ledger.publication import publish
from balances.ledger.reader import Client, ServerIdentity, StreamReader
from balances.ledger.record import START, RecordedCall, RecordId, Undecodable, fit, follows
from balances.ledger.snapshot import Snapshot, close_gap
from balances.ledger.sync import NotOpen, open_shards
from balances.ledger.turns import turn
from balances.ledger.writer import CursorMoved, Cursors, Pool, RecordRun, Writer, read_cursors
from balances.redis import libraries
from balances.redis.primaries import Primary
from balances.structs.blob import FORMAT
from balances.structs.record import Record

LOCK: Final = 0x0C5_0002
"""Advisory lock, one for each primary. It saves work when two open at once; the rules hold without it."""

_pack: Final = msgspec.msgpack.Encoder().encode

PART_CALLS: Final = 5_000
SPANS_AT_ONCE: Final = 32
"""Shards whose records are read together, as long as there are few of each: an opening is waited for."""
FORGET_AT_ONCE: Final = 500

MARK: Final = "opening"
"""Kind of the record an opening writes where Redis went back or a gap was closed."""

Alarm = Callable[[str], None]


class OpeningRefused(Exception):
    """This server may not be opened; the text says why."""


class Opened(NamedTuple):
    epoch: int
    replid: str
    copied: int
    forgotten: frozenset[str]
    """Accounts removed from Redis; they come back on demand."""
    orphaned: int
    recovered: int
    """Shards with a gap that no stream filled."""
    went_back: int = 0
    """Shards of which the live store came back older than what PostgreSQL has."""
    shards: frozenset[int] = frozenset()
    """Those that were opened."""


class ShardOpening:
    """Everything one run of the rule needs.

    trusted:  a person says that this is the right store: whatever failover epochs were known do not count
    """

    def __init__(self, primary: Primary, pool: Pool, writer: Writer, *, alarm: Alarm, trusted: bool = False) -> None:
        self._primary = primary
        self._redis = primary.client
        self._pool = pool
        self._reader = StreamReader(primary)
        self._writer = writer
        self._alarm = alarm
        self._trusted = trusted
        self._copied = self._orphaned = self._recovered = self._went_back = 0
        self._forgotten: set[str] = set()

    async def run(self, now_s: int, *, anew: Collection[int] = ()) -> Opened:
        """Open the shards that are not open, and those of `anew` (a gap was found) though they are. A plain store is
        opened whole: its workers may know of one epoch only. NotOpen or CursorMoved: somebody else was faster or wrote
        meanwhile; look again."""
        async with self._pool.acquire() as pg:
            async with turn(pg, LOCK, crc32(self._primary.name.encode()) - 2**31):
                return await self._run(now_s, anew)

    async def _run(self, now_s: int, anew: Collection[int]) -> Opened:
        before = await read_cursors(self._pool)
        server = await self._reader.server()
        if not server.master:
            raise NotOpen(f"{self._primary.name} is a replica")
        here = server.published.keys()
        shut = (here - open_now(before, server)) | (here & set(anew))
        if not shut:
            return Opened(server.published_epoch, server.replid, 0, frozenset(), 0, 0)
        shards = sorted(shut if self._primary.clustered else here)
        server, heads = await self._all_heads(server, shards)
        epoch, shards = await self._draw(shards, max(max(heads.values()).epoch, server.latest_epoch, now_s))
        # Heads and cursors as they are from now on: no older epoch commits any more.
        cursors = await read_cursors(self._pool)
        _, heads = await self._all_heads(server, shards)
        behind = []
        for shard in shards:
            cursor = cursors.at[shard]
            if heads[shard] < cursor:
                self._went_back += 1
                await self._step_back(epoch, shard, cursor, heads[shard])
            elif heads[shard] > cursor and shard not in cursors.stopped:
                behind.append(shard)
        for start in range(0, len(behind), SPANS_AT_ONCE):
            some = behind[start : start + SPANS_AT_ONCE]
            opened_epochs = {shard: before.opened[shard].opened_epoch for shard in some}
            await self._catch_up(epoch, cursors, heads, opened_epochs)
        await self._all_heads(server, shards)
        await self._publish(epoch, server.replid, shards)
        # Until PostgreSQL has counted its 256 rows it plans each move of the cursors as a nested loop over them, which
        # costs ten times the CPU of a copy step, until the first autovacuum a minute later.
        await self._pool.execute("ANALYZE shards")
        return Opened(
            epoch,
            server.replid,
            self._copied,
            frozenset(self._forgotten),
            self._orphaned,
            self._recovered,
            self._went_back,
            frozenset(shards),
        )

    async def _all_heads(
        self, server: ServerIdentity, shards: Sequence[int]
    ) -> tuple[ServerIdentity, dict[int, RecordId]]:
        """The heads of these shards, still at this server and in this history."""
        now, heads = await self._reader.heads(shards)
        if not now.master or now.replid != server.replid:
            raise NotOpen("the server changed during its opening")
        if len(heads) < len(shards):
            raise NotOpen("shards went to another server during their opening")
        return now, heads

    async def _draw(self, shards: Sequence[int], at_least: int) -> tuple[int, list[int]]:
        """The epoch, and the shards that may be opened under it: a newer master is not known for them."""
        primary = self._primary
        async with self._pool.acquire() as pg, pg.transaction():
            rows = await pg.fetch(
                "SELECT shard, epoch, config_epoch FROM shards WHERE shard = ANY($1::smallint[]) ORDER BY shard"
                " FOR UPDATE",
                shards,
            )
            rows = [row for row in rows if primary.config_epoch >= row["config_epoch"] or self._trusted]
            if not rows:
                raise OpeningRefused(
                    f"{primary.name} is of failover epoch {primary.config_epoch}, and PostgreSQL knows a newer master"
                    f" of each of its {len(shards)} shards that are shut"
                )
            mine = [row["shard"] for row in rows]
            epoch = 1 + max(at_least, *(row["epoch"] for row in rows))
            await pg.execute(
                "UPDATE shards SET epoch = $1, config_epoch = $2 WHERE shard = ANY($3::smallint[])",
                epoch,
                primary.config_epoch,
                mine,
            )
            return int(epoch), mine

    async def _catch_up(
        self, epoch: int, cursors: Cursors, heads: Mapping[int, RecordId], opened_epochs: Mapping[int, int]
    ) -> None:
        """Copy what these shards have after their cursors, together: what is shut waits for it."""
        spans = await asyncio.gather(*(self._span(shard, cursors.at[shard], heads[shard]) for shard in opened_epochs))
        runs: list[RecordRun] = []
        for (shard, opened_epoch), calls in zip(opened_epochs.items(), spans, strict=True):
            cursor = cursors.at[shard]
            if calls is None:
                continue
            if await self._gap(shard, cursor, calls, opened_epoch):
                self._recovered += 1
                self._alarm(
                    f"opening: shard {shard}: the stream lacks what follows {cursor}; accounts are taken from Redis"
                )
                await self._recover(epoch, shard, cursor, heads[shard], calls)
                continue
            for start in range(0, len(calls), PART_CALLS):
                some = calls[start : start + PART_CALLS]
                runs.append(RecordRun(shard, cursor, some[-1].id, some))
                cursor = some[-1].id
        while runs:
            now: list[RecordRun] = []
            while runs and (not now or sum(len(run.calls) for run in [*now, runs[0]]) <= PART_CALLS):
                if now and now[-1].shard == runs[0].shard:  # its cursor moves first
                    break
                now.append(runs.pop(0))
            self._copied += await self._writer.write({run.shard: epoch for run in now}, now)

    async def _span(self, shard: int, cursor: RecordId, head: RecordId) -> list[RecordedCall] | None:
        """The records in between; None where the shard is stopped at one that cannot be read."""
        try:
            return await self._reader.span(shard, cursor, head)
        except Undecodable as why:
            await self._writer.stop(shard, str(why))
            return None

    async def _gap(self, shard: int, cursor: RecordId, calls: list[RecordedCall], opened_epoch: int) -> bool:
        """A new epoch that PostgreSQL did not open itself is complete only if the record before it is still there."""
        before, there = cursor, False
        for call in calls:
            if call.record.kind == MARK:
                if call.record.reference != str(before):
                    return True
            elif not follows(before, call.id, opened_epoch):
                begins = call.id.n == 0 and call.id.epoch > before.epoch
                if not (begins and (there or await self._reader.has(shard, before))):
                    return True
            before, there = call.id, True
        return False

    async def _recover(
        self, epoch: int, shard: int, cursor: RecordId, head: RecordId, calls: list[RecordedCall]
    ) -> None:
        snapshot = await Snapshot.take(self._redis, shard)
        if (await self._reader.heads([shard]))[1][shard] != head:
            raise CursorMoved  # somebody still wrote under an old pass
        async with self._pool.acquire() as pg:
            closed = await close_gap(pg, snapshot, calls, epoch)
        await self._orphan(epoch, shard, closed.diverged)
        await self._forget_all(shard, head, closed.accounts, closed.diverged)
        # Forgetting leaves no trace in the stream. A mark after it tells a Redis that has forgotten from one that
        # is put back to just before; without it both have the same head (found by tests/sim/shard_model.py).
        mark = await self._mark(epoch, shard, head, head)
        await self._writer.write({shard: epoch}, [RecordRun(shard, cursor, mark.id, [*closed.calls, mark])])

    async def _mark(self, epoch: int, shard: int, head: RecordId, after: RecordId) -> RecordedCall:
        """`after` is the record that must be the last one known for nothing to be missing before the mark: the head
        where Redis has all, the cursor where it went back."""
        at_ms = int((await self._redis.time())[0]) * 1_000
        record = Record(FORMAT, MARK, "", "", "", "", "", 0, at_ms, at_ms, "", "", 0, [], [], reference=str(after))
        mark = RecordedCall(RecordId(epoch, 0), record, _pack(record), None, None, None, None, None)
        stream = keys.ledger(shard)
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(stream)
            if (await self._reader.heads([shard]))[1][shard] != head:
                raise CursorMoved
            pipe.multi()
            pipe.xadd(stream, {"r": mark.packed}, id=str(mark.id))
            try:
                await pipe.execute()
            except (WatchError, ResponseError):  # somebody wrote, or a newer opening did: XADD refuses older ids
                raise CursorMoved from None
        return mark

    async def _step_back(self, epoch: int, shard: int, cursor: RecordId, head: RecordId) -> None:
        """Rule 5c. Ids are compared one by one: a head may belong to a branch that PostgreSQL never saw."""
        try:
            here = {call.id: call for call in await self._reader.span(shard, START, head)}
        except Undecodable as why:
            await self._writer.stop(shard, str(why))
            here = {}
        if here:
            there = {
                RecordId(epoch, n): account
                for epoch, n, account in await self._pool.fetch(
                    "SELECT epoch, n, account FROM calls WHERE shard = $1 AND (epoch, n) >= ($2, $3)"
                    " UNION ALL SELECT epoch, n, account FROM quarantined"
                    " WHERE shard = $1 AND (epoch, n) >= ($2, $3) AND settled_at IS NULL",
                    shard,
                    *min(here),
                )
            }
            only_here = [call for at, call in here.items() if at not in there and call.record.kind != MARK]
            accounts = {call.record.account for call in only_here}
            # A snapshot (n below 0) is in no stream: Redis contains it when it went on after it.
            accounts |= {acct for at, acct in there.items() if (at not in here if at.n >= 0 else at > head)}
        else:  # nothing to compare with: whatever Redis has of this shard
            only_here, accounts = [], {account async for account in accounts_of(self._redis, shard)}
        await self._orphan(epoch, shard, only_here)
        await self._forget_all(shard, head, accounts, only_here)
        # A PostgreSQL restored from a backup must not take this stream for complete across the place.
        await self._mark(epoch, shard, head, cursor)

    async def _orphan(self, epoch: int, shard: int, calls: list[RecordedCall]) -> None:
        if not calls:
            return
        self._orphaned += len(calls)
        self._alarm(f"opening: shard {shard}: {len(calls)} records from {calls[0].id} on never reached PostgreSQL")
        await self._pool.executemany(
            "INSERT INTO orphaned (shard, epoch, n, account, record, opened_epoch)"
            " SELECT $1::smallint, $2::bigint, $3::bigint, $4::text, $5::bytea, $6::bigint"
            " WHERE NOT EXISTS (SELECT FROM orphaned WHERE shard = $1 AND epoch = $2 AND n = $3)",
            [(shard, *call.id, fit(call.record.account), call.packed, epoch) for call in calls],
        )

    async def _forget_all(
        self, shard: int, head: RecordId, accounts: Iterable[str], orphans: list[RecordedCall]
    ) -> None:
        wanted = sorted(account for account in accounts if account)
        for start in range(0, len(wanted), FORGET_AT_ONCE):
            some = wanted[start : start + FORGET_AT_ONCE]
            if not all(await asyncio.gather(*(forget(self._redis, account, head) for account in some))):
                raise CursorMoved  # the head moved: an old pass was still in use; look again
            self._forgotten.update(some)
        # The answer of an event that was taken back must not be given again.
        answers = {(c.record.account, c.record.once_key) for c in orphans if c.record.once_key}
        if answers:
            await self._redis.delete(*(keys.once(account, key) for account, key in answers))

    async def _publish(self, epoch: int, replid: str, shards: Sequence[int]) -> None:
        async with self._pool.acquire() as pg, pg.transaction():
            done = await pg.execute(
                "UPDATE shards SET replid = $2, opened_epoch = $1 WHERE epoch = $1 AND shard = ANY($3::smallint[])",
                epoch,
                replid,
                shards,
            )
            if done != f"UPDATE {len(shards)}":
                raise CursorMoved
        await publish(self._primary, shards, replid, epoch)


def open_now(cursors: Cursors, server: ServerIdentity) -> set[int]:
    """Shards of which this server's history is the one published, there and here, with the newest epoch."""
    return {
        shard for shard in open_shards(cursors, server) if server.epoch_of(shard) == cursors.opened[shard].opened_epoch
    }


async def forget(redis: Client, account: str, head: RecordId) -> bool:
    """Remove an account from Redis if its shard's last record is still `head`."""
    of = keys.AccountKeys(account)
    names = (of.account, of.ledger)
    reply = await libraries.call(redis, "forget", names, "" if head == START else str(head))
    return reply[0] == b"ok"


async def open_without_postgres(primary: Primary, now_s: int, *, but: Collection[int] = ()) -> int:
    """Rule 11, only where the operator chose availability over proof: what this server lacks of PostgreSQL's record is
    found, listed and taken back by the opening that follows when PostgreSQL is there again. Opens what is not open.

    but: shards of a cluster's primary that stay shut"""
    reader = StreamReader(primary)
    server = await reader.server()
    shut = [shard for shard in server.published if not server.epoch_of(shard) and shard not in but]
    shards = shut if primary.clustered else list(server.published)
    server, heads = await reader.heads(shards)
    if not server.master:
        raise NotOpen(f"{primary.name} is a replica")
    epoch = 1 + max(max(heads.values()).epoch, server.latest_epoch, now_s)
    await publish(primary, heads, server.replid, epoch)
    return epoch


async def accounts_of(redis: Client, shard: int) -> AsyncIterator[str]:
    """Ids of the accounts Redis has in a shard."""
    prefix = f"{keys.TAGS[shard]}:acct:".encode()
    async for key in redis.scan_iter(match=prefix + b"*", count=1_000):
        yield key[len(prefix) :].decode()


async def misfit(pool: Pool) -> str:
    """Why this version may not work with that PostgreSQL at all, "" when it may. The number of shards is fixed when a
    store is created: another one would look for accounts in wrong places."""
    shards = await pool.fetchval("SELECT shards FROM store")
    if shards != keys.SHARDS:
        return f"this store has {shards} shards, this version works with {keys.SHARDS}"
    stored = await stored_format(pool)
    return refusal_of(OURS, stored.written, stored.announced)
