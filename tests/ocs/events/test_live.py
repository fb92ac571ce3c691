"""Server-sent events over a real socket, by a client that is not ours."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from balances.ledger.event_filter import EventFilter
from ocs.api import live
from ocs.config.http import Http
from ocs.events import following as followers
from ocs.events import log, tail
from tests.ocs.api_harness import TOKEN, ApiHarness
from tests.ocs.events.sse import CEILING_S, following, served

AUTHORIZED = {"authorization": f"Bearer {TOKEN}", "accept": "text/event-stream"}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(CEILING_S):
        while not condition():
            await asyncio.sleep(0.01)


def followed(harness: ApiHarness) -> int:
    assert harness.backoffice.tail is not None
    return harness.backoffice.tail.followers


async def topped_up(harness: ApiHarness, *amounts: str, account: str = "a1") -> None:
    for amount in amounts:
        await harness.top_up(amount, account)
    await harness.sync()
    assert harness.backoffice.tail is not None
    harness.backoffice.tail._bell.ring()


async def test_what_comes_from_now_on_by_filter(harness: ApiHarness) -> None:
    await harness.account()
    await harness.account("a2")
    await topped_up(harness, "1.00")
    async with served(harness) as address, following(address, "?type=top_up.*&account=a2") as follower:
        assert follower.response.headers["content-type"].startswith("text/event-stream")
        await topped_up(harness, "2.00")
        await topped_up(harness, "3.00", account="a2")
        sent = await follower.next()
        assert (sent.event, sent.data["account"], sent.data["id"]) == ("top_up.received", "a2", sent.id)
        assert sent.data["data"]["buckets"][0]["amount"] == "3.00"


async def test_who_comes_again_misses_nothing_and_gets_nothing_twice(harness: ApiHarness) -> None:
    await harness.account()
    async with served(harness) as address:
        async with following(address, "?type=balance.changed") as follower:
            await topped_up(harness, "1.00", "2.00")
            seen = await follower.some(2)
        await topped_up(harness, "3.00")
        async with following(address, "?type=balance.changed", seen[0].id) as follower:
            await topped_up(harness, "4.00")
            again = await follower.some(3)
    assert again[0] == seen[1]
    assert [one.data["data"]["changes"][0]["after"] for one in (seen[0], *again)] == ["1.00", "3.00", "6.00", "10.00"]


async def test_an_event_that_is_not_kept_is_said_to_be_forgotten(harness: ApiHarness) -> None:
    async with served(harness) as address, following(address, "", "17-1-2-session.ended") as follower:
        assert follower.response.status_code == 410
        problem = await follower.response.aread()
    assert b"urn:ocs:problem:forgotten" in problem


async def test_types_on_demand_that_nobody_asked_for_meanwhile_are_said_to_be_forgotten(harness: ApiHarness) -> None:
    await harness.account()
    async with served(harness) as address:
        async with following(address, "?type=balance.changed,top_up.received") as follower:
            await topped_up(harness, "1.00")
            seen = await follower.some(2)
        await harness.pool.execute("UPDATE event_consumers SET until = now() - interval '1 s'")
        await topped_up(harness, "2.00")
        async with following(address, "?type=balance.changed,top_up.received", seen[1].id) as follower:
            assert follower.response.status_code == 410
        async with following(address, "?type=top_up.received", seen[1].id) as follower:
            assert (await follower.next()).data["data"]["buckets"][0]["amount"] == "2.00"


async def test_a_client_that_goes_is_noticed_and_the_reading_ends(harness: ApiHarness) -> None:
    async with served(harness) as address:
        async with following(address), following(address):
            await until(lambda: followed(harness) == 2)
        await until(lambda: followed(harness) == 0)
        assert harness.backoffice.tail is not None
        assert harness.backoffice.tail._reading is None


async def test_followers_are_bounded_and_are_no_requests_under_way(harness: ApiHarness) -> None:
    assert harness.backoffice.tail is not None
    harness.backoffice.tail._followers_max = 2
    async with (
        served(harness, Http(in_flight_max=2)) as address,
        following(address),
        following(address),
        following(address) as third,
        httpx.AsyncClient(base_url=address) as client,
    ):
        assert third.response.status_code == 503
        await third.response.aread()
        assert (await client.get("/v1/events", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200


async def test_a_reader_that_does_not_read_is_cut_and_comes_again(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WRITE_S", 0.3)
    init = live.EventStream.__init__
    shorter: Any = lambda *given, **named: init(*given, **named, write_s=0.3)  # noqa: E731
    monkeypatch.setattr(live.EventStream, "__init__", shorter)
    await harness.account()
    async with served(harness) as address, following(address) as other:
        host, port = address.removeprefix("http://").split(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect((host, int(port)))
            head = "".join(f"{name}: {value}\r\n" for name, value in AUTHORIZED.items())
            slow.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
            await until(lambda: followed(harness) == 2)
            await harness.pool.execute(
                "INSERT INTO events SELECT g, 'x-' || g, 'top_up.received', 'a1', '', 'a1', 1,"
                " json_build_object('text', repeat('x', 2000)) FROM generate_series(1, 6000) g"
            )
            await harness.pool.execute("UPDATE event_head SET last = 6000")
            harness.backoffice.tail._bell.ring()  # type: ignore[union-attr]
            sent = await other.some(6_000)
            assert sent[-1].id == "x-6000"
            await until(lambda: followed(harness) == 1)
        assert harness.backoffice.tail is not None
        assert harness.backoffice.tail.cut == 1
        assert len(harness.backoffice.tail._recent) == tail.RECENT_MAX
        async with following(address, last_id="x-10") as again:  # older than what is in memory
            assert [one.id for one in await again.some(5_990)] == [f"x-{n}" for n in range(11, 6_001)]


async def test_a_server_that_stops_ends_its_streams(harness: ApiHarness) -> None:
    async with served(harness) as address, following(address) as follower:
        assert harness.backoffice.tail is not None
        await harness.backoffice.tail.close()
        with pytest.raises(EOFError):
            await follower.next()


async def test_a_comment_goes_out_where_nothing_else_does(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    init = live.EventStream.__init__
    shorter: Any = lambda *given, **named: init(*given, **named, heartbeat_s=0.05)  # noqa: E731
    monkeypatch.setattr(live.EventStream, "__init__", shorter)
    async with served(harness) as address, following(address) as follower:
        async with asyncio.timeout(CEILING_S):
            lines = [line async for line, _ in _first(follower, 3)]
    assert ":" in lines


async def _first(follower: Any, count: int) -> Any:
    for number in range(count):
        yield await anext(follower._lines), number


async def test_postgres_that_came_back_older_ends_the_streams(harness: ApiHarness) -> None:
    await harness.account()
    await topped_up(harness, "1.00")
    async with served(harness) as address, following(address) as follower:
        await harness.pool.execute("UPDATE event_head SET last = 0")
        harness.backoffice.tail._bell.ring()  # type: ignore[union-attr]
        with pytest.raises(EOFError):
            await follower.next()


async def test_pages_newest_first(harness: ApiHarness) -> None:
    await harness.account()
    await topped_up(harness, "1.00", "2.00", "3.00")
    page = (await harness.call("GET", "/v1/events?type=top_up.received&limit=2")).json()
    amounts = [one["data"]["buckets"][0]["amount"] for one in page["items"]]
    assert amounts == ["3.00", "2.00"]
    rest = (await harness.call("GET", f"/v1/events?type=top_up.received&limit=2&before={page['next']}")).json()
    assert ([one["data"]["buckets"][0]["amount"] for one in rest["items"]], rest["next"]) == (["1.00"], None)
    refused = await harness.call("GET", "/v1/events?type=top_up.recieved")
    assert (refused.status_code, "top_up.recieved" in refused.text) == (422, True)


async def test_filters_of_followers_are_bounded(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "FILTERS_MAX", 1)
    wanted = EventFilter(("balance.changed",), ("a1",))
    await followers.ask(harness.pool, wanted)
    await followers.ask(harness.pool, wanted)
    with pytest.raises(followers.TooManyFilters):
        await followers.ask(harness.pool, EventFilter(("balance.changed",), ("a2",)))
    assert len(await log.consumers(harness.pool, followers.KIND)) == 1
