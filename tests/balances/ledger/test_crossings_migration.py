"""Crossings that an earlier version put on record, after the migration that made objects of them."""

from __future__ import annotations

import asyncpg
import msgspec

from balances.migrations.migrate import migrate, migrations

STEP = "015_crossings.sql"


async def test_words_of_before_become_objects(pg_dsn_bare: str) -> None:
    steps = migrations()
    before = next(step.number for step in steps if step.name == STEP) - 1
    pg = await asyncpg.connect(pg_dsn_bare)
    try:
        await pg.execute(
            "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
            " at timestamptz NOT NULL DEFAULT now())"
        )
        for step in steps[:before]:
            await pg.execute(step.sql)
            await pg.execute("INSERT INTO migrations VALUES ($1, $2, $3)", step.number, step.name, step.digest)
        for n, words in enumerate((None, ["suspend"], ["suspend", "resume"])):
            await pg.execute(
                "INSERT INTO calls (shard, epoch, n, position, account, session, kind, phase, subscriber, service,"
                " request_key, fingerprint, end_to_end, at_ms, event_ms, opens, threshold_events)"
                " VALUES (1, 1, $1, $1, 'a', '', 'post', 0, '', '', '', '', 0, 0, 0, false, $2)",
                n,
                words,
            )
        assert (await migrate(pg_dsn_bare))[0] == STEP
        rows = await pg.fetch("SELECT threshold_events::text AS crossings, generation FROM calls ORDER BY n")
    finally:
        await pg.close()
    assert [row["generation"] for row in rows] == [0, 0, 0]
    assert rows[0]["crossings"] is None
    told = [msgspec.json.decode(row["crossings"]) for row in rows[1:]]
    assert [[(one["kind"], one["of"], one["unit"]) for one in row] for row in told] == [
        [("suspend", "account", "money")],
        [("suspend", "account", "money"), ("resume", "account", "money")],
    ]
