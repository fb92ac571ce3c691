"""Master data into Redis: profiles by identity, and the catalogue of tariffs. Workers read them there.

`project` may run anywhere, any number of times: after every commit in the API process, by the keeper at each NOTIFY and
each second. It reads what changed since the last time, in the order of change numbers, and writes

1. `profile:<identity>` for each changed identity (or deletes it) and, when a tariff or a rate was, `catalog`;
2. `projected` := the change number up to which that is complete;
3. into each account whose subscribers changed, that number as `profile_rev`: a worker that charges by an older profile
   is told `stale`, and reads again;
4. `projected:told` := the number up to which accounts were told. The next run starts there, so that a crash in between
   is made good.

A worker takes `projected`, read together with the profile, for the profile's revision. By the order above it is never
newer than the profile, and never older than what the account was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from balances import keys
from balances.ledger.turns import turn
from balances.structs.posting import AccountSettings
from ocs.charging.profile import FormerPayer, Profile, ServicePayer
from ocs.master import catalog
from ocs.master.former_payers import FORMER
from ocs.master.limits import AS_ARRAY, limits_of
from ocs.master.projected_store import ProfilePut, ProjectedStore, projected_store
from ocs.master.subscribers import assignments_of, attributes_of

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

    from balances.redis.primaries import Primaries
    from balances.redis.store import Store

LOCK: Final = 0x6F6373_01
"""PostgreSQL advisory lock: one run at a time, for economy; right without it, by TOKEN."""
BATCH: Final = 2_000
TELL_AT_ONCE: Final = 64

LIMITED_MAX: Final = 64
"""Subscribers of an account whose limits changed that are named; of more than these all are asked to report."""

Tell = Callable[[str, int, list[str]], Awaitable[object]]
"""Raises an account's `profile_rev`, and names those of its subscribers whose limits changed ("" for all); an account
Redis does not have needs no telling."""

CHANGED: Final = f"""
    SELECT i.identity, i.change, s.id AS subscriber, s.account, s.barred, s.moved_ms, s.attributes, s.password, s.tags,
        a.currency, a.time_zone,
        COALESCE((SELECT json_agg(json_build_array(tariff, from_ms, until_ms) ORDER BY place)
                  FROM assignments t WHERE t.subscriber = s.id), '[]')::text AS tariffs,
        COALESCE((SELECT json_agg({AS_ARRAY} ORDER BY l.account, l.name)
                  FROM spending_limits l WHERE l.subscriber = s.id OR l.account = s.account), '[]')::text AS limits,
        COALESCE((SELECT json_agg(json_build_array(p.service, p.account, b.currency, b.time_zone,
                      COALESCE((SELECT json_agg({AS_ARRAY} ORDER BY l.account, l.name) FROM spending_limits l
                                WHERE l.subscriber = s.id OR l.account = p.account), '[]')) ORDER BY p.service)
                  FROM payers p JOIN accounts b ON b.id = p.account WHERE p.subscriber = s.id), '[]')::text AS payers,
        {FORMER} AS former
    FROM identities i LEFT JOIN subscribers s ON s.id = i.subscriber LEFT JOIN accounts a ON a.id = s.account
    WHERE (i.change, i.identity) > ($1, $2) ORDER BY i.change, i.identity LIMIT $3
"""


def teller(store: Store, now_ms: Callable[[], int]) -> Tell:
    """Tells an account its new `profile_rev`, by the script `settings`."""

    async def tell(account: str, change: int, limited: list[str]) -> None:
        settings = AccountSettings(account, now_ms(), None, profile_rev=change, limited=limited)
        reply = await store.settings(settings).wait()
        if reply.status not in ("ok", "absent"):
            raise NotTold(f"account {account}: {reply.status}")

    return tell


class NotTold(Exception):
    """An account could not be told; the next run tries again."""


class PostgresOlder(Exception):
    """PostgreSQL was put back from a backup, and lacks master data that the live store has."""


async def project(pool: Pool, store: ProjectedStore, tell: Tell) -> int:
    """Bring Redis up to the master data; returns the change number it is complete to."""
    # Everything on one connection: those that wait for their turn must not keep the one that runs from a second.
    async with pool.acquire() as db:
        newest, older_by = await db.fetchrow("SELECT change, older_by FROM master")
        if older_by is not None:
            raise _older(older_by)
        if await store.progress() == (newest, newest):  # the usual case, and no write
            return int(newest)
        async with turn(db, LOCK):
            await store.begin()
            return await _Run(db, store, tell).run()


class Projector:
    """Combines requests of one process: all that ask while a run is under way share the next run."""

    def __init__(self, pool: Pool, redis: Any, tell: Tell, primaries: Primaries | None = None) -> None:
        """primaries: of a cluster"""
        self.store = projected_store(redis, primaries)
        self._project = partial(project, pool, self.store, tell)
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def project(self) -> int:
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[int] | None) -> int:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        return await self._project()


def _older(changes: int) -> PostgresOlder:
    return PostgresOlder(
        f"the live store has {changes} changes of master data that PostgreSQL lacks: it was put back from"
        " a backup, or a standby that lagged was promoted. Charging goes on, nothing is projected: run"
        " `ocs ledger recover` (docs/backup.md)"
    )


class _Run:
    def __init__(self, db: Connection, store: ProjectedStore, tell: Tell) -> None:
        self.db = db
        self.store = store
        self.tell = tell

    async def run(self) -> int:
        newest: int
        newest, older_by = await self.db.fetchrow("SELECT change, older_by FROM master")
        if older_by is not None:
            raise _older(older_by)
        projected, told = await self.store.progress()
        done = min(projected or 0, told or 0)
        if done > newest:  # nothing is written over what only the live store knows
            # It stays so until a person has said so: changes that follow have numbers of their own, above those that
            # are lost, so as many of them as were lost do not pass for these.
            await self.db.execute("UPDATE master SET older_by = $1 - change, change = $1 WHERE change < $1", done)
            raise _older(done - newest)
        if done == newest and projected is not None:
            return done
        await self._profiles(done)
        await self._catalog(done)
        await self.store.complete(newest)
        await self._tell(done, newest)
        await self.store.told(newest)
        return newest

    async def _profiles(self, done: int) -> None:
        """No upper bound: what changes while we read moves ahead of us and is met again."""
        after: tuple[int, str] = (done + 1, "")
        while rows := await self.db.fetch(CHANGED, *after, BATCH):
            await self.store.put(
                [
                    ProfilePut(
                        keys.profile(row["identity"]), row["change"], None if row["account"] is None else _profile(row)
                    )
                    for row in rows
                ]
            )
            after = rows[-1]["change"], rows[-1]["identity"]

    async def _catalog(self, done: int) -> None:
        changed = await catalog.changed(self.db)
        if changed is None or (changed <= done and await self.store.has(keys.CATALOG)):
            return
        await self.store.put_hash(keys.CATALOG, {"version": changed, **await catalog.pack(self.db)})

    async def _tell(self, done: int, newest: int) -> None:
        after: tuple[int, str] = (done + 1, "")
        query = (
            "SELECT a.id, a.members_change, ARRAY(SELECT s.id FROM paying p JOIN subscribers s ON s.id = p.subscriber"
            " WHERE p.account = a.id AND s.limits_change > $4 ORDER BY s.id LIMIT $5) AS limited"
            " FROM accounts a WHERE (a.members_change, a.id) > ($1, $2) ORDER BY a.members_change, a.id LIMIT $3"
        )
        while rows := await self.db.fetch(query, *after, TELL_AT_ONCE, done, LIMITED_MAX + 1):
            # A change after `newest` is for the next run, which will have projected it.
            told = [row for row in rows if row["members_change"] <= newest]
            await asyncio.gather(*(self.tell(row["id"], row["members_change"], _limited(row)) for row in told))
            after = rows[-1]["members_change"], rows[-1]["id"]


def _profile(row: Record) -> bytes:
    return msgspec.msgpack.encode(
        Profile(
            subscriber=row["subscriber"],
            account=row["account"],
            rev=row["change"],
            currency=row["currency"],
            time_zone=row["time_zone"],
            assignments=assignments_of(row["tariffs"]),
            barred=row["barred"],
            moved_ms=row["moved_ms"],
            attributes=attributes_of(row["attributes"]),
            password=row["password"] or "",
            limits=limits_of(row["limits"]),
            payers=msgspec.json.decode(row["payers"], type=tuple[ServicePayer, ...]),
            former=msgspec.json.decode(row["former"], type=tuple[FormerPayer, ...]),
            tags=row["tags"],
        )
    )


def _limited(row: Record) -> list[str]:
    named: list[str] = row["limited"]
    return named if len(named) <= LIMITED_MAX else [""]
