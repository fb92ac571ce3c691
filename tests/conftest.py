"""Fixtures every test may use. A test that asks for none of them starts no server."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from ocs.processes.embedded import EmbeddedError
from tests.memory_disk import memory_disk
from tests.servers import LivePostgres, LiveValkey, Servers

# All servers of the tests, and all files of theirs: a database is copied and dropped for each test, some hundred
# files each. For this process and those that it starts, other workers too.
if "TMPDIR" not in os.environ and (found := memory_disk()) is not None:
    os.environ["TMPDIR"] = tempfile.tempdir = str(found)

# `make test` says the same about the same code every time; `make fuzz` goes looking. No deadlines: machines are shared.
settings.register_profile("test", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("fuzz", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("test")


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a test configured of the log, captured output included, is not the next one's."""
    yield
    structlog.reset_defaults()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stores")
    group.addoption(
        "--store",
        choices=["valkey", "redis"],
        default="valkey",
        help="the live store: the embedded Valkey, or the redis-server on PATH (skips when there is none)",
    )
    group.addoption("--durability", choices=["always", "everysec"], default="everysec", help="appendfsync of the store")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On another store only those tests say anything new that ask for it."""
    if config.getoption("--store") == "valkey":
        return
    asking = [one for one in items if isinstance(one, pytest.Function) and "valkey" in one.fixturenames]
    config.hook.pytest_deselected(items=[*{*items}.difference(asking)])
    items[:] = asking


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """Where this worker's servers keep their data; short, for the sake of socket paths; gone at the end."""
    path = Path(tempfile.mkdtemp(prefix="ocs-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey(request: pytest.FixtureRequest, server_dir: Path) -> Iterator[LiveValkey]:
    """This worker's Valkey: `.url`, `.socket`, `.pid`, `.restart()`, `.kill()`, `.start()`, `.fresh()`.

    It may hold what earlier tests left; ask for `redis_url` as well to find it running and empty.
    """
    binary = None
    if request.config.getoption("--store") == "redis":
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("no redis-server on PATH")
        binary = Path(found)
    server = LiveValkey(server_dir, durability=request.config.getoption("--durability"), binary=binary)
    try:
        server.start()
    except EmbeddedError as why:
        pytest.fail(str(why), pytrace=False)
    yield server
    server.kill()


@pytest.fixture
def redis_url(valkey: LiveValkey) -> str:
    """URL of a running, empty store (`unix://...`). Every test starts with no keys and no functions."""
    return valkey.fresh()


@pytest.fixture(scope="session")
def postgres(server_dir: Path) -> Iterator[LivePostgres]:
    """This worker's PostgreSQL: `.create_database()`, `.dsn_of(name)`, `.kill()`, `.start()`."""
    server = LivePostgres(server_dir)
    try:
        server.start()
    except EmbeddedError as why:
        pytest.fail(str(why), pytrace=False)
    yield server
    server.destroy()


@pytest.fixture
def pg_dsn(postgres: LivePostgres) -> Iterator[str]:
    """DSN of a new database with balances/migrations applied and no rows; dropped afterwards, in use or not."""
    name = postgres.create_database()
    yield postgres.dsn_of(name)
    postgres.drop_database(name)


@pytest.fixture
def pg_dsn_bare(postgres: LivePostgres) -> Iterator[str]:
    """DSN of a new database with nothing in it, for tests of the migrations themselves."""
    name = postgres.create_database(migrated=False)
    yield postgres.dsn_of(name)
    postgres.drop_database(name)


@pytest.fixture
def servers(redis_url: str, pg_dsn: str, valkey: LiveValkey, postgres: LivePostgres) -> Servers:
    """Both stores, fresh: `.redis_url`, `.pg_dsn`, and `.valkey`, `.postgres` to restart or kill."""
    return Servers(redis_url, pg_dsn, valkey, postgres)
