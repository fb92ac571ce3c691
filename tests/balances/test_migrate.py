"""Two builds on one database: the older goes on beside what the newer has added, and refuses where it cannot."""

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
