"""What workers read follows the master data, whoever projects, whatever was lost."""

import asyncio
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD, unpack_account
from balances.redis.calls import NotSent
from balances.redis.primaries import OnePrimary, Primary, plain
from ocs.charging.profile import Profile
from ocs.master import projection, subscribers
from ocs.master.profiles import ProfileCache
from ocs.master.projected_store import TOKEN, TOLD, Overtaken, SlottedStore, WholeStore
from ocs.master.projection import PostgresOlder, project
from ocs.master.subscribers import Subscriber
from ocs.stores.slow_paths import SlowPaths
from tests.ocs.api_harness import ApiHarness


def anyway(_version: int | None) -> None:
    pass


async def put(harness: ApiHarness, subscriber: str, account: str, *identities: str) -> None:
    """As another process would, that has not projected yet."""
    await subscribers.put(harness.pool, Subscriber(subscriber, account, identities, ()), None, 1, anyway)


async def run(harness: ApiHarness) -> int:
    return await project(harness.pool, WholeStore(harness.redis), projection.teller(harness.store, harness.now_ms))


async def accounts_of(harness: ApiHarness) -> dict[str, str]:
    """Who pays, by identity, as workers see it."""
    found = {}
    async for key in harness.redis.scan_iter("profile:*"):
        profile = msgspec.msgpack.decode(await harness.redis.get(key), type=Profile)
        found[key.decode().removeprefix("profile:")] = profile.account
    return found


@pytest.fixture
async def harness(harness: ApiHarness) -> ApiHarness:
    for account in ("a1", "a2"):
        await harness.account(account)
    await put(harness, "s1", "a1", "msisdn:491", "imsi:001")
    await put(harness, "s2", "a2", "msisdn:492")
    await run(harness)
    return harness


BEFORE = {"msisdn:491": "a1", "imsi:001": "a1", "subscriber:s1": "a1", "msisdn:492": "a2", "subscriber:s2": "a2"}


async def test_changes_and_removals_follow(harness: ApiHarness) -> None:
    assert await accounts_of(harness) == BEFORE
    await put(harness, "s1", "a2", "msisdn:491")
    await put(harness, "s2", "a2", "msisdn:492", "imsi:001")
    number = await run(harness)
    assert await accounts_of(harness) == dict.fromkeys(BEFORE, "a2")
    assert await harness.redis.mget(keys.PROJECTED, TOLD) == [str(number).encode()] * 2
    assert await run(harness) == number


async def moved(harness: ApiHarness, identity: str) -> bool:
    """Whether workers look where a session is before they believe who its subscriber is."""
    return msgspec.msgpack.decode(await harness.redis.get(keys.profile(identity)), type=Profile).moved_ms > 0


async def test_sessions_of_whoever_had_the_identity_before_stay_theirs(harness: ApiHarness) -> None:
    """charging.md section 5: payer and shard are fixed when the session opens; settlement always goes there."""
    assert not await moved(harness, "msisdn:491")
    await put(harness, "s1", "a1", "imsi:001")
    await put(harness, "s2", "a2", "msisdn:492", "msisdn:491")
    await put(harness, "s3", "a1", "msisdn:493")
    await run(harness)
    assert await moved(harness, "msisdn:491")
    assert not await moved(harness, "imsi:001")
    assert not await moved(harness, "msisdn:493")
    await put(harness, "s3", "a2", "msisdn:493")
    await run(harness)
    assert await moved(harness, "msisdn:493")


async def former(harness: ApiHarness, identity: str) -> list[str]:
    """Who paid before, as workers see it, the last one first."""
    profile = msgspec.msgpack.decode(await harness.redis.get(keys.profile(identity)), type=Profile)
    for one in profile.former:
        told = unpack_account(await harness.redis.hget(keys.account(one.account), ACCOUNT_FIELD)).profile_rev
        assert 0 < one.change <= told
    return [one.account for one in profile.former]


async def test_who_paid_before_is_known_by_identity(harness: ApiHarness) -> None:
    """charging.md section 19: whatever moved, the subscriber, an identity or one service."""
    assert await former(harness, "msisdn:491") == []
    await put(harness, "s1", "a2", "msisdn:491")
    await run(harness)
    assert await former(harness, "msisdn:491") == await former(harness, "subscriber:s1") == ["a1"]
    await put(harness, "s1", "a1", "msisdn:491")
    await put(harness, "s2", "a2", "msisdn:492", "imsi:001")
    await run(harness)
    assert await former(harness, "msisdn:491") == ["a2", "a1"]
    assert await former(harness, "imsi:001") == ["a1"]
    assert await former(harness, "msisdn:492") == []
    for payers in ({"sms": "a1"}, {"sms": "a2"}):
        subscriber = Subscriber("s2", "a2", ("msisdn:492",), (), payers=payers)
        await subscribers.put(harness.pool, subscriber, None, 1, anyway)
    await run(harness)
    assert await former(harness, "msisdn:492") == ["a1", "a2"]
    await subscribers.delete(harness.pool, "s1", 1, anyway)
    await put(harness, "s3", "a2", "msisdn:491")
    await run(harness)
    assert await former(harness, "msisdn:491") == ["a1", "a2"]


async def test_of_who_paid_before_only_the_last_are_kept(harness: ApiHarness) -> None:
    for number in range(10, 21):
        await harness.account(f"a{number}")
        await put(harness, "s1", f"a{number}", "msisdn:491")
    await run(harness)
    assert await former(harness, "msisdn:491") == [f"a{number}" for number in range(19, 11, -1)]


async def test_all_of_it_comes_back_when_redis_lost_it(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.redis.flushall()
    await run_without_pass(harness)
    assert await accounts_of(harness) == BEFORE
    assert await harness.redis.hexists(keys.CATALOG, "documents")


async def run_without_pass(harness: ApiHarness) -> None:
    """The flush took the pass too; accounts that are gone need not be told."""

    async def nobody(_account: str, _change: int, _limited: list[str]) -> None:
        pass

    await project(harness.pool, WholeStore(harness.redis), nobody)


async def test_a_run_that_failed_to_tell_is_made_good(harness: ApiHarness) -> None:
    await put(harness, "s1", "a2", "msisdn:491")

    async def fails(_account: str, _change: int, _limited: list[str]) -> None:
        raise NotSent("no pass")

    with pytest.raises(NotSent):
        await project(harness.pool, WholeStore(harness.redis), fails)
    assert (await accounts_of(harness))["msisdn:491"] == "a2"
    number = await run(harness)
    for account in ("a1", "a2"):
        assert unpack_account(await harness.redis.hget(keys.account(account), ACCOUNT_FIELD)).profile_rev == number


async def test_a_run_that_was_overtaken_writes_nothing(harness: ApiHarness) -> None:
    await put(harness, "s1", "a2", "msisdn:491")
    at_the_door = harness.redis.mget

    async def mget(*names: str) -> Any:
        await harness.redis.incr(TOKEN)  # another begins, because this one's connection to PostgreSQL seemed dead
        return await at_the_door(*names)

    harness.redis.mget = mget
    with pytest.raises(Overtaken):
        await run(harness)
    harness.redis.mget = at_the_door
    assert await accounts_of(harness) == BEFORE
    await run(harness)
    assert (await accounts_of(harness))["msisdn:491"] == "a2"


async def test_postgres_went_back(harness: ApiHarness) -> None:
    """A backup was restored: what only Redis has stays, until a person has it brought back (test_recovery.py)."""
    await run(harness)
    before = await accounts_of(harness)
    await harness.pool.execute("DELETE FROM assignments; DELETE FROM identities; DELETE FROM subscribers")
    await harness.pool.execute("UPDATE master SET change = 1")
    with pytest.raises(PostgresOlder) as told:
        await run(harness)
    assert await accounts_of(harness) == before != {}
    # However many changes come after it: they do not pass for those that are lost.
    for number in range(8):
        await put(harness, f"n{number}", "a1")
        with pytest.raises(PostgresOlder) as again:
            await run(harness)
        assert str(again.value) == str(told.value)
    assert await accounts_of(harness) == before


async def test_many_at_once(harness: ApiHarness) -> None:
    """More waiting than there are connections, in two processes, and a subscriber that moves all the while."""

    async def move(number: int) -> None:
        await put(harness, "s1", ("a1", "a2")[number % 2], "msisdn:491")
        await harness.projector.project()

    await asyncio.gather(*(move(number) for number in range(20)), *(run(harness) for _ in range(10)))
    at_last = await subscribers.get(harness.pool, "s1")
    assert at_last is not None
    assert (await accounts_of(harness))["msisdn:491"] == at_last.account


async def test_a_worker_knows_what_is_projected(harness: ApiHarness) -> None:
    profiles = ProfileCache(harness.link)
    assert profiles.get("msisdn:491") is None
    found = await profiles.load(["imsi:999", "msisdn:491"]).wait()
    assert found is not None
    number = await run(harness)
    assert (found.account, found.rev) == ("a1", number)
    assert profiles.get("msisdn:491") is found
    assert await profiles.load(["msisdn:499"]).wait() is None
    await put(harness, "s9", "a1", "msisdn:499")
    await run(harness)
    created = await profiles.load(["msisdn:499"]).wait()
    assert created is not None
    assert created.rev == number + 1
    await harness.redis.delete(keys.PROJECTED)
    assert (await profiles.load(["msisdn:491"]).wait()) is not None
    with pytest.raises(NotSent):
        await profiles.load(["msisdn:498"]).wait()


async def test_what_a_worker_keeps_is_bounded(harness: ApiHarness) -> None:
    profiles = ProfileCache(harness.link, kept_max=2)
    for identity in ("msisdn:491", "imsi:001"):
        await profiles.load([identity]).wait()
    profiles.get("msisdn:491")
    await profiles.load(["msisdn:492"]).wait()
    assert len(profiles) == 2
    assert profiles.get("imsi:001") is None
    assert profiles.get("msisdn:491") is not None
    await harness.redis.set(keys.profile("msisdn:491"), b"\xc1")
    with pytest.raises(NotSent):
        await profiles.load(["msisdn:491"]).wait()


class ToldAccounts:
    """Whom a projection tells, and what happens meanwhile."""

    def __init__(self, harness: ApiHarness, *, fails_over: bool = False) -> None:
        self.told: list[str] = []
        self._harness, self._fails_over = harness, fails_over

    async def __call__(self, account: str, _change: int, _limited: list[str]) -> None:
        self.told.append(account)
        if self._fails_over:
            await self._harness.redis.execute_command("DEBUG", "CHANGE-REPL-ID")


async def test_what_a_failover_took_while_accounts_were_told_is_told_again(harness: ApiHarness) -> None:
    """The new primary may lack what was written before it."""
    store, lost, again = WholeStore(harness.redis), ToldAccounts(harness, fails_over=True), ToldAccounts(harness)
    before = await store.progress()
    await put(harness, "s1", "a2", "msisdn:491")
    with pytest.raises(Overtaken):
        await project(harness.pool, store, lost)
    assert (await store.progress()).told == before.told
    number = await project(harness.pool, store, again)
    assert sorted(again.told) == sorted(set(lost.told)) == ["a1", "a2"]
    assert await store.progress() == (number, number)


async def test_a_primary_of_a_cluster_that_lost_what_it_was_told_is_told_again(harness: ApiHarness) -> None:
    """What it lost of its accounts was written before its mark, so the mark is lost too."""
    primary = plain(harness.redis)._replace(clustered=True)
    store, again = SlottedStore(harness.redis, FixedPrimaries(primary)), ToldAccounts(harness)
    shard = keys.shard_of("a1")
    await project(harness.pool, store, ToldAccounts(harness))
    earlier = (await store.progress()).told
    await put(harness, "s1", "a2", "msisdn:491")
    number = await project(harness.pool, store, ToldAccounts(harness))
    assert await store.progress() == (number, number)
    await harness.redis.set(keys.told(shard), str(earlier))
    assert await project(harness.pool, store, again) == number
    assert sorted(again.told) == ["a1", "a2"]
    # The build before marks nothing but the whole.
    await harness.redis.delete(*map(keys.told, range(keys.SHARDS)))
    assert await store.progress() == (number, number)
    # Nobody knows what a primary has that came while accounts were told.
    await put(harness, "s1", "a1", "msisdn:491")
    with pytest.raises(Overtaken):
        await project(harness.pool, store, ToldAccounts(harness, fails_over=True))
    assert (await store.progress()).told == number


class FixedPrimaries(OnePrimary):
    """One that is of a cluster."""

    def __init__(self, primary: Primary) -> None:
        super().__init__(primary.client)
        self._it = primary


async def told_up_to(harness: ApiHarness, account: str) -> int:
    return unpack_account(await harness.redis.hget(keys.account(account), ACCOUNT_FIELD)).profile_rev


async def test_an_account_that_lost_that_it_was_told_is_told_again_by_who_asks_it(harness: ApiHarness) -> None:
    """charging.md section 19. Only what was told once is: before that the projection tells, in its order."""
    slow_paths = SlowPaths(harness.pool, harness.redis, harness.store, harness.now_ms, within_s=60)
    before = await harness.redis.hget(keys.account("a1"), ACCOUNT_FIELD)
    known = await told_up_to(harness, "a1")
    await put(harness, "s1", "a2", "msisdn:491")
    change = await run(harness)
    assert known < change == await told_up_to(harness, "a1")
    await harness.redis.hset(keys.account("a1"), ACCOUNT_FIELD, before)  # as a failover leaves it
    assert await run(harness) == change
    assert await told_up_to(harness, "a1") == known  # the projection is done with it
    await harness.redis.set(TOLD, change - 1)
    with pytest.raises(NotSent, match="does not know yet"):
        await slow_paths.tell("a1", change).wait()
    assert await told_up_to(harness, "a1") == known
    await harness.redis.set(TOLD, change)
    await slow_paths.tell("a1", change).wait()
    assert await told_up_to(harness, "a1") == change
    await slow_paths.tell("gone", change).wait()  # one that the store does not have is brought in by the next call
