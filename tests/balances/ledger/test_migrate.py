"""Which migrations a database gets."""

from __future__ import annotations

import asyncpg
import pytest

from balances.migrations import migrate as module
from balances.migrations.migrate import Migration, MigrationError, migrate

STEPS = [Migration(number, f"{number:03d}_t.sql", f"CREATE TABLE t{number} ()") for number in (1, 2, 5)]


def of(monkeypatch: pytest.MonkeyPatch, *steps: Migration) -> None:
    monkeypatch.setattr(module, "migrations", lambda: list(steps))


async def test_each_once_in_the_order_of_numbers_that_may_have_gaps(
    pg_dsn_bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of(monkeypatch, STEPS[0], STEPS[2])
    assert await migrate(pg_dsn_bare) == ["001_t.sql", "005_t.sql"]
    of(monkeypatch, *STEPS)
    assert await migrate(pg_dsn_bare) == ["002_t.sql"]
    assert await migrate(pg_dsn_bare) == []
    pg = await asyncpg.connect(pg_dsn_bare)
    try:
        assert await pg.fetch("TABLE t2") == []
    finally:
        await pg.close()


async def test_a_database_that_this_version_does_not_know_is_refused(
    pg_dsn_bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of(monkeypatch, *STEPS)
    await migrate(pg_dsn_bare)
    of(monkeypatch, STEPS[0], STEPS[2])
    with pytest.raises(MigrationError, match=r"002_t.sql, which this version does not know"):
        await migrate(pg_dsn_bare)
    of(monkeypatch, STEPS[0], STEPS[1]._replace(sql="SELECT 1"), STEPS[2])
    with pytest.raises(MigrationError, match=r"002_t.sql was changed"):
        await migrate(pg_dsn_bare)
