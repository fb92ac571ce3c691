"""Puts records into PostgreSQL, each exactly once.

One transaction per batch: move the cursors, if they still are where this batch begins and no newer epoch has been
drawn; then plain COPY. Cursors first, because the row locks make a second writer wait and then see that it is late,
before it has sent its rows. Never ON CONFLICT DO NOTHING: after a rollback it would drop real charges. A row that is
there already means that one of the rules was broken, so that shard stops and a person looks at it; others go on.

A record that cannot be copied, because it cannot be read or contradicts what PostgreSQL has of its account, stops that
account and no other: it goes raw into `quarantined`, in the transaction that moves the cursor, and so do the account's
later ones, until a person decides (quarantine.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from balances.ledger import events, suspense
from balances.ledger.bucket_ends import KNOWN_MAX, BucketEnds
from balances.ledger.event_data import InvariantViolated, ShardStopped
from balances.ledger.heads import load_chains
from balances.ledger.put import put
from balances.ledger.record import (
    SEQ,
    Chain,
    RecordedCall,
    RecordId,
    Row,
    Rows,
    add_rows,
    fit,
    no_rows,
    without_usages,
)
from tariffs.units import EXACT_MAX

NOW_MS: Final = "(extract(epoch FROM now()) * 1000)::bigint"
RECOVERED: Final = "recovered"
"""Kind of the calls that close a gap no stream fills (opening.py); their entries may skip numbers."""

LADDERS_MAX: Final = 100_000

Pool = Any
"""asyncpg has no types: a Pool here, and the connection it lends."""


AWAY: Final[tuple[type[Exception], ...]] = (
    OSError,  # a connection that ended, a timeout
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver says of a connection that ended in the middle of a statement
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # it has become a standby
    asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password, which a person may mend while we wait
    asyncpg.InvalidCatalogNameError,  # no such database, yet
)
"""PostgreSQL cannot be asked now; later it can."""


class ShardOpened(NamedTuple):
    """The openings of one shard."""

    epoch: int
    """Newest epoch drawn."""
    opened_epoch: int
    """Newest epoch published."""
    replid: str
    """The history it was published for."""

    @property
    def published(self) -> bool:
        """Whether the newest opening has ended."""
        return self.opened_epoch == self.epoch > 0


class Cursors(NamedTuple):
    """What PostgreSQL says about every shard, read in one statement."""

    opened: dict[int, ShardOpened]
    at: dict[int, RecordId]
    """The cursor of each shard."""
    stopped: dict[int, str]
    """Shards that are not copied until a person has looked, and why."""

    @property
    def epoch(self) -> int:
        """Newest epoch drawn for any shard."""
        return max(one.epoch for one in self.opened.values())

    @property
    def epochs(self) -> dict[int, int]:
        """Newest epoch drawn for each shard."""
        return {shard: one.epoch for shard, one in self.opened.items()}

    @property
    def copied(self) -> dict[int, RecordId]:
        """The cursors of the shards that are copied."""
        return {shard: at for shard, at in self.at.items() if shard not in self.stopped}


class RecordRun(NamedTuple):
    """Records of one shard that follow each other, beginning after `old`."""

    shard: int
    old: RecordId
    new: RecordId
    calls: Sequence[RecordedCall]


class CursorMoved(Exception):
    """Another writer was first, or a newer epoch was drawn: read again from PostgreSQL's cursors."""


class Duplicate(Exception):
    """A record that is in PostgreSQL already stands after the cursor."""


REFUSALS: Final = (
    Duplicate,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,  # the client's own: a number no column of that type has
    ValueError,
    TypeError,
)
"""Repeating it would not help."""

_SAME_RECORD: Final = re.compile(r"(calls|usage_records|quarantined|intents)(_other|_\d{4}_\d{2})?_pkey")
"""Constraints that only the same (shard, epoch, n) can violate, of whichever month's partition."""

QUARANTINED_COLUMNS: Final = ("shard", "epoch", "n", "position", "account", "why", "entry")

pack_raw: Final = msgspec.msgpack.Encoder().encode


async def read_cursors(pg: Any) -> Cursors:
    rows = await pg.fetch(
        "SELECT shard, epoch, opened_epoch, replid, cursor_epoch, cursor_n, stopped FROM shards ORDER BY shard"
    )
    opened, at, stopped = {}, {}, {}
    for shard, epoch, its_opened, replid, cursor_epoch, cursor_n, why in rows:  # by name it takes four times as long
        opened[shard] = ShardOpened(epoch, its_opened, replid)
        at[shard] = RecordId(cursor_epoch, cursor_n)
        if why:
            stopped[shard] = why
    return Cursors(opened, at, stopped)


class Writer:
    """Any number of writers may run on the same store at once."""

    def __init__(self, pool: Pool, *, alarm: Callable[[str], None], accounts_max: int = 100_000) -> None:
        self._pool = pool
        self._alarm = alarm
        self._accounts_max = accounts_max
        # Per shard: the cursor this writer left behind, and the chains of accounts as of then. Another cursor means
        # another writer was here, and the chains are worth nothing.
        self._known: dict[int, tuple[RecordId, dict[str, Chain]]] = {}
        self._ladders: set[bytes] = set()
        """Hashes of ladders that are in PostgreSQL."""
        self._ends: BucketEnds = {}
        """Ends of buckets that are in PostgreSQL."""

    async def write(self, epochs: Mapping[int, int], parts: Sequence[RecordRun]) -> int:
        """Commit the records; returns how many. Shards that cannot be copied are stopped, the rest is committed.
        epochs: of each shard the one under which its records were read; CursorMoved where it is not the newest"""
        async with self._pool.acquire() as pg:
            try:
                return await self._commit(pg, epochs, parts)
            except REFUSALS:
                return sum([await self._write_one(pg, epochs, part) for part in parts])  # find the one it was

    async def _write_one(self, pg: Any, epochs: Mapping[int, int], part: RecordRun) -> int:
        try:
            return await self._commit(pg, epochs, [part])
        except REFUSALS as why:
            first = why
        if not is_duplicate(first):
            held = await held_accounts(pg, {call.record.account for call in part.calls})
            await mark_refused(pg, part.shard, [call for call in part.calls if call.record.account not in held])
            try:
                return await self._commit(pg, epochs, [part])
            except REFUSALS as why:
                first = why
        await self._stop(pg, part.shard, described(first))
        return 0

    async def _commit(self, pg: Any, epochs: Mapping[int, int], parts: Sequence[RecordRun]) -> int:
        try:
            async with pg.transaction():
                positions, now_ms = await self._move(pg, epochs, parts)
                # From here on these shards stand still in PostgreSQL: what is looked up belongs to `part.old`.
                held = await held_accounts(pg, {call.record.account for part in parts for call in part.calls})
                await self._load(pg, parts, held)
                rows = no_rows()
                raw: list[Row] = []
                again = await suspense.repeats(pg, (call for part in parts for call in part.calls))
                for part in parts:
                    chains = self._known[part.shard][1]
                    for position, call in enumerate(part.calls, positions[part.shard]):
                        account, why = call.record.account, ""
                        if account not in held:
                            why = refusal(
                                rows, position, part.shard, without_usages(call) if id(call) in again else call, chains
                            )
                            if not why:
                                continue
                            held.add(account)
                            chains.pop(account, None)
                            if not account:  # a mark of an opening
                                raise Duplicate(f"{call.id}: {why}")
                        raw.append((part.shard, *call.id, position, fit(account), why, pack_raw(call.raw())))
                ends = await put(pg, rows, now_ms, self._ladders, self._ends)
                if raw:
                    await _none_twice(pg, raw)
                    await pg.copy_records_to_table("quarantined", records=raw, columns=QUARANTINED_COLUMNS)
                    await _tell_quarantined(pg, raw)
        except BaseException:
            for part in parts:
                self._known.pop(part.shard, None)
            self._ladders.clear()  # PostgreSQL may be an older one, without the ladders it was given
            self._ends.clear()
            raise
        for shard, first_epoch, n, _, account, why, _ in raw:
            if why:
                self._alarm(f"ledger: account {account} is quarantined: shard {shard}, {first_epoch}-{n}: {why}")
        if len(self._ladders) > LADDERS_MAX:
            self._ladders.clear()
        self._ladders.update(rows.ladders)
        if len(self._ends) > KNOWN_MAX:
            self._ends.clear()
        self._ends.update(ends)
        for part in parts:
            chains = self._known[part.shard][1]
            self._known[part.shard] = (part.new, chains if len(chains) <= self._accounts_max // 256 else {})
        return len(rows.calls) + len(raw)

    async def _move(self, pg: Any, epochs: Mapping[int, int], parts: Sequence[RecordRun]) -> tuple[dict[int, int], int]:
        """Move the cursors; returns the position each part's first call takes, and the instant. Duplicate: a call after
        the old cursor is there already. No key of one month's partition says so of all months."""
        shards, olds, news = [p.shard for p in parts], [p.old for p in parts], [p.new for p in parts]
        moved = await pg.fetch(
            "WITH mine AS (SELECT shard FROM shards WHERE shard = ANY($1::smallint[]) ORDER BY shard FOR UPDATE)"
            " UPDATE shards SET cursor_epoch = b.new_epoch, cursor_n = b.new_n,"
            " position = position + b.calls"
            " FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
            " $6::bigint[], $7::bigint[])"
            " AS b(shard, old_epoch, old_n, new_epoch, new_n, calls, epoch), mine"
            " WHERE shards.shard = b.shard AND mine.shard = b.shard AND shards.cursor_epoch = b.old_epoch"
            " AND shards.cursor_n = b.old_n AND shards.epoch = b.epoch AND shards.stopped = ''"
            " RETURNING shards.shard, position - b.calls, (SELECT c.epoch || '-' || c.n FROM calls c"
            " WHERE c.shard = shards.shard AND (c.epoch, c.n) > (b.old_epoch, b.old_n)"
            f" AND (c.epoch, c.n) <= (b.new_epoch, b.new_n) LIMIT 1), {NOW_MS}",
            shards,
            [old.epoch for old in olds],
            [old.n for old in olds],
            [new.epoch for new in news],
            [new.n for new in news],
            [len(part.calls) for part in parts],
            [epochs[shard] for shard in shards],
        )
        if len(moved) != len(parts):
            raise CursorMoved
        for shard, _, there, _ in moved:
            if there is not None:
                raise Duplicate(f"shard {shard}: {there} is in PostgreSQL already")
        return {shard: position for shard, position, _, _ in moved}, moved[0][3]

    async def _load(self, pg: Any, parts: Sequence[RecordRun], held: set[str]) -> None:
        missing: dict[str, dict[str, Chain]] = {}
        for part in parts:
            known = self._known.get(part.shard)
            if known is None or known[0] != part.old:
                known = self._known[part.shard] = (part.old, {})
            chains = known[1]
            for call in part.calls:
                account = call.record.account
                if call.record.entries and account not in chains and account not in held:
                    missing[account] = chains
                    chains[account] = {SEQ: 0}
        if not missing:
            return
        loaded = await load_chains(pg, missing)
        for account, chain in loaded.items():
            missing[account][account] = chain

    async def stop(self, shard: int, why: str) -> None:
        """Copy nothing of this shard any more until a person has looked."""
        async with self._pool.acquire() as pg:
            await self._stop(pg, shard, why)

    async def _stop(self, pg: Any, shard: int, why: str) -> None:
        async with pg.transaction():
            epoch, n, now_ms = await pg.fetchrow(
                "UPDATE shards SET stopped = $2 WHERE shard = $1"
                " RETURNING cursor_epoch, cursor_n, (extract(epoch FROM now()) * 1000)::bigint",
                shard,
                why,
            )
            told, key = ShardStopped(shard, why), f"{shard}/{epoch}-{n}"
            await events.put_out(pg, "shard.stopped", told, at_ms=now_ms, key=key, subject=str(shard))
        self._alarm(f"ledger: shard {shard} is not copied any more: {why}")


async def _tell_quarantined(pg: Any, raw: Sequence[Row]) -> None:
    now_ms = await pg.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    for shard, epoch, n, _, account, why, _ in raw:
        if why:
            told = InvariantViolated(
                "a record cannot be copied", f"account {account}, shard {shard}, {epoch}-{n}: {why}"
            )
            key = f"quarantined/{shard}-{epoch}-{n}"
            await events.put_out(
                pg, "invariant.violated", told, at_ms=now_ms, key=key, subject=account, account=account
            )


# --- one record


def refusal(rows: Rows, position: int, shard: int, call: RecordedCall, chains: dict[str, Chain]) -> str:
    """Add a record's rows and continue its account's chain; or why that cannot be, "" when it can."""
    if call.broken:
        return call.broken
    before = rows.lengths()
    why = _past_exact(call) or _refusal(rows, position, shard, call) or _extend(rows, chains, call)
    if why:
        rows.cut(before)
    return why


def _refusal(rows: Rows, position: int, shard: int, call: RecordedCall) -> str:
    try:
        add_rows(rows, shard, position, call)
    except Exception as why:  # whatever it is, it is of this record, and must not keep the others
        return f"no rows can be made of it: {why!r}"
    return ""


def _past_exact(call: RecordedCall) -> str:
    """charging.md section 2: no amount passes 2^53."""
    for entry in call.record.entries:
        if not (-EXACT_MAX <= entry.amount <= EXACT_MAX and -EXACT_MAX <= entry.after <= EXACT_MAX):
            return f"entry {entry.seq}: {entry.amount}, balance {entry.after}: beyond 2^53"
    for usage in call.record.usages:
        largest = max(usage.used, usage.suspense, usage.total, usage.granted)
        if largest > EXACT_MAX or not -EXACT_MAX <= usage.cost <= EXACT_MAX:
            return f"use of rating group {usage.rating_group} beyond 2^53"
    return ""


def _extend(rows: Rows, chains: dict[str, Chain], call: RecordedCall) -> str:
    """Account seq + 1, after = previous + amount; or what does not continue, and nothing is changed."""
    if not call.record.entries:
        return ""
    chain = chains[call.record.account]
    now = chain if len(call.record.entries) == 1 else chain.copy()
    recovered = call.record.kind == RECOVERED
    for entry in call.record.entries:
        if entry.seq != now[SEQ] + 1 and not (recovered and entry.seq > now[SEQ]):
            return f"entry {now[SEQ]} of the account is followed by {entry.seq}"
        before = now.get(entry.bucket, 0)
        if entry.after != before + entry.amount:
            return f"entry {entry.seq}, bucket {entry.bucket}: {before} + {entry.amount} is not {entry.after}"
        now[SEQ] = entry.seq
        now[entry.bucket] = entry.after
    chain.update(now)
    rows.chains[fit(call.record.account)] = chain
    return ""


async def mark_refused(pg: Any, shard: int, calls: Sequence[RecordedCall]) -> None:
    """Try records one by one, keep nothing of it, and mark those that PostgreSQL itself refuses."""
    for call in calls:
        rows = no_rows()
        if call.broken or _refusal(rows, 0, shard, call):
            continue
        trial = pg.transaction()
        await trial.start()
        try:
            await put(pg, rows, await pg.fetchval(f"SELECT {NOW_MS}"))
        except REFUSALS as why:
            call.broken = described(why)
        finally:
            await trial.rollback()


async def held_accounts(pg: Any, accounts: Collection[str]) -> set[str]:
    """Which of these are in quarantine."""
    by_fit = {fit(account): account for account in accounts}
    rows = await pg.fetch(
        "SELECT DISTINCT account FROM quarantined WHERE settled_at IS NULL AND account = ANY($1)", list(by_fit)
    )
    return {by_fit[row["account"]] for row in rows}


async def _none_twice(pg: Any, raw: Sequence[Row]) -> None:
    """What is quarantined is in no other table yet: COPY sees to the rest."""
    twice = await pg.fetchrow(
        "SELECT shard, epoch, n FROM calls JOIN unnest($1::smallint[], $2::bigint[], $3::bigint[])"
        " AS raw(shard, epoch, n) USING (shard, epoch, n) LIMIT 1",
        [row[0] for row in raw],
        [row[1] for row in raw],
        [row[2] for row in raw],
    )
    if twice is not None:
        raise Duplicate(f"shard {twice['shard']}: {twice['epoch']}-{twice['n']} is in PostgreSQL already")


def is_duplicate(why: Exception) -> bool:
    """Whether a rule of the copy itself was broken, and not a record."""
    return isinstance(why, Duplicate) or bool(_SAME_RECORD.fullmatch(getattr(why, "constraint_name", None) or ""))


def described(why: Exception) -> str:
    detail = getattr(why, "detail", None) or ""
    return f"{type(why).__name__}: {why} {detail}".strip()
