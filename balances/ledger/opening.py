"""Opens the shards of a server for charging (durability.md rules 5, 11 and 12).

Whenever a server's history (master_replid) is not published with the newest epoch, in this order:

a. draw a newer epoch in PostgreSQL: from here on nothing that was read under an older one commits;
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
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, NamedTuple

import msgspec
from redis.exceptions import ResponseError, WatchError

from balances import keys
from balances.ledger.reader import Client, ServerIdentity, StreamReader
from balances.ledger.record import START, RecordedCall, RecordId, Undecodable, fit, follows
from balances.ledger.snapshot import Snapshot, close_gap
from balances.ledger.sync import NotOpen
from balances.ledger.writer import CursorMoved, Cursors, Pool, RecordRun, Writer, read_cursors
from balances.redis import libraries
from balances.structs.blob import FORMAT
from balances.structs.record import Record

LOCK: Final = 0x0C5_0002
"""Advisory lock. It saves work when two open at once; the rules hold without it."""

_pack: Final = msgspec.msgpack.Encoder().encode

PART_CALLS: Final = 5_000
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


class ShardOpening:
    """Everything one run of the rule needs."""

    def __init__(self, redis: Client, pool: Pool, writer: Writer, *, alarm: Alarm, config_epoch: int = 0) -> None:
        self._redis = redis
        self._pool = pool
        self._reader = StreamReader(redis)
        self._writer = writer
        self._alarm = alarm
        self._config_epoch = config_epoch
        self._copied = self._orphaned = self._recovered = self._went_back = 0
        self._forgotten: set[str] = set()

    async def run(self, now_s: int, *, anew: bool = False) -> Opened:
        """Open all shards; `anew` also when they are open (a Gap was found). NotOpen or CursorMoved: somebody else was
        faster or wrote meanwhile; look again."""
        async with self._pool.acquire() as pg:
            await pg.execute("SELECT pg_advisory_lock($1)", LOCK)
            try:
                return await self._run(now_s, anew)
            finally:
                await pg.execute("SELECT pg_advisory_unlock($1)", LOCK)

    async def _run(self, now_s: int, anew: bool) -> Opened:
        before = await read_cursors(self._pool)
        server, heads = await self._reader.heads(range(keys.SHARDS))
        if not server.master:
            raise NotOpen("the server is a replica")
        if not anew and is_open(before, server):
            return Opened(before.epoch, before.replid, 0, frozenset(), 0, 0)
        epoch = await self._draw(max(max(heads.values()).epoch, server.latest_epoch, now_s))
        # Heads and cursors as they are from now on: no older epoch commits any more.
        cursors = await read_cursors(self._pool)
        now_server, heads = await self._reader.heads(range(keys.SHARDS))
        self._same(server, now_server)
        for shard, cursor in cursors.at.items():
            if heads[shard] < cursor:
                self._went_back += 1
                await self._step_back(epoch, shard, cursor, heads[shard])
            elif heads[shard] > cursor and shard not in cursors.stopped:
                await self._catch_up(epoch, shard, cursor, heads[shard], before.opened_epoch)
        self._same(server, await self._reader.server())
        await self._publish(epoch, server.replid)
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
        )

    async def _draw(self, at_least: int) -> int:
        async with self._pool.acquire() as pg, pg.transaction():
            known = await pg.fetchval("SELECT config_epoch FROM store FOR UPDATE")
            if self._config_epoch < known:
                raise OpeningRefused(
                    f"its failover epoch {self._config_epoch} is older than {known}: a newer master exists"
                )
            await pg.execute("UPDATE store SET config_epoch = $1", self._config_epoch)
            newest = await pg.fetchval("SELECT max(epoch) FROM shards")
            epoch = 1 + max(newest, at_least)
            await pg.execute("UPDATE shards SET epoch = $1", epoch)
            return int(epoch)

    def _same(self, server: ServerIdentity, now: ServerIdentity) -> None:
        if not now.master or now.replid != server.replid:
            raise NotOpen("the server changed during its opening")

    async def _catch_up(self, epoch: int, shard: int, cursor: RecordId, head: RecordId, opened_epoch: int) -> None:
        try:
            calls = await self._reader.span(shard, cursor, head)
        except Undecodable as why:
            await self._writer.stop(shard, str(why))
            return
        if await self._gap(shard, cursor, calls, opened_epoch):
            self._recovered += 1
            self._alarm(
                f"opening: shard {shard}: the stream lacks what follows {cursor}; accounts are taken from Redis"
            )
            await self._recover(epoch, shard, cursor, head, calls)
            return
        for start in range(0, len(calls), PART_CALLS):
            some = calls[start : start + PART_CALLS]
            self._copied += await self._writer.write(epoch, [RecordRun(shard, cursor, some[-1].id, some)])
            cursor = some[-1].id

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
        await self._writer.write(epoch, [RecordRun(shard, cursor, mark.id, [*closed.calls, mark])])

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

    async def _publish(self, epoch: int, replid: str) -> None:
        async with self._pool.acquire() as pg, pg.transaction():
            done = await pg.execute("UPDATE shards SET replid = $2, opened_epoch = $1 WHERE epoch = $1", epoch, replid)
            if done != f"UPDATE {keys.SHARDS}":
                raise CursorMoved
        await mirror(self._redis, replid, epoch)


def is_open(cursors: Cursors, server: ServerIdentity) -> bool:
    """Whether this server's history is the one published, there and here, with the newest epoch."""
    return (
        server.master
        and cursors.opened_epoch == cursors.epoch > 0
        and cursors.replid == server.replid
        and server.published_epoch == cursors.epoch
    )


async def mirror(redis: Client, replid: str, epoch: int) -> bool:
    """Tell the workers, through the key they check their passes against. Only a newer epoch replaces an older one."""
    async with redis.pipeline(transaction=True) as pipe:
        while True:
            try:
                await pipe.watch(keys.PUBLISHED)
                there = (await pipe.get(keys.PUBLISHED) or b"").partition(b" ")[2]
                if there.isdigit() and int(there) >= epoch:
                    return False
                pipe.multi()
                pipe.set(keys.PUBLISHED, f"{replid} {epoch}")
                pipe.mset({keys.published(shard): f"{replid} {epoch}" for shard in range(keys.SHARDS)})
                await pipe.execute()
                return True
            except WatchError:
                continue


async def forget(redis: Client, account: str, head: RecordId) -> bool:
    """Remove an account from Redis if its shard's last record is still `head`."""
    of = keys.AccountKeys(account)
    names = (of.account, of.ledger)
    reply = await libraries.call(redis, "forget", names, "" if head == START else str(head))
    return reply[0] == b"ok"


async def open_without_postgres(redis: Client, now_s: int) -> int:
    """Rule 11, only where the operator chose availability over proof: what this Redis lacks of PostgreSQL's record is
    found, listed and taken back by the opening that follows when PostgreSQL is there again."""
    reader = StreamReader(redis)
    server, heads = await reader.heads(range(keys.SHARDS))
    if not server.master:
        raise NotOpen("the server is a replica")
    epoch = 1 + max(max(heads.values()).epoch, server.latest_epoch, now_s)
    await mirror(redis, server.replid, epoch)
    return epoch


async def accounts_of(redis: Client, shard: int) -> AsyncIterator[str]:
    """Ids of the accounts Redis has in a shard."""
    prefix = f"{keys.TAGS[shard]}:acct:".encode()
    async for key in redis.scan_iter(match=prefix + b"*", count=1_000):
        yield key[len(prefix) :].decode()


async def misfit(pool: Pool) -> str:
    """Why this version may not work with that PostgreSQL at all, "" when it may. The number of shards is fixed when a
    store is created: another one would look for accounts in wrong places."""
    shards, store_format = await pool.fetchrow("SELECT shards, format FROM store")
    if shards != keys.SHARDS:
        return f"this store has {shards} shards, this version works with {keys.SHARDS}"
    if store_format != FORMAT:
        return f"this store has format {store_format}, this version reads format {FORMAT}"
    return ""
