"""Two stored formats on one store: each is written by functions of its own, and read by all of them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from balances import keys
from balances.ledger.formats import Reads
from balances.ledger.record import NewerFormat, decode
from balances.model import account as model_account
from balances.model import event, posting, session
from balances.packing import fresh_account, pack
from balances.redis import scripts
from balances.redis.calls import NotSent
from balances.redis.connection import RedisConnection
from balances.redis.store import Store
from balances.structs.blob import FORMAT, READS, raw_of
from balances.structs.posting import AccountOpening, Post, Posting
from balances.structs.record import Record
from ocs.clock import now_ms
from ocs.stores import format_follower
from ocs.stores.format_follower import FormatFollower
from tests.balances.test_parity import ACCOUNT, RandomGateway, run
from tests.balances.twins import Twins, without_steady

NEXT = FORMAT + 1
UNREAD = READS[-1] + 1


def test_a_build_reads_at_most_two_formats_without_gap() -> None:
    assert len(READS) <= 2
    assert list(READS) == list(range(READS[0], READS[-1] + 1))


def test_the_functions_of_two_formats_differ_in_nothing_but_what_they_write() -> None:
    ours, following = scripts.library(FORMAT), scripts.library(NEXT)
    assert ours == scripts.LIBRARY
    assert ours.name != following.name
    assert not {*ours.functions.values()} & {*following.functions.values()}


@pytest.mark.parametrize("seed", range(500, 504), ids=lambda seed: f"seed{seed}")
def test_lua_and_model_agree_through_the_step(redis_url: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """What was begun in one format goes on in the next one."""
    twins = Twins(redis_url)
    ticks = itertools.count(1)
    tick = RandomGateway.tick

    def ticked(gateway: RandomGateway) -> None:
        tick(gateway)
        if next(ticks) == 60:
            for module in (model_account, event, posting, session):
                monkeypatch.setattr(module, "FORMAT", NEXT)
            following = scripts.library(NEXT)
            twins.library, twins.general_library = following, without_steady(following)
            for library in (twins.library, twins.general_library):
                twins.redis.function_load(library.text, replace=True)

    monkeypatch.setattr(RandomGateway, "tick", ticked)
    run(twins, seed, steps=120)
    records = twins.redis.xrange(keys.ledger(keys.shard_of(ACCOUNT)))
    assert {msgspec.msgpack.decode(fields[b"r"], type=Record).version for _, fields in records} == {FORMAT, NEXT}
    twins.close()


def test_a_record_of_a_newer_format_is_for_nobodys_quarantine() -> None:
    packed = msgspec.msgpack.encode(Record(READS[-1] + 1, "post", "acc", "EUR"))
    with pytest.raises(NewerFormat, match=f"format {READS[-1] + 1}"):
        decode([b"7-1", [b"r", packed]])
    assert decode([b"7-1", [b"r", msgspec.msgpack.encode(Record(READS[0], "post", "acc", "EUR"))]]).broken == ""


async def top_up(store: Store, number: int) -> str:
    post = Post("acc", f"k{number}", "f", 60_000, now_ms(), "", "", "", [Posting(0, 0, 5, "top-up", "top-up")])
    return (await store.post(post).wait()).status


async def last_version(redis: Any) -> int:
    """Of the last record."""
    (_, fields), *_ = await redis.xrevrange(keys.ledger(keys.shard_of("acc")), count=1)
    return msgspec.msgpack.decode(fields[b"r"], type=Record).version


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_connection_writes_the_format_it_hears_of(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call fails on the way."""
    monkeypatch.setitem(scripts.LIBRARIES, NEXT, scripts.library(NEXT))
    monkeypatch.setattr(format_follower, "OURS", Reads(FORMAT, NEXT))
    link = RedisConnection(redis_url, now_ms=now_ms, unfenced=True)
    FormatFollower(link)
    await link.start(10)
    store = Store(link)
    async with Redis.from_url(redis_url) as redis:
        opening = AccountOpening(raw_of(pack(fresh_account("acc", "EUR"))), [], [], now_ms(), "open")
        assert (await store.open("acc", opening).wait()).status == "ok"
        numbers = iter(range(1_000_000))

        async def writes(wanted: int) -> bool:
            assert await top_up(store, next(numbers)) == "ok"
            return await last_version(redis) == wanted

        assert await writes(FORMAT)
        await redis.set(keys.FORMAT, f"{FORMAT} {NEXT}")
        assert await writes(FORMAT), "what is announced is not written"
        await redis.set(keys.FORMAT, f"{NEXT} {NEXT}")
        await until(lambda: writes(NEXT))
        await redis.delete(keys.FORMAT)  # an older copy of the store: what it had then is written by all
        await until(lambda: writes(FORMAT))
    await link.stop()


@pytest.mark.parametrize("published", [f"{UNREAD} {UNREAD}", f"{FORMAT} {UNREAD}", f"{FORMAT - 1} {FORMAT - 1}"])
async def test_who_cannot_read_what_is_written_or_comes_next_makes_no_call(redis_url: str, published: str) -> None:
    link = RedisConnection(redis_url, now_ms=now_ms, unfenced=True)
    FormatFollower(link)
    async with Redis.from_url(redis_url) as redis:
        await link.start(10)
        store = Store(link)
        await redis.set(keys.FORMAT, published)

        async def is_refused() -> bool:
            return bool(link.refused)

        await until(is_refused)
        assert "this version reads formats" in link.why
        await redis.set(keys.FORMAT, f"{FORMAT} {FORMAT}")
        with pytest.raises(NotSent):
            await top_up(store, 1)
        assert link.epoch is None
    await link.stop()
