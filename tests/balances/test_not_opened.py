"""An INITIAL that came to nothing leaves nothing behind that says where its session is."""

import asyncio

import redis.asyncio

from balances import keys
from balances.redis.connection import RedisConnection
from balances.redis.store import Store


async def test_only_what_is_no_session_is_forgotten(redis_url: str) -> None:
    """A session that is there, or that a repeat opened meanwhile, keeps it."""
    client = redis.asyncio.Redis.from_url(redis_url)
    link = RedisConnection(redis_url, now_ms=lambda: 0, unfenced=True)
    await link.start(5)
    store = Store(link)
    try:
        await client.hset(keys.account("anna"), "open", "as it is")
        for session in ("open", "never"):
            await client.set(keys.where(session), keys.place("anna", "sub"))
            store.not_opened("anna", session, "sub")
        async with asyncio.timeout(30):
            while await store.where("never").wait() is not None:
                await asyncio.sleep(0.005)
        assert await store.where("open").wait() == ("anna", "sub")
    finally:
        await link.stop()
        await client.aclose()
