"""Import: many accounts and subscribers, with what they begin with, a batch of lines at a time (charging.md 14).

A batch is one transaction in PostgreSQL, by COPY; then its accounts are opened in the live store, each by one call
whose record carries the opening balance; then its profiles are projected, all at once. An account is opened only where
the live store lacks it and PostgreSQL has no record of it, and from the row alone: so whichever process opens it, and
however often an import is cut short and run again, it is opened once, with its balance once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from balances import keys
from balances.ledger.formats import PRICED, stored_format
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import ended
from ocs.backoffice.errors import Unavailable
from ocs.master import bulk_rows
from ocs.master.accounts import AccountRow
from ocs.master.bring_in import check_epoch, first
from ocs.master.brought_vouchers import Brought, BroughtBatch, BroughtCount, bring, keys_or_objection
from ocs.master.bulk_rows import JudgedLine, KnownRows, NewRows, Objection, WantedLine
from ocs.master.changes import alone, raised
from ocs.master.passwords import StoredPasswords
from ocs.master.sealing import CannotOpen
from ocs.tags import undeclared
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from asyncpg import Connection
    from redis.asyncio import Redis

    from balances.redis.store import Store
    from ocs.master.projection import Projector
    from ocs.master.voucher_keys import VoucherKeys
    from ocs.stores.bounded_postgres import BoundedPostgres

T = TypeVar("T")
OPENED_AT_ONCE: Final = 128
"""Calls in one write: a charge that comes meanwhile waits for no more of them."""

RECORDED: Final = """
    SELECT asked.account FROM unnest($1::text[]) AS asked (account)
    WHERE EXISTS (SELECT FROM account_heads h WHERE h.account = asked.account)
        OR EXISTS (SELECT FROM quarantined q WHERE q.account = asked.account AND q.settled_at IS NULL)
"""


class FileLine(NamedTuple):
    """One line of a file; what it wants, or why it cannot be read."""

    number: int
    wanted: WantedLine | Brought | Objection


class ImportTotals(msgspec.Struct):
    """Counts of the lines done so far."""

    lines: int = 0
    errors: int = 0
    accounts_created: int = 0
    accounts_unchanged: int = 0
    subscribers_created: int = 0
    subscribers_unchanged: int = 0
    vouchers_created: int = 0
    vouchers_unchanged: int = 0
    given: dict[str, int] = {}
    """Money of new accounts, micro-units by currency."""


class BatchDone(NamedTuple):
    """One batch that is imported."""

    totals: ImportTotals
    """Of the whole import up to here."""
    errors: Sequence[tuple[int, Objection]]
    """(line, what it is about), in their order."""
    last: int
    """Number of its last line."""


class _TakenBatch(NamedTuple):
    """A batch that is committed in PostgreSQL."""

    errors: list[tuple[int, Objection]]
    judged: list[JudgedLine]
    new: list[AccountRow]
    known: list[AccountRow]
    """Those that were there: opened before, unless an import was cut short."""
    last: int
    vouchers: BroughtCount = BroughtCount()


class Import:
    def __init__(
        self,
        pool: BoundedPostgres,
        redis: Redis,
        store: Store,
        projector: Projector,
        now_ms: Callable[[], int],
        *,
        restore: Callable[[str], Awaitable[None]],
        scopes: Callable[[], Awaitable[Collection[str]]],
        refused: Callable[[Mapping[str, str]], tuple[str, str] | None],
        passwords: StoredPasswords,
        tags: Collection[str],
        voucher_keys: Callable[[], VoucherKeys] | None,
        actor: str,
    ) -> None:
        """restore: brings an account in of which PostgreSQL has records
        scopes:  what a bucket may be said to pay, as of now
        refused: which attribute of a subscriber cannot be, and why
        tags:    keys of charging tags that are declared
        voucher_keys: those of vouchers, or raises why there are none; None: the caller may bring no vouchers in
        actor:   who imports"""
        self._pool: Any = pool
        self._redis: Any = redis
        self._store = store
        self._projector = projector
        self._now_ms = now_ms
        self._restore = restore
        self._scopes = scopes
        self._refused = refused
        self._passwords = passwords
        self._tags, self._voucher_keys, self._actor = tags, voucher_keys, actor
        self._may_be_priced = False
        """The store is written in a format in which buckets have a price."""
        self._context = copy_context()
        """Of who asked for it: its rows on the audit trail name the caller."""

    async def run(self, batches: AsyncIterator[Sequence[FileLine]]) -> AsyncGenerator[BatchDone, None]:
        """Yields each batch when it is done. While its accounts are opened, the next one goes into PostgreSQL. Raises
        Unavailable, Away and what a store raises; and what `batches` raises, when the ones before are done."""
        totals = ImportTotals(given={})
        self._may_be_priced = (await stored_format(self._pool)).written >= PRICED
        taking = self._each_taken(batches, await self._scopes())
        coming: asyncio.Task[_TakenBatch | None] = self._task(_next(taking))
        opening: asyncio.Task[_TakenBatch] | None = None
        try:
            while True:
                if busy := [task for task in (coming, opening) if task is not None and not task.done()]:
                    await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
                if opening is not None and opening.done():
                    done, opening = opening.result(), None
                    yield _done(totals, done)
                elif opening is None and coming.done():
                    taken = coming.result()
                    if taken is None:
                        return
                    opening = self._task(self._open(taken))
                    coming = self._task(_next(taking))
        finally:
            if opening is not None:  # its rows are committed: it is not left half done
                await asyncio.wait([opening])
            await ended([task for task in (coming, opening) if task is not None])

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return asyncio.create_task(work, context=self._context)

    async def _each_taken(
        self, batches: AsyncIterator[Sequence[FileLine]], scopes: Collection[str]
    ) -> AsyncIterator[_TakenBatch]:
        async for lines in batches:
            yield await self._take(lines, scopes, await self._stored(lines))

    async def check(self, batches: AsyncIterator[Sequence[FileLine]]) -> AsyncGenerator[BatchDone, None]:
        """What `run` would answer, with nothing changed: new rows are written to temporary tables of this
        connection."""
        totals, scopes = ImportTotals(given={}), await self._scopes()
        self._may_be_priced = (await stored_format(self._pool)).written >= PRICED
        async with self._shadow() as shadow, self._undone() as undone:
            async for lines in batches:
                async with self._pool.acquire() as db:
                    below = await bulk_rows.read(db, _wanted(lines))
                there = (await bulk_rows.read(shadow, _wanted(lines), SHADOW)).over(below)
                new, taken = await self._judged(lines, there, scopes, await self._stored(lines))
                await bulk_rows.write(shadow, new, 0, self._now_ms(), SHADOW)
                yield _done(totals, await self._with_vouchers(undone, lines, taken, scopes))

    @contextlib.asynccontextmanager
    async def _shadow(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire() as db, db.transaction():
            for table in bulk_rows.SHADOWED:
                await db.execute(f"CREATE TEMP TABLE {table} (LIKE {table} INCLUDING ALL) ON COMMIT DROP")
            yield db

    @contextlib.asynccontextmanager
    async def _undone(self) -> AsyncIterator[Connection]:
        """What is done here is taken back."""
        async with self._pool.acquire() as db:
            whole = db.transaction()
            await whole.start()
            try:
                yield db
            finally:
                await whole.rollback()

    # ---- PostgreSQL

    async def _stored(self, lines: Sequence[FileLine]) -> dict[int, str]:
        """The passwords of lines as they are kept, by number. Hashes take their time, so they are made before anything
        is locked, and beside the loop."""
        said = [
            (line.number, wanted.subscriber.id, wanted.password)
            for line in lines
            if isinstance(wanted := line.wanted, WantedLine)
            if wanted.subscriber is not None and wanted.password
        ]
        if not said:
            return {}
        stored = self._passwords.stored
        return await asyncio.to_thread(lambda: {number: stored(text, subscriber) for number, subscriber, text in said})

    async def _take(self, lines: Sequence[FileLine], scopes: Collection[str], stored: Mapping[int, str]) -> _TakenBatch:
        async with alone(self._pool) as db:
            new, taken = await self._judged(lines, await bulk_rows.read(db, _wanted(lines)), scopes, stored)
            taken = await self._with_vouchers(db, lines, taken, scopes)
            if not new:
                return taken
            await bulk_rows.write(db, new, await raised(db), self._now_ms())
            created_ms = await db.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        return taken._replace(new=[msgspec.structs.replace(row, created_ms=created_ms) for row in new.accounts])

    async def _with_vouchers(
        self, db: Connection, lines: Sequence[FileLine], taken: _TakenBatch, scopes: Collection[str]
    ) -> _TakenBatch:
        """With what the lines of vouchers come to, one after the other."""
        made = known = 0
        errors, judged = [*taken.errors], [*taken.judged]
        for line in lines:
            if isinstance(line.wanted, WantedLine | Objection):
                continue
            try:
                count = await self._brought(db, line.wanted, scopes)
            except Objection as why:
                errors.append((line.number, why))
                continue
            made, known = made + count.made, known + count.known
            judged.append(JudgedLine(None, None))
        errors.sort(key=lambda one: one[0])
        return taken._replace(errors=errors, judged=judged, vouchers=BroughtCount(made, known))

    async def _brought(self, db: Connection, what: Brought, scopes: Collection[str]) -> BroughtCount:
        if self._voucher_keys is None:
            raise Objection("forbidden", "", "the caller lacks the permission vouchers.write")
        if isinstance(what, BroughtBatch) and (unknown := [one for one in what.batch.scope if one not in scopes]):
            detail = f"expected some of {', '.join(sorted(scopes))}, found {unknown[0]!r}"
            raise Objection("invalid", "voucher_batch.scope", detail)
        return await bring(db, what, keys_or_objection(self._voucher_keys), self._actor, self._now_ms())

    async def _judged(
        self, lines: Sequence[FileLine], there: KnownRows, scopes: Collection[str], stored: Mapping[int, str]
    ) -> tuple[NewRows, _TakenBatch]:
        """Beside the loop where passwords are compared with hashes."""
        if stored and not self._passwords.seals:
            return await asyncio.to_thread(self._judge, lines, there, scopes, stored)
        return self._judge(lines, there, scopes, stored)

    def _judge(
        self, lines: Sequence[FileLine], there: KnownRows, scopes: Collection[str], stored: Mapping[int, str]
    ) -> tuple[NewRows, _TakenBatch]:
        new, taken = NewRows([], [], set(), []), _TakenBatch([], [], [], [], lines[-1].number)
        now_ms = self._now_ms()
        for line in lines:
            try:
                if isinstance(line.wanted, Objection):
                    raise line.wanted
                if not isinstance(line.wanted, WantedLine):  # vouchers come after
                    continue
                self._look_at_prices(line.wanted)
                self._look_at_subscriber(line.wanted)
                kept = self._kept(line.wanted) or stored.get(line.number)
                judged = bulk_rows.judge(there, new, line.wanted, now_ms, scopes, self._passwords, kept)
            except Objection as why:
                taken.errors.append((line.number, why))
                continue
            taken.judged.append(judged)
            if judged.account is False and line.wanted.account is not None:
                taken.known.append(there.accounts[line.wanted.account.id])
        return new, taken._replace(new=new.accounts)

    def _look_at_prices(self, wanted: WantedLine) -> None:
        """Raises an Objection."""
        if not self._may_be_priced and wanted.account is not None and any(one.price for one in wanted.account.buckets):
            detail = f"buckets with a price need stored format {PRICED}: `ocs upgrade` says what holds it back"
            raise Objection("conflict", "account.buckets", detail)

    def _look_at_subscriber(self, wanted: WantedLine) -> None:
        """Raises an Objection."""
        if wanted.subscriber is None:
            return
        if (refused := self._refused(wanted.subscriber.attributes)) is not None:
            raise Objection("invalid", f"subscriber.attributes.{refused[0]}", refused[1])
        if why := undeclared(wanted.subscriber.tags, self._tags):
            raise Objection("invalid", "subscriber.tags", why)

    def _kept(self, wanted: WantedLine) -> str | None:
        """The password of a line that a server kept, if this one can use it; raises an Objection."""
        if wanted.subscriber is None or wanted.stored_password is None:
            return None
        try:
            self._passwords.clear(wanted.stored_password, wanted.subscriber.id)
        except CannotOpen as why:
            raise Objection("invalid", "subscriber.stored_password", str(why)) from None
        return wanted.stored_password

    # ---- the live store

    async def _open(self, taken: _TakenBatch) -> _TakenBatch:
        """Every account of the batch is in the live store, and its subscribers are known there."""
        try:
            epochs = self._store.link.epochs
            made = {row.id for row in taken.new}
            known = {row.id: row for row in taken.known if row.id not in made}
            absent = [*taken.new, *[known[account] for account in await self._absent(known)]]
            recorded = await self._recorded(absent)
            await self._open_new([row for row in absent if row.id not in recorded], epochs)
            for account in recorded:
                await self._restore(account)
        except NotSent as why:
            raise Unavailable(f"the live store is shut: {why}") from None
        except Lost as why:
            raise Unavailable(f"the live store did not answer: {why}") from None
        if any(judged.account or judged.subscriber for judged in taken.judged):
            await self._project()
        return taken

    async def _absent(self, accounts: Iterable[str]) -> list[str]:
        pipe = self._redis.pipeline(transaction=False)
        asked = list(accounts)
        for account in asked:
            pipe.exists(keys.account(account))
        return [account for account, there in zip(asked, await pipe.execute(), strict=True) if not there]

    async def _recorded(self, rows: Sequence[AccountRow]) -> set[str]:
        """The accounts of which PostgreSQL has records: they are restored from these, not opened as they were
        created."""
        return {row["account"] for row in await self._pool.fetch(RECORDED, [row.id for row in rows])}

    async def _open_new(self, rows: Sequence[AccountRow], epochs: Mapping[str, bytes]) -> None:
        """epochs: those of the store as PostgreSQL was asked for records of them"""
        projected = int(await self._redis.get(keys.PROJECTED) or 0)
        for some in _some(rows):
            now_ms = self._now_ms()
            for row in some:
                check_epoch(self._store, row.id, epochs.get(keys.NUMBERS[keys.shard_of(row.id)]))
            for pending in [self._store.open(row.id, first(row, projected, now_ms)) for row in some]:
                status = (await pending.wait()).status
                if status not in ("ok", "exists"):
                    raise Unavailable(f"the live store takes no account now: {status}")

    async def _project(self) -> None:
        """Project the profiles of the batch. If that fails, the keeper does it within a second."""
        try:
            await self._projector.project()
        except Exception as why:
            logger().warning("projection.later", why=repr(why))


SHADOW: Final = "pg_temp."


def _wanted(lines: Sequence[FileLine]) -> list[WantedLine]:
    return [line.wanted for line in lines if isinstance(line.wanted, WantedLine)]


async def _next(taking: AsyncIterator[_TakenBatch]) -> _TakenBatch | None:
    return await anext(taking, None)


def _some(rows: Sequence[AccountRow]) -> Iterable[Sequence[AccountRow]]:
    return (rows[at : at + OPENED_AT_ONCE] for at in range(0, len(rows), OPENED_AT_ONCE))


def _done(totals: ImportTotals, taken: _TakenBatch) -> BatchDone:
    totals.lines += len(taken.judged) + len(taken.errors)
    totals.errors += len(taken.errors)
    for judged in taken.judged:
        totals.accounts_created += judged.account is True
        totals.accounts_unchanged += judged.account is False
        totals.subscribers_created += judged.subscriber is True
        totals.subscribers_unchanged += judged.subscriber is False
    totals.vouchers_created += taken.vouchers.made
    totals.vouchers_unchanged += taken.vouchers.known
    for row in taken.new:
        money = row.balance + sum(bucket.amount for bucket in row.buckets if bucket.kind == 0)
        if money:
            totals.given[row.currency] = totals.given.get(row.currency, 0) + money
    return BatchDone(totals, taken.errors, taken.last)
