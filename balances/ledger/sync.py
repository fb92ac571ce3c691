"""One step of the copy from the streams to PostgreSQL (durability.md rules 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from balances import keys
from balances.ledger.reader import Client, StreamReader
from balances.ledger.record import START, RecordedCall, RecordId, Undecodable, decode, follows
from balances.ledger.writer import Cursors, Pool, RecordRun, Writer, read_cursors

ENTRIES_MAX: Final = 32
"""Entries of one shard in a step: 256 times this is the most that is in memory at once."""

TRIM_MARGIN: Final = 100
"""Records kept behind the cursor, so that there is always something to compare heads with."""


class NotOpen(Exception):
    """This server's history is not open, or not any more: an opening is due."""


class Gap(Exception):
    """The stream no longer has the record that comes after the cursor: an opening is due."""


class SyncStep(NamedTuple):
    """What one step did."""

    written: int
    full: bool
    """There is more: take the next step at once."""
    calls: dict[int, list[RecordedCall]]
    cursors: Cursors


class Sync:
    """Any number of these may run on one store; the cursors decide whose step counts."""

    def __init__(self, redis: Client, pool: Pool, *, alarm: Callable[[str], None]) -> None:
        self._redis = redis
        self._pool = pool
        self._reader = StreamReader(redis)
        self.writer = Writer(pool, alarm=alarm)

    async def step(self, seen: Callable[[dict[int, list[RecordedCall]]], Any] | None = None) -> SyncStep:
        """Copy what is there, a bounded amount. `seen` gets the records before they are committed, repeats included.

        CursorMoved: another was first, nothing was written; call again.
        """
        cursors = await read_cursors(self._pool)
        if cursors.opened_epoch != cursors.epoch:
            raise NotOpen(f"epoch {cursors.epoch} is drawn and not published")
        server, entries = await self._reader.after(cursors.copied, ENTRIES_MAX)
        if not server.master or server.replid != cursors.replid:
            raise NotOpen(f"PostgreSQL has history {cursors.replid} open, the server is in {server.replid}")
        calls: dict[int, list[RecordedCall]] = {}
        parts = []
        for shard, raw in entries.items():
            found, why = decoded(raw)
            if not found:
                await self.writer.stop(shard, why)
                continue
            check_gap(shard, cursors.at[shard], found, cursors.opened_epoch)
            calls[shard] = found
            parts.append(RecordRun(shard, cursors.at[shard], found[-1].id, found))
        if seen is not None:
            seen(calls)
        written = await self.writer.write(cursors.epoch, parts) if parts else 0
        return SyncStep(
            written,
            any(len(found) == ENTRIES_MAX for found in calls.values()),
            calls,
            cursors,
        )

    async def trim(self) -> int:
        """Cut the streams behind the committed cursors; returns how many entries went. Never more than is in
        PostgreSQL, always leaving the cursor's own record and some before it."""
        cursors = await read_cursors(self._pool)
        server = await self._reader.server()
        if not server.master or server.replid != cursors.replid or cursors.opened_epoch != cursors.epoch:
            return 0
        keep = {s: RecordId(c.epoch, max(c.n - TRIM_MARGIN, 0)) for s, c in cursors.copied.items() if c != START}
        # Known in PostgreSQL before it is done: the purge of old calls leaves whatever a stream may still have.
        await self._pool.execute(
            "UPDATE shards SET trimmed_epoch = b.epoch, trimmed_n = b.n"
            " FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS b(shard, epoch, n)"
            " WHERE shards.shard = b.shard AND (trimmed_epoch, trimmed_n) < (b.epoch, b.n)",
            list(keep),
            [at.epoch for at in keep.values()],
            [at.n for at in keep.values()],
        )
        pipe = self._redis.pipeline(transaction=False)
        for shard, at in keep.items():
            pipe.xtrim(keys.ledger(shard), minid=str(at), approximate=True)
        return sum(await pipe.execute())


def decoded(raw: list[Any]) -> tuple[list[RecordedCall], str]:
    """The calls up to the first entry that names no account, and what is wrong with that one: nobody can know whose
    later records do not follow, so the shard goes no further than here."""
    calls: list[RecordedCall] = []
    for entry in raw:
        try:
            calls.append(decode(entry))
        except Undecodable as why:
            return calls, str(why)
    return calls, ""


def calls_of(entries: dict[int, list[Any]]) -> dict[int, list[RecordedCall]]:
    """What can be decoded of a look at the streams."""
    found = {shard: decoded(raw)[0] for shard, raw in entries.items()}
    return {shard: calls for shard, calls in found.items() if calls}


def check_gap(shard: int, before: RecordId, calls: list[RecordedCall], opened_epoch: int) -> None:
    """XREAD passes over what was trimmed without a word."""
    for call in calls:
        if not follows(before, call.id, opened_epoch):
            raise Gap(f"shard {shard}: after {before} comes {call.id}")
        before = call.id
