"""One step of the copy from the streams to PostgreSQL (durability.md rules 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from balances import keys
from balances.ledger.reader import ELSEWHERE, Look, ServerIdentity, StreamReader, send
from balances.ledger.record import START, RecordedCall, RecordId, Undecodable, decode, follows
from balances.ledger.writer import CursorMoved, Cursors, Pool, RecordRun, Writer, read_cursors
from balances.redis.primaries import Primary

ENTRIES_MAX: Final = 32
"""Entries of one shard in a step: 256 times this is the most that is in memory at once."""

TRIM_MARGIN: Final = 100
"""Records kept behind the cursor, so that there is always something to compare heads with."""


class NotOpen(Exception):
    """This server's history is not open, or not any more: an opening is due."""


class Gap(Exception):
    """The stream no longer has the record that comes after the cursor: an opening of the shard is due."""

    def __init__(self, shard: int, text: str) -> None:
        super().__init__(f"shard {shard}: {text}")
        self.shard = shard


class SyncStep(NamedTuple):
    """What one step did."""

    written: int
    more: set[int]
    """Shards that may have more: take the next step at once."""
    calls: dict[int, list[RecordedCall]]
    shut: frozenset[int] = frozenset()
    """Shards that were to be copied and are not open on this server: an opening is due, here or elsewhere."""

    @property
    def full(self) -> bool:
        return bool(self.more)


class Sync:
    """The copy from one primary. Any number of these may run on one store; the cursors decide whose step counts. Shards
    of other primaries, and those that are shut, do not keep the others.

    The cursors are kept in memory from one step to the next: a step that moves them commits only if PostgreSQL has the
    same ones, and whatever contradicts them has them read again before it is believed. So steps may be taken side by
    side, each of other shards.
    """

    def __init__(
        self, primary: Primary, pool: Pool, *, alarm: Callable[[str], None], writer: Writer | None = None
    ) -> None:
        """writer: shared by the copies from several primaries, since a shard may move from one to another"""
        self.primary = primary
        self._pool = pool
        self._reader = StreamReader(primary)
        self.cursors: Cursors | None = None
        """As of the last step, None before the first one."""
        self._sure = False
        """Nothing has contradicted them."""
        self._trimmed: dict[int, RecordId] = {}
        """To where each stream was trimmed last."""
        self.writer = writer or Writer(pool, alarm=alarm)

    @property
    def known(self) -> dict[int, RecordId] | None:
        """The cursors, None where something has contradicted them."""
        return self.cursors.at if self._sure and self.cursors is not None else None

    def forget(self) -> None:
        """Read the cursors again with the next step."""
        self._sure = False

    async def step(
        self,
        seen: Callable[[dict[int, list[RecordedCall]]], Any] | None = None,
        shards: Collection[int] | None = None,
    ) -> SyncStep:
        """Copy what is there, a bounded amount, of these shards or of all. `seen` gets the records before they are
        committed, repeats included.

        CursorMoved: another was first, nothing was written; call again.
        """
        try:
            return await self._surest_step(seen, shards)
        except BaseException:
            self._sure = False
            raise

    async def _surest_step(
        self, seen: Callable[[dict[int, list[RecordedCall]]], Any] | None, shards: Collection[int] | None
    ) -> SyncStep:
        remembered = self.cursors if self._sure else None
        if remembered is not None and not remembered.stopped:  # stopped shards go on when a person says so
            try:
                return await self._step(remembered, seen, shards, sure=False)
            except (NotOpen, Gap, CursorMoved):
                pass
        return await self._step(await self._read_cursors(), seen, shards, sure=True)

    async def _read_cursors(self) -> Cursors:
        """Those of shards that a step beside this one is just moving are put right when it has."""
        self.cursors, self._sure = await read_cursors(self._pool), True
        return self.cursors

    async def _step(
        self,
        cursors: Cursors,
        seen: Callable[[dict[int, list[RecordedCall]]], Any] | None,
        shards: Collection[int] | None,
        *,
        sure: bool,
    ) -> SyncStep:
        mine = self.primary.shards if shards is None else self.primary.shards & set(shards)
        wanted = {shard: cursors.at[shard] for shard in mine if shard not in cursors.stopped}
        published = {shard: at for shard, at in wanted.items() if cursors.opened[shard].published}
        epochs = {shard: cursors.opened[shard].epoch for shard in published}
        look: Look = await self._reader.after(published, ENTRIES_MAX)
        open_ = open_shards(cursors, look.server)
        shut = frozenset(wanted.keys() - open_)
        if shut and not (sure and open_):
            raise NotOpen(self._why_not(cursors, look.server, shut))
        calls: dict[int, list[RecordedCall]] = {}
        parts = []
        stopped = False
        for shard, raw in look.entries.items():
            if shard in shut:
                continue
            found, why = decoded(raw)
            if not found:
                await self.writer.stop(shard, why)
                stopped = True
                continue
            check_gap(shard, cursors.at[shard], found, cursors.opened[shard].opened_epoch)
            calls[shard] = found
            parts.append(RecordRun(shard, cursors.at[shard], found[-1].id, found))
        if seen is not None:
            seen(calls)
        more = {part.shard for part in parts if len(part.calls) == ENTRIES_MAX}
        written = await self.writer.write(epochs, parts) if parts else 0
        if stopped or written < sum(len(part.calls) for part in parts):
            await self._read_cursors()
        elif self.cursors is not None:  # a step beside this one may have read them meanwhile
            self.cursors.at.update((part.shard, part.new) for part in parts)
        return SyncStep(written, more, calls, shut)

    def _why_not(self, cursors: Cursors, server: ServerIdentity, shut: Collection[int]) -> str:
        name, shard = self.primary.name, min(shut)
        opened = cursors.opened[shard]
        if not server.master:
            return f"{name} is not a master"
        if not opened.published:
            return f"shard {shard}: epoch {opened.epoch} is drawn and not published"
        if shard not in server.published:
            return f"shard {shard} is not at {name}"
        return f"shard {shard}: PostgreSQL has history {opened.replid} open, {name} is in {server.replid}"

    async def trim(self) -> int:
        """Cut the streams behind the committed cursors; returns how many entries went. Never more than is in
        PostgreSQL, always leaving the cursor's own record and some before it."""
        cursors = await read_cursors(self._pool)
        server = await self._reader.server()
        open_ = open_shards(cursors, server)
        keep = {
            shard: RecordId(at.epoch, max(at.n - TRIM_MARGIN, 0))
            for shard, at in cursors.at.items()
            if shard in open_ and shard not in cursors.stopped and at != START
        }
        keep = {shard: at for shard, at in keep.items() if self._trimmed.get(shard) != at}
        if not keep:
            return 0
        # Known in PostgreSQL before it is done: the purge of old calls leaves whatever a stream may still have.
        await self._pool.execute(
            "UPDATE shards SET trimmed_epoch = b.epoch, trimmed_n = b.n"
            " FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS b(shard, epoch, n)"
            " WHERE shards.shard = b.shard AND (trimmed_epoch, trimmed_n) < (b.epoch, b.n)",
            list(keep),
            [at.epoch for at in keep.values()],
            [at.n for at in keep.values()],
        )
        commands = [("XTRIM", keys.ledger(shard), "MINID", "~", str(at)) for shard, at in keep.items()]
        trimmed = await send(self.primary.client, commands, kept=ELSEWHERE)
        self._trimmed.update(keep)
        return sum(count for count in trimmed if not isinstance(count, Exception))


def open_shards(cursors: Cursors, server: ServerIdentity) -> set[int]:
    """Those of which this server's history is the one that PostgreSQL has open with the newest epoch."""
    if not server.master:
        return set()
    return {
        shard
        for shard in server.published
        if cursors.opened[shard].published and cursors.opened[shard].replid == server.replid
    }


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
            raise Gap(shard, f"after {before} comes {call.id}")
        before = call.id
