"""Brings a database up to date: the numbered files of `migrations/`, each once, each in a transaction of its own."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final, NamedTuple

from balances.postgres import connect

LOCK: Final = 0x0C5_0001
"""Advisory lock: of several processes started together one migrates, the others wait and find it done."""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationError(Exception):
    """The database and this version do not fit; the text is meant for the operator."""


def migrations() -> list[Migration]:
    """The steps that come with this version, in order."""
    found = []
    for path in files("balances").joinpath("migrations").iterdir():
        if path.name.endswith(".sql"):
            found.append(Migration(int(path.name[:3]), path.name, path.read_text(encoding="utf-8")))
    found.sort()
    for before, step in pairwise(found):
        if step.number == before.number:
            raise MigrationError(f"migrations {before.name} and {step.name} have one number")
    return found


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing; returns the names applied."""
    pg = await connect(dsn)
    try:
        await pg.execute("SELECT pg_advisory_lock($1)", LOCK)
        return await _migrate(pg, migrations())
    finally:
        await pg.close()  # and with it the lock


async def _migrate(pg: Any, steps: list[Migration]) -> list[str]:
    await pg.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
        " at timestamptz NOT NULL DEFAULT now())"
    )
    done = {row["number"]: row for row in await pg.fetch("SELECT number, name, digest FROM migrations")}
    known = {step.number: step for step in steps}
    for number, row in sorted(done.items(), reverse=True):
        if number not in known:
            raise MigrationError(f"the database is at {row['name']}, which this version does not know")
        if row["digest"] != known[number].digest:
            raise MigrationError(f"{row['name']} was changed after it was applied: add a new step instead")
    applied = []
    for step in steps:
        if step.number in done:
            continue
        async with pg.transaction():
            await pg.execute(step.sql)
            await pg.execute(
                "INSERT INTO migrations (number, name, digest) VALUES ($1, $2, $3)", step.number, step.name, step.digest
            )
        applied.append(step.name)
    return applied
