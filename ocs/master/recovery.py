"""Master data that the live store still has and a PostgreSQL put back from a backup lacks (durability.md rule 12).

The projection is the newer copy then: profiles have all that pricing knows of a subscriber, the catalogue has the
tariffs and rates in use, and the ledger says of which accounts there are records. What is brought back keeps its change
number; a row that PostgreSQL has under the same or a later number stays. It may be interrupted anywhere and done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from balances import keys
from balances.redis.clients import values
from balances.structs.account import Account
from ocs.charging.profile import Profile
from ocs.master import default_thresholds
from ocs.master.accounts import or_null
from ocs.master.catalog import NONE, File
from ocs.master.documents import MEDIA_TYPES, DocumentVersion, compiled
from ocs.master.fee_assignments import follow_subscribers
from ocs.master.profiles import is_profile
from ocs.master.projected_store import TOLD, ProjectedStore
from ocs.master.rates import Rate
from ocs.master.subscribers import ASSIGNMENT_COLUMNS, assignment_record

if TYPE_CHECKING:
    from asyncpg import Connection, Pool
    from redis.asyncio import Redis

AT_ONCE: Final = 500
NAMED_MAX: Final = 20
"""Of each thing a person has to look at, so many are named."""

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_PROFILE: Final = msgspec.msgpack.Decoder(Profile)


class MasterRecovery(msgspec.Struct):
    """What was brought back; of a dry run what would be."""

    accounts: int = 0
    subscribers: int = 0
    tariffs: int = 0
    """Versions."""
    rates: int = 0
    without_profile: list[str] = []
    """Identities that only PostgreSQL has: deleted after the backup, or made since. They stay."""
    fees_stopped: list[str] = []
    """Subscribers whose recurring fees wait for a person: no entry says from when on they are settled."""


async def ahead(pool: Pool, store: ProjectedStore) -> int:
    """By how many changes of master data the live store is ahead of PostgreSQL; 0: it is not."""
    projected, told = await store.progress()
    change, older_by = await pool.fetchrow("SELECT change, older_by FROM master")
    return int(older_by or max(0, min(projected or 0, told or 0) - change))


async def bring_back(pool: Pool, redis: Redis, now_ms: int, *, dry_run: bool) -> MasterRecovery:
    """Bring back accounts, tariffs, rates and subscribers, and let the next projection write all anew."""
    done = MasterRecovery(without_profile=[], fees_stopped=[])
    store: Any = redis
    await _catalog(pool, store, done, dry_run)
    await _accounts(pool, done, dry_run)
    some: list[bytes] = []
    async for key in store.scan_iter(match=keys.profile("*"), count=1_000):
        some.append(key)
        if len(some) == AT_ONCE:
            await _profiles(pool, store, some, now_ms, done, dry_run)
            some = []
    await _profiles(pool, store, some, now_ms, done, dry_run)
    await _look_for_deleted(pool, store, done)
    if not dry_run:
        # Numbers go on above the highest one that an account was told.
        newest = max(int(number or 0) for number in await values(store, [keys.PROJECTED, TOLD]))
        await pool.execute("UPDATE master SET change = greatest(change, $1) + 1, older_by = NULL", newest)
        await store.unlink(keys.PROJECTED, TOLD)
    return done


# --- accounts


async def _accounts(pool: Pool, done: MasterRecovery, dry_run: bool) -> None:
    """Of which there are records, and no row: with what they are now, and UTC until a profile says otherwise."""
    last = ""
    while rows := await pool.fetch(
        "SELECT account, state FROM account_heads h WHERE account > $1 AND state IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM accounts a WHERE a.id = h.account) ORDER BY account LIMIT $2",
        last,
        AT_ONCE,
    ):
        last = rows[-1]["account"]
        done.accounts += len(rows)
        if dry_run:
            continue
        found = [_ACCOUNT.decode(row["state"]) for row in rows]
        await pool.executemany(
            "INSERT INTO accounts (id, currency, time_zone, credit_limit, suspend_below, resume_at, change,"
            " members_change, opened_by) SELECT $1, $2, 'UTC', $3, $4, $5, change, change, 'recovery' FROM master"
            " ON CONFLICT (id) DO NOTHING",
            [
                (one.id, one.currency, one.credit_limit, or_null(one.suspend_below), or_null(one.resume_at))
                for one in found
            ],
        )


# --- subscribers


async def _profiles(
    pool: Pool, redis: Any, names: Sequence[bytes], now_ms: int, done: MasterRecovery, dry_run: bool
) -> None:
    if not names:
        return
    prefix = len(keys.profile(""))
    packed = dict(zip((name.decode()[prefix:] for name in names), await values(redis, names), strict=True))
    found = {identity: _PROFILE.decode(one) for identity, one in packed.items() if is_profile(one)}
    rows = await pool.fetch("SELECT identity, change FROM identities WHERE identity = ANY($1)", list(found))
    known = {row["identity"]: row["change"] for row in rows}
    newer = {identity: one for identity, one in found.items() if one.rev > known.get(identity, 0)}
    done.subscribers += sum(identity.startswith("subscriber:") for identity in newer)
    if dry_run:
        return
    for identity, profile in newer.items():
        async with pool.acquire() as pg, pg.transaction():
            await pg.execute("SELECT FROM master FOR UPDATE")
            if await _put(pg, identity, profile, now_ms):
                await _fees(pg, profile, now_ms, done)


async def _put(pg: Connection, identity: str, profile: Profile, now_ms: int) -> bool:
    """The identity, and the subscriber with all its profile says; whether it was not brought back before."""
    for account, currency, time_zone in [
        (profile.account, profile.currency, profile.time_zone),
        *((one.account, one.currency, one.time_zone) for one in profile.payers),
        *((one.account, one.currency, one.time_zone) for one in profile.former),
    ]:
        await pg.execute(
            "INSERT INTO accounts AS a (id, currency, time_zone, credit_limit, change, members_change, opened_by)"
            " VALUES ($1, $2, $3, 0, $4, $4, 'recovery') ON CONFLICT (id) DO UPDATE SET"
            " time_zone = CASE WHEN a.opened_by = 'recovery' THEN $3 ELSE a.time_zone END,"
            " members_change = greatest(a.members_change, $4)",
            account,
            currency,
            time_zone,
            profile.rev,
        )
    new = await pg.fetchval(
        "INSERT INTO subscribers AS s (id, account, password, barred, change, attributes, moved_ms, tags)"
        " VALUES ($1, $2, NULLIF($3, ''), $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET account = $2,"
        " password = NULLIF($3, ''), barred = $4, change = $5, attributes = $6, moved_ms = $7, tags = $8"
        " WHERE s.change < $5 RETURNING true",
        profile.subscriber,
        profile.account,
        profile.password,
        profile.barred,
        profile.rev,
        msgspec.json.encode(profile.attributes).decode(),
        profile.moved_ms,
        profile.tags,
    )
    await pg.execute(
        "INSERT INTO identities AS i (identity, subscriber, change) VALUES ($1, $2, $3)"
        " ON CONFLICT (identity) DO UPDATE SET subscriber = $2, change = $3 WHERE i.change < $3",
        identity,
        profile.subscriber,
        profile.rev,
    )
    await pg.executemany(
        "INSERT INTO former_payers (identity, account, change, until_ms) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (identity, account) DO NOTHING",
        [(identity, one.account, one.change, one.until_ms) for one in profile.former],
    )
    if not new:
        return False
    await pg.execute("DELETE FROM assignments WHERE subscriber = $1", profile.subscriber)
    await pg.executemany(
        f"INSERT INTO assignments ({', '.join(ASSIGNMENT_COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6)",
        [assignment_record(profile.subscriber, place, one, now_ms) for place, one in enumerate(profile.assignments)],
    )
    await pg.execute("DELETE FROM payers WHERE subscriber = $1", profile.subscriber)
    await pg.executemany(
        "INSERT INTO payers (subscriber, service, account) VALUES ($1, $2, $3)",
        [(profile.subscriber, one.service, one.account) for one in profile.payers],
    )
    await pg.execute("DELETE FROM spending_limits WHERE subscriber = $1", profile.subscriber)
    limits = [(profile.account, one) for one in profile.limits]
    limits += [(payer.account, one) for payer in profile.payers for one in payer.limits if one.shared]
    for account, limit in limits:
        column, owner = ("account", account) if limit.shared else ("subscriber", profile.subscriber)
        await pg.execute(
            f"INSERT INTO spending_limits ({column}, name, kind, amount, period, services, visited, not_visited)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ({column}, name) WHERE {column} IS NOT NULL"
            " DO UPDATE SET kind = $3, amount = $4, period = $5, services = $6, visited = $7, not_visited = $8",
            owner,
            *msgspec.structs.astuple(limit)[:4],
            list(limit.services),
            list(limit.visited),
            list(limit.not_visited),
        )
    return True


async def _fees(pg: Connection, profile: Profile, now_ms: int, done: MasterRecovery) -> None:
    """A recurring fee is settled once by the begin of its assignment, which entries of before say. Where none says it
    and the account has paid some fee, nothing is taken until a person has looked."""
    await follow_subscribers(pg, [profile.subscriber], now_ms)
    for row in await pg.fetch(
        "SELECT id, account, tariff FROM fee_assignments WHERE subscriber = $1 AND began_ms = $2",
        profile.subscriber,
        now_ms,
    ):
        began = {
            key.began_ms
            for (text,) in await pg.fetch(
                "SELECT DISTINCT request_key FROM ledger_entries WHERE account = $1 AND why = 'fee'", row["account"]
            )
            if (key := _fee_key(text)) and (key.subscriber, key.tariff) == (profile.subscriber, row["tariff"])
        }
        if began:
            await pg.execute("UPDATE fee_assignments SET began_ms = $2 WHERE id = $1", row["id"], max(began))
        elif await _has_paid_fees(pg, row["account"]):
            await pg.execute(
                "UPDATE fee_assignments SET due_ms = NULL, why = 'recovery: no entry says when it began' WHERE id = $1",
                row["id"],
            )
            if len(done.fees_stopped) < NAMED_MAX:
                done.fees_stopped.append(profile.subscriber)


def _fee_key(text: str) -> keys.FeeKey | None:
    try:
        return keys.FeeKey.of(text)
    except ValueError:
        return None


async def _has_paid_fees(pg: Connection, account: str) -> bool:
    state = await pg.fetchval("SELECT state FROM account_heads WHERE account = $1", account)
    return state is not None and bool(_ACCOUNT.decode(state).fees)


async def _look_for_deleted(pool: Pool, redis: Any, done: MasterRecovery) -> None:
    """Identities without a profile: the projection had brought all there was."""
    last = ""
    while rows := await pool.fetch(
        "SELECT identity FROM identities WHERE subscriber IS NOT NULL AND identity > $1 AND change <="
        " (SELECT change FROM master) ORDER BY identity LIMIT $2",
        last,
        AT_ONCE,
    ):
        last = rows[-1]["identity"]
        there = await values(redis, [keys.profile(row["identity"]) for row in rows])
        missing = [row["identity"] for row, one in zip(rows, there, strict=True) if not is_profile(one)]
        done.without_profile += missing[: NAMED_MAX - len(done.without_profile)]


# --- the catalogue


async def _catalog(pool: Pool, redis: Any, done: MasterRecovery, dry_run: bool) -> None:
    version, *fields = await redis.hmget(keys.CATALOG, "version", "documents", "files", "rates")
    documents, files, rates = (one or NONE for one in fields)
    number = int(version or 0)
    if not dry_run:
        await pool.executemany(
            "INSERT INTO tariff_files (name, version, media_type, content, change) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (name, version) DO NOTHING",
            [
                (name, at, MEDIA_TYPES[name.rpartition(".")[2]], content, number)
                for name, at, content in msgspec.msgpack.decode(files, type=list[File])
            ],
        )
    contents: Mapping[tuple[str, int], bytes] = {
        (name, at): content for name, at, content in msgspec.msgpack.decode(files, type=list[File])
    }
    for one in msgspec.msgpack.decode(documents, type=list[DocumentVersion]):
        query = "SELECT EXISTS (SELECT FROM tariffs WHERE id = $1 AND version = $2)"
        if await pool.fetchval(query, one.id, one.version):
            continue
        done.tariffs += 1
        if dry_run:
            continue
        pinned = {name: contents[name, at] for name, at in one.files.items() if (name, at) in contents}
        tariff = compiled(one, pinned)
        await pool.execute(
            "INSERT INTO tariffs (id, version, media_type, document, published_at, valid_from_ms, files, change, fees,"
            " thresholds) VALUES ($1, $2, $3, $4, to_timestamp($5::bigint / 1000.0), $6, $7, $8, $9, $10)"
            " ON CONFLICT (id, version) DO NOTHING",
            one.id,
            one.version,
            one.media_type,
            one.document,
            one.published_ms,
            one.valid_from_ms,
            msgspec.json.encode(one.files).decode(),
            number,
            bool(tariff.parts.fees),
            default_thresholds.packed(tariff.parts.thresholds),
        )
    for rate in msgspec.msgpack.decode(rates, type=list[Rate]):
        query = (
            "SELECT EXISTS (SELECT FROM exchange_rates WHERE of_currency = $1 AND into_currency = $2"
            " AND day = $3::text::date AND rate = $4)"
        )
        if await pool.fetchval(query, rate.of, rate.into, rate.day, rate.rate):
            continue
        done.rates += 1
        if not dry_run:
            await pool.execute(
                "INSERT INTO exchange_rates AS r (of_currency, into_currency, day, rate, change)"
                " VALUES ($1, $2, $3::text::date, $4, $5) ON CONFLICT (of_currency, into_currency, day) DO UPDATE"
                " SET rate = $4, change = $5 WHERE r.change < $5",
                *(rate.of, rate.into, rate.day, rate.rate, number),
            )
