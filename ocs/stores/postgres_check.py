"""For `ocs check`: whether a PostgreSQL can be used."""

from __future__ import annotations

from typing import Final

import asyncpg

from balances.ledger.risks import installation
from balances.migrations.migrate import migrations
from balances.postgres import connect
from ocs.clock import now_ms, skew

VERSION_MIN: Final = 15


async def postgres_trouble(dsn: str, wait_s: float) -> str:
    """What is wrong with it, "" when nothing is. Missing migrations are no error: the next start applies them."""
    try:
        pg = await connect(dsn, timeout=wait_s)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as why:
        return f"cannot be reached: {str(why) or type(why).__name__}"
    try:
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


async def installation_at(dsn: str, wait_s: float) -> str | None:
    """The id of the installation whose database it is; None where it has none yet, or cannot be asked."""
    try:
        pg = await connect(dsn, timeout=wait_s)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    try:
        return await installation(pg)
    except asyncpg.PostgresError:  # no such table, or column: the next start makes them
        return None
    finally:
        await pg.close()
