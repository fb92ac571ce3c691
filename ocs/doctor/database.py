"""PostgreSQL: whether it answers, what it may lose, how far it is behind, what waits for a person."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from balances.migrations.migrate import migrations
from ocs.clock import monotonic_us, now_ms, skew
from ocs.doctor.finding import Examined, error, note, warning
from ocs.stores.postgres_check import POOLED, lossy_settings, pooled

WAIT_S: Final = 5.0
OLD_TRANSACTION_S: Final = 600
VERSION_MIN: Final = 15
AWAY: Final = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)
SHOWN: Final = 5


async def examine_database(dsn: str) -> Examined:
    facts: list[str] = []
    try:
        pg = await asyncpg.connect(dsn, timeout=WAIT_S, command_timeout=WAIT_S)
    except AWAY as why:
        trouble = str(why) or type(why).__name__
        away = error(
            f"it does not answer: {trouble}",
            "charging goes on from the live store; what it writes waits in its streams, and no account can be made",
            "start it, or mend postgres.dsn; do not restart the live store meanwhile",
            "OcsLedgerBehind",
        )
        return Examined("PostgreSQL", [away])
    try:
        if await pooled(pg, dsn, WAIT_S):
            said = "keepers cannot keep each other out, and what is written is not heard of"
            shared = error(POOLED, said, "mend the pooler, then restart the server")
            return Examined("PostgreSQL", [shared], facts)
        findings = [finding async for finding in _looked_at(pg, facts)]
    except AWAY as why:
        findings = [warning(f"it could not be looked at: {why}", "what it has is not known", "look at its log")]
    finally:
        await pg.close()
    return Examined("PostgreSQL", findings, facts)


async def _looked_at(pg: Any, facts: list[str]) -> Any:
    version = pg.get_server_version()
    facts.append(f"version {version.major}.{version.minor}")
    if version.major < VERSION_MIN:
        yield error(f"PostgreSQL {version.major}", f"{VERSION_MIN} or newer is needed", "upgrade it")
    began_ms, at_us = now_ms(), monotonic_us()
    theirs_ms: int = await pg.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    facts.append(f"answers in {(monotonic_us() - at_us) / 1_000:.2f} ms")
    if trouble := skew("PostgreSQL", theirs_ms - (began_ms + now_ms()) // 2):
        yield error(trouble, "what it dates is not comparable", "mend the time service (chrony, ntp) of both")
    for name, means in (await lossy_settings(pg)).items():
        yield error(f"{name} is off", means, f"ALTER SYSTEM SET {name} = on, and reload")
    commit = await pg.fetchval("SELECT current_setting('synchronous_commit')")
    facts.append(f"synchronous_commit {commit}")
    standbys = await pg.fetchval("SELECT count(*) FROM pg_stat_replication")
    facts.append(f"{standbys} standbys")
    if await pg.fetchval("SELECT pg_is_in_recovery()"):
        yield error("it is a standby", "nothing can be written to it", "let postgres.dsn name the primary")
        return
    oldest = await pg.fetchval(
        "SELECT extract(epoch FROM max(now() - xact_start))::bigint FROM pg_stat_activity"
        " WHERE xact_start IS NOT NULL AND backend_type = 'client backend'"
    )
    if (oldest or 0) > OLD_TRANSACTION_S:
        yield warning(
            f"a transaction is open for {oldest} s",
            "it keeps dead rows and the audit chain waiting",
            "SELECT pid, query FROM pg_stat_activity ORDER BY xact_start; end it if nobody needs it",
            "OcsLedgerBehind",
        )
    if not await pg.fetchval("SELECT to_regclass('shards')"):
        yield note("it has no tables yet", "no server has started on it", "the first start makes them")
        return
    async for finding in _versions(pg, facts):
        yield finding
    async for finding in _ledger(pg, facts):
        yield finding


async def _versions(pg: Any, facts: list[str]) -> Any:
    if not await pg.fetchval("SELECT to_regclass('migrations')"):
        return
    applied = await pg.fetchval("SELECT max(number) FROM migrations") or 0
    known = max(one.number for one in migrations())
    facts.append(f"migration {applied} of {known}")
    if applied > known:
        yield error(
            f"its tables are at migration {applied}, this build knows {known}",
            "another host runs a newer version; this one refuses to start on it",
            "upgrade this host",
        )
    elif applied < known:
        yield note(
            f"its tables are at migration {applied}, this build has {known}",
            "no server of this version has started yet",
            "the next start applies them",
        )


async def _ledger(pg: Any, facts: list[str]) -> Any:
    stopped = await pg.fetch("SELECT shard, stopped FROM shards WHERE stopped <> '' ORDER BY shard")
    if stopped:
        some = "; ".join(f"{row['shard']}: {row['stopped']}" for row in stopped[:SHOWN])
        yield error(
            f"{len(stopped)} shards are not copied: {some}",
            "charging goes on, and their records wait in the live store",
            "find out why (ocs ledger status), then ocs ledger resume SHARD",
            "OcsShardStopped",
        )
    accounts = await pg.fetchval("SELECT count(DISTINCT account) FROM quarantined WHERE settled_at IS NULL")
    if accounts:
        yield error(
            f"{accounts} accounts are in quarantine",
            "their records are kept raw, and they are not restored after a failover",
            "ocs ledger quarantine list",
            "OcsAccountsInQuarantine",
        )
    suspense = await pg.fetchval("SELECT count(*) FROM suspense WHERE state = 'open'")
    facts.append(f"{suspense} uses in suspense")
    if suspense:
        yield note(
            f"{suspense} uses were reported and not charged",
            "they are kept until a person decides: it is revenue",
            "ocs suspense list --state open",
            "OcsUseSetAside",
        )
