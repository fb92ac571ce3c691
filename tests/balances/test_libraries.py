"""The library of functions: loaded once, kept as data are, two versions side by side, old ones deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from balances import keys
from balances.packing import fresh_account, pack
from balances.redis import libraries, scripts
from balances.redis.connection import RedisConnection
from balances.redis.primaries import plain
from balances.structs import session, table
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening
from tests.servers import LiveValkey


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    client: Any = redis.asyncio.Redis.from_url(redis_url, protocol=2)
    yield client
    await client.aclose()


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> scripts.Library:
    """What another version has: one number is not ours."""
    with monkeypatch.context() as patched:
        patched.setattr(session, "INTERVALS_MAX", session.INTERVALS_MAX + 1)
        patched.setattr(scripts, "NUMBERS", table.numbers())
        return scripts.library()


async def opened(client: Any, account_id: str, library: scripts.Library = scripts.LIBRARY) -> bytes:
    account = fresh_account(account_id, "EUR")
    of = keys.AccountKeys(account_id)
    opening = AccountOpening(raw_of(pack(account)), [], [], 1_000, "open")
    names = (of.account, of.due, of.ledger)
    reply: list[bytes] = await client.fcall(library.functions["open"], len(names), *names, "7", pack(opening))
    return reply[0]


async def loaded(client: Any) -> set[str]:
    return set(await libraries._loaded(client))


def test_a_version_is_named_by_what_is_in_it(another: scripts.Library) -> None:
    assert scripts.library() == scripts.LIBRARY
    assert another.name != scripts.LIBRARY.name
    assert not set(another.functions.values()) & set(scripts.LIBRARY.functions.values())


async def test_it_is_loaded_once_however_many_want_it(client: Any) -> None:
    for _ in range(3):
        await libraries.load(client)
    assert await loaded(client) == {scripts.LIBRARY.name}


async def test_another_fault_of_loading_is_told(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "LIBRARY", scripts.Library("x", "#!lua name=x\nthis is no Lua", {}))
    with pytest.raises(redis.ResponseError, match="compiling"):
        await libraries.load(client)


async def test_two_versions_work_side_by_side(client: Any, another: scripts.Library) -> None:
    """As in an upgrade: neither loads the other's away."""
    await client.function_load(another.text)
    await libraries.load(client)
    assert await opened(client, "a") == b"ok"
    assert await opened(client, "a", another) == b"exists"
    assert await opened(client, "b", another) == b"ok"


async def test_they_come_back_with_the_data(client: Any, valkey: LiveValkey) -> None:
    """A server that starts again reads them from its file, before anybody has connected."""
    await libraries.load(client)
    assert await opened(client, "a") == b"ok"
    valkey.restart()
    await client.connection_pool.disconnect()
    assert await opened(client, "a") == b"exists"


async def test_data_may_go_without_them(client: Any) -> None:
    await libraries.load(client)
    assert await opened(client, "a") == b"ok"
    await client.flushall()
    assert await opened(client, "a") == b"ok"


# --- those that nobody uses


async def test_whoever_connects_says_which_it_uses(client: Any, redis_url: str) -> None:
    link = RedisConnection(redis_url, now_ms=lambda: 1_000, unfenced=True)
    await link.start(30)
    await link.stop()
    ((name, at_ms),) = await client.zrange(keys.LIBRARIES, 0, -1, withscores=True)
    assert name.decode() == scripts.LIBRARY.name
    assert at_ms // 1_000 <= (await client.time())[0] <= at_ms // 1_000 + 60


async def test_it_is_said_again(client: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the store was emptied: it is not said once and for all."""
    monkeypatch.setattr("balances.redis.connection.SAY_S", 0)
    link = RedisConnection(redis_url, now_ms=lambda: 1_000, unfenced=True)
    await link.start(30)
    await client.delete(keys.LIBRARIES)
    async with asyncio.timeout(30):
        while not await client.exists(keys.LIBRARIES):
            await asyncio.sleep(0.05)
    await link.stop()


async def used(client: Any, library: scripts.Library, ago_ms: int) -> None:
    await client.zadd(keys.LIBRARIES, {library.name: (await client.time())[0] * 1_000 - ago_ms})


async def test_one_that_nobody_uses_any_more_is_deleted(client: Any, another: scripts.Library) -> None:
    await client.function_load(another.text)
    await libraries.load(client)
    await used(client, another, libraries.KEPT_MS + 60_000)
    assert await libraries.drop_unused(client, [plain(client)]) == [another.name]
    assert await loaded(client) == {scripts.LIBRARY.name}
    assert await libraries.drop_unused(client, [plain(client)]) == []


async def test_one_that_another_host_uses_is_kept(client: Any, another: scripts.Library) -> None:
    await client.function_load(another.text)
    await used(client, another, libraries.KEPT_MS - 60_000)
    assert await libraries.drop_unused(client, [plain(client)]) == []
    assert await loaded(client) == {another.name}


async def test_a_version_that_never_said_so_is_deleted_and_what_is_not_ours_is_kept(
    client: Any, another: scripts.Library
) -> None:
    await client.function_load(another.text)
    await client.function_load("#!lua name=mine\nredis.register_function('mine', function() return 1 end)")
    assert await libraries.drop_unused(client, [plain(client)]) == [another.name]
    assert await loaded(client) == set()
    assert await client.fcall("mine", 0) == 1
