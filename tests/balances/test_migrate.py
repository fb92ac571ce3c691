"""Two builds on one database: the older goes on beside what the newer has added, and refuses where it cannot."""

import asyncio

import asyncpg
import pytest

from balances.migrations.migrate import Migration, MigrationError, _migrate, migrations

STEPS = migrations()
LAST = STEPS[-1].number


def step(number: int, sql: str = "SELECT 1") -> Migration:
    return Migration(number, f"{number:03}_test.sql", sql)


async def test_a_build_works_beside_what_a_newer_one_has_added(pg_dsn_bare: str) -> None:
    pg = await asyncpg.connect(pg_dsn_bare)
    try:
        await _migrate(pg, STEPS)
        assert await _migrate(pg, [*STEPS, step(LAST + 1, "CREATE TABLE more (a int)")]) == [f"{LAST + 1:03}_test.sql"]
        assert await _migrate(pg, STEPS) == []
    finally:
        await pg.close()


async def test_a_build_refuses_a_step_that_says_it_has_to_be_known(pg_dsn_bare: str) -> None:
    pg = await asyncpg.connect(pg_dsn_bare)
    try:
        needed = step(LAST + 1, f"-- needs: {LAST + 1:03}: another meaning of what is there\nSELECT 1")
        await _migrate(pg, [*STEPS, needed])
        with pytest.raises(MigrationError, match="does not know"):
            await _migrate(pg, STEPS)
        assert await _migrate(pg, [*STEPS, needed]) == []
    finally:
        await pg.close()


async def test_a_step_with_a_smaller_number_is_not_left_out(pg_dsn_bare: str) -> None:
    pg = await asyncpg.connect(pg_dsn_bare)
    try:
        await _migrate(pg, [*STEPS, step(LAST + 2)])
        assert await _migrate(pg, [*STEPS, step(LAST + 1), step(LAST + 2)]) == [f"{LAST + 1:03}_test.sql"]
    finally:
        await pg.close()


async def test_a_step_that_was_changed_is_refused(pg_dsn_bare: str) -> None:
    pg = await asyncpg.connect(pg_dsn_bare)
    try:
        await _migrate(pg, [*STEPS, step(LAST + 1)])
        with pytest.raises(MigrationError, match="was changed"):
            await _migrate(pg, [*STEPS, step(LAST + 1, "SELECT 2")])
    finally:
        await pg.close()


async def test_a_step_waits_for_a_lock_without_keeping_the_copy_waiting(
    pg_dsn_bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report reads a big table for an hour. Who waits for its lock has everybody else wait behind: so it is given up,
    and tried again."""
    monkeypatch.setattr("balances.migrations.migrate.LOCK_MS", 20)
    monkeypatch.setattr("balances.migrations.migrate.AGAIN_S", 0.01)
    pg, report = await asyncpg.connect(pg_dsn_bare), await asyncpg.connect(pg_dsn_bare)
    copy = await asyncpg.connect(pg_dsn_bare)
    try:
        await _migrate(pg, STEPS)
        reading = report.transaction()
        await reading.start()
        await report.fetch("SELECT FROM calls LIMIT 1")
        wanted = step(LAST + 1, "ALTER TABLE calls ADD COLUMN more integer")
        migrating = asyncio.ensure_future(_migrate(pg, [*STEPS, wanted]))
        for _ in range(20):
            await copy.execute("DELETE FROM calls WHERE shard = 1")
        assert not migrating.done()
        await reading.rollback()
        assert await migrating == [wanted.name]
    finally:
        for one in (pg, report, copy):
            await one.close()
