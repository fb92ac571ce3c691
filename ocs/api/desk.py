"""What the back office does to accounts: one method each, whatever it is asked through (HTTP now, TMF654 later).

PostgreSQL says which accounts there are; what one has is in Redis. An account Redis lacks is brought in from
PostgreSQL, by its last record or, when it never had one, as it was created; then the call is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec

from balances import keys
from balances.ledger.reader import STORE_AWAY
from balances.ledger.restore import Quarantined, find_once, find_session, rebuild
from balances.ledger.verify import VerifyReport, verify
from balances.packing import unpack_account, unpack_posted
from balances.redis.connection import Lost, NotSent
from balances.structs.account import Account, Bucket, SuspendReasons
from balances.structs.blob import blob_of
from balances.structs.charge import Charge, Flag, Reply, Result
from balances.structs.posting import AccountSettings, Post, PostingOutcome
from balances.structs.session import IdempotencyRecord, Session
from ocs.api.problems import Problem
from ocs.config import Adjustments
from ocs.master import accounts
from ocs.master.accounts import AccountRow
from ocs.master.bring_in import bring_in
from ocs.stores.bounded_postgres import Away, BoundedPostgres, within
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from asyncpg import Record
    from redis.asyncio import Redis

    from balances.redis.pending import Pending
    from balances.redis.store import Store
    from ocs.charging.handle import ChargingContext
    from ocs.charging.settings import ClientProfile
    from ocs.master.projection import Projector

REMEMBER_MS: Final = 86_400_000
"""How long Redis remembers an Idempotency-Key; PostgreSQL does so for 30 days."""

IN_FORCE_S: Final = 5.0
"""How long a publication waits for the workers, which look twice a second."""
LOOK_S: Final = 0.05

LEDGER: Final = """
    SELECT e.seq, e.at_ms, e.bucket, e.kind, e.amount, e.after, e.counter_account, e.why,
        e.actor, e.reason, e.reference, e.net, e.tax, e.currency_rate, e.original_seq,
        COALESCE(c.session, u.session) AS session, COALESCE(c.service, u.service) AS service,
        COALESCE(c.subscriber, u.subscriber) AS subscriber, COALESCE(c.incarnation, u.incarnation) AS incarnation
    FROM ledger_entries e LEFT JOIN calls c USING (shard, epoch, n)
        LEFT JOIN usage_records u ON u.account = e.account AND u.epoch = e.epoch AND u.n = e.n AND u.line = e.usage_line
    WHERE e.account = $1 AND e.seq > $2 AND e.seq < $3 AND ($4::bigint IS NULL OR e.at_ms >= $4)
        AND ($5::bigint IS NULL OR e.at_ms < $5) AND ($6::int IS NULL OR e.kind = $6)
        AND ($7::text IS NULL OR e.why = $7)
    ORDER BY e.seq {order} LIMIT $8
"""


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of an account are wanted; None: any."""

    after_seq: int
    before_seq: int
    from_ms: int | None
    until_ms: int | None
    kind: int | None
    why: str | None
    newest_first: bool
    limit: int


BY_HAND: Final = SuspendReasons.OPERATOR | SuspendReasons.BARRED | SuspendReasons.FRAUD


class PushResult(Protocol):
    """What became of a request to a network element."""

    @property
    def result(self) -> int | str: ...
    @property
    def host(self) -> str: ...


Push = Callable[[str, Session], Awaitable[PushResult]]
"""`rar` or `asr`, and the session it is about."""


class BackOffice:
    def __init__(
        self,
        pool: BoundedPostgres,
        redis: Redis,
        store: Store,
        projector: Projector,
        now_ms: Callable[[], int],
        *,
        push: Push,
        processes: Callable[[], Awaitable[dict[str, str]]],
        priced_by: Callable[[], Awaitable[int]] | None = None,
        shop: ChargingContext | None = None,
        newest: Callable[[], Awaitable[None]] | None = None,
        store_ms_max: int = 3_000,
        adjustments: Adjustments = Adjustments(),  # noqa: B008
    ) -> None:
        self.adjustments = adjustments
        self.pool: Any = pool
        """Of PostgreSQL; raises Away where that does not answer in time."""
        self.redis = redis
        self.store = store
        self.projector = projector
        self.now_ms = now_ms
        self.push = push
        self._shop, self._newest = shop, newest
        self._processes, self._priced_by = processes, priced_by
        self._wait_s_max = store_ms_max / 1_000
        self._whole = asyncio.Lock()

    async def shop(self) -> ChargingContext:
        """What prices are asked with, as a worker asks, by the tariffs that are published now."""
        if self._shop is None:
            raise Problem("store-unavailable", "prices are not served by this process")
        if self._newest is not None:
            await self._newest()
        return self._shop

    async def check_scope(self, scope: Sequence[str]) -> None:
        """A bucket pays a service, or what a published tariff asks for by a tag; another could pay nothing."""
        known = await self.scopes() if scope else ()
        for tag in scope:
            if tag not in known:
                raise Problem("invalid", f"scope: expected some of {', '.join(known)}, found {tag!r}")

    async def scopes(self) -> Sequence[str]:
        """What a bucket may be said to pay: services, and what published tariffs ask for by a tag."""
        shop = await self.shop()
        services = shop.settings.services.by_name
        return [*services, *sorted(shop.catalog.scopes - services.keys())]

    # ---- accounts

    async def row(self, account: str) -> AccountRow:
        """From PostgreSQL; while that does not answer, what Redis knows of it: then zone and age are not known."""
        try:
            row = await accounts.get(self.pool, account)
        except Away:
            found = await self._bounded(self.store.account(account).wait())
            if found is None:
                raise
            return AccountRow(account, found.currency, time_zone="")
        if row is None:
            raise Problem("not-found", f"there is no account {account}")
        return row

    async def read(self, row: AccountRow) -> tuple[Account, list[Session]]:
        for _ in range(2):
            found: tuple[Account, list[Session]] | None = await self._bounded(self.store.read(row.id))
            if found is not None:
                return found
            await self.bring_in(row.id)
        raise Problem("store-unavailable", "the account goes as soon as it comes: the store is being opened")

    async def create(self, wanted: AccountRow) -> tuple[AccountRow, bool]:
        row, made = await accounts.create(self.pool, wanted)
        if made:
            await self.bring_in(row.id)
        return row, made

    async def bring_in(self, account: str) -> None:
        """Into Redis, if it is not there (durability.md rule 8)."""
        status = await self._bounded(bring_in(self.pool, self.redis, self.store, account, self.now_ms()))
        if status == "quarantined":
            raise in_quarantine(account)
        if status not in ("ok", "exists"):
            raise Problem("store-unavailable", f"the account is not in the live store, which says: {status}")

    async def settings(self, row: AccountRow, wanted: AccountSettings) -> Account:
        reply = await self._present(row, lambda: self.store.settings(wanted))
        if reply.status == "refused":
            raise Problem("invalid", "resume_at: not below suspend_below, or the account would never be at rest")
        account = unpack_account(reply.outcome)
        if reply.status == "revision":
            raise Problem("version-conflict", f"its version is {account.rev} now: read it again", version=account.rev)
        return account

    # ---- postings

    async def post(
        self, row: AccountRow, wanted: Post, check: Callable[[], Awaitable[None]] | None = None
    ) -> PostingOutcome:
        """Once per key. `check` may refuse what is no longer possible, but never a repeat of what was done."""
        known = await self.recall(row.id, wanted.key)
        if known is not None:
            if known.fingerprint != wanted.fingerprint:
                raise key_reused()
            return unpack_posted(blob_of(known.outcome))
        if check is not None:
            await check()
        reply = await self._present(row, lambda: self.store.post(wanted))
        if reply.status == "conflict":
            raise key_reused()
        posted = unpack_posted(reply.outcome)
        if reply.status == "refused":
            raise _refusal(Result(posted.result), wanted)
        return posted

    async def charge(self, row: AccountRow, wanted: Charge) -> bytes:
        """A refund of an event, as from the network, once per key; the packed outcome."""
        reply = await self._present(row, lambda: self.store.charge(wanted, b""))
        if reply.status not in ("ok", "again"):
            raise Problem("store-unavailable", f"the live store says: {reply.status}")
        if reply.marks & Flag.CONFLICT:
            raise key_reused()
        return reply.outcome

    async def recall(self, account: str, key: str) -> IdempotencyRecord | None:
        """What was done under this once key; the script looks in Redis again, PostgreSQL remembers longer."""
        packed: Any = await self._bounded(self.redis.get(keys.once(account, key)))
        try:
            packed = packed or await find_once(self.pool, account, key)
        except Quarantined:
            raise in_quarantine(account) from None
        return msgspec.msgpack.decode(packed, type=IdempotencyRecord) if packed is not None else None

    async def ledger(self, account: str, wanted: Entries) -> Sequence[Record]:
        entries: Sequence[Record] = await self.pool.fetch(
            LEDGER.format(order="DESC" if wanted.newest_first else "ASC"),
            account,
            wanted.after_seq,
            wanted.before_seq,
            wanted.from_ms,
            wanted.until_ms,
            wanted.kind,
            wanted.why,
            wanted.limit,
        )
        return entries

    # ---- sessions

    async def session(self, session: str) -> tuple[Account, Session]:
        """By its key, or by its Session-Id as the network says it."""
        for key in keys.session_keys_of(session):
            of = await self.where(key)
            if of is not None:
                account, sessions = await self.read(await self.row(of))
                for one in sessions:
                    if one.id == key:
                        return account, one
        raise Problem("not-found", f"there is no session {session}: not open, and not closed within the hour")

    async def where(self, session: str) -> str | None:
        """The account of a session; None where nobody knows it any more."""
        found = await self._bounded(self.store.where(session).wait()) or await find_session(self.pool, session)
        return found[0] if found is not None else None

    # ---- peers

    @property
    def clients(self) -> Mapping[str, ClientProfile]:
        """Configured peers, by Origin-Host."""
        return self._shop.settings.clients if self._shop is not None else {}

    async def remarks(self) -> dict[str, dict[str, int]]:
        """What was unusual about the requests of each peer."""
        found: dict[str, dict[str, int]] = await self._bounded(self.store.remarks())
        return found

    # ---- the whole ledger

    async def verify(self) -> VerifyReport:
        async with self._alone():
            return await verify(self.redis, self.pool.patient)

    async def rebuild(self) -> int:
        async with self._alone():
            one = partial(bring_in, self.pool.patient, self.redis, self.store, now_ms=self.now_ms())
            return sum([count async for count in rebuild(self.redis, self.pool.patient, one, at_once=50)])

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """These look at every account: one is enough."""
        if self._whole.locked():
            raise Problem("conflict", "the whole ledger is being looked at already: wait for that")
        await self.pool.fetchval("SELECT 1")  # Away at once: what follows has no bound
        async with self._whole:
            yield

    # ---- ourselves

    async def checks(self) -> dict[str, str]:
        """`ok` or what is wrong, by what was looked at."""
        checks = {"redis": "ok" if self.store.link.epoch is not None else self.store.link.why}
        try:
            await self.pool.fetchval("SELECT 1")
            checks["postgres"] = "ok"
        except Exception as why:
            checks["postgres"] = str(why) or type(why).__name__
        return checks | await self._processes()

    # ---- master data

    async def publish(self) -> None:
        """Master data was changed and committed: let Redis know at once. If that fails, the keeper does it later."""
        try:
            await within(self._wait_s_max, self.projector.project())
        except Exception as why:
            logger().warning("projection.later", why=repr(why))

    async def in_force_ms(self) -> int | None:
        """Waits until every worker of this host prices by what is published now, and says when that was; None when it
        is not so within IN_FORCE_S: they may be busy with a large table, or down."""
        if self._priced_by is None:
            return None
        try:
            async with asyncio.timeout(IN_FORCE_S):
                published = int(await cast("Any", self.redis).hget(keys.CATALOG, "version") or 0)
                while await self._priced_by() < published:  # noqa: ASYNC110  other processes set no event of ours
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return None
        except STORE_AWAY:
            return None
        return self.now_ms()

    # ---- calls

    async def _present(self, row: AccountRow, call: Callable[[], Pending[Reply]]) -> Reply:
        """Call; when Redis does not have the account, bring it in and call again."""
        reply = await self._call(call)
        if reply.status == "absent":
            await self.bring_in(row.id)
            reply = await self._call(call)
        if reply.status == "absent":
            raise Problem("store-unavailable", "the account goes as soon as it comes: the store is being opened")
        return reply

    async def _call(self, call: Callable[[], Pending[Reply]]) -> Reply:
        reply: Reply = await self._bounded(call().wait())
        if reply.status == "full":
            raise Problem("store-unavailable", "the live store is full")
        if reply.status == "fenced":
            raise Problem("store-unavailable", "the live store is being opened anew")
        return reply

    async def _bounded(self, call: Awaitable[Any]) -> Any:
        try:
            return await asyncio.wait_for(call, self._wait_s_max)
        except NotSent as why:
            raise Problem("store-unavailable", f"the live store is shut: {why}") from None
        except (Lost, TimeoutError):
            raise Problem("fate-unknown", "the live store did not answer: it may have been done, or not") from None


def in_quarantine(account: str) -> Problem:
    return Problem("store-unavailable", f"account {account} is in quarantine: see `ocs ledger quarantine list`")


def key_reused() -> Problem:
    return Problem("key-reused", "the same Idempotency-Key came with another body or path: use a new key")


def _refusal(result: Result, wanted: Post) -> Problem:
    match result:
        case Result.CREDIT_LIMIT:
            return Problem("insufficient-funds", "what is not held does not cover it")
        case Result.NOT_FOUND:
            return Problem("not-found", f"there is no bucket {', '.join(str(p.bucket) for p in wanted.postings)}")
        case _:
            why = "it would pass 2^53 (all the account has of one kind counts), or the account is full of buckets"
            return Problem("no-room", why)


def settled(account: Account, now_ms: int) -> Sequence[Bucket]:
    """Money buckets that count towards the balance now."""
    return [
        bucket
        for bucket in account.buckets
        if bucket.kind == 0 and bucket.from_ms <= now_ms and (bucket.until_ms == 0 or bucket.until_ms > now_ms)
    ]
