"""What workers read follows the master data, whoever projects, whatever was lost."""

import asyncio
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.packing import unpack_account
from balances.redis.connection import NotSent
from ocs.charging.profile import Profile
from ocs.master import projection, subscribers
from ocs.master.profiles import ProfileCache
from ocs.master.projection import TOKEN, TOLD, Overtaken, project
from ocs.master.subscribers import Subscriber
from tests.ocs.api_harness import Office


def anyway(_version: int | None) -> None:
    pass


async def put(desk: Office, subscriber: str, account: str, *identities: str) -> None:
    """As another process would, that has not projected yet."""
    await subscribers.put(desk.pool, Subscriber(subscriber, account, identities, ()), None, 1, anyway)


async def run(desk: Office) -> int:
    return await project(desk.pool, desk.redis, projection.teller(desk.store, desk.now_ms))


async def accounts_of(desk: Office) -> dict[str, str]:
    """Who pays, by identity, as workers see it."""
    found = {}
    async for key in desk.redis.scan_iter("profile:*"):
        profile = msgspec.msgpack.decode(await desk.redis.get(key), type=Profile)
        found[key.decode().removeprefix("profile:")] = profile.account
    return found


@pytest.fixture
async def desk(desk: Office) -> Office:
    for account in ("a1", "a2"):
        await desk.account(account)
    await put(desk, "s1", "a1", "msisdn:491", "imsi:001")
    await put(desk, "s2", "a2", "msisdn:492")
    await run(desk)
    return desk


BEFORE = {"msisdn:491": "a1", "imsi:001": "a1", "subscriber:s1": "a1", "msisdn:492": "a2", "subscriber:s2": "a2"}


async def test_changes_and_removals_follow(desk: Office) -> None:
    assert await accounts_of(desk) == BEFORE
    await put(desk, "s1", "a2", "msisdn:491")
    await put(desk, "s2", "a2", "msisdn:492", "imsi:001")
    number = await run(desk)
    assert await accounts_of(desk) == dict.fromkeys(BEFORE, "a2")
    assert await desk.redis.mget(keys.PROJECTED, TOLD) == [str(number).encode()] * 2
    assert await run(desk) == number


async def moved(desk: Office, identity: str) -> bool:
    """Whether workers look where a session is before they believe who its subscriber is."""
    return msgspec.msgpack.decode(await desk.redis.get(keys.profile(identity)), type=Profile).moved_ms > 0


async def test_sessions_of_whoever_had_the_identity_before_stay_theirs(desk: Office) -> None:
    """charging.md section 5: payer and shard are fixed when the session opens; settlement always goes there."""
    assert not await moved(desk, "msisdn:491")
    await put(desk, "s1", "a1", "imsi:001")
    await put(desk, "s2", "a2", "msisdn:492", "msisdn:491")
    await put(desk, "s3", "a1", "msisdn:493")
    await run(desk)
    assert await moved(desk, "msisdn:491")
    assert not await moved(desk, "imsi:001")
    assert not await moved(desk, "msisdn:493")
    await put(desk, "s3", "a2", "msisdn:493")
    await run(desk)
    assert await moved(desk, "msisdn:493")


async def test_all_of_it_comes_back_when_redis_lost_it(desk: Office) -> None:
    await desk.tariff()
    await desk.redis.flushall()
    await run_without_pass(desk)
    assert await accounts_of(desk) == BEFORE
    assert await desk.redis.hexists(keys.CATALOG, "documents")


async def run_without_pass(desk: Office) -> None:
    """The flush took the pass too; accounts that are gone need not be told."""

    async def nobody(_account: str, _change: int) -> None:
        pass

    await project(desk.pool, desk.redis, nobody)


async def test_a_run_that_failed_to_tell_is_made_good(desk: Office) -> None:
    await put(desk, "s1", "a2", "msisdn:491")

    async def fails(_account: str, _change: int) -> None:
        raise NotSent("no pass")

    with pytest.raises(NotSent):
        await project(desk.pool, desk.redis, fails)
    assert (await accounts_of(desk))["msisdn:491"] == "a2"
    number = await run(desk)
    for account in ("a1", "a2"):
        assert unpack_account(await desk.redis.get(keys.account(account))).profile_rev == number


async def test_a_run_that_was_overtaken_writes_nothing(desk: Office) -> None:
    await put(desk, "s1", "a2", "msisdn:491")
    at_the_door = desk.redis.mget

    async def mget(*names: str) -> Any:
        await desk.redis.incr(TOKEN)  # another begins, because this one's connection to PostgreSQL seemed dead
        return await at_the_door(*names)

    desk.redis.mget = mget
    with pytest.raises(Overtaken):
        await run(desk)
    desk.redis.mget = at_the_door
    assert await accounts_of(desk) == BEFORE
    await run(desk)
    assert (await accounts_of(desk))["msisdn:491"] == "a2"


async def test_postgres_went_back(desk: Office) -> None:
    """A backup was restored: what Redis has of later changes must go, and numbers go on above those once told."""
    told = await run(desk)
    await desk.pool.execute("DELETE FROM assignments; DELETE FROM identities; DELETE FROM subscribers")
    await desk.pool.execute("UPDATE master SET change = 1")
    assert await run(desk) > told
    assert await accounts_of(desk) == {}
    await put(desk, "s3", "a1", "msisdn:493")
    await run(desk)
    assert await accounts_of(desk) == {"msisdn:493": "a1", "subscriber:s3": "a1"}


async def test_many_at_once(desk: Office) -> None:
    """More waiting than there are connections, in two processes, and a subscriber that moves all the while."""

    async def move(number: int) -> None:
        await put(desk, "s1", ("a1", "a2")[number % 2], "msisdn:491")
        await desk.projector.project()

    await asyncio.gather(*(move(number) for number in range(20)), *(run(desk) for _ in range(10)))
    at_last = await subscribers.get(desk.pool, "s1")
    assert at_last is not None
    assert (await accounts_of(desk))["msisdn:491"] == at_last.account


async def test_a_worker_knows_what_is_projected(desk: Office) -> None:
    profiles = ProfileCache(desk.link)
    assert profiles.get("msisdn:491") is None
    found = await profiles.load(["imsi:999", "msisdn:491"]).wait()
    assert found is not None
    number = await run(desk)
    assert (found.account, found.rev) == ("a1", number)
    assert profiles.get("msisdn:491") is found
    assert await profiles.load(["msisdn:499"]).wait() is None
    await put(desk, "s9", "a1", "msisdn:499")
    await run(desk)
    created = await profiles.load(["msisdn:499"]).wait()
    assert created is not None
    assert created.rev == number + 1
    await desk.redis.delete(keys.PROJECTED)
    assert (await profiles.load(["msisdn:491"]).wait()) is not None
    with pytest.raises(NotSent):
        await profiles.load(["msisdn:498"]).wait()


async def test_what_a_worker_keeps_is_bounded(desk: Office) -> None:
    profiles = ProfileCache(desk.link, kept_max=2)
    for identity in ("msisdn:491", "imsi:001"):
        await profiles.load([identity]).wait()
    profiles.get("msisdn:491")
    await profiles.load(["msisdn:492"]).wait()
    assert len(profiles) == 2
    assert profiles.get("imsi:001") is None
    assert profiles.get("msisdn:491") is not None
    await desk.redis.set(keys.profile("msisdn:491"), b"\xc1")
    with pytest.raises(NotSent):
        await profiles.load(["msisdn:491"]).wait()
