"""Who is called where Sentinels say what a test has them say (redis.io "Sentinel client spec")."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import hiredis
import pytest

from balances import keys
from balances.ledger.reader import STORE_AWAY
from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.clients import slow_client
from balances.redis.sentinel_link import SentinelLink
from balances.redis.sentinel_primaries import SentinelPrimaries
from balances.redis.sentinels import SentinelClaim, SentinelWatch, claim_of
from balances.redis.topology import TopologyWatch
from tests.balances.test_router import array, bulk

PATIENCE_S = 60.0
NAMES = ("{s003}:acct:a", "{s003}:due", "{s003}:ledger")


class ScriptedServer:
    """Answers each command as it is told; None: with nothing."""

    def __init__(self, answer: Callable[[tuple[str, ...]], bytes | None]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.place = ServerPlace("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader(encoding="utf-8", errors="replace")
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                parser.feed(data)
                while (words := parser.gets()) is not False:
                    self.asked.append(tuple(words))
                    reply = self.answer(tuple(words))
                    writer.write(reply or b"")
        writer.close()

    def close(self) -> None:
        self._server.close()


class FakeSentinel(ScriptedServer):
    def __init__(self) -> None:
        super().__init__(self._say)
        self.claim: SentinelClaim | None = None
        self.is_frozen = False

    def _say(self, words: tuple[str, ...]) -> bytes | None:
        if self.is_frozen:
            return None
        match words:
            case ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "ocs"):
                if self.claim is None:
                    return b"*-1\r\n"
                return array(bulk(self.claim.place.host), bulk(str(self.claim.place.port)))
            case ("SENTINEL", "MASTER", "ocs"):
                if self.claim is None:
                    return b"-ERR No such master with that name\r\n"
                return array(bulk("name"), bulk("ocs"), bulk("config-epoch"), bulk(str(self.claim.epoch)))
            case ("CLIENT", *_):
                return b"+OK\r\n"
        return b"-ERR unknown command\r\n"


class FakeStore(ScriptedServer):
    """A server whose history is published under an epoch."""

    def __init__(self, name: str, epoch: int) -> None:
        super().__init__(self._say)
        self.name, self.epoch, self.role = name, epoch, "master"
        self.refuses = b""
        """What it says to calls, if that is an error."""

    def calls(self) -> list[tuple[str, ...]]:
        return [words for words in self.asked if words[0] == "FCALL"]

    def _say(self, words: tuple[str, ...]) -> bytes | None:
        match words[0]:
            case "INFO":
                return bulk(f"role:{self.role}\r\nmaster_replid:{self.name}\r\n")
            case "TIME":
                return array(bulk("1700000000"), bulk("0"))
            case "FUNCTION":
                return array(bulk("it is there"))
            case "MGET":
                return array(*(bulk(f"{self.name} {self.epoch}") for _ in words[1:]))
            case "FCALL":
                return self.refuses or array(bulk(f"by {self.name}"))
            case "GET":
                return bulk(self.name)
            case "SET" if self.refuses:
                return self.refuses
        return b"+OK\r\n"


class WatchedService:
    """Three Sentinels, and two servers of which they name one."""

    def __init__(self) -> None:
        self.sentinels = [FakeSentinel() for _ in range(3)]
        self.old, self.new = FakeStore("old", 5), FakeStore("new", 6)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(str(one.place) for one in self.sentinels)}/ocs"

    def say(self, store: FakeStore, epoch: int) -> None:
        for sentinel in self.sentinels:
            sentinel.claim = SentinelClaim(epoch, store.place)


@pytest.fixture
async def service() -> AsyncIterator[WatchedService]:
    made = WatchedService()
    everybody = (*made.sentinels, made.old, made.new)
    for one in everybody:
        await one.listen()
    made.say(made.old, 1)
    yield made
    for one in everybody:
        one.close()


@pytest.fixture
async def watch(service: WatchedService) -> AsyncIterator[SentinelWatch]:
    made = SentinelWatch(StoreAddress(service.url))
    yield made
    await made.close()


@pytest.fixture
async def link(service: WatchedService) -> AsyncIterator[SentinelLink]:
    made = SentinelLink(StoreAddress(service.url), now_ms=lambda: 1_700_000_000_000, answer_ms_max=30_000)
    await made.start(PATIENCE_S)
    yield made
    await made.stop()


async def until(reached: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():
            await asyncio.sleep(0.01)


async def test_of_sentinels_that_disagree_the_newer_epoch_is_right(
    service: WatchedService, watch: SentinelWatch
) -> None:
    service.sentinels[1].claim = SentinelClaim(2, service.new.place)
    assert await watch.look() == SentinelClaim(2, service.new.place)


async def test_one_that_answers_is_enough(service: WatchedService, watch: SentinelWatch) -> None:
    service.sentinels[0].is_frozen = True
    service.sentinels[1].claim = None  # it does not watch this service
    assert await watch.look() == SentinelClaim(1, service.old.place)


async def test_what_is_older_than_was_heard_is_not_believed(service: WatchedService, watch: SentinelWatch) -> None:
    service.say(service.new, 2)
    await watch.look()
    service.say(service.old, 1)
    with pytest.raises(ConnectionError, match="failover epoch 1, and 2 is known"):
        await watch.look()
    service.say(service.new, 2)
    assert (await watch.look()).place == service.new.place


async def test_nobody_says(service: WatchedService, watch: SentinelWatch) -> None:
    for sentinel in service.sentinels:
        sentinel.claim = None
    with pytest.raises(ConnectionError, match="no Sentinel says where the primary of 'ocs' is"):
        await watch.look()


def test_a_failover_between_two_questions_is_no_answer() -> None:
    facts = [b"name", b"ocs", b"config-epoch", b"2"]
    old, new = [b"10.0.0.1", b"6379"], [b"10.0.0.2", b"6379"]
    assert claim_of(old, facts, new) is None
    assert claim_of(new, facts, new) == SentinelClaim(2, ServerPlace("10.0.0.2", 6379))
    assert claim_of(None, facts, None) is None


async def test_the_keeper_is_given_the_primary_with_its_failover_epoch(service: WatchedService) -> None:
    primaries = SentinelPrimaries(StoreAddress(service.url))
    await primaries.look()
    (before,) = primaries.all()
    assert (before.name, before.config_epoch, len(before.shards)) == (str(service.old.place), 1, keys.SHARDS)
    await primaries.look()
    assert primaries.all() == (before,)
    service.say(service.new, 2)
    await primaries.look()
    (after,) = primaries.all()
    assert (after.name, after.config_epoch) == (str(service.new.place), 2)
    assert await after.client.get("x") == b"new"
    service.say(service.old, 1)
    with pytest.raises(ConnectionError):
        await primaries.look()
    assert primaries.all() == (after,)
    await primaries.close()


async def test_calls_go_to_the_new_primary_although_the_old_one_says_that_it_is_one(
    service: WatchedService, link: SentinelLink
) -> None:
    assert await link.script("charge", NAMES, (), lambda reply: reply[0]).wait() == b"by old"
    service.say(service.new, 2)
    await until(lambda: link.place == service.new.place and link.epoch == b"6")
    told = len(service.old.calls())
    assert await link.script("charge", NAMES, (), lambda reply: reply[0]).wait() == b"by new"
    assert len(service.old.calls()) == told


async def test_a_call_without_a_reply_is_sent_to_the_new_primary(service: WatchedService, link: SentinelLink) -> None:
    answer = service.old.answer
    service.old.answer = lambda words: None if service.old.calls() else answer(words)  # it hangs from then on
    call = link.script("charge", NAMES, (), lambda reply: reply[0])
    await until(service.old.calls)
    service.say(service.new, 2)
    assert await call.wait() == b"by new"
    assert [words[words.index(NAMES[-1]) + 1] for words in service.new.calls()] == ["6"], "under the new epoch, once"


async def test_readonly_is_reason_to_ask(service: WatchedService, link: SentinelLink) -> None:
    service.old.refuses, service.old.role = b"-READONLY You can't write against a read only replica.\r\n", "slave"
    service.say(service.new, 2)
    with contextlib.suppress(ConnectionError):
        await link.script("charge", NAMES, (), lambda reply: reply[0]).wait()
    await until(lambda: link.epoch == b"6")
    assert await link.script("charge", NAMES, (), lambda reply: reply[0]).wait() == b"by new"


async def test_a_connection_goes_on_without_sentinels_and_none_is_made(
    service: WatchedService, link: SentinelLink
) -> None:
    for sentinel in service.sentinels:
        sentinel.claim = None
    asked = len(service.sentinels[0].asked)
    await until(lambda: len(service.sentinels[0].asked) > asked)
    assert await link.script("charge", NAMES, (), lambda reply: reply[0]).wait() == b"by old"
    link.leave("cut by the test")
    await until(lambda: "no Sentinel says" in link.why)
    assert link.epoch is None


async def test_the_slow_client_follows(service: WatchedService) -> None:
    client = slow_client(service.url)
    assert await client.get("x") == b"old"
    service.old.refuses = b"-READONLY You can't write against a read only replica.\r\n"
    service.say(service.new, 2)
    with contextlib.suppress(*STORE_AWAY):
        await client.set("x", 1)
    async with asyncio.timeout(PATIENCE_S):
        while await client.get("x") != b"new":
            await asyncio.sleep(0.01)
    await client.aclose()


async def test_the_slow_client_is_cut_from_a_primary_that_was_replaced(service: WatchedService) -> None:
    client = slow_client(service.url)
    assert await client.get("x") == b"old"
    answer = service.old.answer
    service.old.answer = lambda words: None if service.old.asked.count(("GET", "x")) > 1 else answer(words)
    waiting = asyncio.ensure_future(client.get("x"))
    await until(lambda: service.old.asked[-1][0] == "GET" and service.old.asked.count(("GET", "x")) > 1)
    service.say(service.new, 2)
    async with asyncio.timeout(PATIENCE_S):
        assert await waiting == b"new"  # cut, and asked again of who is the primary now
    await client.aclose()


async def test_the_slow_client_asks_no_replica(service: WatchedService) -> None:
    service.old.role = "slave"
    client = slow_client(service.url)
    with pytest.raises(STORE_AWAY):
        await client.get("x")
    assert ("GET", "x") not in service.old.asked
    await client.aclose()


async def test_what_servers_say_instead_of_where_the_primary_is_stands_in_the_error() -> None:
    """A wrong password, or a server of another kind than the URL says."""
    server = ScriptedServer(lambda words: b"+OK\r\n" if words[0] == "CLIENT" else b"-ERR it is of another kind\r\n")
    await server.listen()
    cluster = TopologyWatch(StoreAddress(f"redis+cluster://{server.place}"))
    sentinel = SentinelWatch(StoreAddress(f"redis+sentinel://{server.place}/ocs"))
    for watch in (cluster, sentinel):
        with pytest.raises(OSError, match="it is of another kind"):
            await watch.look()
        await watch.close()
    server.close()
