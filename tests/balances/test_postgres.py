"""Which hosts an address of PostgreSQL names, and which of them is taken."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from balances.postgres import GONE, connect, hosts, named

ONE = "postgresql://ocs:s%40x@db1:5433/ocs?sslmode=require"


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:p%40@h1:1,h2,[::1]:3/d?sslmode=require", ["h1:1", "h2", "[::1]:3"]),
        ("postgresql://u@/d?host=/run/a,/run/b&port=5432", ["/run/a:5432", "/run/b:5432"]),
        ("postgresql://u@/d?host=h1,h2&port=1,2", ["h1:1", "h2:2"]),
        (ONE, ["db1:5433"]),
    ],
)
def test_each_host_is_an_address_of_its_own(dsn: str, expected: list[str]) -> None:
    found = hosts(dsn)
    assert [named(one.dsn) for one in found] == expected
    for one in found:
        parts = urlsplit(one.dsn)
        assert (parts.username, parts.password, parts.path) == (
            urlsplit(dsn).username,
            urlsplit(dsn).password,
            urlsplit(dsn).path,
        )
        assert one.attributes == ("read-write" if len(expected) > 1 else None)


@pytest.mark.parametrize("said", ["", "60"])
async def test_a_server_is_told_to_notice_soon_that_a_host_is_gone(pg_dsn: str, said: str) -> None:
    """Else its locks, of the rows of a shard for instance, are kept for hours; over a socket of this machine that has
    no effect. What the address says is left."""
    joint = "&" if "?" in pg_dsn else "?"
    pg = await connect(pg_dsn + (f"{joint}tcp_keepalives_idle={said}" if said else ""))
    try:
        rows = await pg.fetch("SELECT name, reset_val FROM pg_settings WHERE source = 'client'")
    finally:
        await pg.close()
    found = dict(rows)
    assert {name: found.get(name) for name in GONE} == GONE | ({"tcp_keepalives_idle": said} if said else {})


def test_what_a_server_has_to_be_is_said_or_it_takes_writes() -> None:
    found = hosts("postgresql://h1,h2/d?target_session_attrs=any&sslmode=require")
    assert [one.attributes for one in found] == ["any", "any"]
    assert [parse_qs(urlsplit(one.dsn).query) for one in found] == [{"sslmode": ["require"]}] * 2


def test_hosts_and_ports_of_other_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="3 hosts and 2 ports"):
        hosts("postgresql:///d?host=a,b,c&port=1,2")


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A host that accepts connections and says nothing, as one does that is frozen."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def _beside(pg_dsn: str, first: str) -> str:
    """An address that names another host before the real one."""
    query = parse_qs(urlsplit(pg_dsn).query)
    host, _, port = first.rpartition(":")
    path = urlsplit(pg_dsn).path
    return f"postgresql://ocs@{path}?host={host},{query['host'][0]}&port={port},{query['port'][0]}"


async def test_a_silent_host_keeps_nobody_from_the_next(pg_dsn: str, silent: str) -> None:
    pg = await connect(await _beside(pg_dsn, silent))
    assert await pg.fetchval("SELECT 1") == 1
    await pg.close()


async def test_neither_does_one_that_refuses(pg_dsn: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        pg = await connect(await _beside(pg_dsn, f"127.0.0.1:{taken.getsockname()[1]}"))
        await pg.close()


async def test_where_none_can_be_used_each_says_why(silent: str, tmp_path: Path) -> None:
    host, _, port = silent.rpartition(":")
    with pytest.raises(ConnectionError, match=r"no host of PostgreSQL can be used: .*TimeoutError"):
        await connect(f"postgresql://ocs@/d?host={host},{tmp_path}&port={port},5432", timeout=1.0)


async def test_what_no_host_would_mend_is_said_at_once(pg_dsn: str, silent: str) -> None:
    dsn = (await _beside(pg_dsn, silent)).replace(urlsplit(pg_dsn).path + "?", "/nowhere?")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await connect(dsn)


async def test_a_host_that_is_not_to_be_taken_is_passed_over(pg_dsn: str) -> None:
    query = parse_qs(urlsplit(pg_dsn).query)
    twice = f"postgresql://ocs@{urlsplit(pg_dsn).path}?host={query['host'][0]},{query['host'][0]}&port=5432,5432"
    met: list[Any] = []

    async def meet(pg: Any) -> None:
        met.append(pg)
        if len(met) == 1:
            raise ConnectionError("a former one")

    pg = await connect(twice, meet=meet)
    assert pg is met[1]
    assert met[0].is_closed()
    await asyncio.wait_for(pg.close(), 60)
