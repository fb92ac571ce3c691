"""Which migrations a database gets."""

from __future__ import annotations

import asyncio

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


async def test_who_holds_a_step_up_is_told(pg_dsn_bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, STEPS[0])
    await migrate(pg_dsn_bare)
    monkeypatch.setattr(module, "LOCK_MS", 20)
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    of(monkeypatch, STEPS[0], STEPS[1]._replace(sql="ALTER TABLE t1 ADD COLUMN a integer"))
    told: list[str] = []
    reader = await asyncpg.connect(pg_dsn_bare, server_settings={"application_name": "a report"})
    try:
        report = reader.transaction()
        await report.start()
        await reader.fetch("SELECT * FROM t1")
        work = asyncio.ensure_future(migrate(pg_dsn_bare, told.append))
        async with asyncio.timeout(60):
            while len(told) < 2:
                await asyncio.sleep(0.01)
            await report.rollback()
            assert await work == ["002_t.sql"]
    finally:
        await reader.close()
    assert "002_t.sql waits for a lock" in told[0]
    assert "(a report) is in a transaction" in told[0]
    assert "SELECT * FROM t1" in told[0]
