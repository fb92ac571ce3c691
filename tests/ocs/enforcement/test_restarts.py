"""Sessions of a host that restarted are ended, and no others; a crash in between is made good."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from balances import keys
from balances.packing import ACCOUNT_FIELD, fresh_account, pack, stored_account, unpack_session
from balances.redis.connection import RedisConnection
from balances.redis.store import Store
from balances.structs.account import Take
from balances.structs.posting import Expire
from balances.structs.session import Line, Session, SessionState
from ocs.clock import now_ms
from ocs.enforcement.restarts import Restarts, RestartWalk, is_lost
from ocs.net.diameter.origins import Origins
from ocs.net.radius.restarts import NasRestarts
from ocs.net.step import stepped

OPEN, ABANDONED, CLOSED = SessionState.OPEN, SessionState.ABANDONED, SessionState.CLOSED


def session(name: str, peer: str = "gw.net", origin_state: int = 5, state: int = OPEN) -> Session:
    line = Line(10, -1, 1, hold=[Take(0, 50)], granted=50, due_ms=now_ms() + 10**6)
    return Session(
        1,
        name,
        "s",
        "data",
        state,
        peer,
        "r",
        peer,
        0,
        7,
        0,
        0,
        [],
        [],
        [line] if state == OPEN else [],
        origin_state=origin_state,
    )


class World:
    def __init__(self, redis: Any, link: RedisConnection) -> None:
        self.redis, self.store = redis, Store(link)
        self.origins = Origins(link, lambda _host: False)
        self.alarms: list[str] = []
        self.ignored: set[str] = set()
        self.restarts = self.anew()

    def anew(self) -> Restarts:
        """A keeper that comes after this one."""
        return Restarts(
            self.redis, self.store, now_ms=now_ms, ignores=self.ignored.__contains__, alarm=self.alarms.append
        )

    async def open(self, account: str, *sessions: Session) -> None:
        state = fresh_account(account, "EUR")
        state.buckets[0].amount = 1_000
        state.buckets[0].held = sum(take.amount for one in sessions for line in one.lines for take in line.hold)
        await self.redis.hset(keys.account(account), ACCOUNT_FIELD, pack(state))
        for one in sessions:
            await self.redis.hset(keys.account(account), one.id, pack(one))
            member = keys.due_member(account, one.id)
            await self.redis.zadd(keys.due(keys.shard_of(account)), {member: now_ms() + 10**6})

    async def states(self, account: str) -> dict[str, int]:
        stored = stored_account(await self.redis.hgetall(keys.account(account)))
        return {one.id: one.state for one in map(unpack_session, stored.sessions.values())}

    async def held(self, account: str) -> int:
        found = await self.store.account(account).wait()
        assert found is not None
        return found.buckets[0].held

    async def says(self, host: str, value: int) -> None:
        self.origins.note(host, value)
        await self.store.link.command("PING").wait()  # in order behind what was told
        await asyncio.sleep(0)
        await self.store.link.command("PING").wait()

    async def finish(self, restarts: Restarts | None = None) -> int:
        steps = 0
        while await (restarts or self.restarts).step() is not None:
            steps += 1
        return steps


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    link = RedisConnection(redis_url, now_ms=now_ms, unfenced=True)
    await link.start(5)
    async with Redis.from_url(redis_url) as redis, contextlib.AsyncExitStack():
        yield World(redis, link)
    await link.stop()


async def test_sessions_opened_under_a_lower_value_end(world: World) -> None:
    """charging.md section 8: of that host, under a lower value; who did not say one is left alone."""
    await world.says("GW.net", 5)
    await world.open("acc", session("lost"), session("new", origin_state=6), session("silent", origin_state=0),
                     session("other", peer="other.net"), session("over", state=CLOSED))  # fmt: skip
    for number in range(300):
        await world.open(f"acc{number}", session(f"s{number}", peer="gw.NET"))
    assert await world.finish() == 0
    await world.says("gw.net", 6)
    assert await world.finish() == keys.SHARDS
    states = await world.states("acc")
    assert states == {"lost": ABANDONED, "new": OPEN, "silent": OPEN, "other": OPEN, "over": CLOSED}
    assert await world.held("acc") == 150
    assert [await world.held(f"acc{number}") for number in range(300)] == [0] * 300
    assert world.restarts.ended == 301
    assert await world.finish() == 0


async def test_the_first_value_of_a_host_ends_nothing(world: World) -> None:
    await world.open("acc", session("s"))
    await world.says("gw.net", 9)
    assert await world.finish() == 0
    assert await world.states("acc") == {"s": OPEN}


async def test_a_keeper_that_comes_after_a_crash_goes_on(world: World) -> None:
    await world.says("gw.net", 5)
    for number in range(300):
        await world.open(f"acc{number}", session(f"s{number}"))
    await world.says("gw.net", 6)
    for _ in range(100):
        assert await world.restarts.step() is not None
    half = world.restarts.ended
    assert 0 < half < 300
    later = world.anew()
    assert await world.finish(later) == keys.SHARDS - 100
    assert half + later.ended == 300


async def test_a_host_that_rises_again_while_it_is_walked(world: World) -> None:
    await world.says("gw.net", 5)
    await world.open("acc", session("five"), session("six", origin_state=6))
    await world.says("gw.net", 6)
    await world.restarts.step()
    await world.says("gw.net", 7)
    assert await world.finish() == 2 * keys.SHARDS - 1
    assert await world.states("acc") == {"five": ABANDONED, "six": ABANDONED}


async def test_a_session_that_is_touched_meanwhile_is_looked_at_again(world: World, monkeypatch: Any) -> None:
    """It reports under the new value: it is not lost. Or once more under the old one: it is."""
    await world.says("gw.net", 5)
    await world.open("acc", session("alive"), session("late"))
    await world.says("gw.net", 6)
    expire, touched = world.store.expire, set()

    def slow(asked: Expire) -> Any:
        if asked.session not in touched:
            touched.add(asked.session)
            asked.touched_ms -= 1  # as if it had been touched since it was read
            if asked.session == "alive":
                changed = session("alive", origin_state=6)
                changed.touched_ms = 8
                world.store.link.command("HSET", keys.account("acc"), "alive", pack(changed))
        return expire(asked)

    monkeypatch.setattr(world.store, "expire", slow)
    await world.finish()
    assert await world.states("acc") == {"alive": OPEN, "late": ABANDONED}


async def test_a_host_that_says_a_lower_value_again_is_not_believed(world: World) -> None:
    await world.says("gw.net", 5)
    await world.says("gw.net", 6)
    await world.says("gw.net", 5)
    await world.open("acc", session("s"))
    await world.says("gw.net", 7)
    assert await world.finish() == 0
    assert await world.states("acc") == {"s": OPEN}
    assert len(world.alarms) == 1
    assert "gw.net" in world.alarms[0]
    world.ignored.add("gw.net")
    quiet = world.anew()
    assert await world.finish(quiet) == 0
    assert len(world.alarms) == 1


async def test_it_is_doubted_while_it_is_walked(world: World) -> None:
    await world.says("gw.net", 5)
    await world.open("acc", session("s"))
    await world.says("gw.net", 6)
    if keys.shard_of("acc") > 0:
        await world.restarts.step()
    await world.says("gw.net", 5)
    assert await world.finish() == 0
    assert await world.states("acc") == {"s": OPEN}
    assert not await world.redis.exists(keys.ORIGINS_WALK)


def test_which_sessions_are_lost() -> None:
    hosts = RestartWalk({"gw.net": 6}).hosts
    assert is_lost(session("s"), hosts)
    assert not is_lost(session("s", origin_state=6), hosts)
    assert not is_lost(session("s", origin_state=7), hosts)
    assert not is_lost(session("s", origin_state=0), hosts)
    assert not is_lost(session("s", state=ABANDONED), hosts)
    assert not is_lost(session("s", peer="other.net"), hosts)


async def note(world: World, nas: str, at_s: int) -> None:
    assert await stepped(NasRestarts(world.store.link).note(nas, at_s))


async def test_a_nas_that_was_switched_on_ends_what_began_before(world: World) -> None:
    """charging.md section 8, Accounting-On: only sessions that began before it, the first time too."""
    nas = "radius:bras:BRAS1"
    await world.open("acc", session("before", peer=nas, origin_state=1_000), session("after", nas, 2_000))
    await note(world, nas, 1_500)
    assert await world.finish() == keys.SHARDS
    assert await world.states("acc") == {"before": ABANDONED, "after": OPEN}
    assert await world.held("acc") == 50


async def test_an_accounting_on_that_comes_late_or_again_ends_nothing_more(world: World) -> None:
    nas = "radius:bras:bras1"
    await note(world, nas, 1_500)
    assert await world.finish() == keys.SHARDS
    await world.open("acc", session("s", peer=nas, origin_state=1_600))
    for at_s in (1_500, 1_400):
        await note(world, nas, at_s)
        assert await world.finish() == 0
    assert await world.states("acc") == {"s": OPEN}
    assert world.alarms == []  # an old one that was kept says nothing against the NAS
