"""RAR and ASR from whoever asks to the network element and back, through a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

from balances import keys
from balances.redis.pending import ended
from balances.structs.session import Session, SessionState
from ocs.enforcement.session_requests import RequestReceipt, SessionRequester
from ocs.net.diameter.reauthorize import SessionRequestSender
from protocol.diameter.dictionary.base import AbortSessionAnswer, AbortSessionRequest, ReAuthAnswer
from protocol.diameter.dictionary.credit_control import ReAuthRequest
from tests.ocs.net.world import World, until, world


def session(identity: str = "pgw.example.net;1;1", peer: str = "pgw.example.net", via: str = "") -> Session:
    return Session(
        version=1, id=identity, subscriber="s", service="data", state=SessionState.OPEN, peer=peer,
        realm="example.net", via=via or peer, opened_ms=0, touched_ms=0, forget_ms=0, due_ms=0, seen=[], answers=[],
        lines=[],
    )  # fmt: skip


async def ask(redis: Redis, kind: str, of: Session, rating_group: int | None = None) -> RequestReceipt:
    async with SessionRequester(redis, (OSError, RedisError)).running() as requester:
        return await requester.ask(kind, of, rating_group)


@contextlib.asynccontextmanager
async def listening(redis_url: str, nodes: int = 1) -> AsyncIterator[tuple[World, Redis]]:
    async with world(nodes=nodes) as w, contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        tasks = []
        for node in w.nodes:
            own = await stack.enter_async_context(Redis.from_url(redis_url))
            tasks.append(asyncio.ensure_future(SessionRequestSender(node, own, (OSError, RedisError)).run()))
        async with asyncio.timeout(30):
            while (await redis.pubsub_numsub("session-requests"))[0][1] < nodes:
                await asyncio.sleep(0.01)
        yield w, redis
        await ended(tasks)


async def test_rar_and_its_answer(redis_url: str) -> None:
    async with listening(redis_url, nodes=2) as (w, redis):
        w.next_node = 1
        client = await (await w.client()).open()
        asking = asyncio.ensure_future(ask(redis, "rar", session("pgw.example.net;1;1|7"), rating_group=10))
        rar = await client.message()
        assert isinstance(rar, ReAuthRequest)
        assert (rar.session_id, rar.cc_sub_session_id, rar.rating_group) == ("pgw.example.net;1;1", 7, 10)
        assert rar.destination_host == "pgw.example.net"
        client.send(
            ReAuthAnswer(session_id=rar.session_id, result_code=2002, origin_host="p", origin_realm="x").answer(rar)
        )
        receipt = await asking
        assert (receipt.result, receipt.host, receipt.by) == (2002, "pgw.example.net", "p")
        assert w.count("ocs_pushes_total", "rar", "guest", "2002") == 1


async def test_asr_behind_a_relay(redis_url: str) -> None:
    async with listening(redis_url) as (w, redis):
        relay = await (await w.client()).open("relay.example.net")
        asking = asyncio.ensure_future(ask(redis, "asr", session(peer="far.net", via="relay.example.net")))
        asr = await relay.message()
        assert isinstance(asr, AbortSessionRequest)
        assert (asr.destination_host, asr.destination_realm) == ("far.net", "example.net")
        relay.send(
            AbortSessionAnswer(session_id=asr.session_id, result_code=5002, origin_host="p", origin_realm="x").answer(
                asr
            )
        )
        receipt = await asking
        assert (receipt.result, receipt.host, receipt.by) == (5002, "relay.example.net", "p")


async def test_many_at_once_over_one_connection(redis_url: str) -> None:
    """And what is counted of them has bounded labels: listed peers by name, Result-Codes we know."""
    async with (
        listening(redis_url) as (w, redis),
        SessionRequester(redis, (OSError, RedisError)).running() as requester,
    ):
        client = await (await w.client()).open("one.example.net")
        of = [session(f"one;1;{number}", peer="one.example.net") for number in range(50)]
        asking = [asyncio.ensure_future(requester.ask("rar", one)) for one in of]
        asking.append(asyncio.ensure_future(requester.ask("rar", session(peer="nobody.net"))))
        for _ in of:
            rar = await client.message()
            assert isinstance(rar, ReAuthRequest)
            code = 2001 if rar.session_id.endswith("7") else 4_000_000_123
            answer = ReAuthAnswer(session_id=rar.session_id, result_code=code, origin_host="p", origin_realm="x")
            client.send(answer.answer(rar))
        results = [(await one).result for one in asking]
        assert results == [2001 if number % 10 == 7 else 4_000_000_123 for number in range(50)] + ["no-route"]
        assert w.count("ocs_pushes_total", "rar", "one.example.net", "2001") == 5
        assert w.count("ocs_pushes_total", "rar", "one.example.net", "other") == 45


async def test_nobody_has_a_connection(redis_url: str) -> None:
    async with listening(redis_url, nodes=3) as (_, redis):
        async with asyncio.timeout(30):
            assert (await ask(redis, "rar", session())).result == "no-route"


async def test_nobody_listens(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, asyncio.timeout(30):
        assert (await ask(redis, "rar", session())).result == "no-route"


async def test_several_connections_of_one_peer_get_one_request(redis_url: str) -> None:
    async with listening(redis_url, nodes=2) as (w, redis):
        one = await (await w.client()).open("two.example.net")
        w.next_node = 1
        other = await (await w.client()).open("two.example.net")
        asking = asyncio.ensure_future(ask(redis, "rar", session(peer="two.example.net")))
        heard = [asyncio.ensure_future(client.message()) for client in (one, other)]
        done, silent = await asyncio.wait(heard, timeout=0.5)
        assert len(done) == 1
        await ended(silent)
        one.end()
        other.end()
        assert (await asking).result == "timeout"  # the connection went, the answer with it


async def test_redis_restarts(redis_url: str, valkey: object) -> None:
    async with listening(redis_url) as (w, redis):
        client = await (await w.client()).open()
        await redis.client_kill_filter(_type="pubsub")
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            while (await redis.pubsub_numsub("session-requests"))[0][1] < 1:
                await asyncio.sleep(0.05)
        asking = asyncio.ensure_future(ask(redis, "rar", session()))
        assert isinstance(await client.message(), ReAuthRequest)
        client.end()
        assert isinstance(await asking, RequestReceipt)
        await until(lambda: w.count("ocs_peers_up", "diameter") == 0)


async def test_rar_names_the_session_as_the_network_does(redis_url: str) -> None:
    """A Session-Id with `|` is no sub-session."""
    async with listening(redis_url) as (w, redis):
        client = await (await w.client()).open()
        for name in (keys.SessionName("X|7"), keys.SessionName("X", 7), keys.SessionName("a b\t%", 1, "gw")):
            asking = asyncio.ensure_future(ask(redis, "rar", session(keys.session_key(*name))))
            rar = await client.message()
            assert isinstance(rar, ReAuthRequest)
            assert (rar.session_id, rar.cc_sub_session_id) == name[:2]
            client.send(
                ReAuthAnswer(session_id=rar.session_id, result_code=2002, origin_host="p", origin_realm="x").answer(rar)
            )
            await asking
