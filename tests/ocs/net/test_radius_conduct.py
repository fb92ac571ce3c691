"""What an address of a RADIUS client always does is demanded of it from some day on, by all workers (CVE-2024-3596)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from balances import keys
from balances.redis.connection import RedisConnection
from ocs.charging.radius.habits import KEPT_MIN, Habit, HabitRecord, Strictness, strictness_of
from ocs.clock import now_ms
from ocs.config.radius import Radius, RadiusClient
from ocs.config.values import Secret
from ocs.net.radius import conduct as module
from ocs.net.radius.clients import NasClient, NasClients
from ocs.net.radius.conduct import Conducts
from ocs.net.radius.conduct_book import LOOK, ConductBook, record_of
from protocol.radius.authenticator import signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import EAP_MESSAGE, PROXY_STATE, USER_NAME
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError
from tests.ocs.net.world import until

NAS = "10.0.0.1"
DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000


def client(**config: Any) -> NasClient:
    clients = NasClients(Radius(clients=(RadiusClient("10.0.0.0/8", Secret("s"), **config),)))
    found = clients.of(NAS)
    assert found is not None
    return found


def request(*, proxied: bool = False, eap: bool = False) -> Packet:
    packet = Packet(PacketCode.ACCESS_REQUEST).add(USER_NAME, "u")
    if proxied:
        packet.add(PROXY_STATE, b"p")
    if eap:
        packet.add(EAP_MESSAGE, b"e")
    return Packet.decode(signed_request(packet, b"s", sign=False))


def conducts(demanded: frozenset[tuple[str, str]] | None = frozenset()) -> Conducts:
    made = Conducts()
    if demanded is not None:
        made.learnt(demanded)
    return made


def dropped(known: Conducts, of: NasClient, packet: Packet, signed: bool, address: str = NAS) -> PacketFault | None:
    try:
        known.of(address, of, NOW_MS).judge(packet, signed)
    except RadiusError as error:
        return error.reason
    return None


MISSING, PROXIED = PacketFault.MESSAGE_AUTHENTICATOR_MISSING, PacketFault.PROXY_STATE


@pytest.mark.parametrize(
    ("record", "at_ms", "strictness"),
    [
        (HabitRecord(), NOW_MS, Strictness.LEARN),
        (HabitRecord(0, 0, 1000, NOW_MS), NOW_MS + 9 * DAY_MS, Strictness.LEARN),
        (HabitRecord(1, NOW_MS), NOW_MS, Strictness.WARN),
        (HabitRecord(1, NOW_MS), NOW_MS + 9 * DAY_MS, Strictness.WARN),
        (HabitRecord(KEPT_MIN, NOW_MS), NOW_MS + DAY_MS - 1, Strictness.WARN),
        (HabitRecord(KEPT_MIN, NOW_MS), NOW_MS + DAY_MS, Strictness.REQUIRE),
        (HabitRecord(1000, NOW_MS, 1, NOW_MS + DAY_MS), NOW_MS + 2 * DAY_MS - 1, Strictness.WARN),
        (HabitRecord(1000, NOW_MS, 1, NOW_MS + DAY_MS), NOW_MS + 2 * DAY_MS, Strictness.REQUIRE),
    ],
    ids=["nothing", "never", "once", "once-long-ago", "not-a-day", "a-day", "broken", "a-day-after-it-was-broken"],
)
def test_how_strict_we_are(record: HabitRecord, at_ms: int, strictness: Strictness) -> None:
    assert record.strictness(at_ms, DAY_MS) is strictness


def test_what_is_demanded_stays_demanded_and_a_policy_says_it_at_once() -> None:
    bad = HabitRecord(0, 0, 5, NOW_MS)
    assert strictness_of("learn", bad, True, NOW_MS, DAY_MS) is Strictness.REQUIRE
    assert strictness_of("require", bad, False, NOW_MS, DAY_MS) is Strictness.REQUIRE
    assert strictness_of("check", HabitRecord(99, 1), True, NOW_MS, DAY_MS) is Strictness.LEARN


@pytest.mark.parametrize(
    ("policy", "unsigned", "proxied"),
    [("learn", None, None), ("check", None, None), ("require", MISSING, MISSING)],
    ids=["learn", "check", "require"],
)
def test_an_unknown_address_is_served_unless_the_policy_demands(
    policy: Any, unsigned: PacketFault | None, proxied: PacketFault | None
) -> None:
    known, nas = conducts(), client(message_authenticator=policy)
    assert dropped(known, nas, request(), False) is unsigned
    assert dropped(known, nas, request(proxied=True), False) is proxied
    assert dropped(known, nas, request(proxied=True), True) is None


def test_proxy_state_alone_may_be_limited() -> None:
    known, nas = conducts(), client(limit_proxy_state="require")
    assert dropped(known, nas, request(proxied=True), False) is PROXIED
    assert dropped(known, nas, request(), False) is None


def test_what_was_learnt_is_demanded_of_that_address_alone() -> None:
    nas, known = client(), conducts(frozenset({(NAS, "signed"), ("10.0.0.2", "direct")}))
    assert dropped(known, nas, request(), False) is MISSING
    assert dropped(known, nas, request(proxied=True), False, "10.0.0.2") is PROXIED
    assert dropped(known, nas, request(), False, "10.0.0.2") is None
    assert dropped(known, nas, request(proxied=True), False, "10.0.0.3") is None
    old = client(message_authenticator="check")
    assert dropped(conducts(frozenset({(NAS, "signed")})), old, request(), False) is None


def test_until_it_is_known_what_was_learnt_nothing_unsigned_is_served() -> None:
    nas, known = client(), conducts(None)
    assert dropped(known, nas, request(), False) is MISSING
    known.learnt(frozenset())
    assert dropped(known, nas, request(), False) is None


def test_eap_is_signed_by_everybody_and_shows_no_habit() -> None:
    known, nas = conducts(), client()
    known.of(NAS, nas, NOW_MS).judge(request(eap=True), True)
    assert known.of(NAS, nas, NOW_MS).counts == {"direct": 1}


def test_addresses_are_bounded_and_packets_that_prove_nothing_make_none_known(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "ADDRESSES_MAX", 2)
    known, nas = conducts(), client()
    for number in range(9):
        known.dropped(f"10.0.1.{number}", nas, "authenticator", NOW_MS)
    assert len(known) == 1
    for number in range(9):
        known.of(f"10.0.0.{number}", nas, NOW_MS)
    assert len(known) == 3
    assert known.of("10.0.0.8", nas, NOW_MS) is known.of("10.9.0.8", nas, NOW_MS)


def test_the_rate_of_an_address() -> None:
    one = conducts().of(NAS, client(rate_max=10), NOW_MS)
    assert sum(one.within_rate(1_000_000) for _ in range(30)) == 10
    assert [one.within_rate(1_100_000), one.within_rate(1_100_000)] == [True, False]
    assert sum(one.within_rate(99_000_000) for _ in range(30)) == 10


# ---- with the other workers


@contextlib.asynccontextmanager
async def workers(redis_url: str, count: int, learn_ms: int = 0) -> AsyncIterator[tuple[list[ConductBook], Any]]:
    links = [RedisConnection(redis_url, now_ms=now_ms, unfenced=True) for _ in range(count)]
    for link in links:
        await link.start(5)
    async with Redis.from_url(redis_url) as redis:
        books = [ConductBook(link, Conducts(), learn_ms, now_ms) for link in links]
        for link, book in zip(links, books, strict=True):
            link.ask_too(LOOK, book.looked)
        for book in books:
            await knows(book)
        yield books, redis
    for link in links:
        await link.stop()


async def knows(book: ConductBook, *demanded: tuple[str, str]) -> None:
    await until(lambda: book._conducts.demanded is not None and book._conducts.demanded >= set(demanded))


def sends(book: ConductBook, nas: NasClient, times: int, *, signed: bool = True) -> None:
    for _ in range(times):
        book._conducts.of(NAS, nas, now_ms()).judge(request(), signed)


async def test_what_workers_see_together_is_demanded_by_all_and_after_a_restart(redis_url: str) -> None:
    nas = client()
    async with workers(redis_url, 2) as ((one, other), redis):
        sends(one, nas, KEPT_MIN - 1)
        await one.tell()
        assert await redis.hgetall(keys.RADIUS_REQUIRED) == {}
        sends(other, nas, 1)
        await other.tell()
        for book in (one, other):
            await knows(book, (NAS, "signed"))
            with pytest.raises(RadiusError):
                sends(book, nas, 1, signed=False)
        raw = [part for pair in (await redis.hgetall(keys.radius_address(NAS))).items() for part in pair]
        assert record_of(NAS, raw).habits[Habit.SIGNED].kept == KEPT_MIN
    async with workers(redis_url, 1) as ((later,), _):
        assert (NAS, "signed") in (later._conducts.demanded or ())


async def test_who_also_sends_without_is_not_shut_out(redis_url: str) -> None:
    nas = client()
    async with workers(redis_url, 1, DAY_MS) as ((book,), redis):
        sends(book, nas, 5 * KEPT_MIN)
        sends(book, nas, 1, signed=False)
        await book.tell()
        assert await redis.hgetall(keys.RADIUS_REQUIRED) == {}
        fields = await redis.hgetall(keys.radius_address(NAS))
        assert (fields[b"signed"], fields[b"not-signed"], fields[b"client"]) == (b"100", b"1", b"10.0.0.0/8")
        assert await redis.zscore(keys.RADIUS_ADDRESSES, NAS) == float(fields[b"seen"])


async def test_a_reset_lets_it_begin_anew(redis_url: str) -> None:
    nas = client()
    async with workers(redis_url, 1) as ((book,), redis):
        sends(book, nas, KEPT_MIN)
        await book.tell()
        await knows(book, (NAS, "signed"))
        await redis.delete(keys.RADIUS_REQUIRED, keys.radius_address(NAS))
        await redis.incr(keys.RADIUS_REQUIRED_CHANGES)
        await until(lambda: book._conducts.demanded == frozenset())
        sends(book, nas, 1, signed=False)


async def test_a_store_that_is_away_is_told_later() -> None:
    book = ConductBook(RedisConnection("redis://127.0.0.1:1", now_ms=now_ms), conducts(), 0, now_ms)
    sends(book, client(), 3)
    await book.tell()
    assert book._conducts.touched[NAS].counts["signed"] == 3


async def test_addresses_in_the_store_are_bounded(redis_url: str) -> None:
    nas = client()
    async with workers(redis_url, 1) as ((book,), redis):
        book._is_full = True
        sends(book, nas, 3)
        await book.tell()
        await book.tell()
        assert await redis.zrange(keys.RADIUS_ADDRESSES, 0, -1) == [b"10.0.0.0/8"]
        assert await redis.hget(keys.radius_address("10.0.0.0/8"), "signed") == b"3"
