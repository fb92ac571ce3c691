"""Brings a database up to date: the numbered files of `migrations/`, each once, each in a transaction of its own.

The first process of a newer build does it, while processes of the build before go on beside it, and may be started
again. So a step only adds; one that older builds cannot work beside says so (`-- needs: 052: why`), and they refuse.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final, NamedTuple

import asyncpg

from balances.postgres import connect

LOCK: Final = 0x0C5_0001
"""Advisory lock: of several processes started together one migrates, the others wait and find it done."""

LOCK_MS: Final = 2_000
"""For a lock that somebody else holds: whoever comes after us waits behind us, the copy too."""
AGAIN_S: Final = 1.0
"""Then the step is tried again after so long: a report may read a big table for an hour."""
TOLD_EACH: Final = 20
"""After so many tries it is told again."""

NEEDS: Final = re.compile(r"^-- needs: (\d{3}): \S", re.MULTILINE)
"""The line of a step that older builds cannot work beside: the number a build has to know, and why."""

FIRST_BESIDE: Final = 39
"""What a build has to know to work beside a step without such a line: all later ones only add
(tests/shape/test_migrations.py)."""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def needs(self) -> int:
        """Number of the step that a build has to know to work with a database that has this one."""
        found = NEEDS.search(self.sql)
        return int(found[1]) if found else FIRST_BESIDE


class MigrationError(Exception):
    """The database and this version do not fit; the text is meant for the operator."""


def migrations() -> list[Migration]:
    """The steps that come with this version, in order."""
    found = []
    for path in files("balances").joinpath("migrations").iterdir():
        if path.name.endswith(".sql"):
            found.append(Migration(int(path.name[:3]), path.name, path.read_text(encoding="utf-8")))
    found.sort()
    for before, step in itertools.pairwise(found):
        if step.number == before.number:
            raise MigrationError(f"migrations {before.name} and {step.name} have one number")
    return found


def nobody(_text: str) -> None:
    """Who is told of a step that waits, where nobody is."""


async def migrate(dsn: str, waits: Callable[[str], None] = nobody) -> list[str]:
    """Apply what is missing; returns the names applied. `waits` is told now and then which step waits, and for whom."""
    pg = await connect(dsn)
    try:
        await pg.execute("SELECT pg_advisory_lock($1)", LOCK)
        return await _migrate(pg, migrations(), waits)
    finally:
        await pg.close()  # and with it the lock


async def _migrate(pg: Any, steps: list[Migration], waits: Callable[[str], None] = nobody) -> list[str]:
    await pg.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
        " at timestamptz NOT NULL DEFAULT now())"
    )
    await pg.execute("ALTER TABLE migrations ADD COLUMN IF NOT EXISTS needs integer")
    done = {row["number"]: row for row in await pg.fetch("SELECT number, name, digest, needs FROM migrations")}
    ours = {step.number: step for step in steps}
    for number, row in sorted(done.items()):
        if number in ours:
            if row["digest"] != ours[number].digest:
                raise MigrationError(f"{row['name']} was changed after it was applied: add a new step instead")
        elif row["needs"] is None or row["needs"] > max(ours):
            raise MigrationError(f"the database is at {row['name']}, which this version does not know")
    applied = []
    for step in steps:
        if step.number in done:
            continue
        tried = 0
        while not await _apply(pg, step):  # nobody tells that a lock is free
            if tried % TOLD_EACH == 0:
                waits(f"{step.name} waits for a lock: {await _long_transactions(pg)}")
            tried += 1
            await asyncio.sleep(AGAIN_S)
        applied.append(step.name)
    return applied


async def _long_transactions(pg: Any) -> str:
    """Who may hold it: the oldest transactions of this database, for people."""
    rows = await pg.fetch(
        "SELECT pid, application_name AS name, extract(epoch FROM now() - xact_start)::int AS seconds, state,"
        " left(query, 80) AS query FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 3"
    )
    return "; ".join(
        f"process {row['pid']} ({row['name'] or 'no name'}) is in a transaction for {row['seconds']} s, {row['state']}:"
        f" {row['query']}"
        for row in rows
    ) or "who held it has ended"  # fmt: skip


async def _apply(pg: Any, step: Migration) -> bool:
    """False: somebody held a lock that it needs, and nothing was done."""
    try:
        async with pg.transaction():
            await pg.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
            await pg.execute(step.sql)
            await pg.execute(
                "INSERT INTO migrations (number, name, digest, needs) VALUES ($1, $2, $3, $4)",
                step.number,
                step.name,
                step.digest,
                step.needs,
            )
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return False
    return True
