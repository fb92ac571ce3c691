"""The real servers of a test run: one Valkey and one PostgreSQL per xdist worker, thrown away at its end.

The fixtures are in conftest.py. Never a fake: the first draft of charge.lua had a fault only a real server shows.
"""

import asyncio
import itertools
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import redis

from balances.migrations.migrate import migrate
from ocs.processes.embedded import Durability, EmbeddedPostgres, EmbeddedValkey

ROOT = Path(__file__).parent.parent


class LiveValkey(EmbeddedValkey):
    """A Valkey (or Redis) that tests may restart, kill and flush."""

    def __init__(self, data_dir: Path, *, durability: Durability, binary: Path | None = None) -> None:
        settings = {
            "enable-debug-command": "local",
            "auto-aof-rewrite-percentage": "0",  # no fork in the middle of a test
        }
        super().__init__(data_dir, durability=durability, binary=binary, settings=settings)
        self._settings_at_start: dict[str, str] = {}

    def restart(self) -> str:
        """Stop in good order and start again on the same data."""
        self.stop()
        return self.start()

    def fresh(self) -> str:
        """Running, empty, without functions, and set as it was started, whatever the last test did to it."""
        if not self.alive:
            self.kill()
            self.start()
        with redis.Redis.from_url(self.url) as client:
            self._set_back(client)  # first: some settings refuse what comes next
            client.flushall()
            client.function_flush("SYNC")
        return self.url

    def _set_back(self, client: Any) -> None:
        """What CONFIG SET, ACL SETUSER and CLIENT PAUSE have changed. All settings are looked at, so that nobody has to
        keep a list of those that tests change."""
        with client.pipeline(transaction=False) as pipe:
            pipe.config_get("*")
            pipe.acl_users()
            pipe.client_unpause()
            now, users, _ = pipe.execute()
        if not self._settings_at_start:
            self._settings_at_start = now
        changed = {name: value for name, value in self._settings_at_start.items() if now[name] != value}
        if changed:
            client.config_set(*itertools.chain(*changed.items()))
        if added := {*users} - {"default"}:
            client.acl_deluser(*added)


class LivePostgres(EmbeddedPostgres):
    """A PostgreSQL that makes a fresh database in a few milliseconds, copied from one with the migrations applied."""

    def __init__(self, data_dir: Path) -> None:
        # No test here cuts the power: durability of PostgreSQL is PostgreSQL's.
        settings = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
        super().__init__(data_dir, settings=settings)
        self._numbers = itertools.count(1)
        # A loop of our own that is never installed as current, so that it is invisible to pytest-asyncio.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._has_template = False

    def create_database(self, *, migrated: bool = True) -> str:
        """The name of a new database."""
        if not self.alive:
            self.kill()
            self.start()
        if migrated and not self._has_template:
            self._sql("CREATE DATABASE migrated")
            self._run(migrated_to_now(self.dsn_of("migrated")))
            self._has_template = True
        name = f"test_{next(self._numbers)}"
        # FILE_COPY: with fsync off, cheaper than writing the copy to the WAL.
        self._sql(f"CREATE DATABASE {name} TEMPLATE {'migrated' if migrated else 'template0'} STRATEGY file_copy")
        return name

    def drop_database(self, name: str) -> None:
        if self.alive:
            self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def destroy(self) -> None:
        self._runner.close()
        self.stop()  # not kill: that would leave a segment of System V shared memory behind
        shutil.rmtree(self.home, ignore_errors=True)  # as root it may be far from the data directory

    def _sql(self, sql: str, database: str = "postgres") -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.dsn_of(database))
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        self._run(run())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._runner.run(work)


async def migrated_to_now(dsn: str) -> None:
    await migrate(dsn)


@dataclass(frozen=True)
class Servers:
    """Both, fresh for one test; the objects behind them for tests that restart or kill."""

    redis_url: str
    pg_dsn: str
    valkey: LiveValkey
    postgres: LivePostgres
