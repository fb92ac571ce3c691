"""For `ocs check`: whether a PostgreSQL can be used."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from balances.ledger.risks import installation
from balances.migrations.migrate import migrations
from balances.postgres import GONE, connect
from ocs.clock import now_ms, skew

VERSION_MIN: Final = 15
LOSE: Final = {
    "fsync": "after a power cut it may not start, or lack what it said it has",
    "full_page_writes": "after a power cut a page may be half old and half new",
    "synchronous_commit": "our own connections switch it on; what others commit (psql, a restore, a job) may be gone"
    " after a crash",
}
"""Settings that have to be on, and what comes of it where one is off."""
POOLED: Final = (
    "a pooler in front of it gives one session of the server to several of ours (pool_mode transaction or statement):"
    " advisory locks and LISTEN need a session each; use pool_mode = session"
)
STRANGE: Final = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""Said where a statement that was prepared in one session comes to another one."""
LOOKS: Final = 3
"""At the sessions of two connections: a pooler may give them in turns."""
UNREACHED: Final = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def postgres_trouble(dsn: str, wait_s: float) -> str:
    """What is wrong with it, "" when nothing is. Missing migrations are no error: the next start applies them."""
    try:
        pg = await connect(dsn, timeout=wait_s)
    except UNREACHED as why:
        return f"cannot be reached: {str(why) or type(why).__name__}{_ignored(why)}"
    try:
        if await pooled(pg, dsn, wait_s):
            return POOLED
        version = pg.get_server_version()
        if version.major < VERSION_MIN:
            return f"PostgreSQL {version.major} is too old: {VERSION_MIN} or newer"
        began_ms = now_ms()
        theirs_ms: int = await pg.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        if trouble := skew("PostgreSQL", theirs_ms - (began_ms + now_ms()) // 2):
            return trouble
        if await pg.fetchval("SELECT to_regclass('migrations')"):
            applied = await pg.fetchval("SELECT max(number) FROM migrations") or 0
            if applied > migrations()[-1].number:
                return f"it is at migration {applied}, which this version does not know"
        return ""
    finally:
        await pg.close()


def _ignored(why: BaseException) -> str:
    """What helps where a pooler does not know the settings that our connections bring."""
    unknown = isinstance(why, asyncpg.PostgresError) and "unsupported startup parameter" in str(why)
    return f"; PgBouncer needs ignore_startup_parameters = {','.join(GONE)}" if unknown else ""


async def pooled(pg: Any, dsn: str, wait_s: float) -> bool:
    """Whether our sessions are not the server's: two connections are given the same one, or one of them several. pg:
    one connection to it; another one is made."""
    try:
        other = await connect(dsn, timeout=wait_s)
    except UNREACHED:
        return False
    try:
        seen = [{await one.fetchval("SELECT pg_backend_pid()") for _ in range(LOOKS)} for one in (pg, other)]
    except STRANGE:
        return True
    finally:
        other.terminate()
    return bool(seen[0] & seen[1]) or any(len(pids) > 1 for pids in seen)


async def lossy_settings(pg: Any) -> dict[str, str]:
    """Those of LOSE that are off, and what comes of it."""
    rows = await pg.fetch("SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name", list(LOSE))
    return {row["name"]: LOSE[row["name"]] for row in rows if row["value"] == "off"}


async def lossy_settings_at(dsn: str, wait_s: float) -> dict[str, str]:
    """The same; none where it cannot be asked."""
    try:
        pg = await connect(dsn, timeout=wait_s)
    except UNREACHED:
        return {}
    try:
        return await lossy_settings(pg)
    finally:
        await pg.close()


async def installation_at(dsn: str, wait_s: float) -> str | None:
    """The id of the installation whose database it is; None where it has none yet, or cannot be asked."""
    try:
        pg = await connect(dsn, timeout=wait_s)
    except UNREACHED:
        return None
    try:
        return await installation(pg)
    except asyncpg.PostgresError:  # no such table, or column: the next start makes them
        return None
    finally:
        await pg.close()
